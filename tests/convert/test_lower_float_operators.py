"""Every operator on float32 and on plain numbers, from the graph to a run, against NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

import edgeinfer
from edgeinfer.convert import convert
from edgeinfer.convert.graph import Graph, Node, Problem, Tensor
from edgeinfer.convert.lower import float_elementwise, float_reduction, plain
from edgeinfer.convert.lower.lower_graph import FLOAT_HANDLERS, HANDLERS, lower
from tests.convert.graphs import GraphBuilder
from tests.oracle.float64 import real_unary

F = np.float32
RNG = np.random.default_rng(3)


def run(graph: Graph, *inputs: np.ndarray) -> list[np.ndarray]:
    """The outputs of the converted graph."""
    with edgeinfer.load(convert(graph).data) as model:
        feed = {t.name: x for t, x in zip(graph.inputs, inputs, strict=True)}
        results = model.run(feed)
    return list(results.values()) if isinstance(results, dict) else [results]


def run_node(
    op: str,
    inputs: Sequence[np.ndarray],
    shape: Sequence[int],
    dtype: str = "float32",
    activation: Any = None,
    **attrs: Any,
) -> np.ndarray:
    b = GraphBuilder()
    tensors = [b.input(x.shape, None, x.dtype.name) for x in inputs]
    y = b.node(op, tensors, shape, None, dtype, activation, **attrs)
    (result,) = run(b.build(y), *inputs)
    return result


def floats(*shape: int) -> np.ndarray:
    return RNG.uniform(-4, 4, shape).astype(F)


X = floats(2, 3, 4)
POSITIVE = np.abs(X) + F(0.1)
WITHIN = X / F(4.1)


def real(op: str, x: np.ndarray) -> np.ndarray:
    return real_unary(op, x.astype(F))


FUNCTIONS: dict[str, tuple[np.ndarray, dict[str, Any], Callable[[np.ndarray], np.ndarray]]] = {
    "relu": (X, {}, lambda x: np.maximum(x, 0)),
    "relu6": (X * 4, {}, lambda x: np.clip(x, 0, 6)),
    "relu_n1_to_1": (X, {}, lambda x: np.clip(x, -1, 1)),
    "clip": (X, {"min": -1.5, "max": None}, lambda x: np.maximum(x, -1.5)),
    "leaky_relu": (X, {"alpha": 0.1}, lambda x: np.where(x < 0, 0.1 * x, x)),
    "thresholded_relu": (X, {"alpha": 0.5}, lambda x: np.where(x > 0.5, x, 0)),
    "elu": (X, {"alpha": 1.5}, lambda x: np.where(x > 0, x, 1.5 * np.expm1(x))),
    "selu": (X, {"alpha": 1.6, "gamma": 1.1},
             lambda x: 1.1 * np.where(x > 0, x, 1.6 * np.expm1(x))),
    "celu": (X, {"alpha": 2.0}, lambda x: np.where(x > 0, x, 2 * np.expm1(x / 2))),
    "shrink": (X, {"lambd": 1.0, "bias": 0.5},
               lambda x: np.where(x < -1, x + 0.5, np.where(x > 1, x - 0.5, 0))),
    "hard_sigmoid": (X, {"alpha": 0.2, "beta": 0.5}, lambda x: np.clip(0.2 * x + 0.5, 0, 1)),
    "hard_swish": (X, {}, lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    "gelu": (X, {"approximate": False}, lambda x: real_unary("gelu", x.astype(F))),
    **{op: (X, {}, partial(real, op))
       for op in ("exp", "sigmoid", "tanh", "silu", "erf", "mish", "abs", "neg", "square", "floor",
                  "ceil", "round", "sign", "softsign", "sin", "cos", "tan", "atan", "sinh", "cosh",
                  "asinh", "softplus", "reciprocal")},
    **{op: (POSITIVE, {}, partial(real, op))
       for op in ("sqrt", "rsqrt", "log")},
    **{op: (WITHIN, {}, partial(real, op))
       for op in ("asin", "acos", "atanh")},
    "acosh": (POSITIVE + 1, {}, lambda x: real_unary("acosh", x.astype(F))),
}  # fmt: skip


@pytest.mark.parametrize("op", FUNCTIONS)
@pytest.mark.parametrize("activation", [None, "relu6"])
def test_function(op: str, activation: str | None) -> None:
    x, attrs, real = FUNCTIONS[op]
    expected = real(x.astype(np.float64))
    if activation is not None:
        expected = np.clip(expected, 0, 6)
    y = run_node(op, [x], x.shape, activation=activation, **attrs)
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)


def test_gelu_in_its_approximate_form() -> None:
    y = run_node("gelu", [X], X.shape, approximate=True)
    np.testing.assert_allclose(y, real_unary("gelu_tanh", X), rtol=1e-6, atol=1e-6)


def test_celu_of_no_width_is_refused() -> None:
    b = GraphBuilder()
    y = b.node("celu", [b.input((3,), None)], (3,), None, alpha=0.0)
    (problem,) = lower(b.build(y)).problems
    assert problem.reason == "beta is inf, must be finite"


def test_clip_with_its_bounds_crossed_is_the_upper_one() -> None:
    y = run_node("clip", [X], X.shape, min=2.0, max=1.0)
    np.testing.assert_array_equal(y, np.ones_like(X))


ARITHMETIC: dict[str, tuple[dict[str, Any], Callable[..., np.ndarray]]] = {
    "add": ({}, np.add),
    "sub": ({}, np.subtract),
    "mul": ({}, np.multiply),
    "div": ({}, np.divide),
    "maximum": ({}, np.maximum),
    "minimum": ({}, np.minimum),
    "pow": ({}, lambda a, b: np.power(np.abs(a), b)),
    "mod": ({"fmod": True}, np.fmod),
    "atan2": ({}, np.arctan2),
    "prelu": ({}, lambda a, b: np.where(a < 0, a * b, a)),
}


@pytest.mark.parametrize("op", ARITHMETIC)
def test_arithmetic(op: str) -> None:
    attrs, function = ARITHMETIC[op]
    a, b = X if op != "pow" else np.abs(X), floats(3, 1)
    y = run_node(op, [a, b], X.shape, activation=("clip", -3.0, 3.0), **attrs)
    expected = np.clip(function(a.astype(np.float64), b.astype(np.float64)), -3, 3)
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("exponent", [1.0, 2.0, 0.5, -1.0, -0.5, 3.0])
def test_a_constant_exponent(exponent: float) -> None:
    b = GraphBuilder()
    x = b.input(X.shape, None)
    e = b.constant(
        np.array([int(exponent)], np.int64) if exponent == 3 else np.full(1, exponent, F)
    )
    graph = b.build(b.node("pow", [x, e], X.shape, None))
    kinds = [o.operator for o in lower(graph).program.operations]
    assert kinds == ["binary_f32" if exponent == 3 else "unary_f32"]
    np.testing.assert_allclose(run(graph, POSITIVE)[0], POSITIVE**exponent, rtol=1e-6)


REDUCTIONS: dict[str, Callable[..., np.ndarray]] = {
    "sum": np.sum,
    "mean": np.mean,
    "reduce_max": np.max,
    "reduce_min": np.min,
    "reduce_prod": np.prod,
    "reduce_sum_square": lambda x, axis: np.sum(x * x, axis),
    "reduce_l1": lambda x, axis: np.sum(np.abs(x), axis),
    "reduce_l2": lambda x, axis: np.sqrt(np.sum(x * x, axis)),
    "reduce_log_sum": lambda x, axis: np.log(np.sum(x, axis)),
    "reduce_log_sum_exp": lambda x, axis: np.log(np.sum(np.exp(x), axis)),
}


@pytest.mark.parametrize("op", REDUCTIONS)
@pytest.mark.parametrize("axes", [(2,), (0, 2), (0, 1, 2)])
def test_reduction(op: str, axes: tuple[int, ...]) -> None:
    expected = REDUCTIONS[op](POSITIVE.astype(np.float64), axes)
    y = run_node(op, [POSITIVE], expected.shape, axes=axes, keep_dims=False)
    np.testing.assert_allclose(y, expected, rtol=2e-6)


@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_softmax(op: str, axis: int) -> None:
    e = np.exp(0.5 * X.astype(np.float64))
    expected = e / e.sum(axis, keepdims=True)
    y = run_node(op, [X], X.shape, axis=axis, beta=0.5)
    expected = np.log(expected) if op == "log_softmax" else expected
    np.testing.assert_allclose(y, expected, rtol=1e-6)


@pytest.mark.parametrize("op", ["layer_norm", "rms_norm"])
@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("constant", [False, True])
def test_norm(op: str, axis: int, constant: bool) -> None:
    b = GraphBuilder()
    x = b.input(X.shape, None)
    shape = X.shape[axis:]
    affine = [floats(*shape), floats(*shape)][: 1 if op == "rms_norm" else 2]
    tensors = [b.constant(v) if constant else b.input(v.shape, None) for v in affine]
    y = b.node(op, [x, *tensors], X.shape, None, axis=axis, epsilon=1e-3)
    axes = tuple(range(axis, 3))
    d = X.astype(np.float64)
    if op == "layer_norm":
        d = d - d.mean(axes, keepdims=True)
    expected = d / np.sqrt((d * d).mean(axes, keepdims=True) + 1e-3) * affine[0]
    expected = expected + (affine[1] if op == "layer_norm" else 0)
    (result,) = run(b.build(y), X, *([] if constant else affine))
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("coordinates", ["half_pixel", "align_corners", "asymmetric", "symmetric"])
def test_linear_resize(coordinates: str) -> None:
    x = floats(1, 3, 4, 2)
    name = "half_pixel_symmetric" if coordinates == "symmetric" else coordinates
    attrs: dict[str, Any] = {
        "mode": "linear",
        "coordinates": name,
        "rounding": None,
        "scales": None,
    }
    y = run_node("resize", [x], (1, 5, 7, 2), **attrs)
    for axis, size in ((1, 5), (2, 7)):
        n = x.shape[axis]
        at = np.arange(size)
        at = {
            "half_pixel": (at + 0.5) * n / size - 0.5,
            "symmetric": (at + 0.5) * n / size - 0.5,  # the same where scales are exact
            "align_corners": at * (n - 1) / (size - 1),
            "asymmetric": at * n / size,
        }[coordinates].clip(0, n - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, n - 1)
        weight = (at - low).reshape([-1 if i == axis else 1 for i in range(4)])
        x = x.take(low, axis) * (1 - weight) + x.take(high, axis) * weight
    np.testing.assert_allclose(y, x, rtol=1e-5, atol=1e-6)


def keys(x: np.ndarray, a: float) -> np.ndarray:
    """Keys' cubic convolution, as its paper writes it."""
    x = np.abs(x)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return np.where(x < 1, near, np.where(x < 2, far, 0))


@pytest.mark.parametrize("exclude_outside", [False, True])
@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize(("size", "mode"), [(9, "cubic"), (3, "cubic"), (3, "linear")])
def test_filtered_resize(size: int, mode: str, antialias: bool, exclude_outside: bool) -> None:
    """Of a line: weights of every pixel by its distance, those beyond the ends folded onto them."""
    x = floats(1, 1, 6, 2)
    attrs: dict[str, Any] = {"mode": mode, "coordinates": "half_pixel", "scales": None}
    attrs |= {"antialias": antialias}
    attrs |= {"exclude_outside": exclude_outside, "cubic_coeff_a": -0.5}
    y = run_node("resize", [x], (1, 1, size, 2), **attrs)
    step = min(size / 6, 1) if antialias else 1
    at = ((np.arange(size) + 0.5) * 6 / size - 0.5)[:, None]
    pixels = np.arange(-12, 18)
    weights = keys((pixels - at) * step, -0.5)
    if mode == "linear":
        weights = np.clip(1 - np.abs(pixels - at) * step, 0, 1)
    if exclude_outside and (antialias or mode == "cubic"):
        weights = np.where((pixels < 0) | (pixels > 5), 0, weights)
    weights /= weights.sum(1, keepdims=True)
    expected = np.einsum("op,pc->oc", weights, x[0, 0, pixels.clip(0, 5)])
    np.testing.assert_allclose(y[0, 0], expected, rtol=1e-4, atol=1e-5)


def test_a_scale_that_can_be_read_in_two_ways_is_refused() -> None:
    b = GraphBuilder()
    attrs: dict[str, Any] = {"mode": "linear", "coordinates": "align_corners"}
    attrs["scales"] = (1.0, 0.6)
    y = b.node("resize", [b.input((1, 2, 4, 1), None)], (1, 2, 2, 1), None, **attrs)
    (problem,) = lower(b.build(y)).problems
    assert problem.reason == "a scale of 0.6 for 4 pixels with align_corners has two readings"


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8", "bool"])
@pytest.mark.parametrize("op", plain.COMPARISONS)
def test_comparison(op: str, dtype: str) -> None:
    a = RNG.integers(0, 2, (2, 3, 4)).astype(dtype)
    b = RNG.integers(0, 2, (3, 1)).astype(dtype)
    name = op.replace("_or_equal", "_equal")
    expected = getattr(np, name)(a, b)
    np.testing.assert_array_equal(run_node(op, [a, b], a.shape, "bool"), expected)


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "int8"])
def test_where(dtype: str) -> None:
    condition = RNG.integers(0, 2, (3, 1)).astype(bool)
    a, b = RNG.integers(0, 9, (2, 3, 4)).astype(dtype), RNG.integers(0, 9, (4,)).astype(dtype)
    y = run_node("where", [condition, a, b], a.shape, dtype)
    np.testing.assert_array_equal(y, np.where(condition, a, b))


@pytest.mark.parametrize("x", [X * 40, np.arange(-5, 7, dtype=np.int32), np.array([True, False])])
@pytest.mark.parametrize("dtype", ["float32", "int32", "int64", "uint8", "bool"])
def test_cast(x: np.ndarray, dtype: str) -> None:
    expected = x.astype(dtype)
    if x.dtype == F and dtype == "uint8":
        expected = np.clip(np.trunc(x), 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(run_node("cast", [x], x.shape, dtype), expected)


def test_is_nan_and_is_inf() -> None:
    x = np.array([0, np.nan, np.inf, -np.inf, 1], F)
    np.testing.assert_array_equal(run_node("is_nan", [x], x.shape, "bool"), np.isnan(x))
    for positive in (True, False):
        y = run_node("is_inf", [x], x.shape, "bool", positive=positive, negative=True)
        np.testing.assert_array_equal(y, np.isneginf(x) | (np.isposinf(x) & positive))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_cumsum(axis: int, dtype: str) -> None:
    x = RNG.integers(-9, 9, (2, 3, 4)).astype(dtype)
    y = run_node("cumsum", [x], x.shape, dtype, axis=axis, exclusive=False, reverse=True)
    np.testing.assert_array_equal(y, np.flip(np.cumsum(np.flip(x, axis), axis), axis))


@pytest.mark.parametrize("axis", [0, 2])
@pytest.mark.parametrize("largest", [False, True])
def test_top_k(axis: int, largest: bool) -> None:
    b = GraphBuilder()
    x = b.input((5, 3, 6), None)
    shape = tuple(2 if i == axis else n for i, n in enumerate(x.shape))
    values, indices = Tensor("values", shape, "float32"), Tensor("indices", shape, "int64")
    attrs = {"axis": axis, "k": 2, "largest": largest}
    b.graph.nodes.append(Node("top_k", [x], [values, indices], attrs, name="top"))
    data = RNG.integers(0, 4, x.shape).astype(F)
    found = run(b.build(values, indices), data)
    order = np.argsort(-data if largest else data, axis=axis, kind="stable").take([0, 1], axis)
    np.testing.assert_array_equal(found[1], order)
    np.testing.assert_array_equal(found[0], np.take_along_axis(data, order, axis))


INTEGERS: dict[str, Callable[..., np.ndarray]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": lambda a, b: np.trunc(a / b).astype(a.dtype),
    "maximum": np.maximum,
    "minimum": np.minimum,
    "mod": np.mod,
}


@pytest.mark.parametrize("op", INTEGERS)
@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
def test_integer_arithmetic(op: str, dtype: str) -> None:
    a, b = RNG.integers(1, 90, (2, 3)).astype(dtype), RNG.integers(1, 9, (3,)).astype(dtype)
    np.testing.assert_array_equal(run_node(op, [a, b], a.shape, dtype), INTEGERS[op](a, b))


@pytest.mark.parametrize("op", ["logical_and", "logical_or", "logical_xor"])
def test_logic(op: str) -> None:
    a, b = np.array([[False], [True]]), np.array([False, True])
    expected = getattr(np, op)(a, b)
    np.testing.assert_array_equal(run_node(op, [a, b], expected.shape, "bool"), expected)
    np.testing.assert_array_equal(run_node("logical_not", [a], a.shape, "bool"), ~a)


def test_integer_functions_and_clamps() -> None:
    x = np.arange(-6, 6, dtype=np.int32).reshape(3, 4)
    functions: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "abs": np.abs,
        "neg": np.negative,
        "sign": np.sign,
        "relu": lambda x: np.maximum(x, 0),
    }
    for op, function in functions.items():
        np.testing.assert_array_equal(run_node(op, [x], x.shape, "int32"), function(x))
    y = run_node("clip", [x], x.shape, "int32", min=-2.0, max=3.0)
    np.testing.assert_array_equal(y, np.clip(x, -2, 3))


@pytest.mark.parametrize("op", ["sum", "reduce_max", "reduce_min", "reduce_prod"])
def test_integer_reduction(op: str) -> None:
    x = RNG.integers(-3, 4, (2, 3, 4))
    expected = REDUCTIONS[op](x, (1,))
    y = run_node(op, [x], expected.shape, "int64", axes=(1,), keep_dims=False)
    np.testing.assert_array_equal(y, expected)


def test_every_operator_is_run_here() -> None:
    """But those of products, which have their own tests, and of pools."""
    here = {*FUNCTIONS, *ARITHMETIC, *REDUCTIONS, *plain.COMPARISONS}
    here |= {"softmax", "log_softmax", "layer_norm", "rms_norm", "resize", "where", "cast"}
    here |= {"is_nan", "is_inf", "cumsum", "top_k", "avg_pool2d", "max_pool2d"}
    modules = (float_elementwise, float_reduction)
    ours = {op for module in modules for op in module.HANDLERS} | {*plain.FLOAT_HANDLERS}
    assert ours <= here
    assert ours <= set(FLOAT_HANDLERS)


@pytest.mark.parametrize("count_include_pad", [False, True])
def test_average_pool(count_include_pad: bool) -> None:
    x = floats(1, 4, 4, 3)
    attrs: dict[str, Any] = {"kernel": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)}
    y = run_node("avg_pool2d", [x], (1, 2, 2, 3), count_include_pad=count_include_pad, **attrs)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    ones = np.pad(np.ones_like(x), ((0, 0), (1, 1), (1, 1), (0, 0)))
    for i, j in np.ndindex(2, 2):
        window = np.s_[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
        count = 9 if count_include_pad else ones[window].sum((1, 2))
        np.testing.assert_allclose(y[:, i, j], padded[window].sum((1, 2)) / count, rtol=1e-6)


def test_pool_of_plain_integers() -> None:
    x = RNG.integers(0, 256, (1, 4, 6, 3)).astype(np.uint8)
    attrs: dict[str, Any] = {"kernel": (2, 3), "strides": (2, 3), "pads": (0, 0, 0, 0)}
    y = run_node("max_pool2d", [x], (1, 2, 2, 3), "uint8", dilations=(1, 1), **attrs)
    np.testing.assert_array_equal(y, x.reshape(1, 2, 2, 2, 3, 3).max((2, 4)))


def test_average_pool_with_gaps() -> None:
    x = floats(1, 5, 5, 2)
    attrs: dict[str, Any] = {"kernel": (2, 2), "strides": (1, 1), "pads": (0, 0, 0, 0)}
    y = run_node(
        "avg_pool2d", [x], (1, 2, 2, 2), dilations=(3, 3), count_include_pad=False, **attrs
    )
    expected = (x[:, :2, :2] + x[:, :2, 3:] + x[:, 3:, :2] + x[:, 3:, 3:]) / 4
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)


REFUSED: list[tuple[str, list[str], str, dict[str, Any], str]] = [
    ("is_nan", ["float32"], "int8", {}, "must be bool"),
    ("equal", ["float32", "int32"], "bool", {}, "stored differently"),
    ("where", ["int8", "float32", "float32"], "float32", {}, "must be bool"),
    ("softmax", ["float32"], "float32", {"axis": 0, "beta": 0.0}, "beta is 0.0"),
    ("add", ["float32", "int32"], "float32", {}, "is int32, must be float32"),
    ("layer_norm", ["float32"], "float32", {"axis": 0, "epsilon": math.nan}, "epsilon is nan"),
]


@pytest.mark.parametrize(("op", "inputs", "dtype", "attrs", "message"), REFUSED)
def test_refused(
    op: str, inputs: list[str], dtype: str, attrs: dict[str, Any], message: str
) -> None:
    b = GraphBuilder()
    tensors = [b.input((3,), None, name) for name in inputs]
    y = b.node(op, tensors, (3,), None, dtype, **attrs)
    problems: list[Problem] = lower(b.build(y)).problems
    assert len(problems) == 1 and message in problems[0].reason
    assert op in FLOAT_HANDLERS or op in HANDLERS
