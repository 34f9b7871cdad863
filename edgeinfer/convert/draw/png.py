"""The picture of memory over time as a PNG file."""

from __future__ import annotations

from pathlib import Path

from edgeinfer.convert.draw.buffers import PEAK_COLOUR, boxes
from edgeinfer.convert.draw.timeline import Timeline, step_groups
from edgeinfer.convert.model_file import FileProgram
from edgeinfer.errors import MissingExtraError
from edgeinfer.printing import printable

_COLUMN_INCHES = 0.27
_MOST_INCHES = 500.0  # a little less than what matplotlib draws at this resolution
_MOST_TICKS = 40


def plan_png(program: FileProgram, path: Path) -> None:
    """The picture as a PNG file, drawn with matplotlib; a column per operator, as in the SVG.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.colors import to_rgb
        from matplotlib.figure import Figure
        from matplotlib.patches import Rectangle
    except ImportError:
        raise MissingExtraError("drawing a PNG", "matplotlib", "plot") from None
    timeline = Timeline(step_groups(program))
    columns = timeline.columns
    width = min(max(11.0, _COLUMN_INCHES * columns), _MOST_INCHES)
    figure = Figure(figsize=(width, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    begin, end = (columns * timeline.by_operator(program.peak_step + i) for i in (0, 1))
    axes.axvspan(
        begin, end, facecolor=(*to_rgb(PEAK_COLOUR), 0.15), edgecolor=PEAK_COLOUR, zorder=3
    )
    for box in boxes(program):
        begin = columns * timeline.by_operator(box.first_step)
        life = columns * timeline.by_operator(box.last_step + 1) - begin
        corner = (begin, box.offset)
        patch = Rectangle(
            corner,
            life,
            box.bytes,
            facecolor=box.colour,
            edgecolor="#888" if box.is_ring else "white",
            hatch="///" if box.is_ring else None,
        )
        axes.add_patch(patch)
        share = box.bytes / max(program.arena_bytes, 1)
        upright = life < 4
        if share > (0.2 if upright else 0.03):
            middle = (begin + life / 2, box.offset + box.bytes / 2)
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
    steps = [
        group.first_step + number * group.steps // len(group.nodes)
        for group in timeline.groups
        for number in range(len(group.nodes))
    ]
    shown = steps[:: -(-columns // _MOST_TICKS)]
    axes.set_xticks([columns * timeline.by_operator(step) for step in shown], map(str, shown))
    axes.set_xlim(0, columns)
    axes.set_ylim(0, max(program.arena_bytes, 1))
    axes.set_xlabel("step")
    axes.set_ylabel("address, bytes")
    title = f"Arena of {printable(program.name)}: {program.arena_bytes:,} bytes"
    axes.set_title(title, parse_math=False)  # "$" in a name is no formula
    figure.savefig(path, dpi=110, format="png")
