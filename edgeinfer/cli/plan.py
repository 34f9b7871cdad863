"""Print the memory plan of a model and draw memory over time.

The table shows every buffer of the arena: its bytes, where it lies, and the steps that need it. The
drawing shows each buffer as a rectangle in time and address, with the peak marked. The HTML page
has both, and more to hover over and to zoom into.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeinfer.budget import SESSION_THREAD_BYTES, format_bytes
from edgeinfer.cli.arguments import (
    refuse_overwriting,
    refuse_same_outputs,
    require_writable,
)
from edgeinfer.cli.model_file import read_or_convert
from edgeinfer.printing import print_json

if TYPE_CHECKING:
    from edgeinfer.convert.model_file import FileProgram

EXAMPLE = "edgeinfer plan model.edge --html plan.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("model", metavar="MODEL", help=".edge file (or .tflite, .onnx)")
    parser.add_argument(
        "--html", metavar="FILE", help="a page for a browser; needs the `convert` extra"
    )
    parser.add_argument("--svg", metavar="FILE", help="draw memory over time as SVG")
    parser.add_argument("--png", metavar="FILE", help="as PNG; needs the `plot` extra")
    parser.add_argument("--json", action="store_true", help="print JSON for scripts")


def run(args: argparse.Namespace) -> int:
    """Print the table of each program; draw the first, and all of them on the page."""
    drawings = [Path(drawing) for drawing in (args.html, args.svg, args.png) if drawing]
    refuse_same_outputs(drawings)
    for drawing in drawings:
        refuse_overwriting(drawing, Path(args.model))
        require_writable(drawing)
    from edgeinfer.convert import draw, require_converter

    if args.html:
        require_converter("--html")
    programs = read_or_convert(Path(args.model)).programs
    if args.html:
        from edgeinfer.convert.page import plan_html

        page = plan_html(programs, title=Path(args.model).name)
        Path(args.html).write_text(page, encoding="utf-8")
    if args.svg:
        Path(args.svg).write_text(draw.plan_svg(programs[0]), encoding="utf-8")
    if args.png:
        draw.plan_png(programs[0], Path(args.png))
    if args.json:
        print_json({"programs": [_as_data(program) for program in programs]})
        return 0
    for program in programs:
        print(draw.plan_table(program))
        print(f"\narena {format_bytes(program.arena_bytes)}")
        print(f"session {format_bytes(program.session_bytes)}")
        print(f"each thread beyond the first: {format_bytes(SESSION_THREAD_BYTES)} more")
    return 0


def _as_data(program: FileProgram) -> dict[str, Any]:
    from edgeinfer.convert import draw

    peak = program.nodes[program.steps[program.peak_step].node]
    return {
        "name": program.name,
        "arena_bytes": program.arena_bytes,
        "state_bytes": program.state_bytes,
        "session_bytes": program.session_bytes,
        "thread_bytes": SESSION_THREAD_BYTES,
        "weights_bytes": program.weights_bytes,
        "peak_step": program.peak_step,
        "peak_node": peak.name,
        "peak_operator": peak.operator,
        "peak_explained": draw.explain_peak(program),
        "buffers": [vars(buffer) for buffer in program.buffers],
    }
