"""One operator for the several that an exporter makes of an activation function.

GELU arrives as five operators around Erf, or as eight around Tanh; SiLU, Mish, hard swish and
softplus as two to four. What they are is told by what they compute, not by how they are written:
an expression of elementwise operators and scalar constants in one float32 tensor is evaluated in
float64 at some thousands of places, and is a known function where it is within TOLERANCE of it
everywhere. So the order of operands, the form of a constant and the choice between Pow and Mul do
not matter.

Constants in a file are rounded, and so are those of the runtime's functions: results differ by
rounding, of the order of 1e-7 times the argument. Expressions whose parts something else reads stay
as they are, and so do those of quantised tensors, whose tables `fuse_pointwise` makes without
changing a bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Graph, Node, Tensor
from edgeinfer.convert.lower import functions
from edgeinfer.convert.passes.edit import absorb_names

Reals = npt.NDArray[np.float64]

TOLERANCE = 1e-6
"""Largest difference to a known function, relative to it or to x: eight float32 roundings.

Relative, since max(x, 1e-6) is no relu: such a guard keeps a division from zeros.
"""

MAX_MEMBERS = 16
"""Operators of an expression; the longest known, GELU by tanh, has nine."""

_SMALL = np.logspace(-12, -1, 110)
PROBES: Reals = np.concatenate(
    [np.linspace(-12, 12, 4001), [0.0, -60.0, -40.0, -20.0, 20.0, 40.0, 60.0], -_SMALL, _SMALL]
)
"""Where expressions are compared: dense where functions bend, and some far out."""

_BINARY: dict[str, Callable[[Reals, Reals], Reals]] = {
    **functions.BINARY,
    "div": np.divide,
    "pow": np.power,
}
_UNARY: dict[str, Callable[[Reals], Reals]] = {
    "reciprocal": np.reciprocal,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "mish": lambda x: x * np.tanh(functions.softplus(x)),
}
_MEMBERS = functions.UNARY | set(_UNARY) | set(_BINARY)

Known = tuple[str, dict[str, Any]]

KNOWN: tuple[Known, ...] = (
    ("gelu", {"approximate": False}),
    ("gelu", {"approximate": True}),
    ("silu", {}),
    ("hard_swish", {}),
    ("hard_sigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    ("mish", {}),
    ("softplus", {}),
    ("sigmoid", {}),
    ("tanh", {}),
    ("softsign", {}),
    ("elu", {"alpha": 1.0}),
    ("relu", {}),
    ("relu6", {}),
)
"""Operators of the graph that are looked for, and their attributes."""


def recognize_functions(graph: Graph) -> bool:
    """Replace the last node of every such expression; its other members go as dead nodes."""
    changed = False
    producers, readers = graph.producers(), graph.consumers()
    outputs = set(graph.outputs)
    for node in reversed(graph.nodes):
        if not _is_member(node) or not node.output.shape:
            continue
        members = _members(node, producers, readers, outputs)
        if len(members) < 2 and node.op in functions.UNARY:
            continue
        for source in _sources(members, node):
            found = _known(node, source, members)
            if found is None:
                continue
            op, attrs = found
            absorb_names(node, [m for m in members.values() if m is not node])
            node.op, node.inputs, node.attrs = op, [source], dict(attrs)
            changed = True
            break
    return changed


def _is_member(node: Node) -> bool:
    return (
        node.op in _MEMBERS
        and node.activation is None
        and len(node.outputs) == 1
        and all(t is not None and _is_float(t) for t in node.inputs)
        and (_is_float(node.output) or node.output.quantization is not None)
    )


def _is_float(tensor: Tensor) -> bool:
    return tensor.dtype == "float32" and tensor.quantization is None


def _members(
    node: Node,
    producers: dict[Tensor, Node],
    readers: dict[Tensor, list[Node]],
    outputs: set[Tensor],
) -> dict[Tensor, Node]:
    """The nodes in front of `node` that nothing else reads, by output, `node` included."""
    members = {node.output: node}
    grows = True
    while grows and len(members) < MAX_MEMBERS:
        grows = False
        for tensor in [t for m in members.values() for t in m.inputs if t is not None]:
            producer = producers.get(tensor)
            if producer is None or tensor in members or tensor in outputs:
                continue
            if not _is_member(producer) or not _is_float(tensor):
                continue
            if all(reader.outputs[0] in members for reader in readers[tensor]):
                members[tensor] = producer
                grows = True
    return members


def _sources(members: dict[Tensor, Node], node: Node) -> Iterator[Tensor]:
    """Tensors that the whole may be a function of, those first that most lies behind."""
    seen: set[Tensor] = set()
    for member in reversed(list(members.values())):
        for tensor in member.inputs:
            if tensor is None or tensor.is_constant or tensor in seen:
                continue
            seen.add(tensor)
            if tensor.shape == node.output.shape:
                yield tensor


def _known(node: Node, source: Tensor, members: dict[Tensor, Node]) -> Known | None:
    """The known function of `source` that `node` gives."""
    values: dict[Tensor, Reals | None] = {source: PROBES}
    with np.errstate(all="ignore"):
        y = _value(node.output, values, members)
        if y is None or y.shape != PROBES.shape or not np.all(np.isfinite(y)):
            return None
        for op, attrs in KNOWN:
            expected = _function(op, attrs, PROBES)
            allowed = TOLERANCE * np.maximum(np.abs(expected), np.abs(PROBES))
            if np.all(np.abs(y - expected) <= allowed):
                return None if (node.op, node.attrs) == (op, attrs) else (op, attrs)
    return None


def _value(
    tensor: Tensor, values: dict[Tensor, Reals | None], members: dict[Tensor, Node]
) -> Reals | None:
    """What a tensor is at the probes; None where that depends on more than the source."""
    if tensor in values:
        return values[tensor]
    if tensor.data is not None:
        if tensor.data.size != 1:
            return None
        return tensor.data.reshape(()).astype(np.float64)
    member = members.get(tensor)
    if member is None:
        return None
    values[tensor] = None
    operands = []
    for operand in member.inputs:
        assert operand is not None
        x = _value(operand, values, members)
        if x is None:
            return None
        operands.append(x)
    if member.op in _BINARY:
        values[tensor] = np.asarray(_BINARY[member.op](*operands), np.float64)
    else:
        values[tensor] = _function(member.op, member.attrs, operands[0])
    return values[tensor]


def _function(op: str, attrs: dict[str, Any], x: Reals) -> Reals:
    if op in _UNARY:
        return np.asarray(_UNARY[op](x), np.float64)
    return np.asarray(functions.unary(op, attrs, x), np.float64)
