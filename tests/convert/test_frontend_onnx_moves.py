"""Operators that move elements in the ONNX frontend, held against onnxruntime: exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.builders import onnx_qdq_ops as qdq
from tests.builders import onnx_qlinear_ops as qlinear
from tests.builders.onnx_model import GraphBuilder
from tests.builders.spec import Quant, Spec
from tests.convert.onnxruntime_agreement import (
    FEW,
    Chain,
    check,
    fill,
    moved_dtypes,
    small,
    stored,
)

shapes = st.lists(small, min_size=1, max_size=4)


def movable(shape, dtype: type) -> Spec:
    """int8 and uint8 have a scale; other types are moved as they are."""
    if np.dtype(dtype).itemsize == 1:
        return stored(shape, dtype)
    return Spec(tuple(shape), dtype)


def move(operator: str, x: Spec, y_shape, *constants, opset: int = 17, **attributes) -> bytes:
    """A graph of one operator between conversions, or on a type that has none."""
    c = Chain(opset)
    extra = ["" if v is None else c.builder.constant(v) for v in constants]
    value = c.node(operator, c.input(x), *extra, **attributes)
    c.output(value, Spec(tuple(y_shape), x.dtype, x.quant))
    return c.build()


@FEW
@given(shape=shapes, dtype=moved_dtypes, data=st.data())
def test_transpose(shape, dtype, data) -> None:
    perm = data.draw(st.none() | st.permutations(range(len(shape))))
    x = movable(shape, dtype)
    y = [shape[i] for i in perm or range(len(shape))[::-1]]
    check(move("Transpose", x, y, **({} if perm is None else {"perm": perm})), fill(x))


RESHAPES = [
    ("Reshape", [np.array([4, 0, -1])], {}, (2, 3, 4), (4, 3, 2)),
    ("Reshape", [np.array([-1])], {}, (2, 3), (6,)),
    ("Flatten", [], {}, (2, 3, 4), (2, 12)),
    ("Flatten", [], {"axis": -1}, (2, 3, 4), (6, 4)),
    ("Flatten", [], {"axis": 0}, (2, 3), (1, 6)),
    ("Squeeze", [np.array([1, -1])], {}, (2, 1, 3, 1), (2, 3)),
    ("Squeeze", [], {}, (2, 1, 3, 1), (2, 3)),
    ("Unsqueeze", [np.array([0, -1])], {}, (2, 3), (1, 2, 3, 1)),
    ("Identity", [], {}, (2, 3), (2, 3)),
    ("Expand", [np.array([2, 3])], {}, (2, 3), (2, 3)),
    ("Tile", [np.array([1, 1])], {}, (2, 3), (2, 3)),
]


@pytest.mark.parametrize(("operator", "constants", "attributes", "x", "y"), RESHAPES)
@pytest.mark.parametrize("dtype", [np.int8, np.float32])
def test_reshapes(operator, constants, attributes, x, y, dtype) -> None:
    spec = movable(x, dtype)
    check(move(operator, spec, y, *constants, **attributes), fill(spec))


@pytest.mark.parametrize("operator", ["Squeeze", "Unsqueeze"])
def test_axes_as_an_attribute(operator: str) -> None:
    short, long = (2, 3), (2, 1, 3)
    x, y = (long, short) if operator == "Squeeze" else (short, long)
    check(move(operator, stored(x), y, opset=11, axes=[1]), fill(stored(x)))


def test_dropout_is_left_out() -> None:
    x = stored((2, 3))
    check(move("Dropout", x, (2, 3)), fill(x))


def test_cast_to_the_same_type() -> None:
    x = Spec((2, 3), np.float32)
    check(move("Cast", x, (2, 3), to=1), fill(x))


@FEW
@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    count=st.integers(1, 3),
    dtype=moved_dtypes,
    data=st.data(),
)
def test_concat(shape, count, dtype, data) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    specs = []
    for _ in range(count):
        part = list(shape)
        part[axis] = data.draw(small)
        specs.append(movable(part, dtype))
    c = Chain()
    value = c.node("Concat", *(c.input(spec) for spec in specs), axis=axis)
    total = list(shape)
    total[axis] = sum(spec.shape[axis] for spec in specs)
    c.output(value, movable(total, dtype))
    check(c.build(), *(fill(spec, i) for i, spec in enumerate(specs)))


@pytest.mark.parametrize("form", ["QDQ", "QLinear"])
def test_concat_of_different_quantisations(form: str) -> None:
    xs = [stored((2, 3), np.uint8, 0.02 * (i + 1), 10 * i) for i in range(3)]
    y = stored((2, 9), np.uint8, 0.05, 30)
    model = qdq.variadic("Concat", xs, y, axis=1)
    if form == "QLinear":
        model = qlinear.concat(xs, y, axis=1)
    check(model, *(fill(x, i) for i, x in enumerate(xs)), steps=1)


def split_model(x: Spec, sizes, axis: int, opset: int, *constants, **attributes) -> bytes:
    """GraphBuilder makes nodes of one output; this one has several."""
    import onnx
    from onnx import helper, numpy_helper

    names = [f"part_{i}" for i in range(len(sizes))]
    extra = [numpy_helper.from_array(np.asarray(v), f"c_{i}") for i, v in enumerate(constants)]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(x.dtype))
    outputs = []
    for name, size in zip(names, sizes, strict=True):
        part = [size if i == axis % len(x.shape) else n for i, n in enumerate(x.shape)]
        outputs.append(helper.make_tensor_value_info(name, kind, part))
    node = helper.make_node(
        "Split", ["x", *(t.name for t in extra)], names, axis=axis, **attributes
    )
    info = helper.make_tensor_value_info("x", kind, x.shape)
    graph = helper.make_graph([node], "split", [info], outputs, extra)
    imports = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


@pytest.mark.parametrize("dtype", [np.int8, np.float32])
def test_split(dtype: type) -> None:
    x = Spec((2, 7), dtype)
    check(split_model(x, [3, 4], 1, 13, np.array([3, 4])), fill(x))
    check(split_model(x, [3, 4], -1, 11, split=[3, 4]), fill(x))
    check(split_model(x, [1, 1], 0, 13), fill(x))
    check(split_model(x, [3, 3, 1], 1, 18, num_outputs=3), fill(x))


@FEW
@given(shape=shapes, dtype=moved_dtypes, data=st.data())
def test_slice(shape, dtype, data) -> None:
    axes = data.draw(st.lists(st.integers(0, len(shape) - 1), unique=True, min_size=1))
    bounds = st.integers(-9, 9) | st.sampled_from([2**31 - 1, -(2**31), 2**63 - 1, -(2**63)])
    rows, result = [], list(shape)
    for axis in axes:
        start, end = data.draw(bounds), data.draw(bounds)
        step = data.draw(st.sampled_from([1, 2, -1, -2]))
        size = shape[axis]
        first, stop = (v + size if v < 0 else v for v in (start, end))
        if step > 0:
            first, stop = min(max(first, 0), size), min(max(stop, 0), size)
        else:
            first, stop = min(max(first, 0), size - 1), min(max(stop, -1), size - 1)
        result[axis] = len(range(first, stop, step))
        rows.append((start, end, step))
    assume(min(result) > 0)
    starts, ends, steps = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    x = movable(shape, dtype)
    check(move("Slice", x, result, starts, ends, np.array(axes), steps), fill(x))


PADS = [("constant", 0.0), ("constant", 1.25), ("constant", -9.0), ("reflect", 0), ("edge", 0)]


@pytest.mark.parametrize(("mode", "value"), PADS)
@pytest.mark.parametrize("dtype", [np.int8, np.float32])
def test_pad(mode: str, value: float, dtype: type) -> None:
    x = movable((2, 3, 4, 5), dtype)
    pads = np.array([0, 1, 2, 0, 1, 0, 1, 3])
    constants = [pads] if mode != "constant" else [pads, np.float32(value)]
    y = (3, 4, 7, 8)
    check(move("Pad", x, y, *constants, mode=mode), fill(x))


def test_pad_of_some_axes_with_cuts() -> None:
    x = stored((2, 5, 6))
    constants = [np.array([-1, 2, 1, -3]), None, np.array([1, -1])]
    check(move("Pad", x, (2, 5, 5), *constants, opset=18), fill(x))


def test_pad_with_attributes() -> None:
    x = Spec((2, 3), np.float32)
    model = move("Pad", x, (3, 5), opset=10, pads=[1, 0, 0, 2], value=1.5)
    check(model, fill(x))


def test_pad_of_stored_integers() -> None:
    b = GraphBuilder()
    x, quant = stored((2, 3), np.int8), Quant(0.05, 3)
    pads, value = b.constant(np.array([1, 0, 0, 2])), b.constant(np.int8(-7))
    padded = b.node("Pad", [b.input(x), pads, value])
    model = b.build({b.dequantize(padded, quant): Spec((3, 5), np.float32)})
    check(model, fill(x), steps=1e-6)


@pytest.mark.parametrize("dtype", [np.int8, np.float32, np.int32])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("indices", [[2, 0, -1], [[1], [1]], 1])
def test_gather(dtype: type, axis: int, indices) -> None:
    x, index = movable((3, 4, 3), dtype), np.array(indices)
    y = np.take(np.zeros(x.shape), index, axis).shape
    check(move("Gather", x, y, index, axis=axis), fill(x))


def test_gather_of_computed_indices() -> None:
    c = Chain()
    x, indices = stored((4, 3)), Spec((2,), np.int64)
    c.output(c.node("Gather", c.input(x), c.input(indices)), stored((2, 3)))
    check(c.build(), fill(x), np.array([3, 1]))


def test_moves_of_stored_integers_between_operators() -> None:
    """QOperator files move integers without conversions around."""
    b = GraphBuilder()
    x, quant = stored((1, 4, 4, 4), np.uint8, 0.05, 10), Quant(0.05, 10)
    pooled = b.node("MaxPool", [b.input(x)], kernel_shape=[2, 2], strides=[2, 2])
    turned = b.node("Transpose", [pooled], perm=[0, 2, 3, 1])
    flat = b.node("Reshape", [turned, b.constant(np.array([1, -1]))])
    model = b.build({b.dequantize(flat, quant, np.uint8): Spec((1, 16), np.float32)})
    graph = check(model, fill(x), steps=1e-6)
    assert graph.inputs[0].quantization is not None
