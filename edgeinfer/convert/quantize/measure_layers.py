"""The float teacher and a quantised graph side by side: every layer's tensor, sample by sample.

Both run in the C core on the same samples, and what is compared is what a device would store. A
tensor of the teacher corresponds to the one that `QuantizedGraph.stored` names; where chains of
elementwise operators became one table, what lay inside of them exists no longer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Graph, Tensor
from edgeinfer.convert.lower.quantized import quantized
from edgeinfer.convert.quantize.float_model import FloatModel
from edgeinfer.convert.quantize.measure import Agreement, Saturation, real_values
from edgeinfer.convert.quantize.observe import Progress
from edgeinfer.convert.quantize.run_graph import Array, GraphRunner, Sample

Outputs = dict[str, Array]
"""Real numbers by output name."""


@dataclass(frozen=True, eq=False)
class Unpruned:
    """The float model before channels were removed and equalised, as what layers should make.

    Attributes
    ----------
    kept : for every tensor that lost channels, where those that are left lie in its last axis.
    scales : for every tensor that was equalised, what the channels that are left were divided by.
    """

    model: FloatModel
    kept: Mapping[str, npt.NDArray[np.int64]]
    scales: Mapping[str, npt.NDArray[np.float64]]

    def seen(self, made: Mapping[str, Array]) -> dict[str, Array]:
        """Its tensors on the channels that are left, scaled as those are."""
        found = {}
        for name, values in made.items():
            kept = values[..., self.kept[name]] if name in self.kept else values
            scale = self.scales.get(name)
            found[name] = kept if scale is None else (kept / scale).astype(np.float32)
        return found


@dataclass(eq=False)
class LayerMeasure:
    """One tensor of the teacher, and what stands for it."""

    stored: Tensor
    agreement: Agreement = field(default_factory=Agreement)
    saturation: Saturation | None = None


def measure_layers(
    teacher: FloatModel,
    graph: Graph,
    stored: Mapping[str, Tensor],
    samples: Sequence[Sample],
    progress: Progress | None = None,
    unpruned: Unpruned | None = None,
) -> dict[str, LayerMeasure]:
    """Agreement of every computed float32 tensor of the teacher that the quantised graph still has.

    Parameters
    ----------
    graph : a finished quantised graph.
    stored : of `QuantizedGraph`: the tensor that stands for each of the teacher's, by name.
    unpruned : what is held against in the teacher's place, where that has lost channels.

    Returns
    -------
    By the teacher's tensor name, in its order of execution; graph inputs among them.
    """
    held = set(graph.tensors())
    measures = {
        tensor.name: LayerMeasure(stored[tensor.name])
        for tensor in teacher.activations
        if stored.get(tensor.name) in held
    }
    for measure in measures.values():
        found = measure.stored.quantization
        if found is not None:
            measure.saturation = Saturation(found, measure.stored.dtype)
    ours = (teacher if unpruned is None else unpruned.model).runner(list(measures))
    theirs = GraphRunner(graph, [measure.stored.name for measure in measures.values()])
    for number, sample in enumerate(samples):
        if progress is not None:
            progress(f"measuring layers: sample {number + 1} of {len(samples)}")
        expected, made = ours.run(sample), theirs.run(fed(graph, sample))
        if unpruned is not None:
            expected = unpruned.seen(expected)
        for name, measure in measures.items():
            values = made[measure.stored.name]
            real = real_values(values, measure.stored.quantization)
            measure.agreement.include(expected[name], real)
            if measure.saturation is not None:
                measure.saturation.include(expected[name])
    return measures


def fed(graph: Graph, sample: Sample) -> dict[str, Array]:
    """A float sample as the inputs of a quantised graph store it."""
    return {
        tensor.name: sample[tensor.name]
        if tensor.quantization is None
        else quantized(sample[tensor.name], tensor, "onnx")
        for tensor in graph.inputs
    }


def run_outputs(
    graph: Graph,
    names: Sequence[str],
    samples: Sequence[Sample],
    what: str,
    progress: Progress | None = None,
) -> Outputs:
    """Outputs of a graph over samples, dequantised: an array [N, *shape] for each name.

    Parameters
    ----------
    names : what the outputs are called in the result, in order: a quantised graph may call them
        otherwise than its teacher.
    what : names the graph in progress.
    """
    runner = GraphRunner(graph)
    rows: dict[str, list[Array]] = {name: [] for name in names}
    for number, sample in enumerate(samples):
        if progress is not None:
            progress(f"running {what}: sample {number + 1} of {len(samples)}")
        made = runner.run(fed(graph, sample))
        for name, tensor in zip(names, graph.outputs, strict=True):
            values = made[tensor.name]
            is_real = tensor.quantization is not None
            rows[name].append(real_values(values, tensor.quantization) if is_real else values)
    return {name: np.stack(values) for name, values in rows.items()}
