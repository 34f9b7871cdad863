"""Operators that are written as several: held against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import edgeinfer
from edgeinfer.convert import check, convert
from tests.convert.onnx_float_agreement import check_model, check_node, node_model

F = np.float32
small = st.integers(1, 3)


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-2, 2, shape).astype(F)


def problem(op: str, operands: Any, **options: Any) -> str:
    (found,) = check(node_model(op, operands, **options)[0], name="model")
    return found.reason


# --- pools


@st.composite
def boxes(draw: st.DrawFn):
    kernel = [draw(small) for _ in range(3)]
    attrs: dict[str, Any] = {"kernel_shape": kernel, "strides": [draw(small) for _ in range(3)]}
    if draw(st.booleans()):
        attrs["pads"] = [draw(st.integers(0, k - 1)) for k in kernel * 2]
    attrs["ceil_mode"] = draw(st.integers(0, 1))
    return [draw(st.integers(k, k + 4)) for k in kernel], attrs


@settings(max_examples=40)
@given(geometry=boxes(), op=st.sampled_from(["MaxPool", "AveragePool"]), include=st.booleans())
def test_pools_of_three_dimensions(geometry: Any, op: str, include: bool) -> None:
    image, attrs = geometry
    if op == "AveragePool":
        attrs["count_include_pad"] = int(include)
        # onnxruntime counts pixels behind the padding, where ceil_mode reaches them.
        assume(not (include and attrs["ceil_mode"]))
    check_node(op, [floats(2, 3, *image)], attrs=attrs)


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("image", [(7,), (6, 7), (4, 5, 6)])
@pytest.mark.parametrize("padded", [False, True])
def test_lp_pool(p: int, image: tuple[int, ...], padded: bool) -> None:
    rank = len(image)
    attrs: dict[str, Any] = {"p": p, "kernel_shape": [3] * rank, "strides": [2] * rank}
    if padded:
        attrs["pads"] = [1] * (2 * rank)
    check_node("LpPool", [floats(2, 3, *image)], attrs=attrs, opset=18)


# --- Einsum

EQUATIONS: dict[str, list[tuple[int, ...]]] = {
    "ij->ji": [(2, 3)],
    "ij->i": [(2, 3)],
    "ij->": [(2, 3)],
    "ijk->ki": [(2, 3, 4)],
    "...ii->...i": [(2, 3, 3)],
    "ii": [(3, 3)],
    "ij,jk->ik": [(2, 3), (3, 4)],
    "ij,jk": [(2, 3), (3, 4)],
    "bij,bjk->bik": [(5, 2, 3), (5, 3, 4)],
    "bhid,bhjd->bhij": [(2, 3, 4, 5), (2, 3, 6, 5)],
    "bthd,bshd->bhts": [(2, 4, 3, 5), (2, 6, 3, 5)],
    "bhts,bshd->bthd": [(2, 3, 4, 6), (2, 6, 3, 5)],
    "i,i": [(4,), (4,)],
    "i,j->ij": [(4,), (3,)],
    "ij,ij->ij": [(2, 3), (2, 3)],
    "ij,k->ik": [(2, 3), (4,)],
    "...ij,...jk->...ik": [(2, 1, 3, 4), (1, 5, 4, 2)],
    "bij, j -> bi": [(2, 3, 4), (4,)],
}


@pytest.mark.parametrize("equation", EQUATIONS)
@pytest.mark.parametrize("constant", [False, True])
def test_einsum(equation: str, constant: bool) -> None:
    operands = [floats(*s, seed=i) for i, s in enumerate(EQUATIONS[equation])]
    given_ = (0,) if constant else tuple(range(len(operands)))
    check_node("Einsum", operands, given=given_, attrs={"equation": equation})


def test_einsum_of_three_is_refused() -> None:
    x = floats(2, 2)
    attrs = {"equation": "ij,jk,kl->il"}
    assert "3 operands" in problem("Einsum", [x, x, x], given=(0, 1, 2), attrs=attrs)


# --- indices


@pytest.mark.parametrize("axis", [None, 0, -1])
def test_compress(axis: int | None) -> None:
    x, condition = floats(3, 4), np.asarray([True, False, True])
    check_node("Compress", [x, condition], attrs={} if axis is None else {"axis": axis})


def test_compress_to_nothing_is_refused() -> None:
    assert "0 of 3 elements" in problem(
        "Compress", [floats(3, 4), np.zeros(3, bool)], attrs={"axis": 0}
    )


@pytest.mark.parametrize("dtype", [F, np.int32])
@pytest.mark.parametrize("pads", [[0, 1, 2, 0, 3, 1], [0, 7, 0, 0, 0, 9], [0, -1, 2, 0, 1, -1]])
def test_pad_by_wrapping(dtype: type, pads: list[int]) -> None:
    x: np.ndarray = np.arange(24).reshape(2, 3, 4).astype(dtype)
    check_node("Pad", [x, np.array(pads, np.int64)], attrs={"mode": "wrap"})


@pytest.mark.parametrize("k", [-1, 0, 2])
def test_eye_like(k: int) -> None:
    check_node("EyeLike", [floats(3, 4)], attrs={"k": k, "dtype": TensorProto.INT32})


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("opset", [7, 9])
def test_upsample(mode: str, opset: int) -> None:
    x, scales = floats(1, 2, 3, 4), [1.0, 1.0, 2.0, 3.0]
    if opset == 7:
        check_node("Upsample", [x], opset=7, attrs={"mode": mode, "scales": scales})
    else:
        check_node("Upsample", [x, np.array(scales, F)], opset=9, attrs={"mode": mode})


def test_cumulative_product_is_refused_where_it_is_long() -> None:
    operands = [floats(1000), np.array(0, np.int64)]
    assert "256 are the most" in problem("CumProd", operands, opset=26)


# --- quantisation at run time


@pytest.mark.parametrize("x", [floats(3, 4), np.zeros((2, 2), F), np.abs(floats(5)) + 1])
def test_dynamic_quantize_linear(x: np.ndarray) -> None:
    check_node("DynamicQuantizeLinear", [x], outputs=3)


@pytest.mark.parametrize("k", [5, 258, 259, 1000])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_integer_products_are_exact(k: int, dtype: type) -> None:
    """Sums beyond 2^24 too: extremes only, whose products all add up."""
    a: np.ndarray = np.full((2, k), 255, np.uint8)
    b: np.ndarray = np.full((k, 3), 255 if dtype is np.uint8 else -128, dtype)
    b[::7] = 1
    for za, zb in ((0, 0), (3, 5)):
        # Not held against onnxruntime, which saturates uint8 by int8 on CPUs without VNNI.
        points: list[np.ndarray] = [np.array(za, np.uint8), np.array(zb, dtype)]
        model, inputs = node_model("MatMulInteger", [a, b, *points], given=(0, 1))
        with edgeinfer.load(convert(model, name="model").data) as loaded:
            y = loaded.run({"x0": inputs[0], "x1": inputs[1]})
        expected = (a.astype(np.int64) - za) @ (b.astype(np.int64) - zb)
        np.testing.assert_array_equal(y, expected.astype(np.int32))


@pytest.mark.parametrize("groups", [1, 2])
def test_conv_integer(groups: int) -> None:
    rng = np.random.default_rng(3)
    x = rng.integers(0, 256, (1, 4, 5, 5)).astype(np.uint8)
    w = rng.integers(0, 256, (6, 4 // groups, 3, 3)).astype(np.uint8)
    points: list[np.ndarray] = [np.array(7, np.uint8), np.array(120, np.uint8)]
    attrs = {"group": groups, "pads": [1, 0, 1, 2], "strides": [2, 1]}
    check_node("ConvInteger", [x, w, *points], attrs=attrs)


def test_conv_integer_of_sums_that_float32_cannot_hold_is_refused() -> None:
    x, w = np.zeros((1, 300, 2, 2), np.uint8), np.full((1, 300, 1, 1), 255, np.uint8)
    assert "exact up to" in problem("ConvInteger", [x, w])


@pytest.mark.parametrize("op", ["QuantizeLinear", "DequantizeLinear"])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_activations_per_channel(op: str, dtype: type) -> None:
    x = floats(2, 3, 4) * F(20)
    if op == "DequantizeLinear":
        x = np.random.default_rng(1).integers(0, 100, (2, 3, 4)).astype(dtype)
    points: np.ndarray = np.array([1, 2, 3], dtype)
    check_node(op, [x, np.array([0.1, 0.2, 0.5], F), points], attrs={"axis": 1})


def test_a_dynamically_quantised_layer() -> None:
    """As onnxruntime.quantization.quantize_dynamic writes a MatMul."""
    rng = np.random.default_rng(4)
    w = rng.integers(-63, 64, (300, 5)).astype(np.int8)  # onnxruntime may saturate larger ones
    make = helper.make_node
    nodes = [
        make("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        make("MatMulInteger", ["q", "w", "z", "wz"], ["i"]),
        make("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        make("Mul", ["s", "ws"], ["ss"]),
        make("Mul", ["f", "ss"], ["y"]),
    ]
    constants = [(w, "w"), (np.array(0, np.int8), "wz"), (np.array(0.01, F), "ws")]
    graph = helper.make_graph(
        nodes,
        "dynamic",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 300])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 5])],
        [numpy_helper.from_array(value, name) for value, name in constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    check_model(model.SerializeToString(), [floats(2, 300)])
