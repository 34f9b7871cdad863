"""Matrices of weights in blocks along K, each with a scale: what MXFP4 and NVFP4 have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.quantize.small_floats import Codes, decode_e2m1, decode_e4m3, decode_e8m0

Scheme = Literal["mxfp4", "nvfp4"]

BLOCK: dict[Scheme, int] = {"mxfp4": 32, "nvfp4": 16}
"""Values of K that share a scale."""


@dataclass(frozen=True, eq=False)
class BlockWeights:
    """A matrix [N, K] of E2M1 values in blocks.

    scheme : "mxfp4" (scales are E8M0) or "nvfp4" (E4M3).
    codes : uint8 [N, K rounded up to blocks], E2M1 codes; 0 beyond K.
    scales : uint8 [N, blocks], codes of the scales.
    factors : float32 [N], of all values of a channel. NVFP4's scale of the tensor; MXFP4 has none,
        so they are 1 but where a search found better ones: sums are multiplied by one per channel
        anyway.
    k : values of K that exist.
    """

    scheme: Scheme
    codes: Codes
    scales: Codes
    factors: npt.NDArray[np.float32]
    k: int

    def block_scales(self) -> npt.NDArray[np.float32]:
        """Scales [N, blocks] without the channels' factors."""
        decode = decode_e8m0 if self.scheme == "mxfp4" else decode_e4m3
        return decode(self.scales)

    def values(self) -> npt.NDArray[np.float32]:
        """The weights [N, K] that the codes stand for, rounded to float32."""
        elements = decode_e2m1(self.codes).astype(np.float64)
        scales = np.repeat(self.block_scales().astype(np.float64), BLOCK[self.scheme], axis=1)
        with np.errstate(over="ignore"):
            values = (elements * scales * self.factors.astype(np.float64)[:, None]).astype(
                np.float32
            )
        return np.ascontiguousarray(values[:, : self.k])


def joined(parts: Sequence[BlockWeights]) -> BlockWeights:
    """Matrices of the same scheme and K below each other."""
    first = parts[0]
    return BlockWeights(
        first.scheme,
        np.concatenate([part.codes for part in parts]),
        np.concatenate([part.scales for part in parts]),
        np.concatenate([part.factors for part in parts]),
        first.k,
    )


def in_blocks(weights: npt.NDArray[np.float32], block: int) -> npt.NDArray[np.float64]:
    """[N, K] -> float64 [N, blocks, block], zeros beyond K; refuses what is not finite."""
    if weights.ndim != 2 or weights.size == 0:
        raise ValueError(f"weights are {list(weights.shape)}, must be [N, K] with elements")
    if not np.all(np.isfinite(weights)):
        raise ValueError("weights have values that are infinite or no numbers")
    n, k = weights.shape
    blocks = -(-k // block)
    padded = np.zeros((n, blocks * block))
    padded[:, :k] = weights
    return padded.reshape(n, blocks, block)
