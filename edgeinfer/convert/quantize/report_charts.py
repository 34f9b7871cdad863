"""Charts of a quantisation report as SVG: text that stands in a page, without any library.

Measured layers are in the order of execution from left to right, numbered as in the page's table,
and each mark says in its tooltip what it is. Colours tell the precision that a layer computes at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from edgeinfer.convert.quantize.report import LayerReport
from edgeinfer.printing import decibels, printable

COLOURS = {"int8": "#2f6fb3", "int16": "#8a5bb5", "float32": "#c9762b"}
OTHER = "#777"
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 12, 34
_HEIGHT = 240
_WIDTH = 960
_MOST_DB = 80.0  # what is nearer than this, and what is exact, is drawn at the top


def colour_of(layer: LayerReport) -> str:
    """Of the layer's precision."""
    return COLOURS.get(layer.precision, OTHER)


def sqnr_chart(layers: Sequence[LayerReport]) -> str:
    """A dot per layer at its SQNR, joined by a line."""
    measured = [layer for layer in layers if layer.sqnr is not None]
    highest = max(
        (layer.sqnr for layer in measured if layer.sqnr is not None and math.isfinite(layer.sqnr)),
        default=40.0,
    )
    top = min(max(10 * math.ceil(highest / 10), 20), _MOST_DB)
    axes = _Axes(len(measured), 0.0, top)
    points = []
    marks = []
    for index, layer in enumerate(measured):
        value = min(max(layer.sqnr or 0.0, 0.0), top)
        x, y = axes.x(index), axes.y(value)
        points.append(f"{x:.1f},{y:.1f}")
        marks.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour_of(layer)}">'
            f"{_title(layer, 'SQNR ' + decibels(layer.sqnr, ' dB'))}</circle>"
        )
    line = f'<polyline points="{" ".join(points)}" class="line"/>'
    return axes.drawn("dB", "SQNR by layer", line + "".join(marks))


def fall_chart(layers: Sequence[LayerReport]) -> str:
    """A bar per layer: what it loses against the worst of its operands."""
    measured = [layer for layer in layers if layer.sqnr is not None]
    falls = [max(layer.fall or 0.0, 0.0) for layer in measured]
    top = max(5 * math.ceil(max(falls, default=0.0) / 5), 5)
    axes = _Axes(len(measured), 0.0, top)
    bars = []
    for index, (layer, fall) in enumerate(zip(measured, falls, strict=True)):
        width = max(min(axes.step * 0.7, 24.0), 1.0)
        y = axes.y(fall)
        bars.append(
            f'<rect x="{axes.x(index) - width / 2:.1f}" y="{y:.1f}" width="{width:.1f}" '
            f'height="{axes.y(0) - y:.1f}" fill="{colour_of(layer)}">'
            f"{_title(layer, 'loses ' + decibels(fall, ' dB'))}</rect>"
        )
    return axes.drawn("dB", "what each layer loses by itself", "".join(bars))


def range_chart(layers: Sequence[LayerReport]) -> str:
    """What was seen, as a part of what the integers span: 0 to 100 % is what they can say."""
    measured = [layer for layer in layers if layer.sqnr is not None]
    axes = _Axes(len(measured), -25.0, 125.0)
    limits = "".join(
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{axes.y(v):.1f}" y2="{axes.y(v):.1f}" '
        'class="limit"/>'
        for v in (0.0, 100.0)
    )
    bars = []
    for index, layer in enumerate(measured):
        if layer.range is None or layer.seen is None:
            continue  # float32
        low, high = layer.range
        span = high - low
        first, last = (100 * (value - low) / span for value in layer.seen)
        top, bottom = axes.y(min(last, 125.0)), axes.y(max(first, -25.0))
        width = max(min(axes.step * 0.7, 24.0), 1.0)
        said = (
            f"seen {layer.seen[0]:.4g} to {layer.seen[1]:.4g}, integers span {low:.4g} to "
            f"{high:.4g}, saturated {layer.saturated or 0.0:.3%}"
        )
        bars.append(
            f'<rect x="{axes.x(index) - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}" '
            f'height="{max(bottom - top, 1.0):.1f}" fill="{colour_of(layer)}">'
            f"{_title(layer, said)}</rect>"
        )
    return axes.drawn("%", "ranges of activations", limits + "".join(bars))


def _title(layer: LayerReport, said: str) -> str:
    name = escape(printable(layer.name.split(";")[0]))
    return f"<title>{name} ({escape(layer.source)}, {layer.precision}): {escape(said)}</title>"


class _Axes:
    """Where values lie, and the lines and numbers around them."""

    def __init__(self, count: int, low: float, high: float) -> None:
        self.count = max(count, 1)
        self.low, self.high = low, high
        self.step = (_WIDTH - _LEFT - _RIGHT) / self.count

    def x(self, index: int) -> float:
        return _LEFT + (index + 0.5) * self.step

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return _TOP + (1 - share) * (_HEIGHT - _TOP - _BOTTOM)

    def drawn(self, unit: str, label: str, contents: str) -> str:
        """The whole picture."""
        lines = []
        distance = _tick_distance(self.high - self.low)
        value = math.ceil(self.low / distance) * distance
        while value <= self.high:
            y = self.y(value)
            lines.append(
                f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" '
                f'class="grid"/><text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
                f"{value:g} {unit}</text>"
            )
            value += distance
        every = max(1, -(-self.count // 24))
        for index in range(0, self.count, every):
            lines.append(
                f'<text x="{self.x(index):.1f}" y="{_HEIGHT - 14}" text-anchor="middle">'
                f"{index + 1}</text>"
            )
        return (
            f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">'
            f"{''.join(lines)}{contents}</svg>"
        )


def _tick_distance(span: float) -> float:
    for distance in (1, 2, 5, 10, 20, 25, 50):
        if span / distance <= 8:
            return float(distance)
    return 100.0
