"""Write every product of activations and weights as the operator that computes it best.

- batch_matmul with constant, symmetric weights is a fully_connected, and a fully_connected whose
  weights are computed is a batch_matmul.
- A transpose of the last two axes of a float32 batch_matmul's second operand is part of it. Of one
  that moves the last axis to the place before it, as attention transposes keys, that much is part
  of it, and the rest moves whole rows.
- conv2d with as many groups as channels is a depthwise_conv2d, and a depthwise_conv2d of one
  channel is a conv2d.
"""

from __future__ import annotations

import numpy as np

from edgeinfer.convert.graph import Graph, Node, Quantization, Tensor
from edgeinfer.convert.passes.edit import constant


def canonicalize_products(graph: Graph) -> bool:
    """Rewrite nodes in place; return whether one changed."""
    rules = {
        "batch_matmul": _to_fully_connected,
        "fully_connected": _to_batch_matmul,
        "conv2d": _to_depthwise,
        "depthwise_conv2d": _to_conv2d,
    }
    changed = _absorb_transposes(graph)
    for node in graph.nodes:
        rule = rules.get(node.op)
        changed = (rule is not None and rule(node)) or changed
    return changed


def _absorb_transposes(graph: Graph) -> bool:
    changed = False
    producers = graph.producers()
    for node in graph.nodes:
        if node.op != "batch_matmul" or node.input(1).dtype != "float32":
            continue
        transpose = producers.get(node.input(1))
        if transpose is None or transpose.op != "transpose" or transpose.activation is not None:
            continue
        perm = tuple(transpose.attrs["perm"])
        rank = len(perm)
        if rank < 2 or perm[-2] != rank - 1:
            continue
        swapped = (*perm[:-2], perm[-1], perm[-2])
        if swapped == tuple(range(rank)):
            node.inputs[1] = transpose.input(0)
        elif len([n for n in graph.nodes if node.input(1) in n.inputs]) > 1:
            continue
        else:
            x, y = transpose.input(0), node.input(1)
            shape = tuple(x.shape[axis] for axis in swapped)
            rows = Tensor(f"{y.name} (rows)", shape, y.dtype, y.quantization)
            transpose.attrs, transpose.outputs = {"perm": swapped}, [rows]
            node.inputs[1] = rows
        node.attrs = {**node.attrs, "transpose_b": not node.attrs.get("transpose_b")}
        changed = True
    return changed


def _moved_axis(w: Tensor, moves: dict[int, int]) -> Quantization | None:
    """The quantisation of weights whose axes have moved."""
    quantization = w.quantization
    if quantization is None or quantization.is_per_tensor:
        return quantization
    return Quantization(quantization.scale, quantization.zero_point, moves[quantization.axis])


def _to_fully_connected(node: Node) -> bool:
    a, b = node.input(0), node.input(1)
    quantization = b.quantization
    if b.data is None or node.attrs.get("transpose_a"):
        return False
    if quantization is None and b.dtype != "float32":
        return False
    if quantization is not None and np.any(quantization.zero_point != 0):
        return False
    if len(b.shape) < 2 or len(a.shape) < len(b.shape):
        return False
    rank = len(b.shape)
    if any(extent != 1 for extent in b.shape[:-2]):
        return False
    n_axis = rank - 2 if node.attrs.get("transpose_b") else rank - 1
    if quantization is not None and not quantization.is_per_tensor and quantization.axis != n_axis:
        return False
    matrix = b.data.reshape(b.shape[-2:])
    weights = matrix if node.attrs.get("transpose_b") else matrix.T
    node.op = "fully_connected"
    node.inputs = [a, constant(b.name, weights, _moved_axis(b, {n_axis: 0}))]
    node.attrs = {}
    return True


def _to_batch_matmul(node: Node) -> bool:
    x, w = node.input(0), node.input(1)
    has_bias = len(node.inputs) > 2 and node.inputs[2] is not None
    if w.data is not None or has_bias or len(x.shape) < 2 or len(w.shape) != 2:
        return False
    node.op, node.inputs = "batch_matmul", [x, w]
    node.attrs = {"transpose_a": False, "transpose_b": True}
    return True


def _to_depthwise(node: Node) -> bool:
    x, w = node.input(0), node.input(1)
    groups = node.attrs["groups"]
    if w.data is None or groups == 1 or groups != x.shape[3] or w.shape[3] != 1:
        return False
    if w.quantization is not None and not w.quantization.is_per_tensor and w.quantization.axis:
        return False
    node.op = "depthwise_conv2d"
    weights = np.ascontiguousarray(w.data[..., 0].transpose(1, 2, 0))
    node.inputs[1] = constant(w.name, weights, _moved_axis(w, {0: 2}))
    node.attrs = {name: value for name, value in node.attrs.items() if name != "groups"}
    return True


def _to_conv2d(node: Node) -> bool:
    x, w = node.input(0), node.input(1)
    if w.data is None or x.shape[3] != 1:
        return False
    if w.quantization is not None and not w.quantization.is_per_tensor and w.quantization.axis != 2:
        return False
    node.op = "conv2d"
    weights = np.ascontiguousarray(w.data.transpose(2, 0, 1)[..., None])
    node.inputs[1] = constant(w.name, weights, _moved_axis(w, {2: 0}))
    node.attrs = {**node.attrs, "groups": 1}
    return True
