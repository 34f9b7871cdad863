"""Keep tensors quantised between the operators that need it, and move conversions to the edges.

Quantised sources leave float32 gaps: DequantizeLinear -> Reshape -> output, Conv -> Reshape ->
QuantizeLinear. Each rule here closes such a gap without changing a result:

- An operator that computes reads a dequantized tensor as the quantised one (its meaning is the same
  real number), and writes the quantised tensor that its only kind of reader, a quantize, makes.
- An operator that only moves, or picks among, values commutes with quantisation: dequantizes sink
  behind it and quantizes rise in front of it.
- quantize(dequantize(x)) is a requantize.

What remains float32 afterwards is float in the source, and lowering reports it.
"""

from __future__ import annotations

import numpy as np

from edgeinfer.convert.graph import Graph, Node, Quantization, Tensor
from edgeinfer.convert.passes.edit import (
    activation_like,
    insert_after,
    insert_before,
    same_type,
)

MOVES = frozenset(
    {
        "reshape",
        "transpose",
        "slice",
        "pad",
        "concat",
        "gather",
        "max_pool2d",
        "reduce_max",
        "reduce_min",
        "maximum",
        "minimum",
    }
)
"""Operators whose every output element is one of their input elements."""
CONVERSIONS = frozenset({"quantize", "dequantize", "requantize"})


def propagate_quantization(graph: Graph) -> bool:
    """Apply every rule once over the graph; return whether one applied."""
    changed = False
    for rule in (
        _merge_conversions,
        _absorb_dequantize,
        _absorb_quantize,
        _sink_dequantize,
        _raise_quantize,
    ):
        changed = rule(graph) or changed
    return changed


def moves(node: Node) -> bool:
    """Whether the node only moves or picks values, so that it commutes with quantisation."""
    if node.op == "resize":
        return bool(node.attrs["mode"] == "nearest")
    return node.op in MOVES and node.activation is None


def data_inputs(node: Node) -> list[int]:
    """Positions of the operands whose values are moved: all but indices."""
    return [0] if node.op in ("gather", "resize") else list(range(len(node.inputs)))


def _is_float(tensor: Tensor | None) -> bool:
    return tensor is not None and tensor.dtype == "float32"


def _merge_conversions(graph: Graph) -> bool:
    changed = False
    producers = graph.producers()
    for node in graph.nodes:
        if node.op not in ("quantize", "dequantize") or node.activation is not None:
            continue
        producer = producers.get(node.input(0))
        if node.op == "quantize" and producer is not None and producer.op == "dequantize":
            node.op, node.inputs = "requantize", [producer.input(0)]
            changed = True
    return changed


def _absorb_dequantize(graph: Graph) -> bool:
    changed = False
    producers = graph.producers()
    for node in graph.nodes:
        if moves(node) or node.op in CONVERSIONS or node.op == "unsupported":
            continue
        for i, tensor in enumerate(node.inputs):
            producer = producers.get(tensor) if tensor is not None else None
            if producer is not None and producer.op == "dequantize":
                node.inputs[i] = producer.input(0)
                changed = True
    return changed


def _common_quantize(graph: Graph, tensor: Tensor, readers: list[Node]) -> list[Node] | None:
    """The readers of a float tensor when each is a quantize to one and the same type."""
    if not readers or not _is_float(tensor) or tensor in graph.outputs:
        return None
    for reader in readers:
        if reader.op != "quantize" or reader.activation is not None:
            return None
        if not same_type(reader.output, readers[0].output):
            return None
    return readers


def _absorb_quantize(graph: Graph) -> bool:
    changed = False
    readers = graph.consumers()
    for node in list(graph.nodes):
        if moves(node) or node.op in CONVERSIONS or node.op == "unsupported":
            continue
        for i, tensor in enumerate(node.outputs):
            found = _common_quantize(graph, tensor, readers.get(tensor, []))
            if found is None:
                continue
            kept = next((q for q in found if q.output in graph.outputs), found[0])
            if sum(q.output in graph.outputs for q in found) > 1:
                continue  # two graph outputs of one value: both keep their names
            node.outputs[i] = kept.output
            for quantize in found:
                graph.nodes.remove(quantize)
                if quantize is not kept:
                    graph.replace_input(quantize.output, kept.output)
            changed = True
    return changed


def _sink_dequantize(graph: Graph) -> bool:
    changed = False
    for node in list(graph.nodes):
        if not moves(node) or not _is_float(node.output):
            continue
        producers = graph.producers()
        positions = data_inputs(node)
        above = [producers.get(node.input(i)) for i in positions]
        sources = [
            producer.input(0)
            for producer in above
            if producer is not None and producer.op == "dequantize"
        ]
        if len(sources) != len(positions):
            continue
        quantization = moved_quantization(node, sources)
        if quantization is None or not _pads_exactly(node, sources[0]):
            continue
        for i, source in zip(positions, sources, strict=True):
            node.inputs[i] = source
        result = node.output
        stored = Tensor(f"{result.name} (quantised)", result.shape, sources[0].dtype, quantization)
        node.outputs = [stored]
        insert_after(
            graph, node, Node("dequantize", [stored], [result], {}, None, node.name, node.source)
        )
        changed = True
    return changed


def moved_quantization(node: Node, sources: list[Tensor]) -> Quantization | None:
    """Quantisation of what a moving node makes of `sources`; None where it is not one.

    Per-channel quantisation (of weights) follows its axis through a transpose, and through a
    reshape that keeps the axis whole.
    """
    first = sources[0]
    if first.quantization is None or any(not same_type(first, other) for other in sources):
        return None
    if first.quantization.is_per_tensor:
        return first.quantization
    scale, zero_point = first.quantization.scale, first.quantization.zero_point
    axis = first.quantization.axis
    if node.op == "transpose":
        return Quantization(scale, zero_point, node.attrs["perm"].index(axis))
    if node.op == "reshape":
        front = int(np.prod(first.shape[:axis], dtype=np.int64))
        for i, extent in enumerate(node.output.shape):
            if extent == first.shape[axis] and front == int(
                np.prod(node.output.shape[:i], dtype=np.int64)
            ):
                return Quantization(scale, zero_point, i)
    return None


def _pads_exactly(node: Node, source: Tensor) -> bool:
    """Whether a constant pad's value is one of the quantised numbers."""
    if node.op != "pad" or node.attrs["mode"] != "constant":
        return True
    quantization = source.quantization
    if quantization is None or not quantization.is_per_tensor:
        return False
    info = np.iinfo(source.dtype)
    q = np.float32(node.attrs["value"]) / quantization.scale[0] + quantization.zero_point[0]
    return bool(info.min <= q <= info.max and q == np.rint(q))


def _raise_quantize(graph: Graph) -> bool:
    changed = False
    readers = graph.consumers()
    for node in reversed(list(graph.nodes)):
        if not moves(node) or len(node.outputs) != 1:
            continue
        found = _common_quantize(graph, node.output, readers.get(node.output, []))
        if found is None or any(node.input(i).quantization is not None for i in data_inputs(node)):
            continue
        kept = found[0]
        if sum(q.output in graph.outputs for q in found) > 0 and len(found) > 1:
            continue
        target = kept.output
        for i in data_inputs(node):
            source = node.input(i)
            stored = activation_like(target, "source", shape=source.shape)
            insert_before(
                graph,
                node,
                Node("quantize", [source], [stored], {}, None, kept.name, kept.source),
            )
            node.inputs[i] = stored
        node.outputs = [target]
        for quantize in found:
            graph.nodes.remove(quantize)
            if quantize is not kept:
                graph.replace_input(quantize.output, target)
        readers = graph.consumers()
        changed = True
    return changed


def split_conversions(graph: Graph) -> bool:
    """Give every moving node operands and results of one type, with conversions beside it.

    A source may store what a Reshape or MaxPool moved with another quantisation, or in float32.
    Conversions go behind the node, or in front of one that makes more values than it reads.
    """
    changed = False
    for node in list(graph.nodes):
        if not moves(node):
            continue
        positions = data_inputs(node)
        result = node.output
        if all(same_type(node.input(i), result) for i in positions):
            continue
        first = node.input(positions[0])
        uniform = all(same_type(node.input(i), first) for i in positions)
        grows = int(np.prod(result.shape)) > sum(
            int(np.prod(node.input(i).shape)) for i in positions
        )
        if uniform and not (grows and result.quantization is not None):
            op = conversion(first, result)
            if op is None:
                continue
            moved = moved_quantization(node, [first]) if first.quantization else None
            stored = Tensor(f"{result.name} (moved)", result.shape, first.dtype, moved)
            node.outputs = [stored]
            insert_after(
                graph, node, Node(op, [stored], [result], {}, None, node.name, node.source)
            )
        else:
            ops = [conversion(node.input(i), result) for i in positions]
            if any(op is None for op in ops):
                continue
            for i, op in zip(positions, ops, strict=True):
                source = node.input(i)
                if op is None or op == "":
                    continue
                stored = activation_like(result, f"operand_{i}", shape=source.shape)
                insert_before(
                    graph, node, Node(op, [source], [stored], {}, None, node.name, node.source)
                )
                node.inputs[i] = stored
        changed = True
    return changed


def conversion(source: Tensor, target: Tensor) -> str | None:
    """The operator that brings `source` to the type of `target`: "" for none, None if none can."""
    if same_type(source, target):
        return ""
    if source.quantization is not None and target.quantization is not None:
        return "requantize"
    if source.quantization is not None and target.dtype == "float32":
        return "dequantize"
    if source.dtype == "float32" and target.quantization is not None:
        return "quantize"
    return None
