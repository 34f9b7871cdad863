"""Every operator of the graph, lowered and run by the C library, is what the graph means.

The graph's meaning is computed in float64 and rounded once (`tests.oracle.graph`); the runtime
rounds in float32 or fixed point, so that arithmetic may be a step off. Moves are equal.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import edgeinfer
from edgeinfer.convert import convert
from edgeinfer.convert.graph import Graph, Node, Quantization, Tensor
from edgeinfer.convert.lower.lower_graph import Lowered, lower
from edgeinfer.convert.program import Operation, Value
from tests.convert.graphs import (
    GraphBuilder,
    Q,
    quantization,
    random_inputs,
    run,
)
from tests.convert.tally import SHARE, tally

COARSE = quantization(0.4, -20)
FINE16 = quantization(0.0003, 0)
COARSE16 = quantization(0.002, 0)
extents = st.integers(1, 5)
seeds = st.integers(0, 1000)
FEW = settings(max_examples=30)


def lowered(graph: Graph) -> Lowered:
    result = lower(graph)
    assert result.problems == []
    return result


def names(result: Lowered) -> list[str]:
    return [operation.operator for operation in result.program.operations]


def on_device(data: bytes, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """Outputs of the C library."""
    with edgeinfer.load(data) as model:
        given = {info.name: x for info, x in zip(model.inputs, inputs, strict=True)}
        results = model.run(given)
        if not isinstance(results, dict):
            return [results]
        return [results[info.name] for info in model.outputs]


def check(graph: Graph, steps: int = 0, seed: int = 0, share: float = SHARE) -> list[np.ndarray]:
    """Convert, run, compare; a share at most `steps` apart, float32 to its last bits."""
    inputs = random_inputs(graph, seed)
    expected = run(graph, inputs)
    actual = on_device(convert(graph).data, inputs)
    for theirs, ours in zip(expected, actual, strict=True):
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        if ours.dtype == np.float32:
            np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-6)
        else:
            apart = np.abs(ours.astype(np.int64) - theirs.astype(np.int64))
            assert apart.max(initial=0) <= steps
            tally.add("lowered", ours, theirs, share)
    return actual


# --- products


@st.composite
def windows(draw: st.DrawFn) -> tuple[Any, Any, Any, Any, Any]:
    """Image, kernel, strides, dilations, pads, at least one window."""
    kernel, strides, dilations = (
        draw(st.tuples(st.integers(1, 3), st.integers(1, 3))) for _ in "ksd"
    )
    pads = draw(st.tuples(*[st.integers(0, 3)] * 4))
    image = tuple(
        draw(st.integers(max(1, (k - 1) * d + 1 - p - q), 7))
        for k, d, p, q in zip(kernel, dilations, pads[:2], pads[2:], strict=True)
    )
    return image, kernel, strides, dilations, pads


def out_image(image: Any, kernel: Any, strides: Any, dilations: Any, pads: Any) -> list[int]:
    return [
        (image[i] + pads[i] + pads[i + 2] - (kernel[i] - 1) * dilations[i] - 1) // strides[i] + 1
        for i in (0, 1)
    ]


def bias(b: GraphBuilder, seed: int, channels: int, wide: bool) -> Tensor:
    data = np.random.default_rng(seed).integers(-3000, 3000, channels)
    return b.constant(data.astype(np.int64 if wide else np.int32))


@pytest.mark.parametrize("wide", [False, True])
@FEW
@given(windows(), st.integers(1, 3), st.integers(1, 3), extents, st.booleans(), seeds)
def test_conv2d(
    wide: bool, window: Any, groups: int, depth: int, out: int, per_channel: bool, seed: int
) -> None:
    image, kernel, strides, dilations, pads = window
    q, y_q, dtype = (FINE16, COARSE16, "int16") if wide else (Q, COARSE, "int8")
    b = GraphBuilder()
    x = b.input((2, *image, groups * depth), q, dtype)
    scales = [0.004 * (1 + i % 3) for i in range(groups * out)] if per_channel else 0.01
    w = b.weights(seed, (groups * out, *kernel, depth), scales)
    addend = bias(b, seed, groups * out, wide)
    assert w.quantization is not None
    addend.quantization = Quantization(q.scale * w.quantization.scale, w.quantization.zero_point, 0)
    y = b.node(
        "conv2d",
        [x, w, addend],
        (2, *out_image(*window), groups * out),
        y_q,
        dtype,
        strides=strides,
        dilations=dilations,
        pads=pads,
        groups=groups,
        activation="relu6" if seed % 2 else None,
    )
    check(b.build(y), 1, seed)


@FEW
@given(windows(), st.integers(2, 5), st.integers(1, 3), seeds)
def test_depthwise_conv2d(window: Any, depth: int, multiplier: int, seed: int) -> None:
    image, kernel, strides, dilations, pads = window
    b = GraphBuilder()
    w = b.weights(seed, (*kernel, depth * multiplier), 0.01)
    y = b.node(
        "depthwise_conv2d",
        [b.input((1, *image, depth)), w, None],
        (1, *out_image(*window), depth * multiplier),
        COARSE,
        strides=strides,
        dilations=dilations,
        pads=pads,
    )
    check(b.build(y), 1, seed)


@FEW
@given(
    st.tuples(extents, extents), st.tuples(extents, extents), extents, extents, st.integers(0, 1)
)
def test_transpose_conv2d(image: Any, kernel: Any, depth: int, out: int, cut: int) -> None:
    strides = (2, 1)
    full = [(k - 1) + (n - 1) * s + 1 for n, k, s in zip(image, kernel, strides, strict=True)]
    pads = tuple(min(cut, (n - 1) // 2) for n in full) * 2
    b = GraphBuilder()
    w = b.weights(0, (out, *kernel, depth), 0.01)
    addend = b.constant(np.linspace(-3, 3, out, dtype=np.float32))  # lowering quantises it
    y = b.node(
        "transpose_conv2d",
        [b.input((1, *image, depth)), w, addend],
        (1, full[0] - pads[0] - pads[2], full[1] - pads[1] - pads[3], out),
        COARSE,
        strides=strides,
        dilations=(1, 1),
        pads=pads,
        groups=1,
    )
    check(b.build(y), 1)


@pytest.mark.parametrize("lead", [(), (3,), (2, 3), (2, 1, 3, 2)])
def test_fully_connected_of_any_rank(lead: tuple[int, ...]) -> None:
    b = GraphBuilder()
    w = b.weights(0, (7, 18), 0.01)
    y = b.node("fully_connected", [b.input((*lead, 18)), w, None], (*lead, 7), COARSE)
    check(b.build(y), 1)


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("wide", [False, True])
def test_batch_matmul(transpose_a: bool, transpose_b: bool, wide: bool) -> None:
    q, y_q, dtype = (FINE16, COARSE16, "int16") if wide else (Q, COARSE, "int8")
    b = GraphBuilder()
    x = b.input((2, 1, 6, 4) if transpose_a else (2, 1, 4, 6), q, dtype)
    y = b.input((3, 5, 6) if transpose_b else (3, 6, 5), q, dtype)
    z = b.node(
        "batch_matmul",
        [x, y],
        (2, 3, 4, 5),
        y_q,
        dtype,
        transpose_a=transpose_a,
        transpose_b=transpose_b,
    )
    check(b.build(z), 1)


# --- elementwise


@pytest.mark.parametrize("op", ["add", "sub", "mul"])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(
    "shapes", [((2, 3, 4), (2, 3, 4)), ((1, 3, 1), (4,)), ((2, 1, 3, 4), (5, 1, 4)), ((), (3,))]
)
def test_arithmetic_broadcasts(op: str, wide: bool, shapes: Any) -> None:
    q, dtype = (FINE16, "int16") if wide else (Q, "int8")
    y_q = quantization(0.0007 if wide else 0.09, 0 if wide else -11)
    b = GraphBuilder()
    operands = [b.input(shape, q, dtype) for shape in shapes]
    y = b.node(op, operands, np.broadcast_shapes(*shapes), y_q, dtype, activation="relu6")
    check(b.build(y), 1)


@pytest.mark.parametrize("op", ["maximum", "minimum"])
def test_maximum_and_minimum_are_exact(op: str) -> None:
    b = GraphBuilder()
    y = b.node(op, [b.input((2, 3, 4)), b.input((3, 1))], (2, 3, 4))
    check(b.build(y))


UNARY: dict[str, dict[str, Any]] = {
    "relu": {},
    "relu6": {},
    "clip": {"min": -1.0, "max": None},
    "leaky_relu": {"alpha": 0.1},
    "sigmoid": {},
    "tanh": {},
    "hard_swish": {},
    "elu": {"alpha": 1.0},
    "gelu": {"approximate": True},
    "exp": {},
    "abs": {},
    "neg": {},
    "square": {},
}


@pytest.mark.parametrize("op", UNARY)
@pytest.mark.parametrize("to_float", [False, True])
def test_functions_of_a_byte(op: str, to_float: bool) -> None:
    b = GraphBuilder()
    y = b.node(op, [b.input((16, 16))], (16, 16), None if to_float else COARSE, **UNARY[op])
    graph = b.build(y)
    assert names(lowered(graph)) == ["lut8"]
    check(graph, 1)


@pytest.mark.parametrize("op", ["relu", "relu6", "clip", "tanh", "sigmoid"])
def test_functions_of_int16(op: str) -> None:
    b = GraphBuilder()
    y_q = quantization(1 / 32768) if op in ("tanh", "sigmoid") else COARSE16
    y_q = Quantization.per_tensor(float(y_q.scale[0]), 0)
    y = b.node(op, [b.input((40, 50), FINE16, "int16")], (40, 50), y_q, "int16", **UNARY[op])
    graph = b.build(y)
    assert names(lowered(graph)) == ["lut16" if op in ("tanh", "sigmoid") else "requantize"]
    if op in ("tanh", "sigmoid"):
        check(graph, 3, share=0.25)  # 513 entries, and straight lines between them
    else:
        check(graph, 1)


@pytest.mark.parametrize("slope_shape", [(5,), (1, 1, 5), (7, 1), (7, 5)])
@pytest.mark.parametrize("lead", [(2, 6), (3,)])
@pytest.mark.parametrize("real", [False, True])
def test_prelu_with_slopes_rounds_once(slope_shape: Any, lead: Any, real: bool) -> None:
    b = GraphBuilder()
    slope = b.weights(1, slope_shape, 0.01)
    if real and slope_shape[-1] == 5 and len(slope_shape) != 2:
        assert slope.data is not None
        slope = b.constant(slope.data.astype(np.float32) * np.float32(0.0137))
    y = b.node("prelu", [b.input((*lead, 7, 5)), slope], (*lead, 7, 5), COARSE)
    check(b.build(y), 1)


def test_prelu_of_one_slope_is_a_table() -> None:
    b = GraphBuilder()
    y = b.node("prelu", [b.input((2, 9)), b.weights(1, (1, 1), 0.01)], (2, 9), COARSE)
    graph = b.build(y)
    assert names(lowered(graph)) == ["lut8"]
    check(graph, 1)


# --- windows, reductions, softmax


@FEW
@given(windows(), st.booleans(), st.sampled_from(["onnx", "tflite"]), st.booleans(), seeds)
def test_avg_pool2d(window: Any, include_pad: bool, source: str, same: bool, seed: int) -> None:
    image, kernel, strides, _, pads = window
    pads = tuple(min(p, k - 1) for p, k in zip(pads, kernel * 2, strict=True))
    shape = [(n + pads[i] + pads[i + 2] - kernel[i]) // strides[i] + 1 for i, n in enumerate(image)]
    if min(shape) < 1:
        return
    b = GraphBuilder(source)
    y = b.node(
        "avg_pool2d",
        [b.input((2, *image, 3))],
        (2, *shape, 3),
        Q if same else COARSE,
        kernel=kernel,
        strides=strides,
        pads=pads,
        count_include_pad=include_pad,
    )
    check(b.build(y), 1, seed)


@FEW
@given(windows(), seeds)
def test_max_pool2d(window: Any, seed: int) -> None:
    image, kernel, strides, dilations, pads = window
    pads = tuple(min(p, k - 1) for p, k in zip(pads, kernel * 2, strict=True))
    shape = out_image(image, kernel, strides, dilations, pads)
    if min(shape) < 1:
        return
    b = GraphBuilder()
    y = b.node(
        "max_pool2d",
        [b.input((2, *image, 3))],
        (2, *shape, 3),
        kernel=kernel,
        strides=strides,
        dilations=dilations,
        pads=pads,
        activation="relu" if seed % 2 else None,
    )
    check(b.build(y), 0, seed)


@pytest.mark.parametrize("op", ["mean", "sum", "reduce_max", "reduce_min"])
@pytest.mark.parametrize("axes", [(1, 2), (3,), (0,), (0, 1, 2, 3), (2,), (0, 1), (0, 2), (1, 3)])
@pytest.mark.parametrize("keep_dims", [False, True])
def test_reductions(op: str, axes: tuple[int, ...], keep_dims: bool) -> None:
    shape = (2, 3, 4, 5)
    reduced = [1 if i in axes else n for i, n in enumerate(shape)]
    if not keep_dims:
        reduced = [n for i, n in enumerate(shape) if i not in axes]
    b = GraphBuilder()
    exact = op.startswith("reduce")
    y = b.node(
        op, [b.input(shape)], reduced, Q if exact else COARSE, axes=axes, keep_dims=keep_dims
    )
    check(b.build(y), 0 if exact else 1)


def test_reduce_over_axes_apart_is_possible_over_lengths_of_one() -> None:
    b = GraphBuilder()
    y = b.node("reduce_max", [b.input((4, 1, 3))], (1, 1, 1), axes=(0, 2), keep_dims=True)
    check(b.build(y))


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
@pytest.mark.parametrize("to", ["int8", "float32", "uint8"])
def test_softmax_over_any_axis(axis: int, to: str) -> None:
    b = GraphBuilder()
    q = {"int8": quantization(1 / 256, -128), "uint8": quantization(1 / 256, 0), "float32": None}
    x = b.input((2, 3, 4, 1))
    y = b.node("softmax", [x], x.shape, q[to], to, axis=axis, beta=1.0)
    check(b.build(y), 1)


def test_softmax_of_int16() -> None:
    b = GraphBuilder()
    x = b.input((6, 9), FINE16, "int16")
    y = b.node("softmax", [x], x.shape, quantization(1 / 32768, 0), "int16", axis=1, beta=2.0)
    check(b.build(y), 1)


# --- moves and indices


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "float32"])
def test_moves_of_any_type(dtype: str) -> None:
    q = {"int8": Q, "int16": FINE16}.get(dtype)
    b = GraphBuilder()
    x = b.input((2, 3, 4, 5), q, dtype)
    moved = b.transpose(x, (0, 2, 3, 1))
    sliced = b.node(
        "slice", [moved], (1, 4, 2, 3), q, dtype, begin=(1, 3, 1, 0), strides=(1, -1, 3, 1)
    )
    padded = b.pad(sliced, (0, 1, 0, 0), (1, 0, 2, 0), value=-1.5 if q or dtype[0] == "f" else 2)
    mirrored = b.pad(sliced, (0, 2, 1, 0), (0, 1, 1, 0), mode="reflect")
    joined = b.node("concat", [sliced, sliced], (1, 4, 2, 6), q, dtype, axis=3)
    check(b.build(padded, mirrored, joined, b.reshape(joined, (8, 6)), moved))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("coordinates", ["asymmetric", "half_pixel", "align_corners"])
@pytest.mark.parametrize("out", [(7, 11), (2, 3), (5, 6)])
def test_resize(mode: str, coordinates: str, out: tuple[int, int]) -> None:
    b = GraphBuilder()
    y = b.node(
        "resize",
        [b.input((2, 5, 6, 3))],
        (2, *out, 3),
        mode=mode,
        coordinates=coordinates,
        rounding="floor",
        scales=None,
    )
    # Weights of 11 bits: LiteRT's, and often beside a tie of the real ones.
    check(b.build(y), 1 if mode == "linear" else 0, share=0.2)


@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
def test_gather(index_dtype: str) -> None:
    b = GraphBuilder()
    x = b.input((2, 5, 3))
    constant = b.constant(np.array([[4, -5], [0, 2]], index_dtype))
    y = b.node("gather", [x, constant], (2, 2, 2, 3), axis=1)
    check(b.build(y))


@pytest.mark.parametrize("op", ["argmax", "argmin"])
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_argmax(op: str, dtype: str) -> None:
    b = GraphBuilder()
    x = b.input((2, 5, 3))
    y = b.node(op, [x], (2, 1, 3), None, dtype, axis=1, keep_dims=True, select_last=False)
    check(b.build(y))


# --- conversions and the boundary


@pytest.mark.parametrize("source", ["onnx", "tflite"])
def test_float_in_and_out(source: str) -> None:
    b = GraphBuilder(source)
    x = b.node("quantize", [b.input((30, 40), None)], (30, 40), quantization(0.07, 9))
    y = b.node("requantize", [x], (30, 40), COARSE)
    check(b.build(y, b.node("dequantize", [x], (30, 40), None)), 1)


def test_a_clamp_on_a_float_input_bounds_the_quantize() -> None:
    b = GraphBuilder()
    x = b.input((30, 40), None)
    y = b.node("relu6", [x], (30, 40), Q)
    graph = b.build(y)
    assert names(lowered(graph)) == ["quantize"]
    check(graph)


def test_uint8_in_and_out() -> None:
    b = GraphBuilder()
    q = quantization(0.05, 131)
    x = b.input((1, 4, 4, 3), q, "uint8")
    w = b.weights(0, (2, 1, 1, 3))
    geometry: Any = {"strides": (1, 1), "dilations": (1, 1), "pads": (0, 0, 0, 0), "groups": 1}
    y = b.node("conv2d", [x, w, None], (1, 4, 4, 2), q, "uint8", **geometry)
    check(b.build(y), 1)


def test_outputs_that_nothing_computes_are_copied() -> None:
    b = GraphBuilder()
    x = b.input((2, 3))
    constant = b.constant(np.arange(6, dtype=np.int8), Q)
    y = b.node("relu", [x], (2, 3))
    graph = b.build(x, constant, y, y)
    assert names(lowered(graph)) == ["lut8", "copy", "copy", "copy"]
    inputs = random_inputs(graph, 0)
    expected = run(graph, inputs)
    # One name cannot stand for two outputs of `run`'s dictionary: ask the session in order.
    program = lowered(graph).program
    assert len(set(program.outputs)) == 4 and not set(program.outputs) & set(program.inputs)
    np.testing.assert_array_equal(expected[2], expected[3])


def test_rows_of_zero_points_are_shared() -> None:
    b = GraphBuilder()
    x = b.input((1, 5, 7, 3))
    y = b.conv2d(x, 4, q=Q, pads=(1, 1, 1, 1))
    y = b.conv2d(y, 2, q=COARSE, pads=(1, 1, 1, 1))
    y = b.conv2d(y, 2, q=COARSE, pads=(1, 1, 1, 1))
    y = b.conv2d(y, 2, q=COARSE)
    operations = lowered(b.build(y)).program.operations
    rows = [row(operation) for operation in operations]
    assert rows[3] is None  # no tap leaves the image
    assert rows[0] is rows[1] and rows[0] is not rows[2]
    assert rows[0] is not None and rows[0].data is not None
    assert rows[0].shape == (7 * 4,) and set(rows[0].data.tolist()) == {3}
    assert rows[2] is not None and rows[2].shape == (7 * 2,)


def row(operation: Operation) -> Value | None:
    return operation.inputs[4] if len(operation.inputs) > 4 else None


def test_a_tap_can_leave_the_image_without_pads_above() -> None:
    b = GraphBuilder()
    y = b.conv2d(b.input((1, 5, 7, 3)), 4, q=COARSE, pads=(0, 0, 1, 0))
    (operation,) = lowered(b.build(y)).program.operations
    assert row(operation) is not None
    check(b.build(y), 1)


def test_concat_of_more_inputs_than_one_takes() -> None:
    b = GraphBuilder()
    x = b.input((1, 2))
    y = b.node("concat", [x] * 600, (600, 2), axis=0)
    graph = b.build(y)
    assert names(lowered(graph)) == ["concat"] * 3
    check(graph)


def test_operations_know_their_node() -> None:
    b = GraphBuilder()
    y = b.node("softmax", [b.input((2, 3))], (2, 3), None, axis=0, beta=1.0)
    result = lowered(b.build(y))
    assert names(result) == ["transpose", "softmax", "transpose"]
    origins: set[Node] = set(result.origins.values())
    assert [node.name for node in origins] == ["the softmax_2"]
    assert {operation.name for operation in result.program.operations} == {"the softmax_2"}
