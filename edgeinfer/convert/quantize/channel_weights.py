"""Weights of a matrix in int8, with one scale for each output channel: what products of float32
vectors, which are rounded when they come, are made with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MOST_K = 40960
"""Values of K that fully_connected_dynamic takes of int8 weights."""


@dataclass(frozen=True, eq=False)
class ChannelWeights:
    """A matrix [N, K] in int8.

    codes : int8 [N, K], from -127 to 127
    scales : float32 [N]; 0 for a channel of zeros
    """

    codes: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float32]

    @property
    def k(self) -> int:
        """Values of K."""
        return int(self.codes.shape[1])

    def values(self) -> npt.NDArray[np.float32]:
        """The weights that are stood for."""
        return np.asarray(self.codes * self.scales[:, None], np.float32)


def round_channels(weights: npt.NDArray[np.float32]) -> ChannelWeights:
    """The nearest multiples of the largest magnitude of each channel / 127.

    Parameters
    ----------
    weights : float32 [N, K], finite
    """
    scales = (np.abs(weights).max(axis=1) / np.float32(127)).astype(np.float32)
    divisors = np.where(scales > 0, scales, 1).astype(np.float64)
    codes = np.clip(np.rint(weights / divisors[:, None]), -127, 127)
    return ChannelWeights(codes.astype(np.int8), scales)
