"""What a layer is fed and should make, summed over samples, and the weights which that asks for.

For rows x^ of what a layer is fed, and y of what it should make of them, the weights that minimise

    E | y - v x^ - shift |^2  +  damping | w - v |^2

over real numbers v are w + (cov(y, x^) - w cov(x^)) (cov(x^) + damping)^-1; the shift is what the
means leave. Damping keeps weights near where they were along what data says little of.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Reals = npt.NDArray[np.float64]

DAMPING, DAMPING_PER_INPUT = 0.01, 0.1
"""Parts of the mean variance of a layer's inputs, the second times weights per row of data."""
LEAST_ROWS = 2
"""Rows of data for each weight of a channel; with fewer, rounding fits the samples, and is left."""


@dataclass(eq=False)
class LayerMoments:
    """Sums over output positions: of x^, of y, and of their products."""

    x: Reals  # [groups, K]
    y: Reals  # [groups, outputs]
    h: Floats | None  # x^ x^ [groups, K, K]; None where there is too little data for it
    g: Floats | None  # y x^ [groups, outputs, K]
    count: int = 0

    @staticmethod
    def zeros(groups: int, outputs: int, k: int, *, has_data: bool) -> LayerMoments:
        """Nothing seen yet; without data for covariances only means will be known."""
        means = np.zeros((groups, k)), np.zeros((groups, outputs))
        if not has_data:
            return LayerMoments(*means, None, None)
        h, g = np.zeros((groups, k, k), np.float32), np.zeros((groups, outputs, k), np.float32)
        return LayerMoments(*means, h, g)

    def add(self, x_hat: Floats, y: Floats) -> None:
        """Rows [groups, rows, K] of what the layer is fed, and of what it should make."""
        self.x += x_hat.sum(axis=1, dtype=np.float64)
        self.y += y.sum(axis=1, dtype=np.float64)
        self.count += x_hat.shape[1]
        if self.h is not None and self.g is not None:
            self.h += x_hat.transpose(0, 2, 1) @ x_hat
            self.g += y.transpose(0, 2, 1) @ x_hat

    def covariances(self) -> tuple[Floats, Reals] | None:
        """Of x^ with itself, and of y with x^; None where there is too little data."""
        if self.h is None or self.g is None:
            return None
        mean_x, mean_y = self.x / self.count, self.y / self.count
        h = self.h / np.float32(self.count)
        h -= (mean_x[:, :, None] * mean_x[:, None, :]).astype(np.float32)
        return h, self.g / self.count - mean_y[:, :, None] * mean_x[:, None, :]

    def shift(self, weights: Reals) -> Reals:
        """What a bias must add for weights [groups, outputs, K] to have the mean of y."""
        made = np.einsum("gok,gk->go", weights, self.x / self.count)
        return np.asarray(self.y / self.count - made).reshape(-1)

    def wanted(
        self, weights: Reals, part: float = DAMPING
    ) -> tuple[list[Floats], list[Reals]] | None:
        """The weights [outputs, K] of each group that data asks for, and its damped covariance.

        weights : [groups, outputs, K], as they were.
        part : of the mean variance of inputs, that damps.
        """
        covariances = self.covariances()
        if covariances is None:
            return None
        h, g = covariances
        asked, damped = [], []
        each = zip(weights, h.astype(np.float64), g, damping(h, self.count, part), strict=True)
        for w, x_x, y_x, added in each:
            x_x[np.diag_indices(len(x_x))] += added
            if added > 0:
                w = w + np.linalg.solve(x_x, (y_x + added * w - w @ x_x).T).T
            asked.append(w.astype(np.float32))
            damped.append(x_x)
        return asked, damped


def damping(h: Floats, count: int, part: float = DAMPING) -> Reals:
    """What is added to the diagonal of each group's covariance [groups, K, K]."""
    share = part + DAMPING_PER_INPUT * h.shape[1] / count
    return np.asarray(share * np.einsum("gkk->gk", h).mean(axis=1, dtype=np.float64))
