"""Packed weights: where every byte lies, that nothing is lost, that padding is zero."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.convert.lower import pack

SIZES = st.integers(1, 5)
CHANNELS = st.sampled_from([1, 2, 3, 4, 5, 8, 15, 16, 17, 33])


def weights_of(shape: tuple[int, ...]) -> np.ndarray:
    """Nonzero int8 values, -128 among them, so that padding can be told from data."""
    values = np.arange(1, np.prod(shape) + 1, dtype=np.int64) % 255 - 128
    return np.where(values >= 0, values + 1, values).astype(np.int8).reshape(shape)


def value_at(packed: np.ndarray, channel: int, k: int) -> int:
    """The packed value by the formula of docs/internals/kernels.md, on the flat bytes."""
    groups_of_four = packed.shape[1]
    tile = (channel // 16) * groups_of_four + k // 4
    return int(packed.reshape(-1)[tile * 64 + (channel % 16) * 4 + k % 4])


@given(st.sampled_from([1, 2, 3]), CHANNELS, SIZES, SIZES, CHANNELS, st.integers(1, 2))
def test_conv2d_bytes_lie_where_the_layout_says(
    groups: int, group_n: int, kernel_h: int, kernel_w: int, channels: int, dilation_w: int
) -> None:
    weights = weights_of((groups * group_n, kernel_h, kernel_w, channels))
    packed = pack.pack_conv2d(weights, groups, dilation_w)
    padded_n = -(-group_n // 16) * 16
    padded_c = -(-channels // 4) * 4
    joined = -(-kernel_w * channels // 4) * 4
    assert packed.dtype == np.int8 and packed.flags.c_contiguous
    for o, ky, kx, c in np.ndindex(weights.shape):
        if groups == 1 and dilation_w == 1:
            k = ky * joined + kx * channels + c
        else:
            k = (ky * kernel_w + kx) * padded_c + c
        channel = o // group_n * padded_n + o % group_n
        assert value_at(packed, channel, k) == weights[o, ky, kx, c]
    assert np.count_nonzero(packed) == weights.size


@given(CHANNELS, SIZES, SIZES)
def test_depthwise_bytes_lie_where_the_layout_says(oc: int, kernel_h: int, kernel_w: int) -> None:
    weights = weights_of((kernel_h, kernel_w, oc))
    packed = pack.pack_depthwise_conv2d(weights)
    for ky, kx, o in np.ndindex(weights.shape):
        assert value_at(packed, o, ky * kernel_w + kx) == weights[ky, kx, o]
    assert np.count_nonzero(packed) == weights.size


@given(CHANNELS, CHANNELS)
def test_fully_connected_bytes_lie_where_the_layout_says(n: int, k: int) -> None:
    weights = weights_of((n, k))
    packed = pack.pack_fully_connected(weights)
    assert packed.shape == (-(-n // 16), -(-k // 4), 16, 4)
    for channel, i in np.ndindex(weights.shape):
        assert value_at(packed, channel, i) == weights[channel, i]
    assert np.count_nonzero(packed) == weights.size


@given(st.sampled_from([1, 2, 3]), CHANNELS, SIZES, SIZES, CHANNELS)
def test_transpose_conv2d_bytes_lie_where_the_layout_says(
    groups: int, group_n: int, kernel_h: int, kernel_w: int, channels: int
) -> None:
    weights = weights_of((groups * group_n, kernel_h, kernel_w, channels))
    packed = pack.pack_transpose_conv2d(weights, groups)
    # One segment per tap is what conv2d has when taps are apart in memory.
    np.testing.assert_array_equal(packed, pack.pack_conv2d(weights, groups, dilation_w=2))


@given(st.sampled_from([1, 2, 3]), CHANNELS, SIZES, SIZES, CHANNELS, st.integers(1, 2))
def test_unpacking_gives_the_weights_back(
    groups: int, group_n: int, kernel_h: int, kernel_w: int, channels: int, dilation_w: int
) -> None:
    shape = (groups * group_n, kernel_h, kernel_w, channels)
    weights = weights_of(shape)
    conv = pack.pack_conv2d(weights, groups, dilation_w)
    np.testing.assert_array_equal(pack.unpack_conv2d(conv, shape, groups, dilation_w), weights)
    transposed = pack.pack_transpose_conv2d(weights, groups)
    np.testing.assert_array_equal(pack.unpack_transpose_conv2d(transposed, shape, groups), weights)
    depthwise = weights_of((kernel_h, kernel_w, channels))
    np.testing.assert_array_equal(
        pack.unpack_depthwise_conv2d(pack.pack_depthwise_conv2d(depthwise), depthwise.shape),
        depthwise,
    )
    matrix = weights_of((group_n, channels))
    np.testing.assert_array_equal(
        pack.unpack_fully_connected(pack.pack_fully_connected(matrix), matrix.shape), matrix
    )
    values = np.arange(1, groups * group_n + 1, dtype=np.float32)
    packed_values = pack.pack_channels(values, groups)
    assert packed_values.shape == (groups * (-(-group_n // 16) * 16),)
    assert np.count_nonzero(packed_values) == values.size
    np.testing.assert_array_equal(
        pack.unpack_channels(packed_values, groups * group_n, groups), values
    )


@given(st.integers(0, 2**32 - 1), st.sampled_from([-128, -1, 0, 7, 127]))
def test_accumulator_range_is_reached_and_never_left(seed: int, zero_point: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.integers(-128, 128, (5, 7)).astype(np.int8)
    bias = rng.integers(-1000, 1000, 5)
    low, high = pack.accumulator_range(bias, weights, zero_point)
    x = rng.integers(-128, 128, (50, 7))
    sums = bias + (x - zero_point) @ weights.T.astype(np.int64)
    assert (sums >= low).all() and (sums <= high).all()
    for channel, row in enumerate(weights):
        least, most = np.where(row > 0, -128, 127), np.where(row > 0, 127, -128)
        assert low[channel] == bias[channel] + ((least - zero_point) * row.astype(int)).sum()
        assert high[channel] == bias[channel] + ((most - zero_point) * row.astype(int)).sum()


def test_folded_bias_makes_raw_products_sum_to_the_same() -> None:
    rng = np.random.default_rng(1)
    weights = rng.integers(-128, 128, (3, 3, 6)).astype(np.int8)
    bias = rng.integers(-1000, 1000, 6).astype(np.int32)
    x = rng.integers(-128, 128, (3, 3, 6))
    folded = pack.fold_zero_point(bias, weights, -128, "int32", channel_axis=2)
    assert folded.dtype == np.int32
    expected = bias + ((x + 128) * weights.astype(int)).sum(axis=(0, 1))
    np.testing.assert_array_equal(folded + (x * weights.astype(int)).sum(axis=(0, 1)), expected)


def test_folded_bias_wraps_like_the_sums_of_the_kernels() -> None:
    weights = np.full((1, 2), 127, np.int8)
    bias = np.array([2**31 - 1], np.int64)
    folded = pack.fold_zero_point(bias, weights, -128, "int32")
    assert folded[0] == 2**31 - 1 + 128 * 254 - 2**32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pack.pack_conv2d(np.zeros((6, 1, 1, 1), np.int8), 4), "4 groups"),
        (lambda: pack.pack_fully_connected(np.zeros((2, 2), np.int16)), "int16"),
        (lambda: pack.unpack_fully_connected(np.zeros(64, np.int8), (17, 4)), "at least 128"),
    ],
)
def test_wrong_arguments_are_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
