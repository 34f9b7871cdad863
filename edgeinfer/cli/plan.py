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
    add_device_profile_argument,
    add_input_layout_argument,
    chosen_input_layout,
    refuse_overwriting,
    refuse_same_outputs,
    require_writable,
)
from edgeinfer.cli.model_file import read_or_convert
from edgeinfer.cli.progress import Progress
from edgeinfer.errors import InputError
from edgeinfer.printing import format_table, print_json

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
    parser.add_argument(
        "--pareto",
        action="store_true",
        help="RAM against time: the plans that `convert` chooses from. Needs a .tflite or .onnx "
        "file; on the page of --html it is drawn",
    )
    parser.add_argument(
        "--feed-inputs",
        action="store_true",
        help="with --pareto: plans for inputs that are fed row by row",
    )
    add_device_profile_argument(parser)
    add_input_layout_argument(parser)
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
    if args.feed_inputs and not args.pareto:
        raise InputError("--feed-inputs chooses among the plans of --pareto: give both")
    wanted: dict[str, Any] = {}  # of `convert`
    if args.input_layout:
        wanted["input_layout"] = chosen_input_layout(args.input_layout)
    if args.device_profile:
        wanted["device_profile"] = args.device_profile
    curve = _curve(Path(args.model), args.feed_inputs, wanted) if args.pareto else []
    programs = read_or_convert(Path(args.model), **wanted).programs
    if args.html:
        from edgeinfer.convert.page import ParetoPoint, plan_html

        points = [
            ParetoPoint(f"{point['steps']} steps", point["time"], point["arena_bytes"], at == 0)
            for at, point in enumerate(curve)
        ]
        page = plan_html(
            programs,
            title=Path(args.model).name,
            pareto=points,
            pareto_cost_name="estimated time of a run; the fastest plan takes 1",
        )
        Path(args.html).write_text(page, encoding="utf-8")
    if args.svg:
        Path(args.svg).write_text(draw.plan_svg(programs[0]), encoding="utf-8")
    if args.png:
        draw.plan_png(programs[0], Path(args.png))
    if args.json:
        shown: dict[str, Any] = {"programs": [_as_data(program) for program in programs]}
        print_json({**shown, "pareto": curve} if args.pareto else shown)
        return 0
    if args.pareto:
        rows = [
            [
                format_bytes(p["arena_bytes"]),
                str(p["session_bytes"]),
                f"{p['time']:.2f}",
                p["steps"],
            ]
            for p in curve
        ]
        print(format_table(["arena", "session", "time", "steps"], rows))
        print("\ntime: estimated, the fastest plan takes 1; convert --ram-budget gets any of them")
        return 0
    for program in programs:
        print(draw.plan_table(program))
        print(f"\narena {format_bytes(program.arena_bytes)}")
        print(f"session {format_bytes(program.session_bytes)}")
        print(f"each thread beyond the first: {format_bytes(SESSION_THREAD_BYTES)} more")
    return 0


def _curve(path: Path, feed_inputs: bool, wanted: dict[str, Any]) -> list[dict[str, Any]]:
    from edgeinfer.convert import pareto_plans, require_converter
    from edgeinfer.convert.plan import session_bytes

    require_converter("--pareto")
    if path.suffix == ".edge":
        raise InputError(f"{path}: --pareto needs the model that it was converted from")
    with Progress() as progress:
        plans = pareto_plans(path, feed_inputs=feed_inputs, progress=progress.stage, **wanted)
    return [
        {
            "arena_bytes": plan.arena_bytes,
            "session_bytes": session_bytes(plan.program, plan),
            "time": round(plan.cost_ns / plans[0].cost_ns, 4),
            "steps": len(plan.steps),
        }
        for plan in plans
    ]


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
