"""Float TFLite models give LiteRT's numbers, but for the last bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.convert.frontends import tflite
from tests.builders import tflite_elementwise_ops as elementwise_models
from tests.builders import tflite_matmul_ops as matmul_models
from tests.builders import tflite_pool_ops as pool_models
from tests.builders import tflite_shape_ops as shape_models
from tests.builders.spec import Quant, Spec
from tests.convert.litert_agreement import (
    FEW,
    fused,
    images,
    out_size,
)
from tests.convert.litert_float_agreement import F, check, floats, model_of, numbers
from tests.oracle.strategies import seeds

# --- elementwise

BINARY = ["ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "POW", "ATAN2",
          "FLOOR_DIV", "FLOOR_MOD"]  # fmt: skip


@pytest.mark.parametrize("code", BINARY)
@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("shape", [(2, 3, 4), (4,), (3, 1)])
def test_binary(code: str, constant: bool, shape: tuple[int, ...]) -> None:
    if code == "ATAN2":
        shape = (2, 3, 4)  # LiteRT's does not broadcast
    a, b = numbers(0, (2, 3, 4)), numbers(1, shape)
    if code == "POW":
        a = np.abs(a)
    model = elementwise_models.binary(
        code, floats(2, 3, 4), floats(*shape), floats(2, 3, 4), b_values=b if constant else None
    )
    check(model, a, *([] if constant else [b]))


@pytest.mark.parametrize("code", ["ADD", "SUB", "MUL", "DIV"])
@pytest.mark.parametrize("activation", ["RELU", "RELU6", "RELU_N1_TO_1"])
def test_fused_activation(code: str, activation: str) -> None:
    x = floats(2, 9)
    model = elementwise_models.binary(code, x, x, x, activation=activation)
    check(model, numbers(0, (2, 9)), numbers(1, (2, 9)))


UNARY: dict[str, tuple[float, float, object | None]] = {
    "ABS": (-4, 4, None),
    "CEIL": (-4, 4, None),
    "COS": (-9, 9, None),
    "ELU": (-4, 4, None),
    "EXP": (-4, 4, None),
    "FLOOR": (-4, 4, None),
    "GELU": (-4, 4, schema.GeluOptionsT(approximate=False)),
    "HARD_SWISH": (-4, 4, None),
    "LEAKY_RELU": (-4, 4, schema.LeakyReluOptionsT(alpha=0.3)),
    "LOG": (0.1, 4, None),
    "LOGISTIC": (-9, 9, None),
    "LOG_SOFTMAX": (-9, 9, schema.LogSoftmaxOptionsT()),
    "NEG": (-4, 4, None),
    "RELU": (-4, 4, None),
    "RELU6": (-9, 9, None),
    "RELU_0_TO_1": (-4, 4, None),
    "RELU_N1_TO_1": (-4, 4, None),
    "ROUND": (-4, 4, None),
    "RSQRT": (0.1, 4, None),
    "SIGN": (-4, 4, None),
    "SIN": (-9, 9, None),
    "SQRT": (0, 4, None),
    "SQUARE": (-4, 4, None),
    "TANH": (-4, 4, None),
    "SOFTMAX": (-9, 9, schema.SoftmaxOptionsT(beta=1.5)),
    "L2_NORMALIZATION": (-4, 4, schema.L2NormOptionsT()),
}


@pytest.mark.parametrize("code", UNARY)
def test_unary(code: str) -> None:
    low, high, options = UNARY[code]
    x = numbers(0, (2, 3, 40), low, high)
    check(elementwise_models.unary(code, floats(*x.shape), floats(*x.shape), options), x)


def test_gelu_by_tanh() -> None:
    x = numbers(0, (3, 50))
    check(elementwise_models.gelu(floats(3, 50), floats(3, 50), approximate=True), x)


def test_round_is_half_to_even() -> None:
    x = np.array([[-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]], F)
    (y,) = check(elementwise_models.unary("ROUND", floats(1, 6), floats(1, 6)), x)
    assert y.tolist() == [[-2, -2, 0, 0, 2, 2]]


def test_l2_normalization_of_zeros() -> None:
    model = elementwise_models.unary(
        "L2_NORMALIZATION", floats(1, 4), floats(1, 4), schema.L2NormOptionsT()
    )
    check(model, np.zeros((1, 4), F))


@pytest.mark.parametrize("constant", [True, False])
def test_prelu(constant: bool) -> None:
    x, slope = floats(1, 4, 4, 3), numbers(0, (1, 1, 3))
    operands = [x, slope if constant else floats(1, 1, 3)]
    given_ = [] if constant else [slope]
    check(model_of("PRELU", operands, [x]), numbers(1, x.shape), *given_)


@pytest.mark.parametrize("count", [2, 4])
def test_add_n(count: int) -> None:
    x = floats(2, 5)
    model = model_of("ADD_N", [x] * count, [x], schema.AddNOptionsT())
    check(model, *(numbers(i, (2, 5)) for i in range(count)))


@pytest.mark.parametrize("radius", [1, 2, 9])
def test_local_response_normalization(radius: int) -> None:
    x = floats(2, 3, 4, 7)
    options = schema.LocalResponseNormalizationOptionsT(
        radius=radius, bias=1.5, alpha=0.3, beta=0.75
    )
    model = model_of("LOCAL_RESPONSE_NORMALIZATION", [x], [x], options)
    check(model, numbers(0, x.shape))


# --- pools, reductions, resizing


@FEW
@given(
    geometry=images(),
    code=st.sampled_from(["AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"]),
    activation=fused,
    seed=seeds,
)
def test_pool(geometry, code, activation, seed) -> None:
    image, kernel, strides, _, padding = geometry
    size = out_size(image, kernel, strides, (1, 1), padding)
    model = pool_models.pool_2d(
        code,
        floats(2, *image, 3),
        floats(2, *size, 3),
        kernel,
        strides=strides,
        padding=padding,
        activation=activation,
    )
    check(model, numbers(seed, (2, *image, 3)))


@pytest.mark.parametrize("code", ["MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"])
@pytest.mark.parametrize("axes", [[0], [-1], [1, 2], [0, 1, 2, 3]])
@pytest.mark.parametrize("keep", [False, True])
def test_reduction(code: str, axes: list[int], keep: bool) -> None:
    x = numbers(0, (2, 3, 4, 5), -1.5, 1.5)
    positive = {axis % 4 for axis in axes}
    y = [1 if i in positive else n for i, n in enumerate(x.shape) if keep or i not in positive]
    check(pool_models.reduce(code, floats(*x.shape), floats(*y), axes, keep), x)


def test_a_mean_over_no_axes_is_its_input() -> None:
    check(pool_models.reduce("MEAN", floats(2, 3), floats(2, 3), []), numbers(0, (2, 3)))


@pytest.mark.parametrize("code", ["ARG_MAX", "ARG_MIN"])
def test_arg_extreme(code: str) -> None:
    options = schema.ArgMaxOptionsT if code == "ARG_MAX" else schema.ArgMinOptionsT
    model = model_of(
        code,
        [floats(2, 9), np.array(1, np.int32)],
        [Spec((2,), np.int32)],
        options(outputType=schema.TensorType.INT32),
    )
    check(model, numbers(0, (2, 9)))


@pytest.mark.parametrize("method", ["RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"])
@pytest.mark.parametrize("mode", [{}, {"align_corners": True}, {"half_pixel_centers": True}])
@pytest.mark.parametrize("size", [(3, 5), (9, 4), (1, 1), (10, 14)])
def test_resize(method: str, mode: dict[str, bool], size: tuple[int, int]) -> None:
    model = pool_models.resize(method, floats(1, 5, 7, 2), floats(1, *size, 2), **mode)
    check(model, numbers(0, (1, 5, 7, 2)))


# --- comparisons, logic, selection, other types


@pytest.mark.parametrize(
    "code", ["EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL"]
)
@pytest.mark.parametrize("dtype", [F, np.int32, np.int64])
def test_comparison(code: str, dtype: type[Any]) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 3, shape).astype(dtype) for shape in ((3, 4), (4,)))
    specs = [Spec(a.shape, dtype), Spec(b.shape, dtype)]
    check(model_of(code, specs, [Spec((3, 4), np.bool_)]), a, b)


@pytest.mark.parametrize("code", ["LOGICAL_AND", "LOGICAL_OR"])
def test_logic(code: str) -> None:
    truth = Spec((4,), np.bool_)
    a, b = np.array([0, 0, 1, 1], bool), np.array([0, 1, 0, 1], bool)
    check(model_of(code, [truth, truth], [truth]), a, b)


def test_logical_not() -> None:
    truth = Spec((2,), np.bool_)
    check(model_of("LOGICAL_NOT", [truth], [truth]), np.array([0, 1], bool))


@pytest.mark.parametrize("code", ["REDUCE_ANY", "REDUCE_ALL"])
def test_reduction_of_truth(code: str) -> None:
    x = np.random.default_rng(1).integers(0, 4, (5, 3)) > 0
    model = pool_models.reduce(code, Spec(x.shape, np.bool_), Spec((5,), np.bool_), [1])
    check(model, x)


@pytest.mark.parametrize(
    ("code", "condition"), [("SELECT", (3,)), ("SELECT", (3, 4)), ("SELECT_V2", (1, 4))]
)
def test_select(code: str, condition: tuple[int, ...]) -> None:
    x = floats(3, 4)
    model = model_of(code, [Spec(condition, np.bool_), x, x], [x])
    truth = np.random.default_rng(2).integers(0, 2, condition).astype(bool)
    check(model, truth, numbers(0, (3, 4)), numbers(1, (3, 4)))


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_one_hot(axis: int) -> None:
    shape = {0: (4, 2, 3), 1: (2, 4, 3), -1: (2, 3, 4)}[axis]
    scalars = [np.array(v, F) for v in (2.5, -1)]
    model = model_of(
        "ONE_HOT",
        [Spec((2, 3), np.int32), np.array(4, np.int32), *scalars],
        [floats(*shape)],
        schema.OneHotOptionsT(axis=axis),
    )
    check(model, np.array([[0, 1, 2], [3, 4, -1]], np.int32))


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dtype", [F, np.int32])
def test_cumsum(exclusive: bool, reverse: bool, dtype: type) -> None:
    x = Spec((3, 4), dtype)
    options = schema.CumsumOptionsT(exclusive=exclusive, reverse=reverse)
    model = model_of("CUMSUM", [x, np.array(0, np.int32)], [x], options)
    check(model, numbers(0, (3, 4)).astype(dtype))


@pytest.mark.parametrize("k", [1, 3, 5])
def test_top_k(k: int) -> None:
    ys = [floats(2, k), Spec((2, k), np.int32)]
    model = model_of("TOPK_V2", [floats(2, 5), np.array(k, np.int32)], ys, schema.TopKV2OptionsT())
    check(model, np.array([[1, 5, 3, 5, 2], [0, -1, -1, 0, 7]], F))


@pytest.mark.parametrize("source", [F, np.int32, np.int64, np.bool_])
@pytest.mark.parametrize("target", [F, np.int32, np.int64, np.bool_])
def test_cast(source: type[Any], target: type[Any]) -> None:
    x = np.array([[0, 1.5, -2.7, 100]]).astype(source)
    model = model_of("CAST", [Spec(x.shape, source)], [Spec(x.shape, target)])
    check(model, x)


@pytest.mark.parametrize("code", ["ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM"])
def test_arithmetic_of_plain_integers(code: str) -> None:
    x = Spec((2, 3), np.int32)
    a, b = np.array([[1, -7, 9], [4, 0, -8]], np.int32), np.array([[2, 2, -4], [3, 1, 3]], np.int32)
    check(elementwise_models.binary(code, x, x, x), a, b)


def test_moves() -> None:
    x = floats(1, 4, 4, 8)
    for model in (
        shape_models.transpose(x, floats(8, 1, 4, 4), [3, 0, 1, 2]),
        shape_models.pad(x, floats(1, 6, 4, 8), [[0, 0], [1, 1], [0, 0], [0, 0]]),
        shape_models.space_depth("SPACE_TO_DEPTH", x, floats(1, 2, 2, 32), 2),
        shape_models.split(x, [floats(1, 4, 4, 4)] * 2, 3),
        shape_models.slice_(x, floats(1, 2, 4, 8), [0, 1, 0, 0], [1, 2, 4, 8]),
    ):
        check(model, numbers(0, x.shape))


# --- refusals


def refusal(model: bytes) -> str:
    (problem,) = tflite.read(model, "model.tflite").problems
    return problem.reason


INT8 = Spec((2, 3), np.int8, Quant(0.1))
BOOL = Spec((2, 3), np.bool_)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (elementwise_models.binary("ADD", floats(2, 3), INT8, floats(2, 3)), "float32, int8"),
        (elementwise_models.binary("POW", INT8, INT8, INT8), "computed in float32 only"),
        (elementwise_models.binary("DIV", INT8, INT8, INT8), "division of quantised"),
        (elementwise_models.softmax(floats(2, 3), INT8), "its input is float32 and its output"),
        (model_of("CAST", [INT8], [floats(2, 3)]), "is quantised"),
        (model_of("EQUAL", [INT8, floats(2, 3)], [BOOL]), "compares int8 with float32"),
        (
            model_of("EQUAL", [INT8, Spec((2, 3), np.int8, Quant(0.2))], [BOOL]),
            "different quantisation",
        ),
        (model_of("LOGICAL_NOT", [floats(2, 3)], [BOOL]), "bool is needed"),
        (model_of("ADD_N", [floats(2, 3), floats(3)], [floats(2, 3)]), "different shapes"),
        (
            model_of("TOPK_V2", [floats(2, 3), np.array(4, np.int32)], [floats(2, 4)] * 2),
            "the 4 largest",
        ),
        (
            matmul_models.fully_connected(
                floats(1, 4), np.ones((3, 4), np.int8), None, None, floats(1, 3)
            ),
            "have no scale",
        ),
        (
            matmul_models.fully_connected(
                floats(1, 4), np.ones((3, 4), np.int8), Quant((0.1, 0.2)), None, floats(1, 3)
            ),
            "2 scales for 3 channels",
        ),
        (
            matmul_models.fully_connected(
                floats(1, 4), np.ones((3, 4), F), None, np.ones(3, np.int32), floats(1, 3)
            ),
            "bias is int32; float32 is needed",
        ),
        (
            matmul_models.fully_connected(
                floats(1, 4), np.ones((3, 4), np.int16), None, None, floats(1, 3)
            ),
            "its weights are int16",
        ),
    ],
)
def test_refusal(model: bytes, reason: str) -> None:
    assert reason in refusal(model)
