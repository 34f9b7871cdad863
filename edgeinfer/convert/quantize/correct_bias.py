"""Bias correction: no layer's mean may shift because its weights were rounded.

Rounding weights moves a layer's output by (W - Wq) x. The part of this that is the same for every
x, (W - Wq) E[x] per output channel, is a constant, and goes into the bias. E[x] is measured: the
mean over the calibration samples of what the float teacher feeds the layer, tap by tap, so that
pads and strides at the borders count as they are. (Nagel et al., as in equalize.py, section 4.2.)

Saturation and what earlier layers leave move the mean of a layer's input too. Where the means of
what the quantised model itself feeds the layer are given as well, the constant is W E[x] - Wq
E[xq].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Graph, Node, Tensor
from edgeinfer.convert.lower.quantized import dequantized
from edgeinfer.convert.passes.edit import constant, copied
from edgeinfer.convert.quantize.observe import Progress
from edgeinfer.convert.quantize.prepare_graph import layer_name
from edgeinfer.convert.quantize.quantize_graph import QuantizedGraph
from edgeinfer.convert.quantize.quantize_weights import CHANNEL_AXIS, ChosenWeights
from edgeinfer.convert.quantize.run_graph import GraphRunner, Sample, fed

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
    graph: Graph,
    weights: Mapping[str, ChosenWeights],
    means: Mapping[str, Reals],
    seen: Mapping[str, Reals] | None = None,
) -> Graph:
    """A copy of the float graph with the biases that layers with these rounded weights need.

    Parameters
    ----------
    graph : prepared.
    weights : the integers in use, by layer name; layers without stay as they are.
    means : the mean of every such layer's input over the samples, of its shape, by tensor name.
    seen : the same of the quantised model, in real numbers; the teacher's where it has none.
    """
    result = copied(graph)
    for node in layers_to_correct(result):
        chosen = weights.get(layer_name(node))
        if chosen is None:
            continue
        w = node.input(1)
        assert w.data is not None
        axis = CHANNEL_AXIS[node.op]
        rounded = chosen.real(axis)
        mean = means[node.input(0).name]
        fed = (seen or {}).get(node.input(0).name, mean)
        lost = mean_product(node, w.data.astype(np.float64), mean)
        add_to_bias(node, lost - mean_product(node, rounded, fed))
    return result


def observed_means(
    result: QuantizedGraph,
    samples: Sequence[Sample],
    progress: Progress | None = None,
) -> dict[str, Reals]:
    """Means over samples, as real numbers, of what a quantised graph's layers with weights read."""
    runner = GraphRunner(result.graph, [tensor.name for tensor in result.read.values()])
    sums: dict[str, Reals] = {}
    for number, sample in enumerate(samples):
        if progress is not None:
            progress(f"correcting biases: sample {number + 1} of {len(samples)}")
        made = runner.run(fed(result.graph.inputs, sample))
        for name, tensor in result.read.items():
            values = made[tensor.name]
            real = values if tensor.quantization is None else dequantized(tensor, values)
            sums[name] = sums[name] + real if name in sums else real.astype(np.float64)
    return {name: total / len(samples) for name, total in sums.items()}


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


def add_to_bias(node: Node, shift: Reals) -> None:
    bias: Tensor | None = node.inputs[2] if len(node.inputs) > 2 else None
    own = np.zeros(shift.size) if bias is None or bias.data is None else bias.data.reshape(-1)
    name = f"{node.output.name}/bias" if bias is None else bias.name
    total = (own.astype(np.float64) + shift).astype(np.float32)
    node.inputs = [*node.inputs[:2], constant(name, total)]
