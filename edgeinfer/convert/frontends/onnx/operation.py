"""One operator on its way into the graph: what every handler works with.

A handler is a function of an `Operation`. It looks at the operands and then, last, emits: with
`compute` for what calculates, with `move` for what only moves or picks values. It raises
`Unsupported` at the first thing that cannot be expressed; its nodes are then dropped and the
problem is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from edgeinfer.convert.graph import Node, Quantization, Tensor

from .evaluate import Evaluator
from .model_file import SourceNode, ValueType
from .quantization import parameters
from .values import (
    Array,
    Unsupported,
    Value,
    Values,
    check_shape,
    element_name,
    graph_dtype,
    is_quantize,
)


@dataclass(frozen=True)
class Context:
    """What is known of the whole model.

    readers : the nodes that read each value; graph outputs are read by None.
    """

    values: Values
    evaluator: Evaluator
    readers: Mapping[str, Sequence[SourceNode | None]]


class Operation:
    """A node with its operands resolved to tensors."""

    def __init__(self, node: SourceNode, context: Context) -> None:
        self.node = node
        self.version = node.version
        self.nodes: list[Node] = []
        self.made: list[Value] = []
        self._context = context
        self._values = context.values
        self._inferred: list[tuple[str, tuple[int, ...]]] | None = None

    # --- operands

    @property
    def input_count(self) -> int:
        """Inputs listed, absent ones included."""
        return len(self.node.inputs)

    def has_input(self, index: int) -> bool:
        """Whether input `index` is present."""
        return index < len(self.node.inputs) and self.node.inputs[index] != ""

    def has_output(self, index: int) -> bool:
        """Whether anything reads output `index`."""
        outputs = self.node.outputs
        return index < len(outputs) and bool(self._context.readers.get(outputs[index]))

    def is_read_as_float(self) -> bool:
        """Whether anything but a QuantizeLinear reads the output."""
        return self._readers(0)[1]

    def value(self, index: int) -> Value:
        """Input `index`, which must be present."""
        if not self.has_input(index):
            raise Unsupported(f"it has no input {index}")
        return self._values[self.node.inputs[index]]

    def shape(self, index: int) -> tuple[int, ...]:
        """The shape of input `index`."""
        return self.value(index).known_shape

    def operand(self, index: int) -> Tensor:
        """Input `index` as a real number to calculate with: quantised where it can be."""
        value = self.value(index)
        _ = value.known_shape
        if value.elements != "FLOAT":
            dtype = graph_dtype(value.name, value.elements)
            raise Unsupported(f"{value.name!r} is {dtype}, and {dtype} is not computed with")
        return self._values.real(value)

    def movable(self, index: int) -> Tensor:
        """Input `index` of any type, to be moved: quantised where it can be."""
        value = self.value(index)
        stored = value.quantised
        if stored is not None and stored.quantization and stored.quantization.is_per_tensor:
            return stored
        return self._values.plain(value)

    def plain(self, index: int) -> Tensor:
        """Input `index` as the file has it: float32 where the file has float."""
        return self._values.plain(self.value(index))

    def float_operand(self, index: int) -> Tensor:
        """Input `index` as a float32 tensor of its own."""
        value = self.value(index)
        _ = value.known_shape
        if value.elements != "FLOAT":
            raise Unsupported(f"{value.name!r} is {value.elements}; float32 is available here")
        return self._values.plain(value)

    def constant(self, index: int, what: str) -> Array:
        """The values of input `index`, which must be a constant; dequantised if need be."""
        value = self.value(index)
        data = value.constant_data
        if data is None:
            raise Unsupported(
                f"its {what} (tensor {value.name!r}) is computed at run time",
                "export the model with fixed shapes, so that it is a constant",
            )
        return data

    def scalar(self, index: int, what: str) -> float:
        """The only value of constant input `index`."""
        data = self.constant(index, what)
        if data.size != 1:
            raise Unsupported(f"its {what} has {data.size} values, not one")
        return float(data.reshape(-1)[0])

    def integers(self, index: int, what: str, at_most: int = 64) -> tuple[int, ...]:
        """The values of input `index` as plain integers, whatever its shape."""
        data = self.constant(index, what)
        if not np.issubdtype(data.dtype, np.integer):
            raise Unsupported(f"its {what} is {data.dtype}, not an integer")
        if data.size > at_most:
            raise Unsupported(f"its {what} has {data.size} values")
        return tuple(int(v) for v in data.reshape(-1))

    # --- attributes

    # Nothing has checked the types of those of other domains, so each accessor does.

    def integer(self, name: str, default: int) -> int:
        """An integer attribute."""
        value = self.node.attrs.get(name, default)
        if not isinstance(value, int):
            raise Unsupported(f"its {name} is not an integer")
        return value

    def number(self, name: str, default: float) -> float:
        """A float32 attribute."""
        value = self.node.attrs.get(name, default)
        if not isinstance(value, (int, float)) or not np.isfinite(np.float32(value)):
            raise Unsupported(f"its {name} is not a finite number")
        return float(np.float32(value))

    def text(self, name: str, default: str) -> str:
        """A string attribute."""
        value = self.node.attrs.get(name, default)
        if not isinstance(value, str):
            raise Unsupported(f"its {name} is not text")
        return value

    def element_type(self, name: str) -> str:
        """An attribute that names an element type, for instance FLOAT."""
        return self._values.element_name(self.integer(name, 0))

    def declared_elements(self, declared: ValueType | None) -> str:
        """Element type that the file says the output has; "" where it does not."""
        if declared is None or declared.elements == 0:
            return ""
        return self._values.element_name(declared.elements)

    def integer_list(self, name: str) -> tuple[int, ...] | None:
        """An attribute that is a list of integers; None when it is absent."""
        value = self.node.attrs.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(v, int) for v in value):
            raise Unsupported(f"its {name} is not a list of integers")
        return tuple(value)

    def list_or_input(self, name: str, index: int) -> tuple[int, ...] | None:
        """Integers that older operator sets have in attribute `name`, newer ones in an input."""
        if self.has_input(index):
            return self.integers(index, name)
        return self.integer_list(name)

    # --- results

    def result_shape(self, index: int = 0) -> tuple[int, ...]:
        """The shape of output `index` by ONNX's own rules."""
        if self._inferred is None:
            inputs = [self._values[name] if name else None for name in self.node.inputs]
            self._inferred = []
            for kind in self._context.evaluator.infer(self.node, inputs):
                if kind.shape is None:
                    raise Unsupported("the shape of its result depends on values")
                elements = self._values.element_name(kind.elements)
                self._inferred.append((elements, kind.shape))
        return self._inferred[index][1]

    def compute(
        self,
        op: str,
        inputs: Sequence[Tensor | None],
        shape: Sequence[int] | None = None,
        *,
        image: bool = False,
        through: Sequence[int] | None = None,
        elements: str = "FLOAT",
        **attrs: Any,
    ) -> None:
        """Add the node that calculates the output.

        Parameters
        ----------
        shape : of the output; by default as ONNX infers it.
        image : the node works on NHWC; its result is brought to the NCHW of the file.
        through : shape that the node itself gives its result, where that is another one.
        elements : element type of the output.
        """
        for target in self.targets(shape, elements):
            if image:
                made = self._image_like(target)
                self._add(op, inputs, [made], attrs)
                self._bring_image(made, target)
            elif through is not None and tuple(through) != target.shape:
                made = self.step(op, inputs, through, "made", like=target, **attrs)
                self.finish("reshape", [made], target)
            else:
                self._add(op, inputs, [target], attrs)

    def targets(
        self,
        shape: Sequence[int] | None = None,
        elements: str = "FLOAT",
    ) -> list[Tensor]:
        """The tensors to calculate: the output, quantised as those want it who read it.

        Two readers that quantise differently, or one that takes the float, have a tensor each: the
        file rounds the exact result once for each, and only computing it again gives these bits.
        """
        return self._targets(self.result_shape() if shape is None else shape, elements)

    def finish(
        self, op: str, inputs: Sequence[Tensor | None], target: Tensor, **attrs: Any
    ) -> None:
        """Add the node that makes one of `targets`."""
        self._add(op, inputs, [target], attrs)

    def move(
        self,
        op: str,
        inputs: Sequence[Tensor],
        shape: Sequence[int] | None = None,
        *,
        image: bool = False,
        **attrs: Any,
    ) -> None:
        """Add the node that moves values of the first input; the output is stored as that is.

        Parameters
        ----------
        shape, image : as for `compute`.
        """
        dims = self.result_shape() if shape is None else shape
        target = self._moved(inputs[0], 0, dims)
        made = self._image_like(target) if image else target
        self._add(op, inputs, [made], attrs)
        if image:
            self._bring_image(made, target)

    def move_all(self, op: str, x: Tensor, shapes: Sequence[Sequence[int]], **attrs: Any) -> None:
        """Add one node that moves values of `x` to every output."""
        made = [self._moved(x, i, shape) for i, shape in enumerate(shapes)]
        self._add(op, [x], made, attrs)

    def step(
        self,
        op: str,
        inputs: Sequence[Tensor | None],
        shape: Sequence[int],
        suffix: str,
        *,
        like: Tensor | None = None,
        **attrs: Any,
    ) -> Tensor:
        """Add a node on the way to the output and return what it makes.

        That tensor is not in the file. It is named after the operator's output, and has the dtype
        and quantisation of `like`, or else of the first input.
        """
        like = like or inputs[0]
        assert like is not None
        made = self._tensor_like(like, shape, suffix)
        self._add(op, inputs, [made], attrs)
        return made

    def plain_step(
        self,
        op: str,
        inputs: Sequence[Tensor | None],
        shape: tuple[int, ...],
        dtype: str,
        attrs: dict[str, Any],
    ) -> Tensor:
        """Add a node that makes a tensor of a plain type; `give` may make it an output."""
        made = Tensor(self.unique_name(op), shape, dtype)
        self._add(op, inputs, [made], attrs)
        return made

    def plain_steps(
        self, op: str, inputs: Sequence[Tensor | None], made: Sequence[Tensor], **attrs: Any
    ) -> None:
        """Add a node of several outputs of plain types."""
        self._add(op, inputs, made, attrs)

    def give(self, tensor: Tensor, index: int = 0) -> None:
        """Make a tensor of a plain type output `index`: itself where a step has just made it."""
        if index >= len(self.node.outputs) or not self.node.outputs[index]:
            return
        name = self.node.outputs[index]
        is_new = any(tensor in node.outputs for node in self.nodes)
        if is_new and all(value.plain is not tensor for value in self.made):
            tensor.name = name
        else:
            copy = Tensor(name, check_shape(tensor.shape, tensor.dtype), tensor.dtype)
            self._add("reshape", [tensor], [copy], {})
            tensor = copy
        elements = element_name(tensor.dtype)
        self.made.append(Value(name, elements, tensor.shape, plain=tensor))

    def unique_name(self, suffix: str) -> str:
        """A name for something that the file does not name."""
        first = next(name for name in self.node.outputs if name)
        return self._values.unique(f"{first}/{suffix}")

    def reshaped(self, tensor: Tensor, shape: Sequence[int], suffix: str) -> Tensor:
        """`tensor` under another shape: itself when it has that shape."""
        if tensor.shape == tuple(shape):
            return tensor
        return self.step("reshape", [tensor], shape, suffix)

    def image(self, tensor: Tensor) -> Tensor:
        """An NCHW tensor as NHWC; one of three axes (NCL) has a height of 1."""
        rank = len(tensor.shape)
        if rank not in (3, 4):
            raise Unsupported(
                f"{tensor.name!r} has shape {list(tensor.shape)}; images of one or two dimensions "
                "are what is available"
            )
        n, channels, *space = tensor.shape
        order = (0, *range(2, rank), 1)
        turned = self.step("transpose", [tensor], (n, *space, channels), "nhwc", perm=order)
        return self.reshaped(turned, (n, *([1] * (4 - rank)), *space, channels), "image")

    def _add(
        self,
        op: str,
        inputs: Sequence[Tensor | None],
        outputs: Sequence[Tensor],
        attrs: dict[str, Any],
    ) -> None:
        node = Node(op, list(inputs), list(outputs), attrs, None, self.node.name, self.node.source)
        self.nodes.append(node)

    def _tensor_like(self, like: Tensor, shape: Sequence[int], suffix: str) -> Tensor:
        name = self._values.unique(f"{self.node.outputs[0]}/{suffix}")
        return Tensor(name, check_shape(shape, like.dtype), like.dtype, like.quantization)

    def _image_like(self, target: Tensor) -> Tensor:
        n, channels, *space = target.shape
        height, width = (1, *space) if len(space) == 1 else space
        return self._tensor_like(target, (n, height, width, channels), "made")

    def _bring_image(self, made: Tensor, target: Tensor) -> None:
        n, channels, *space = target.shape
        flat = self.reshaped(made, (n, *space, channels), "nhwc_out")
        rank = len(target.shape)
        self._add("transpose", [flat], [target], {"perm": (0, rank - 1, *range(1, rank - 1))})

    # --- who reads the output, and how

    def _readers(self, index: int) -> tuple[list[tuple[str, str, Quantization]], bool]:
        """(output, element type, quantisation) of every QuantizeLinear; whether others read too."""
        name = self.node.outputs[index]
        quantizes, others = [], False
        for reader in self._context.readers.get(name, ()):
            if reader is None or not is_quantize(reader) or reader.inputs[0] != name:
                others = True
                continue
            try:
                quantization, elements = parameters(reader, self._values, None)
                graph_dtype(reader.outputs[0], elements)
            except Unsupported:
                others = True  # said when the QuantizeLinear itself is looked at
                continue
            if not quantization.is_per_tensor:
                others = True
                continue
            quantizes.append((reader.outputs[0], elements, quantization))
        return quantizes, others

    def _targets(self, shape: Sequence[int], elements: str) -> list[Tensor]:
        name = self.node.outputs[0]
        dims = check_shape(shape, graph_dtype(name, elements))
        quantizes, others = self._readers(0)
        found: list[Tensor] = []
        for output, kind, quantization in quantizes:
            dtype = graph_dtype(output, kind)
            for tensor in found:
                if tensor.dtype == dtype and quantization.same_as(tensor.quantization):
                    break
            else:
                tensor = Tensor(output, dims, dtype, quantization)
                found.append(tensor)
            self.made.append(Value(output, kind, dims, plain=tensor))
        value = Value(name, elements, dims)
        self.made.append(value)
        if others or not found:
            value.plain = Tensor(name, dims, graph_dtype(name, elements))
            found.append(value.plain)
        return found

    def _moved(self, x: Tensor, index: int, shape: Sequence[int]) -> Tensor:
        name = self.node.outputs[index]
        dims = check_shape(shape, x.dtype)
        first = self.value(0)
        is_number = first.elements == "FLOAT"
        value = Value(name, first.elements, dims)
        self.made.append(value)
        if not is_number or x.quantization is None:
            value.plain = Tensor(name, dims, x.dtype, x.quantization)
            return value.plain
        value.made_by = self.node.name
        stored = ""
        for output, elements, quantization in self._readers(index)[0]:
            if graph_dtype(output, elements) == x.dtype and quantization.same_as(x.quantization):
                stored = output
        # The QuantizeLinear finds its numbers stored already, and leaves its name here.
        value.quantised = Tensor(
            stored or self._values.unique(f"{name}/quantized"), dims, x.dtype, x.quantization
        )
        return value.quantised


Handler: TypeAlias = Callable[[Operation], None]
