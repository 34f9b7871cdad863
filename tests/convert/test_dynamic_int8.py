"""`weights="int8"` without calibration data: layers that round vectors when they run, tables."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import edgeinfer
from edgeinfer.convert import convert
from edgeinfer.convert.lower.pack import unpack_fully_connected
from edgeinfer.convert.quantize.channel_weights import round_channels
from edgeinfer.convert.read import read_model
from tests.builders.onnx_run import run
from tests.oracle import four_bits
from tests.oracle.float_products import bounded
from tests.requirements import require_module

WORDS, WIDTH, OUT = 700, 50, 20


def embedded(rng: np.random.Generator) -> bytes:
    """ids [1, s] -> rows of a table -> MatMul, Add, Relu -> MatMul."""
    weights = {
        "table": rng.normal(size=(WORDS, WIDTH)) * np.exp2(rng.integers(-8, 8, (WORDS, 1))),
        "w0": rng.normal(size=(WIDTH, 70)),
        "b0": rng.normal(size=70),
        "w1": rng.normal(size=(70, OUT)),
    }
    make = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "ids"], ["x"]),
            helper.make_node("MatMul", ["x", "w0"], ["p"]),
            helper.make_node("Add", ["p", "b0"], ["s"]),
            helper.make_node("Relu", ["s"], ["r"]),
            helper.make_node("MatMul", ["r", "w1"], ["y"]),
        ],
        "g",
        [make("ids", TensorProto.INT64, ["b", "s"])],
        [
            make("x", TensorProto.FLOAT, ["b", "s", WIDTH]),
            make("y", TensorProto.FLOAT, ["b", "s", OUT]),
        ],
        [numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


def test_layers_and_tables_of_a_float_model_are_int8() -> None:
    rng = np.random.default_rng(0)
    source = embedded(rng)
    data = convert(source, shapes={"ids": (1, 9)}, weights="int8").data
    file = read_model(data)
    layers = [n for n in file.programs[0].nodes if n.operator == "fully_connected_dynamic"]
    assert len(layers) == 2 and file.version == (1, 2)
    ids = np.array([[0, WORDS - 1, -1, *rng.integers(0, WORDS, 6)]])
    with edgeinfer.load(data) as model:
        found = model.run(ids)
    x, y = run(source, ids)
    # Each row is within half a step of its own scale.
    steps = np.abs(x).max(-1, keepdims=True) / 127
    assert np.all(np.abs(found["x"] - x) <= 0.501 * steps)
    assert 1 - np.sum(found["y"] * y) / np.linalg.norm(found["y"]) / np.linalg.norm(y) < 1e-3
    # And the layers give the bits of their specification.
    expected = found["x"]
    for node, n, low in zip(layers, (70, OUT), (0.0, -np.inf), strict=True):
        weights, bias, multiplier = (np.asarray(t.data) for t in node.inputs[1:] if t is not None)
        codes = unpack_fully_connected(weights, (n, expected.shape[-1]))
        sums = four_bits.dynamic_int8(expected, codes, multiplier[:n], bias[:n])
        expected = bounded(sums, low, np.inf)
    np.testing.assert_array_equal(found["y"], expected)
    require_module("numba")
    with edgeinfer.load(data, engine="numba") as other:
        for name, value in other.run(ids).items():
            np.testing.assert_array_equal(value, found[name])


def test_int8_is_a_quarter_of_the_bytes() -> None:
    source = embedded(np.random.default_rng(0))
    sizes = {
        scheme: convert(source, shapes={"ids": (1, 9)}, weights=scheme).plans[0]
        for scheme in (None, "int8", "mxfp4")
    }
    read = {
        scheme: sum(
            v.nbytes
            for o in plan.operations
            for v in o.inputs
            if v is not None and v.data is not None
        )
        for scheme, plan in sizes.items()
    }
    assert read["int8"] < 0.3 * read[None]
    assert read["mxfp4"] < read["int8"]


def test_channels_are_rounded_to_the_nearest_of_255_values() -> None:
    weights = np.random.default_rng(1).normal(size=(5, 40)).astype(np.float32)
    weights[2] = 0
    rounded = round_channels(weights)
    assert np.abs(rounded.codes).max(axis=1).tolist() == [127, 127, 0, 127, 127]
    assert np.all(np.abs(rounded.values() - weights) <= 0.501 * rounded.scales[:, None])
