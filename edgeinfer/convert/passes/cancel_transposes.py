"""Remove the transposes that NCHW sources need around operators that work on NHWC.

Each transpose sinks: op(transpose(x)) becomes transpose(op'(x)), op' being the operator with its
axes renamed, as long as it works axis by axis. Where a transpose meets another the two become one,
which vanishes when they are inverse; where its reader is a fully_connected behind a flatten, the
columns of the weights move instead. A transpose that splits axes by a reshape in between is raised
through that reshape to meet the one above. Operands beside the transposed one must be transposed
alike, be constants, or have all but one axis of length 1 in the axes that move.

Sinking never ends above where it began, so the pass ends. What is left sinks no further; behind a
pad it is raised to the front again, where it moves less and lets the pad fold into what follows.

Not guaranteed: the fewest transposes possible. A tensor read along several paths may be transposed
in each; `run_passes` then keeps the graph as it was before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgeinfer.convert.graph import Graph, Node, Tensor
from edgeinfer.convert.lower.functions import BINARY, UNARY
from edgeinfer.convert.passes.edit import (
    activation_like,
    bypass,
    constant,
    insert_after,
    insert_before,
    producer_of,
    readers_of,
)
from edgeinfer.convert.passes.permutations import (
    Perm,
    compose,
    inverse,
    is_identity,
    moves_nothing,
    permuted,
    reshape_then_transpose,
    transpose_then_reshape,
)
from edgeinfer.convert.passes.remove_dead_nodes import remove_dead_nodes


def cancel_transposes(graph: Graph) -> bool:
    """Sink, merge, raise and fold transposes until none moves."""
    return sink_transposes(graph, raising=True)


def sink_transposes(graph: Graph, *, raising: bool = False) -> bool:
    """Sink, merge and fold transposes until none moves; raise those that can meet another."""
    changed = False
    moving = True
    while moving:
        moving = False
        for node in list(graph.nodes):
            if node.op == "transpose" and _advance(graph, node, raising):
                moving = changed = True
        remove_dead_nodes(graph)
    return changed


def transposed_bytes(graph: Graph) -> int:
    """Bytes that transposes of the graph move: what the pass is to lower."""
    return sum(
        int(np.prod(node.output.shape, dtype=np.int64)) * np.dtype(node.output.dtype).itemsize
        for node in graph.nodes
        if node.op == "transpose" and not moves_nothing(node.input(0).shape, node.attrs["perm"])
    )


def raise_transposes(graph: Graph) -> bool:
    """Put transposes that stand behind a pad in front of it."""
    changed = False
    for node in list(graph.nodes):
        if node.op != "transpose" or node not in graph.nodes:
            continue
        pad = producer_of(graph, node.input(0))
        if pad is None or pad.op != "pad" or pad.input(0).is_constant:
            continue
        if readers_of(graph, pad.output) != [node] or pad.output in graph.outputs:
            continue
        perm, x = node.attrs["perm"], pad.input(0)
        moved = activation_like(x, "transposed", shape=permuted(x.shape, perm))
        result = node.output
        graph.nodes.remove(node)
        insert_before(
            graph,
            pad,
            Node("transpose", [x], [moved], {"perm": perm}, None, node.name, node.source),
        )
        pad.inputs, pad.outputs = [moved], [result]
        pad.attrs = {
            **pad.attrs,
            "before": permuted(pad.attrs["before"], perm),
            "after": permuted(pad.attrs["after"], perm),
        }
        changed = True
    return changed


def _advance(graph: Graph, node: Node, raising: bool) -> bool:
    """Move one transpose past each of its readers that lets it; whether one did."""
    if not any(other is node for other in graph.nodes):
        return False
    perm = node.attrs["perm"]
    if is_identity(perm):
        return bypass(graph, node)
    changed = False
    for reader in readers_of(graph, node.output):
        if reader.op == "transpose":
            reader.inputs = [node.input(0)]
            reader.attrs = {"perm": compose(perm, reader.attrs["perm"])}
            moved = True
        elif reader.op == "reshape":
            moved = _past_reshape(graph, node, reader, raising)
        elif reader.op in _SINK:
            moved = _sink(graph, node, reader)
        else:
            moved = False
        changed = moved or changed
    return changed


# --- reshapes


def _past_reshape(graph: Graph, node: Node, reshape: Node, raising: bool) -> bool:
    x, perm, target = node.input(0), node.attrs["perm"], reshape.output.shape
    if moves_nothing(x.shape, perm):
        reshape.inputs = [x]
        return True
    if _fold_into_weights(graph, node, reshape):
        return True
    found = reshape_then_transpose(x.shape, perm, target)
    if found is not None:
        inner, moved = found
        if is_identity(moved):
            reshape.inputs = [x]
            return True
        _put_behind(graph, reshape, [x], inner, moved)
        return True
    return raising and _raise_next(graph, node, reshape)


def _put_behind(
    graph: Graph, node: Node, inputs: list[Tensor | None], shape: tuple[int, ...], perm: Perm
) -> None:
    """Let `node` make a tensor of `shape`, and a transpose behind it what it made before."""
    result = node.output
    stored = activation_like(result, "untransposed", shape=shape)
    node.inputs, node.outputs = inputs, [stored]
    insert_after(
        graph,
        node,
        Node("transpose", [stored], [result], {"perm": perm}, None, node.name, node.source),
    )


def _raise_next(graph: Graph, node: Node, reshape: Node) -> bool:
    """Where every reader of the reshape is a transpose that can be raised: raise them."""
    readers = readers_of(graph, reshape.output)
    if not readers or reshape.output in graph.outputs:
        return False
    source = reshape.input(0)
    changed = False
    for reader in readers:
        if reader.op != "transpose":
            continue
        found = transpose_then_reshape(source.shape, reshape.output.shape, reader.attrs["perm"])
        if found is None:
            continue
        moved, _ = found
        middle = activation_like(reader.output, "raised", shape=permuted(source.shape, moved))
        insert_before(
            graph,
            reader,
            Node(
                "transpose",
                [node.input(0)],
                [middle],
                {"perm": compose(node.attrs["perm"], moved)},
                None,
                reader.name,
                reader.source,
            ),
        )
        reader.op, reader.inputs, reader.attrs = "reshape", [middle], {}
        changed = True
    return changed


def _fold_into_weights(graph: Graph, node: Node, reshape: Node) -> bool:
    """transpose -> flatten -> fully_connected: reorder the columns of the weights instead."""
    readers = readers_of(graph, reshape.output)
    if not readers or reshape.output in graph.outputs:
        return False
    if any(
        reader.op != "fully_connected"
        or reader.input(1).data is None
        or reader.inputs[0] is not reshape.output
        or reader.inputs.count(reshape.output) != 1
        or _varies_along(reader.input(1), 1)
        for reader in readers
    ):
        return False
    x, columns = node.input(0), reshape.output.shape[-1]
    order = np.arange(int(np.prod(x.shape))).reshape(x.shape)
    order = order.transpose(node.attrs["perm"]).reshape(-1, columns)
    rows = np.arange(order.shape[0])[:, None]
    within = order - rows * columns
    if np.any(within != within[0]) or within.min() < 0 or within.max() >= columns:
        return False
    reshape.inputs = [x]
    for reader in readers:
        w = reader.input(1)
        assert w.data is not None
        weights = np.empty_like(w.data)
        weights[:, within[0]] = w.data
        reader.inputs[1] = constant(w.name, weights, w.quantization)
    return True


def _varies_along(w: Tensor, axis: int) -> bool:
    quantization = w.quantization
    return quantization is not None and not quantization.is_per_tensor and quantization.axis == axis


# --- operators that work axis by axis


def _sink(graph: Graph, node: Node, reader: Node) -> bool:
    perm = node.attrs["perm"]
    plan = _SINK[reader.op](reader, node.output, perm)
    if plan is None:
        return False
    positions, attrs, out_perm = plan
    inputs: list[Tensor | None] = list(reader.inputs)
    reshapes = []
    for i in positions:
        tensor = reader.input(i)
        found = _before_transpose(graph, tensor, perm)
        if found is None:
            return False
        inputs[i], reshaped = found
        if reshaped:
            reshapes.append((tensor, inputs[i]))
    for tensor, flat in reshapes:
        assert flat is not None
        insert_before(graph, reader, Node("reshape", [tensor], [flat], name=reader.name))
    reader.attrs = attrs
    if is_identity(out_perm):
        reader.inputs = inputs
    else:
        shape = permuted(reader.output.shape, inverse(out_perm))
        _put_behind(graph, reader, inputs, shape, out_perm)
    return True


def _before_transpose(graph: Graph, tensor: Tensor, perm: Perm) -> tuple[Tensor, bool] | None:
    """The tensor that `perm` makes `tensor` of, and whether a reshape has yet to make it.

    Operands of lower rank are taken as broadcast: with axes of length 1 in front.
    """
    producer = producer_of(graph, tensor)
    if producer is not None and producer.op == "transpose" and producer.attrs["perm"] == perm:
        return producer.input(0), False
    back = inverse(perm)
    full = (1,) * (len(perm) - len(tensor.shape)) + tensor.shape
    if tensor.data is not None:
        if tensor.data.size == 1:
            return tensor, False
        if tensor.quantization is not None and not tensor.quantization.is_per_tensor:
            return None  # no operator that computes takes it
        data = tensor.data.reshape(full).transpose(back)
        return constant(tensor.name, data, tensor.quantization), False
    if moves_nothing(full, back):
        return activation_like(tensor, "transposed", shape=permuted(full, back)), True
    return None


Plan = tuple[list[int], dict[str, Any], Perm]
"""Operands to take from before the transpose, the attributes then, the transpose of the result."""


def _elementwise(reader: Node, x: Tensor, perm: Perm) -> Plan | None:
    if len(reader.output.shape) != len(perm):
        return None
    return list(range(len(reader.inputs))), reader.attrs, perm


def _along_axis(reader: Node, x: Tensor, perm: Perm) -> Plan | None:
    axis = perm[reader.attrs["axis"]]
    return list(range(len(reader.inputs))), {**reader.attrs, "axis": axis}, perm


def _slice(reader: Node, x: Tensor, perm: Perm) -> Plan | None:
    back = inverse(perm)
    attrs = {name: permuted(reader.attrs[name], back) for name in ("begin", "strides")}
    return [0], attrs, perm


def _pad(reader: Node, x: Tensor, perm: Perm) -> Plan | None:
    back = inverse(perm)
    attrs = {name: permuted(reader.attrs[name], back) for name in ("before", "after")}
    return [0], {**reader.attrs, **attrs}, perm


def _reduced(perm: Perm, axes: tuple[int, ...], keep_dims: bool) -> Perm:
    """The transpose that a reduction over `axes` (after `perm`) leaves."""
    if keep_dims:
        return perm
    kept = [axis for i, axis in enumerate(perm) if i not in axes]
    return tuple(sorted(kept).index(axis) for axis in kept)


def _reduce(reader: Node, x: Tensor, perm: Perm) -> Plan | None:
    axes = tuple(reader.attrs["axes"])
    attrs = {**reader.attrs, "axes": tuple(sorted(perm[axis] for axis in axes))}
    return [0], attrs, _reduced(perm, axes, bool(reader.attrs["keep_dims"]))


def _argmax(reader: Node, x: Tensor, perm: Perm) -> Plan | None:
    axis = int(reader.attrs["axis"])
    keep_dims = bool(reader.attrs["keep_dims"])
    return [0], {**reader.attrs, "axis": perm[axis]}, _reduced(perm, (axis,), keep_dims)


def _gather(reader: Node, x: Tensor, perm: Perm) -> Plan | None:
    if reader.inputs[0] is not x or reader.inputs[1] is x:
        return None
    axis, rank = int(reader.attrs["axis"]), len(reader.input(1).shape)
    source = perm[axis]
    # Axes of x behind the gathered one move by the rank of the indices, less one.
    place = [a if a < source else a + rank - 1 for a in range(len(perm))]
    out: list[int] = []
    for i, a in enumerate(perm):
        out += range(source, source + rank) if i == axis else [place[a]]
    return [0], {**reader.attrs, "axis": source}, tuple(out)


def _fully_connected(reader: Node, x: Tensor, perm: Perm) -> Plan | None:
    if reader.inputs[0] is not x or perm[-1] != len(perm) - 1:
        return None
    return [0], reader.attrs, perm


_SINK: dict[str, Callable[[Node, Tensor, Perm], Plan | None]] = {
    **dict.fromkeys(UNARY, _elementwise),
    **dict.fromkeys(BINARY, _elementwise),
    **dict.fromkeys(("quantize", "requantize", "prelu", "pointwise", "div", "cast"), _elementwise),
    "softmax": _along_axis,
    "concat": _along_axis,
    "slice": _slice,
    "pad": _pad,
    **dict.fromkeys(("mean", "sum", "reduce_max", "reduce_min"), _reduce),
    "argmax": _argmax,
    "argmin": _argmax,
    "gather": _gather,
    "fully_connected": _fully_connected,
}
"""How each operator takes its operands from before a transpose."""
