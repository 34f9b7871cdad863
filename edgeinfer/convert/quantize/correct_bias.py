"""Bias correction: no layer's mean may shift because its weights were rounded.

Rounding weights moves a layer's output by (W - Wq) x. The part of this that is the same for every
x, (W - Wq) E[x] per output channel, is a constant, and goes into the bias. E[x] is measured: the
mean over the calibration samples of what the float teacher feeds the layer, tap by tap, so that
pads and strides at the borders count as they are. (Nagel et al., as in equalize.py, section 4.2.)

With clamps of the input by its range, E[x] of what is stored differs from that of the teacher too;
where the quantised model's own means are given, the constant is W E[x] - Wq E[xq].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Graph, Node, Tensor
from edgeinfer.convert.passes.edit import constant, copied
from edgeinfer.convert.quantize.prepare_graph import layer_name
from edgeinfer.convert.quantize.quantize_weights import CHANNEL_AXIS, ChosenWeights, along

Reals = npt.NDArray[np.float64]

CORRECTED = ("conv2d", "depthwise_conv2d", "fully_connected")
"""Layers with weights but for transposed convolutions, whose taps differ by pixel."""


def layers_to_correct(graph: Graph) -> list[Node]:
    """Nodes whose bias can be corrected: constant weights, and a constant bias or none."""
    return [
        node
        for node in graph.nodes
        if node.op in CORRECTED and all(t is None or t.data is not None for t in node.inputs[1:])
    ]


def corrected(
    graph: Graph, weights: Mapping[str, ChosenWeights], means: Mapping[str, Reals]
) -> Graph:
    """A copy of the float graph with the biases that layers with these rounded weights need.

    Parameters
    ----------
    graph : prepared.
    weights : the integers in use, by layer name; layers without stay as they are.
    means : the mean of every such layer's input over the samples, of its shape, by tensor name.
    """
    result = copied(graph)
    for node in layers_to_correct(result):
        chosen = weights.get(layer_name(node))
        if chosen is None:
            continue
        w = node.input(1)
        assert w.data is not None
        axis = CHANNEL_AXIS[node.op]
        rounded = chosen.values.astype(np.float64) * along(
            chosen.scales.astype(np.float64), axis, w.data.ndim
        )
        lost = w.data.astype(np.float64) - rounded
        _add_to_bias(node, mean_product(node, lost, means[node.input(0).name]))
    return result


def mean_product(node: Node, weights: Reals, mean: Reals) -> Reals:
    """The mean over all output positions of the layer's product of weights and an input."""
    if node.op == "fully_connected":
        return np.asarray(weights @ mean.reshape(-1, mean.shape[-1]).mean(axis=0))
    kernel = weights.shape[1:3] if node.op == "conv2d" else weights.shape[:2]
    taps = _tap_means(node, mean, kernel)
    if node.op == "depthwise_conv2d":
        multiplier = weights.shape[2] // taps.shape[2]
        return np.asarray((weights * np.repeat(taps, multiplier, axis=2)).sum(axis=(0, 1)))
    groups = int(node.attrs["groups"])
    depth = weights.shape[3]
    grouped = weights.reshape(groups, -1, *kernel, depth)
    by_group = taps.reshape(*kernel, groups, depth)
    return np.asarray(np.einsum("gohwc,hwgc->go", grouped, by_group).reshape(-1))


def _tap_means(node: Node, mean: Reals, kernel: Sequence[int]) -> Reals:
    """What each tap of the kernel sees on average: [KH, KW, C]; zeros outside of the image."""
    top, left, bottom, right = node.attrs["pads"]
    padded = np.pad(
        mean,
        [(0, 0), (top, max(bottom, 0)), (left, max(right, 0)), (0, 0)],
    )
    _, rows, columns, _ = node.output.shape
    (stride_h, stride_w), (dilation_h, dilation_w) = node.attrs["strides"], node.attrs["dilations"]
    taps = np.empty((*kernel, mean.shape[3]))
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            y, x = i * dilation_h, j * dilation_w
            seen = padded[
                :,
                y : y + (rows - 1) * stride_h + 1 : stride_h,
                x : x + (columns - 1) * stride_w + 1 : stride_w,
            ]
            taps[i, j] = seen.mean(axis=(0, 1, 2))
    return taps


def _add_to_bias(node: Node, shift: Reals) -> None:
    bias: Tensor | None = node.inputs[2] if len(node.inputs) > 2 else None
    own = np.zeros(shift.size) if bias is None or bias.data is None else bias.data.reshape(-1)
    name = f"{node.output.name}/bias" if bias is None else bias.name
    total = (own.astype(np.float64) + shift).astype(np.float32)
    node.inputs = [*node.inputs[:2], constant(name, total)]
