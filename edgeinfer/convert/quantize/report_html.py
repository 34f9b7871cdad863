"""A quantisation report as one HTML page that needs nothing else: no script, font or picture."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from edgeinfer.convert.quantize.report import LayerReport, QuantizationReport
from edgeinfer.convert.quantize.report_charts import (
    COLOURS,
    colour_of,
    fall_chart,
    range_chart,
    sqnr_chart,
)
from edgeinfer.convert.quantize.report_text import drop_line, measured_on, notes, pruned_line
from edgeinfer.printing import decibels, printable, shortened

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; margin: 2rem auto;
  max-width: 1240px; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .3rem; }
p { margin: .2rem 0 .6rem; } .faint { color: #666; }
svg { width: 100%; height: auto; font: 11px system-ui, sans-serif; }
svg text { fill: #666; } .grid { stroke: #e6e6e6; } .limit { stroke: #999; }
.line { fill: none; stroke: #bbb; stroke-width: 1.5; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 12px; }
th { text-align: left; border-bottom: 2px solid #ccc; padding: .22rem .38rem; white-space: nowrap; }
td { border-bottom: 1px solid #eee; padding: .22rem .38rem; white-space: nowrap; }
td.why { white-space: normal; min-width: 9rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.dot { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin-right: .4em; }
.tiles { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1rem 0; }
.tile { border: 1px solid #ddd; border-radius: 8px; padding: .6rem 1rem; min-width: 9rem; }
.tile b { display: block; font-size: 1.35rem; } .note { background: #fff6e0; padding: .5rem .8rem; }
"""


def page(report: QuantizationReport) -> str:
    """The document."""
    model = escape(printable(report.model))
    sections = [
        f"<h1>{model}</h1>",
        f'<p class="faint">{escape(_sentence(report))}</p>',
        _tiles(report),
        *(f'<p class="note">{escape(note)}</p>' for note in notes(report)),
        _drop(report),
        _chart(
            "SQNR by layer",
            "Signal to quantisation noise of what each layer stores, in the order of execution. "
            "It counts every error up to there; 20 to 45 dB are usual for INT8.",
            sqnr_chart(report.layers),
        ),
        f"<p>{_legend(report)}</p>",
        _chart(
            "What each layer loses by itself",
            "Its SQNR below that of the worst of its operands. A high bar is where to look.",
            fall_chart(report.layers),
        ),
        _chart(
            "Ranges of activations",
            "What was seen, as a part of what the stored integers span (0 to 100 %). Beyond the "
            "lines values saturate; a short bar wastes steps.",
            range_chart(report.layers),
        ),
        "<h2>Outputs</h2>",
        _outputs(report),
        "<h2>Layers</h2>",
        _layers(report.layers),
        "<h2>Kernels</h2>" if report.kernels else "",
        _kernels(report),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{model}: quantisation report</title><style>{_STYLE}</style></head>\n"
        f"<body>{''.join(f'{section}{chr(10)}' for section in sections if section)}</body></html>\n"
    )


def _sentence(report: QuantizationReport) -> str:
    text = f"INT8 by post-training quantisation: {measured_on(report)}; seed {report.seed}"
    if report.equalized_tensors:
        text += f"; channels of {report.equalized_tensors} tensors equalised"
    if report.pruned is not None:
        text += f"; {pruned_line(report.pruned)}"
    return text + ("; biases corrected." if report.bias_corrected else ".")


def _tiles(report: QuantizationReport) -> str:
    tiles = []
    for output in report.outputs[:4]:
        name = escape(shortened(output.name))
        tiles.append(("SQNR of " + name, decibels(output.sqnr, " dB")))
        if output.top_one is not None:
            tiles.append(("top-1 agreement", f"{output.top_one:.2%}"))
    worst = report.worst(1)
    if worst:
        tiles.append(("worst layer", decibels(worst[0].sqnr, " dB")))
    listed = ", ".join(f"{count} {name}" for name, count in report.precisions.items())
    tiles.append(("layers", listed))
    body = "".join(f'<div class="tile">{label}<b>{value}</b></div>' for label, value in tiles)
    return f'<div class="tiles">{body}</div>'


def _drop(report: QuantizationReport) -> str:
    if report.drop is None:
        return ""
    rows = [
        (_cell(shortened(layer["name"], 60)), layer["precision"], _cell(layer["reason"]))
        for layer in report.drop["raised"]
    ]
    sentence = escape(drop_line(report))
    table = _table(("layer", "precision", "why"), rows) if rows else ""
    return f"<h2>Kept at higher precision</h2><p>{sentence}</p>{table}"


def _chart(title: str, sentence: str, drawn: str) -> str:
    return f'<h2>{title}</h2><p class="faint">{sentence}</p>{drawn}'


def _legend(report: QuantizationReport) -> str:
    used = {layer.precision for layer in report.layers}
    return " ".join(
        f'<span style="margin-right:1.2em"><span class="dot" style="background:{colour}"></span>'
        f"{name}</span>"
        for name, colour in COLOURS.items()
        if name in used
    )


def _outputs(report: QuantizationReport) -> str:
    rows = [
        (
            _cell(output.name),
            "x".join(map(str, output.shape)) or "scalar",
            decibels(output.sqnr),
            f"{output.cosine:.6f}",
            f"{output.largest_error:.4g}",
            "" if output.top_one is None else f"{output.top_one:.2%}",
        )
        for output in report.outputs
    ]
    header = ("output", "shape", "SQNR, dB", "cosine", "largest error", "top-1 agreement")
    return _table(header, rows, numbers=(2, 3, 4, 5))


def _layers(layers: Sequence[LayerReport]) -> str:
    numbered = [layer for layer in layers if layer.sqnr is not None]
    position = {id(layer): str(number) for number, layer in enumerate(numbered, 1)}
    rows = []
    for layer in layers:
        dot = f'<span class="dot" style="background:{colour_of(layer)}"></span>'
        seen, span = layer.seen, layer.range
        rows.append(
            (
                position.get(id(layer), ""),
                f'<span title="{_cell(layer.name)}">{_cell(shortened(layer.name))}</span>',
                _cell(layer.source),
                f"{dot}{layer.precision}",
                decibels(layer.sqnr) if layer.sqnr is not None else "in a table",
                "" if layer.fall is None or layer.fall < 0.05 else decibels(layer.fall),
                "" if layer.cosine is None else f"{layer.cosine:.5f}",
                "" if seen is None else f"{seen[0]:.4g} to {seen[1]:.4g}",
                "" if span is None else f"{span[0]:.4g} to {span[1]:.4g}",
                f"{layer.saturated:.3%}" if layer.saturated else "",
                _stored_weights(layer),
                decibels(layer.weights_sqnr),
                _cell(layer.reason),
            )
        )
    header = (
        "", "layer", "operator", "precision", "SQNR, dB", "loses", "cosine", "seen",
        "integers span", "saturated", "weights, bytes", "weights, dB", "why",
    )  # fmt: skip
    return _table(header, rows, numbers=(0, 4, 5, 6, 7, 8, 9, 10, 11))


def _stored_weights(layer: LayerReport) -> str:
    size = f" {layer.weights_bytes:,}" if layer.weights_bytes else ""
    return f"{layer.weights}{size}"


def _kernels(report: QuantizationReport) -> str:
    rows = [
        (_cell(kernel.operator), kernel.dtype, str(kernel.count), _cell(kernel.reason))
        for kernel in report.kernels
    ]
    header = ("operator", "reads", "operations", "why")
    return _table(header, rows, numbers=(2,)) if rows else ""


def _cell(text: str) -> str:
    return escape(printable(text))


def _table(
    header: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()
) -> str:
    def cells(tag: str, row: Sequence[str]) -> str:
        parts = []
        for index, cell in enumerate(row):
            kind = ' class="number"' if index in numbers else ""
            if tag == "td" and header[index] == "why":
                kind = ' class="why"'
            parts.append(f"<{tag}{kind}>{cell}</{tag}>")
        return f"<tr>{''.join(parts)}</tr>"

    body = "\n".join(cells("td", row) for row in rows)
    return f'<div class="wide"><table>{cells("th", header)}\n{body}</table></div>'
