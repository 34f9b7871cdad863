"""Custom operators: the name and attributes as bytes, operands as the operator declares them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Node, Tensor
from edgeinfer.convert.lower import float_nodes, unary
from edgeinfer.convert.lower.lowering import Lowering, Refused, describe
from edgeinfer.convert.program import Value
from edgeinfer.custom import CustomOp, find
from edgeinfer.custom.operands import TensorType
from edgeinfer.custom.operands import Value as AttributeValue

_HEAD = struct.Struct("<64sII")
_RECORD = struct.Struct("<32sIIII")
_KINDS = {"int": 1, "ints": 1, "float": 2, "floats": 2, "text": 3}


def lower_custom(node: Node, lowering: Lowering) -> None:
    """One custom operation; where it is float32, between a dequantize and a quantize."""
    operator = find(node.attrs["name"])
    if operator is None:
        raise Refused(
            f"custom operator {node.attrs['name']!r} is not registered",
            "register it before the model is converted: edgeinfer.custom_op",
        )
    try:
        attributes = operator.fill(node.attrs["attributes"])
        shapes = [node.input(i).shape for i in range(len(node.inputs))]
        operator.output_shape(shapes, attributes, node.output.shape)
        scratch = operator.scratch_bytes(shapes, attributes)
    except ValueError as error:
        raise Refused(str(error)) from error
    inputs: list[Value | None] = [
        _input(node.input(i), kind, node, lowering) for i, kind in enumerate(operator.inputs)
    ]
    blob = lowering.constant(f"{node.name} ({operator.name})", encode_blob(operator, attributes))
    output, after = _output(node, operator.output)
    lowering.emit(
        node, "custom", [blob, *inputs], lowering.value(output), {"scratch_bytes": scratch}
    )
    lowering.scratch_bytes = max(lowering.scratch_bytes, scratch)
    for quantize in after:
        unary.lower_quantize(quantize, lowering)


def _input(tensor: Tensor, kind: TensorType, node: Node, lowering: Lowering) -> Value:
    if kind.dtype == "float32":
        tensor = float_nodes.dequantized_operand(tensor, node, lowering)
    _require(tensor, kind, "input")
    return lowering.value(tensor)


def _output(node: Node, kind: TensorType) -> tuple[Tensor, list[Node]]:
    """What the operator makes, and the quantize behind it."""
    tensor = node.output
    if kind.dtype == "float32" and tensor.quantization is not None:
        made, after = float_nodes.quantized_behind(tensor, node)
        return made, [after]
    _require(tensor, kind, "output")
    return tensor, []


def _require(tensor: Tensor, kind: TensorType, role: str) -> None:
    if tensor.dtype == kind.dtype:
        return
    advice = ""
    if tensor.dtype == "float32" and kind.dtype in ("int8", "uint8", "int16"):
        advice = "quantise the model, or declare the operator on float32"
    elif tensor.quantization is not None:
        advice = f"declare {tensor.dtype}, which is how the model is quantised, or float32"
    raise Refused(
        f"{role} {tensor.name!r} is {describe(tensor)}; the operator is declared on {kind}", advice
    )


def encode_blob(
    operator: CustomOp, attributes: Mapping[str, AttributeValue]
) -> npt.NDArray[np.uint8]:
    """The operator's name and a node's attributes as docs/format.md has them."""
    head = _HEAD.pack(operator.name.encode("ascii"), len(operator.attributes), 0)
    records, values = b"", b""
    begin = _HEAD.size + len(operator.attributes) * _RECORD.size
    begin += -begin % 8
    for attribute in operator.attributes:
        count, data = _encode(attribute.kind, attributes[attribute.name])
        offset = begin + len(values)
        name = attribute.name.encode("ascii")
        records += _RECORD.pack(name, _KINDS[attribute.kind], count, offset, 0)
        values += data + bytes(-len(data) % 8)
    front = head + records
    return np.frombuffer(front + bytes(begin - len(front)) + values, np.uint8)


def _encode(kind: str, value: AttributeValue) -> tuple[int, bytes]:
    if isinstance(value, str):
        text = value.encode() + b"\0"
        return len(text), text
    numbers = value if isinstance(value, list) else [value]
    return len(numbers), struct.pack(
        f"<{len(numbers)}{'q' if _KINDS[kind] == 1 else 'd'}", *numbers
    )


HANDLERS: dict[str, Callable[[Node, Lowering], None]] = {"custom": lower_custom}
