"""Packing of weights of four bits into the layout that every kernel tier reads in place.

A matrix of E2M1 codes [N, K] with a scale for each block of K becomes, for 16 output channels (a
tile) at a time and block after block of K:

    group of 4 blocks:  64 bytes of scales, 16 of each block; then the blocks
    block:              4 (MXFP4) or 2 (NVFP4) pieces of 64 bytes, 8 values of K each
    piece:              byte 4 * n + i = code(n, k + i) | code(n, k + 4 + i) << 4,   0 <= i < 4

The last group has as many blocks as are left, and 64 bytes of scales like the others. What does not
exist is 0. csrc/kernels/packed_gemm_s8_f4/ says why.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.lower.pack import TILE_CHANNELS
from edgeinfer.convert.quantize.block_weights import BLOCK, BlockWeights, Scheme
from edgeinfer.convert.quantize.small_floats import decode_e2m1, decode_e4m3, decode_e8m0

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

_GROUP = 4
_PIECE_BYTES = 64
_PIECE_K = 8


def tile_bytes(k: int, scheme: Scheme) -> int:
    """Bytes of 16 output channels with k values each."""
    blocks = -(-k // BLOCK[scheme])
    pieces = BLOCK[scheme] // _PIECE_K
    return blocks * pieces * _PIECE_BYTES + -(-blocks // _GROUP) * _GROUP * TILE_CHANNELS


def pack_blocks(weights: BlockWeights, groups: int = 1) -> Bytes:
    """Pack a matrix [N, K] of a fully_connected or conv2d.

    Parameters
    ----------
    weights : BlockWeights
        K of a convolution is (ky, kx, input channel of the group), one run.
    groups : int
        The i-th N / groups output channels are padded to 16 by themselves.

    Returns
    -------
    uint8 array [groups * ceil(N / groups / 16), bytes of a tile]
    """
    n, blocks = weights.scales.shape
    if n % groups:
        raise ValueError(f"{n} output channels do not divide into {groups} groups")
    pieces = BLOCK[weights.scheme] // _PIECE_K
    tiles = -(-(n // groups) // TILE_CHANNELS)
    channels = (groups, tiles * TILE_CHANNELS)
    codes = np.zeros((*channels, blocks * pieces * _PIECE_K), np.uint8)
    codes[:, : n // groups] = weights.codes.reshape(groups, n // groups, -1)
    pairs = codes.reshape(groups * tiles, TILE_CHANNELS, blocks, pieces, 2, 4)
    joined = pairs[..., 0, :] | pairs[..., 1, :] << 4
    data = joined.transpose(0, 2, 3, 1, 4).reshape(groups * tiles, blocks, pieces * _PIECE_BYTES)
    scales = np.zeros((*channels, -(-blocks // _GROUP) * _GROUP), np.uint8)
    scales[:, : n // groups, :blocks] = weights.scales.reshape(groups, n // groups, blocks)
    by_group = scales.reshape(groups * tiles, TILE_CHANNELS, -1, _GROUP).transpose(0, 2, 3, 1)
    parts = []
    for group, first in enumerate(range(0, blocks, _GROUP)):
        parts.append(by_group[:, group].reshape(groups * tiles, -1))
        parts.append(data[:, first : first + _GROUP].reshape(groups * tiles, -1))
    return np.ascontiguousarray(np.concatenate(parts, axis=1))


def unpack_blocks(
    packed: npt.ArrayLike, scheme: Scheme, n: int, k: int, groups: int = 1
) -> BlockWeights:
    """Undo `pack_blocks`; channels' factors are not in the bytes and given as 1."""
    blocks, pieces = -(-k // BLOCK[scheme]), BLOCK[scheme] // _PIECE_K
    tiles = -(-(n // groups) // TILE_CHANNELS)
    size = tile_bytes(k, scheme)
    flat = np.asarray(packed, np.uint8).reshape(-1)
    if flat.size < groups * tiles * size:
        needed = groups * tiles * size
        raise ValueError(f"packed weights have {flat.size} bytes, must have at least {needed}")
    by_tile = flat[: groups * tiles * size].reshape(groups * tiles, size)
    codes = np.zeros((groups * tiles, TILE_CHANNELS, blocks, pieces, 2, 4), np.uint8)
    scales = np.zeros((groups * tiles, TILE_CHANNELS, blocks), np.uint8)
    at = 0
    for first in range(0, blocks, _GROUP):
        count = min(_GROUP, blocks - first)
        group = by_tile[:, at : at + count * TILE_CHANNELS].reshape(-1, count, TILE_CHANNELS)
        scales[:, :, first : first + count] = group.swapaxes(1, 2)
        at += _GROUP * TILE_CHANNELS
        end = at + count * pieces * _PIECE_BYTES
        data = by_tile[:, at:end].reshape(-1, count, pieces, TILE_CHANNELS, 4)
        data = data.transpose(0, 3, 1, 2, 4)
        codes[:, :, first : first + count, :, 0] = data & 15
        codes[:, :, first : first + count, :, 1] = data >> 4
        at = end

    def existing(values: Bytes) -> Bytes:
        by_group = values.reshape(groups, tiles * TILE_CHANNELS, -1)[:, : n // groups]
        return np.ascontiguousarray(by_group.reshape(n, -1))

    return BlockWeights(scheme, existing(codes), existing(scales), np.ones(n, np.float32), k)


def scale_lines(packed: npt.ArrayLike, scheme: Scheme, k: int) -> list[Bytes]:
    """All bytes of scales [tiles, 64], group after group of blocks, those of no block too."""
    size = tile_bytes(k, scheme)
    by_tile = np.asarray(packed, np.uint8).reshape(-1, size)
    step = _GROUP * (TILE_CHANNELS + BLOCK[scheme] // _PIECE_K * _PIECE_BYTES)
    return [by_tile[:, at : at + _GROUP * TILE_CHANNELS] for at in range(0, size, step)]


def doubled_values(weights: BlockWeights) -> npt.NDArray[np.int8]:
    """Twice the E2M1 values [N, K rounded up]: what kernels multiply."""
    return (2 * decode_e2m1(weights.codes)).astype(np.int8)


def kernel_scales(weights: BlockWeights) -> Floats:
    """Scales [N, blocks] as kernels decode them: those of NVFP4 times 2^-8."""
    if weights.scheme == "mxfp4":
        return decode_e8m0(weights.scales)
    return np.asarray(decode_e4m3(weights.scales) * np.float32(2.0**-8))


def kernel_factors(weights: BlockWeights) -> Floats:
    """What sums of each channel [N] must be multiplied by: undoes the two above, too."""
    power = -1 if weights.scheme == "mxfp4" else 7
    return np.ldexp(weights.factors.astype(np.float32), power).astype(np.float32)
