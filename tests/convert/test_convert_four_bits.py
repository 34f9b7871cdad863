"""`weights="mxfp4"` and `"nvfp4"`: which layers get blocks, and what the files compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeinfer
from edgeinfer.cli import main
from edgeinfer.convert import convert
from edgeinfer.convert.lower.pack_fp4 import unpack_blocks
from edgeinfer.convert.model_file import FileNode
from edgeinfer.convert.quantize.choose_blocks import round_blocks
from edgeinfer.convert.quantize.run_graph import GraphRunner
from edgeinfer.convert.quantize.search_block_scales import search_block_scales
from edgeinfer.convert.read import read_model
from edgeinfer.errors import InputError
from tests.builders.onnx_model import GraphBuilder
from tests.builders.spec import Spec
from tests.convert.float_networks import (
    SAMPLES,
    MobileNet,
    agreement,
    numbers,
    outputs,
    small_network,
    sqnr,
)
from tests.oracle import four_bits
from tests.oracle.float_products import bounded

SCHEMES: list[Any] = ["mxfp4", "nvfp4"]
DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits" / "digits_float.onnx"


def nodes_of(edge: bytes) -> tuple[FileNode, ...]:
    return tuple(read_model(edge).programs[0].nodes)


def blocks_of(node: FileNode, n: int, k: int) -> four_bits.Blocks:
    weights = node.inputs[1]
    assert weights is not None and weights.data is not None
    scheme: Any = weights.scheme
    found = unpack_blocks(weights.data, scheme, n, k)
    return four_bits.Blocks(weights.scheme, found.codes[:, :k], found.scales)


def constants_of(node: FileNode, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Bias and multiplier."""
    bias, multiplier = node.inputs[2], node.inputs[3]
    assert bias is not None and bias.data is not None
    assert multiplier is not None and multiplier.data is not None
    return bias.data[:n], multiplier.data[:n]


def weight_bytes(edge: bytes) -> int:
    weights = [node.inputs[1] for node in nodes_of(edge) if len(node.inputs) > 2]
    return sum(tensor.nbytes for tensor in weights if tensor is not None)


def two_layers(rng: np.random.Generator) -> bytes:
    """[5, 70] -> MatMul 50, Add, Relu -> Gemm 20."""
    builder = GraphBuilder()
    x = builder.input(Spec((5, 70), np.float32))
    w0, w1 = (rng.standard_normal(shape).astype(np.float32) for shape in ((70, 50), (20, 50)))
    b0, b1 = (rng.standard_normal(n).astype(np.float32) for n in (50, 20))
    y = builder.node("MatMul", [x, builder.constant(w0)])
    y = builder.node("Relu", [builder.node("Add", [y, builder.constant(b0)])])
    y = builder.node("Gemm", [y, builder.constant(w1), builder.constant(b1)], transB=1)
    return builder.build({y: Spec((5, 20), np.float32)})


@pytest.mark.parametrize("scheme", SCHEMES)
def test_matrix_products_of_a_float_model_round_vectors_when_they_run(scheme: Any) -> None:
    rng = np.random.default_rng(0)
    source = two_layers(rng)
    x = rng.standard_normal((5, 70)).astype(np.float32)
    converted = convert(source, weights=scheme)
    first, second = nodes_of(converted.data)
    assert [first.operator, second.operator] == ["fully_connected_dynamic"] * 2
    assert read_model(converted.data).version == (1, 2)
    expected: np.ndarray = x
    for node, n, k, low in ((first, 50, 70, 0.0), (second, 20, 50, -np.inf)):
        bias, multiplier = constants_of(node, n)
        sums = four_bits.dynamic(expected, blocks_of(node, n, k), multiplier, bias)
        expected = bounded(sums, low, np.inf)
    with edgeinfer.load(converted.data) as model:
        np.testing.assert_array_equal(model.run(x), expected)
    with edgeinfer.load(convert(source).data) as model:
        assert sqnr(np.asarray(model.run(x)), expected) > 15


@pytest.mark.parametrize("scheme", SCHEMES)
def test_factors_make_sums_the_real_products(scheme: Any) -> None:
    """One layer against its rounded weights in float64: what is left is the rounding of x."""
    rng = np.random.default_rng(1)
    weights = rng.standard_normal((20, 100)).astype(np.float32) * np.float32(1e-3)
    builder = GraphBuilder()
    y = builder.node("MatMul", [builder.input(Spec((8, 100), np.float32)),
                                builder.constant(weights.T)])  # fmt: skip
    data = convert(builder.build({y: Spec((8, 20), np.float32)}), weights=scheme).data
    x = rng.integers(-127, 128, (8, 100)).astype(np.float32)
    x[:, 0] = 127  # so that int8 holds x exactly
    rounded = search_block_scales(weights, scheme).values().astype(np.float64)
    with edgeinfer.load(data) as model:
        np.testing.assert_allclose(model.run(x), x @ rounded.T, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_calibrated_network_keeps_depthwise_weights_in_int8(scheme: Any) -> None:
    samples = numbers(3, 40, 1, 16, 16, 3)
    expected = outputs(MobileNet(0, 0).build(), samples)
    converted = convert(MobileNet(0, 0).build(), calibration=samples, weights=scheme)
    found = set()
    for node in nodes_of(converted.data):
        if node.operator.endswith("conv2d"):
            x, weights = node.inputs[:2]
            assert x is not None and weights is not None
            k = int(node.params["kernel_h"]) * int(node.params["kernel_w"]) * x.shape[3]
            padded_out = node.operator == "conv2d" and scheme == "mxfp4" and k <= 16
            found.add(("small" if padded_out else node.operator, weights.scheme))
    assert found - {("small", "")} == {("conv2d", scheme), ("depthwise_conv2d", "")}
    assert converted.metadata["quantization"]["weights"] == scheme
    assert weight_bytes(converted.data) < 0.9 * weight_bytes(
        convert(MobileNet(0, 0).build(), calibration=samples).data
    )
    assert sqnr(expected, outputs(converted.data, samples)) > 10


def test_sums_on_int8_are_those_of_the_rounded_weights() -> None:
    """Padding, zero points and bias: half a step from the real convolution with rounded weights."""
    graph, rounded = small_network(), small_network()
    layer = next(node for node in rounded.nodes if node.op == "conv2d")
    w, name = layer.input(1), layer.output.name
    assert w.data is not None
    w.data = round_blocks(w.data, "mxfp4").values().reshape(w.data.shape)
    converted = convert(
        graph,
        calibration=SAMPLES,
        weights="mxfp4",
        rounding="nearest",
        equalize=False,
        correct_bias=False,
    )
    assert converted.quantized is not None
    stored = converted.quantized.result.stored[name]
    x, y = converted.quantized.result.read[layer.input(0).name].quantization, stored.quantization
    assert x is not None and y is not None and x.zero_point[0] != 0
    ours, theirs = GraphRunner(converted.graph, [stored.name]), GraphRunner(rounded, [name])
    rng = np.random.default_rng(0)
    step, zero = float(y.scale[0]), int(y.zero_point[0])
    for _ in range(8):
        q = rng.integers(-128, 128, rounded.inputs[0].shape)
        real = ((q - x.zero_point[0]) * np.float64(x.scale[0])).astype(np.float32)
        (made,) = ours.run({converted.graph.inputs[0].name: real}).values()
        (expected,) = theirs.run({rounded.inputs[0].name: real}).values()
        limited = np.clip(expected, step * (-128 - zero), step * (127 - zero))
        assert np.abs((made.astype(np.float64) - zero) * step - limited).max() < 0.501 * step


@pytest.mark.parametrize("scheme", SCHEMES)
def test_digits_keep_their_classes(scheme: Any) -> None:
    with np.load(DIGITS.with_name("heldout.npz")) as data:
        images = data["images"][:, None, None].astype(np.float32) / 16
    expected = outputs(convert(DIGITS).data, images[200:600])
    converted = convert(DIGITS, calibration=images[:200], held_out=0.0, weights=scheme)
    assert agreement(expected, outputs(converted.data, images[200:600])) >= 0.97


def test_the_command_line_says_which_weights_a_file_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "layers.onnx", tmp_path / "layers.edge"
    source.write_bytes(two_layers(np.random.default_rng(2)))
    assert main(["convert", str(source), "-o", str(target), "--weights", "nvfp4"]) == 0
    capsys.readouterr()
    assert main(["inspect", str(target)]) == 0
    shown = capsys.readouterr().out
    assert "format 1.2" in shown and shown.count("bytes of constants (nvfp4)") == 2
    assert main(["bench", str(target), "--seconds", "0.05", "--profile"]) == 0
    assert "packed_gemm_s8_f4" in capsys.readouterr().out


def test_what_cannot_have_such_weights_is_refused() -> None:
    source = two_layers(np.random.default_rng(0))
    with pytest.raises(InputError, match="must be one of"):
        convert(source, weights="int3")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="has no fully connected layer on float32"):
        convert(MobileNet(0, 0).build(), weights="mxfp4")


def test_rounding_by_what_layers_read_is_nearer_than_to_nearest() -> None:
    """On samples of its own kind that it has not seen, and without numba."""
    samples, others = numbers(3, 40, 1, 16, 16, 3), numbers(4, 40, 1, 16, 16, 3)
    expected = outputs(convert(MobileNet(0, 0).build()).data, others)
    found = {}
    for rounding in ("nearest", None):
        converted = convert(
            MobileNet(0, 0).build(), calibration=samples, weights="mxfp4", rounding=rounding
        )
        assert converted.quantized is not None
        assert converted.quantized.rounding == (rounding or "adaptive")
        found[rounding] = sqnr(expected, outputs(converted.data, others))
    assert found[None] > found["nearest"] + 2
