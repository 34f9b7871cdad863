"""Convolutions, fully connected and matrix products give the oracle's bits through whole files:
over whole tensors and streamed through the smallest rings, in bands of any height."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.convert.lower import pack
from edgeinfer.convert.program import Operation, Value
from tests.kernels.run_operation import RowRange, constant, run_streamed, run_whole
from tests.oracle import convolution
from tests.oracle.requantize import requantize

LIMITS = {"int8": (-128, 127), "int16": (-32768, 32767)}
BIAS_DTYPES = {"int8": "int32", "int16": "int64"}

dtypes = st.sampled_from(["int8", "int8", "int16"])
seeds = st.integers(0, 2**32 - 1)
kernels = st.tuples(st.integers(1, 7), st.integers(1, 7))
strides = st.tuples(st.integers(1, 3), st.integers(1, 3))
dilations = st.sampled_from([(1, 1), (1, 1), (2, 1), (1, 2), (3, 2)])
channel_counts = st.sampled_from([1, 2, 3, 4, 5, 8, 15, 16, 17, 20, 33])
bands = st.integers(1, 5)


@dataclass(frozen=True)
class Quantization:
    """Everything about numbers that is not a shape."""

    dtype: str
    seed: int
    x_zero_point: int
    y_zero_point: int
    clamp: tuple[int, int]
    values: str
    spread: str

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    def activation(self, shape: tuple[int, ...]) -> np.ndarray:
        low, high = LIMITS[self.dtype]
        if self.values == "lowest":
            return np.full(shape, low, self.dtype)
        if self.values == "extremes":
            return self.rng().choice([low, high], shape).astype(self.dtype)
        return self.rng().integers(low, high, shape, endpoint=True).astype(self.dtype)

    def weights(self, shape: tuple[int, ...]) -> np.ndarray:
        if self.values == "lowest":
            return np.full(shape, -128, np.int8)
        if self.values == "extremes":
            return self.rng().choice([-128, 127], shape).astype(np.int8)
        return self.rng().integers(-128, 128, shape).astype(np.int8)

    def bias(self, channels: int) -> np.ndarray:
        return self.rng().integers(-(2**15), 2**15, channels)

    def multipliers(self, sums: np.ndarray) -> np.ndarray:
        """One per channel, such that outputs spread over the range, hit ties, or saturate."""
        channels = sums.shape[-1]
        largest = np.abs(sums).max() + 1
        if self.spread == "saturating":
            return np.full(channels, 1e30, np.float32)
        if self.spread == "ties":
            power = np.ceil(np.log2(largest / LIMITS[self.dtype][1]))
            return np.full(channels, 2.0 ** -max(power, 1), np.float32)
        step = LIMITS[self.dtype][1] * 1.5 / largest
        return (step * self.rng().uniform(0.1, 1, channels)).astype(np.float32)

    def finish(self, sums: np.ndarray, multiplier: np.ndarray | float) -> np.ndarray:
        if self.dtype == "int8":
            sums = sums.astype(np.int32)  # as the kernels wrap
        with np.errstate(over="ignore"):  # a product of infinity saturates
            return requantize(sums, multiplier, self.y_zero_point, self.clamp, self.dtype)

    def params(self) -> dict[str, int | float]:
        low, high = self.clamp
        return {"out_zero_point": self.y_zero_point, "clamp_min": low, "clamp_max": high}


@st.composite
def quantizations(draw: st.DrawFn) -> Quantization:
    dtype = draw(dtypes)
    low, high = LIMITS[dtype]
    zero_points = st.one_of(st.sampled_from([low, 0, high]), st.integers(low, high))
    clamp = (low, high)
    if draw(st.booleans()):
        ends = draw(st.tuples(st.integers(low, high), st.integers(low, high)))
        clamp = (min(ends), max(ends))
    return Quantization(
        dtype,
        draw(seeds),
        draw(zero_points),
        draw(zero_points),
        clamp,
        draw(st.sampled_from(["random", "random", "extremes", "lowest"])),
        draw(st.sampled_from(["typical", "typical", "ties", "saturating"])),
    )


@dataclass(frozen=True)
class Window:
    """Geometry of a convolution; out is what the padding leaves."""

    batch: int
    image: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]

    @property
    def out(self) -> tuple[int, int]:
        height, width = (
            (size + sum(pads) - (k - 1) * d - 1) // s + 1
            for size, pads, k, d, s in zip(
                self.image, self.padding, self.kernel, self.dilations, self.strides, strict=True
            )
        )
        return height, width

    @property
    def leaves_image(self) -> bool:
        return any(
            pads[0] > 0 or (out - 1) * s - pads[0] + (k - 1) * d >= size
            for size, pads, k, d, s, out in zip(
                self.image,
                self.padding,
                self.kernel,
                self.dilations,
                self.strides,
                self.out,
                strict=True,
            )
        )

    def params(self) -> dict[str, int | float]:
        names = ["kernel", "stride", "dilation"]
        pairs = zip(names, (self.kernel, self.strides, self.dilations), strict=True)
        params: dict[str, int | float] = {
            f"{name}_{axis}": pair[i] for name, pair in pairs for i, axis in enumerate("hw")
        }
        return {**params, "pad_top": self.padding[0][0], "pad_left": self.padding[1][0]}

    def reads(self, begin: int, end: int) -> tuple[int, int]:
        """Rows between the first and the last tap of output rows [begin, end), in the images."""
        first_image, first_row = divmod(begin, self.out[0])
        last_image, last_row = divmod(end - 1, self.out[0])
        height, reach = self.image[0], (self.kernel[0] - 1) * self.dilations[0] + 1
        first = first_row * self.strides[0] - self.padding[0][0]
        last = last_row * self.strides[0] - self.padding[0][0] + reach
        low = first_image * height + min(max(first, 0), height)
        high = last_image * height + min(max(last, 0), height)
        return low, max(low, high)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    kernel, stride, dilation = draw(kernels), draw(strides), draw(dilations)

    def axis(k: int, d: int) -> tuple[int, tuple[int, int]]:
        reach = (k - 1) * d + 1
        before, after = draw(st.integers(0, reach)), draw(st.integers(0, reach))
        if draw(st.booleans()):
            before = after = 0
        smallest = max(reach - before - after, 1)
        return draw(st.integers(smallest, smallest + 6)), (before, after)

    height, rows = axis(kernel[0], dilation[0])
    width, columns = axis(kernel[1], dilation[1])
    batch = draw(st.sampled_from([1, 1, 2, 3]))
    return Window(batch, (height, width), kernel, stride, dilation, (rows, columns))


def check(
    operation: Operation,
    activations: list[np.ndarray],
    expected: np.ndarray,
    reads: list[RowRange],
    band: int,
) -> None:
    np.testing.assert_array_equal(run_whole(operation, activations), expected)
    streamed = run_streamed(operation, activations, reads, band)
    np.testing.assert_array_equal(streamed, expected, err_msg="streamed")


def build(
    operator: str,
    x: np.ndarray,
    sums: np.ndarray,
    constants: list[np.ndarray],
    q: Quantization,
    params: dict[str, int | float],
    groups: int = 1,
    zero: np.ndarray | None = None,
) -> tuple[Operation, np.ndarray]:
    """The operation, from its packed weights and channel bias, and what it must give."""
    weights, bias = constants
    multiplier = q.multipliers(sums)
    inputs: list[Value | None] = [
        Value("x", x.shape, x.dtype.name),
        constant("weights", weights),
        constant("bias", pack.pack_channels(bias, groups)),
        constant("multiplier", pack.pack_channels(multiplier, groups)),
    ]
    if zero is not None:
        inputs.append(constant("zero", zero))
    output = Value("y", sums.shape, x.dtype.name)
    operation = Operation(operator, inputs, [output], {**params, **q.params()}, operator)
    return operation, q.finish(sums, multiplier)


def zero_row_of(window: Window, x: np.ndarray, q: Quantization, always: bool) -> np.ndarray | None:
    if always or window.leaves_image:
        return pack.zero_row(x.shape[2], x.shape[3], q.x_zero_point, q.dtype)
    return None


@given(
    windows(), quantizations(), channel_counts, channel_counts, st.sampled_from([1, 1, 2, 3]),
    st.booleans(), bands,
)  # fmt: skip
def test_conv2d(window, q, group_in, group_out, groups, always_zero, band) -> None:
    x = q.activation((window.batch, *window.image, groups * group_in))
    weights = q.weights((groups * group_out, *window.kernel, group_in))
    bias = q.bias(groups * group_out)
    sums = convolution.conv_2d_sums(
        x, q.x_zero_point, weights, bias,
        strides=window.strides, dilations=window.dilations, padding=window.padding,
    )  # fmt: skip
    folded = pack.fold_zero_point(bias, weights, q.x_zero_point, BIAS_DTYPES[q.dtype])
    packed = pack.pack_conv2d(weights, groups, window.dilations[1])
    operation, expected = build(
        "conv2d", x, sums, [packed, folded], q, {**window.params(), "groups": groups}, groups,
        zero_row_of(window, x, q, always_zero),
    )  # fmt: skip
    check(operation, [x], expected, [window.reads], band)


@given(
    windows(), quantizations(), channel_counts, st.sampled_from([1, 1, 1, 2, 3]), st.booleans(),
    bands,
)  # fmt: skip
def test_depthwise_conv2d(window, q, channels, multiplier, always_zero, band) -> None:
    x = q.activation((window.batch, *window.image, channels))
    weights = q.weights((*window.kernel, channels * multiplier))
    bias = q.bias(channels * multiplier)
    sums = convolution.depthwise_conv_2d_sums(
        x, q.x_zero_point, weights[np.newaxis], bias,
        strides=window.strides, dilations=window.dilations, padding=window.padding,
    )  # fmt: skip
    folded = pack.fold_zero_point(bias, weights, q.x_zero_point, BIAS_DTYPES[q.dtype], 2)
    packed = pack.pack_depthwise_conv2d(weights)
    operation, expected = build(
        "depthwise_conv2d", x, sums, [packed, folded], q,
        {**window.params(), "multiplier": multiplier},
        zero=zero_row_of(window, x, q, always_zero),
    )  # fmt: skip
    check(operation, [x], expected, [window.reads], band)


def transpose_conv_sums(
    x: np.ndarray,
    zero_point: int,
    weights: np.ndarray,
    bias: np.ndarray,
    window: Window,
    out: tuple[int, int],
    groups: int,
) -> np.ndarray:
    """Scattered: every input pixel adds its taps where they land."""
    sums = np.zeros((x.shape[0], *out, weights.shape[0]), np.int64) + bias
    (step_h, step_w), (apart_h, apart_w) = window.strides, window.dilations
    by_group = weights.reshape(groups, -1, *weights.shape[1:]).astype(np.int64)
    centred = x.astype(np.int64).reshape(*x.shape[:3], groups, -1) - zero_point
    for iy, ix, ky, kx in np.ndindex(*x.shape[1:3], *weights.shape[1:3]):
        oy = iy * step_h + ky * apart_h - window.padding[0][0]
        ox = ix * step_w + kx * apart_w - window.padding[1][0]
        if 0 <= oy < out[0] and 0 <= ox < out[1]:
            taps = np.einsum("ngc,goc->ngo", centred[:, iy, ix], by_group[:, :, ky, kx])
            sums[:, oy, ox] += taps.reshape(x.shape[0], -1)
    return sums


@given(
    kernels, strides, dilations, st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(0, 5), st.integers(0, 5)), st.tuples(st.integers(-4, 3),
    st.integers(-4, 3)), st.sampled_from([1, 1, 2]), quantizations(), channel_counts,
    channel_counts, st.sampled_from([1, 1, 2]), bands,
)  # fmt: skip
def test_transpose_conv2d(
    kernel, stride, dilation, image, origin, more, batch, q, group_in, group_out, groups, band
) -> None:
    window = Window(batch, image, kernel, stride, dilation, ((origin[0], 0), (origin[1], 0)))
    height, width = (
        max(1, (n - 1) * s + (k - 1) * d + 1 - p + m)
        for n, s, k, d, p, m in zip(image, stride, kernel, dilation, origin, more, strict=True)
    )
    x = q.activation((batch, *image, groups * group_in))
    weights = q.weights((groups * group_out, *kernel, group_in))
    bias = q.bias(groups * group_out)
    sums = transpose_conv_sums(x, q.x_zero_point, weights, bias, window, (height, width), groups)
    packed = pack.pack_transpose_conv2d(weights, groups)
    params = {**window.params(), "groups": groups, "in_zero_point": q.x_zero_point}
    operation, expected = build(
        "transpose_conv2d", x, sums, [packed, bias.astype(BIAS_DTYPES[q.dtype])], q, params, groups
    )

    def reads(begin: int, end: int) -> tuple[int, int]:
        first_image, first_row = divmod(begin, height)
        last_image, last_row = divmod(end - 1, height)
        reach = first_row + origin[0] - (kernel[0] - 1) * dilation[0]
        first = min(max(0, -(-reach // stride[0])), image[0])
        last = min((last_row + origin[0]) // stride[0] + 1, image[0])
        low, high = first_image * image[0] + first, last_image * image[0] + last
        return low, max(low, high)

    check(operation, [x], expected, [reads], band)


def same_rows(begin: int, end: int) -> tuple[int, int]:
    return begin, end


@given(
    st.lists(st.integers(1, 4), max_size=4), st.integers(1, 70), st.integers(1, 40),
    quantizations(), bands,
)  # fmt: skip
def test_fully_connected(outer, depth, units, q, band) -> None:
    x = q.activation((*outer, depth))
    weights, bias = q.weights((units, depth)), q.bias(units)
    sums = convolution.fully_connected_sums(x, q.x_zero_point, weights, bias)
    folded = pack.fold_zero_point(bias, weights, q.x_zero_point, BIAS_DTYPES[q.dtype])
    operation, expected = build(
        "fully_connected", x, sums, [pack.pack_fully_connected(weights), folded], q, {}
    )
    check(operation, [x], expected, [same_rows], band)


def test_fully_connected_wraps_like_int32() -> None:
    """The converter refuses such sums; a file that has them must still be the same everywhere."""
    depth = 2**17 + 1
    x = np.full((1, depth), -128, np.int8)
    weights = np.full((3, depth), -128, np.int8)
    weights[1] = 127
    q = Quantization("int8", 0, 0, 0, (-128, 127), "lowest", "typical")
    sums = convolution.fully_connected_sums(x, 0, weights)
    assert sums[0, 0] == 2**31 + 2**14
    assert sums[0, 1] > -(2**31)
    packed = pack.pack_fully_connected(weights)
    operation, expected = build("fully_connected", x, sums, [packed, np.zeros(3, np.int32)], q, {})
    assert expected[0, 0] < 0
    np.testing.assert_array_equal(run_whole(operation, [x]), expected)


@given(
    st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["both", "both", "a", "b"])), max_size=4),
    st.integers(1, 6), st.integers(1, 40), st.integers(1, 40), st.booleans(), quantizations(),
    bands,
)  # fmt: skip
def test_batch_matmul(batch, height, depth, width, transpose_b, q, band) -> None:
    a_batch = tuple(size if kind != "b" else 1 for size, kind in batch)
    b_batch = tuple(size if kind != "a" else 1 for size, kind in batch)
    y_batch = np.broadcast_shapes(a_batch, b_batch)
    a = q.activation((*a_batch, height, depth))
    b = np.flip(q.activation((*b_batch, depth, width)))
    b_zero_point = -1 - q.x_zero_point
    sums = convolution.matmul_sums(a, q.x_zero_point, b, b_zero_point)
    multiplier = q.multipliers(sums)[0]
    stored_b = np.ascontiguousarray(b.swapaxes(-1, -2) if transpose_b else b)
    params = {
        "transpose_b": int(transpose_b),
        "a_zero_point": q.x_zero_point,
        "b_zero_point": b_zero_point,
        "multiplier": float(multiplier),
    }
    values = [Value("a", a.shape, q.dtype), Value("b", stored_b.shape, q.dtype)]
    output = Value("y", sums.shape, q.dtype)
    operation = Operation("batch_matmul", [*values], [output], {**params, **q.params()}, "matmul")
    rank = len(output.shape)

    def all_rows(value: Value) -> RowRange:
        return lambda begin, end: (0, value.rows)

    reads: list[Callable[[int, int], tuple[int, int]]] = [
        same_rows if a_batch == y_batch else all_rows(values[0]),
        # Below rank 4 a row is a vector and b must be whole.
        same_rows if b_batch == y_batch and rank >= 4 else all_rows(values[1]),
    ]
    check(operation, [a, stored_b], q.finish(sums, multiplier), reads, band)


@pytest.mark.parametrize("transpose_b", [0, 1])
def test_batch_matmul_by_a_constant(transpose_b: int) -> None:
    a = np.arange(-6, 6, dtype=np.int8).reshape(2, 3, 2)
    b = np.arange(-4, 4, dtype=np.int8).reshape(2, 2, 2)
    params = {
        "transpose_b": transpose_b, "a_zero_point": 1, "b_zero_point": -2, "multiplier": 0.5,
        "out_zero_point": 3, "clamp_min": -100, "clamp_max": 100,
    }  # fmt: skip
    operation = Operation(
        "batch_matmul", [Value("a", a.shape, "int8"), constant("b", b)],
        [Value("y", (2, 3, 2), "int8")], params, "matmul",
    )  # fmt: skip
    sums = convolution.matmul_sums(a, 1, b.swapaxes(-1, -2) if transpose_b else b, -2)
    expected = requantize(sums, np.float32(0.5), 3, (-100, 100))
    np.testing.assert_array_equal(run_whole(operation, [a]), expected)
