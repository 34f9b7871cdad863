"""Let the operator in front apply a relu, relu6, relu_n1_to_1 or clip.

The intermediate must have this one reader, and either be float32 (a QDQ source leaves Conv -> Relu
-> QuantizeLinear in float between the two) or have the quantisation of the clamped output (then
clamping its integers is the same thing). With another quantisation the clamp stays an operator of
its own, since the source rounds twice. Reshapes and transposes between the two, which only move,
come behind the clamp.
"""

from __future__ import annotations

from edgeinfer.convert.graph import Graph, Node
from edgeinfer.convert.lower.activations import CLAMPS, activation_bounds, bounds_of, chained
from edgeinfer.convert.passes.edit import absorb_names, activation_like, only_reader, same_type

FUSES = frozenset(
    {
        "conv2d",
        "depthwise_conv2d",
        "transpose_conv2d",
        "fully_connected",
        "batch_matmul",
        "add",
        "sub",
        "mul",
        "avg_pool2d",
        "max_pool2d",
        "mean",
        "sum",
        "quantize",
        "requantize",
        "relu",
        "relu6",
        "relu_n1_to_1",
        "clip",
    }
)
"""Operators that clamp what they store."""

_MOVES = ("reshape", "transpose")


def fuse_activations(graph: Graph) -> bool:
    """Fuse every clamp that can be."""
    changed = False
    producers, readers = graph.producers(), graph.consumers()
    for clamp in list(graph.nodes):
        if clamp.op not in CLAMPS:
            continue
        x, y = clamp.input(0), clamp.output
        if only_reader(graph, x, readers) is not clamp:
            continue
        producer = producers.get(x)
        moves: list[Node] = []
        while producer is not None and producer.op in _MOVES and producer.activation is None:
            moved = producer.input(0)
            if only_reader(graph, moved, readers) is not producer or not same_type(moved, x):
                break
            moves.append(producer)
            producer = producers.get(moved)
        if producer is None or producer.op not in FUSES or len(producer.outputs) != 1:
            continue
        if x.quantization is not None and not same_type(x, y):
            continue
        if producer.op == "max_pool2d" and not same_type(producer.input(0), y):
            continue  # clamps stored integers, which are those of its input
        producer.activation = chained(
            chained(producer.activation, bounds_of(clamp.op, clamp.attrs)),
            activation_bounds(clamp.activation),
        )
        for move in moves:
            if not same_type(x, y):
                move.inputs = [activation_like(y, "moved", shape=move.input(0).shape)]
                readers[move.input(0)] = [move]
            move.outputs = [y]
            producers[y] = move
            y = move.input(0)
        producer.outputs = [y]
        producers[y] = producer
        absorb_names(producer, [clamp])
        graph.nodes.remove(clamp)
        changed = True
    return changed
