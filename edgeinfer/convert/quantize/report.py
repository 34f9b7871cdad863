"""What quantisation did to a model's accuracy: measured on samples that calibration did not see.

Every layer is held against the float teacher: signal-to-noise ratio (SQNR) and cosine of what it
stores, its range and how much of it saturates, the precision that it computes at and why, and how
near its rounded weights are. The outputs say what is left in the end.

A layer's SQNR counts all errors up to there. `fall` says how much of it is the layer's own: what it
loses against the worst of its operands.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeinfer.convert.graph import Node, Tensor
from edgeinfer.convert.program import Operation
from edgeinfer.convert.quantize.choose_blocks import ChosenBlocks
from edgeinfer.convert.quantize.measure import Agreement, TopOne, looks_like_classes
from edgeinfer.convert.quantize.measure_layers import (
    LayerMeasure,
    Unpruned,
    measure_layers,
    run_outputs,
)
from edgeinfer.convert.quantize.observe import Progress
from edgeinfer.convert.quantize.precision import is_numeric
from edgeinfer.convert.quantize.prepare_graph import layer_name
from edgeinfer.convert.quantize.quantize_weights import CHANNEL_AXIS
from edgeinfer.convert.quantize.share_ranges import moves
from edgeinfer.errors import InputError

if TYPE_CHECKING:
    from edgeinfer.convert.quantize.post_training import Quantized

MAX_SAMPLES = 32
"""Of the held-out samples, on which layers are measured; outputs are measured on all of them."""
WORST_IN_FILE = 5
"""Layers that the file's metadata names."""


@dataclass(frozen=True)
class LayerReport:
    """One layer. SQNR in decibels, ranges in real numbers.

    `sqnr` and what follows it are None where the layer's result exists no longer, since it became
    part of a table with what reads it. `weights` is how the weights of a layer that has some are
    stored: "mxfp4", "nvfp4", "int8", "float32"; `weights_bytes` what they take, packed.
    """

    name: str
    op: str
    source: str
    shape: tuple[int, ...]
    precision: str
    reason: str
    sqnr: float | None = None
    cosine: float | None = None
    fall: float | None = None
    largest_error: float | None = None
    seen: tuple[float, float] | None = None
    range: tuple[float, float] | None = None
    saturated: float | None = None
    scale: float | None = None
    zero_point: int | None = None
    weights_sqnr: float | None = None
    weights: str = ""
    weights_bytes: int = 0


@dataclass(frozen=True)
class OutputReport:
    """One output. `top_one` is None where it does not look like scores of classes."""

    name: str
    shape: tuple[int, ...]
    sqnr: float
    cosine: float
    largest_error: float
    top_one: float | None


@dataclass(frozen=True)
class KernelCount:
    """How many operations of a kind the file runs, the type of what they read, and why."""

    operator: str
    dtype: str
    reason: str
    count: int


@dataclass(frozen=True)
class QuantizationReport:
    """All of it. `seen_in_calibration` says that there were no samples to hold out.

    Attributes
    ----------
    drop : what `max_drop` did, as `limit_drop.Outcome.described`; None where it was not asked for.
    pruned : channels that were removed, as `prune_channels.Pruned.described`; None where none were.
        Layers that lost channels are measured on those that are left.
    """

    model: str
    method: str
    seed: int
    calibration_samples: int
    held_out_samples: int
    seen_in_calibration: bool
    equalized_tensors: int
    bias_corrected: bool
    outputs: tuple[OutputReport, ...]
    layers: tuple[LayerReport, ...]
    kernels: tuple[KernelCount, ...] = ()
    drop: Mapping[str, Any] | None = None
    pruned: Mapping[str, Any] | None = None

    @property
    def precisions(self) -> dict[str, int]:
        """How many layers compute at each precision."""
        return dict(sorted(Counter(layer.precision for layer in self.layers).items()))

    @property
    def weight_schemes(self) -> dict[str, tuple[int, int]]:
        """Layers with weights by how these are stored: how many, and the bytes of them."""
        found: dict[str, tuple[int, int]] = {}
        for layer in self.layers:
            if layer.weights:
                count, size = found.get(layer.weights, (0, 0))
                found[layer.weights] = count + 1, size + layer.weights_bytes
        return dict(sorted(found.items()))

    def worst(self, count: int | None = None) -> list[LayerReport]:
        """Measured layers, lowest SQNR first."""
        measured = [layer for layer in self.layers if layer.sqnr is not None]
        ordered = sorted(measured, key=lambda layer: layer.sqnr or 0.0)
        return ordered[:count]

    def as_data(self) -> dict[str, Any]:
        """All of it as JSON can hold it, but for numbers that are not finite."""
        return {**asdict(self), "precisions": self.precisions}

    def summary(self) -> dict[str, Any]:
        """What the file's metadata holds: rounded, finite, and short."""
        return {
            "held_out_samples": self.held_out_samples,
            "seen_in_calibration": self.seen_in_calibration,
            "layers": self.precisions,
            "weights": {
                scheme: {"layers": count, "bytes": size}
                for scheme, (count, size) in self.weight_schemes.items()
            },
            "outputs": [
                {
                    "name": output.name,
                    "sqnr_db": _rounded(output.sqnr, 2),
                    "cosine": _rounded(output.cosine, 6),
                    "top1": _rounded(output.top_one, 6),
                }
                for output in self.outputs
            ],
            "worst_layers": [
                {"name": layer.name, "sqnr_db": _rounded(layer.sqnr, 2)}
                for layer in self.worst(WORST_IN_FILE)
            ],
            **({} if self.drop is None else {"max_drop": _plain(_without_sensitivity(self.drop))}),
        }

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it as JSON or HTML, as the name's suffix says.

        Raises
        ------
        InputError
            The suffix is neither `.json` nor `.html`.
        """
        target = Path(path)
        require_report_suffix(target)
        if target.suffix.lower() == ".json":
            from edgeinfer.printing import json_text

            text = json_text(self.as_data()) + "\n"
        else:
            from edgeinfer.convert.quantize.report_html import page

            text = page(self)
        target.write_text(text, encoding="utf-8")
        return target


def require_report_suffix(path: Path) -> None:
    """Raise InputError on a report of a kind that there is none of: before the work is done."""
    if path.suffix.lower() not in (".json", ".html"):
        raise InputError(f"a report is .json or .html, not {path.name!r}")


def make_report(
    quantized: Quantized,
    reasons: Mapping[Operation, str] | None = None,
    *,
    progress: Progress | None = None,
) -> QuantizationReport:
    """Measure a quantised graph on its held-out samples.

    Parameters
    ----------
    reasons : for each operation that the file runs, why it runs at its precision.
    """
    teacher, data = quantized.teacher, quantized.data
    step = max(1, -(-len(data.held_out) // MAX_SAMPLES))
    pruned = quantized.pruned
    packed = _packed_bytes(reasons or {})
    measures = measure_layers(
        teacher,
        quantized.graph,
        quantized.result.stored,
        data.held_out[::step],
        progress,
        None if pruned is None else Unpruned(quantized.original, pruned.kept, quantized.scales),
    )
    return QuantizationReport(
        model=teacher.graph.name,
        method=quantized.ranges.method,
        seed=quantized.options.seed,
        calibration_samples=len(data.samples),
        held_out_samples=len(data.held_out),
        seen_in_calibration=any(a is b for a in data.held_out[:1] for b in data.samples),
        equalized_tensors=len(quantized.scales),
        bias_corrected=quantized.bias_corrected,
        outputs=_outputs(quantized, progress),
        layers=tuple(
            _layer(node, quantized, measures, packed)
            for node in teacher.graph.nodes
            if is_numeric(node)
        ),
        kernels=count_kernels(reasons or {}),
        drop=quantized.drop,
        pruned=None if pruned is None else pruned.described(),
    )


def count_kernels(reasons: Mapping[Operation, str]) -> tuple[KernelCount, ...]:
    """Operations by operator, the type of what they read, and the reason; most frequent first."""
    counted: Counter[tuple[str, str, str]] = Counter()
    for operation, reason in reasons.items():
        read = next((v for v in operation.inputs if v is not None and v.data is None), None)
        counted[operation.operator, (read or operation.outputs[0]).dtype, reason] += 1
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return tuple(KernelCount(*kind, count) for kind, count in ordered)


def _outputs(quantized: Quantized, progress: Progress | None) -> tuple[OutputReport, ...]:
    original, samples = quantized.original.graph, quantized.data.held_out
    names = [tensor.name for tensor in original.outputs]
    expected = run_outputs(original, names, samples, "the float model", progress)
    found = run_outputs(quantized.graph, names, samples, "the quantised model", progress)
    shapes = [tensor.shape for tensor in original.inputs]
    reports = []
    for tensor in dict.fromkeys(original.outputs):
        agreement, top = Agreement(), TopOne()
        x, y = expected[tensor.name], found[tensor.name]
        agreement.include(x, y)
        has_classes = looks_like_classes(tensor.shape, shapes)
        if has_classes:
            top.include(x, y)
        reports.append(
            OutputReport(
                tensor.name,
                tensor.shape,
                agreement.sqnr,
                agreement.cosine,
                agreement.largest_error,
                top.share if has_classes else None,
            )
        )
    return tuple(reports)


def _packed_bytes(operations: Iterable[Operation]) -> dict[str, int]:
    """Bytes of every constant, by its name."""
    values = (value for operation in operations for value in operation.inputs)
    return {v.name: v.nbytes for v in values if v is not None and v.data is not None}


def _layer(
    node: Node,
    quantized: Quantized,
    measures: Mapping[str, LayerMeasure],
    packed: Mapping[str, int],
) -> LayerReport:
    name = layer_name(node)
    precision, reason = _precision(node, quantized)
    measure = measures.get(name)
    found: dict[str, Any] = {}
    if measure is not None:
        agreement, saturation = measure.agreement, measure.saturation
        found = {
            "sqnr": agreement.sqnr,
            "cosine": agreement.cosine,
            "fall": _fall(node, measures),
            "largest_error": agreement.largest_error,
            "seen": (agreement.low, agreement.high),
        }
        if saturation is not None:
            found |= {
                "range": saturation.bounds,
                "saturated": saturation.share,
                "scale": float(saturation.quantization.scale[0]),
                "zero_point": int(saturation.quantization.zero_point[0]),
            }
    return LayerReport(
        name,
        node.op,
        node.source or node.op,
        node.outputs[0].shape,
        precision,
        reason,
        weights_sqnr=_weights_sqnr(node, quantized),
        weights=_weights(node, quantized),
        weights_bytes=packed.get(f"{_stored(node.outputs[0], quantized).name}/weights", 0),
        **found,
    )


def _precision(node: Node, quantized: Quantized) -> tuple[str, str]:
    name = layer_name(node)
    reason = quantized.result.float_layers.get(name, "")
    if reason:
        return "float32", reason
    asked = quantized.options.int16
    if name in asked and quantized.result.stored[name].dtype == "int16":
        return "int16", asked[name] if isinstance(asked, Mapping) else "asked for"
    int8 = quantized.options.int8
    if name in int8 and _weights(node, quantized) == "int8":
        return "int8", int8[name] if isinstance(int8, Mapping) else "asked for"
    stored = _stored(node.outputs[0], quantized)
    if stored.dtype == "float32" and not moves(node):  # its table or softmax makes float32
        read = [t for t in node.inputs if t is not None and t.dtype == "float32"]
        stored = next((s for t in read if (s := _stored(t, quantized)).quantization), stored)
    return stored.dtype, "moves what it reads" if moves(node) else ""


def _stored(tensor: Tensor, quantized: Quantized) -> Tensor:
    return quantized.result.stored.get(tensor.name, tensor)


def _fall(node: Node, measures: Mapping[str, LayerMeasure]) -> float | None:
    """Decibels lost between the worst operand and the result."""
    own = measures[layer_name(node)].agreement.sqnr
    operands = [
        measures[tensor.name].agreement.sqnr
        for tensor in node.inputs
        if tensor is not None and tensor.name in measures
    ]
    worst = min(operands, default=math.inf)
    return worst - own if math.isfinite(worst) and math.isfinite(own) else None


def _weights(node: Node, quantized: Quantized) -> str:
    """How the weights are stored; "" for a layer without."""
    if node.op not in CHANNEL_AXIS or node.input(1).data is None:
        return ""
    chosen = quantized.result.weights.get(layer_name(node))
    if isinstance(chosen, ChosenBlocks):
        return chosen.blocks.scheme
    return "float32" if chosen is None else "int8"


def _weights_sqnr(node: Node, quantized: Quantized) -> float | None:
    chosen = quantized.result.weights.get(layer_name(node))
    if chosen is None or node.input(1).data is None:
        return None
    weights = node.input(1).data
    assert weights is not None
    agreement = Agreement()
    agreement.include(weights, chosen.real(CHANNEL_AXIS[node.op]))
    return agreement.sqnr


def _rounded(value: float | None, digits: int) -> float | None:
    return round(value, digits) if value is not None and math.isfinite(value) else None


def _without_sensitivity(drop: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in drop.items() if key != "sensitivity"}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return _rounded(value, 6)
    return value
