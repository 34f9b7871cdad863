"""A memory plan as a table and as a picture of memory over time.

In the picture time runs to the right, a column per step, and addresses run upwards; each buffer is
a rectangle as wide as its life and as high as its bytes. Where columns are full to the top of the
arena, the plan has no slack. Both work from the file alone, so `edgeinfer plan` needs no source
model. The SVG is plain text; a PNG needs the `plot` extra.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

from edgeinfer.cli.text import format_table
from edgeinfer.convert.model_file import FileBuffer, FileProgram
from edgeinfer.errors import MissingExtraError

_WIDTH, _HEIGHT = 1120, 460  # of the plotting area, in pixels
_LEFT, _TOP, _RIGHT, _BOTTOM = 92, 58, 18, 132
_PALETTE = ("#4e79a7", "#59a14f", "#9c755f", "#b07aa1", "#76b7b2", "#edc948", "#86bcb6", "#a0cbe8")
_INPUT_COLOUR, _OUTPUT_COLOUR, _PEAK_COLOUR = "#f28e2b", "#e15759", "#d62728"
_CHARACTER = 6.2  # pixels, of the 11-pixel font
_MAX_STEP_LABELS = 40
_TICKS = 6
_MIN_LABEL_SHARE = 0.03  # of the PNG's height, to hold a line of text


def short_name(name: str, limit: int = 28) -> str:
    """The telling end of a source model's tensor name: TFLite joins many with ";" and "/"."""
    tail = "/".join(name.split(";")[0].strip("/").split("/")[-2:]) or name
    return tail if len(tail) <= limit else "…" + tail[1 - limit :]


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


def plan_table(program: FileProgram) -> str:
    """One line per buffer of the arena: bytes, offset, steps, and the tensors that lie there."""
    rows = []
    for index, buffer in enumerate(program.buffers):
        kind = "input" if buffer.is_input else "output" if buffer.is_output else ""
        steps = f"{buffer.first_step}..{buffer.last_step}"
        tensors = ", ".join(short_name(name) for name in _names(program, index))
        rows.append((index, buffer.offset, buffer.bytes, steps, kind, tensors))
    table = format_table(("buffer", "offset", "bytes", "steps", "", "tensors"), rows)
    return f"program {program.name!r}\n{table}\n\npeak: {peak_sentence(program)}"


def peak_sentence(program: FileProgram) -> str:
    """Why the arena is as large as it is."""
    node = program.nodes[program.steps[program.peak_step].node]
    live = [b for b in program.buffers if _is_live(b, program.peak_step)]
    used = sum(buffer.bytes for buffer in live)
    return (
        f"{used:,} bytes are in use at step {program.peak_step}, {node.operator} "
        f"{short_name(node.name)}: {len(live)} buffers; the arena has {program.arena_bytes:,}"
    )


def plan_svg(program: FileProgram) -> str:
    """The picture as a self-contained SVG document; hovering over a buffer tells all of it."""
    steps = len(program.steps)
    column = _WIDTH / steps
    scale = _HEIGHT / max(program.arena_bytes, 1)
    width, height = _LEFT + _WIDTH + _RIGHT, _TOP + _HEIGHT + _BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{_LEFT}" y="24" font-size="16" font-weight="bold">'
        f"Arena of {escape(program.name)}: {program.arena_bytes:,} bytes</text>",
        f'<text x="{_LEFT}" y="43" fill="#444">{escape(peak_sentence(program))}</text>',
    ]
    parts += _address_axis(program.arena_bytes, scale)
    peak_x = _LEFT + program.peak_step * column
    parts.append(
        f'<rect x="{peak_x:.1f}" y="{_TOP}" width="{column:.1f}" height="{_HEIGHT}" '
        f'fill="{_PEAK_COLOUR}" fill-opacity="0.10"/>'
    )
    parts += [_svg_box(box, column, scale) for box in _boxes(program)]
    parts += _step_axis(program, column)
    parts.append(_legend())
    parts.append("</svg>")
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
    figure = Figure(figsize=(12, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.axvspan(program.peak_step, program.peak_step + 1, color=_PEAK_COLOUR, alpha=0.1)
    for box in _boxes(program):
        life = box.last_step - box.first_step + 1
        corner = (box.first_step, box.offset)
        axes.add_patch(Rectangle(corner, life, box.bytes, facecolor=box.colour, edgecolor="white"))
        if box.bytes > _MIN_LABEL_SHARE * program.arena_bytes:
            middle = (box.first_step + life / 2, box.offset + box.bytes / 2)
            turn = 0 if life > _MIN_LABEL_SHARE * 4 * len(program.steps) else 90
            axes.text(*middle, box.label, ha="center", va="center", fontsize=7, rotation=turn)
    axes.set_xlim(0, len(program.steps))
    axes.set_ylim(0, max(program.arena_bytes, 1))
    axes.set_xlabel("step")
    axes.set_ylabel("address, bytes")
    axes.set_title(f"Arena of {program.name}: {program.arena_bytes:,} bytes")
    figure.savefig(path, dpi=110, format="png")


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
        label = short_name(names[-1]) if names else ""
        life = (buffer.first_step, buffer.last_step)
        boxes.append(_Box(label, title, colour, *life, buffer.offset, buffer.bytes))
    return boxes


def _svg_box(box: _Box, column: float, scale: float) -> str:
    x = _LEFT + box.first_step * column
    width = (box.last_step - box.first_step + 1) * column
    height = max(box.bytes * scale, 1.0)  # a sliver stays visible
    y = _TOP + _HEIGHT - box.offset * scale - height
    text = ""
    for label in (f"{box.label}  {box.bytes:,}", box.label, f"{box.bytes:,}"):
        along = len(label) * _CHARACTER + 6
        if along <= width and height >= 13:
            text = _svg_label(label, x + width / 2, y + height / 2, upright=False)
        elif along <= height and width >= 13:
            text = _svg_label(label, x + width / 2, y + height / 2, upright=True)
        if text:
            break
    return (
        f'<g><title>{escape(box.title)}</title><rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}" fill="{box.colour}" fill-opacity="0.85" stroke="white"/>{text}</g>'
    )


def _svg_label(label: str, x: float, y: float, *, upright: bool) -> str:
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if upright else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" dominant-baseline="central"{turn}>'
        f"{escape(label)}</text>"
    )


def _address_axis(arena_bytes: int, scale: float) -> list[str]:
    parts = []
    for tick in range(_TICKS + 1):
        address = arena_bytes * tick // _TICKS
        y = _TOP + _HEIGHT - address * scale
        parts.append(
            f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_LEFT + _WIDTH}" y2="{y:.1f}" stroke="#ddd"/>'
            f'<text x="{_LEFT - 6}" y="{y:.1f}" text-anchor="end" dominant-baseline="central">'
            f"{address:,}</text>"
        )
    return parts


def _step_axis(program: FileProgram, column: float) -> list[str]:
    every = -(-len(program.steps) // _MAX_STEP_LABELS)
    parts = []
    y = _TOP + _HEIGHT + 12
    for index, step in enumerate(program.steps):
        if index % every and index != program.peak_step:
            continue
        x = _LEFT + (index + 0.5) * column
        peak = index == program.peak_step
        style = f'fill="{_PEAK_COLOUR}" font-weight="bold"' if peak else 'fill="#333"'
        label = f"{index} {program.nodes[step.node].operator}"
        parts.append(
            f'<text x="{x:.1f}" y="{y}" text-anchor="end" {style} '
            f'transform="rotate(-60 {x:.1f} {y})">{escape(label)}</text>'
        )
    return parts


def _legend() -> str:
    entries = (
        ("graph input", _INPUT_COLOUR, "0.85"),
        ("graph output", _OUTPUT_COLOUR, "0.85"),
        ("peak step", _PEAK_COLOUR, "0.10"),
    )
    x = _LEFT + _WIDTH - 100.0 * len(entries)
    parts = []
    for label, colour, opacity in entries:
        parts.append(
            f'<rect x="{x:.1f}" y="14" width="12" height="12" fill="{colour}" '
            f'fill-opacity="{opacity}" stroke="#999"/><text x="{x + 17:.1f}" y="24">{label}</text>'
        )
        x += 100
    return "".join(parts)


def _names(program: FileProgram, buffer: int) -> list[str]:
    return [tensor.name for tensor in program.tensors if tensor.buffer == buffer]


def _is_live(buffer: FileBuffer, step: int) -> bool:
    return buffer.region == "arena" and buffer.first_step <= step <= buffer.last_step
