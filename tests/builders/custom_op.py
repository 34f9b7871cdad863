"""Operations and models with a custom operator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from edgeinfer.convert.lower.custom import encode_blob
from edgeinfer.convert.plan import plan_program
from edgeinfer.convert.program import Operation, Program, Value
from edgeinfer.convert.write import write_model
from edgeinfer.custom import CustomOp, find, register_custom_op, unregister_custom_op
from edgeinfer.custom.operands import declare_attributes, parse_type


def scale_operator(attributes: dict[str, Any] | None = None) -> CustomOp:
    """What tools/scale_op.h computes, declared."""
    declared = declare_attributes(
        {"scale": 1.5, "offsets": [1, -2], "mode": "linear"} if attributes is None else attributes
    )
    kind = parse_type("float32[...]")
    return CustomOp("Scale", (kind,), kind, declared, None, None, None)


def scale_operation(shape: tuple[int, ...] = (3, 5)) -> Operation:
    """An operation that the C code of tools/scale_op.h runs."""
    operator = scale_operator()
    blob = encode_blob(operator, operator.fill({}))
    x, y = Value("x", shape, "float32"), Value("y", shape, "float32")
    constant = Value("blob", blob.shape, "uint8", data=blob)
    return Operation("custom", [constant, x], [y], {"scratch_bytes": x.nbytes}, "node")


def file_of(operation: Operation, scratch_bytes: int | None = None) -> bytes:
    """A file of one custom operation."""
    inputs = [value for value in operation.inputs if value is not None and value.data is None]
    needed = int(operation.params["scratch_bytes"]) if scratch_bytes is None else scratch_bytes
    program = Program("main", inputs, operation.outputs, [operation], needed)
    return write_model([(program, plan_program(program))], {})


@contextmanager
def registered(name: str, run: Any, **declared: Any) -> Iterator[CustomOp]:
    """An operator of the process for as long as the block runs."""
    register_custom_op(name, run, **declared)
    try:
        found = find(name)
        assert found is not None
        yield found
    finally:
        unregister_custom_op(name)


def custom_onnx(
    op_type: str,
    shapes: Sequence[Sequence[int]],
    output: Sequence[int] | None,
    domain: str = "acme",
    **attributes: Any,
) -> bytes:
    """An ONNX model of one node on float32; `output` None leaves its two dimensions open."""
    from onnx import TensorProto, helper

    inputs = [
        helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, list(shape))
        for i, shape in enumerate(shapes)
    ]
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, list(output or ("a", "b")))
    names = [f"x{i}" for i in range(len(shapes))]
    node = helper.make_node(op_type, names, ["y"], name="node", domain=domain, **attributes)
    graph = helper.make_graph([node], "custom", inputs, [made])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(domain, 1)]
    model: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    return model
