"""One operation of a program, and the checks that operators have in common.

The reader of the file leaves the operators' own contracts (rule 27 of docs/format.md) to who runs
them. Kernels check nothing, so each operator's `prepare` asks for all that its kernel relies on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.model_file import FileNode, FileTensor
from edgeinfer.errors import ModelFileError

Array = npt.NDArray[Any]
Run = Callable[[Sequence[Any], Any, int, int], None]
"""Computes rows [begin, end) of the output: run(inputs, output, begin, end).

Arrays have the shapes of their tensors and hold all rows, those of rings too. An input is None
where it is absent, and where `prepare` took the constant that it is.
"""

ANY = ("int8", "uint8", "int16", "int32", "int64", "float32", "bool")
INTEGER = ("int8", "uint8", "int16", "int32", "int64", "bool")
S8_S16 = ("int8", "int16")
QUANTIZED = ("int8", "uint8", "int16")


class Node:
    """An operation whose contract is being checked.

    Attributes
    ----------
    inputs : operands in the order of operators.def, None where absent
    y : the output
    params : parameters by name
    taken : inputs that `constant` was asked for
    """

    def __init__(self, node: FileNode) -> None:
        self.operator = node.operator
        self.inputs = node.inputs
        self.y = node.outputs[0]
        self.params = node.params
        self.taken: set[int] = set()
        self.where = f"node {node.name!r} ({node.operator})"

    def fail(self, message: str) -> ModelFileError:
        """The error that says what is wrong with this node."""
        return ModelFileError(f"{self.where}: {message}")

    def require(self, condition: bool, message: str) -> None:
        """Raise unless the condition holds."""
        if not condition:
            raise self.fail(message)

    # --- parameters

    def integer(self, name: str, low: int, high: int) -> int:
        """A parameter from low to high."""
        value = int(self.params[name])
        self.require(low <= value <= high, f"{name}: is {value}, must be {low} to {high}")
        return value

    def flag(self, name: str) -> bool:
        """A parameter that is 0 or 1."""
        return self.integer(name, 0, 1) == 1

    def real(self, name: str, *, positive: bool = False) -> Any:
        """A finite float32."""
        value = float(self.params[name])
        self.require(math.isfinite(value), f"{name}: is {value}, must be finite")
        self.require(value > 0 or not positive, f"{name}: is {value}, must be above zero")
        return np.float32(value)

    def bounds(self) -> tuple[np.float32, np.float32]:
        """Clamp of float32, which may be infinite."""
        low, high = float(self.params["clamp_min"]), float(self.params["clamp_max"])
        self.require(low <= high, f"clamp_min: is {low}, must be at most clamp_max, {high}")
        return np.float32(low), np.float32(high)

    def clamp(self) -> tuple[int, int]:
        """Clamp in values of y's integer dtype."""
        limits = np.iinfo(self.y.dtype)
        low = self.integer("clamp_min", int(limits.min), int(limits.max))
        return low, self.integer("clamp_max", low, int(limits.max))

    def zero_point(self, name: str, dtype: str) -> int:
        """A value of an integer dtype."""
        limits = np.iinfo(dtype)
        return self.integer(name, int(limits.min), int(limits.max))

    def unused(self) -> None:
        """The parameter `reserved` is 0."""
        self.integer("reserved", 0, 0)

    # --- operands

    def present(self, index: int, what: str, *dtypes: str) -> FileTensor:
        """An input of one of these dtypes."""
        tensor = self.inputs[index] if index < len(self.inputs) else None
        if tensor is None:
            raise self.fail(f"{what}: is absent")
        self.dtype(tensor, what, *(dtypes or ANY))
        return tensor

    def activation(self, index: int, what: str, *dtypes: str) -> FileTensor:
        """An input that is computed."""
        tensor = self.present(index, what, *dtypes)
        self.require(tensor.data is None, f"{what}: is a constant, must be an activation")
        return tensor

    def constant(self, index: int, what: str, dtypes: str | tuple[str, ...], count: int) -> Array:
        """The first `count` elements of an input that is a constant: a copy that can be written to.

        Numba takes arrays that are read-only for another type and would compile kernels twice.
        """
        self.taken.add(index)
        allowed = (dtypes,) if isinstance(dtypes, str) else dtypes
        tensor = self.present(index, what, *allowed)
        if tensor.data is None:
            raise self.fail(f"{what}: is an activation, must be a constant")
        found = math.prod(tensor.shape)
        self.require(found >= count, f"{what}: has {found} elements, must have {count}")
        return np.array(tensor.data.reshape(-1)[:count], np.dtype(tensor.dtype))

    def dtype(self, tensor: FileTensor, what: str, *dtypes: str) -> None:
        """The tensor has one of these dtypes."""
        allowed = " or ".join(dtypes)
        self.require(tensor.dtype in dtypes, f"{what}: is {tensor.dtype}, must be {allowed}")

    def rank(self, tensor: FileTensor, what: str, low: int, high: int = 6) -> None:
        """low <= rank <= high"""
        rank = len(tensor.shape)
        self.require(low <= rank <= high, f"{what}: has rank {rank}, must have {low} to {high}")

    def shape(self, tensor: FileTensor, what: str, shape: Sequence[int]) -> None:
        """The tensor has exactly this shape."""
        self.require(
            tensor.shape == tuple(shape),
            f"{what}: has shape {list(tensor.shape)}, must have {list(shape)}",
        )

    def whole(self, tensor: FileTensor, what: str) -> None:
        """The tensor is held whole, not as a ring."""
        self.require(
            tensor.ring_rows == tensor.rows,
            f"{what}: is a ring of {tensor.ring_rows} of {tensor.rows} rows, must be whole",
        )

    def same(self, index: int, what: str, *dtypes: str) -> FileTensor:
        """An input of y's shape."""
        tensor = self.present(index, what, *dtypes)
        self.shape(self.y, "y", tensor.shape)
        return tensor

    def finite(self, values: Array, what: str) -> None:
        """No value is infinite or NaN."""
        self.require(bool(np.isfinite(values).all()), f"{what}: not all values are finite")

    def broadcast(self, *names: str) -> None:
        """The inputs' shapes together make y's, by NumPy's rules."""
        shapes = [self.present(i, name).shape for i, name in enumerate(names)]
        try:
            made: tuple[int, ...] | None = np.broadcast_shapes(*shapes)
        except ValueError:
            made = None
        self.require(made == self.y.shape, f"y: has shape {list(self.y.shape)}, inputs {shapes}")
        for i, name in enumerate(names):
            tensor = self.present(i, name)
            if not follows(tensor, self.y):
                self.whole(tensor, name)


def outer_axes(rank: int) -> int:
    """Axes that rows count through; the others lie inside a row."""
    return max(0, rank - (2 if rank >= 4 else 1))


def follows(tensor: FileTensor, y: FileTensor) -> bool:
    """Whether rows of the tensor meet the same rows of y: outer axes and number of rows agree."""
    outer = outer_axes(len(y.shape))
    aligned = (1,) * (len(y.shape) - len(tensor.shape)) + tensor.shape
    return aligned[:outer] == y.shape[:outer] and tensor.rows == y.rows


def row_elements(shape: Sequence[int]) -> int:
    """Elements of a row."""
    return math.prod(shape[outer_axes(len(shape)) :])


def boxes(shape: Sequence[int], begin: int, end: int) -> Iterator[tuple[slice, ...]]:
    """Rows [begin, end) as boxes: a range along each outer axis, at most two boxes per axis."""
    dims = shape[: outer_axes(len(shape))]
    while begin < end:
        # The longest run of whole inner blocks that starts here.
        unit, axis = 1, len(dims)
        while axis > 0 and begin % (unit * dims[axis - 1]) == 0:
            if begin + unit * dims[axis - 1] > end:
                break
            axis -= 1
            unit *= dims[axis]
        if axis == 0:
            yield ()
            return
        dim = dims[axis - 1]
        position = begin // unit % dim
        count = min((end - begin) // unit, dim - position)
        fixed = []
        rest = begin // unit // dim
        for size in reversed(dims[: axis - 1]):
            fixed.append(slice(rest % size, rest % size + 1))
            rest //= size
        yield (*reversed(fixed), slice(position, position + count))
        begin += count * unit


def band(array: Array, shape: tuple[int, ...], begin: int, end: int) -> Array:
    """Rows [begin, end) of an array that is broadcast to a shape, as one flat array.

    A view where the array has as many elements as the shape, else a copy.
    """
    per_row = row_elements(shape)
    if array.size == math.prod(shape):
        return array.reshape(-1)[begin * per_row : end * per_row]
    stretched = np.broadcast_to(array, shape)
    parts = [stretched[box].reshape(-1) for box in boxes(shape, begin, end)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
