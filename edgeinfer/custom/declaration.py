"""What is known of a custom operator without its code: enough to convert, and to check a file."""

from __future__ import annotations

import operator as python_operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from edgeinfer.custom.operands import (
    DTYPES,
    MAX_RANK,
    Attribute,
    TensorType,
    Value,
    decode_attributes,
    fill_attributes,
    match_attributes,
)
from edgeinfer.errors import InputError

if TYPE_CHECKING:
    from edgeinfer.custom.jit import CallPlan

Shapes = Sequence[tuple[int, ...]]
Shape = Callable[[Shapes, dict[str, Value]], Sequence[int]]
"""Input shapes and attributes to the shape of the output."""
Scratch = Callable[[Shapes, dict[str, Value]], int]
"""Input shapes and attributes to an amount of scratch memory."""

ANY_SHAPE = "any"
_MAX_BYTES = 0x7FFFFFFF


class Node(Protocol):
    """A node of a file: (ei_dtype, shape) of its tensors, and its attributes."""

    inputs: list[tuple[int, tuple[int, ...]]]
    output: tuple[int, tuple[int, ...]]
    scratch_bytes: int

    def read(self, offset: int, count: int) -> bytes:
        """Bytes of the blob with the attributes."""


@dataclass(eq=False)
class CustomOp:
    """A custom operator.

    Attributes
    ----------
    inputs, output : types of its tensors.
    attributes : declared ones, in the order in which a file holds them.
    function : the compiled Python function, parameters as it declares them; None for C code.
    runs : whether this process has code for it in the C core.
    """

    name: str
    inputs: tuple[TensorType, ...]
    output: TensorType
    attributes: tuple[Attribute, ...]
    shape: Shape | str | None
    scratch: Scratch | None
    function: Callable[..., None] | None
    plan: CallPlan | None = None  # how `function` is called, where there is one
    runs: bool = field(default=False)

    def __post_init__(self) -> None:
        if self.shape is not None and self.shape != ANY_SHAPE and not callable(self.shape):
            raise InputError(f"shape is {self.shape!r}, must be a function, None or {ANY_SHAPE!r}")
        if self.shape is None and self.inputs[0].rank != self.output.rank:
            raise InputError(
                f"{self.name!r}: the output, {self.output}, cannot have the shape of the first "
                f"input, {self.inputs[0]}; say which it has with shape="
            )

    def fill(self, given: Mapping[str, Any]) -> dict[str, Value]:
        """A node's attributes, in order, with defaults; ValueError says what does not fit."""
        return fill_attributes(self.attributes, given)

    def output_shape(
        self, shapes: Shapes, attributes: dict[str, Value], declared: tuple[int, ...] | None
    ) -> tuple[int, ...]:
        """The output's shape for these inputs.

        Parameters
        ----------
        declared : what the model says, or None where it does not.

        Raises
        ------
        ValueError
            There is none, or the model says another; the message says which.
        """
        if len(shapes) != len(self.inputs):
            raise ValueError(f"it has {len(shapes)} inputs, must have {len(self.inputs)}")
        for i, (shape, kind) in enumerate(zip(shapes, self.inputs, strict=True)):
            if kind.rank not in (None, len(shape)):
                raise ValueError(f"input {i} has shape {list(shape)}, must be {kind}")
        found = self._computed(shapes, attributes, declared)
        if self.output.rank not in (None, len(found)):
            raise ValueError(f"the output has shape {list(found)}, must be {self.output}")
        if declared is not None and tuple(declared) != found:
            raise ValueError(f"the output has shape {list(declared)}, must have {list(found)}")
        return found

    def _computed(
        self, shapes: Shapes, attributes: dict[str, Value], declared: tuple[int, ...] | None
    ) -> tuple[int, ...]:
        if self.shape is None:
            return tuple(shapes[0])
        if not callable(self.shape):
            if declared is None:
                raise ValueError("the model does not say the shape of the output")
            return tuple(declared)
        found = _call("shape", self.shape, shapes, attributes)
        try:
            dims = tuple(python_operator.index(n) for n in found)
        except TypeError:
            raise ValueError(f"shape() gave {found!r}, not a list of integers") from None
        if len(dims) > MAX_RANK or any(n < 1 for n in dims):
            raise ValueError(f"shape() gave {list(dims)}: at most {MAX_RANK} axes, each 1 or more")
        return dims

    def scratch_bytes(self, shapes: Shapes, attributes: dict[str, Value]) -> int:
        """Scratch memory in bytes for these inputs; ValueError when that is no amount."""
        if self.scratch is None:
            return 0
        found = _call("scratch", self.scratch, shapes, attributes)
        if not isinstance(found, int) or not 0 <= found <= _MAX_BYTES:
            raise ValueError(f"scratch() gave {found!r}, not an amount below 2 GiB")
        return found

    def require(self, node: Node) -> None:
        """Raise ValueError unless a node of a file is one that the code can run."""
        if len(node.inputs) != len(self.inputs):
            raise ValueError(f"it has {len(node.inputs)} inputs, must have {len(self.inputs)}")
        tensors = [*((f"input {i}", t) for i, t in enumerate(node.inputs)), ("output", node.output)]
        for (what, (dtype, _)), kind in zip(tensors, [*self.inputs, self.output], strict=True):
            if DTYPES.get(dtype) != kind.dtype:
                raise ValueError(f"{what} is {DTYPES.get(dtype, dtype)}, must be {kind.dtype}")
        attributes = match_attributes(self.attributes, decode_attributes(node.read))
        shapes = [shape for _, shape in node.inputs]
        self.output_shape(shapes, attributes, node.output[1])
        needed = self.scratch_bytes(shapes, attributes)
        if node.scratch_bytes < needed:
            raise ValueError(f"scratch_bytes is {node.scratch_bytes}, it needs {needed}")


def _call(what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except Exception as error:
        raise ValueError(f"{what}() failed: {type(error).__name__}: {error}") from error
