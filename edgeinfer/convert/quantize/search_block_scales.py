"""Block scales of least squared error, found by trying: FP4 without calibration data.

The scale that the formats' conversions prescribe looks at a block's largest weight alone. Here each
block tries the scales around that one and keeps the one whose rounded weights are nearest:

    NVFP4  the E4M3 codes from which the largest weight becomes an element of about 8 down to 3.5,
           so 6 and 4, the two elements with much room below them, are both among them
    MXFP4  the power of two that the specification takes, and its two neighbours

Powers of two are coarse: a block whose largest weight is 7.9 units saturates, or is rounded twice
as coarsely. What decides is where in its octave a channel lies, and a factor for a whole output
channel costs nothing, since sums are multiplied by one factor a channel anyway. So each channel of
an MXFP4 matrix tries `PHASES` factors between 1 and 2 and keeps the best. (The NVFP4 matrix keeps
the one factor of its format.)

Guaranteed: the weighted error of no channel is larger than that of plain rounding. Not that it is
the least there is: elements are rounded to nearest, and NVFP4's tensor scale is not searched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.quantize.block_weights import BLOCK, BlockWeights, Scheme, in_blocks
from edgeinfer.convert.quantize.nvfp4 import tensor_scale
from edgeinfer.convert.quantize.small_floats import (
    E2M1_MAX,
    E4M3_NAN,
    Codes,
    decode_e4m3,
    decode_e8m0,
    encode_e2m1,
    encode_e4m3,
    encode_e8m0,
)

Reals = npt.NDArray[np.float64]

PHASES = 8
"""Factors of a channel that MXFP4 tries."""
_STEPS: dict[Scheme, tuple[int, ...]] = {
    "mxfp4": (0, 1, -1),
    "nvfp4": (0, 1, 2, 3, 4, 5, 6, -1, -2),
}
"""Steps of the scale's code; the prescribed one first, which wins when others are no better."""
_SCALE_CODES: dict[Scheme, tuple[int, int]] = {"mxfp4": (0, 254), "nvfp4": (1, E4M3_NAN - 1)}
"""The codes that a searched scale may have. NVFP4's 0 would make all elements 0."""


def search_block_scales(
    weights: npt.NDArray[np.float32],
    scheme: Scheme,
    importance: npt.NDArray[np.float64] | None = None,
) -> BlockWeights:
    """Quantise a matrix with the block scales of least weighted squared error.

    Parameters
    ----------
    weights : float32 [N, K]
    importance : float64 [K] or [N, K]
        What the squared error of a weight counts, at least 0: the mean square of the input that it
        is multiplied with, say. All alike by default.

    Raises
    ------
    ValueError
        A weight is infinite or NaN.
    """
    blocks = in_blocks(weights, BLOCK[scheme])
    counts = _counts(importance, weights.shape, blocks.shape)
    factors = channel_factors(weights, scheme, counts)
    scaled = blocks / factors.astype(np.float64)[:, None, None]
    scales = best_scales(scaled, scheme, counts)
    units = scale_values(scales, scheme)[:, :, None]
    codes = encode_e2m1(scaled / units).reshape(len(weights), -1)
    codes[:, weights.shape[1] :] = 0
    return BlockWeights(scheme, codes, scales, factors, weights.shape[1])


def channel_factors(
    weights: npt.NDArray[np.float32], scheme: Scheme, importance: Reals | None = None
) -> npt.NDArray[np.float32]:
    """Factors [N] of output channels; for NVFP4 the tensor's, for all of them.

    importance : [N or 1, blocks, block], as `best_scales` takes it.
    """
    if scheme == "nvfp4":
        return np.full(len(weights), tensor_scale(weights), np.float32)
    blocks = in_blocks(weights, BLOCK[scheme])
    counts = np.ones((1, 1, 1)) if importance is None else importance
    best = np.ones(len(weights), np.float32)
    least = np.full(len(weights), np.inf)
    for factor in np.exp2(np.arange(PHASES) / PHASES).astype(np.float32):
        scaled = blocks / np.float64(factor)
        error = _least_errors(scaled, _candidates(scaled, scheme), counts, scheme)[1]
        error = error.sum(axis=1) * np.float64(factor) ** 2
        better = error < least
        best[better], least[better] = factor, error[better]
    return best


def best_scales(blocks: Reals, scheme: Scheme, importance: Reals) -> Codes:
    """Codes [N, blocks] of the scales with the least weighted error.

    blocks : [N, blocks, block], already divided by the channel's factor.
    importance : of the same shape, or one that broadcasts to it.
    """
    return _least_errors(blocks, _candidates(blocks, scheme), importance, scheme)[0]


def scale_values(codes: Codes, scheme: Scheme) -> Reals:
    """What scales stand for."""
    decode = decode_e8m0 if scheme == "mxfp4" else decode_e4m3
    return decode(codes).astype(np.float64)


def round_e2m1(x: Reals) -> Reals:
    """The nearest E2M1 values, of two the even one; as decoding what `encode_e2m1` gives."""
    magnitude = np.minimum(np.abs(x), E2M1_MAX)
    step = np.where(magnitude < 2, 0.5, np.where(magnitude < 4, 1.0, 2.0))
    return np.asarray(np.copysign(np.rint(magnitude / step) * step, x))


def _counts(
    importance: npt.NDArray[np.float64] | None,
    shape: tuple[int, ...],
    blocks: tuple[int, ...],
) -> Reals:
    """Importance by blocks, 0 beyond K."""
    if importance is None:
        return np.ones((1, 1, 1))
    n, k = shape
    rows = np.atleast_2d(np.asarray(importance, np.float64))
    if rows.shape not in ((1, k), (n, k)) or not np.all(np.isfinite(rows) & (rows >= 0)):
        raise ValueError(f"importance is {list(np.shape(importance))}, must be [{k}] or [{n}, {k}]"
                         ", finite and at least 0")  # fmt: skip
    padded = np.zeros((len(rows), blocks[1] * blocks[2]))
    padded[:, :k] = rows
    return padded.reshape(len(rows), blocks[1], blocks[2])


def _candidates(blocks: Reals, scheme: Scheme) -> Iterator[Codes]:
    """Codes of scales to try, the prescribed one first."""
    largest = np.abs(blocks).max(axis=2)
    if scheme == "mxfp4":
        prescribed = encode_e8m0(largest / 4, "down")
    else:
        prescribed = encode_e4m3(largest / E2M1_MAX)
    low, high = _SCALE_CODES[scheme]
    for step in _STEPS[scheme]:
        yield np.clip(prescribed.astype(np.int16) + step, low, high).astype(np.uint8)


def _least_errors(
    blocks: Reals, candidates: Iterable[Codes], importance: Reals, scheme: Scheme
) -> tuple[Codes, Reals]:
    """The best codes [N, blocks], and their errors."""
    best = np.zeros(blocks.shape[:2], np.uint8)
    least = np.full(blocks.shape[:2], np.inf)
    for codes in candidates:
        units = scale_values(codes, scheme)[:, :, None]
        error = (importance * (round_e2m1(blocks / units) * units - blocks) ** 2).sum(axis=2)
        better = error < least
        best[better], least[better] = codes[better], error[better]
    return best, least
