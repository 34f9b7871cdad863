"""What exporters write out in single operators is recognised, in all forms; other things stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeinfer.convert.graph import Graph, Tensor, check_graph
from edgeinfer.convert.passes.canonicalize_products import canonicalize_products
from edgeinfer.convert.passes.fold_scales import fold_scales
from edgeinfer.convert.passes.fold_softmax_scales import fold_softmax_scales
from edgeinfer.convert.passes.raise_scales import raise_scales
from edgeinfer.convert.passes.recognize_functions import recognize_functions
from edgeinfer.convert.passes.recognize_norms import recognize_norms
from edgeinfer.convert.passes.remove_dead_nodes import remove_dead_nodes
from tests.convert.graphs import GraphBuilder, Q, operators, run

F = np.float32
X = np.concatenate([np.linspace(-9, 9, 250), [-1e-3, 0, 1e-3, 30, -30, 3]]).astype(F).reshape(4, 64)


class Expression:
    """Elementwise arithmetic on one tensor; numbers are constants."""

    def __init__(self, builder: GraphBuilder, tensor: Tensor) -> None:
        self.builder, self.tensor = builder, tensor

    def unary(self, op: str, **attrs: Any) -> Expression:
        made = self.builder.node(op, [self.tensor], self.tensor.shape, None, **attrs)
        return Expression(self.builder, made)

    def binary(self, op: str, a: Any, b: Any) -> Expression:
        operands = [
            v.tensor if isinstance(v, Expression) else self.builder.constant(np.asarray(v, F))
            for v in (a, b)
        ]
        return Expression(self.builder, self.builder.node(op, operands, self.tensor.shape, None))

    def __add__(self, other: Any) -> Expression:
        return self.binary("add", self, other)

    def __radd__(self, other: Any) -> Expression:
        return self.binary("add", other, self)

    def __sub__(self, other: Any) -> Expression:
        return self.binary("sub", self, other)

    def __mul__(self, other: Any) -> Expression:
        return self.binary("mul", self, other)

    def __rmul__(self, other: Any) -> Expression:
        return self.binary("mul", other, self)

    def __truediv__(self, other: Any) -> Expression:
        return self.binary("div", self, other)

    def __rtruediv__(self, other: Any) -> Expression:
        return self.binary("div", other, self)

    def __pow__(self, other: Any) -> Expression:
        return self.binary("pow", self, other)


def check(graph: Graph, inputs: list[np.ndarray], rewrite: Any, expected: list[str]) -> Graph:
    """The operators after the rewrite, and the same results but for rounding."""
    before = run(graph, inputs)
    assert rewrite(graph)
    remove_dead_nodes(graph)
    check_graph(graph)
    assert operators(graph) == expected
    for old, new in zip(before, run(graph, inputs), strict=True):
        np.testing.assert_allclose(new, old, rtol=2e-6, atol=2e-6)
    return graph


ROOT = 1.4142135623730951
TANH_SCALE = 0.7978845608028654
FORMS: dict[str, tuple[str, Callable[[Expression], Expression]]] = {
    "gelu: half behind": ("gelu", lambda x: x * ((x / ROOT).unary("erf") + 1) * 0.5),
    "gelu: half in front": ("gelu", lambda x: (0.5 * x) * (1 + (x * (1 / ROOT)).unary("erf"))),
    "gelu: half inside": ("gelu", lambda x: x * ((x / ROOT).unary("erf") * 0.5 + 0.5)),
    "gelu: rounded root": ("gelu", lambda x: x * ((x / 1.41421354).unary("erf") + 1) * 0.5),
    "gelu: tanh, pow": (
        "gelu",
        lambda x: 0.5 * x * (1 + (TANH_SCALE * (x + 0.044715 * x**3)).unary("tanh")),
    ),
    "gelu: tanh, products": (
        "gelu",
        lambda x: x * 0.5 * ((x * 0.79788456 * (1 + 0.044715 * x * x)).unary("tanh") + 1),
    ),
    "gelu: tanh as a sigmoid": (
        "gelu",
        lambda x: x * (x * (1.5957691216 * (1 + 0.044715 * x * x))).unary("sigmoid"),
    ),
    "silu": ("silu", lambda x: x.unary("sigmoid") * x),
    "silu: by exp": ("silu", lambda x: x / (1 + x.unary("neg").unary("exp"))),
    "hard swish": ("hard_swish", lambda x: x * (x + 3).unary("clip", min=0.0, max=6.0) / 6),
    "hard swish: relu6": ("hard_swish", lambda x: x * ((x + 3).unary("relu6") * (1 / 6))),
    "hard swish: by hard sigmoid": (
        "hard_swish",
        lambda x: x * x.unary("hard_sigmoid", alpha=1 / 6, beta=0.5),
    ),
    "hard sigmoid": ("hard_sigmoid", lambda x: (x + 3).unary("relu6") / 6),
    "mish": ("mish", lambda x: x * x.unary("softplus").unary("tanh")),
    "mish: by exp and log": ("mish", lambda x: x * (x.unary("exp") + 1).unary("log").unary("tanh")),
    "softplus": ("softplus", lambda x: (1 + x.unary("exp")).unary("log")),
    "sigmoid": ("sigmoid", lambda x: 1 / (x.unary("neg").unary("exp") + 1)),
    "relu": ("relu", lambda x: x.binary("maximum", x, 0)),
    "relu6": ("relu6", lambda x: x.binary("minimum", x.unary("relu"), 6)),
    "softsign": ("softsign", lambda x: x / (x.unary("abs") + 1)),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_function_is_recognised_by_what_it_computes(form: str) -> None:
    op, write = FORMS[form]
    b = GraphBuilder()
    y = write(Expression(b, b.input(X.shape, None)))
    graph = check(b.build(y.tensor), [X], recognize_functions, [op])
    if op == "gelu":
        assert graph.nodes[0].attrs == {"approximate": ": tanh" in form}
    assert not recognize_functions(graph)


def test_names_of_the_parts_are_kept() -> None:
    b = GraphBuilder()
    x = Expression(b, b.input(X.shape, None))
    graph = b.build((x * x.unary("sigmoid")).tensor)
    sigmoid = graph.nodes[0].name
    assert recognize_functions(graph)
    assert graph.nodes[-1].absorbed == (sigmoid,)


@pytest.mark.parametrize(
    "write",
    [
        lambda x: x * (1.702 * x).unary("sigmoid"),  # the quick GELU
        lambda x: x * ((x / 1.4).unary("erf") + 1) * 0.5,
        lambda x: x * (x + 3).unary("relu6") * 0.167,
        lambda x: x.unary("tanh") * x,
        lambda x: 2 * x + 1,
    ],
)
def test_functions_that_only_look_alike_stay(write: Callable[[Expression], Expression]) -> None:
    b = GraphBuilder()
    graph = b.build(write(Expression(b, b.input(X.shape, None))).tensor)
    assert not recognize_functions(graph)


def test_an_operand_of_a_recognised_function_may_be_computed() -> None:
    b = GraphBuilder()
    x = Expression(b, b.input(X.shape, None)) * 0.5 + b_vector(b)
    y = 3 * (x * x.unary("sigmoid"))
    check(b.build(y.tensor), [X], recognize_functions, ["mul", "add", "silu", "mul"])


def b_vector(b: GraphBuilder) -> Expression:
    return Expression(b, b.constant(np.linspace(-1, 1, 64).astype(F)))


def test_parts_that_are_read_elsewhere_end_the_pattern() -> None:
    b = GraphBuilder()
    x = Expression(b, b.input(X.shape, None))
    gate = x.unary("sigmoid")
    for graph in (
        b.build((x * gate).tensor, gate.tensor),
        b.build((x * gate).tensor, (gate * 2).tensor),
    ):
        assert not recognize_functions(graph)


def test_quantised_expressions_stay() -> None:
    b = GraphBuilder()
    x = b.input((4, 4))
    gate = b.node("sigmoid", [x], x.shape)
    assert not recognize_functions(b.build(b.node("mul", [x, gate], x.shape)))


def test_a_constant_per_channel_is_no_scalar() -> None:
    b = GraphBuilder()
    x = Expression(b, b.input(X.shape, None))
    y = x * (x * b_vector(b)).unary("sigmoid")
    assert not recognize_functions(b.build(y.tensor))


# --- norms

ROWS = np.random.default_rng(0).normal(1, 3, (2, 5, 8)).astype(F)


def mean(x: Expression, axes: tuple[int, ...] = (2,), keep: bool = True) -> Expression:
    shape = tuple(1 if i in axes else n for i, n in enumerate(x.tensor.shape))
    y = x.builder.node("mean", [x.tensor], shape, None, axes=axes, keep_dims=keep)
    return Expression(x.builder, y)


def deviate(x: Expression, total: Expression, form: str) -> Expression:
    """x over the square root of `total`."""
    b = x.builder

    def small(op: str, t: Tensor) -> Expression:
        return Expression(b, b.node(op, [t], t.shape, None))

    if form == "rsqrt":
        factor = small("rsqrt", total.tensor)
    else:
        root = small("sqrt", total.tensor)
        if form == "div":
            return Expression(b, b.node("div", [x.tensor, root.tensor], x.tensor.shape, None))
        if form == "reciprocal":
            factor = small("reciprocal", root.tensor)
        else:
            one = b.constant(np.asarray(1, F))
            factor = Expression(b, b.node("div", [one, root.tensor], root.tensor.shape, None))
    return Expression(b, b.node("mul", [factor.tensor, x.tensor], x.tensor.shape, None))


def add_small(b: GraphBuilder, x: Expression, epsilon: float) -> Expression:
    e = b.constant(np.asarray(epsilon, F))
    return Expression(b, b.node("add", [x.tensor, e], x.tensor.shape, None))


@settings(max_examples=60)
@given(
    centred=st.booleans(),
    root=st.sampled_from(["div", "rsqrt", "reciprocal", "one over"]),
    square=st.sampled_from(["square", "mul", "pow"]),
    axes=st.sampled_from([(2,), (1, 2)]),
    scale=st.sampled_from([None, "left", "right"]),
    bias=st.booleans(),
)
def test_a_norm_is_recognised_in_all_its_forms(
    centred: bool, root: str, square: str, axes: tuple[int, ...], scale: str | None, bias: bool
) -> None:
    b = GraphBuilder()
    x = Expression(b, b.input(ROWS.shape, None))
    value = x - mean(x, axes) if centred else x
    squares = {"square": lambda v: v.unary("square"), "mul": lambda v: v * v,
               "pow": lambda v: v**2}[square](value)  # fmt: skip
    y = deviate(value, add_small(b, mean(squares, axes), 1e-3), root)
    rows = ROWS.shape[axes[0] :]
    rng = np.random.default_rng(1)
    if scale is not None:
        g = Expression(b, b.constant(rng.uniform(0.5, 2, rows).astype(F)))
        y = (
            y * g
            if scale == "right"
            else Expression(b, b.node("mul", [g.tensor, y.tensor], y.tensor.shape, None))
        )
    if bias:
        y = y + Expression(b, b.constant(rng.uniform(-1, 1, (1, *rows)).astype(F)))
    expected = ["layer_norm" if centred else "rms_norm"]
    if bias and not centred:
        expected.append("add")
    graph = check(b.build(y.tensor), [ROWS], recognize_norms, expected)
    norm = graph.nodes[0]
    assert norm.attrs == {"axis": axes[0], "epsilon": float(F(1e-3))}
    assert norm.input(0) is graph.inputs[0]
    assert (norm.inputs[1] is not None) == (scale is not None)


def keras_norm(
    x: Expression, has_scale: bool = True, axes: tuple[int, ...] = (2,)
) -> tuple[Expression, Tensor]:
    """x * inverse + (bias - mean * inverse), and the inverse."""
    b, rows = x.builder, ROWS.shape[axes[0] :]
    rng = np.random.default_rng(3)
    m = mean(x, axes)
    total = add_small(b, mean((x - m).unary("square"), axes), 1e-3)
    inverse = b.node("rsqrt", [total.tensor], total.tensor.shape, None)
    if has_scale:
        g = b.constant(rng.uniform(0.5, 2, rows).astype(F))
        shape = (*ROWS.shape[: axes[0]], *rows)
        inverse = b.node("mul", [inverse, g], shape, None)
    shift = b.node("mul", [m.tensor, inverse], inverse.shape, None)
    beta = b.constant(rng.uniform(-1, 1, rows).astype(F))
    rest = b.node("sub", [beta, shift], ROWS.shape, None)
    scaled = b.node("mul", [x.tensor, inverse], ROWS.shape, None)
    return Expression(b, b.node("add", [scaled, rest], ROWS.shape, None)), inverse


@pytest.mark.parametrize("axes", [(2,), (1, 2)])
@pytest.mark.parametrize("has_scale", [False, True])
def test_a_norm_as_keras_writes_it(has_scale: bool, axes: tuple[int, ...]) -> None:
    b = GraphBuilder()
    y, _ = keras_norm(Expression(b, b.input(ROWS.shape, None)), has_scale, axes)
    graph = check(b.build(y.tensor), [ROWS], recognize_norms, ["layer_norm"])
    norm = graph.nodes[0]
    assert norm.attrs == {"axis": axes[0], "epsilon": float(F(1e-3))}
    assert (norm.inputs[1] is not None, norm.inputs[2] is not None) == (has_scale, True)


def test_a_norm_as_keras_writes_it_stays_where_its_inverse_is_read() -> None:
    b = GraphBuilder()
    y, inverse = keras_norm(Expression(b, b.input(ROWS.shape, None)))
    assert not recognize_norms(b.build(y.tensor, inverse))


@pytest.mark.parametrize("axes", [(1,), (0, 1)])
def test_a_norm_over_other_than_the_last_axes_stays(axes: tuple[int, ...]) -> None:
    b = GraphBuilder()
    x = Expression(b, b.input(ROWS.shape, None))
    c = x - mean(x, axes)
    y = deviate(c, add_small(b, mean(c.unary("square"), axes), 1e-3), "div")
    assert not recognize_norms(b.build(y.tensor))


def test_a_norm_by_another_mean_is_not_centred() -> None:
    """The mean of other axes is taken off: what follows is an RMS norm of that."""
    b = GraphBuilder()
    x = Expression(b, b.input(ROWS.shape, None))
    c = x - mean(x, (1, 2))
    y = deviate(c, add_small(b, mean(c.unary("square")), 1e-3), "div")
    check(b.build(y.tensor), [ROWS], recognize_norms, ["mean", "sub", "rms_norm"])


def test_statistics_that_are_given_out_stay() -> None:
    b = GraphBuilder()
    x = Expression(b, b.input(ROWS.shape, None))
    c = x - mean(x)
    variance = mean(c.unary("square"))
    y = deviate(c, add_small(b, variance, 1e-3), "div")
    assert not recognize_norms(b.build(y.tensor, variance.tensor))


def test_a_product_behind_the_sum_stays() -> None:
    b = GraphBuilder()
    x = b.input(ROWS.shape, None)
    norm = b.node("layer_norm", [x, None, None], x.shape, None, axis=2, epsilon=1e-3)
    y = Expression(b, norm) + Expression(b, b.constant(np.ones(8, F)))
    y = y * Expression(b, b.constant(np.full(8, 2, F)))
    check(b.build(y.tensor), [ROWS], recognize_norms, ["layer_norm", "mul"])


# --- attention


@pytest.mark.parametrize("form", ["div", "mul", "mul from the left"])
def test_the_scale_of_scores_is_the_softmax_s(form: str) -> None:
    b = GraphBuilder()
    x = Expression(b, b.input(ROWS.shape, None))
    scaled = {"div": lambda: x / 2.5, "mul": lambda: x * 0.4, "mul from the left": lambda: 0.4 * x}
    y = scaled[form]().unary("softmax", axis=2, beta=0.5)
    graph = check(b.build(y.tensor), [ROWS], fold_softmax_scales, ["softmax"])
    assert graph.nodes[0].attrs["beta"] == pytest.approx(0.2)


@pytest.mark.parametrize("factor", [0.0, -1.0, np.inf, np.nan, 1e-45])
def test_a_scale_that_a_softmax_cannot_have_stays(factor: float) -> None:
    b = GraphBuilder()
    x = Expression(b, b.input(ROWS.shape, None))
    with np.errstate(all="ignore"):
        y = (x / F(factor)).unary("softmax", axis=2, beta=1.0)
    assert not fold_softmax_scales(b.build(y.tensor))


def test_a_scale_that_others_read_stays() -> None:
    b = GraphBuilder()
    x = Expression(b, b.input(ROWS.shape, None)) * 2
    y = x.unary("softmax", axis=2, beta=1.0)
    assert not fold_softmax_scales(b.build(y.tensor, x.tensor))


PLAIN: dict[str, Any] = {"transpose_a": False, "transpose_b": False}


def split_heads(b: GraphBuilder, form: str) -> tuple[Tensor, Tensor]:
    """A layer of 8 channels, its output as two heads, and these scaled."""
    w = b.constant(np.random.default_rng(4).normal(size=(8, 6)).astype(F))
    layer = b.node("fully_connected", [b.input((2, 5, 6), None), w, None], (2, 5, 8), None)
    heads = b.transpose(b.reshape(layer, (2, 5, 2, 4)), (0, 2, 1, 3))
    c = b.constant(np.asarray(0.7, F))
    operands = [c, heads] if form == "left" else [heads, c]
    op = "div" if form == "div" else "mul"
    return layer, b.node(op, operands, heads.shape, None)


@pytest.mark.parametrize("form", ["left", "right", "div"])
def test_the_scale_of_heads_goes_to_their_layer(form: str) -> None:
    b = GraphBuilder()
    _, y = split_heads(b, form)
    graph = b.build(y)
    x = np.random.default_rng(5).normal(size=(2, 5, 6)).astype(F)
    op = "div" if form == "div" else "mul"
    check(graph, [x], raise_scales, ["fully_connected", op, "reshape", "transpose"])
    assert not raise_scales(graph)
    check(graph, [x], fold_scales, ["fully_connected", "reshape", "transpose"])
    assert graph.outputs == [y]


def test_the_scale_of_masked_scores_goes_to_the_layer_of_the_queries() -> None:
    b = GraphBuilder()
    rng = np.random.default_rng(5)
    w = b.constant(rng.normal(size=(8, 6)).astype(F))
    layer = b.node("fully_connected", [b.input((2, 5, 6), None), w, None], (2, 5, 8), None)
    heads = b.transpose(b.reshape(layer, (2, 5, 2, 4)), (0, 2, 1, 3))
    keys = b.input((2, 2, 4, 5), None)
    scores = b.node("batch_matmul", [heads, keys], (2, 2, 5, 5), None, **PLAIN)
    scaled = b.node("mul", [scores, b.constant(np.asarray(0.3, F))], scores.shape, None)
    graph = b.build(b.node("add", [scaled, b.input((2, 1, 1, 5), None)], scores.shape, None))
    inputs = [rng.normal(size=t.shape).astype(F) for t in graph.inputs]
    rest = ["reshape", "transpose", "batch_matmul", "add"]
    check(graph, inputs, raise_scales, ["fully_connected", "mul", *rest])
    check(graph, inputs, fold_scales, ["fully_connected", *rest])


def test_the_scale_of_scores_stays_where_they_are_read_otherwise() -> None:
    b = GraphBuilder()
    w = b.constant(np.ones((4, 4), F))
    layer = b.node("fully_connected", [b.input((5, 4), None), w, None], (5, 4), None)
    scores = b.node("batch_matmul", [layer, b.input((4, 5), None)], (5, 5), None, **PLAIN)
    scaled = b.node("mul", [scores, b.constant(np.asarray(0.3, F))], (5, 5), None)
    assert not raise_scales(b.build(scaled, scores))


def test_the_scale_of_heads_stays_where_the_layer_is_read() -> None:
    b = GraphBuilder()
    layer, y = split_heads(b, "right")
    assert not raise_scales(b.build(y, layer))


def test_transposed_keys_are_moved_by_rows() -> None:
    b = GraphBuilder()
    q, k = b.input((2, 3, 5, 4), None), b.input((2, 6, 3, 4), None)
    keys = b.transpose(k, (0, 2, 3, 1))
    attrs: dict[str, Any] = {"transpose_a": False, "transpose_b": False}
    y = b.node("batch_matmul", [q, keys], (2, 3, 5, 6), None, **attrs)
    rng = np.random.default_rng(2)
    inputs = [rng.normal(size=t.shape).astype(F) for t in (q, k)]
    graph = check(b.build(y), inputs, canonicalize_products, ["transpose", "batch_matmul"])
    assert graph.nodes[0].attrs["perm"] == (0, 2, 1, 3) and graph.nodes[1].attrs["transpose_b"]
    assert not canonicalize_products(graph)


def test_transposed_keys_that_others_read_stay() -> None:
    b = GraphBuilder()
    q, k = b.input((2, 3, 5, 4), None), b.input((2, 6, 3, 4), None)
    keys = b.transpose(k, (0, 2, 3, 1))
    attrs: dict[str, Any] = {"transpose_a": False, "transpose_b": False}
    y = b.node("batch_matmul", [q, keys], (2, 3, 5, 6), None, **attrs)
    assert not canonicalize_products(b.build(y, b.node("abs", [keys], keys.shape, None)))


def test_quantised_norms_stay() -> None:
    b = GraphBuilder()
    x = b.input((2, 8))
    centre = b.node("mean", [x], (2, 1), Q, axes=(1,), keep_dims=True)
    c = b.node("sub", [x, centre], x.shape)
    square = b.node("square", [c], x.shape)
    variance = b.node("mean", [square], (2, 1), Q, axes=(1,), keep_dims=True)
    e = b.node("add", [variance, b.constant(np.asarray(1e-3, F))], (2, 1))
    root = b.node("sqrt", [e], (2, 1))
    assert not recognize_norms(b.build(b.node("div", [c, root], x.shape)))


@pytest.mark.parametrize("guard", [1e-6, 1e-12])
def test_a_guard_against_zero_is_no_relu(guard: float) -> None:
    """max(x, 1e-6) is within any absolute tolerance of relu, and keeps a division finite."""
    b = GraphBuilder()
    x = b.input((4,), None)
    y = b.node("maximum", [x, b.constant(np.array(guard, F))], (4,), None)
    assert not recognize_functions(b.build(y))
