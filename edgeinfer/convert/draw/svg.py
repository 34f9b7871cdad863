"""A memory plan as a picture of memory over time.

Time runs to the right, a column per operator, and addresses run upwards; each buffer is a rectangle
as wide as its life and as high as its bytes. A column that is full to the top of the arena has no
slack. Operators that take turns by bands of rows share their columns (`Timeline`); what is held in
part meanwhile, a ring, is hatched.
"""

from __future__ import annotations

from html import escape

from edgeinfer.convert.draw.buffers import INPUT_COLOUR, OUTPUT_COLOUR, PEAK_COLOUR, Box, boxes
from edgeinfer.convert.draw.peak import peak_sentence
from edgeinfer.convert.draw.timeline import Timeline, node_spans, step_groups
from edgeinfer.convert.model_file import FileProgram
from edgeinfer.printing import printable

_MIN_WIDTH, _HEIGHT = 1000, 460  # of the plotting area, in pixels
_MIN_COLUMN = 30  # wide enough for an upright name of two lines
_LEFT, _TOP, _RIGHT, _BOTTOM = 96, 66, 24, 128
_FONT = 11
_CHARACTER = 6.3  # width of an average one at that size
_LINE = 14  # room that a line of text needs
_SHORTEST = 8  # characters of a cut name that still tell something
_MAX_TICKS = 8
_INK, _FAINT = "#222", "#e6e6e6"
_RING_PATTERN = (
    '<pattern id="ring" width="8" height="8" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><path d="M0 0V8" stroke="#222" stroke-opacity="0.45" '
    'stroke-width="3"/></pattern>'
)


def plan_svg(program: FileProgram) -> str:
    """The picture as a self-contained SVG document; hovering over a buffer tells all of it."""
    frame = _Frame(program)
    drawn = boxes(program)
    width, height = _LEFT + frame.width + _RIGHT, _TOP + _HEIGHT + _BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" '
        f'viewBox="0 0 {width:.0f} {height}" font-family="sans-serif" font-size="{_FONT}" '
        f'fill="{_INK}">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_LEFT}" y="26" font-size="16" font-weight="bold">'
        f"Arena of {escape(printable(program.name))}: {program.arena_bytes:,} bytes</text>",
        f'<text x="{_LEFT}" y="46">{escape(peak_sentence(program))}</text>',
        *_legend(_LEFT + frame.width, any(box.is_ring for box in drawn)),
        *_address_axis(frame),
        *[_svg_box(box, frame) for box in drawn],
        _peak(program, frame),
        *[_svg_label(box, frame) for box in drawn],
        *_operator_axis(program, frame),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


class _Frame:
    """From steps and addresses to pixels."""

    def __init__(self, program: FileProgram) -> None:
        self.timeline = Timeline(step_groups(program))
        self.top_address = max(program.arena_bytes, 1)
        self.column = max(_MIN_WIDTH / self.timeline.columns, _MIN_COLUMN)
        self.width = self.column * self.timeline.columns

    def x(self, step: int) -> float:
        """Where a step begins."""
        return _LEFT + self.width * self.timeline.by_operator(step)

    def y(self, address: float) -> float:
        """Height of an address; y grows downwards."""
        return _TOP + _HEIGHT * (1 - address / self.top_address)

    def rectangle(self, box: Box) -> tuple[float, float, float, float]:
        """Left, top, width and height; a sliver stays visible."""
        x, y = self.x(box.first_step), self.y(box.offset + box.bytes)
        height = self.y(box.offset) - y
        visible = max(height, 1.5)
        return x, y + height - visible, self.x(box.last_step + 1) - x, visible


def _svg_box(box: Box, frame: _Frame) -> str:
    x, y, width, height = frame.rectangle(box)
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    hatching = f'<rect {place} fill="url(#ring)" pointer-events="none"/>' if box.is_ring else ""
    return (
        f'<rect {place} fill="{box.colour}" stroke="white"><title>{escape(box.title)}</title>'
        f"</rect>{hatching}"
    )


def _svg_label(box: Box, frame: _Frame) -> str:
    x, y, width, height = frame.rectangle(box)
    upright = height > 1.5 * width
    along, across = (height, width) if upright else (width, height)
    lines = _lines(box, int((along - 6) / _CHARACTER), int((across - 2) / _LINE))
    x, y = x + width / 2, y + height / 2
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if upright else ""
    texts = []
    for number, line in enumerate(lines):
        # 0.35 of the height of the letters: not every renderer can centre text by itself.
        middle = y + (number - (len(lines) - 1) / 2) * _LINE + 0.35 * _FONT
        texts.append(
            f'<text x="{x:.1f}" y="{middle:.1f}" text-anchor="middle" pointer-events="none"'
            f"{turn}>{escape(line)}</text>"
        )
    return "".join(texts)


def _lines(box: Box, room: int, lines: int) -> list[str]:
    """Name and bytes, as much as so many lines of so many characters hold."""
    size = f"{box.bytes:,}"
    name = box.label
    if len(name) > room:
        head = (room - 1) * 2 // 3
        name = f"{name[:head]}…{name[head + 1 - room :]}" if room >= _SHORTEST else ""
    if lines >= 2 and name and len(size) <= room:
        return [name, size]
    if lines >= 1:
        for line in (f"{box.label} · {size}", name, size):
            if line and len(line) <= room:
                return [line]
    return []


def _address_axis(frame: _Frame) -> list[str]:
    step = 1
    while frame.top_address / step > _MAX_TICKS:
        step *= 2
    addresses = [*range(0, frame.top_address, step), frame.top_address]
    if len(addresses) > 2 and addresses[-1] - addresses[-2] < step / 2:
        del addresses[-2]  # the labels would touch
    parts = []
    for address in addresses:
        y = frame.y(address)
        parts.append(
            f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_LEFT + frame.width:.1f}" y2="{y:.1f}" '
            f'stroke="{_FAINT}"/><text x="{_LEFT - 8}" y="{y:.1f}" dy="0.35em" '
            f'text-anchor="end">{address:,}</text>'
        )
    return parts


def _peak(program: FileProgram, frame: _Frame) -> str:
    x = frame.x(program.peak_step)
    width = max(frame.x(program.peak_step + 1) - x, 1.5)
    return (
        f'<rect x="{x:.1f}" y="{_TOP}" width="{width:.1f}" '
        f'height="{_HEIGHT}" fill="{PEAK_COLOUR}" fill-opacity="0.12" stroke="{PEAK_COLOUR}" '
        'pointer-events="none"/>'
    )


def _operator_axis(program: FileProgram, frame: _Frame) -> list[str]:
    """Each operator with its step, or its first and last one, under its column."""
    parts = []
    y = _TOP + _HEIGHT + 14
    peak_node = program.steps[program.peak_step].node
    own = {span.node: span.steps for span in node_spans(program)}
    nodes = [node for group in frame.timeline.groups for node in group.nodes]
    for column, node in enumerate(nodes):
        x = _LEFT + (column + 0.5) * frame.column + 4
        style = f' fill="{PEAK_COLOUR}" font-weight="bold"' if node == peak_node else ""
        steps = f"{own[node][0]}–{own[node][-1]}" if len(own[node]) > 1 else f"{own[node][0]}"
        label = f"{steps} {program.nodes[node].operator}"
        parts.append(
            f'<text x="{x:.1f}" y="{y}" text-anchor="end"{style} '
            f'transform="rotate(-55 {x:.1f} {y})">{escape(label)}</text>'
        )
    return parts


def _legend(right: float, has_rings: bool) -> list[str]:
    parts = []
    entries = [
        ("graph input", f'fill="{INPUT_COLOUR}"'),
        ("graph output", f'fill="{OUTPUT_COLOUR}"'),
        ("peak", f'fill="{PEAK_COLOUR}" fill-opacity="0.12" stroke="{PEAK_COLOUR}"'),
    ]
    if has_rings:
        parts.append(_RING_PATTERN)
        entries.insert(2, ("ring of rows", f'fill="url(#ring)" stroke="{_INK}"'))
    x = right - 105 * len(entries) + 45
    for label, style in entries:
        parts.append(
            f'<rect x="{x:.1f}" y="15" width="12" height="12" {style}/>'
            f'<text x="{x + 17:.1f}" y="25">{label}</text>'
        )
        x += 105
    return parts
