"""Rounding with error feedback: what one weight loses, the later ones make up for.

With calibration data the error that counts is not that of the weights but of what they compute,

    E | (w - q) x |^2  =  (w - q) H (w - q)',   H = E x x'

Columns of K are rounded one after the other. Each one's error is spread over the columns that are
still to come, in the way that keeps the sum above least while those are still real numbers: with
U' U = inverse of H, U upper triangular, an error e of column j changes column i > j by
-e U[j,i] / U[j,j]. That is GPTQ (E. Frantar et al., "GPTQ: Accurate post-training quantization for
generative pre-trained transformers", ICLR 2023). A block's scale is chosen when its first column's
turn comes, for the weights as they are by then, with the squared error of a column counted
1 / U[j,j]^2: what it costs after the later columns have made up for it as well as they can.

Not guaranteed: less error than `search_block_scales` on other data. H is damped, so that inputs
which hardly vary do not take up large weights. Nor the same codes on another machine: H comes of
NumPy's products, whose order of sums is the machine's.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.quantize.block_weights import BLOCK, BlockWeights, Scheme, in_blocks
from edgeinfer.convert.quantize.channel_weights import ChannelWeights, round_channels
from edgeinfer.convert.quantize.search_block_scales import (
    best_scales,
    channel_factors,
    round_e2m1,
    scale_values,
    search_block_scales,
)
from edgeinfer.convert.quantize.small_floats import encode_e2m1

Reals = npt.NDArray[np.float64]

DAMPING = 0.01
"""Part of the mean of H's diagonal that is added to the diagonal."""
_COLUMNS = 32
"""Of int8 weights, rounded before the others are changed in one product."""


def feed_back_errors(
    weights: npt.NDArray[np.float32],
    scheme: Scheme,
    moments: npt.NDArray[np.float64],
    damping: float = DAMPING,
) -> BlockWeights:
    """Quantise a matrix so that its products with inputs like these change little.

    Parameters
    ----------
    weights : float32 [N, K]
    moments : float64 [K, K]
        Mean of x x' over inputs x [K] of the layer; of rows of patches for a convolution.
    damping : float
        Above 0.

    Raises
    ------
    ValueError
        A weight or moment is infinite or NaN, or shapes do not fit.
    """
    n, k = _checked(weights, moments)
    if not np.trace(moments) > 0:  # nothing is known of the inputs
        return search_block_scales(weights, scheme)
    block = BLOCK[scheme]
    factors = channel_factors(weights, scheme)
    blocks = in_blocks(weights, block)
    rest = (blocks / factors.astype(np.float64)[:, None, None]).reshape(n, -1)
    upper = _inverse_root(moments, rest.shape[1], damping)
    scales = np.zeros(blocks.shape[:2], np.uint8)
    codes = np.zeros(rest.shape, np.uint8)
    for number, first in enumerate(range(0, rest.shape[1], block)):
        end = first + block
        root = upper[first:end, first:end]
        counts = np.diag(root) ** -2.0
        scales[:, number] = best_scales(rest[:, None, first:end], scheme, counts)[:, 0]
        units = scale_values(scales[:, number], scheme)
        rounded, errors = _rounded_block(rest[:, first:end], units, root)
        codes[:, first:end] = encode_e2m1(rounded)
        rest[:, end:] -= errors @ upper[first:end, end:]
    codes[:, k:] = 0
    return BlockWeights(scheme, codes, scales, factors, k)


def feed_back_channels(
    weights: npt.NDArray[np.float32],
    moments: npt.NDArray[np.float64],
    damping: float = DAMPING,
) -> ChannelWeights:
    """The same for int8 with a scale for each channel, that of `round_channels`.

    Parameters and errors are those of `feed_back_errors`.
    """
    n, k = _checked(weights, moments)
    plain = round_channels(weights)
    if not np.trace(moments) > 0:
        return plain
    scales = np.where(plain.scales > 0, plain.scales, 1).astype(np.float64)
    rest = weights / scales[:, None]
    upper = _inverse_root(moments, k, damping)
    codes = np.zeros((n, k), np.int8)
    for first in range(0, k, _COLUMNS):
        end = min(first + _COLUMNS, k)
        left, errors = rest[:, first:end].copy(), np.empty((n, end - first))
        for j in range(end - first):
            root = upper[first + j, first + j : end]
            rounded = np.clip(np.rint(left[:, j]), -127, 127)
            codes[:, first + j] = rounded
            errors[:, j] = (left[:, j] - rounded) / root[0]
            left[:, j + 1 :] -= np.outer(errors[:, j], root[1:])
        rest[:, end:] -= errors @ upper[first:end, end:]
    return ChannelWeights(codes, plain.scales)


def _checked(weights: npt.NDArray[np.float32], moments: npt.NDArray[np.float64]) -> tuple[int, int]:
    n, k = weights.shape
    if moments.shape != (k, k) or not np.all(np.isfinite(moments)):
        raise ValueError(f"moments are {list(moments.shape)}, must be [{k}, {k}] and finite")
    return n, k


def _rounded_block(columns: Reals, units: Reals, root: Reals) -> tuple[Reals, Reals]:
    """Elements [N, block] of a block in units of its scale, and each column's error / U[j,j]."""
    left = columns.copy()
    rounded, errors = np.empty_like(left), np.empty_like(left)
    for j in range(left.shape[1]):
        rounded[:, j] = round_e2m1(left[:, j] / units)
        errors[:, j] = (left[:, j] - rounded[:, j] * units) / root[j, j]
        left[:, j + 1 :] -= np.outer(errors[:, j], root[j, j + 1 :])
    return rounded, errors


def _inverse_root(moments: Reals, size: int, damping: float) -> Reals:
    """U, upper triangular, with U' U the inverse of the damped moments; `size` beyond K is free."""
    k = len(moments)
    damped = np.zeros((size, size))
    damped[:k, :k] = moments
    damped[np.diag_indices(size)] += damping * np.trace(moments) / k
    return np.asarray(np.linalg.cholesky(np.linalg.inv(damped)).T)
