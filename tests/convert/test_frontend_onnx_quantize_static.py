"""Networks that onnxruntime's own quantiser makes, in each of its forms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

import edgeinfer
from edgeinfer.convert import check, convert
from tests.builders.onnx_run import run

INPUT = (1, 3, 12, 12)
OUTPUT_STEP = 1 / 255  # of softmax


def network() -> onnx.ModelProto:
    """A small network with most of what device networks have."""
    rng = np.random.default_rng(0)
    weights: list[onnx.TensorProto] = []

    def values(array: np.ndarray) -> str:
        weights.append(numpy_helper.from_array(array, f"w{len(weights)}"))
        return weights[-1].name

    def normal(*shape: int) -> str:
        spread = np.sqrt(np.prod(shape[1:]) or 1)
        return values((rng.standard_normal(shape) / spread).astype(np.float32))

    nodes: list[onnx.NodeProto] = []

    def node(operator: str, *inputs: str, outputs: int = 1, **attrs: Any) -> str:
        names = [f"t{len(nodes)}_{i}" for i in range(outputs)]
        nodes.append(helper.make_node(operator, inputs, names, f"n{len(nodes)}", **attrs))
        return names[0]

    x = node("Conv", "image", normal(8, 3, 3, 3), normal(8), pads=[1, 1, 1, 1])
    x = node("Relu", x)
    x = node("Conv", x, normal(8, 1, 3, 3), normal(8), group=8, pads=[1, 1, 1, 1], strides=[2, 2])
    x = node("Clip", x, values(np.float32(0)), values(np.float32(6)))
    x = node("Conv", x, normal(12, 8, 1, 1))
    pooled = node("MaxPool", x, kernel_shape=[2, 2], strides=[1, 1])
    gate = node("Sigmoid", node("AveragePool", pooled, kernel_shape=[1, 1]))
    gated = node("Mul", pooled, gate)
    total = node("LeakyRelu", node("Add", gated, pooled), alpha=0.1)
    both = node("Concat", total, gated, axis=1)
    first = node("Split", both, outputs=2, axis=1)
    second = f"{first[:-1]}1"
    scales = values(np.array([1, 1, 2, 2], np.float32))
    x = node("Resize", first, "", scales, mode="nearest", nearest_mode="floor")
    nodes[-1].attribute.append(
        helper.make_attribute("coordinate_transformation_mode", "asymmetric")
    )
    x = node("Relu", node("Conv", x, normal(6, 12, 2, 2), normal(6), strides=[2, 2]))
    x = node("Flatten", node("GlobalAveragePool", x))
    mean = node("ReduceMean", second, axes=[2, 3], keepdims=0)
    x = node("Concat", x, mean, axis=1)
    x = node("Gemm", x, normal(10, 18), normal(10), transB=1)
    x = node("Add", node("MatMul", x, normal(10, 7)), normal(7))
    node("Softmax", x, axis=-1)
    nodes[-1].output[0] = "scores"
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, INPUT)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 7])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def images(count: int, seed: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield rng.standard_normal(INPUT).astype(np.float32)


class Images(CalibrationDataReader):
    def __init__(self) -> None:
        self._images = images(8, 1)

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self._images, None)
        return None if image is None else {"image": image}


def quantized(folder: Path, **options: Any) -> bytes:
    onnx.save(network(), folder / "float.onnx")
    quantize_static(folder / "float.onnx", folder / "quantized.onnx", Images(), **options)
    return (folder / "quantized.onnx").read_bytes()


def agrees(model: bytes, tolerance: float) -> None:
    """Without problems, and the scores are onnxruntime's."""
    assert check(model) == []
    loaded = edgeinfer.load(convert(model).data)
    for image in images(3, 2):
        (expected,) = run(model, image, optimize=False)
        assert np.abs(loaded.run(image) - expected).max() <= tolerance


SYMMETRIC = {"ActivationSymmetric": True, "WeightSymmetric": True}


@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator])
@pytest.mark.parametrize("activations", [QuantType.QInt8, QuantType.QUInt8])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"per_channel": True},
        {"per_channel": True, "reduce_range": True},
        {"extra_options": SYMMETRIC},
        {"extra_options": {"DedicatedQDQPair": True}},
    ],
    ids=["plain", "per_channel", "reduce_range", "symmetric", "pairs"],
)
def test_networks_as_the_quantiser_makes_them(
    form: QuantFormat, activations: QuantType, options: dict, tmp_path: Path
) -> None:
    options = {"weight_type": QuantType.QInt8, **options}
    model = quantized(tmp_path, quant_format=form, activation_type=activations, **options)
    agrees(model, 4 * OUTPUT_STEP)  # single steps of rounding on the way may add up


@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator])
def test_symmetric_uint8_weights(form: QuantFormat, tmp_path: Path) -> None:
    model = quantized(
        tmp_path,
        quant_format=form,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QUInt8,
        extra_options={"WeightSymmetric": True},
    )
    agrees(model, 4 * OUTPUT_STEP)


def test_int16_activations(tmp_path: Path) -> None:
    model = quantized(
        tmp_path,
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QInt16,
        weight_type=QuantType.QInt8,
        extra_options=SYMMETRIC,
    )
    agrees(model, 1e-3)


def test_asymmetric_weights_are_refused_with_advice(tmp_path: Path) -> None:
    model = quantized(
        tmp_path,
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QUInt8,
    )
    problems = check(model)
    assert {problem.operator for problem in problems} >= {"Conv", "Gemm"}
    assert all("WeightSymmetric" in problem.advice for problem in problems)


def test_the_example_gives_the_bits_of_onnxruntime(digits_dir: Path) -> None:
    model = (digits_dir / "digits_int8.onnx").read_bytes()
    heldout = np.load(digits_dir / "heldout.npz")["images"][:50]
    loaded = edgeinfer.load(convert(model).data)
    for pixels in heldout:
        image = pixels[None, None].astype(np.float32) / np.float32(16)
        np.testing.assert_array_equal(loaded.run(image), run(model, image)[0])
