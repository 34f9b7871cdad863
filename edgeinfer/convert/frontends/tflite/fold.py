"""Evaluation of what is constant: the shape arithmetic that exporters leave in a model.

Two kinds. Operators on plain integers and floats (SHAPE, MUL of two sizes, CAST ...) are evaluated
here instead of being translated. Operators that move elements are translated first, and their nodes
evaluated: so there is one reading of STRIDED_SLICE, not two.

What all constants of a model may grow to in total is limited, since a few bytes of TILE can ask for
any amount.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Node, Tensor

from .operands import resolve_axis
from .operation import Operation, Unsupported

MAX_FOLDED_BYTES = 256 << 20

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class Folding:
    """How an operator on constants is evaluated.

    `function` gives the value of the first output. `size` tells the shape of it before it is
    computed, where it may be large.
    """

    function: Callable[[Operation], Array]
    options: str = ""
    size: Callable[[Operation], Sequence[int]] | None = None
    takes_quantised: bool = False


def folding_of(code: str, inputs: Sequence[Tensor | None]) -> Folding | None:
    """How to evaluate an operator on these inputs, or None when it has to be translated."""
    if code in _SHAPE_FOLDINGS:
        return _SHAPE_FOLDINGS[code]
    folding = _FOLDINGS.get(code)
    if folding is None:
        return None
    for tensor in inputs:
        if tensor is None or not tensor.is_constant:
            return None
        if tensor.quantization is not None and not folding.takes_quantised:
            return None
    return folding


class Folder:
    """Evaluates constants until they would take more than MAX_FOLDED_BYTES together."""

    def __init__(self) -> None:
        self._remaining = MAX_FOLDED_BYTES

    def fold_operator(self, op: Operation, folding: Folding) -> None:
        """Give the output of an operator on constants its value."""
        made = op.output()
        if folding.size is not None:
            self._spend(folding.size(op), made.dtype)
        with np.errstate(all="ignore"):
            value = folding.function(op)
        if value.dtype != np.dtype(made.dtype):
            raise Unsupported(f"its result is {value.dtype}, declared {made.dtype}")
        self._spend(value.shape, made.dtype)
        _store(made, value)

    def fold_nodes(self, nodes: Sequence[Node]) -> list[Node]:
        """Evaluate the nodes that move elements of constants; return the others."""
        kept = []
        for node in nodes:
            evaluate = _NODES.get(node.op)
            constant = all(t is not None and t.is_constant for t in node.inputs)
            if evaluate is None or not constant or node.activation is not None:
                kept.append(node)
                continue
            for tensor in node.outputs:
                self._spend(tensor.shape, tensor.dtype)
            values = evaluate(node, [node.input(i) for i in range(len(node.inputs))])
            for tensor, value in zip(node.outputs, values, strict=True):
                _store(tensor, value)
        return kept

    def _spend(self, shape: Sequence[int], dtype: str) -> None:
        self._remaining -= prod(shape) * np.dtype(dtype).itemsize
        if self._remaining < 0:
            raise Unsupported(
                f"its constants would take more than {MAX_FOLDED_BYTES >> 20} MiB",
            )


def _store(tensor: Tensor, value: Array) -> None:
    tensor.data = np.asarray(value, order="C")
    tensor.shape = tensor.data.shape


def _values(tensor: Tensor) -> Array:
    assert tensor.data is not None
    return tensor.data


# --- operators


def _shape(op: Operation) -> Array:
    return np.asarray(op.input(0).shape, op.output().dtype)


def _rank(op: Operation) -> Array:
    return np.asarray(len(op.input(0).shape), op.output().dtype)


def _arithmetic(function: Callable[[Array, Array], Array]) -> Callable[[Operation], Array]:
    def fold(op: Operation) -> Array:
        if "FusedActivationFunction" in op.options and op.activation() is not None:
            raise Unsupported("a fused activation on constants is not available")
        a, b = op.constant(0, "first operand"), op.constant(1, "second operand")
        if a.dtype != b.dtype:
            raise Unsupported(f"its operands are {a.dtype} and {b.dtype}")
        return np.asarray(function(a, b))

    return fold


def _arithmetic_size(op: Operation) -> Sequence[int]:
    a, b = op.input(0).shape, op.input(1).shape
    try:
        return np.broadcast_shapes(a, b)
    except ValueError:
        raise Unsupported(f"shapes {list(a)} and {list(b)} do not go together") from None


def _divide(a: Array, b: Array) -> Array:
    if not np.issubdtype(a.dtype, np.integer):
        return np.asarray(a / b)
    if not np.all(b):
        raise Unsupported("it divides by zero")
    quotient = np.asarray(a // b)  # rounds down; C rounds towards zero
    return np.asarray(quotient + ((a % b != 0) & ((a < 0) != (b < 0))), a.dtype)


def _floor_divide(a: Array, b: Array) -> Array:
    if np.issubdtype(a.dtype, np.integer) and not np.all(b):
        raise Unsupported("it divides by zero")
    return np.asarray(a // b)


def _floor_mod(a: Array, b: Array) -> Array:
    if np.issubdtype(a.dtype, np.integer) and not np.all(b):
        raise Unsupported("it divides by zero")
    return np.asarray(a % b)


def _reduction(function: Callable[..., Array]) -> Callable[[Operation], Array]:
    def fold(op: Operation) -> Array:
        x = op.constant(0, "input")
        axes = {resolve_axis(axis, x.ndim) for axis in op.integers(1, "axes")}
        keep = bool(op.options["KeepDims"])
        if x.size == 0 and function is not np.prod and function is not np.sum:
            raise Unsupported("it has no elements to compare")
        return np.asarray(function(x, axis=tuple(sorted(axes)), keepdims=keep), x.dtype)

    return fold


def _cast(op: Operation) -> Array:
    return op.constant(0, "input").astype(op.output().dtype)


def _fill_size(op: Operation) -> Sequence[int]:
    return _dims(op.integers(0, "shape"))


def _fill(op: Operation) -> Array:
    value = op.constant(1, "value")
    if value.size != 1:
        raise Unsupported(f"it fills with {value.size} values, not one")
    return np.full(_fill_size(op), value.reshape(-1)[0], value.dtype)


def _range_size(op: Operation) -> Sequence[int]:
    start, limit, delta = _range_operands(op)
    return [max(0, int(np.ceil((limit - start) / delta)))]


def _range_operands(op: Operation) -> tuple[float, float, float]:
    found = []
    for i, what in enumerate(("start", "limit", "delta")):
        value = op.constant(i, what)
        if value.size != 1 or not np.isfinite(float(value.reshape(-1)[0])):
            raise Unsupported(f"its {what} is not one finite number")
        found.append(float(value.reshape(-1)[0]))
    if found[2] == 0:
        raise Unsupported("its delta is zero")
    return found[0], found[1], found[2]


def _range(op: Operation) -> Array:
    dtype = op.output().dtype
    (count,) = _range_size(op)
    start, delta = (op.constant(i, "operand").reshape(-1)[0].astype(dtype) for i in (0, 2))
    return np.asarray(start + np.arange(count).astype(dtype) * delta, dtype)


def _tile_size(op: Operation) -> Sequence[int]:
    shape, multiples = op.input(0).shape, _dims(op.integers(1, "multiples"))
    if len(shape) != len(multiples):
        raise Unsupported(f"it repeats {len(shape)} axes {len(multiples)} ways")
    return [n * m for n, m in zip(shape, multiples, strict=True)]


def _tile(op: Operation) -> Array:
    return np.tile(op.constant(0, "input"), op.integers(1, "multiples"))


def _broadcast_size(op: Operation) -> Sequence[int]:
    return _dims(op.integers(1, "shape"))


def _broadcast_to(op: Operation) -> Array:
    x = op.constant(0, "input")
    try:
        return np.broadcast_to(x, _broadcast_size(op))
    except ValueError:
        raise Unsupported(
            f"shape {list(x.shape)} does not broadcast to {list(_broadcast_size(op))}"
        ) from None


def _broadcast_args(op: Operation) -> Array:
    a, b = op.integers(0, "first shape"), op.integers(1, "second shape")
    try:
        return np.asarray(np.broadcast_shapes(a, b), op.output().dtype)
    except ValueError:
        raise Unsupported(f"shapes {list(a)} and {list(b)} do not go together") from None


def _dims(values: Sequence[int]) -> Sequence[int]:
    if any(n < 0 for n in values) or len(values) > 8:
        raise Unsupported(f"its result has shape {list(values)}")
    return values


def _real(tensor: Tensor) -> Array:
    """The real numbers that a constant stands for, float32."""
    values = _values(tensor)
    q = tensor.quantization
    if q is None:
        return values.astype(np.float32)
    scale, zero_point = _along(q.scale, q.axis, values), _along(q.zero_point, q.axis, values)
    return (values.astype(np.float32) - zero_point.astype(np.float32)) * scale


def _along(per_channel: Array, axis: int, values: Array) -> Array:
    if per_channel.size == 1:
        return per_channel.reshape(())
    if axis >= values.ndim or values.shape[axis] != per_channel.size:
        raise Unsupported(f"{per_channel.size} scales along axis {axis} of {list(values.shape)}")
    return per_channel.reshape([-1 if i == axis else 1 for i in range(values.ndim)])


def _dequantize(op: Operation) -> Array:
    return np.asarray(_real(op.input(0)), np.float32)


def _quantize(op: Operation) -> Array:
    x, y = op.input(0), op.output()
    if y.quantization is None or y.dtype == "float32":
        raise Unsupported(f"{y.name!r} has no scale")
    real = _real(x)
    scale = _along(y.quantization.scale, y.quantization.axis, real)
    zero_point = _along(y.quantization.zero_point, y.quantization.axis, real)
    limits = np.iinfo(y.dtype)
    q = np.rint((real * (np.float32(1) / scale)).astype(np.float64)) + zero_point
    if np.any(np.isnan(q)):
        raise Unsupported(f"its constant {x.name!r} holds NaN")
    return np.asarray(np.clip(q, limits.min, limits.max).astype(y.dtype))


_SHAPE_FOLDINGS = {
    "SHAPE": Folding(_shape),
    "RANK": Folding(_rank),
}
"""These look at the shape of their input only, so it need not be a constant."""

_FOLDINGS = {
    "ADD": Folding(_arithmetic(np.add), "AddOptions", _arithmetic_size),
    "SUB": Folding(_arithmetic(np.subtract), "SubOptions", _arithmetic_size),
    "MUL": Folding(_arithmetic(np.multiply), "MulOptions", _arithmetic_size),
    "DIV": Folding(_arithmetic(_divide), "DivOptions", _arithmetic_size),
    "FLOOR_DIV": Folding(_arithmetic(_floor_divide), "", _arithmetic_size),
    "FLOOR_MOD": Folding(_arithmetic(_floor_mod), "", _arithmetic_size),
    "MAXIMUM": Folding(_arithmetic(np.maximum), "", _arithmetic_size),
    "MINIMUM": Folding(_arithmetic(np.minimum), "", _arithmetic_size),
    "NEG": Folding(lambda op: np.asarray(-op.constant(0, "input"))),
    "ABS": Folding(lambda op: np.asarray(np.abs(op.constant(0, "input")))),
    "ZEROS_LIKE": Folding(lambda op: np.zeros_like(op.constant(0, "input"))),
    "CAST": Folding(_cast),
    "REDUCE_PROD": Folding(_reduction(np.prod), "ReducerOptions"),
    "REDUCE_MAX": Folding(_reduction(np.max), "ReducerOptions"),
    "REDUCE_MIN": Folding(_reduction(np.min), "ReducerOptions"),
    "SUM": Folding(_reduction(np.sum), "ReducerOptions"),
    "FILL": Folding(_fill, "", _fill_size, takes_quantised=True),
    "RANGE": Folding(_range, "", _range_size),
    "TILE": Folding(_tile, "", _tile_size, takes_quantised=True),
    "BROADCAST_TO": Folding(_broadcast_to, "", _broadcast_size, takes_quantised=True),
    "BROADCAST_ARGS": Folding(_broadcast_args),
    "DEQUANTIZE": Folding(_dequantize, takes_quantised=True),
    "QUANTIZE": Folding(_quantize, takes_quantised=True),
}


# --- nodes that move elements


def _slice_node(node: Node, inputs: list[Tensor]) -> list[Array]:
    ranges = [
        begin + stride * np.arange(n)
        for begin, stride, n in zip(
            node.attrs["begin"], node.attrs["strides"], node.output.shape, strict=True
        )
    ]
    values = _values(inputs[0])
    return [values[np.ix_(*ranges)] if ranges else values]


def _split_node(node: Node, inputs: list[Tensor]) -> list[Array]:
    ends = np.cumsum(node.attrs["sizes"])[:-1]
    return list(np.split(_values(inputs[0]), ends, axis=node.attrs["axis"]))


def _concat_node(node: Node, inputs: list[Tensor]) -> list[Array]:
    return [np.concatenate([_values(t) for t in inputs], axis=node.attrs["axis"])]


def _reshape_node(node: Node, inputs: list[Tensor]) -> list[Array]:
    return [_values(inputs[0]).reshape(node.output.shape)]


def _transpose_node(node: Node, inputs: list[Tensor]) -> list[Array]:
    return [_values(inputs[0]).transpose(node.attrs["perm"])]


def _gather_node(node: Node, inputs: list[Tensor]) -> list[Array]:
    return [np.take(_values(inputs[0]), _values(inputs[1]), axis=node.attrs["axis"])]


_NODES: dict[str, Callable[[Node, list[Tensor]], list[Array]]] = {
    "concat": _concat_node,
    "gather": _gather_node,
    "reshape": _reshape_node,
    "slice": _slice_node,
    "split": _split_node,
    "transpose": _transpose_node,
}
