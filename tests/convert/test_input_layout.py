"""Inputs of NCHW models as NHWC: the same results, no transposes left, and rows that can be fed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import edgeinfer
from edgeinfer.cli import main
from edgeinfer.convert import convert
from edgeinfer.convert.compare import compare
from edgeinfer.convert.graph import Graph
from edgeinfer.errors import InputError
from tests.convert.graphs import NCHW_TO_NHWC, GraphBuilder

IMAGE = (1, 3, 40, 12)
LINES = (1, 40, 12, 3)


def classifier() -> bytes:
    """As PyTorch exports them: pixels are normalised per channel, then Conv, Conv, mean."""
    rng = np.random.default_rng(0)
    weights = {
        "m": rng.uniform(100, 130, (1, 3, 1, 1)),
        "s": rng.uniform(50, 60, (1, 3, 1, 1)),
        "w": rng.normal(0, 0.3, (8, 3, 3, 3)),
        "v": rng.normal(0, 0.2, (4, 8, 3, 3)),
    }
    nodes = [
        helper.make_node("Sub", ["x", "m"], ["centred"]),
        helper.make_node("Div", ["centred", "s"], ["normalised"]),
        helper.make_node("Conv", ["normalised", "w"], ["c"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Conv", ["r", "v"], ["d"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["d"], ["g"]),
        helper.make_node("Flatten", ["g"], ["y"]),
    ]
    make = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "classifier",
        [make("x", TensorProto.FLOAT, IMAGE)],
        [make("y", TensorProto.FLOAT, (1, 4))],
        [onnx.numpy_helper.from_array(w.astype(np.float32), n) for n, w in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data


def two_images(second: tuple[int, ...] = (1, 4, 8, 6)) -> Graph:
    """An NCHW image, another one (NHWC if its last axis has the channels), and a vector."""
    b = GraphBuilder()
    images = [b.input((1, 4, 8, 6)), b.input(second)]
    vector = b.input((1, 1, 1, 4))
    pool: dict[str, Any] = {
        "kernel": (2, 2),
        "strides": (2, 2),
        "pads": (0, 0, 0, 0),
        "dilations": (1, 1),
    }
    pooled = []
    for image in images:
        x = image if image.shape[3] == 4 else b.transpose(image, NCHW_TO_NHWC)
        pooled.append(b.node("max_pool2d", [x], (1, 4, 3, 4), **pool))
    both = b.node("add", pooled, (1, 4, 3, 4))
    return b.build(b.node("add", [both, vector], (1, 4, 3, 4)))


def test_lines_give_what_planes_give() -> None:
    x = np.random.default_rng(1).integers(-128, 128, (2, 1, 4, 8, 6)).astype(np.int8)
    vector = np.arange(4, dtype=np.int8).reshape(1, 1, 1, 4)
    feeds = {"input_1": x[0], "input_2": x[1], "input_3": vector}
    expected: Any = edgeinfer.load(convert(two_images()).data).run(feeds)
    lines = convert(two_images(), input_layout="nhwc")
    assert {op.operator for op in lines.plans[0].operations}.isdisjoint({"transpose", "copy"})
    turned = [np.ascontiguousarray(image.transpose(NCHW_TO_NHWC)) for image in x]
    feeds |= {"input_1": turned[0], "input_2": turned[1]}
    assert edgeinfer.load(lines.data).run(feeds).tobytes() == expected.tobytes()


def test_lines_are_normalised_without_a_transpose() -> None:
    x = np.random.default_rng(1).uniform(0, 255, IMAGE).astype(np.float32)
    planes = convert(classifier(), name="m.onnx")
    lines = convert(classifier(), name="m.onnx", input_layout="nhwc")
    assert lines.metadata["inputs"][0]["shape"] == list(LINES)
    assert {op.operator for op in lines.plans[0].operations}.isdisjoint({"transpose", "copy"})
    expected: Any = edgeinfer.load(planes.data).run(x)
    got: Any = edgeinfer.load(lines.data).run(np.ascontiguousarray(x.transpose(NCHW_TO_NHWC)))
    # The deviations go into the weights, as they can once no transpose stands between.
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_lines_can_be_fed() -> None:
    x = np.random.default_rng(1).uniform(0, 255, LINES).astype(np.float32)
    whole: Any = edgeinfer.load(convert(classifier(), name="m.onnx", input_layout="nhwc").data)
    small: dict[str, Any] = {"optimize": "ram", "feed_inputs": True}
    planes = convert(classifier(), name="m.onnx", **small)
    lines = convert(classifier(), name="m.onnx", input_layout="nhwc", **small)
    assert planes.plans[0].arena_bytes >= x.nbytes > lines.plans[0].arena_bytes
    model, got = edgeinfer.load(lines.data), None
    for line in x[0]:
        assert got is None
        got = model.feed(line)
    assert isinstance(got, np.ndarray) and got.tobytes() == whole.run(x).tobytes()


@pytest.mark.parametrize(
    ("layout", "changed"),
    [
        ("source", []),
        ({}, []),
        ("nhwc", [0, 1]),
        ({"input_2": "nhwc"}, [1]),
        ({"input_2": "nhwc", "input_1": "source"}, [1]),
    ],
)
def test_only_the_inputs_that_are_asked_for_change(layout: Any, changed: list[int]) -> None:
    converted = convert(two_images(), input_layout=layout)
    shapes = [(1, 8, 6, 4) if i in changed else (1, 4, 8, 6) for i in range(2)] + [(1, 1, 1, 4)]
    assert [tuple(t["shape"]) for t in converted.metadata["inputs"]] == shapes
    assert [t["name"] for t in converted.metadata["inputs"]] == ["input_1", "input_2", "input_3"]


def test_an_image_that_is_nhwc_stays_beside_one_that_is_not() -> None:
    graph = two_images(second=(1, 8, 6, 4))
    converted = convert(graph, input_layout="nhwc")
    assert [tuple(t["shape"]) for t in converted.metadata["inputs"][:2]] == [(1, 8, 6, 4)] * 2


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"input_2": "nhwc"}, r"input 'input_2' \[1, 8, 6, 4\] is NHWC already; leave it"),
        ({"input_3": "nhwc"}, r"input 'input_3' \[1, 1, 1, 4\] comes to no convolution or pooling"),
        ({"z": "nhwc"}, r"no input 'z'; its inputs: 'input_1' \[1, 4, 8, 6\], "),
        ({"": "nhwc"}, "3 inputs, so a name is needed"),
        ({"input_1": "nchw"}, "the layout of an input is 'nchw', must be source or nhwc"),
        ("chw", "the layout of an input is 'chw'"),
    ],
)
def test_a_layout_that_does_not_fit_is_refused(layout: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        convert(two_images(second=(1, 8, 6, 4)), input_layout=layout)


def test_without_an_nchw_image_there_is_nothing_to_change() -> None:
    b = GraphBuilder()
    x = b.input((2, 6))
    graph = b.build(b.node("relu", [x], (2, 6)))
    with pytest.raises(InputError, match=r"no NCHW image .* 'input_1' \[2, 6\] has rank 2"):
        convert(graph, input_layout="nhwc")


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "m.onnx", tmp_path / "m.edge"
    source.write_bytes(classifier())
    fed = ["--feed-inputs", "--input-layout"]
    assert main(["convert", str(source), "-o", str(out), *fed, "x=nhwc", "--json"]) == 0
    capsys.readouterr()
    assert edgeinfer.load(out).inputs[0].shape == LINES
    assert main(["plan", str(source), "--pareto", *fed, "nhwc", "--json"]) == 0
    curve = json.loads(capsys.readouterr().out)["pareto"]
    assert curve[-1]["arena_bytes"] < 4 * np.prod(LINES)
    assert main(["plan", str(out), "--input-layout", "nhwc"]) != 0
    assert "converted already" in capsys.readouterr().err
    twice = ["--input-layout", "nhwc", "--input-layout", "x=nhwc"]
    assert main(["convert", str(source), "-o", str(out), *twice]) == 2
    assert "once for all inputs" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["convert", str(source), "-o", str(out), "--input-layout", "x=chw"])
    assert "no layout" in capsys.readouterr().err


def test_a_file_is_compared_with_its_source_in_the_same_layout(tmp_path: Path) -> None:
    source = tmp_path / "m.onnx"
    source.write_bytes(classifier())
    file = convert(source, input_layout="nhwc").save(tmp_path / "m.edge")
    data = np.random.default_rng(2).uniform(0, 255, (2, *LINES[1:])).astype(np.float32)
    with pytest.raises(InputError, match="with the same option"):
        compare(source, file, data)
    found = compare(source, file, data, input_layout="nhwc")
    assert found.pairs and all(pair.agreement.largest_error == 0 for pair in found.pairs)
