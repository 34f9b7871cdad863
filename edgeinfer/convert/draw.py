"""A memory plan as a table and as a picture of memory over time.

In the picture time runs to the right, a column per step, and addresses run upwards; each buffer is
a rectangle as wide as its life and as high as its bytes. A column that is full to the top of the
arena has no slack. Table and picture work from the file alone, so `edgeinfer plan` needs no source
model. The SVG is plain text; a PNG needs the `plot` extra.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

from edgeinfer.cli.text import format_table, printable
from edgeinfer.convert.model_file import FileProgram
from edgeinfer.errors import MissingExtraError

_MIN_WIDTH, _HEIGHT = 1000, 460  # of the plotting area, in pixels
_MIN_COLUMN = 30  # wide enough for an upright name of two lines
_LEFT, _TOP, _RIGHT, _BOTTOM = 96, 66, 24, 128
_FONT = 11
_CHARACTER = 6.3  # width of an average one at that size
_LINE = 14  # room that a line of text needs
_SHORTEST = 8  # characters of a cut name that still tell something
_MAX_TICKS = 8
_PALETTE = ("#8fb8de", "#a8d5a2", "#d9c2e9", "#f4d58d", "#9fd8d3", "#e3b7a0", "#c3cbd6")
_INPUT_COLOUR, _OUTPUT_COLOUR, _PEAK_COLOUR = "#f6a04d", "#ef7f7b", "#c62828"
_INK, _FAINT = "#222", "#e6e6e6"


def short_name(name: str, limit: int = 28) -> str:
    """The telling end of a source model's tensor name: TFLite joins many with ";" and "/"."""
    name = printable(name)
    tail = "/".join(name.split(";")[0].strip("/").split("/")[-2:]) or name
    return tail if len(tail) <= limit else "…" + tail[1 - limit :]


def plan_table(program: FileProgram) -> str:
    """One line per buffer of the arena: bytes, offset, steps, and the tensors that lie there.

    Buffers that are alive where the arena is fullest have a "*" behind their bytes.
    """
    rows = []
    for index, buffer in enumerate(program.buffers):
        kind = "input" if buffer.is_input else "output" if buffer.is_output else ""
        steps = f"{buffer.first_step}..{buffer.last_step}"
        peak = "*" if buffer.first_step <= program.peak_step <= buffer.last_step else ""
        tensors = ", ".join(short_name(name) for name in _names(program, index))
        rows.append((index, buffer.offset, buffer.bytes, peak, steps, kind, tensors))
    table = format_table(("buffer", "offset", "bytes", "", "steps", "", "tensors"), rows)
    return f"program {program.name!r}\n{table}\n\npeak: {peak_sentence(program)}"


def peak_sentence(program: FileProgram) -> str:
    """Why the arena is as large as it is."""
    node = program.nodes[program.steps[program.peak_step].node]
    live = [
        buffer.bytes
        for buffer in program.buffers
        if buffer.region == "arena" and buffer.first_step <= program.peak_step <= buffer.last_step
    ]
    return (
        f"{sum(live):,} bytes are in use at step {program.peak_step}, {node.operator} "
        f"{short_name(node.name)}: {len(live)} buffers; the arena has {program.arena_bytes:,}"
    )


def plan_svg(program: FileProgram) -> str:
    """The picture as a self-contained SVG document; hovering over a buffer tells all of it."""
    frame = _Frame(program)
    boxes = _boxes(program)
    width, height = _LEFT + frame.width + _RIGHT, _TOP + _HEIGHT + _BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" '
        f'viewBox="0 0 {width:.0f} {height}" font-family="sans-serif" font-size="{_FONT}" '
        f'fill="{_INK}">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_LEFT}" y="26" font-size="16" font-weight="bold">'
        f"Arena of {escape(printable(program.name))}: {program.arena_bytes:,} bytes</text>",
        f'<text x="{_LEFT}" y="46">{escape(peak_sentence(program))}</text>',
        *_legend(_LEFT + frame.width),
        *_address_axis(frame),
        *[_svg_box(box, frame) for box in boxes],
        _peak(program, frame),
        *[_svg_label(box, frame) for box in boxes],
        *_step_axis(program, frame),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def plan_png(program: FileProgram, path: Path) -> None:
    """The picture as a PNG file, drawn with matplotlib.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.patches import Rectangle
    except ImportError:
        raise MissingExtraError("drawing a PNG", "matplotlib", "plot") from None
    steps = len(program.steps)
    figure = Figure(figsize=(max(11.0, 0.27 * steps), 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.axvspan(program.peak_step, program.peak_step + 1, color=_PEAK_COLOUR, alpha=0.15)
    for box in _boxes(program):
        life = box.last_step - box.first_step + 1
        corner = (box.first_step, box.offset)
        axes.add_patch(Rectangle(corner, life, box.bytes, facecolor=box.colour, edgecolor="white"))
        share = box.bytes / max(program.arena_bytes, 1)
        upright = life < 4
        if share > (0.2 if upright else 0.03):
            middle = (box.first_step + life / 2, box.offset + box.bytes / 2)
            turn = 90 if upright else 0
            axes.text(
                *middle,
                box.label,
                ha="center",
                va="center",
                fontsize=7,
                rotation=turn,
                parse_math=False,
            )
    axes.set_xlim(0, steps)
    axes.set_ylim(0, max(program.arena_bytes, 1))
    axes.set_xlabel("step")
    axes.set_ylabel("address, bytes")
    title = f"Arena of {printable(program.name)}: {program.arena_bytes:,} bytes"
    axes.set_title(title, parse_math=False)  # "$" in a name is no formula
    figure.savefig(path, dpi=110, format="png")


# --- what is drawn


class _Frame:
    """From steps and addresses to pixels."""

    def __init__(self, program: FileProgram) -> None:
        self.steps = len(program.steps)
        self.top_address = max(program.arena_bytes, 1)
        self.column = max(_MIN_WIDTH / self.steps, _MIN_COLUMN)
        self.width = self.column * self.steps

    def x(self, step: float) -> float:
        """Left edge of a step's column."""
        return _LEFT + step * self.column

    def y(self, address: float) -> float:
        """Height of an address; y grows downwards."""
        return _TOP + _HEIGHT * (1 - address / self.top_address)

    def rectangle(self, box: _Box) -> tuple[float, float, float, float]:
        """Left, top, width and height; a sliver stays visible."""
        x, y = self.x(box.first_step), self.y(box.offset + box.bytes)
        height = self.y(box.offset) - y
        visible = max(height, 1.5)
        return x, y + height - visible, self.x(box.last_step + 1) - x, visible


@dataclass(frozen=True)
class _Box:
    """A buffer as it is drawn: steps to the right, bytes upwards."""

    label: str
    title: str
    colour: str
    first_step: int
    last_step: int
    offset: int
    bytes: int


def _names(program: FileProgram, buffer: int) -> list[str]:
    return [printable(tensor.name) for tensor in program.tensors if tensor.buffer == buffer]


def _boxes(program: FileProgram) -> list[_Box]:
    boxes = []
    for index, buffer in enumerate(program.buffers):
        if buffer.region != "arena":
            continue
        names = _names(program, index)
        if buffer.is_input:
            colour = _INPUT_COLOUR
        elif buffer.is_output:
            colour = _OUTPUT_COLOUR
        else:
            colour = _PALETTE[index % len(_PALETTE)]
        title = (
            f"{', '.join(names)}\n{buffer.bytes:,} bytes at {buffer.offset:,}\n"
            f"steps {buffer.first_step} to {buffer.last_step}"
        )
        label = short_name(names[-1] if buffer.is_output else names[0]) if names else ""
        life = (buffer.first_step, buffer.last_step)
        boxes.append(_Box(label, title, colour, *life, buffer.offset, buffer.bytes))
    return boxes


def _svg_box(box: _Box, frame: _Frame) -> str:
    x, y, width, height = frame.rectangle(box)
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'fill="{box.colour}" stroke="white"><title>{escape(box.title)}</title></rect>'
    )


def _svg_label(box: _Box, frame: _Frame) -> str:
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


def _lines(box: _Box, room: int, lines: int) -> list[str]:
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
            f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{frame.x(frame.steps):.1f}" y2="{y:.1f}" '
            f'stroke="{_FAINT}"/><text x="{_LEFT - 8}" y="{y:.1f}" dy="0.35em" '
            f'text-anchor="end">{address:,}</text>'
        )
    return parts


def _peak(program: FileProgram, frame: _Frame) -> str:
    return (
        f'<rect x="{frame.x(program.peak_step):.1f}" y="{_TOP}" width="{frame.column:.1f}" '
        f'height="{_HEIGHT}" fill="{_PEAK_COLOUR}" fill-opacity="0.12" stroke="{_PEAK_COLOUR}" '
        'pointer-events="none"/>'
    )


def _step_axis(program: FileProgram, frame: _Frame) -> list[str]:
    parts = []
    y = _TOP + _HEIGHT + 14
    for index, step in enumerate(program.steps):
        x = frame.x(index + 0.5) + 4
        peak = index == program.peak_step
        style = f' fill="{_PEAK_COLOUR}" font-weight="bold"' if peak else ""
        label = f"{index} {program.nodes[step.node].operator}"
        parts.append(
            f'<text x="{x:.1f}" y="{y}" text-anchor="end"{style} '
            f'transform="rotate(-55 {x:.1f} {y})">{escape(label)}</text>'
        )
    return parts


def _legend(right: float) -> list[str]:
    parts = []
    x = right - 270
    for label, style in (
        ("graph input", f'fill="{_INPUT_COLOUR}"'),
        ("graph output", f'fill="{_OUTPUT_COLOUR}"'),
        ("peak", f'fill="{_PEAK_COLOUR}" fill-opacity="0.12" stroke="{_PEAK_COLOUR}"'),
    ):
        parts.append(
            f'<rect x="{x:.1f}" y="15" width="12" height="12" {style}/>'
            f'<text x="{x + 17:.1f}" y="25">{label}</text>'
        )
        x += 105
    return parts
