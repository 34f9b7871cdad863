"""Programs read back from files: every tensor is there and has the bytes that it should."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import edgeinfer
from edgeinfer.convert import convert
from edgeinfer.convert.compare.observed_model import ObservedModel, observe_model
from edgeinfer.convert.compare.unplanned_program import unplanned
from edgeinfer.convert.plan import plan_program
from edgeinfer.convert.program import Program, Value
from edgeinfer.convert.read import read_model
from edgeinfer.convert.write import write_model
from edgeinfer.errors import ModelFileError
from tests.convert.random_programs import (
    compute,
    concat,
    copy,
    lut8,
    programs,
    random_inputs,
    slice_,
)


def file_of(program: Program) -> bytes:
    return write_model([(program, plan_program(program))], {})


def every_value(program: Program, inputs: list[np.ndarray]) -> dict[str, np.ndarray]:
    """All values by name, from NumPy."""
    known = dict(zip(program.inputs, inputs, strict=True))
    for operation in program.operations:
        operands = [v.data if v.data is not None else known[v] for v in operation.inputs if v]
        known[operation.output] = compute(operation, operands)
    return {value.name: array for value, array in known.items()}


def all_tensors(model: ObservedModel, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return model.runner([tensor.name for tensor in model.tensors]).run(inputs)


@given(programs(), st.integers(0, 99))
def test_every_tensor_of_a_file_has_its_value(program: Program, seed: int) -> None:
    inputs = random_inputs(program, seed)
    expected = every_value(program, inputs)
    model = observe_model(file_of(program))
    given_names = {v.name: x for v, x in zip(program.inputs, inputs, strict=True)}
    found = all_tensors(model, given_names)
    for value in program.outputs:
        np.testing.assert_array_equal(found[value.name], expected[value.name])
    for name, array in found.items():
        if "[" not in name:  # a part of a concat, which has no name of its own
            np.testing.assert_array_equal(array, expected[name], name)


def test_moves_that_the_plan_removed_are_put_back() -> None:
    x = Value("x", (1, 12), "int8")
    a, b = Value("a", (1, 12), "int8"), Value("b", (1, 12), "int8")
    both, part = Value("both", (1, 24), "int8"), Value("part", (1, 6), "int8")
    shaped, y = Value("shaped", (2, 3), "int8"), Value("y", (2, 3), "int8")
    operations = [
        lut8(x, a, 1),
        lut8(x, b, 2),
        concat([a, b], both, 1),
        slice_(both, part, [0, 9]),
        copy(part, shaped),
        lut8(shaped, y, 3),
    ]
    program = Program("main", [x], [y], operations)
    data = file_of(program)
    file = read_model(data).programs[0]
    assert [node.operator for node in file.nodes] == ["lut8"] * 3
    inputs = random_inputs(program)
    found = all_tensors(observe_model(data), {"x": inputs[0]})
    expected = every_value(program, inputs)
    assert list(found) == ["a", "b", "shaped", "y"]
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name])


def test_bytes_that_nothing_wrote_are_refused() -> None:
    x, a, y = (Value(name, (1, 12), "int8") for name in "xay")
    program = Program("main", [x], [y], [lut8(x, a, 1), lut8(a, y, 2)])
    file = read_model(file_of(program)).programs[0]
    object.__setattr__(file, "nodes", file.nodes[1:])
    with pytest.raises(ModelFileError, match="'a' is read before all of its bytes are written"):
        unplanned(file)


@pytest.mark.parametrize("name", ["kws_int8", "resnet8_fp32", "mobilenet_v2_int8"])
def test_real_models_give_the_outputs_of_their_files(name: str, models_dir) -> None:
    data = convert(models_dir / f"{name}.tflite").data
    model = observe_model(data)
    if name == "mobilenet_v2_int8":  # some of its tensors are never whole in the file's plan
        assert any(t.ring_rows < t.rows for t in read_model(data).programs[0].tensors)
    rng = np.random.default_rng(0)
    feed = {
        tensor.name: (rng.integers(-128, 128, tensor.shape)).astype(tensor.dtype)
        for tensor in model.inputs
    }
    found = all_tensors(model, feed)
    with edgeinfer.load(data) as loaded:
        assert len(found) >= len(loaded.metadata["nodes"])
        np.testing.assert_array_equal(found[loaded.outputs[0].name], loaded.run(feed))
