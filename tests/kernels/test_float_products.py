"""Convolutions, fully connected and matrix products of float32 give the oracle's bits on every
tier, through whole files: over whole tensors and streamed through the smallest rings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, note

from edgeinfer.convert.lower import pack, pack_float
from edgeinfer.convert.program import Operation, Value
from tests.kernels.conv_cases import (
    DILATIONS,
    GROUPS,
    Window,
    draw_pair,
    draw_window,
    transposed_reads,
)
from tests.kernels.draw import Draw, often, seeds
from tests.kernels.run_operation import (
    RowRange,
    bits,
    check_in_bands,
    constant,
    run_whole,
    same_rows,
)
from tests.oracle import float_products

CHANNELS = [1, 2, 3, 5, 8, 15, 16, 17, 31, 33]
SPECIAL = np.array(
    [
        np.inf,
        -np.inf,
        np.nan,
        -np.nan,
        0.0,
        -0.0,
        1e-45,
        -1e-45,
        1.1e-38,
        3.4e38,
        -3.4e38,
        1.0,
        -1.0,
    ],
    np.float32,
)


@dataclass(frozen=True)
class Numbers:
    """What tensors are filled with."""

    seed: int
    values: str
    half: bool
    bounds: tuple[float, float]

    def draw(self, shape: tuple[int, ...], salt: int, finite: bool = False) -> np.ndarray:
        rng = np.random.default_rng([self.seed, salt])
        x = rng.standard_normal(shape).astype(np.float32)
        if self.values == "tiny":  # sums in which products are subnormal
            x *= np.float32(2.0**-70)
        if self.values == "special":
            chosen = SPECIAL[np.isfinite(SPECIAL)] if finite else SPECIAL
            x = np.where(rng.random(shape) < 0.1, rng.choice(chosen, shape), x)
        if self.values == "zeros":
            x = rng.choice(np.array([0.0, -0.0, 1e-40, -1e-40], np.float32), shape)
        return x.astype(np.float32)

    def x(self, shape: tuple[int, ...]) -> np.ndarray:
        return self.draw(shape, 0)

    def weights(self, shape: tuple[int, ...]) -> np.ndarray:
        w = self.draw(shape, 1, finite=True)
        return np.clip(w, -65504, 65504).astype(np.float16).astype(np.float32) if self.half else w

    def bias(self, channels: int) -> np.ndarray:
        return self.draw((channels,), 2, finite=True)

    def stored(self, packed: np.ndarray) -> np.ndarray:
        return packed.astype(np.float16) if self.half else packed

    def params(self) -> dict[str, int | float]:
        return {"clamp_min": self.bounds[0], "clamp_max": self.bounds[1]}


def draw_numbers(draw: Draw, half: bool = True) -> Numbers:
    low = draw.choice([-np.inf, -np.inf, 0.0, -0.5])
    numbers = Numbers(
        draw.integer(0, 2**32 - 1),
        draw.choice(["normal", "normal", "special", "tiny", "zeros"]),
        half and draw.flag(),
        (low, draw.choice([np.inf, np.inf, 0.5, max(low, 0.0)])),
    )
    note(str(numbers))
    return numbers


def check(
    draw: Draw,
    operation: Operation,
    activations: list[np.ndarray],
    sums: np.ndarray,
    numbers: Numbers,
    reads: list[RowRange],
) -> None:
    expected = float_products.bounded(sums, *numbers.bounds)
    band, spare = draw.integer(1, 5), draw.choice([0, 0, 1, 2])
    check_in_bands(operation, activations, expected, reads, band, spare)


def build(
    operator: str,
    x: np.ndarray,
    packed: np.ndarray,
    bias: np.ndarray,
    shape: tuple[int, ...],
    params: dict[str, int | float],
    zero: bool = False,
) -> Operation:
    """The operation, from its packed weights and bias."""
    inputs: list[Value | None] = [
        Value("x", x.shape, "float32"),
        constant("weights", packed),
        constant("bias", bias),
    ]
    if zero:
        inputs.append(constant("zero", np.zeros(x.shape[2] * x.shape[3], np.float32)))
    return Operation(operator, inputs, [Value("y", shape, "float32")], params, operator)


def check_conv2d(
    draw: Draw, window: Window, numbers: Numbers, groups: int, group_in: int, group_out: int
) -> None:
    x = numbers.x((window.batch, *window.image, groups * group_in))
    weights = numbers.weights((groups * group_out, *window.kernel, group_in))
    bias = numbers.bias(groups * group_out)
    sums = float_products.conv2d(
        x, weights, bias, window.strides, window.dilations, window.padding, groups
    )
    operation = build(
        "conv2d_f32",
        x,
        numbers.stored(pack_float.pack_conv2d_float(weights, groups)),
        pack.pack_channels(bias, groups),
        sums.shape,
        {**window.params(), "groups": groups, **numbers.params()},
        window.leaves_image or draw.flag(),
    )
    check(draw, operation, [x], sums, numbers, [window.reads])


@often
@given(seeds)
def test_conv2d(seed: int) -> None:
    draw = Draw(seed)
    window, numbers, groups = draw_window(draw), draw_numbers(draw), draw.choice(GROUPS)
    check_conv2d(draw, window, numbers, groups, draw.choice(CHANNELS), draw.choice(CHANNELS))


@given(seeds)
def test_conv2d_of_pixels(seed: int) -> None:
    """One tap: tiles of any number of pixels and channels."""
    draw = Draw(seed)
    image = draw_pair(draw, 1, 12)
    stride = draw.choice([(1, 1), (1, 1), (2, 2)])
    window = Window(draw.choice([1, 2]), image, (1, 1), stride, (1, 1), ((0, 0), (0, 0)))
    numbers, channels = draw_numbers(draw), draw.integer(1, 150)
    check_conv2d(draw, window, numbers, draw.choice([1, 1, 2]), draw.integer(1, 40), channels)


def big_window(
    image: tuple[int, int],
    kernel: tuple[int, int],
    stride: int = 1,
    dilation: int = 1,
    pad: int = 0,
) -> Window:
    """Of one image, square in all but its sizes."""
    return Window(1, image, kernel, (stride,) * 2, (dilation,) * 2, ((pad, pad),) * 2)


BIG = [
    pytest.param(big_window((3, 70), (3, 3), pad=1), 1, 128, 70, id="columns in runs"),
    pytest.param(big_window((5, 60), (3, 3), 2, 2, 2), 1, 100, 20, id="dilated, in runs"),
    pytest.param(big_window((7, 13), (1, 1)), 1, 300, 40, id="pixels in chunks"),
    pytest.param(big_window((2, 2), (9, 9), pad=4), 1, 200, 17, id="a window beyond patches"),
    pytest.param(big_window((80, 2), (70, 1)), 1, 3, 5, id="more kernel rows than patches"),
    pytest.param(big_window((3, 9), (2, 5), pad=2), 4, 40, 48, id="groups of tiles"),
    pytest.param(big_window((2, 2), (1, 1)), 1, 20000, 3, id="a pixel beyond patches"),
    pytest.param(big_window((5, 5), (3, 3), pad=1), 1, 150, 150, id="blocks of channels"),
    pytest.param(big_window((7, 7), (3, 3), pad=1), 1, 20, 80, id="narrow"),
    pytest.param(big_window((5, 14), (3, 3), 2, pad=1), 1, 500, 40, id="kernel rows in turns"),
    pytest.param(big_window((6, 7), (3, 3), pad=1), 1, 600, 70, id="narrow, in turns"),
    pytest.param(big_window((7, 7), (1, 1)), 1, 2000, 100, id="rows in a tile"),
    pytest.param(big_window((3, 11), (3, 3), pad=1), 1, 9, 24, id="half a tile of channels"),
    pytest.param(
        Window(3, (5, 6), (2, 4), (1, 1), (1, 1), ((0, 0), (1, 3))), 1, 9, 40, id="three images"
    ),
]


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(("window", "groups", "group_in", "group_out"), BIG)
def test_conv2d_beyond_the_blocks_of_tiers(
    window: Window, groups: int, group_in: int, group_out: int, half: bool
) -> None:
    numbers = Numbers(5, "normal", half, (0.0, np.inf))
    check_conv2d(Draw(1), window, numbers, groups, group_in, group_out)


def check_depthwise(
    draw: Draw, window: Window, numbers: Numbers, channels: int, multiplier: int
) -> None:
    x = numbers.x((window.batch, *window.image, channels))
    weights = numbers.weights((*window.kernel, channels * multiplier))
    bias = numbers.bias(channels * multiplier)
    # A grouped convolution of one input channel a group.
    sums = float_products.conv2d(
        x,
        np.ascontiguousarray(weights.transpose(2, 0, 1))[..., None],
        bias,
        window.strides,
        window.dilations,
        window.padding,
        channels,
    )
    operation = build(
        "depthwise_conv2d_f32",
        x,
        pack_float.pack_depthwise_conv2d_float(weights),
        pack.pack_channels(bias),
        sums.shape,
        {**window.params(), "multiplier": multiplier, **numbers.params()},
        window.leaves_image or draw.flag(),
    )
    check(draw, operation, [x], sums, numbers, [window.reads])


@often
@given(seeds)
def test_depthwise_conv2d(seed: int) -> None:
    draw = Draw(seed)
    window, numbers = draw_window(draw), draw_numbers(draw, half=False)
    channels = draw.choice([*CHANNELS, 24, 48, 64, 65, 100])
    check_depthwise(draw, window, numbers, channels, draw.choice([1, 1, 1, 2, 3]))


@pytest.mark.parametrize(
    ("window", "channels", "multiplier"),
    [
        pytest.param(big_window((4, 90), (3, 3), pad=1), 112, 1, id="wide"),
        pytest.param(big_window((5, 91), (3, 3), 2, 1, 1), 130, 1, id="wide, at stride 2"),
        pytest.param(big_window((9, 7), (5, 5), pad=2), 64, 1, id="five rows"),
        pytest.param(big_window((4, 13), (3, 3), pad=1), 8, 1, id="half a tile of channels"),
        pytest.param(big_window((4, 12), (3, 3), 2, pad=1), 93, 1, id="not half a tile more"),
        pytest.param(big_window((25, 5), (25, 5)), 64, 1, id="all of the image"),
        pytest.param(big_window((80, 2), (70, 1)), 20, 1, id="more rows than blocks hold"),
        pytest.param(big_window((5, 6), (3, 3), pad=1), 30, 4, id="shared channels"),
        pytest.param(big_window((25, 10), (10, 4), 2, pad=4), 1, 64, id="all of one channel"),
    ],
)
def test_depthwise_conv2d_beyond_the_blocks_of_tiers(
    window: Window, channels: int, multiplier: int
) -> None:
    numbers = Numbers(6, "normal", False, (0.0, 6.0))
    check_depthwise(Draw(1), window, numbers, channels, multiplier)


@often
@given(seeds)
def test_transpose_conv2d(seed: int) -> None:
    draw = Draw(seed)
    numbers = draw_numbers(draw, half=False)
    groups, batch = draw.choice([1, 1, 2]), draw.choice([1, 1, 2])
    kernel, stride, image = draw_pair(draw, 1, 5), draw_pair(draw, 1, 3), draw_pair(draw, 1, 4)
    dilation = draw.choice(DILATIONS)
    origin, more = draw_pair(draw, 0, 5), draw_pair(draw, -4, 3)
    group_in, group_out = draw.choice(CHANNELS), draw.choice(CHANNELS)
    window = Window(batch, image, kernel, stride, dilation, ((origin[0], 0), (origin[1], 0)))
    height, width = (
        max(1, (n - 1) * s + (k - 1) * d + 1 - p + m)
        for n, s, k, d, p, m in zip(image, stride, kernel, dilation, origin, more, strict=True)
    )
    x = numbers.x((batch, *image, groups * group_in))
    weights = numbers.weights((groups * group_out, *kernel, group_in))
    bias = numbers.bias(groups * group_out)
    sums = float_products.transpose_conv2d(
        x, weights, bias, stride, dilation, origin, (height, width), groups
    )
    operation = build(
        "transpose_conv2d_f32",
        x,
        pack_float.pack_conv2d_float(weights, groups),
        pack.pack_channels(bias, groups),
        sums.shape,
        {**window.params(), "groups": groups, **numbers.params()},
    )
    check(draw, operation, [x], sums, numbers, [transposed_reads(window, height)])


def check_fully_connected(
    draw: Draw, numbers: Numbers, outer: list[int], depth: int, units: int
) -> None:
    x = numbers.x((*outer, depth))
    weights, bias = numbers.weights((units, depth)), numbers.bias(units)
    sums = float_products.matmul(x.reshape(-1, depth), weights.T, bias).reshape(*outer, units)
    packed = numbers.stored(pack_float.pack_fully_connected_float(weights))
    operation = build(
        "fully_connected_f32", x, packed, pack.pack_channels(bias), sums.shape, numbers.params()
    )
    check(draw, operation, [x], sums, numbers, [same_rows])


@often
@given(seeds)
def test_fully_connected(seed: int) -> None:
    draw = Draw(seed)
    outer = [draw.integer(1, 4) for _ in range(draw.integer(0, 4))]
    check_fully_connected(
        draw, draw_numbers(draw), outer, draw.integer(1, 70), draw.integer(1, 300)
    )


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(
    ("outer", "depth", "units"),
    [
        pytest.param([1], 333, 300, id="tiles of every number"),
        pytest.param([50], 500, 40, id="vectors in chunks"),
        pytest.param([5], 1500, 170, id="blocks of channels"),
        pytest.param([3], 20000, 9, id="vectors beyond patches"),
        pytest.param([2], 3, 1100, id="many channels"),
    ],
)
def test_fully_connected_beyond_the_blocks_of_tiers(
    outer: list[int], depth: int, units: int, half: bool
) -> None:
    numbers = Numbers(7, "normal", half, (-np.inf, np.inf))
    check_fully_connected(Draw(1), numbers, outer, depth, units)


@often
@given(seeds)
def test_batch_matmul(seed: int) -> None:
    draw = Draw(seed)
    numbers, transpose_b = draw_numbers(draw, half=False), draw.flag()
    batch = [
        (draw.integer(1, 3), draw.choice(["both", "both", "a", "b"]))
        for _ in range(draw.integer(0, 4))
    ]
    height, depth, width = draw.integer(1, 9), draw.integer(1, 40), draw.integer(1, 70)
    a_batch = tuple(size if kind != "b" else 1 for size, kind in batch)
    b_batch = tuple(size if kind != "a" else 1 for size, kind in batch)
    y_batch = np.broadcast_shapes(a_batch, b_batch)
    a = numbers.x((*a_batch, height, depth))
    b = numbers.draw((*b_batch, depth, width), 3)
    sums = float_products.matmul(a, b, np.zeros(1, np.float32))
    stored_b = np.ascontiguousarray(b.swapaxes(-1, -2) if transpose_b else b)
    values = [Value("a", a.shape, "float32"), Value("b", stored_b.shape, "float32")]
    output = Value("y", sums.shape, "float32")
    params = {"transpose_b": int(transpose_b), **numbers.params()}
    operation = Operation("batch_matmul_f32", [*values], [output], params, "matmul")
    rank = len(output.shape)

    def all_rows(value: Value) -> RowRange:
        return lambda begin, end: (0, value.rows)

    reads: list[RowRange] = [
        same_rows if a_batch == y_batch else all_rows(values[0]),
        # Below rank 4 a row is a vector and b must be whole.
        same_rows if b_batch == y_batch and rank >= 4 else all_rows(values[1]),
    ]
    check(draw, operation, [a, stored_b], sums, numbers, reads)


@pytest.mark.parametrize("transpose_b", [0, 1])
@pytest.mark.parametrize(
    ("height", "depth", "width"), [(1, 257, 31), (9, 256, 33), (65, 17, 48), (33, 771, 70)]
)
def test_batch_matmul_beyond_the_blocks_of_tiers(
    height: int, depth: int, width: int, transpose_b: int
) -> None:
    numbers = Numbers(8, "normal", False, (-np.inf, np.inf))
    a, b = numbers.x((height, depth)), numbers.draw((depth, width), 3)
    sums = float_products.matmul(a, b, np.zeros(1, np.float32))
    stored_b = np.ascontiguousarray(b.T) if transpose_b else b
    inputs = [Value("a", a.shape, "float32"), Value("b", stored_b.shape, "float32")]
    y = Value("y", sums.shape, "float32")
    params = {"transpose_b": transpose_b, **numbers.params()}
    operation = Operation("batch_matmul_f32", [*inputs], [y], params, "matmul")
    expected = float_products.bounded(sums, *numbers.bounds)
    np.testing.assert_array_equal(bits(run_whole(operation, [a, stored_b])), bits(expected))


def test_every_float16_is_decoded_exactly() -> None:
    """Ordinary, subnormal and zero weights, by a product with 1 that -0 is added to."""
    codes = np.arange(2**16, dtype=np.uint32).astype(np.uint16)
    weights = codes.view(np.float16)[np.isfinite(codes.view(np.float16))].reshape(-1, 1)
    operation = build(
        "fully_connected_f32",
        np.ones((1, 1), np.float32),
        pack_float.pack_fully_connected_float(weights),
        pack.pack_channels(np.full(weights.size, -0.0, np.float32)),
        (1, weights.size),
        {"clamp_min": -np.inf, "clamp_max": np.inf},
    )
    result = run_whole(operation, [np.ones((1, 1), np.float32)])
    np.testing.assert_array_equal(bits(result), bits(weights.astype(np.float32).reshape(1, -1)))
