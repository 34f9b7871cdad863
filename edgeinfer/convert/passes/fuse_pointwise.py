"""One table for a chain of elementwise operators on an 8-bit tensor.

A function of one byte is a table of 256 entries, whatever it is made of: relu then requantise, the
sigmoid and the product of a swish, the five nodes that an exporter makes of hard_swish or gelu.
Operators join a chain when every operand is the same 8-bit tensor, a scalar constant, or a member
of the chain; a tensor that something else reads as well ends it. Members compute what they would on
their own, integers or float32 as the source says (lower/pointwise.py), so no bit changes.
"""

from __future__ import annotations

from edgeinfer.convert.graph import Graph, Node, Tensor
from edgeinfer.convert.lower.functions import BINARY, UNARY
from edgeinfer.convert.lower.quantized import EIGHT_BITS
from edgeinfer.convert.passes.edit import absorb_names

MEMBERS = UNARY | set(BINARY) | {"quantize", "dequantize", "requantize"}
"""Operators that may be part of a chain."""

Chain = tuple[Tensor, list[Node]]
"""The 8-bit tensor that it is a function of, and its nodes in order."""


def fuse_pointwise(graph: Graph) -> bool:
    """Replace the last node of every chain by a pointwise node; dead members go later."""
    readers = graph.consumers()
    longest: dict[Tensor, Chain] = {}
    for node in graph.nodes:
        chain = _chain(node, longest)
        if chain is not None:
            longest[node.output] = chain
    changed = False
    # Once more, starting anew at every 8-bit tensor that has to be stored anyway.
    chains: dict[Tensor, Chain] = {}
    for node in list(graph.nodes):
        if len(node.outputs) != 1 or node.output not in longest:
            continue
        y = node.output
        root, body = _chain(node, chains) or longest[y]
        inner = y not in graph.outputs and all(
            len(reader.outputs) == 1
            and reader.output in longest
            and longest[reader.output][0] is longest[y][0]
            for reader in readers.get(y, [])
        )
        if inner or not _is_root(y):
            chains[y] = root, body
        if not inner and _worthwhile(body):
            fused = Node(
                "pointwise", [root], [y], {"body": tuple(body)}, None, node.name, node.source
            )
            absorb_names(fused, body[:-1])
            graph.nodes[graph.nodes.index(node)] = fused
            changed = True
    return changed


def _chain(node: Node, chains: dict[Tensor, Chain]) -> Chain | None:
    """The root and the members, in order, that compute the node's result; None if there is none."""
    if node.op not in MEMBERS or len(node.outputs) != 1:
        return None
    root: Tensor | None = None
    body: list[Node] = []
    for tensor in node.inputs:
        if tensor is None:
            return None
        if tensor.is_constant:
            if tensor.data is None or tensor.data.size != 1 or not _is_number(tensor):
                return None
            continue
        source, members = chains.get(tensor, (tensor, []))
        if source is tensor and not _is_root(tensor):
            return None
        if root is not None and source is not root:
            return None
        root = source
        body += [member for member in members if member not in body]
    y = node.output
    if root is None or y.shape != root.shape or not _is_number(y):
        return None
    return root, [*body, node]


def _is_root(tensor: Tensor) -> bool:
    return tensor.dtype in EIGHT_BITS and _is_number(tensor)


def _is_number(tensor: Tensor) -> bool:
    """float32, or per-tensor quantised to 8 or 16 bits."""
    if tensor.dtype == "float32":
        return True
    quantization = tensor.quantization
    return (
        tensor.dtype in (*EIGHT_BITS, "int16")
        and quantization is not None
        and quantization.is_per_tensor
    )


def _worthwhile(body: list[Node]) -> bool:
    """Not a single unary operator, which is a table of its own already."""
    return len(body) > 1 or body[0].op in BINARY
