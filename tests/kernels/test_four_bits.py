"""Products with weights of four bits give the oracle's bits on every tier, through whole files:
over whole tensors and streamed through the smallest rings, MXFP4 and NVFP4. So do those of float32
vectors that are rounded to int8 when they come, with weights of four bits or int8."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings

from edgeinfer.convert.lower import pack, pack_fp4
from edgeinfer.convert.program import Operation, Value
from edgeinfer.convert.quantize.block_weights import BlockWeights
from edgeinfer.convert.quantize.channel_weights import MOST_K
from tests.kernels.conv_cases import CHANNELS, GROUPS, Window, draw_window
from tests.kernels.draw import Draw, seeds
from tests.kernels.run_operation import (
    RowRange,
    all_rows,
    check_in_bands,
    constant,
    run_whole,
    same_rows,
)
from tests.oracle import four_bits
from tests.oracle.float_products import bounded

SCHEMES = ("mxfp4", "nvfp4")
DYNAMIC = (*SCHEMES, "int8")
some = settings(max_examples=25)

SPECIAL = [np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-45, 1e-36, 3e38, -3e38]


def draw_blocks(draw: Draw, scheme: str, n: int, k: int) -> four_bits.Blocks:
    """Any codes; scales that are alike, far apart, the smallest, or so large that sums overflow."""
    block = {"mxfp4": 32, "nvfp4": 16}[scheme]
    codes = draw.rng.integers(0, 16, (n, k)).astype(np.uint8)
    if draw.flag(0.2):
        codes[:] = draw.choice([7, 15])
    largest = 254 if scheme == "mxfp4" else 0x7E
    middle = largest // 2
    low, high = draw.choice([(middle, middle + 4), (0, largest), (0, 1), (largest, largest)])
    shape = (n, -(-k // block))
    scales = draw.rng.integers(low, high, shape, endpoint=True).astype(np.uint8)
    return four_bits.Blocks(scheme, codes, scales)


def packed(blocks: four_bits.Blocks, groups: int = 1) -> Value:
    n, k = blocks.codes.shape
    codes = np.zeros((n, blocks.scales.shape[1] * blocks.block), np.uint8)
    codes[:, :k] = blocks.codes
    ones = np.ones(n, np.float32)
    weights = BlockWeights(blocks.scheme, codes, blocks.scales, ones, k)  # type: ignore
    value = constant("weights", pack_fp4.pack_blocks(weights, groups))
    value.scheme = blocks.scheme
    return value


def check(
    draw: Draw,
    operation: Operation,
    x: np.ndarray,
    expected: np.ndarray,
    reads: RowRange,
) -> None:
    band, spare = draw.integer(1, 5), draw.choice([0, 0, 1, 2])
    check_in_bands(operation, [x], expected, [reads], band, spare)


def draw_int8(draw: Draw, shape: Sequence[int]) -> np.ndarray:
    values = draw.rng.integers(-128, 127, shape, endpoint=True).astype(np.int8)
    return values if draw.flag(0.8) else np.full_like(values, draw.choice([-128, 127]))


def draw_bias(draw: Draw, n: int, scale: float) -> np.ndarray:
    bias = (draw.rng.standard_normal(n) * scale).astype(np.float32)
    special = draw.rng.choice(SPECIAL, n).astype(np.float32)
    return np.where(draw.rng.random(n) < 0.1, special, bias)


def requantized(
    draw: Draw, sums: np.ndarray
) -> tuple[np.ndarray, np.ndarray, dict[str, int | float]]:
    """The stored values of sums, the multipliers and the parameters that make these."""
    finite = np.abs(sums[np.isfinite(sums)])
    typical = float(finite.max(initial=1e-30)) + 1e-30
    wanted = draw.rng.uniform(0.1, 200, size=sums.shape[-1]) / typical
    multiplier = np.minimum(wanted, 3e38).astype(np.float32)
    low, high = sorted((draw.integer(-128, 127), draw.integer(-128, 127)))
    zero_point = draw.integer(-128, 127)
    with np.errstate(all="ignore"):
        scaled = sums * multiplier
    rounded = np.rint(np.where(np.isnan(scaled), -np.inf, scaled).astype(np.float64))
    y = np.clip(rounded + zero_point, low, high).astype(np.int8)
    return y, multiplier, {"out_zero_point": zero_point, "clamp_min": low, "clamp_max": high}


def windows_of(x: np.ndarray, window: Window, groups: int, outside: int) -> np.ndarray:
    """[N, OH, OW, groups, K], K = (ky, kx, channel of the group)."""
    padded = np.pad(x, ((0, 0), *window.padding, (0, 0)), constant_values=outside)
    height, width = window.out
    taps = []
    for ky, kx in np.ndindex(*window.kernel):
        y0, x0 = ky * window.dilations[0], kx * window.dilations[1]
        rows = slice(y0, y0 + (height - 1) * window.strides[0] + 1, window.strides[0])
        columns = slice(x0, x0 + (width - 1) * window.strides[1] + 1, window.strides[1])
        taps.append(padded[:, rows, columns].reshape(x.shape[0], height, width, groups, -1))
    return np.concatenate(taps, axis=-1)


def check_conv2d(
    draw: Draw, scheme: str, window: Window, groups: int, group_in: int, group_out: int
) -> None:
    n, k = groups * group_out, window.kernel[0] * window.kernel[1] * group_in
    x = draw_int8(draw, (window.batch, *window.image, groups * group_in))
    blocks, outside = draw_blocks(draw, scheme, n, k), draw.integer(-128, 127)
    bias = draw_bias(draw, n, 1000)
    seen = windows_of(x, window, groups, outside)
    parts = []
    for group in range(groups):
        part = slice(group * group_out, (group + 1) * group_out)
        of_group = four_bits.Blocks(scheme, blocks.codes[part], blocks.scales[part])
        parts.append(four_bits.sums(seen[:, :, :, group], of_group, bias[part]))
    expected, multiplier, params = requantized(draw, np.concatenate(parts, axis=-1))
    inputs: list[Value | None] = [
        Value("x", x.shape, "int8"),
        packed(blocks, groups),
        constant("bias", pack.pack_channels(bias, groups)),
        constant("multiplier", pack.pack_channels(multiplier, groups)),
    ]
    if window.leaves_image:
        elements = x.shape[2] * x.shape[3]
        inputs.append(constant("zero", pack.zero_row(1, elements, outside, "int8")))
    operation = Operation(
        "conv2d",
        inputs,
        [Value("y", expected.shape, "int8")],
        {**window.params(), "groups": groups, **params},
    )
    check(draw, operation, x, expected, window.reads)


@pytest.mark.parametrize("scheme", SCHEMES)
@some
@given(seed=seeds)
def test_conv2d(scheme: str, seed: int) -> None:
    draw = Draw(seed)
    window, groups = draw_window(draw), draw.choice(GROUPS)
    check_conv2d(draw, scheme, window, groups, draw.choice(CHANNELS), draw.choice(CHANNELS))


def check_fully_connected(draw: Draw, scheme: str, outer: list[int], k: int, n: int) -> None:
    x = draw_int8(draw, (*outer, k))
    blocks, bias = draw_blocks(draw, scheme, n, k), draw_bias(draw, n, 1000)
    expected, multiplier, params = requantized(draw, four_bits.sums(x, blocks, bias))
    operation = Operation(
        "fully_connected",
        [
            Value("x", x.shape, "int8"),
            packed(blocks),
            constant("bias", pack.pack_channels(bias)),
            constant("multiplier", pack.pack_channels(multiplier)),
        ],
        [Value("y", expected.shape, "int8")],
        params,
    )
    check(draw, operation, x, expected, same_rows)


def check_dynamic(draw: Draw, scheme: str, outer: list[int], k: int, n: int) -> None:
    x = draw.rng.standard_normal((*outer, k)).astype(np.float32)
    x *= np.exp2(draw.rng.integers(-30, 30, (*outer, 1))).astype(np.float32)
    if draw.flag(0.3):  # vectors of zeros, of what is tiny, and with what is no number
        x = np.where(draw.rng.random((*outer, 1)) < 0.3, np.float32(draw.choice(SPECIAL)), x)
        x = np.where(draw.rng.random(x.shape) < 0.02, np.float32(draw.choice(SPECIAL)), x)
    bias, multiplier = draw_bias(draw, n, 1), draw.rng.uniform(-1, 1, n).astype(np.float32)
    if scheme == "int8":
        codes = draw_int8(draw, (n, k))
        weights = constant("weights", pack.pack_fully_connected(codes))
        found = four_bits.dynamic_int8(x, codes, multiplier, bias)
    else:
        blocks = draw_blocks(draw, scheme, n, k)
        weights, found = packed(blocks), four_bits.dynamic(x, blocks, multiplier, bias)
    low = draw.choice([-np.inf, -np.inf, 0.0, -0.5])
    high = draw.choice([np.inf, np.inf, 0.5, max(low, 0.0)])
    expected = bounded(found, low, high)
    operation = Operation(
        "fully_connected_dynamic",
        [
            Value("x", x.shape, "float32"),
            weights,
            constant("bias", pack.pack_channels(bias)),
            constant("multiplier", pack.pack_channels(multiplier)),
        ],
        [Value("y", expected.shape, "float32")],
        {"clamp_min": low, "clamp_max": high},
    )
    check(draw, operation, x, expected, same_rows)


@pytest.mark.parametrize("scheme", SCHEMES)
@some
@given(seed=seeds)
def test_fully_connected(scheme: str, seed: int) -> None:
    draw = Draw(seed)
    outer = [draw.integer(1, 4) for _ in range(draw.integer(0, 4))]
    check_fully_connected(draw, scheme, outer, draw.integer(1, 300), draw.integer(1, 40))


@pytest.mark.parametrize("scheme", DYNAMIC)
@some
@given(seed=seeds)
def test_fully_connected_dynamic(scheme: str, seed: int) -> None:
    draw = Draw(seed)
    outer = [draw.integer(1, 4) for _ in range(draw.integer(0, 4))]
    check_dynamic(draw, scheme, outer, draw.integer(1, 300), draw.integer(1, 40))


@pytest.mark.parametrize("scheme", DYNAMIC)
@pytest.mark.parametrize(
    ("outer", "k", "n"),
    [
        pytest.param([200], 70, 100, id="more rows than at a time"),
        pytest.param([13], 4000, 50, id="few rows at a time"),
        pytest.param([2], 41000, 20, id="rows beyond the buffer"),
        pytest.param([1], 100, 2100, id="more channels than sums at a time"),
    ],
)
def test_shapes_beyond_the_buffers(scheme: str, outer: list[int], k: int, n: int) -> None:
    if scheme != "int8":
        check_fully_connected(Draw(1), scheme, outer, k, n)
    elif k > MOST_K:
        k = MOST_K
    check_dynamic(Draw(2), scheme, outer, k, n)


def test_packed_blocks_are_read_back() -> None:
    for scheme, n, k, groups in (("mxfp4", 40, 300, 2), ("nvfp4", 17, 33, 1), ("mxfp4", 6, 5, 3)):
        blocks = draw_blocks(Draw(3), scheme, n, k)
        value = packed(blocks, groups)
        found = pack_fp4.unpack_blocks(value.data, scheme, n, k, groups)  # type: ignore
        np.testing.assert_array_equal(found.codes[:, :k], blocks.codes)
        assert not found.codes[:, k:].any()
        np.testing.assert_array_equal(found.scales, blocks.scales)


def check_embedding(draw: Draw, scheme: str, outer: tuple[int, ...], rows: int, k: int) -> None:
    blocks = draw_blocks(draw, scheme, rows, k)
    multiplier = draw.rng.choice([0.5, -1.5, 128.0, 0.0, 1e-38, 3e38], rows).astype(np.float32)
    indices = draw.rng.integers(-rows, rows, outer).astype(draw.choice(["int32", "int64"]))
    factors = np.repeat(blocks.factors(), blocks.block, axis=1)[:, :k]
    with np.errstate(all="ignore"):
        table = blocks.doubled().astype(np.float32) * factors * multiplier[:, None]
    table[np.isnan(table)] = np.nan  # of the usual bits
    operation = Operation(
        "embedding",
        [
            packed(blocks),
            Value("indices", indices.shape, indices.dtype.name),
            constant("multiplier", pack.pack_channels(multiplier)),
        ],
        [Value("y", (*outer, k), "float32")],
        {"rows": rows},
    )
    check(draw, operation, indices, table[indices], all_rows(outer))


@pytest.mark.parametrize("scheme", SCHEMES)
@some
@given(seed=seeds)
def test_embedding(scheme: str, seed: int) -> None:
    draw = Draw(seed)
    outer = draw.choice([(), (1,), (7,), (2, 3), (2, 1, 3), (2, 1, 2, 2)])
    check_embedding(draw, scheme, outer, draw.integer(1, 40), draw.integer(1, 150))


def test_the_weights_of_a_product_serve_as_a_table() -> None:
    """A lookup gives the values of the weights that `pack_blocks` packs for fully_connected."""
    draw = Draw(5)
    blocks = draw_blocks(draw, "mxfp4", 20, 70)
    indices, multiplier = np.arange(20, dtype=np.int64), np.full(20, 0.5, np.float32)
    table = Operation(
        "embedding",
        [
            packed(blocks),
            Value("indices", (20,), "int64"),
            constant("multiplier", pack.pack_channels(multiplier)),
        ],
        [Value("y", (20, 70), "float32")],
        {"rows": 20},
    )
    weights = BlockWeights("mxfp4", np.zeros((20, 96), np.uint8), blocks.scales, multiplier * 2, 70)
    weights.codes[:, :70] = blocks.codes
    np.testing.assert_array_equal(run_whole(table, [indices]), weights.values())
