"""How far a quantised graph's outputs are from the teacher's, in one number.

The squared difference of each float32 output over the samples, relative to the output's own power,
summed over outputs: 0.001 is a signal-to-noise ratio of 30 dB.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer.convert.graph import Tensor
from edgeinfer.convert.lower.quantized import dequantized, quantized
from edgeinfer.convert.passes.edit import copied
from edgeinfer.convert.passes.pipeline import finish_quantized
from edgeinfer.convert.quantize.float_model import FloatModel
from edgeinfer.convert.quantize.observe import Progress
from edgeinfer.convert.quantize.quantize_graph import QuantizedGraph
from edgeinfer.convert.quantize.run_graph import Array, GraphRunner, Sample

MAX_SAMPLES = 64
"""Samples that are run: those that differ in a decision differ on these."""


class OutputError:
    """Judges quantised graphs of one teacher on the same samples; the teacher runs once."""

    def __init__(
        self, teacher: FloatModel, samples: Sequence[Sample], progress: Progress | None = None
    ) -> None:
        step = max(1, len(samples) // MAX_SAMPLES)
        self._samples = list(samples[::step][:MAX_SAMPLES])
        self._teacher = teacher
        self._progress = progress
        self._expected: list[dict[str, Array]] = []

    def of(self, result: QuantizedGraph, what: str) -> float:
        """The error of a graph that `quantize_graph` made; `what` names it in progress."""
        if not self._expected:
            runner = self._teacher.runner()
            self._expected = [runner.run(sample) for sample in self._samples]
        graph = copied(result.graph)
        finish_quantized(graph)
        runner = GraphRunner(graph)
        noise: dict[str, float] = {}
        power: dict[str, float] = {}
        for number, (sample, expected) in enumerate(
            zip(self._samples, self._expected, strict=True)
        ):
            found = runner.run(_fed(graph.inputs, sample))
            for tensor, (name, wanted) in zip(graph.outputs, expected.items(), strict=True):
                if wanted.dtype != np.float32:
                    continue
                stored = found[tensor.name]
                real = stored if tensor.quantization is None else dequantized(tensor, stored)
                difference = real.astype(np.float64) - wanted
                noise[name] = noise.get(name, 0.0) + float((difference**2).sum())
                power[name] = power.get(name, 0.0) + float((wanted.astype(np.float64) ** 2).sum())
            if self._progress is not None:
                self._progress(f"judging {what}: sample {number + 1} of {len(self._samples)}")
        return sum(noise[name] / (power[name] or 1.0) for name in noise)


def _fed(inputs: Sequence[Tensor], sample: Sample) -> dict[str, Array]:
    """The sample as the graph's inputs store it."""
    return {
        tensor.name: sample[tensor.name]
        if tensor.quantization is None
        else quantized(sample[tensor.name], tensor, "onnx")
        for tensor in inputs
    }
