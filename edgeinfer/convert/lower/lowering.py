"""What handlers share while a graph becomes a program: values, constants, problems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Graph, Node, Problem, Tensor
from edgeinfer.convert.lower.activations import (
    Activation,
    integer_range,
    quantized_bounds,
)
from edgeinfer.convert.program import Operation, Value

MAX_RANK = 6
"""Of a tensor in the file."""


class Refused(Exception):
    """The runtime cannot run a node; the driver makes a Problem of it."""

    def __init__(self, reason: str, advice: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.advice = advice


@dataclass
class Lowering:
    """The program as far as it is written."""

    graph: Graph
    float_weights: str = "float32"  # type of stored weights of float32 products, or "float16"
    operations: list[Operation] = field(default_factory=list)
    origins: dict[Operation, Node] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    scratch_bytes: int = 0  # the most that an operation asks for
    dequantized: dict[Tensor, Tensor] = field(default_factory=dict)  # float32 of quantised ones
    _values: dict[Tensor, Value] = field(default_factory=dict)
    _zero_rows: dict[tuple[str, int], Value] = field(default_factory=dict)

    @property
    def source_format(self) -> str:
        """Which framework's rounding the program keeps."""
        return self.graph.source_format

    def value(self, tensor: Tensor) -> Value:
        """The operand that holds a tensor of the graph."""
        if tensor not in self._values:
            scale, zero_point = 0.0, 0
            if tensor.quantization is not None and tensor.quantization.is_per_tensor:
                scale = float(tensor.quantization.scale[0])
                zero_point = int(tensor.quantization.zero_point[0])
            data = None if tensor.data is None else np.ascontiguousarray(tensor.data)
            self._values[tensor] = Value(
                tensor.name, tensor.shape, tensor.dtype, scale, zero_point, data
            )
        return self._values[tensor]

    def constant(self, name: str, data: npt.NDArray[Any]) -> Value:
        """A constant operand."""
        data = np.ascontiguousarray(data)
        return Value(name, data.shape, str(data.dtype), data=data)

    def reshaped(self, value: Value, shape: tuple[int, ...], node: Node) -> Value:
        """The same bytes under another shape: a constant at once, an activation by a copy.

        The planner lets such a copy share its input's memory.
        """
        if value.shape == shape:
            return value
        result = Value(value.name, shape, value.dtype, value.scale, value.zero_point)
        if value.data is not None:
            result.data = value.data.reshape(shape)
        else:
            self.emit(node, "copy", [value], result, {"reserved": 0})
        return result

    def emit(
        self,
        node: Node,
        operator: str,
        inputs: Sequence[Value | None],
        output: Value,
        params: dict[str, int | float],
    ) -> None:
        """Append an operation that does (part of) the work of `node`."""
        operation = Operation(operator, list(inputs), [output], params, node.name)
        self.operations.append(operation)
        self.origins[operation] = node

    def zero_row(self, dtype: str, zero_point: int, elements: int) -> Value:
        """A constant of at least `elements` zero points, one for every reader of its kind."""
        key = (dtype, zero_point)
        row = self._zero_rows.setdefault(key, Value(f"zeros_{dtype}_{zero_point}", (0,), dtype))
        if row.shape[0] < elements:
            row.shape = (elements,)
            row.data = np.full(elements, zero_point, dtype)
        return row


def scale_of(tensor: Tensor) -> np.float32:
    """The scale of a per-tensor quantised activation."""
    return _per_tensor(tensor)[0]


def zero_point_of(tensor: Tensor) -> int:
    """The zero point of a per-tensor quantised activation."""
    return _per_tensor(tensor)[1]


def _per_tensor(tensor: Tensor) -> tuple[np.float32, int]:
    quantization = tensor.quantization
    if quantization is None:
        raise not_quantized(tensor)
    if not quantization.is_per_tensor:
        raise Refused(
            f"activation {tensor.name!r} is quantised per channel",
            "activations need one scale per tensor",
        )
    zero_point = int(quantization.zero_point[0])
    low, high = integer_range(tensor.dtype)
    if not low <= zero_point <= high:
        raise Refused(f"the zero point {zero_point} of {tensor.name!r} is outside {tensor.dtype}")
    return np.float32(quantization.scale[0]), zero_point


def not_quantized(tensor: Tensor) -> Refused:
    """The refusal of a float32 or plain integer tensor where a quantised one must be."""
    if tensor.dtype == "float32":
        return Refused(
            f"{tensor.name!r} is float32 beside quantised operands",
            "quantise it too",
        )
    return Refused(
        f"{tensor.name!r} is {tensor.dtype} without a quantisation",
        "arithmetic on plain integers is not available in this version",
    )


def require(tensor: Tensor, role: str, *dtypes: str) -> None:
    """Refuse a quantised operand of another dtype than the runtime's operator takes."""
    if tensor.dtype == "float32" and "float32" not in dtypes:
        raise not_quantized(tensor)
    if tensor.dtype not in dtypes:
        raise Refused(f"{role} {tensor.name!r} is {tensor.dtype}, must be {' or '.join(dtypes)}")
    if tensor.dtype == "int16" and zero_point_of(tensor) != 0:
        raise Refused(
            f"{role} {tensor.name!r} is int16 with zero point {zero_point_of(tensor)}",
            "quantise int16 activations symmetrically",
        )


def require_same_type(node: Node, *tensors: Tensor) -> None:
    """Refuse operands whose stored integers do not mean the same numbers."""
    first = tensors[0]
    for other in tensors[1:]:
        quantized = first.quantization is not None
        same = (
            first.quantization.same_as(other.quantization)
            if first.quantization is not None
            else other.quantization is None
        )
        if other.dtype != first.dtype or not same:
            raise Refused(
                f"{first.name!r} and {other.name!r} are stored differently "
                f"({describe(first)}, {describe(other)})",
                f"{node.op} needs one {'quantisation' if quantized else 'dtype'} on both",
            )


def describe(tensor: Tensor) -> str:
    """Dtype and quantisation, for messages."""
    quantization = tensor.quantization
    if quantization is None:
        return tensor.dtype
    if not quantization.is_per_tensor:
        return f"{tensor.dtype}, {quantization.scale.size} scales"
    scale, zero_point = quantization.scale[0], quantization.zero_point[0]
    return f"{tensor.dtype}, scale {scale:.6g}, zero point {zero_point}"


def clamp_params(activation: Activation, y: Tensor, source_format: str) -> dict[str, int | float]:
    """out_zero_point, clamp_min and clamp_max of an operator that stores `y`."""
    zero_point = zero_point_of(y)
    low, high = quantized_bounds(activation, y, source_format)
    return {"out_zero_point": zero_point, "clamp_min": low, "clamp_max": high}


def finite(value: float | np.floating[Any] | npt.NDArray[np.float32], what: str) -> None:
    """Refuse a multiplier that scales far apart have made infinite."""
    if not np.all(np.isfinite(value)):
        raise Refused(f"{what} is not finite: the scales are too far apart")


def require_int32(low: int, high: int, what: str) -> None:
    """Refuse sums that can leave int32, in which kernels accumulate int8 products."""
    if low < -(2**31) or high >= 2**31:
        raise Refused(
            f"{what} can reach {low if -low > high else high}, which int32 cannot hold",
            "fewer or smaller weights per output are needed",
        )


ACTIVATIONS = ("int8", "int16")
"""Dtypes of activations that arithmetic operators take."""
