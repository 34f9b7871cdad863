"""Drop nodes that give back their input.

A reshape to the same shape, a slice of everything, a transpose that moves nothing, a concat of one
tensor, a pad by nothing, a requantize to the same quantisation, a sum or mean over axes of length
1, and a clamp that the quantisation of its output applies anyway (relu where the zero point is the
smallest integer). Where the output also has another quantisation or shape, a requantize or reshape
remains of it. An identity between a graph input and a graph output stays: the names are different.
"""

from __future__ import annotations

from edgeinfer.convert.graph import Graph, Node, Tensor
from edgeinfer.convert.lower.activations import CLAMPS, bounds_of, integer_range, quantized_bounds
from edgeinfer.convert.passes.edit import bypass, same_type


def remove_identities(graph: Graph) -> bool:
    """Bypass every identity; return whether one went."""
    changed = False
    for node in list(graph.nodes):
        if _is_identity(node, graph.source_format) and bypass(graph, node):
            changed = True
    return changed


def _is_identity(node: Node, source_format: str) -> bool:
    if not node.inputs or len(node.outputs) != 1 or node.inputs[0] is None:
        return False
    x, y = node.input(0), node.output
    if x.shape != y.shape or not same_type(x, y):
        return False
    if node.activation is not None and not _clamps_nothing(node.activation, y, source_format):
        return False
    if node.op in ("reshape", "requantize"):
        return True
    if node.op == "transpose":
        perm = node.attrs["perm"]
        return [axis for axis in perm if x.shape[axis] != 1] == [
            axis for axis in range(len(perm)) if x.shape[axis] != 1
        ]
    if node.op == "slice":  # shapes agree
        return all(
            (begin == 0 and stride == 1) or extent == 1
            for begin, stride, extent in zip(
                node.attrs["begin"], node.attrs["strides"], x.shape, strict=True
            )
        )
    if node.op == "concat":
        return len(node.inputs) == 1
    if node.op == "split":
        return True  # into one part
    if node.op == "pad":
        return not any(node.attrs["before"]) and not any(node.attrs["after"])
    if node.op in ("mean", "sum", "reduce_max", "reduce_min"):
        return all(x.shape[axis] == 1 for axis in node.attrs["axes"])
    if node.op in CLAMPS:
        bounds = bounds_of(node.op, node.attrs)
        return _clamps_nothing(("clip", *bounds), y, source_format)
    return False


def _clamps_nothing(
    activation: str | tuple[str, float | None, float | None], y: Tensor, source_format: str
) -> bool:
    if y.quantization is None or not y.quantization.is_per_tensor:
        return False
    if y.dtype not in ("int8", "uint8", "int16"):
        return False
    return quantized_bounds(activation, y, source_format) == integer_range(y.dtype)
