"""What the names of an ONNX graph stand for, with QuantizeLinear and DequantizeLinear resolved.

In a QDQ model the float operators stand between conversions that say how their operands are stored:

    q -> DequantizeLinear -> x -> Conv -> y -> QuantizeLinear -> r

The graph has conv2d from q to r. So a float value has up to two faces here: `quantised`, the tensor
whose numbers it has (q for x), and `plain`, a float32 tensor of its own. DequantizeLinear gives a
value its first face and makes no node; a node appears only where somebody needs the second, as a
float graph output does. What an operator makes of y is decided by who reads y: see
`Operation.compute`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Node, Quantization, Tensor

from .model_file import DEFAULT, MICROSOFT, SourceNode

Array: TypeAlias = npt.NDArray[Any]

MAX_RANK = 6
MAX_BYTES = 0x7FFFFFFF  # of one tensor in an .edge file

QUANTISED_DTYPES = ("int8", "uint8", "int16")
_CONVERSION_DOMAINS = (DEFAULT, MICROSOFT)


class Unsupported(Exception):
    """An operator cannot be expressed in the graph; becomes a `graph.Problem`."""

    def __init__(self, reason: str, advice: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.advice = advice


class OpenShape(Exception):
    """A value's shape is not known, since an operator before it is not: that one is the problem."""


@dataclass(eq=False)
class Value:
    """A name of the graph. `data` is what a constant holds, in the file's own element type."""

    name: str
    elements: str  # element type as TensorProto.DataType names it, e.g. FLOAT
    shape: tuple[int, ...] | None
    data: Array | None = None
    plain: Tensor | None = None
    quantised: Tensor | None = None
    made_by: str = ""  # the node that gave it its quantised face
    narrow: str = ""  # the file's element type of a constant that is read as a wider one

    @property
    def known_shape(self) -> tuple[int, ...]:
        """The shape, of a value that has one."""
        if self.shape is None:
            raise OpenShape(self.name)
        return self.shape

    @property
    def constant_data(self) -> Array | None:
        """What it holds, dequantised if need be; None unless it is a constant."""
        if self.data is None and self.quantised is not None and self.quantised.is_constant:
            return real_numbers(self.quantised)
        return self.data


_GRAPH_DTYPES = {
    "FLOAT": "float32",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}
_ELEMENTS = {dtype: elements for elements, dtype in _GRAPH_DTYPES.items()}
_WIDENED = {"INT4": "INT8", "INT2": "INT8", "UINT4": "UINT8", "UINT2": "UINT8"}
"""Constants of these are read as the next type that the graph has; the numbers are the same."""


def graph_dtype(name: str, elements: str) -> str:
    """The graph's dtype for an element type."""
    if elements not in _GRAPH_DTYPES:
        advice = ""
        if elements in ("FLOAT16", "BFLOAT16", "DOUBLE"):
            advice = "export the model in float32 before it is quantised"
        elif elements == "UINT16":
            advice = "quantise activations to int8, uint8 or int16"
        raise Unsupported(f"{name!r} has element type {elements}", advice)
    return _GRAPH_DTYPES[elements]


def element_name(dtype: str) -> str:
    """The element type of a dtype of the graph, as TensorProto.DataType names it."""
    return _ELEMENTS[dtype]


def check_shape(shape: Iterable[int], dtype: str) -> tuple[int, ...]:
    """`shape`, which must be one that a tensor of the graph can have."""
    dims = tuple(int(n) for n in shape)
    if any(n < 1 for n in dims):
        raise Unsupported(f"its result has shape {list(dims)}")
    if len(dims) > MAX_RANK:
        raise Unsupported(f"its result has {len(dims)} axes; {MAX_RANK} are the most")
    if prod(dims) * np.dtype(dtype).itemsize > MAX_BYTES:
        raise Unsupported(f"its result of shape {list(dims)} is above 2 GiB")
    return dims


def is_quantize(node: SourceNode) -> bool:
    """Whether the node is QuantizeLinear, of whichever domain."""
    return node.op == "QuantizeLinear" and node.domain in _CONVERSION_DOMAINS


def is_dequantize(node: SourceNode) -> bool:
    """Whether the node is DequantizeLinear, of whichever domain."""
    return node.op == "DequantizeLinear" and node.domain in _CONVERSION_DOMAINS


# --- arithmetic on constants


def _along(per_channel: Array, axis: int, rank: int) -> Array:
    if per_channel.size == 1:
        return per_channel.reshape(())
    return per_channel.reshape([-1 if i == axis else 1 for i in range(rank)])


def real_numbers(tensor: Tensor) -> npt.NDArray[np.float32]:
    """The real numbers of a quantised constant, as DequantizeLinear gives them."""
    assert tensor.data is not None and tensor.quantization is not None
    q = tensor.quantization
    rank = tensor.data.ndim
    difference = tensor.data.astype(np.int64) - _along(q.zero_point, q.axis, rank)
    with np.errstate(over="ignore"):
        real = difference.astype(np.float32) * _along(q.scale, q.axis, rank)
    return np.asarray(real, np.float32)


def quantised_numbers(values: Array, quantization: Quantization, dtype: str) -> Array:
    """Real numbers as QuantizeLinear stores them: saturate(rne(x / scale) + zero_point)."""
    scale = _along(quantization.scale, quantization.axis, values.ndim)
    zero_point = _along(quantization.zero_point, quantization.axis, values.ndim)
    if np.any(np.isnan(values)):
        raise Unsupported("its constant holds NaN")
    with np.errstate(over="ignore"):
        steps = np.rint((values.astype(np.float32) / scale).astype(np.float64))
    limits = np.iinfo(dtype)
    return np.asarray(np.clip(steps + zero_point, limits.min, limits.max)).astype(dtype)


# --- the table


class Values:
    """Every value of the graph by name, as far as the graph is built."""

    def __init__(self, element_name: Callable[[int], str], nodes: list[Node]) -> None:
        self.element_name = element_name
        self._nodes = nodes
        self._values: dict[str, Value] = {}
        self._names: set[str] = set()
        self._quantizes: dict[tuple[str, str, str, bytes, bytes], Tensor] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __getitem__(self, name: str) -> Value:
        if name not in self._values:
            raise Unsupported(f"it reads {name!r}, which nothing makes")
        return self._values[name]

    def find(self, name: str) -> Value | None:
        """The value of a name, if it has one so far."""
        return self._values.get(name)

    def reserve(self, names: Iterable[str]) -> None:
        """Keep the file's names from being given to other tensors."""
        self._names.update(names)

    def unique(self, name: str) -> str:
        """`name`, or one like it that no tensor has."""
        while name in self._names:
            name += "'"
        self._names.add(name)
        return name

    def add(self, name: str, elements: int | str, shape: tuple[int, ...] | None) -> Value:
        """A new value that has no face yet."""
        kind = elements if isinstance(elements, str) else self.element_name(elements)
        self._values[name] = Value(name, kind, shape)
        return self._values[name]

    def add_constant(self, name: str, data: Array, elements: int | str) -> Value:
        """A new constant."""
        value = self.add(name, elements, data.shape)
        if value.elements in _WIDENED:
            value.narrow, value.elements = value.elements, _WIDENED[value.elements]
            data = data.astype(_GRAPH_DTYPES[value.elements])
        value.data = data
        return value

    def put(self, value: Value) -> None:
        """Enter a value under its name."""
        self._values[value.name] = value

    def plain(self, value: Value) -> Tensor:
        """The tensor that holds the value as the file has it: float32 where the file has float."""
        if value.plain is None:
            value.plain = self._make_plain(value)
        return value.plain

    def real(self, value: Value) -> Tensor:
        """The quantised tensor that holds the value's numbers, or else the plain one."""
        return value.quantised or self.plain(value)

    def _make_plain(self, value: Value) -> Tensor:
        shape = value.known_shape
        dtype = graph_dtype(value.name, value.elements)
        data = value.constant_data
        if data is not None:
            data = np.ascontiguousarray(data.astype(dtype, copy=False)).reshape(data.shape)
            return Tensor(value.name, data.shape, dtype, None, data)
        if value.quantised is None:
            raise OpenShape(value.name)  # of a faulty operator
        tensor = Tensor(value.name, shape, dtype)
        self._nodes.append(
            Node(
                "dequantize",
                [value.quantised],
                [tensor],
                name=value.made_by or value.name,
                source="DequantizeLinear",
            )
        )
        return tensor

    def quantize_once(self, value: Value, make: Tensor) -> tuple[Tensor, bool]:
        """The tensor of `value` quantised as `make` is, and whether it is new."""
        quantization = make.quantization
        assert quantization is not None
        scale, zero_point = quantization.scale.tobytes(), quantization.zero_point.tobytes()
        key = (value.name, str(quantization.axis), make.dtype, scale, zero_point)
        found = self._quantizes.setdefault(key, make)
        return found, found is make
