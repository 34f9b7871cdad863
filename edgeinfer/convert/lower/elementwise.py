"""add, sub, mul, maximum, minimum on two tensors."""

from __future__ import annotations

from collections.abc import Callable

from edgeinfer.convert.graph import Node, Tensor
from edgeinfer.convert.lower.lowering import (
    ACTIVATIONS,
    Lowering,
    Refused,
    clamp_params,
    finite,
    require,
    require_same_type,
    scale_of,
    zero_point_of,
)
from edgeinfer.convert.lower.multipliers import (
    ScaleRatioError,
    add_parameters,
    product_multiplier,
    split_int64,
)
from edgeinfer.convert.program import Value


def lower_add(node: Node, lowering: Lowering) -> None:
    """add and sub: two integer multipliers, one shift."""
    a, b, y = node.input(0), node.input(1), node.output
    _require(a, b, y)
    try:
        parameters = add_parameters(
            scale_of(a),
            zero_point_of(a),
            scale_of(b),
            zero_point_of(b),
            scale_of(y),
            subtract=node.op == "sub",
        )
    except ScaleRatioError as error:
        raise Refused(str(error), "check the quantisation of this node's output") from error
    low, high = split_int64(parameters.bias)
    lowering.emit(
        node,
        "add",
        operands(node, lowering),
        lowering.value(y),
        {
            "a_multiplier": parameters.a_multiplier,
            "b_multiplier": parameters.b_multiplier,
            "bias_low": low,
            "bias_high": high,
            "shift": parameters.shift,
            **clamp_params(node.activation, y, lowering.source_format),
        },
    )


def lower_mul(node: Node, lowering: Lowering) -> None:
    """mul: one float32 multiplier."""
    a, b, y = node.input(0), node.input(1), node.output
    _require(a, b, y)
    multiplier = product_multiplier(scale_of(a), scale_of(b), scale_of(y))
    finite(multiplier, "the output multiplier")
    lowering.emit(
        node,
        "mul",
        operands(node, lowering),
        lowering.value(y),
        {
            "a_zero_point": zero_point_of(a),
            "b_zero_point": zero_point_of(b),
            "multiplier": float(multiplier),
            **clamp_params(node.activation, y, lowering.source_format),
        },
    )


def lower_extreme(node: Node, lowering: Lowering) -> None:
    """maximum and minimum compare stored integers, which must mean the same numbers."""
    a, b, y = node.input(0), node.input(1), node.output
    for role, tensor in (("operand", a), ("operand", b), ("output", y)):
        require(tensor, role, "int8", "uint8", "int16", "int32")
    require_same_type(node, a, b, y)
    if node.activation is not None:
        raise Refused(f"{node.op} with a fused activation is not available")
    lowering.emit(node, node.op, operands(node, lowering), lowering.value(y), {"reserved": 0})


def _require(a: Tensor, b: Tensor, y: Tensor) -> None:
    require(y, "output", *ACTIVATIONS)
    require(a, "operand", y.dtype)
    require(b, "operand", y.dtype)


def operands(node: Node, lowering: Lowering) -> list[Value | None]:
    """Both operands at the rank of the output: rows of tensors of one rank correspond."""
    rank = len(node.output.shape)
    return [
        lowering.reshaped(
            lowering.value(tensor), (1,) * (rank - len(tensor.shape)) + tensor.shape, node
        )
        for tensor in (node.input(0), node.input(1))
    ]


HANDLERS: dict[str, Callable[[Node, Lowering], None]] = {
    "add": lower_add,
    "sub": lower_add,
    "mul": lower_mul,
    "maximum": lower_extreme,
    "minimum": lower_extreme,
}
