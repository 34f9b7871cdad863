"""RAM against time: what each plan of a model takes, as a picture.

The line is the fastest plan that fits, for every amount of RAM: a staircase, since a plan runs
from its own bytes on. A plan off the line is beaten by another that needs no more bytes and no more
time. The picture follows the reader's dark or light theme, alone and inside an HTML page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from edgeinfer.errors import InputError
from edgeinfer.printing import printable

_WIDTH, _HEIGHT = 860, 420
_LEFT, _TOP, _RIGHT, _BOTTOM = 92, 54, 48, 58
_CHARACTER, _LINE = 6.4, 14  # average width of a character, room for a line, in pixels
_TICKS = 6
_STYLE = """
.pareto{--ink:#1d2430;--faint:#dfe3e8;--line:#2f6fb5;--pick:#c62828;--paper:#ffffff;
font:12px system-ui,sans-serif;fill:var(--ink)}
@media (prefers-color-scheme:dark){.pareto{--ink:#e3e7ed;--faint:#333b46;--line:#7db4ee;
--pick:#ff8a80;--paper:#14181d}}
.pareto .paper{fill:var(--paper)}
.pareto .grid{stroke:var(--faint)}
.pareto .front{fill:none;stroke:var(--line);stroke-width:2}
.pareto .point{fill:var(--line);stroke:var(--paper)}
.pareto .beaten{fill:none;stroke:var(--ink);stroke-opacity:.55}
.pareto .default{fill:var(--pick)}
.pareto .title{font-size:16px;font-weight:600}
.pareto text{stroke:var(--paper);stroke-width:3px;paint-order:stroke}
"""


class ParetoPoint(NamedTuple):
    """One plan: what to call it, its cost (time, say), its bytes, and whether it is the default."""

    label: str
    cost: float
    bytes: int
    is_default: bool = False


def pareto_front(points: Sequence[ParetoPoint]) -> list[ParetoPoint]:
    """The plans that no other beats, by bytes ascending: each is faster than all before it."""
    front: list[ParetoPoint] = []
    for point in sorted(points, key=lambda p: (p.bytes, p.cost)):
        if not front or point.cost < front[-1].cost:
            front.append(point)
    return front


def pareto_svg(
    points: Sequence[tuple[str, float, int, bool]],
    *,
    title: str = "RAM against time",
    cost_name: str = "time of a run, µs",
    bytes_name: str = "arena, bytes",
) -> str:
    """A self-contained SVG document.

    Parameters
    ----------
    points : sequence of ParetoPoint, or of tuples (label, cost, bytes, is_default)
        At least one; costs are finite and not negative, in whatever unit `cost_name` says.

    Raises
    ------
    InputError
        There is no point, or a cost or a number of bytes is none.
    """
    plans = [_checked(ParetoPoint(*point)) for point in points]
    if not plans:
        raise InputError("there is no plan to draw")
    front = pareto_front(plans)
    across = _Axis([p.bytes for p in plans], _LEFT, _WIDTH - _RIGHT, whole=True)
    up = _Axis([p.cost for p in plans], _HEIGHT - _BOTTOM, _TOP)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="pareto" viewBox="0 0 {_WIDTH} '
            f'{_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" role="img">',
            f"<title>{escape(printable(title))}</title><style>{_STYLE}</style>",
            '<rect class="paper" width="100%" height="100%"/>',
            f'<text class="title" x="{_LEFT}" y="26">{escape(printable(title))}</text>',
            *_grid(across, up, bytes_name, cost_name),
            _staircase(front, across, up),
            *[_dot(p, p in front, across, up) for p in sorted(plans, key=lambda p: p.is_default)],
            *_labels(plans, front, across, up),
            "</svg>",
        ]
    )


def _checked(point: ParetoPoint) -> ParetoPoint:
    if not (math.isfinite(point.cost) and point.cost >= 0):
        raise InputError(f"plan {point.label!r} has a cost of {point.cost}; it must be 0 or more")
    if point.bytes < 0:
        raise InputError(f"plan {point.label!r} has {point.bytes} bytes; it must be 0 or more")
    return point


class _Axis:
    """From values to pixels, with round numbers at the ticks.

    It starts at 0 unless that would press all points into the far half of it.
    """

    def __init__(
        self, values: Sequence[float], begin: float, end: float, *, whole: bool = False
    ) -> None:
        low, high = min(values), max(values)
        low = 0 if low < high / 2 or low == high else low - (high - low) / 3
        raw = (high - low) * 1.05 / _TICKS or 1.0
        scale = 10.0 ** math.floor(math.log10(raw))
        self.tick = next(n * scale for n in (1, 2, 2.5, 5, 10) if n * scale >= raw)
        if whole:
            self.tick = max(1.0, float(math.ceil(self.tick)))
        self.low = math.floor(low / self.tick) * self.tick
        self.high = max(math.ceil(high * 1.02 / self.tick) * self.tick, self.low + self.tick)
        self._begin, self._end = begin, end

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self._begin + share * (self._end - self._begin)

    def ticks(self) -> list[float]:
        count = round((self.high - self.low) / self.tick)
        return [self.low + i * self.tick for i in range(count + 1)]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,.4g}"


def _grid(across: _Axis, up: _Axis, bytes_name: str, cost_name: str) -> list[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = []
    for value in across.ticks():
        x = across.at(value)
        parts.append(
            f'<path class="grid" d="M{x:.1f} {_TOP}V{bottom}"/>'
            f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{_number(value)}</text>'
        )
    for value in up.ticks():
        y = up.at(value)
        parts.append(
            f'<path class="grid" d="M{_LEFT} {y:.1f}H{right}"/>'
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_number(value)}</text>'
        )
    middle = (_LEFT + right) / 2
    parts.append(
        f'<text x="{middle}" y="{_HEIGHT - 14}" text-anchor="middle">'
        f"{escape(printable(bytes_name))}</text>"
    )
    height = (_TOP + bottom) / 2
    parts.append(
        f'<text x="18" y="{height}" text-anchor="middle" transform="rotate(-90 18 {height})">'
        f"{escape(printable(cost_name))}</text>"
    )
    return parts


def _staircase(front: Sequence[ParetoPoint], across: _Axis, up: _Axis) -> str:
    path = f"M{across.at(front[0].bytes):.1f} {up.at(front[0].cost):.1f}"
    for point in front[1:]:
        path += f"H{across.at(point.bytes):.1f}V{up.at(point.cost):.1f}"
    return f'<path class="front" d="{path}H{across.at(across.high):.1f}"/>'


def _dot(point: ParetoPoint, on_front: bool, across: _Axis, up: _Axis) -> str:
    kind = "point" if on_front else "beaten"
    radius = 4.5
    if point.is_default:
        kind, radius = f"{kind} default", 6.5
    told = f"{printable(point.label)}\n{point.bytes:,} bytes\n{_number(point.cost)}"
    return (
        f'<circle class="{kind}" cx="{across.at(point.bytes):.1f}" cy="{up.at(point.cost):.1f}" '
        f'r="{radius}"><title>{escape(told)}</title></circle>'
    )


def _labels(
    plans: Sequence[ParetoPoint], front: Sequence[ParetoPoint], across: _Axis, up: _Axis
) -> list[str]:
    """Names beside the dots, the default's first; those without room are left to hovering."""
    taken = [
        (across.at(p.bytes) - 6, up.at(p.cost) - 6, across.at(p.bytes) + 6, up.at(p.cost) + 6)
        for p in plans
    ]
    parts = []
    named = [p for p in plans if p.is_default or p in front]
    for point in sorted(named, key=lambda p: not p.is_default):
        name = printable(point.label)
        if point.is_default and "default" not in name:
            name += " (default)"
        width = len(name) * _CHARACTER
        x, y = across.at(point.bytes), up.at(point.cost)
        for left, base, anchor in (
            (x + 10, y - 8, "start"),
            (x - 10 - width, y + 16, "end"),
            (x + 10, y + 18, "start"),
            (x - 10 - width, y - 8, "end"),
            *((x + 4, y - above, "start") for above in (24, 42, 60) if point.is_default),
        ):
            room = (left, base - _LINE + 3, left + width, base + 3)
            if left < _LEFT or room[2] > _WIDTH or any(_overlap(room, other) for other in taken):
                continue
            taken.append(room)
            at = left if anchor == "start" else left + width
            parts.append(
                f'<text x="{at:.1f}" y="{base:.1f}" text-anchor="{anchor}">{escape(name)}</text>'
            )
            break
    return parts


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
