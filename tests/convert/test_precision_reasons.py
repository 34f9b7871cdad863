"""Why operations run at their precision, and what `strict` refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import edgeinfer
from edgeinfer.cli import main
from edgeinfer.convert import convert
from edgeinfer.convert.api import Conversion
from edgeinfer.convert.graph import Graph
from edgeinfer.convert.precision_reasons import (
    FLOAT_BETWEEN,
    FLOAT_SOURCE,
    MOVES_FLOAT,
    PLAIN,
    QUANTIZED_HERE,
    QUANTIZED_IN_SOURCE,
)
from edgeinfer.errors import ConversionError
from tests.convert.graphs import GraphBuilder

DIGITS = Path("examples") / "digits"


def noted(conversion: Conversion) -> list[tuple[str, str]]:
    """Operator and reason of every operation, as the file has them."""
    metadata = conversion.metadata
    assert len(metadata["nodes"]) == len(conversion.plans[0].operations)
    return [
        (entry["operator"], metadata["reasons"][entry.get("reason", 0)])
        for entry in metadata["nodes"]
    ]


def strict_problems(graph: Graph, **options: Any) -> list[tuple[str, str, str, str]]:
    with pytest.raises(ConversionError) as caught:
        convert(graph, strict=True, **options)
    return [(p.node, p.operator, p.reason, p.advice) for p in caught.value.problems]


def mixed_graph() -> Graph:
    """conv2d, an operator that has no INT8 kernel though it is quantised, conv2d."""
    b = GraphBuilder()
    x = b.conv2d(b.input((1, 6, 6, 2)), 3)
    middle = b.node("layer_norm", [x, None, None], x.shape, axis=3, epsilon=1e-5)
    return b.build(b.conv2d(middle, 2))


def test_a_float_operator_between_quantised_ones_is_told_with_its_conversions() -> None:
    graph = mixed_graph()
    name = graph.nodes[1].name
    found = noted(convert(graph))
    assert found == [
        ("conv2d", QUANTIZED_IN_SOURCE),
        ("dequantize", f"layer_norm '{name}' reads float32"),
        ("layer_norm_f32", FLOAT_BETWEEN),
        ("quantize", f"layer_norm '{name}' computes in float32"),
        ("conv2d", QUANTIZED_IN_SOURCE),
    ]


def test_strict_names_what_falls_back() -> None:
    graph = mixed_graph()
    name = graph.nodes[1].name
    ((node, operator, reason, advice),) = strict_problems(graph)
    assert (node, operator, reason) == (name, "layer_norm", FLOAT_BETWEEN)
    assert advice.startswith("there is no INT8 kernel for layer_norm; replace it")


def with_float_mul(source_format: str) -> Graph:
    """A product that the quantiser left out, though there is an INT8 kernel for it."""
    b = GraphBuilder(source_format)
    x = b.conv2d(b.input((1, 6, 6, 2)), 3)
    real = b.node("dequantize", [x], x.shape, None)
    product = b.node("mul", [real, b.input(x.shape, None)], x.shape, None)
    return b.build(b.conv2d(b.node("quantize", [product], x.shape), 2), product)


@pytest.mark.parametrize(
    ("source_format", "advice"),
    [("onnx", "have the quantiser take mul too"), ("tflite", "TFLITE_BUILTINS_INT8")],
)
def test_strict_says_how_the_source_can_be_quantised_whole(source_format: str, advice: str) -> None:
    ((_, operator, reason, told),) = strict_problems(with_float_mul(source_format))
    assert (operator, reason) == ("mul", FLOAT_BETWEEN)
    assert advice in told


def test_conversions_of_the_source_tell_their_readers_and_makers() -> None:
    graph = with_float_mul("onnx")
    product = next(node for node in graph.nodes if node.op == "mul")
    found = noted(convert(graph))
    assert ("dequantize", f"mul '{product.name}' reads float32") in found
    assert ("quantize", f"made in float32 by mul '{product.name}'") in found


def test_what_only_moves_is_no_fallback() -> None:
    b = GraphBuilder()
    x = b.conv2d(b.input((1, 6, 6, 2)), 3)
    real = b.node("dequantize", [x], x.shape, None)
    turned = b.transpose(real, (0, 3, 1, 2))
    graph = b.build(turned, real)
    found = [reason for _, reason in noted(convert(graph, strict=True))]
    assert found[0] == QUANTIZED_IN_SOURCE and sum(r.endswith("is float32") for r in found) == 2


def test_moves_of_float_values_are_told_as_such() -> None:
    b = GraphBuilder()
    x = b.input((2, 3), None)
    turned = b.transpose(x, (1, 0))
    assert noted(convert(b.build(turned), strict=True)) == [("transpose", MOVES_FLOAT)]


def normalized() -> onnx.ModelProto:
    """LayerNormalization between QuantizeLinear and DequantizeLinear."""
    make = onnx.helper.make_node
    nodes = [
        make("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        make("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
        make("LayerNormalization", ["xd", "g"], ["n"], name="norm"),
        make("QuantizeLinear", ["n", "s", "z"], ["nq"]),
        make("DequantizeLinear", ["nq", "s", "z"], ["y"]),
    ]
    constants = {"s": np.float32(0.05), "z": np.int8(3), "g": np.linspace(1, 2, 8, dtype="f4")}
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes, "g", [info("x", 1, [5, 8])], [info("y", 1, [5, 8])],
        [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )  # fmt: skip
    opsets = [onnx.helper.make_opsetid("", 19)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9)


def test_an_onnx_operator_between_conversions_runs_in_float_where_integers_have_no_kernel() -> None:
    model = normalized()
    converted = convert(model.SerializeToString(), name="m.onnx")
    assert ("layer_norm_f32", FLOAT_BETWEEN) in noted(converted)
    x = np.random.default_rng(3).standard_normal((5, 8)).astype(np.float32)
    (expected,) = ReferenceEvaluator(model).run(None, {"x": x})
    with edgeinfer.load(converted.data) as loaded:
        steps = np.abs(loaded.run(x) - expected) / 0.05
    assert steps.max() < 1.01 and (steps > 0.5).mean() <= 0.05  # a tie of rounding, at most


def test_boundaries_in_float_are_no_fallback() -> None:
    b = GraphBuilder()
    x = b.input((1, 6, 6, 2), None)
    y = b.conv2d(b.node("quantize", [x], x.shape), 3)
    found = noted(convert(b.build(b.node("dequantize", [y], y.shape, None)), strict=True))
    assert found[0] == ("quantize", f"input '{x.name}' arrives as float32")
    assert found[-1][0] == "dequantize" and found[-1][1].endswith("is float32")


def test_plain_numbers_are_no_fallback() -> None:
    b = GraphBuilder()
    x = b.input((2, 3), None, "int64")
    graph = b.build(b.node("add", [x, x], (2, 3), None, "int64"))
    assert [reason for _, reason in noted(convert(graph, strict=True))] == [PLAIN]


def float_graph() -> Graph:
    b = GraphBuilder()
    x = b.input((1, 6, 6, 2), None)
    w = b.constant(np.random.default_rng(0).standard_normal((3, 3, 3, 2)).astype(np.float32))
    attrs: dict[str, Any] = {"strides": (1, 1), "dilations": (1, 1), "groups": 1}
    y = b.node("conv2d", [x, w, None], (1, 4, 4, 3), None, pads=(0, 0, 0, 0), **attrs)
    z = b.node("layer_norm", [y, None, None], y.shape, None, axis=3, epsilon=1e-5)
    return b.build(b.node("relu", [z], z.shape, None))


def test_a_float_model_is_one_error_that_says_what_to_do() -> None:
    assert {reason for _, reason in noted(convert(float_graph()))} == {FLOAT_SOURCE}
    with pytest.raises(ConversionError, match="3 nodes compute in float32") as caught:
        convert(float_graph(), strict=True)
    assert not caught.value.problems
    assert "is not quantised" in str(caught.value) and "calibration data" in str(caught.value)


def samples() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.standard_normal((1, 6, 6, 2)).astype(np.float32) for _ in range(64)]


def test_what_quantisation_left_in_float_has_its_reason() -> None:
    found = dict(noted(convert(float_graph(), calibration=samples())))
    assert found["conv2d"] == QUANTIZED_HERE
    assert found["layer_norm_f32"] == "left in float32: there is no INT8 kernel for layer_norm"
    problems = strict_problems(float_graph(), calibration=samples())
    named = {operator: (reason, advice) for _, operator, reason, advice in problems}
    reason, advice = named["layer_norm"]
    assert reason == "left in float32: there is no INT8 kernel for layer_norm"
    assert advice == "replace it, or convert without strict"


def test_a_layer_kept_in_float_is_told_to_be_so() -> None:
    graph = float_graph()
    kept = {graph.nodes[0].output.name: "it is sensitive"}
    problems = strict_problems(graph, calibration=samples(), keep_float=kept)
    told = {operator: (reason, advice) for _, operator, reason, advice in problems}
    assert told["conv2d"][0] == "left in float32: it is sensitive"
    assert "take it off the list of layers to keep in float32" in told["conv2d"][1]


def test_the_reasons_of_a_file_are_few_and_the_frequent_one_is_left_out(repo_root: Path) -> None:
    metadata = convert(repo_root / DIGITS / "digits_int8.onnx", strict=True).metadata
    assert metadata["reasons"][0] == QUANTIZED_IN_SOURCE and len(metadata["reasons"]) == 3
    assert sum("reason" in entry for entry in metadata["nodes"]) == 2


def test_the_command_line_is_strict_when_asked(
    repo_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "d.edge"
    floats, integers = (repo_root / DIGITS / f"digits_{k}.onnx" for k in ("float", "int8"))
    assert main(["convert", str(floats), "-o", str(output), "--strict"]) == 3
    assert "is not quantised" in capsys.readouterr().err and not output.exists()
    assert main(["convert", str(integers), "-o", str(output), "--strict"]) == 0
    assert main(["convert", str(floats), "-o", str(output)]) == 0


def test_the_command_line_tells_of_fallbacks(
    repo_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "norm.onnx"
    source.write_bytes(normalized().SerializeToString())
    assert main(["convert", str(source)]) == 0
    printed = capsys.readouterr().out
    assert "  float32  1 of 5 operations, though the model is quantised" in printed
    assert main(["convert", str(source), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["float_fallbacks"] == 1
    for kind in ("float", "int8"):
        path = repo_root / DIGITS / f"digits_{kind}.onnx"
        assert main(["convert", str(path), "-o", str(tmp_path / "d.edge"), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["float_fallbacks"] == 0


@pytest.mark.parametrize("model", ["ad01", "kws", "vww", "resnet8"])
def test_published_int8_models_are_strict_and_their_float_ones_are_not(
    model: str, models_dir: Path
) -> None:
    assert convert(models_dir / f"{model}_int8.tflite", strict=True).data
    with pytest.raises(ConversionError, match="is not quantised"):
        convert(models_dir / f"{model}_fp32.tflite", strict=True)


def test_a_reason_is_never_missing() -> None:
    """Operations without a node behind them, as copies of outputs, have one too."""
    b = GraphBuilder()
    x = b.input((1, 4))
    y = b.node("relu", [x], (1, 4))
    graph = b.build(x, y)
    assert [reason for _, reason in noted(convert(graph))] == [QUANTIZED_IN_SOURCE] * 2
