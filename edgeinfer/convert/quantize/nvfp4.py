"""NVFP4: E2M1 elements, one E4M3 scale for 16 of them along K, one float32 scale for the tensor.

    tensor scale  t = max |w| / (6 * 448)                       float32
    block scale   s = E4M3(max of the block |w| / (6 * t))
    element       e = E2M1(w / (s * t))                         w is about e * s * t

rounded to nearest, ties to even, saturating. So the largest weight of the tensor is an element of 6
in a block of scale 448. Where a block's scale rounds to 0, its elements are 0. Nothing is searched.
Source: NVIDIA, "Pretraining Large Language Models with NVFP4" (2025), on quantisation.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.quantize.block_weights import BLOCK, BlockWeights, in_blocks
from edgeinfer.convert.quantize.small_floats import (
    E2M1_MAX,
    E4M3_MAX,
    decode_e4m3,
    encode_e2m1,
    encode_e4m3,
)

_SMALLEST = np.float32(2.0**-100)  # of tensor scales: products with it stay normal numbers


def tensor_scale(weights: npt.NDArray[np.float32]) -> np.float32:
    """The scale that brings the largest weight to 6 * 448."""
    largest = np.abs(weights).max(initial=0)
    return max(np.float32(largest / np.float32(E2M1_MAX * E4M3_MAX)), _SMALLEST)


def quantize_nvfp4(weights: npt.NDArray[np.float32]) -> BlockWeights:
    """Round a matrix [N, K] to NVFP4.

    Raises
    ------
    ValueError
        A weight is infinite or NaN, for which elements have no code.
    """
    blocks = in_blocks(weights, BLOCK["nvfp4"])
    scale = tensor_scale(weights)
    scales = encode_e4m3(np.abs(blocks).max(axis=2) / (E2M1_MAX * np.float64(scale)))
    units = decode_e4m3(scales).astype(np.float64)[:, :, None] * np.float64(scale)
    ratios = np.divide(blocks, units, out=np.zeros_like(blocks), where=units != 0)
    codes = encode_e2m1(ratios).reshape(weights.shape[0], -1)
    factors = np.full(len(weights), scale, np.float32)
    return BlockWeights("nvfp4", codes, scales, factors, weights.shape[1])
