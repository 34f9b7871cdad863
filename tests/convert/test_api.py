"""The public conversion functions: sources, metadata, determinism, files, errors."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import edgeinfer
from edgeinfer.convert import check, convert
from edgeinfer.convert.graph import Graph
from edgeinfer.convert.lower.lower_graph import make_names_unique
from edgeinfer.convert.program import Value
from edgeinfer.errors import BudgetError, ConversionError, ModelReadError
from tests.builders import onnx_qdq_ops as qdq_models
from tests.builders import tflite_elementwise_ops as elementwise_models
from tests.builders.spec import Quant, Spec
from tests.builders.tflite_edit import edited
from tests.convert.graphs import GraphBuilder, quantization

SPEC = Spec((1, 2, 3), np.int8, Quant(0.05, 3))


@pytest.fixture(scope="module")
def model() -> bytes:
    return elementwise_models.binary("ADD", SPEC, SPEC, SPEC, activation="RELU")


def small_graph() -> Graph:
    b = GraphBuilder()
    x = b.conv2d(b.input((1, 6, 6, 2)), 3, q=None)
    return b.build(b.node("relu", [x], x.shape, quantization(0.4, -20)))


def test_a_path_and_its_bytes_give_one_file(model: bytes, tmp_path: Path) -> None:
    path = tmp_path / "sum.tflite"
    path.write_bytes(model)
    from_path = convert(path)
    assert from_path.data == convert(str(path)).data == convert(model, name="sum.tflite").data
    assert from_path.metadata["name"] == "sum.tflite"  # and no folder
    assert str(tmp_path).encode() not in from_path.data


def test_the_suffix_of_a_tflite_file_does_not_matter(model: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(model)
    assert convert(path).metadata["source"]["format"] == "tflite"


def test_metadata_describes_source_and_boundary(model: bytes) -> None:
    metadata = convert(model, name="sum.tflite").metadata
    assert metadata["converter"] == f"edgeinfer {edgeinfer.__version__}"
    assert metadata["source"]["sha256"] == hashlib.sha256(model).hexdigest()
    assert [x["shape"] for x in metadata["inputs"]] == [[1, 2, 3], [1, 2, 3]]
    (output,) = metadata["outputs"]
    assert output["dtype"] == "int8" and output["zero_point"] == 3
    assert output["scale"] == pytest.approx(0.05)
    assert [node["source"] for node in metadata["nodes"]] == ["ADD"]


def test_metadata_is_what_the_loaded_model_says(model: bytes) -> None:
    conversion = convert(model)
    with edgeinfer.load(conversion.data) as loaded:
        assert loaded.metadata == conversion.metadata
        assert loaded.plan.session_bytes == conversion.session_bytes


def test_nodes_tell_what_was_fused_into_them() -> None:
    (node,) = convert(small_graph()).metadata["nodes"]
    assert node["operator"] == "conv2d" and node["name"].startswith("the conv2d")
    assert node["absorbed"] == ["the relu_4"]


def test_conversion_is_deterministic() -> None:
    assert convert(small_graph()).data == convert(small_graph()).data


def test_report_names_the_peak() -> None:
    report = convert(small_graph()).report
    assert "session" in report and "peak     step 0: conv2d (the conv2d_" in report


def test_save_writes_the_whole_file(model: bytes, tmp_path: Path) -> None:
    conversion = convert(model)
    path = conversion.save(tmp_path / "sum.edge")
    assert path.read_bytes() == conversion.data
    assert os.listdir(tmp_path) == ["sum.edge"]
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask


def test_save_replaces_a_file_that_is_in_use(model: bytes, tmp_path: Path) -> None:
    conversion = convert(model)
    path = conversion.save(tmp_path / "sum.edge")
    with edgeinfer.load(path) as loaded:
        x = np.zeros((1, 2, 3), np.int8)
        before = loaded.run({info.name: x for info in loaded.inputs})
        convert(small_graph()).save(path)
        after = loaded.run({info.name: x for info in loaded.inputs})
    np.testing.assert_array_equal(before, after)


def test_a_save_that_fails_leaves_nothing(
    model: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sum.edge"
    path.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        convert(model).save(path)
    assert os.listdir(tmp_path) == ["sum.edge"] and path.read_bytes() == b"old"


def test_ram_budget_is_refused_or_kept() -> None:
    needed = convert(small_graph()).session_bytes
    assert convert(small_graph(), ram_budget=needed).session_bytes == needed
    with pytest.raises(BudgetError, match="peaks"):
        convert(small_graph(), ram_budget=str(needed - 1))


def test_check_returns_what_convert_raises(model: bytes) -> None:
    assert check(model) == []
    b = GraphBuilder()
    graph = b.build(b.node("mystery", [b.input((2,))], (2,)))
    (problem,) = check(graph)
    assert problem.operator == "mystery"
    with pytest.raises(ConversionError, match="test cannot be converted: 1 problem\n"):
        convert(graph)


def test_a_graph_can_be_named() -> None:
    assert convert(small_graph(), name="other").metadata["name"] == "other"


def test_onnx_is_known_by_its_first_byte(digits_dir: Path) -> None:
    path = digits_dir / "digits_int8.onnx"
    from_bytes = convert(path.read_bytes(), name=path.name)
    assert from_bytes.metadata["source"]["format"] == "onnx"
    assert from_bytes.data == convert(path).data


def test_metadata_of_the_source_is_kept_as_json() -> None:
    graph = small_graph()
    graph.metadata = {"labels": ("cat", "dog"), "made": np.float32(0.5), "by": {1: None}}
    metadata = convert(graph).metadata
    assert metadata["labels"] == ["cat", "dog"]
    assert metadata["source"]["made"] == "0.5" and metadata["source"]["by"] == {"1": None}


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 a zip archive", b"\x89PNG"])
def test_bytes_of_another_format_are_refused(data: bytes) -> None:
    with pytest.raises(ConversionError, match=r"of no format that can be converted \(.*\.tflite"):
        convert(data)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelReadError, match=r"absent\.tflite': cannot be opened: No such file"):
        convert(tmp_path / "absent.tflite")


def test_a_damaged_file_is_refused(model: bytes) -> None:
    with pytest.raises(ConversionError):
        convert(model[: len(model) // 2])


def test_a_tflite_tensor_that_is_an_output_twice_gets_two_names(model: bytes) -> None:
    def repeat(objects: Any) -> None:
        graph = objects.subgraphs[0]
        graph.outputs = [graph.outputs[0]] * 3

    assert_outputs_are_told_apart(edited(model, repeat), 3)


def test_an_onnx_value_that_is_an_output_twice_gets_two_names() -> None:
    repeated = onnx.load_from_string(qdq_models.binary("Add", SPEC, SPEC, SPEC))
    repeated.graph.output.append(repeated.graph.output[0])
    assert_outputs_are_told_apart(repeated.SerializeToString(), 2)


def assert_outputs_are_told_apart(source: bytes, count: int) -> None:
    conversion = convert(source)
    with edgeinfer.load(conversion.data) as loaded:
        names = [info.name for info in loaded.outputs]
        first = names[0]
        assert names == [first, *(f"{first}_{i}" for i in range(1, count))]
        assert [output["name"] for output in loaded.metadata["outputs"]] == names
        feed = {
            info.name: np.arange(6).astype(info.dtype).reshape(info.shape) for info in loaded.inputs
        }
        outputs = loaded.run(feed)
        assert list(outputs) == names
        for name in names[1:]:
            np.testing.assert_array_equal(outputs[name], outputs[first])
        into = {name: np.empty_like(outputs[name]) for name in names}
        loaded.run_into(into, feed)
        np.testing.assert_array_equal(into[names[-1]], outputs[first])


@pytest.mark.parametrize(
    ("names", "unique"),
    [
        (["a", "b"], ["a", "b"]),
        (["a", "a", "a"], ["a", "a_1", "a_2"]),
        (["a", "a", "a_1"], ["a", "a_2", "a_1"]),  # one that is unique already keeps its name
        (["a_1", "a", "a"], ["a_1", "a", "a_2"]),
        (["", ""], ["", "_1"]),
    ],
)
def test_names_are_made_unique(names: list[str], unique: list[str]) -> None:
    values = [Value(name, (1,), "int8") for name in names]
    make_names_unique(values)
    assert [value.name for value in values] == unique


def test_inputs_of_one_name_get_two() -> None:
    b = GraphBuilder()
    x, y = b.input((1, 4)), b.input((1, 4))
    y.name = x.name
    graph = b.build(b.node("concat", [x, y], (1, 8), x.quantization, axis=1))
    with edgeinfer.load(convert(graph).data) as loaded:
        assert [info.name for info in loaded.inputs] == [x.name, f"{x.name}_1"]
