"""What operators with weights of four bits refuse when a file is opened: one change of a good
operation per rule, and the message that names it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeinfer.convert.lower import pack, pack_fp4
from edgeinfer.convert.program import Operation, Value
from edgeinfer.convert.quantize.mxfp4 import quantize_mxfp4
from edgeinfer.convert.quantize.nvfp4 import quantize_nvfp4
from tests.kernels.run_operation import constant, run_whole
from tests.ops.changes import (
    Change,
    activation,
    both,
    data,
    inputs_of,
    open_accepts,
    open_refuses,
    param,
    poke,
    without,
)

X, WEIGHTS, BIAS, MULTIPLIER, ZERO = range(5)
QUANTIZED: dict[str, int | float] = {"out_zero_point": 0, "clamp_min": -128, "clamp_max": 127}
WINDOW: dict[str, int | float] = {
    "kernel_h": 3, "kernel_w": 3, "stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1,
    "pad_top": 1, "pad_left": 1,
}  # fmt: skip


def constants(n: int, k: int, scheme: str, groups: int = 1) -> list[Value | None]:
    """Weights [n, k], bias and multiplier."""
    weights = np.random.default_rng(n).standard_normal((n, k)).astype(np.float32)
    blocks = quantize_mxfp4(weights) if scheme == "mxfp4" else quantize_nvfp4(weights)
    packed = constant("weights", pack_fp4.pack_blocks(blocks, groups))
    packed.scheme = scheme
    ones = np.ones(n, np.float32)
    return [
        packed,
        constant("bias", pack.pack_channels(0 * ones, groups)),
        constant("multiplier", pack.pack_channels(ones, groups)),
    ]


def conv2d() -> Operation:
    """[2,6,7,6] -> [2,6,7,10] in 2 groups, 3x3, padded by 1 on all sides: K is 27, one block."""
    return Operation(
        "conv2d",
        [
            Value("x", (2, 6, 7, 6), "int8"),
            *constants(10, 27, "mxfp4", 2),
            constant("zero", np.zeros(42, np.int8)),
        ],
        [Value("y", (2, 6, 7, 10), "int8")],
        {**WINDOW, **QUANTIZED, "groups": 2},
    )


def fully_connected() -> Operation:
    """[4,90] -> [4,10]: six blocks, in two groups."""
    return Operation(
        "fully_connected",
        [Value("x", (4, 90), "int8"), *constants(10, 90, "nvfp4")],
        [Value("y", (4, 10), "int8")],
        dict(QUANTIZED),
    )


def dynamic() -> Operation:
    """[4,160] -> [4,10]: five blocks, in two groups."""
    return Operation(
        "fully_connected_dynamic",
        [Value("x", (4, 160), "float32"), *constants(10, 160, "mxfp4")],
        [Value("y", (4, 10), "float32")],
        {"clamp_min": -np.inf, "clamp_max": np.inf},
    )


def dynamic_int8() -> Operation:
    """[4,30] -> [4,10] with int8 weights."""
    codes = np.random.default_rng(2).integers(-128, 128, (10, 30)).astype(np.int8)
    _, bias, multiplier = constants(10, 30, "mxfp4")
    packed = constant("weights", pack.pack_fully_connected(codes))
    return Operation(
        "fully_connected_dynamic",
        [Value("x", (4, 30), "float32"), packed, bias, multiplier],
        [Value("y", (4, 10), "float32")],
        {"clamp_min": -np.inf, "clamp_max": np.inf},
    )


def embedding() -> Operation:
    """Rows [3, 2] of a table [20, 40]: two tiles, three blocks in one group."""
    table, _, multiplier = constants(20, 40, "nvfp4")
    indices = constant("indices", np.array([[0, 19], [-20, -1], [3, 16]], np.int64))
    y = Value("y", (3, 2, 40), "float32")
    return Operation("embedding", [table, indices, multiplier], [y], {"rows": 20})


GOOD = [conv2d, fully_connected, dynamic, dynamic_int8, embedding]
GROUP_MX, GROUP_NV = 64 + 4 * 256, 64 + 4 * 128


def scheme(name: str, at: int = WEIGHTS) -> Change:
    def change(operation: Operation) -> None:
        value = operation.inputs[at]
        assert value is not None
        value.scheme = name

    return change


REFUSED: list[tuple[Callable[[], Operation], Change, str]] = [
    (conv2d, both(activation(X, (2, 6, 7, 6), "int16"), activation(-1, (2, 6, 7, 10), "int16")),
     "x: dtype is int16"),
    (conv2d, activation(X, (2, 6, 7, 8)), "weights: has 640 elements, must have at least 1152"),
    (conv2d, scheme(""), "bias: dtype is float32, must be int32"),
    (conv2d, param("groups", 4), "groups: is 4, must divide"),
    (conv2d, without(ZERO), "zero"),
    (conv2d, data(BIAS, lambda b: b.astype(np.int32)), "bias: dtype is int32"),
    (conv2d, data(BIAS, lambda b: b[:31]), "bias: has 31 elements, must have at least 32"),
    (conv2d, data(MULTIPLIER, lambda b: b[:31]), "multiplier: has 31 .* at least 32"),
    (conv2d, poke(MULTIPLIER, 3, np.nan), "multiplier: entry 3 is -?nan"),
    (conv2d, poke(WEIGHTS, 320 + 2, 255), "weights: scale 2 of block 0 of tile 1 is 0xff"),
    (conv2d, param("clamp_min", -129), "clamp_min: is -129"),
    (fully_connected, both(activation(X, (4, 90), "int16"), activation(-1, (4, 10), "int16")),
     "x: dtype is int16"),
    (fully_connected, activation(-1, (4, 17)), "bias: has 16 elements, must have at least 32"),
    (fully_connected, activation(X, (4, 97)), "weights: has 896 elements, must have at least 1024"),
    (fully_connected, data(WEIGHTS, lambda w: w[:, :-1]), "weights: has 895 elements"),
    (fully_connected, poke(WEIGHTS, 17, 0x7F), "scale 1 of block 1 .* is 0x7f, must be below 0x7f"),
    (fully_connected, poke(WEIGHTS, 0, 0x80), "is 0x80, must be below 0x7f"),
    (fully_connected, poke(WEIGHTS, GROUP_NV + 63, 0xFF), "scale 15 of block 7 of tile 0 is 0xff"),
    (fully_connected, poke(MULTIPLIER, 0, np.inf), "multiplier: entry 0 is inf"),
    (dynamic, activation(X, (4, 160), "int8"), "x: dtype is int8"),
    (dynamic, activation(-1, (4, 10), "int8"), "y: dtype is int8"),
    (dynamic, activation(-1, (5, 10), "float32"), "y: .* axis 0 must have 4"),
    (dynamic, activation(-1, (2, 2, 10), "float32"), "y: .* rank must be 2"),
    (dynamic, activation(-1, (4, 17), "float32"), "bias: has 16 .* at least 32"),
    (dynamic, activation(X, (4, 161), "float32"), "weights: has 1408 .* at least 1664"),
    (dynamic, scheme(""), "weights: dtype is uint8, must be int8"),
    (dynamic_int8, activation(X, (4, 33), "float32"), "weights: has 512 .* at least 576"),
    (dynamic_int8, activation(X, (4, 40961), "float32"), "weights: 40964 per .* at most 40960"),
    (dynamic_int8, activation(-1, (4, 17), "float32"), "bias: has 16 .* at least 32"),
    (dynamic_int8, data(BIAS, lambda b: b.astype(np.int32)), "bias: dtype is int32"),
    (dynamic_int8, data(MULTIPLIER, lambda b: b[:15]), "multiplier: has 15 .* at least 16"),
    (dynamic_int8, poke(MULTIPLIER, 0, np.nan), "multiplier: entry 0 is -?nan"),
    (dynamic_int8, data(WEIGHTS, lambda w: w.view(np.uint8)), "weights: dtype is uint8"),
    (dynamic_int8, without(WEIGHTS), "weights: is absent"),
    (dynamic, without(WEIGHTS), "weights: is absent"),
    (dynamic, without(BIAS), "bias: is absent"),
    (dynamic, without(MULTIPLIER), "multiplier: is absent"),
    (dynamic, poke(WEIGHTS, GROUP_MX, 0xFF), "scale 0 of block 4 of tile 0 is 0xff"),
    (dynamic, poke(MULTIPLIER, 15, -np.inf), "multiplier: entry 15 is -inf"),
    (dynamic, param("clamp_min", np.nan), "clamp_min: is -?nan"),
    (embedding, without(0), "table: is absent"),
    (embedding, without(1), "indices: is absent"),
    (embedding, without(2), "multiplier: is absent"),
    (embedding, scheme("", 0), "table: are not of four bits"),
    (embedding, data(0, lambda w: w[:, :-1]), "table: has 894 elements, must have at least 896"),
    (embedding, poke(0, 448 + 17, 0x7F), "table: scale 1 of block 1 of tile 1 is 0x7f"),
    (embedding, data(1, lambda i: i.astype(np.int16)), "indices: dtype is int16"),
    (embedding, poke(1, 2, -21), "indices: entry 2 is -21, must be from -20 to 19"),
    (embedding, poke(1, 3, 20), "indices: entry 3 is 20, must be from -20 to 19"),
    (embedding, data(2, lambda m: m[:31]), "multiplier: has 31 elements, must have at least 32"),
    (embedding, poke(2, 1, np.nan), "multiplier: entry 1 is -?nan"),
    (embedding, param("rows", 0), "rows: is 0"),
    (embedding, param("rows", 33), "multiplier: has 32 elements, must have at least 48"),
    (embedding, activation(-1, (3, 2, 40), "int8"), "y: dtype is int8"),
    (embedding, activation(-1, (6, 40), "float32"), "y: .* rank must be 3"),
    (embedding, activation(-1, (3, 3, 40), "float32"), "y: .* axis 1 must have 2"),
    (embedding, activation(-1, (3, 2, 49), "float32"), "table: has 896 .* at least 1152"),
]  # fmt: skip


test_open_refuses = open_refuses(REFUSED)
test_open_accepts_what_the_changes_start_from = open_accepts(GOOD)


def test_the_largest_scales_are_no_nan() -> None:
    for make, code in ((dynamic, 0xFE), (fully_connected, 0x7E)):
        operation = make()
        poke(WEIGHTS, 0, code)(operation)
        run_whole(operation, inputs_of(operation))
