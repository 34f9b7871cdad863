"""Nodes of operators that the process has registered: what no handler reads goes by its name."""

from __future__ import annotations

from edgeinfer.custom import CustomOp, find
from edgeinfer.custom.operands import TensorType

from .model_file import DEFAULT, SourceNode, ValueType
from .operation import Operation
from .values import Unsupported, element_name

_QUANTISED = ("int8", "uint8", "int16")


def find_custom(node: SourceNode) -> CustomOp | None:
    """The registered operator of a node: as "domain:name", else by its name alone."""
    qualified = None if node.domain == DEFAULT else find(f"{node.domain}:{node.op}")
    return qualified or find(node.op)


def read_custom(op: Operation, operator: CustomOp, declared: ValueType | None) -> None:
    """Emit a custom node.

    Parameters
    ----------
    declared : type of the output as the file has it, where it does.
    """
    if any(op.has_output(i) for i in range(1, len(op.node.outputs))):
        raise Unsupported(
            "it has more than one output, which custom operators cannot have",
            "let one output hold all results, and take it apart with Slice or Split",
        )
    try:
        attributes = operator.fill(op.node.attrs)
        shapes = [op.shape(i) for i in range(op.input_count)]
        shape = operator.output_shape(shapes, attributes, declared.shape if declared else None)
    except ValueError as error:
        raise Unsupported(str(error)) from error
    inputs = [
        op.operand(i) if op.value(i).elements == "FLOAT" else op.plain(i)
        for i in range(op.input_count)
    ]
    elements = _elements(op, operator.output, declared)
    op.compute(
        "custom", inputs, shape, elements=elements, name=operator.name, attributes=attributes
    )


def _elements(op: Operation, kind: TensorType, declared: ValueType | None) -> str:
    """Element type of the output, in the file's terms: what will be quantised is FLOAT there."""
    made, said = element_name(kind.dtype), op.declared_elements(declared)
    if kind.dtype in _QUANTISED and said != made:
        made = "FLOAT"
    if said and said != made:
        raise Unsupported(f"its output is {said} in the model; the operator is declared on {kind}")
    return made
