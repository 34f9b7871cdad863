"""From nodes that no frontend knows to `custom` operations: ONNX, TFLite, quantised or not."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeinfer
from edgeinfer.cli import main
from edgeinfer.convert import check, convert
from edgeinfer.convert.frontends.tflite.custom import attributes_of
from edgeinfer.convert.graph import Graph, Node, Quantization, Tensor
from edgeinfer.convert.read import read_model
from edgeinfer.custom import find
from tests.builders.custom_op import custom_onnx
from tests.requirements import require_c_compiler, require_module

onnx = require_module("onnx")
SHAPE = (2, 3)
FLOAT: dict[str, Any] = {"inputs": ["float32[:, :]"], "output": "float32[:, :]"}


@pytest.fixture(autouse=True)
def nothing_stays_registered() -> Iterator[None]:
    yield
    for name in ("Op", "acme:Op", "Odd", "PeakFilter"):
        if find(name) is not None:
            edgeinfer.unregister_custom_op(name)


def operators_of(data: bytes) -> list[str]:
    return [node.operator for node in read_model(data).programs[0].nodes]


def reason(source: bytes) -> str:
    (problem,) = check(source)
    return f"{problem.reason}; {problem.advice}"


def test_an_operator_that_is_not_registered_is_a_problem_that_says_how() -> None:
    said = reason(custom_onnx("Op", [SHAPE], SHAPE))
    assert "domain 'acme'" in said and "edgeinfer.custom_op" in said and "--custom-ops" in said


def test_a_name_with_its_domain_goes_before_the_name_alone() -> None:
    edgeinfer.register_custom_op("Op", **{**FLOAT, "output": "float32[:]"}, shape="any")
    assert "has shape [2, 3], must be float32[:]" in reason(custom_onnx("Op", [SHAPE], SHAPE))
    edgeinfer.register_custom_op("acme:Op", **FLOAT)
    assert check(custom_onnx("Op", [SHAPE], SHAPE)) == []
    assert len(check(custom_onnx("Op", [SHAPE], SHAPE, domain="other"))) == 1


def test_operators_that_edgeinfer_has_cannot_be_replaced() -> None:
    edgeinfer.register_custom_op("Relu", **FLOAT)
    try:
        node = onnx.helper.make_node("Relu", ["x"], ["y"])
        info = onnx.helper.make_tensor_value_info
        kind = onnx.TensorProto.FLOAT
        graph = onnx.helper.make_graph(
            [node], "g", [info("x", kind, SHAPE)], [info("y", kind, SHAPE)]
        )
        opsets = [onnx.helper.make_opsetid("", 17)]
        model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9)
        assert operators_of(convert(model.SerializeToString()).data) == ["unary_f32"]
    finally:
        edgeinfer.unregister_custom_op("Relu")


@pytest.mark.parametrize(
    ("declared", "attributes", "message"),
    [
        ({}, {"alpha": 1.0}, "attribute 'alpha' is not declared (declared: none)"),
        ({"attributes": {"alpha": float}}, {}, "attribute 'alpha' is missing, and has no default"),
        ({"attributes": {"alpha": 1}}, {"alpha": 1.5}, "'alpha' is 1.5, must be an integer"),
        ({"attributes": {"alpha": [1]}}, {"alpha": 1}, "'alpha' is 1, must be a list of integers"),
        ({"attributes": {"alpha": "a"}}, {"alpha": 1}, "'alpha' is 1, must be text"),
        ({"attributes": {"alpha": 1.0}}, {"alpha": "a"}, "'alpha' is 'a', must be a number"),
        ({"inputs": ["float32[:, :]"] * 2}, {}, "it has 1 inputs, must have 2"),
        ({"inputs": ["float32[:]"], "output": "float32[:]"}, {}, "must be float32[:]"),
        ({"shape": lambda s, a: (2, 4)}, {}, "output has shape [2, 3], must have [2, 4]"),
        ({"shape": lambda s, a: 1 / 0}, {}, "shape() failed: ZeroDivisionError"),
        ({"scratch": lambda s, a: 1 << 40}, {}, "scratch() gave 1099511627776"),
        ({"inputs": ["int8[:, :]"]}, {}, "is float32; the operator is declared on int8[:, :]; "),
        ({"output": "int32[:, :]"}, {}, "the operator is declared on int32[:, :]"),
    ],
)  # fmt: skip
def test_a_node_that_does_not_fit_is_a_problem(
    declared: dict[str, Any], attributes: dict[str, Any], message: str
) -> None:
    edgeinfer.register_custom_op("Op", **{**FLOAT, **declared})
    output = None if "int32" in message else SHAPE
    assert message in reason(custom_onnx("Op", [SHAPE], output, **attributes))


@pytest.mark.parametrize(("declared", "given"), [(float, 10**400), ([0.5], [1.0, -(10**400)])])
def test_numbers_that_no_float_holds_are_a_problem(declared: Any, given: Any) -> None:
    edgeinfer.register_custom_op("Op", **FLOAT, attributes={"alpha": declared})
    operator = find("Op")
    assert operator is not None
    with pytest.raises(ValueError, match="attribute 'alpha': int too large"):
        operator.fill({"alpha": given})


def test_the_shape_function_tells_what_the_model_does_not() -> None:
    seen: dict[str, Any] = {}

    def shape(shapes: Any, attributes: dict[str, Any]) -> tuple[int, ...]:
        seen.update(shapes=shapes, attributes=attributes)
        return (shapes[0][0], attributes["count"])

    edgeinfer.register_custom_op("Op", **FLOAT, attributes={"count": int}, shape=shape)
    model = convert(custom_onnx("Op", [SHAPE], None, count=7))
    assert model.programs[0].outputs[0].shape == (2, 7)
    assert seen == {"shapes": [(2, 3)], "attributes": {"count": 7}}


def test_any_shape_is_the_models() -> None:
    edgeinfer.register_custom_op("Op", **FLOAT, shape="any")
    assert convert(custom_onnx("Op", [SHAPE], (5, 1))).programs[0].outputs[0].shape == (5, 1)
    assert "does not say the shape" in reason(custom_onnx("Op", [SHAPE], None))


def test_several_outputs_are_a_problem() -> None:
    edgeinfer.register_custom_op("Op", **FLOAT)
    model = onnx.load_model_from_string(custom_onnx("Op", [SHAPE], SHAPE))
    model.graph.node[0].output.append("z")
    model.graph.output.append(
        onnx.helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, SHAPE)
    )
    assert any("more than one output" in p.reason for p in check(model.SerializeToString()))


# --- quantised models


def run_identity(call: Any) -> int:
    """Copies bytes: input and output are of one type."""
    from edgeinfer._ffi import ffi

    x, y = call.inputs[0], call.outputs[0]
    item = {1: 1, 6: 4}[x.dtype]
    count = item * int(np.prod([x.shape[axis] for axis in range(x.rank)]))
    ffi.memmove(y.data, x.data, count)
    return 0


@pytest.fixture
def identity() -> Any:
    from edgeinfer._ffi import ffi

    return ffi.callback("ei_status(ei_custom_call const *)", run_identity)


def quantised_graph() -> Graph:
    q, r = Quantization.per_tensor(0.5, 3), Quantization.per_tensor(0.25, -1)
    x, y = Tensor("x", SHAPE, "int8", q), Tensor("y", SHAPE, "int8", r)
    node = Node("custom", [x], [y], {"name": "Op", "attributes": {}}, name="node")
    return Graph("g", [x], [y], [node], "onnx")


def test_an_operator_on_float32_stands_between_conversions(identity: Any) -> None:
    edgeinfer.register_custom_op("Op", identity, **FLOAT)
    data = convert(quantised_graph()).data
    assert operators_of(data) == ["dequantize", "custom", "quantize"]
    x = np.array([[-128, -1, 0], [1, 30, 60]], np.int8)
    real = np.float32(0.5) * (x.astype(np.float32) - 3)
    with edgeinfer.load(data) as model:
        expected = np.clip(np.rint(real / np.float32(0.25)) - 1, -128, 127)
        np.testing.assert_array_equal(model.run(x), expected)


def test_an_operator_on_int8_gets_the_integers_and_what_they_stand_for(identity: Any) -> None:
    from edgeinfer._ffi import ffi

    seen: list[tuple[int, float, int]] = []

    def look(call: Any) -> int:
        tensors = call.inputs[0], call.outputs[0]
        seen.extend((t.dtype, t.scale, t.zero_point) for t in tensors)
        return 0

    looking = ffi.callback("ei_status(ei_custom_call const *)", look)
    kind = "int8[:, :]"
    edgeinfer.register_custom_op("Op", identity, inputs=[kind], output=kind, check=looking)
    data = convert(quantised_graph()).data
    assert operators_of(data) == ["custom"]
    x = np.arange(-3, 3, dtype=np.int8).reshape(SHAPE)
    with edgeinfer.load(data) as model:
        np.testing.assert_array_equal(model.run(x), x)
    assert seen == [(1, 0.5, 3), (1, 0.25, -1)]


def test_in_a_qdq_model_an_operator_on_int8_reads_and_makes_integers(identity: Any) -> None:
    helper, kind = onnx.helper, onnx.TensorProto
    constants = [onnx.numpy_helper.from_array(np.float32(0.5), "s"),
                 onnx.numpy_helper.from_array(np.int8(3), "z")]  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("Op", ["d"], ["e"], domain="acme"),
        helper.make_node("QuantizeLinear", ["e", "s", "z"], ["r"]),
        helper.make_node("DequantizeLinear", ["r", "s", "z"], ["y"]),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [info("x", kind.FLOAT, SHAPE)], [info("y", kind.FLOAT, SHAPE)], constants
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("acme", 1)]
    source = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    x = np.array([[1.2, -3.4, 0.0], [9.0, 100.0, -100.0]], np.float32)
    expected = (np.clip(np.rint(x / 0.5) + 3, -128, 127) - 3) * 0.5
    for types, operators in (
        ("int8[:, :]", ["quantize", "custom", "dequantize"]),
        ("float32[:, :]", ["quantize", "dequantize", "custom", "quantize", "dequantize"]),
    ):
        edgeinfer.register_custom_op("Op", identity, inputs=[types], output=types)
        data = convert(source).data
        assert operators_of(data) == operators
        with edgeinfer.load(data) as model:
            np.testing.assert_array_equal(model.run(x), expected)
        edgeinfer.unregister_custom_op("Op")


# --- TFLite


def tflite_custom(code: str, options: bytes, declared: tuple[int, ...] = SHAPE) -> bytes:
    require_module("ai_edge_litert")
    from ai_edge_litert import schema_py_generated as schema

    from tests.builders.spec import Spec
    from tests.builders.tflite_edit import edited
    from tests.builders.tflite_model import ModelBuilder

    builder = ModelBuilder()
    tensors = [
        builder.tensor(Spec(shape, np.float32), n) for shape, n in ((SHAPE, "x"), (declared, "y"))
    ]
    builder.operator("CUSTOM", [tensors[0]], [tensors[1]])

    def name_it(model: Any) -> None:
        model.operatorCodes[0].customCode = code
        model.subgraphs[0].operators[0].customOptions = np.frombuffer(options, np.uint8)

    assert schema is not None
    data: bytes = edited(builder.build([tensors[0]], [tensors[1]]), name_it)
    return data


def flexbuffer(**fields: Any) -> bytes:
    from flatbuffers import flexbuffers

    return bytes(flexbuffers.Dumps(fields))


def test_options_of_tflite_become_attributes() -> None:
    fields = {"alpha": 0.5, "count": -7, "flag": True, "mode": "linear", "axes": [1, 2], "t": [0.5]}
    assert attributes_of(flexbuffer(**fields)) == {**fields, "flag": 1}
    assert attributes_of(b"") == {}
    assert attributes_of(b"\x01\x02") == {"custom_options": [1, 2]}
    with pytest.raises(ValueError, match="'m' is neither a number, text nor a list"):
        attributes_of(flexbuffer(m={"a": 1}))
    with pytest.raises(ValueError, match="'m' has an element that is not a number"):
        attributes_of(flexbuffer(m=["a", 1]))


def test_damaged_options_are_bytes_or_an_error_of_values() -> None:
    good = flexbuffer(alpha=0.5, axes=[1, 2, 3], mode="linear")
    rng = np.random.default_rng(0)
    for _ in range(3000):
        bad = np.frombuffer(good, np.uint8).copy()
        bad[rng.integers(bad.size)] = rng.integers(256)
        try:
            found = attributes_of(bad.tobytes()[: rng.integers(1, bad.size + 1)])
        except ValueError:
            continue
        assert isinstance(found, dict)


def test_a_custom_operator_of_tflite(identity: Any) -> None:
    source = tflite_custom("Odd", flexbuffer(alpha=0.5))
    assert "custom operator 'Odd'" in reason(source) and "edgeinfer.custom_op" in reason(source)
    edgeinfer.register_custom_op("Odd", identity, **FLOAT, attributes={"alpha": 1.0})
    x = np.arange(6, dtype=np.float32).reshape(SHAPE)
    with edgeinfer.load(convert(source).data) as model:
        np.testing.assert_array_equal(model.run(x), x)
    assert "attribute 'beta' is not declared" in reason(tflite_custom("Odd", flexbuffer(beta=1)))


def test_the_shape_that_a_tflite_file_says_is_taken_where_nothing_else_tells() -> None:
    edgeinfer.register_custom_op("Odd", **FLOAT, shape="any")
    assert convert(tflite_custom("Odd", b"", (4, 1))).programs[0].outputs[0].shape == (4, 1)
    edgeinfer.unregister_custom_op("Odd")
    edgeinfer.register_custom_op("Odd", **FLOAT)
    assert convert(tflite_custom("Odd", b"", (4, 1))).programs[0].outputs[0].shape == SHAPE


# --- the example, and the command line


@pytest.fixture(scope="module")
def heatmap(repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import importlib.util

    path = repo_root / "examples" / "custom_op" / "make_model.py"
    spec = importlib.util.spec_from_file_location("make_heatmap", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    target: Path = tmp_path_factory.mktemp("heatmap") / "heatmap.onnx"
    onnx.save(module.make_model(), target)
    return target


def peaks_of(heat: np.ndarray, threshold: float, radius: int) -> np.ndarray:
    """The example's operator, another way: maxima of shifted copies."""
    size = heat.shape[-1]
    padded = np.pad(heat[0, 0], radius, constant_values=-np.inf)
    shifts = range(2 * radius + 1)
    largest = np.max([padded[i : i + size, j : j + size] for i in shifts for j in shifts], axis=0)
    kept = (heat[0, 0] >= threshold) & (heat[0, 0] == largest)
    return np.where(kept, heat[0, 0], 0)[None, None].astype(np.float32)


def picture() -> np.ndarray:
    rng = np.random.default_rng(1)
    found = np.zeros((1, 1, 32, 32), np.float32)
    for row, column in rng.integers(3, 29, (6, 2)):
        found[0, 0, row - 1 : row + 2, column - 1 : column + 2] += 1
    return found + rng.normal(0, 0.05, found.shape).astype(np.float32)


def test_the_example_gives_the_same_bits_in_python_and_c(
    heatmap: Path, repo_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require_module("numba")
    example = repo_root / "examples" / "custom_op"
    operators = ["--custom-ops", str(example / "peak_filter.py")]
    edge = tmp_path / "heatmap.edge"
    x = picture()
    np.save(tmp_path / "x.npy", x)
    assert main(["check", str(heatmap)]) == 3
    assert main(["check", str(heatmap), *operators]) == 0
    assert main(["convert", str(heatmap), "-o", str(edge), *operators]) == 0
    assert (
        main(["run", str(edge), "-i", str(tmp_path / "x.npy"), "-o", str(tmp_path / "y.npy")]) == 0
    )
    found = np.load(tmp_path / "y.npy")

    heat_model = onnx.load(heatmap)
    del heat_model.graph.node[-1]
    heat_model.graph.output[0].name = "heat"
    with edgeinfer.load(convert(heat_model.SerializeToString()).data) as model:
        heat = model.run(x)
    np.testing.assert_array_equal(found, peaks_of(heat, np.float32(0.4), 2))
    assert 1 <= np.count_nonzero(found) <= 6

    from edgeinfer._ffi import library_path

    program = tmp_path / "peak_filter"
    x.tofile(tmp_path / "x.bin")
    command = [require_c_compiler(), "-std=c11", "-O2", "-Wall", "-Werror"]
    command += [f"-I{repo_root / 'csrc' / 'include'}", str(example / "peak_filter.c")]
    command += ["-o", str(program), str(library_path()), f"-Wl,-rpath,{library_path().parent}"]
    subprocess.run(command, check=True)
    subprocess.run([program, edge, tmp_path / "x.bin", tmp_path / "y.bin"], check=True)
    assert (tmp_path / "y.bin").read_bytes() == found.tobytes()
    capsys.readouterr()

    edgeinfer.unregister_custom_op("PeakFilter")
    assert main(["run", str(edge), "-i", str(tmp_path / "x.npy")]) == 1
    assert "no custom operator 'PeakFilter' is registered" in capsys.readouterr().err


def test_converting_with_a_declaration_says_that_it_does_not_run_here(
    heatmap: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    declaration = tmp_path / "declared.py"
    declaration.write_text(
        "import edgeinfer\n"
        "kind = 'float32[:, :, :, :]'\n"
        "edgeinfer.register_custom_op('PeakFilter', inputs=[kind], output=kind,\n"
        "    attributes={'threshold': 0.5, 'radius': 1})\n"
    )
    edge = tmp_path / "heatmap.edge"
    command = ["convert", str(heatmap), "-o", str(edge), "--custom-ops", str(declaration)]
    assert main(command) == 0
    assert "runs only where its custom operators are registered" in capsys.readouterr().out
    assert operators_of(edge.read_bytes())[-1] == "custom"


def test_convert_loads_a_file_of_operators(heatmap: Path, tmp_path: Path) -> None:
    declaration = tmp_path / "declared.py"
    declaration.write_text(
        "import edgeinfer\n"
        "kind = 'float32[...]'\n"
        "edgeinfer.register_custom_op('PeakFilter', inputs=[kind], output=kind,\n"
        "    attributes={'threshold': 0.5, 'radius': 1})\n"
    )
    assert check(heatmap, custom_ops=declaration) == []
    assert convert(heatmap, custom_ops=[declaration]).data
