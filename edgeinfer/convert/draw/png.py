"""The picture of memory over time as a PNG file."""

from __future__ import annotations

from pathlib import Path

from edgeinfer.convert.draw.buffers import PEAK_COLOUR, boxes
from edgeinfer.convert.model_file import FileProgram
from edgeinfer.errors import MissingExtraError
from edgeinfer.printing import printable


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
    axes.axvspan(program.peak_step, program.peak_step + 1, color=PEAK_COLOUR, alpha=0.15)
    for box in boxes(program):
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
