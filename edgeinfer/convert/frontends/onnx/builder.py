"""From nodes of the file to a `Graph`: values, constants, and the list of problems.

1. Operators on integers become float operators between conversions (`qlinear`); what no output
   depends on is dropped.
2. Each node, in the file's order: evaluated when its inputs are constants (`evaluate`), resolved
   when it converts (`quantization`), else given to the handler of its operator.
3. A node that cannot be expressed becomes a problem and an "unsupported" node, whose outputs are of
   the shapes that ONNX infers, so that the rest is still looked at. Where not even a shape is
   known, what depends on it is looked at for its operator alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from edgeinfer.convert.graph import Graph, Node, Problem, Tensor

from .custom import find_custom, read_custom
from .evaluate import Evaluator
from .model_file import Array, ModelFile, SourceNode, ValueType, load_onnx
from .operation import Context, Handler, Operation
from .qlinear import rewrite_qlinear
from .quantization import dequantize, integer_quantizations, is_plain_conversion, quantize
from .refusals import refusal
from .values import (
    OpenShape,
    Unsupported,
    Value,
    Values,
    check_shape,
    graph_dtype,
    is_dequantize,
    is_quantize,
)

_STAND_IN = "float32"  # dtype of a tensor whose own the graph does not have; there is a problem too


class GraphBuilder:
    """Collects the graph of one model."""

    def __init__(self, file: ModelFile, handlers: Mapping[str, Handler]) -> None:
        onnx = load_onnx()
        self._file = file
        self._handlers = handlers
        self._graph = Graph(file.name, [], [], [], "onnx")
        self._element_number = onnx.helper.np_dtype_to_tensor_dtype
        names = {number: name for name, number in onnx.TensorProto.DataType.items()}
        self._values = Values(lambda n: names.get(n, f"TYPE_{n}"), self._graph.nodes)
        self._evaluator = Evaluator(onnx, file.opsets)
        constants = dict(file.constants)
        taken = {*file.inputs, *constants, *_names_in(file.nodes)}
        nodes = rewrite_qlinear(file.nodes, constants, taken)
        self._values.reserve({*taken, *constants, *_names_in(nodes)})
        self._nodes = live_nodes(nodes, file.outputs)
        for name, data in constants.items():
            self._values.add_constant(name, data, int(self._element_number(data.dtype)))
        self._context = Context(self._values, self._evaluator, readers(self._nodes, file.outputs))

    def build(self) -> Graph:
        """The whole graph, with every problem in it."""
        graph = self._graph
        self._add_inputs()
        for node in self._nodes:
            try:
                self._translate(node)
            except Unsupported as error:
                self._refuse(node.name, node.source, error)
                self._add_unsupported(node)
            except OpenShape:
                if not self._is_known(node):
                    self._refuse(node.name, node.source, refusal(node))
                self._add_unsupported(node)
        for name in self._file.outputs:
            graph.outputs.append(self._graph_output(name))
        return graph

    # --- inputs and outputs

    def _add_inputs(self) -> None:
        quantizations = integer_quantizations(self._nodes, self._values)
        for name, kind in self._file.inputs.items():
            value = self._values.add(name, kind.elements, kind.shape)
            try:
                dtype = graph_dtype(name, value.elements)
                shape = check_shape(value.known_shape, dtype)
            except Unsupported as error:
                self._refuse(name, "input", error)
                self._graph.inputs.append(Tensor(name, (1,), _STAND_IN))
                value.shape = None
                continue
            quantization = quantizations.get(name) if dtype in ("int8", "uint8", "int16") else None
            value.plain = Tensor(name, shape, dtype, quantization)
            self._graph.inputs.append(value.plain)

    def _graph_output(self, name: str) -> Tensor:
        try:
            tensor = self._values.plain(self._values[name])
            if 0 in tensor.shape:
                raise Unsupported(f"its shape is {list(tensor.shape)}: it has no elements")
        except (Unsupported, OpenShape) as error:
            if isinstance(error, Unsupported):
                self._refuse(name, "output", error)
            tensor = Tensor(name, (1,), _STAND_IN)
            self._graph.nodes.append(Node("unsupported", [], [tensor], name=name))
            return tensor
        if tensor.name == name:
            return tensor
        if tensor.is_constant:
            return Tensor(name, tensor.shape, tensor.dtype, tensor.quantization, tensor.data)
        if tensor in self._graph.inputs or tensor in self._graph.outputs:
            # One tensor under two names: the second is a copy.
            copy = Tensor(name, tensor.shape, tensor.dtype, tensor.quantization)
            self._graph.nodes.append(Node("reshape", [tensor], [copy], name=name))
            return copy
        tensor.name = name
        return tensor

    # --- nodes

    def _translate(self, node: SourceNode) -> None:
        inputs = [self._values[name] if name else None for name in node.inputs]
        is_plain = is_plain_conversion(node, self._values)
        if is_dequantize(node) and not is_plain:
            dequantize(node, self._values)
        elif is_quantize(node) and not is_plain:
            if node.outputs[0] not in self._values:
                made = quantize(node, self._values)
                self._graph.nodes += [] if made is None else [made]
        elif self._evaluator.can_evaluate(node, inputs):
            self._evaluate(node, inputs)
        else:
            operation = Operation(node, self._context)
            self._read(operation)
            self._graph.nodes += operation.nodes
            for value in operation.made:
                self._values.put(value)

    def _read(self, operation: Operation) -> None:
        node = operation.node
        handler = self._handlers.get(node.key)
        custom = None if handler is not None else find_custom(node)
        if handler is not None:
            handler(operation)
        elif custom is not None:
            read_custom(operation, custom, self._file.declared.get(node.outputs[0]))
        else:
            raise refusal(node)

    def _evaluate(self, node: SourceNode, inputs: Sequence[Value | None]) -> None:
        moved = self._moved_constant(node, inputs)
        if moved is not None:
            self._values.put(moved)
            return
        data = [None if value is None else value.constant_data for value in inputs]
        found = self._evaluator.evaluate(node, inputs, data)
        for name, (array, elements) in zip(node.outputs, found, strict=True):
            if name:
                self._values.add_constant(name, array, elements)

    def _moved_constant(self, node: SourceNode, inputs: Sequence[Value | None]) -> Value | None:
        """A quantised constant that is reshaped or transposed stays quantised."""
        first = inputs[0] if inputs else None
        if first is None or first.quantised is None or first.quantised.data is None:
            return None
        stored = first.quantised
        rest = [None if value is None else value.constant_data for value in inputs[1:]]
        if node.op not in _REARRANGING or stored.quantization is None:
            return None
        (array, _), *_ = self._evaluator.evaluate(node, inputs, [stored.data, *rest])
        quantization = stored.quantization
        if not quantization.is_per_tensor:
            axis = _axis_after(node, quantization.axis, first.known_shape, array)
            if axis is None:
                return None
            quantization = type(quantization)(quantization.scale, quantization.zero_point, axis)
        value = Value(node.outputs[0], first.elements, array.shape)
        data = np.ascontiguousarray(array).reshape(array.shape)
        value.quantised = Tensor(stored.name, array.shape, stored.dtype, quantization, data)
        return value

    def _is_known(self, node: SourceNode) -> bool:
        known = node.key in self._handlers or find_custom(node) is not None
        return known or is_quantize(node) or is_dequantize(node)

    def _add_unsupported(self, node: SourceNode) -> None:
        read = [self._values[name] for name in node.inputs if name in self._values]
        made = [
            self._stand_in(name, kind)
            for name, kind in zip(node.outputs, self._types_of(node), strict=True)
            if name
        ]
        tensors: list[Tensor | None] = [v.plain for v in read if v.plain is not None]
        self._graph.nodes.append(
            Node("unsupported", tensors, made, name=node.name, source=node.source)
        )

    def _stand_in(self, name: str, kind: ValueType) -> Tensor:
        """What an unsupported node makes. Nothing can read it where its type is not known."""
        value = self._values.add(name, kind.elements, None)
        try:
            dtype = graph_dtype(name, value.elements)
            shape = None if kind.shape is None else check_shape(kind.shape, dtype)
        except Unsupported:
            shape = None
        if shape is None:
            return Tensor(name, (1,), _STAND_IN)
        value.shape = shape
        value.plain = Tensor(name, shape, dtype)
        return value.plain

    def _types_of(self, node: SourceNode) -> Iterable[ValueType]:
        """Types of the outputs of a node that cannot be expressed, as far as anything tells."""
        unknown = ValueType(0, None)
        try:
            inputs = [self._values[name] if name else None for name in node.inputs]
            types = self._evaluator.infer(node, inputs)
        except (Unsupported, OpenShape):
            types = [unknown for _ in node.outputs]
        return [
            self._file.declared.get(name, kind) if kind.shape is None else kind
            for name, kind in zip(node.outputs, types, strict=True)
        ]

    def _refuse(self, node: str, operator: str, error: Unsupported) -> None:
        self._graph.problems.append(Problem(node, operator, error.reason, error.advice))


_REARRANGING = ("Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


def _axis_after(node: SourceNode, axis: int, shape: tuple[int, ...], result: Array) -> int | None:
    """Where the channel axis of a rearranged constant is; None where it is no axis any more."""
    if node.op == "Transpose":
        perm = list(node.attrs.get("perm", range(len(shape))[::-1]))
        return perm.index(axis)
    before = int(np.prod(shape[:axis], dtype=np.int64))
    for i, n in enumerate(result.shape):
        if n == shape[axis] and before == int(np.prod(result.shape[:i], dtype=np.int64)):
            return i
    return None


def _names_in(nodes: Iterable[SourceNode]) -> Iterator[str]:
    for node in nodes:
        yield from node.inputs
        yield from node.outputs


def readers(
    nodes: Iterable[SourceNode], outputs: Iterable[str]
) -> dict[str, list[SourceNode | None]]:
    """The nodes that read each value, a node once; None stands for a graph output."""
    found: dict[str, list[SourceNode | None]] = {}
    for node in nodes:
        for name in dict.fromkeys(node.inputs):
            found.setdefault(name, []).append(node)
    for name in outputs:
        found.setdefault(name, []).append(None)
    return found


def live_nodes(nodes: Iterable[SourceNode], outputs: Iterable[str]) -> list[SourceNode]:
    """The nodes that an output depends on, in order."""
    needed = set(outputs)
    live = []
    for node in reversed(list(nodes)):
        if not needed.isdisjoint(node.outputs):
            needed.update(node.inputs)
            live.append(node)
    return live[::-1]
