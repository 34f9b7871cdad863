"""MXFP4: E2M1 elements, one E8M0 scale for 32 of them along K (OCP Microscaling Formats 1.0).

The conversion that the specification describes: a block's scale is the power of two

    X = 2^(floor(log2(max |w|)) - 2)

so that its largest element lies in [4, 8), of which what exceeds 6 saturates; elements are w / X
rounded to nearest, ties to even. A block of zeros gets the smallest scale. Nothing is searched.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.quantize.block_weights import BLOCK, BlockWeights, in_blocks
from edgeinfer.convert.quantize.small_floats import decode_e8m0, encode_e2m1, encode_e8m0

_LARGEST_POWER = 2  # of two in E2M1: 6 = 1.5 * 2^2


def quantize_mxfp4(weights: npt.NDArray[np.float32]) -> BlockWeights:
    """Round a matrix [N, K] to MXFP4.

    Raises
    ------
    ValueError
        A weight is infinite or NaN, for which elements have no code.
    """
    blocks = in_blocks(weights, BLOCK["mxfp4"])
    largest = np.abs(blocks).max(axis=2)
    scales = encode_e8m0(largest * 2.0**-_LARGEST_POWER, "down")
    units = decode_e8m0(scales).astype(np.float64)[:, :, None]
    codes = encode_e2m1(blocks / units).reshape(weights.shape[0], -1)
    factors = np.ones(len(weights), np.float32)
    return BlockWeights("mxfp4", codes, scales, factors, weights.shape[1])
