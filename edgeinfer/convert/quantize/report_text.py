"""A quantisation report as text for a terminal: outputs, the worst layers, what to look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeinfer.convert.quantize.report import LayerReport, OutputReport, QuantizationReport
from edgeinfer.printing import decibels, format_table, printable, shortened

ROWS = 8
"""Layers in the table; all of them are in the JSON and HTML reports."""
MUCH_SATURATION = 0.01


def terminal_text(report: QuantizationReport, rows: int = ROWS) -> str:
    """Several lines, without a newline at the end."""
    lines = [measured_on(report)]
    lines += [f"  output   {output_line(output)}" for output in report.outputs]
    lines.append(f"  layers   {precision_line(report)}")
    if any(scheme in report.weight_schemes for scheme in ("mxfp4", "nvfp4")):
        lines.append(f"  weights  {weights_line(report)}")
    if report.pruned is not None:
        lines.append(f"  {pruned_line(report.pruned)}")
    if report.drop is not None:
        lines.append(f"  {drop_line(report)}")
    worst = report.worst(rows)
    if worst:
        lines += ["", f"worst of {len(report.worst())} layers", layer_table(worst)]
    return "\n".join([*lines, *notes(report)])


def measured_on(report: QuantizationReport) -> str:
    """What the numbers below it come from."""
    kind = "calibration" if report.seen_in_calibration else "held-out"
    return (
        f"accuracy against the float model, on {report.held_out_samples} {kind} samples "
        f"(ranges: {report.method}, from {report.calibration_samples} samples)"
    )


def output_line(output: OutputReport) -> str:
    """How near one output is."""
    top = "" if output.top_one is None else f", top-1 agreement {output.top_one:.2%}"
    return (
        f"{printable(output.name)}: SQNR {decibels(output.sqnr, ' dB')}, "
        f"cosine {output.cosine:.5f}{top}"
    )


def precision_line(report: QuantizationReport) -> str:
    """How many layers compute at which precision, and why some do not on int8."""
    listed = ", ".join(f"{count} {name}" for name, count in report.precisions.items())
    reasons: dict[str, int] = {}
    for layer in report.layers:
        if layer.precision == "float32" and layer.reason:
            reason = layer.reason.partition(":")[0]  # what was measured differs by layer
            reasons[reason] = reasons.get(reason, 0) + 1
    why = "; ".join(f"{printable(reason)} ({n})" for reason, n in reasons.items())
    return f"{listed}; float32: {why}" if why else listed


def weights_line(report: QuantizationReport) -> str:
    """How the weights of layers are stored, and what they take."""
    return ", ".join(
        f"{count} {'layer' if count == 1 else 'layers'} {scheme} ({size:,} bytes)"
        for scheme, (count, size) in report.weight_schemes.items()
    )


def pruned_line(pruned: Mapping[str, Any]) -> str:
    """How many channels layers have lost."""
    layers = pruned["layers"]
    before, after = (sum(layer[key] for layer in layers) for key in ("before", "after"))
    return (
        f"pruned   {before - after} of {before} channels, of {len(layers)} layers; "
        f"{len(pruned['left_alone'])} layers left alone"
    )


def drop_line(report: QuantizationReport) -> str:
    """What `max_drop` asked for and what came of it."""
    drop = report.drop or {}
    raised = drop["raised"]
    layers = "1 layer" if len(raised) == 1 else f"{len(raised)} layers"
    kept = f"{layers} at higher precision" if raised else "no layer raised"
    return (
        f"max drop {float(drop['limit']):.3%} of {drop['metric']}: reached "
        f"{float(drop['reached']):.3%} with {kept}"
    )


def layer_table(layers: list[LayerReport]) -> str:
    """One row per layer."""
    rows = [
        (
            shortened(layer.name),
            layer.source,
            layer.precision,
            decibels(layer.sqnr),
            decibels(layer.fall) if layer.fall is not None and layer.fall >= 0.05 else "",
            f"{layer.cosine:.5f}" if layer.cosine is not None else "",
            "" if not layer.saturated else f"{layer.saturated:.2%}",
            decibels(layer.weights_sqnr),
        )
        for layer in layers
    ]
    header = ("layer", "operator", "precision", "SQNR", "falls", "cosine", "saturated", "weights")
    return format_table(header, rows, right=(3, 4, 5, 6, 7))


def notes(report: QuantizationReport) -> list[str]:
    """What a reader should know before believing the numbers."""
    found = []
    drop = report.drop or {}
    if drop and 0 < drop["limit"] < drop["resolution"]:
        found.append(
            f"note: one held-out sample is {float(drop['resolution']):.2%} of {drop['metric']}, "
            f"more than the drop of {float(drop['limit']):.2%} that is allowed; more samples tell "
            "more"
        )
    if report.seen_in_calibration:
        found.append(
            "note: there were too few samples to hold any out; these were seen in calibration"
        )
    saturated = [layer for layer in report.layers if (layer.saturated or 0) > MUCH_SATURATION]
    if saturated:
        named = ", ".join(shortened(layer.name) for layer in saturated[:3])
        more = f" and {len(saturated) - 3} more" if len(saturated) > 3 else ""
        found.append(
            f"note: more than {MUCH_SATURATION:.0%} of the values saturate in {named}{more}; "
            "calibrate with more, or more varied, samples, or try --method minmax"
        )
    return found
