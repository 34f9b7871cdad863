"""A quantised model's ranges and weights at other precisions: what is tried to find the best."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from edgeinfer.convert.graph import Graph
from edgeinfer.convert.quantize.choose_blocks import ChosenBlocks
from edgeinfer.convert.quantize.correct_bias import corrected
from edgeinfer.convert.quantize.output_error import OutputError
from edgeinfer.convert.quantize.post_training import Quantized
from edgeinfer.convert.quantize.precision import is_numeric
from edgeinfer.convert.quantize.prepare_graph import layer_name
from edgeinfer.convert.quantize.quantize_graph import QuantizedGraph, quantize_graph
from edgeinfer.convert.quantize.share_ranges import moves

PROBE_SAMPLES = 8
"""Calibration samples on which a layer alone is judged."""


def at_precision(
    quantized: Quantized,
    keep_float: Collection[str] | Mapping[str, str],
    int16: Collection[str] | Mapping[str, str],
    int8: Collection[str] = (),
) -> QuantizedGraph:
    """The same ranges, and the same weights where layers keep them, at other precisions.

    The graph is not finished. Biases are corrected for the layers that still have rounded weights.

    int8 : layers whose weights are int8 in place of four bits, beside those that the options name.
    """
    plain = {*int8, *int16}
    weights = {
        name: chosen.in_int8() if name in plain and isinstance(chosen, ChosenBlocks) else chosen
        for name, chosen in quantized.result.weights.items()
        if name not in keep_float
    }
    graph: Graph = quantized.teacher.graph
    if quantized.bias_corrected:
        graph = corrected(graph, weights, quantized.means)
    return quantize_graph(
        graph,
        quantized.ranges,
        keep_float=keep_float,
        int16=int16,
        weights=weights,
        io=quantized.options.io,
    )


def error_alone(
    quantized: Quantized,
    judge: OutputError,
    layers: Sequence[str],
    int16: Collection[str] = (),
    int8: Collection[str] = (),
) -> float:
    """What these layers cost at the outputs with everything else in float32."""
    others = [
        layer_name(node)
        for node in quantized.teacher.graph.nodes
        if is_numeric(node) and not moves(node) and layer_name(node) not in layers
    ]
    return judge.of(at_precision(quantized, others, int16, int8), "sensitivity")


def judge_of(quantized: Quantized) -> OutputError:
    """What tells the cost of a layer alone."""
    return OutputError(quantized.teacher, quantized.data.samples[:PROBE_SAMPLES])
