"""Constants of an .onnx file in files beside it: read, and nothing read that lies elsewhere."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgeinfer
from edgeinfer.convert import convert
from edgeinfer.errors import ConversionError

WEIGHTS = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
SHIFT = np.arange(4, dtype=np.float32)


def model() -> onnx.ModelProto:
    """One constant is an initializer, one that of a node."""
    info = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Constant", [], ["shift"], value=numpy_helper.from_array(SHIFT, "shift")),
        helper.make_node("MatMul", ["x", "w"], ["product"]),
        helper.make_node("Add", ["product", "shift"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [info("x", TensorProto.FLOAT, [1, 8])],
        [info("y", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(WEIGHTS, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def saved(folder: Path) -> Path:
    """The model in two files, all of its constants in the second."""
    path = folder / "model.onnx"
    onnx.save_model(
        model(),
        path,
        save_as_external_data=True,
        location="model.onnx.data",
        size_threshold=0,
        convert_attribute=True,
    )
    return path


def changed(path: Path, key: str, value: str) -> Path:
    """Where the first constant is said to lie."""
    found = onnx.load(path, load_external_data=False)
    entries = [e for e in found.graph.initializer[0].external_data if e.key == key]
    entries[0].value = value
    path.write_bytes(found.SerializeToString())
    return path


def test_a_model_in_two_files_is_the_model_in_one(tmp_path: Path) -> None:
    path = saved(tmp_path)
    found = onnx.load(path, load_external_data=False)
    assert found.graph.initializer[0].data_location == TensorProto.EXTERNAL
    assert found.graph.node[0].attribute[0].t.data_location == TensorProto.EXTERNAL
    whole, parts = convert(model().SerializeToString()), convert(path)
    x = np.random.default_rng(1).normal(size=(1, 8)).astype(np.float32)
    np.testing.assert_array_equal(
        edgeinfer.load(parts.data).run(x), edgeinfer.load(whole.data).run(x)
    )
    digest = hashlib.sha256((tmp_path / "model.onnx.data").read_bytes()).hexdigest()
    assert parts.metadata["source"]["external_data"] == {"model.onnx.data": digest}
    assert "external_data" not in whole.metadata["source"]


def test_bytes_alone_do_not_lead_to_other_files(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"keeps 'w' in another file.*give the path"):
        convert(saved(tmp_path).read_bytes())


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path)
    (tmp_path / "model.onnx.data").unlink()
    with pytest.raises(ConversionError, match=r"'w' in 'model\.onnx\.data', which cannot be read"):
        convert(path)


@pytest.mark.parametrize("location", ["../secret.bin", "inner/../../secret.bin", "/etc/hostname"])
def test_a_file_outside_of_the_folder_is_not_read(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(4096))
    (tmp_path / "models" / "inner").mkdir(parents=True)
    path = changed(saved(tmp_path / "models"), "location", location)
    with pytest.raises(ConversionError, match="cannot be read"):
        convert(path)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    path = saved(tmp_path / "models")
    data = tmp_path / "models" / "model.onnx.data"
    data.rename(tmp_path / "elsewhere")
    data.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConversionError, match="cannot be read"):
        convert(path)


@pytest.mark.parametrize("key, value", [("offset", "1000000"), ("length", "1000000")])
def test_a_piece_outside_of_its_file_is_refused(tmp_path: Path, key: str, value: str) -> None:
    with pytest.raises(ConversionError, match="'w' in 'model"):
        convert(changed(saved(tmp_path), key, value))


def test_a_piece_of_another_size_than_its_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConversionError):
        convert(changed(saved(tmp_path), "length", "64"))
