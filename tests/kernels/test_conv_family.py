"""Convolutions, fully connected and matrix products give the oracle's bits through whole files:
over whole tensors and streamed through the smallest rings, in bands of any height."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

import edgeinfer
from edgeinfer.convert.lower import pack
from edgeinfer.convert.program import Operation, Value
from tests.kernels.conv_cases import (
    CHANNELS,
    DILATIONS,
    GROUPS,
    Quantization,
    Window,
    draw_pair,
    draw_quantization,
    draw_window,
    transposed_reads,
)
from tests.kernels.draw import Draw, often, seeds
from tests.kernels.run_operation import (
    RowRange,
    check_in_bands,
    constant,
    run_streamed,
    run_whole,
)
from tests.oracle import convolution
from tests.oracle.requantize import requantize

BIAS_DTYPES = {"int8": "int32", "int16": "int64"}


def check(
    draw: Draw,
    operation: Operation,
    activations: list[np.ndarray],
    expected: np.ndarray,
    reads: list[RowRange],
) -> None:
    band, spare = draw.integer(1, 5), draw.choice([0, 0, 1, 2])
    check_in_bands(operation, activations, expected, reads, band, spare)


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


def check_conv2d(
    draw: Draw, window: Window, q: Quantization, groups: int, group_in: int, group_out: int
) -> None:
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
        zero_row_of(window, x, q, draw.choice([False, True])),
    )  # fmt: skip
    check(draw, operation, [x], expected, [window.reads])


@often
@given(seeds)
def test_conv2d(seed: int) -> None:
    draw = Draw(seed)
    window, q, groups = draw_window(draw), draw_quantization(draw), draw.choice(GROUPS)
    check_conv2d(draw, window, q, groups, draw.choice(CHANNELS), draw.choice(CHANNELS))


def big_window(
    image: tuple[int, int],
    kernel: tuple[int, int],
    stride: int = 1,
    dilation: int = 1,
    pad: int = 0,
) -> Window:
    """Of one image, square in all but its sizes."""
    return Window(1, image, kernel, (stride,) * 2, (dilation,) * 2, ((pad, pad),) * 2)


BIG_Q = Quantization("int8", 11, -7, 3, (-120, 127), "random", "typical")


@pytest.mark.parametrize(
    ("window", "groups", "group_in", "group_out"),
    [
        pytest.param(big_window((3, 70), (3, 3), pad=1), 1, 256, 70, id="columns in runs"),
        pytest.param(big_window((5, 120), (3, 3), 2, 2, 2), 1, 160, 20, id="dilated, in runs"),
        pytest.param(big_window((7, 13), (1, 1)), 1, 700, 40, id="pixels in chunks"),
        pytest.param(big_window((5, 11), (1, 1)), 1, 9, 1100, id="more channels than bias at once"),
        pytest.param(big_window((4, 4), (3, 3), pad=1), 1, 5, 1050, id="the same, of windows"),
        pytest.param(big_window((2, 2), (9, 9), pad=4), 1, 700, 17, id="a window beyond patches"),
        pytest.param(big_window((80, 2), (70, 1)), 1, 3, 5, id="more kernel rows than patches"),
        pytest.param(big_window((3, 9), (2, 5), pad=2), 4, 80, 48, id="groups of tiles"),
        pytest.param(big_window((2, 2), (1, 1)), 1, 50000, 3, id="a pixel beyond patches"),
        pytest.param(big_window((5, 5), (3, 3), pad=1), 1, 450, 150, id="blocks of channels"),
        pytest.param(big_window((7, 7), (1, 1)), 1, 960, 310, id="the same, of pixels"),
        pytest.param(big_window((7, 7), (3, 3), pad=1), 1, 20, 80, id="two rows in a tile"),
        pytest.param(big_window((13, 13), (3, 3), 2, pad=1), 1, 400, 170, id="the same, in blocks"),
        pytest.param(
            Window(3, (5, 6), (2, 4), (1, 1), (1, 1), ((0, 0), (1, 3))),
            1,
            9,
            40,
            id="two rows in a tile, never of two images",
        ),
        pytest.param(big_window((15, 15), (1, 9)), 1, 3, 20, id="seven pixels of one kernel row"),
    ],
)
def test_conv2d_beyond_the_blocks_of_tiers(
    window: Window, groups: int, group_in: int, group_out: int
) -> None:
    check_conv2d(Draw(1), window, BIG_Q, groups, group_in, group_out)


def check_depthwise_conv2d(
    draw: Draw, window: Window, q: Quantization, channels: int, multiplier: int
) -> None:
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
        zero=zero_row_of(window, x, q, draw.choice([False, True])),
    )  # fmt: skip
    check(draw, operation, [x], expected, [window.reads])


@often
@given(seeds)
def test_depthwise_conv2d(seed: int) -> None:
    draw = Draw(seed)
    window, q, multiplier = draw_window(draw), draw_quantization(draw), draw.choice([1, 1, 2, 3])
    check_depthwise_conv2d(draw, window, q, draw.choice(CHANNELS), multiplier)


@often
@given(seeds)
def test_depthwise_conv2d_of_many_channels(seed: int) -> None:
    draw = Draw(seed)
    window, q, multiplier = draw_window(draw), draw_quantization(draw), draw.choice([1, 1, 1, 4])
    channels = draw.choice([24, 32, 40, 48, 64, 72, 88, 96, 128, 130, 144, 200])
    check_depthwise_conv2d(draw, window, q, channels, multiplier)


@pytest.mark.parametrize(
    ("window", "channels", "multiplier"),
    [
        pytest.param(big_window((4, 130), (3, 3), pad=1), 112, 1, id="columns in runs"),
        pytest.param(big_window((5, 131), (3, 3), 2, 1, 1), 200, 1, id="the same at stride 2"),
        pytest.param(big_window((9, 7), (5, 5), pad=2), 64, 1, id="five rows"),
        pytest.param(big_window((9, 7), (5, 5), 2, pad=2), 48, 1, id="five rows at stride 2"),
        pytest.param(big_window((12, 12), (9, 9), pad=4), 80, 1, id="nine rows"),
        pytest.param(big_window((4, 30), (3, 3), 3, 5, 5), 96, 1, id="dilated"),
        pytest.param(big_window((25, 5), (25, 5)), 64, 1, id="all of the image"),
        pytest.param(big_window((5, 5), (31, 31), pad=15), 16, 1, id="more taps than blocks hold"),
        pytest.param(big_window((80, 2), (70, 1)), 20, 1, id="more rows than blocks hold"),
        pytest.param(big_window((5, 6), (3, 3), pad=1), 30, 4, id="shared channels"),
        pytest.param(big_window((7, 300), (3, 3), pad=1), 8, 1, id="two pixels in 16 bytes"),
        pytest.param(big_window((9, 150), (3, 5), 2, pad=2), 8, 1, id="the same at stride 2"),
        pytest.param(big_window((4, 9), (3, 3), 4, pad=1), 4, 1, id="16 bytes apart"),
        pytest.param(big_window((5, 21), (3, 3), pad=1), 144, 1, id="units across pixels"),
        pytest.param(big_window((7, 23), (5, 5), pad=2), 40, 1, id="the same, five rows"),
        pytest.param(big_window((7, 23), (3, 3), 2, pad=1), 24, 1, id="three pixels to a unit"),
        pytest.param(big_window((9, 33), (3, 3), 2, pad=1), 16, 1, id="every second pixel"),
        pytest.param(big_window((9, 34), (3, 3), 2), 32, 1, id="the same, to the last byte"),
        pytest.param(big_window((6, 19), (3, 3), 2, pad=1), 240, 1, id="a narrow last block"),
        pytest.param(big_window((19, 6), (6, 3), pad=3), 64, 1, id="six rows"),
        pytest.param(big_window((19, 6), (8, 2), pad=3), 64, 1, id="eight rows"),
        pytest.param(big_window((13, 9), (10, 1)), 64, 1, id="ten rows of one"),
        pytest.param(big_window((25, 10), (10, 4), 2, pad=4), 1, 64, id="all of one channel"),
    ],
)
def test_depthwise_conv2d_beyond_the_blocks_of_tiers(
    window: Window, channels: int, multiplier: int
) -> None:
    check_depthwise_conv2d(Draw(1), window, BIG_Q, channels, multiplier)


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


@often
@given(seeds)
def test_transpose_conv2d(seed: int) -> None:
    draw = Draw(seed)
    q, groups, batch = draw_quantization(draw), draw.choice([1, 1, 2]), draw.choice([1, 1, 2])
    kernel, stride, image = draw_pair(draw, 1, 7), draw_pair(draw, 1, 3), draw_pair(draw, 1, 4)
    dilation = draw.choice(DILATIONS)
    origin, more = draw_pair(draw, 0, 5), draw_pair(draw, -4, 3)
    group_in, group_out = draw.choice(CHANNELS), draw.choice(CHANNELS)
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
    check(draw, operation, [x], expected, [transposed_reads(window, height)])


def same_rows(begin: int, end: int) -> tuple[int, int]:
    return begin, end


def check_fully_connected(
    draw: Draw, q: Quantization, outer: list[int], depth: int, units: int
) -> None:
    x = q.activation((*outer, depth))
    weights, bias = q.weights((units, depth)), q.bias(units)
    sums = convolution.fully_connected_sums(x, q.x_zero_point, weights, bias)
    folded = pack.fold_zero_point(bias, weights, q.x_zero_point, BIAS_DTYPES[q.dtype])
    operation, expected = build(
        "fully_connected", x, sums, [pack.pack_fully_connected(weights), folded], q, {}
    )
    check(draw, operation, [x], expected, [same_rows])


@often
@given(seeds)
def test_fully_connected(seed: int) -> None:
    draw = Draw(seed)
    outer = [draw.integer(1, 4) for _ in range(draw.integer(0, 4))]
    quantization = draw_quantization(draw)
    check_fully_connected(draw, quantization, outer, draw.integer(1, 70), draw.integer(1, 40))


@pytest.mark.parametrize(
    ("outer", "depth", "units"),
    [
        pytest.param([1], 333, 300, id="tiles of every number"),
        pytest.param([50], 1000, 40, id="vectors in chunks"),
        pytest.param([5], 3000, 170, id="blocks of channels"),
        pytest.param([3], 50000, 9, id="vectors beyond patches"),
        pytest.param([2], 3, 1100, id="more channels than bias at once"),
    ],
)
def test_fully_connected_beyond_the_blocks_of_tiers(
    outer: list[int], depth: int, units: int
) -> None:
    check_fully_connected(Draw(1), BIG_Q, outer, depth, units)


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


def test_fully_connected_sums_of_int16_need_more_than_32_bits() -> None:
    depth = 2000
    x = np.full((2, depth), [[-32768], [32767]], np.int16)
    weights = np.full((3, depth), -128, np.int8)
    sums = convolution.fully_connected_sums(x, 0, weights)
    assert sums.max() > 2**32 and sums.min() < -(2**32)
    q = Quantization("int16", 0, 0, 7, (-32768, 32767), "lowest", "typical")
    packed = pack.pack_fully_connected(weights)
    operation, expected = build("fully_connected", x, sums, [packed, np.zeros(3, np.int64)], q, {})
    np.testing.assert_array_equal(run_whole(operation, [x]), expected)


@often
@given(seeds)
def test_batch_matmul(seed: int) -> None:
    draw = Draw(seed)
    q, transpose_b = draw_quantization(draw), draw.choice([False, True])
    batch = [
        (draw.integer(1, 3), draw.choice(["both", "both", "a", "b"]))
        for _ in range(draw.integer(0, 4))
    ]
    height, depth, width = draw.integer(1, 6), draw.integer(1, 40), draw.integer(1, 40)
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

    reads: list[RowRange] = [
        same_rows if a_batch == y_batch else all_rows(values[0]),
        # Below rank 4 a row is a vector and b must be whole.
        same_rows if b_batch == y_batch and rank >= 4 else all_rows(values[1]),
    ]
    check(draw, operation, [a, stored_b], q.finish(sums, multiplier), reads)


@pytest.mark.parametrize("transpose_b", [0, 1])
@pytest.mark.parametrize(
    ("height", "depth", "width"), [(1, 257, 31), (9, 256, 33), (65, 17, 48), (67, 771, 70)]
)
@pytest.mark.parametrize("values", ["random", "extremes"])
def test_batch_matmul_beyond_the_blocks_of_tiers(
    values: str, height: int, depth: int, width: int, transpose_b: int
) -> None:
    """More rows, columns or values of K than the x86 tiers work on at once."""
    q = Quantization("int8", depth, 127, -3, (-128, 127), values, "typical")
    a, b = q.activation((height, depth)), q.activation((depth, width))
    sums = convolution.matmul_sums(a, 127, b, -128)
    multiplier = q.multipliers(sums)[0]
    stored_b = np.ascontiguousarray(b.T) if transpose_b else b
    params = {
        "transpose_b": transpose_b,
        "a_zero_point": 127,
        "b_zero_point": -128,
        "multiplier": float(multiplier),
    }
    inputs = [Value("a", a.shape, "int8"), Value("b", stored_b.shape, "int8")]
    y = Value("y", sums.shape, "int8")
    operation = Operation("batch_matmul", [*inputs], [y], {**params, **q.params()}, "matmul")
    expected = q.finish(sums, multiplier)
    np.testing.assert_array_equal(run_whole(operation, [a, stored_b]), expected)


def test_batch_matmul_wraps_like_int32() -> None:
    """Sums beyond 2^31, by products of 255 * 255."""
    depth = 33027
    a = np.full((2, depth), 127, np.int8)
    b = np.full((depth, 3), 127, np.int8)
    q = Quantization("int8", 0, 0, 7, (-128, 127), "random", "typical")
    sums = np.full((2, 3), 255 * 255 * depth)
    assert sums.max() > 2**31
    params = {"transpose_b": 0, "a_zero_point": -128, "b_zero_point": -128, "multiplier": 1e-8}
    inputs = [Value("a", a.shape, "int8"), Value("b", b.shape, "int8")]
    y = Value("y", (2, 3), "int8")
    operation = Operation("batch_matmul", [*inputs], [y], {**params, **q.params()}, "matmul")
    expected = q.finish(sums, np.float32(1e-8))
    np.testing.assert_array_equal(run_whole(operation, [a, b]), expected)


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


def first_missing(reads: RowRange) -> RowRange:
    def short(begin: int, end: int) -> tuple[int, int]:
        first, last = reads(begin, end)
        return min(first + 1, last), last

    return short


def last_missing(reads: RowRange) -> RowRange:
    def short(begin: int, end: int) -> tuple[int, int]:
        first, last = reads(begin, end)
        return first, max(first, last - 1)

    return short


@pytest.mark.parametrize("shorten", [first_missing, last_missing])
@pytest.mark.parametrize(
    ("operator", "kernel", "stride", "dilation", "pad"),
    [
        ("conv2d", 3, 1, 1, 1),
        ("conv2d", 3, 2, 2, 1),
        ("depthwise_conv2d", 5, 2, 1, 2),
        ("transpose_conv2d", 4, 2, 1, 1),
        ("transpose_conv2d", 3, 1, 2, 2),
    ],
)
def test_a_plan_that_lacks_a_row_is_refused(
    operator: str, kernel: int, stride: int, dilation: int, pad: int, shorten
) -> None:
    """The rows that a band reads are no more than the formula says, and no fewer."""
    transposed = operator == "transpose_conv2d"
    window = Window(
        2, (12, 3), (kernel, 1), (stride, 1), (dilation, 1), ((pad, pad), (0, 0))
    )  # fmt: skip
    height = (11 * stride + (kernel - 1) * dilation + 1 - 2 * pad) if transposed else window.out[0]
    q = Quantization("int8", 1, 5, -5, (-128, 127), "random", "typical")
    x = q.activation((2, 12, 3, 4))
    params = window.params()
    if operator == "depthwise_conv2d":
        params["multiplier"] = 1
        packed = pack.pack_depthwise_conv2d(q.weights((kernel, 1, 4)))
    else:
        params["groups"] = 1
        packed = pack.pack_transpose_conv2d(q.weights((4, kernel, 1, 4)))
    zero = None
    if transposed:
        params["in_zero_point"] = 5
    else:
        zero = pack.zero_row(3, 4, 5, "int8")
    sums = np.ones((2, height, 3, 4), np.int64)
    bias = np.zeros(4, np.int32)
    operation, _ = build(operator, x, sums, [packed, bias], q, params, zero=zero)
    reads = transposed_reads(window, height) if transposed else window.reads
    for band in (1, 3):
        run_streamed(operation, [x], [reads], band)
        with pytest.raises(edgeinfer.ModelFileError, match="rows"):
            run_streamed(operation, [x], [shorten(reads)], band)
