"""One stored operator on its way into the graph: what every handler works with.

A handler is a function of an `Operation`. It looks at the operands, works out the shape of every
output (the file's own shapes are what its writer believed; LiteRT, too, works them out again) and
emits nodes. It raises `Unsupported` at the first thing that cannot be expressed; the builder then
drops its nodes and records the problem.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Node, Tensor

MAX_RANK = 6
MAX_BYTES = 0x7FFFFFFF  # of one tensor in an .edge file

Activation: TypeAlias = str | tuple[str, float | None, float | None] | None

_ACTIVATIONS: dict[int, Activation] = {0: None, 1: "relu", 2: "relu_n1_to_1", 3: "relu6"}
_OTHER_ACTIVATIONS = {4: "TANH", 5: "SIGN_BIT"}


class Unsupported(Exception):
    """An operator cannot be expressed in the graph; becomes a `graph.Problem`."""

    def __init__(self, reason: str, advice: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.advice = advice


class Operation:
    """An operator with its operands resolved to tensors.

    Parameters
    ----------
    code : name in BuiltinOperator, for instance CONV_2D.
    inputs : None where an optional input is absent.
    options : the fields of the operator's options by schema name.
    faults : why a tensor cannot be used at all, for those that cannot.
    dilated : set when a surrounding SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND were taken into a
        convolution: its dilations (h, w) and pads (top, left, bottom, right).
    """

    def __init__(
        self,
        code: str,
        inputs: Sequence[Tensor | None],
        outputs: Sequence[Tensor],
        options: Mapping[str, Any],
        faults: Mapping[Tensor, Unsupported],
        dilated: DilatedWindow | None = None,
    ) -> None:
        self.code = code
        self.name = outputs[0].name if outputs else code
        self.options = options
        self.outputs = list(outputs)
        self.dilated = dilated
        self.nodes: list[Node] = []
        self._inputs = list(inputs)
        self._faults = faults

    # --- operands

    @property
    def input_count(self) -> int:
        """Inputs listed, absent ones included."""
        return len(self._inputs)

    def optional_input(self, index: int) -> Tensor | None:
        """Input `index`, or None when it is absent."""
        tensor = self._inputs[index] if index < len(self._inputs) else None
        if tensor is not None and tensor in self._faults:
            raise self._faults[tensor]
        return tensor

    def input(self, index: int) -> Tensor:
        """Input `index`, which must be present."""
        tensor = self.optional_input(index)
        if tensor is None:
            raise Unsupported(f"it has no input {index}")
        return tensor

    def output(self, index: int = 0) -> Tensor:
        """Output `index`, which must be present; its shape is not to be trusted before `emit`."""
        if index >= len(self.outputs):
            raise Unsupported(f"it has no output {index}")
        tensor = self.outputs[index]
        if tensor in self._faults:
            raise self._faults[tensor]
        return tensor

    def constant(self, index: int, what: str) -> npt.NDArray[Any]:
        """The values of input `index`, which must be a constant."""
        tensor = self.input(index)
        if tensor.data is None:
            raise Unsupported(
                f"its {what} (tensor {tensor.name!r}) is computed at run time",
                "export the model with fixed shapes, so that it is a constant",
            )
        return tensor.data

    def integers(self, index: int, what: str, at_most: int = 64) -> tuple[int, ...]:
        """The values of input `index` as plain integers, whatever its shape."""
        values = self.constant(index, what)
        if not np.issubdtype(values.dtype, np.integer):
            raise Unsupported(f"its {what} is {values.dtype}, not an integer")
        if values.size > at_most:
            raise Unsupported(f"its {what} has {values.size} values")
        return tuple(int(v) for v in values.reshape(-1))

    def integer(self, index: int, what: str) -> int:
        """The only value of input `index`."""
        values = self.integers(index, what)
        if len(values) != 1:
            raise Unsupported(f"its {what} has {len(values)} values, not one")
        return values[0]

    def activation(self) -> Activation:
        """The fused activation as `Node.activation`."""
        code = self.options["FusedActivationFunction"]
        if code not in _ACTIVATIONS:
            name = _OTHER_ACTIVATIONS.get(code, str(code))
            raise Unsupported(f"a fused {name} activation is not available")
        return _ACTIVATIONS[code]

    # --- nodes

    def emit(
        self,
        op: str,
        inputs: Sequence[Tensor | None],
        shape: Sequence[int],
        *,
        output: int = 0,
        activation: Activation = None,
        **attrs: Any,
    ) -> Tensor:
        """Add the node that makes output `output`, which has `shape`."""
        made = self.output(output)
        made.shape = self._check_shape(shape, made.dtype)
        self.nodes.append(Node(op, list(inputs), [made], attrs, activation, self.name, self.code))
        return made

    def emit_all(
        self,
        op: str,
        inputs: Sequence[Tensor | None],
        shapes: Sequence[Sequence[int]],
        **attrs: Any,
    ) -> None:
        """Add one node that makes every output, in order."""
        made = [self.output(i) for i in range(len(shapes))]
        for tensor, shape in zip(made, shapes, strict=True):
            tensor.shape = self._check_shape(shape, tensor.dtype)
        self.nodes.append(Node(op, list(inputs), made, attrs, None, self.name, self.code))

    def step(
        self,
        op: str,
        inputs: Sequence[Tensor],
        shape: Sequence[int],
        suffix: str,
        *,
        like: Tensor | None = None,
        dtype: str | None = None,
        activation: Activation = None,
        **attrs: Any,
    ) -> Tensor:
        """Add a node on the way to the output and return what it makes.

        That tensor is not in the file. It is named after the operator's output. It has the dtype
        and quantisation of `like`, or else of the first input; or it has `dtype` and none.
        """
        like = like or inputs[0]
        quantization = like.quantization if dtype is None else None
        dtype = dtype or like.dtype
        made = Tensor(f"{self.name}/{suffix}", self._check_shape(shape, dtype), dtype, quantization)
        self.nodes.append(Node(op, list(inputs), [made], attrs, activation, self.name, self.code))
        return made

    def given(self, values: npt.ArrayLike, suffix: str, dtype: str = "float32") -> Tensor:
        """A constant that is not in the file."""
        data = np.asarray(values, dtype)
        return Tensor(f"{self.name}/{suffix}", data.shape, dtype, None, data)

    def reshaped(self, tensor: Tensor, shape: Sequence[int], suffix: str) -> Tensor:
        """`tensor` under another shape: itself when it has that shape."""
        if tensor.shape == tuple(shape):
            return tensor
        return self.step("reshape", [tensor], shape, suffix)

    def _check_shape(self, shape: Sequence[int], dtype: str) -> tuple[int, ...]:
        dims = tuple(int(n) for n in shape)
        if any(n < 1 for n in dims):
            raise Unsupported(f"its result has shape {list(dims)}")
        if len(dims) > MAX_RANK:
            raise Unsupported(f"its result has {len(dims)} axes; {MAX_RANK} are the most")
        if prod(dims) * np.dtype(dtype).itemsize > MAX_BYTES:
            raise Unsupported(f"its result of shape {list(dims)} is above 2 GiB")
        return dims


@dataclass(frozen=True)
class DilatedWindow:
    """The window of a convolution whose SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND it has absorbed."""

    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]


Handler: TypeAlias = Callable[[Operation], None]


@dataclass(frozen=True)
class Handling:
    """How an operator is read: its handler, and the options table it needs, if any."""

    handler: Handler
    options: str = ""
