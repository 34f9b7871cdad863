"""batch_matmul of two activations. One with constant weights is a fully_connected by now."""

from __future__ import annotations

from collections.abc import Callable

from edgeinfer.convert.graph import Node, Tensor
from edgeinfer.convert.lower.activations import integer_range
from edgeinfer.convert.lower.lowering import (
    ACTIVATIONS,
    Lowering,
    clamp_params,
    finite,
    require,
    require_int32,
    scale_of,
    zero_point_of,
)
from edgeinfer.convert.lower.movement import indexed
from edgeinfer.convert.lower.multipliers import product_multiplier
from edgeinfer.convert.program import Value


def lower_batch_matmul(node: Node, lowering: Lowering) -> None:
    """One batch_matmul; transpose_a becomes a transpose in front."""
    a, b, y = node.input(0), node.input(1), node.output
    require(y, "output", *ACTIVATIONS)
    require(a, "operand", y.dtype)
    require(b, "operand", y.dtype)
    multiplier = product_multiplier(scale_of(a), scale_of(b), scale_of(y))
    finite(multiplier, "the output multiplier")
    transpose_a = bool(node.attrs.get("transpose_a"))
    inner = a.shape[-2] if transpose_a else a.shape[-1]
    if y.dtype == "int8":
        largest = inner * _reach(a) * _reach(b)
        require_int32(-largest, largest, "the sum over the inner axis")
    rank = len(y.shape)
    left = lowering.reshaped(lowering.value(a), (1,) * (rank - len(a.shape)) + a.shape, node)
    right = lowering.reshaped(lowering.value(b), (1,) * (rank - len(b.shape)) + b.shape, node)
    if transpose_a:
        left = swap_last(left, node, lowering)
    lowering.emit(
        node,
        "batch_matmul",
        [left, right],
        lowering.value(y),
        {
            "transpose_b": int(bool(node.attrs.get("transpose_b"))),
            "a_zero_point": zero_point_of(a),
            "b_zero_point": zero_point_of(b),
            "multiplier": float(multiplier),
            **clamp_params(node.activation, y, lowering.source_format),
        },
    )


def _reach(tensor: Tensor) -> int:
    """The largest |q - zero_point|."""
    low, high = integer_range(tensor.dtype)
    return max(high - zero_point_of(tensor), zero_point_of(tensor) - low)


def swap_last(value: Value, node: Node, lowering: Lowering) -> Value:
    """The value with its last two axes exchanged."""
    rank = len(value.shape)
    perm = (*range(rank - 2), rank - 1, rank - 2)
    shape = tuple(value.shape[i] for i in perm)
    result = Value(f"{value.name}/transposed", shape, value.dtype, value.scale, value.zero_point)
    lowering.emit(node, "transpose", [value], result, indexed("perm", perm, None))
    return result


HANDLERS: dict[str, Callable[[Node, Lowering], None]] = {"batch_matmul": lower_batch_matmul}
