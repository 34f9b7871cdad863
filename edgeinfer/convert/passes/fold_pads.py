"""Let convolutions and pools pad for themselves.

A constant pad of height and width in front of them goes into their pads where it pads with what
they would take: zero for convolutions, zero and counted for averages, the smallest number (or
less) for maxima. Pads in front of a transpose are moved behind it by `cancel_transposes`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeinfer.convert.graph import Graph, Node, Tensor
from edgeinfer.convert.lower.lowering import zero_point_of
from edgeinfer.convert.lower.quantized import quantized
from edgeinfer.convert.passes.edit import absorb_names


def fold_pads(graph: Graph) -> bool:
    """Fold every pad that can be, for each of its readers on its own."""
    changed = False
    producers = graph.producers()
    for node in graph.nodes:
        rule = _RULES.get(node.op)
        pad = producers.get(node.input(0)) if rule is not None else None
        if rule is None or pad is None or pad.op != "pad" or pad.attrs["mode"] != "constant":
            continue
        before, after = pad.attrs["before"], pad.attrs["after"]
        if any(before[i] or after[i] for i in (0, 3)) or min(*before, *after) < 0:
            continue
        x = pad.input(0)
        if not rule(node, x, pad, graph.source_format):
            continue
        top, left, bottom, right = node.attrs["pads"]
        node.attrs["pads"] = (
            top + before[1],
            left + before[2],
            bottom + after[1],
            right + after[2],
        )
        node.inputs[0] = x
        absorb_names(node, [pad])
        changed = True
    return changed


def _pads_zero(pad: Node) -> bool:
    return float(pad.attrs["value"] or 0.0) == 0.0


def _convolution(node: Node, x: Tensor, pad: Node, source_format: str) -> bool:
    return _pads_zero(pad)


def _average(node: Node, x: Tensor, pad: Node, source_format: str) -> bool:
    """The padding must be counted, so that pads not counted must not be there already.

    TFLite averages stored integers; zeros add nothing to their sum only if zero is stored as 0.
    """
    if not _pads_zero(pad):
        return False
    if any(node.attrs["pads"]) and not node.attrs["count_include_pad"]:
        return False
    if source_format == "tflite" and (x.quantization is None or zero_point_of(x) != 0):
        return False
    node.attrs["count_include_pad"] = True
    return True


def _maximum(node: Node, x: Tensor, pad: Node, source_format: str) -> bool:
    """The value must not exceed anything x can hold, and every window must keep a tap inside."""
    value = np.float32(pad.attrs["value"] or 0.0)
    if x.quantization is not None and x.quantization.is_per_tensor:
        if int(quantized(value, x, source_format)) != np.iinfo(x.dtype).min:
            return False
    elif value > np.finfo(np.float32).min:
        return False
    pads = node.attrs["pads"]
    before, after = pad.attrs["before"], pad.attrs["after"]
    return all(
        pads[i] + before[1 + i] <= reach and pads[2 + i] + after[1 + i] <= reach
        for i in (0, 1)
        for reach in [(node.attrs["kernel"][i] - 1) * node.attrs["dilations"][i]]
    )


_RULES: dict[str, Callable[[Node, Tensor, Node, str], bool]] = {
    "conv2d": _convolution,
    "depthwise_conv2d": _convolution,
    "avg_pool2d": _average,
    "max_pool2d": _maximum,
}
