"""From a float graph and ranges to a quantised graph.

Nodes are taken in order. Each computes at one precision, int8, int16 or float32, and asks for its
operands at that precision; a tensor is stored once as its producer makes it, and conversions
(quantize, dequantize, requantize) are inserted where a reader asks for another, one for all readers
of a kind. Nodes that only move values follow what they read. So any mixture of precisions is a
graph that means what the float graph means, rounded where integers are stored.

Names stay: the tensor of the quantised graph that stands for a float tensor has its name, and
conversions of it say what they are behind it. A graph output that stays float32 has the name, and
the integers in front of it a longer one.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from edgeinfer.convert.graph import Graph, Node, Quantization, Tensor, check_graph
from edgeinfer.convert.lower.float_nodes import FLOAT_RESULTS
from edgeinfer.convert.lower.pack import accumulator_range
from edgeinfer.convert.lower.quantized import quantized
from edgeinfer.convert.passes.edit import constant, same_type
from edgeinfer.convert.passes.propagate_quantization import conversion
from edgeinfer.convert.quantize.choose_blocks import (
    TAKES_BLOCKS,
    ChosenBlocks,
    WeightScheme,
    block_tensor,
    choose_blocks,
    saves_bytes,
)
from edgeinfer.convert.quantize.precision import (
    NOT_INT16,
    first_reader_that_computes,
    float_reason,
    is_numeric,
    masked_tensors,
)
from edgeinfer.convert.quantize.prepare_graph import layer_name
from edgeinfer.convert.quantize.quantize_weights import (
    CHANNEL_AXIS,
    ChosenWeights,
    choose_weights,
    quantized_bias,
    weight_quantization,
)
from edgeinfer.convert.quantize.ranges import Range, int8_quantization, int16_quantization
from edgeinfer.convert.quantize.share_ranges import (
    SharedRanges,
    data_operands,
    moves,
    share_ranges,
)
from edgeinfer.errors import InputError

Precision = Literal["int8", "int16", "float32"]
IO = Literal["float32", "int8"]


@dataclass(eq=False)
class QuantizedGraph:
    """A quantised graph, and how it corresponds to the float graph.

    Attributes
    ----------
    graph : to be finished by `finish` of post_training.py and lowered.
    stored : for every float tensor's name, the tensor of `graph` that its producer makes.
    read : for every float tensor's name that a layer with weights reads, the tensor that it reads.
    weights : for every layer with weights, by `layer_name`, the integers and scales in use.
    float_layers : for every layer that computes in float32, by `layer_name`, why.
    """

    graph: Graph
    stored: dict[str, Tensor]
    read: dict[str, Tensor]
    weights: dict[str, ChosenWeights]
    float_layers: dict[str, str]


def quantize_graph(
    graph: Graph,
    ranges: Mapping[str, Range],
    *,
    keep_float: Collection[str] | Mapping[str, str] = (),
    int16: Collection[str] | Mapping[str, str] = (),
    weights: Mapping[str, ChosenWeights] | None = None,
    io: IO = "float32",
    scheme: WeightScheme = "int8",
    int8: Collection[str] = (),
) -> QuantizedGraph:
    """Quantise a prepared float graph.

    Parameters
    ----------
    graph : prepared by `prepare_graph.prepare`; not changed.
    ranges : a range for every float32 activation, by name.
    keep_float : names of layers (`layer_name`) that compute in float32; a mapping gives the reason
        that reports show.
    int16 : names of layers that compute on int16 activations (weights stay int8), or a mapping as
        above.
    weights : integers and scales for layers that are not to be rounded to nearest.
    io : what graph inputs and outputs that are float32 become. With "float32" they stay, and the
        program converts; with "int8" they are the integers, with scale and zero point.
    scheme : of weights of layers on int8 that `weights` says nothing of, where kernels take it.
    int8 : names of layers whose weights are int8 all the same.

    Raises
    ------
    InputError
        `keep_float`, `int16` or `int8` names a layer that there is not.
    """
    require_layers(graph, [*keep_float, *int16, *int8])
    quantizer = _Quantizer(
        graph, share_ranges(graph, ranges), keep_float, int16, weights or {}, io, scheme, int8
    )
    return quantizer.run()


def require_layers(graph: Graph, names: Collection[str]) -> None:
    """Raise InputError, naming similar ones, on names of layers that there are not."""
    known = [layer_name(node) for node in graph.nodes]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 3, 0.3) or known[:3]
            raise InputError(
                f"{graph.name} has no layer that makes a tensor {name!r}; there are, for example, "
                + ", ".join(map(repr, near))
            )


@dataclass(eq=False)
class _Quantizer:
    graph: Graph
    shared: SharedRanges
    keep_float: Collection[str] | Mapping[str, str]
    int16: Collection[str] | Mapping[str, str]
    given_weights: Mapping[str, ChosenWeights]
    io: IO
    scheme: WeightScheme
    int8: Collection[str]
    nodes: list[Node] = field(default_factory=list)
    native: dict[Tensor, Tensor] = field(default_factory=dict)
    forms: dict[Tensor, list[Tensor]] = field(default_factory=dict)
    read: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[str, ChosenWeights] = field(default_factory=dict)
    float_layers: dict[str, str] = field(default_factory=dict)

    def run(self) -> QuantizedGraph:
        graph = self.graph
        self.readers = graph.consumers()
        self.names = {tensor.name for tensor in graph.tensors()}
        self.outputs = set(graph.outputs)
        self.masked = masked_tensors(graph)
        inputs = [self._input(tensor) for tensor in graph.inputs]
        for node in graph.nodes:
            self._node(node)
        outputs = [self._output(tensor) for tensor in graph.outputs]
        result = Graph(
            graph.name, inputs, outputs, self.nodes, graph.source_format, dict(graph.metadata)
        )
        check_graph(result)
        stored = {tensor.name: made for tensor, made in self.native.items()}
        return QuantizedGraph(result, stored, self.read, self.weights, self.float_layers)

    # --- tensors

    def _input(self, tensor: Tensor) -> Tensor:
        if self.io == "int8" and tensor.dtype == "float32":
            found = int8_quantization(self.shared.range_of(tensor))
            return self._made(tensor, Tensor(tensor.name, tensor.shape, "int8", found))
        return self._made(tensor, tensor)

    def _output(self, tensor: Tensor) -> Tensor:
        if tensor.dtype != "float32" or tensor.is_constant:
            return tensor
        precision: Precision = "float32"
        if self.io == "int8":
            precision = "int16" if self.native[tensor].dtype == "int16" else "int8"
        return self._form(tensor, precision)

    def _made(self, tensor: Tensor, form: Tensor) -> Tensor:
        """Note that `form` is what holds the tensor's value."""
        self.native[tensor] = form
        self.forms[tensor] = [form]
        return form

    def _quantization(self, tensor: Tensor, precision: Precision) -> Quantization | None:
        if precision == "float32":
            return None
        found = self.shared.range_of(tensor)
        return int8_quantization(found) if precision == "int8" else int16_quantization(found)

    def _result(self, tensor: Tensor, precision: Precision) -> Tensor:
        """The tensor that a node at this precision makes in the place of `tensor`."""
        if precision == "float32" or tensor.dtype != "float32":
            return self._made(tensor, tensor)
        name = tensor.name
        if tensor in self.outputs and self.io == "float32":
            name = self._new_name(f"{name} ({precision})")
        found = self._quantization(tensor, precision)
        return self._made(tensor, Tensor(name, tensor.shape, precision, found))

    def _form(self, tensor: Tensor, precision: Precision, like: Tensor | None = None) -> Tensor:
        """The tensor at a precision, in the quantisation of `like` or of its own group."""
        if tensor.dtype != "float32":
            return tensor
        found = self._quantization(like or tensor, precision)
        wanted = Tensor("", tensor.shape, precision, found)
        if tensor.data is not None:
            return self._constant(tensor, wanted)
        for form in self.forms[tensor]:
            if same_type(form, wanted):
                return form
        source = self.native[tensor]
        op = conversion(source, wanted)
        assert op, (source, wanted)
        if precision == "float32" and tensor in self.outputs and self.io == "float32":
            wanted = tensor
        else:
            wanted.name = self._new_name(f"{tensor.name} ({precision})")
        self.nodes.append(Node(op, [source], [wanted], name=tensor.name, source=op))
        self.forms[tensor].append(wanted)
        return wanted

    def _constant(self, tensor: Tensor, wanted: Tensor) -> Tensor:
        if wanted.dtype == "float32" or tensor.data is None:
            return tensor
        stored = quantized(tensor.data, wanted, "onnx")
        return constant(tensor.name, stored, wanted.quantization)

    def _new_name(self, name: str) -> str:
        unique, number = name, 0
        while unique in self.names:
            number += 1
            unique = f"{name}_{number}"
        self.names.add(unique)
        return unique

    # --- nodes

    def _node(self, node: Node) -> None:
        if not is_numeric(node):
            for tensor in node.outputs:
                self._made(tensor, tensor)
            self.nodes.append(node)
            return
        precision, reason = self._precision(node)
        if precision == "float32":
            self._float_node(node, reason)
        elif node.op in CHANNEL_AXIS:
            self._weighted_node(node, precision)
        elif moves(node):
            operands = data_operands(node)
            inputs = [
                self._form(t, precision, node.output) if t is not None and t in operands else t
                for t in node.inputs
            ]
            self._emit(node, inputs, precision)
        else:
            self._emit(node, self._operands(node, precision), precision)
        if precision == "int16":
            self.nodes[-1].int16_reason = reason

    def _precision(self, node: Node) -> tuple[Precision, str]:
        """What the node computes at; the reason if that is not int8."""
        name = layer_name(node)
        if name in self.keep_float:
            return "float32", _asked(self.keep_float, name)
        reason = float_reason(node)
        if any(tensor in self.masked for tensor in [*node.inputs, *node.outputs]):
            reason = reason or "a mask of numbers below -1e4 goes through it"
        if reason:
            return "float32", reason
        if moves(node) and name not in self.int16:
            return self._followed(node), ""
        if name in self.int16 and node.op not in NOT_INT16:
            return "int16", _asked(self.int16, name)
        return "int8", ""

    def _followed(self, node: Node) -> Precision:
        """The precision of what a moving node reads; of its reader where the graph begins."""
        operands = [t for t in data_operands(node) if not t.is_constant]
        forms = [self.native[t].dtype for t in operands if t not in self.graph.inputs]
        if "int8" in forms:
            return "int8"
        if "int16" in forms:
            return "int16" if node.op not in NOT_INT16 else "int8"
        if forms:
            return "float32"
        reader = first_reader_that_computes(self.graph, node.output)
        return "float32" if reader is None else self._precision(reader)[0]

    def _operands(self, node: Node, precision: Precision) -> list[Tensor | None]:
        if node.op == "prelu":
            return [self._form(node.input(0), precision), node.input(1)]
        return [tensor and self._form(tensor, precision) for tensor in node.inputs]

    def _emit(self, node: Node, inputs: list[Tensor | None], precision: Precision) -> None:
        wanted = precision
        if precision == "int8" and node.op in FLOAT_RESULTS and self._read_as_float(node.output):
            wanted = "float32"  # a table's entries, and softmax, need not be rounded to integers
        outputs = [self._result(tensor, wanted) for tensor in node.outputs]
        self.nodes.append(_rewritten(node, inputs, outputs))

    def _read_as_float(self, tensor: Tensor) -> bool:
        """Whether all that reads a tensor wants float32."""
        if tensor in self.outputs and self.io == "int8":
            return False
        readers = self.readers.get(tensor, [])
        return all(not moves(r) and self._precision(r)[0] == "float32" for r in readers)

    def _float_node(self, node: Node, reason: str) -> None:
        inputs = [tensor and self._form(tensor, "float32") for tensor in node.inputs]
        outputs = [self._result(tensor, "float32") for tensor in node.outputs]
        if reason:
            self.float_layers[layer_name(node)] = reason
        rewritten = _rewritten(node, inputs, outputs)
        rewritten.float_reason = reason
        self.nodes.append(rewritten)

    def _weighted_node(self, node: Node, precision: Precision) -> None:
        x, w = node.input(0), node.input(1)
        b = node.inputs[2] if len(node.inputs) > 2 else None
        assert w.data is not None
        stored = self._quantization(x, precision)
        assert stored is not None
        axis, scale = CHANNEL_AXIS[node.op], stored.scale[0]
        bias = None if b is None or b.data is None else b.data.reshape(-1)
        chosen = self.given_weights.get(layer_name(node))
        wants_int8 = precision != "int8" or layer_name(node) in self.int8
        if wants_int8 and isinstance(chosen, ChosenBlocks):
            chosen = chosen.in_int8()
        scheme = self.scheme
        blocks = not wants_int8 and node.op in TAKES_BLOCKS
        if chosen is None and blocks and scheme != "int8" and saves_bytes(w.data, scheme):
            chosen = choose_blocks(w.data, bias, float(scale), scheme)
        if chosen is None:
            chosen = choose_weights(w.data, bias, float(scale), axis)
        if isinstance(chosen, ChosenBlocks):
            self._node_with_blocks(node, chosen)
            return
        integers = None if bias is None else quantized_bias(bias, chosen.scales, scale)
        if precision == "int8":
            zero_point = int(stored.zero_point[0])
            low, high = accumulator_range(integers, chosen.values, zero_point, (-128, 127), axis)
            if low.min() < -(2**31) or high.max() >= 2**31:
                self._float_node(node, "sums of its products could leave int32")
                return
        self.read[x.name] = self._form(x, precision)
        inputs: list[Tensor | None] = [
            self.read[x.name],
            constant(w.name, chosen.values, weight_quantization(chosen.scales, axis)),
        ]
        if integers is not None and b is not None:
            dtype = np.int32 if precision == "int8" else np.int64
            inputs.append(constant(b.name, integers.astype(dtype)))
        self.weights[layer_name(node)] = chosen
        outputs = [self._result(node.output, precision)]
        self.nodes.append(_rewritten(node, inputs, outputs))

    def _node_with_blocks(self, node: Node, chosen: ChosenBlocks) -> None:
        """int8 activations, weights in blocks, and the bias as it is."""
        x = node.input(0)
        self.read[x.name] = self._form(x, "int8")
        inputs = [self.read[x.name], block_tensor(node.input(1), chosen.blocks), *node.inputs[2:]]
        self.weights[layer_name(node)] = chosen
        self.nodes.append(_rewritten(node, inputs, [self._result(node.output, "int8")]))


def _asked(given: Collection[str] | Mapping[str, str], name: str) -> str:
    """The reason that was given with a layer's name, or that it was."""
    return given[name] if isinstance(given, Mapping) else "asked for"


def _rewritten(node: Node, inputs: list[Tensor | None], outputs: list[Tensor]) -> Node:
    return Node(
        node.op,
        inputs,
        outputs,
        dict(node.attrs),
        node.activation,
        node.name,
        node.source,
        node.absorbed,
    )
