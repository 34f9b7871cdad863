"""Bring a float graph into the form that quantisation starts from.

The passes have run: batch norms are folded into weights and clamps fused into the operators in
front of them, so that a range is taken of what is stored in the end. Then names are made unique,
since ranges, weights and reports are kept by the names of tensors, and divisions by constants
become multiplications, for which there is an integer kernel.
"""

from __future__ import annotations

import numpy as np

from edgeinfer.convert.graph import Graph, Node
from edgeinfer.convert.passes.edit import constant
from edgeinfer.errors import ConversionError


def layer_name(node: Node) -> str:
    """What options and reports call a node: the name of the first tensor that it makes."""
    return node.outputs[0].name


def prepare(graph: Graph) -> None:
    """Prepare a graph on which the passes have run; it is changed in place.

    Raises
    ------
    ConversionError
        The graph is quantised already, or has no float32 input to calibrate with.
    """
    for tensor in graph.tensors():
        if tensor.quantization is not None:
            raise ConversionError(
                f"{graph.name} is quantised already: {tensor.name!r} is {tensor.dtype} with a "
                "scale; convert it without calibration data, or start from the float model"
            )
    if not any(tensor.dtype == "float32" for tensor in graph.tensors()):
        raise ConversionError(f"{graph.name} has no float32 tensor that could be quantised")
    _multiply_by_reciprocals(graph)
    name_uniquely(graph)


def name_uniquely(graph: Graph) -> None:
    """Number the tensors whose name another one has; inputs and outputs keep theirs if they can."""
    boundary = dict.fromkeys([*graph.inputs, *graph.outputs])
    tensors = [*boundary, *(tensor for tensor in graph.tensors() if tensor not in boundary)]
    taken = {tensor.name for tensor in tensors}
    seen: set[str] = set()
    for tensor in tensors:
        name, number = tensor.name, 0
        while tensor.name in seen or (number and tensor.name in taken):
            number += 1
            tensor.name = f"{name}_{number}"
        seen.add(tensor.name)


def _multiply_by_reciprocals(graph: Graph) -> None:
    for node in graph.nodes:
        if node.op != "div" or node.output.dtype != "float32":
            continue
        divisor = node.input(1)
        if divisor.data is None or not np.all(np.isfinite(divisor.data) & (divisor.data != 0)):
            continue
        reciprocal = np.float32(1) / divisor.data
        if np.all(np.isfinite(reciprocal)):
            node.op = "mul"
            node.inputs[1] = constant(f"1 / {divisor.name}", reciprocal.astype(np.float32))
