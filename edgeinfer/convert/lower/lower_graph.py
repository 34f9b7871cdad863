"""From the graph to the program: one handler per operator, every problem collected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgeinfer.convert.graph import Graph, Node, Problem, Tensor
from edgeinfer.convert.lower import (
    convolution,
    custom,
    elementwise,
    float_elementwise,
    float_nodes,
    float_products,
    float_reduction,
    float_resize,
    indexing,
    matmul,
    movement,
    plain,
    pooling,
    prelu,
    reduction,
    resize,
    softmax,
    unary,
)
from edgeinfer.convert.lower.lowering import MAX_RANK, Lowering, Refused
from edgeinfer.convert.program import Operation, Program, Value

HANDLERS: dict[str, Callable[[Node, Lowering], None]] = {
    **convolution.HANDLERS,
    **custom.HANDLERS,
    **elementwise.HANDLERS,
    **indexing.HANDLERS,
    **matmul.HANDLERS,
    **movement.HANDLERS,
    **plain.HANDLERS,
    **pooling.HANDLERS,
    **prelu.HANDLERS,
    **reduction.HANDLERS,
    **resize.HANDLERS,
    **softmax.HANDLERS,
    **unary.HANDLERS,
}
"""What lowers each operator of the graph."""

FLOAT_HANDLERS: dict[str, Callable[[Node, Lowering], None]] = {
    **float_elementwise.HANDLERS,
    **float_products.HANDLERS,
    **float_reduction.HANDLERS,
    **float_resize.HANDLERS,
    **plain.FLOAT_HANDLERS,
}
"""What lowers an operator that computes in float32: all tensors of its node are plain float32, but
for indices, conditions and the like."""


@dataclass
class Lowered:
    """A lowered program.

    `origins` tells the graph's node behind each operation. The program is of no use when there
    are problems.
    """

    program: Program
    problems: list[Problem]
    origins: dict[Operation, Node] = field(default_factory=dict)


def lower(graph: Graph, *, name: str = "main", float_weights: str = "float32") -> Lowered:
    """Lower a graph on which the passes have run.

    Parameters
    ----------
    graph : not changed.
    name : of the program.
    float_weights : "float32" or "float16": how products of float32 store their weights.
    """
    lowering = Lowering(graph, float_weights)
    problems = lowering.problems
    for node in graph.nodes:
        _lower_node(node, lowering)
    inputs = [lowering.value(tensor) for tensor in graph.inputs]
    outputs = [] if problems else _outputs(graph, lowering)
    make_names_unique(inputs)
    make_names_unique(outputs)
    program = Program(name, inputs, outputs, lowering.operations, lowering.scratch_bytes)
    return Lowered(program, problems, lowering.origins)


def make_names_unique(values: Sequence[Value]) -> None:
    """Append _1, _2 and so on to names that an earlier value of the list has.

    Callers find inputs and outputs by name. A name that is unique already stays what it is.
    """
    taken = {value.name for value in values}
    seen: set[str] = set()
    for value in values:
        name, number = value.name, 0
        while value.name in seen or (number and value.name in taken):
            number += 1
            value.name = f"{name}_{number}"
        seen.add(value.name)


def _lower_node(node: Node, lowering: Lowering) -> None:
    if node.op == "unsupported":
        return  # the frontend has said why
    try:
        for tensor in [*node.inputs, *node.outputs]:
            if tensor is not None and len(tensor.shape) > MAX_RANK:
                raise Refused(
                    f"{tensor.name!r} has rank {len(tensor.shape)}; the largest is {MAX_RANK}"
                )
        with np.errstate(over="ignore", invalid="ignore"):  # handlers refuse what is not finite
            if float_nodes.is_float(node):
                _lower_float(node, lowering)
            elif plain.is_plain(node):
                plain.PLAIN_HANDLERS[node.op](node, lowering)
            elif node.op in HANDLERS:
                HANDLERS[node.op](node, lowering)
            elif node.op in FLOAT_HANDLERS:  # quantised on both sides, and no kernel on integers
                _lower_float(node, lowering)
            else:
                raise Refused("this operator is not available in this version")
    except Refused as refusal:
        lowering.problems.append(
            Problem(
                node.name or node.outputs[0].name,
                node.source or node.op,
                refusal.reason,
                refusal.advice,
            )
        )


def _lower_float(node: Node, lowering: Lowering) -> None:
    handler = FLOAT_HANDLERS.get(node.op)
    if handler is None and node.op in HANDLERS:
        raise Refused(
            "this operator is not available in float32 in this version",
            "quantise the model to INT8, so that it lies between quantised tensors",
        )
    if handler is None:
        raise Refused("this operator is not available in this version")
    between, after = float_nodes.in_float(node, lowering)
    handler(between, lowering)
    for quantize in after:
        unary.lower_quantize(quantize, lowering)


def _outputs(graph: Graph, lowering: Lowering) -> list[Value]:
    """One value per output: copies of constants, of inputs, and of what is given out twice."""
    outputs: list[Value] = []
    for tensor in graph.outputs:
        value = lowering.value(tensor)
        if value.data is not None or tensor in graph.inputs or value in outputs:
            source = value
            value = Value(tensor.name, source.shape, source.dtype, source.scale, source.zero_point)
            lowering.emit(_copy_of(tensor), "copy", [source], value, {"reserved": 0})
        outputs.append(value)
    return outputs


def _copy_of(tensor: Tensor) -> Node:
    return Node("copy", [tensor], [tensor], name=tensor.name, source="output")
