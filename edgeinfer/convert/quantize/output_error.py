"""How far a quantised graph's outputs are from the teacher's, in one number.

The squared difference of each float32 output over the samples, relative to the output's own power,
summed over outputs: 0.001 is a signal-to-noise ratio of 30 dB.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer.convert.graph import Graph
from edgeinfer.convert.lower.quantized import dequantized
from edgeinfer.convert.passes.edit import copied
from edgeinfer.convert.passes.pipeline import finish_quantized
from edgeinfer.convert.quantize.float_model import FloatModel
from edgeinfer.convert.quantize.observe import Progress
from edgeinfer.convert.quantize.quantize_graph import QuantizedGraph
from edgeinfer.convert.quantize.run_graph import Array, GraphRunner, Sample, fed

MAX_SAMPLES = 64
MAX_ELEMENTS = 1 << 27
"""Activations that are computed for one judgement, over all samples: it bounds the time."""


class OutputError:
    """Judges quantised graphs against a float teacher on the same samples; the teacher runs once.

    Equalised graphs may be judged by the teacher as it was before: outputs are not scaled.
    """

    def __init__(
        self, teacher: FloatModel, samples: Sequence[Sample], progress: Progress | None = None
    ) -> None:
        elements = sum(int(np.prod(t.shape, dtype=np.int64)) for t in teacher.activations)
        count = min(len(samples), MAX_SAMPLES, max(4, MAX_ELEMENTS // max(elements, 1)))
        self._samples = [samples[i * len(samples) // count] for i in range(count)]
        self._teacher = teacher
        self._progress = progress
        self._names = _judged(teacher.graph)
        self._expected: list[dict[str, Array]] = []

    def of(self, result: QuantizedGraph, what: str) -> float:
        """The error of a graph that `quantize_graph` made; `what` names it in progress."""
        if not self._expected:
            teacher = self._teacher.runner(self._names)
            self._expected = [teacher.run(sample) for sample in self._samples]
        graph = copied(result.graph)
        tensors = [result.stored[name] for name in self._names]
        graph.outputs = list(tensors)
        finish_quantized(graph)
        runner = GraphRunner(graph)
        noise = np.zeros(len(tensors))
        power = np.zeros(len(tensors))
        for number, (sample, expected) in enumerate(
            zip(self._samples, self._expected, strict=True)
        ):
            found = runner.run(fed(graph.inputs, sample))
            for i, (name, tensor) in enumerate(zip(self._names, tensors, strict=True)):
                wanted, stored = expected[name].astype(np.float64), found[tensor.name]
                real = stored if tensor.quantization is None else dequantized(tensor, stored)
                noise[i] += float(((real - wanted) ** 2).sum())
                power[i] += float((wanted**2).sum())
            if self._progress is not None:
                self._progress(f"judging {what}: sample {number + 1} of {len(self._samples)}")
        return float((noise / np.where(power > 0, power, 1.0)).sum())


def _judged(graph: Graph) -> list[str]:
    """The outputs in float32; of a softmax what goes into it, which tells more than its result."""
    producers = graph.producers()
    names = []
    for tensor in graph.outputs:
        producer = producers.get(tensor)
        if producer is not None and producer.op == "softmax":
            tensor = producer.input(0)
        if tensor.dtype == "float32" and not tensor.is_constant:
            names.append(tensor.name)
    return list(dict.fromkeys(names))
