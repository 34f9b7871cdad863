"""List every node of a source model that cannot be converted, all at once.

Reads a .tflite or .onnx model, converts it without writing anything, and prints for each node that
stands in the way its name, operator, the reason, and what to do.
"""

from __future__ import annotations

import argparse

from edgeinfer.cli.arguments import add_shape_argument
from edgeinfer.printing import print_json, printable

EXAMPLE = "edgeinfer check model.onnx"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("model", metavar="MODEL", help=".tflite or .onnx file")
    add_shape_argument(parser)
    parser.add_argument("--json", action="store_true", help="print JSON for scripts")


def run(args: argparse.Namespace) -> int:
    """Exit code 0 when nothing stands in the way, 3 otherwise."""
    from edgeinfer import cli
    from edgeinfer.convert import check

    problems = check(args.model, shapes=dict(args.shape))
    if args.json:
        fields = ("node", "operator", "reason", "advice")
        listed = [{name: getattr(problem, name) for name in fields} for problem in problems]
        print_json({"convertible": not problems, "problems": listed})
    elif problems:
        print(f"{args.model}: {len(problems)} node(s) cannot be converted")
        for problem in problems:
            print(f"\n  {printable(f'{problem.node} ({problem.operator})')}")
            print(f"    why: {printable(problem.reason)}")
            if problem.advice:
                print(f"    do:  {printable(problem.advice)}")
    else:
        print(f"{args.model}: every node can be converted")
    return cli.EXIT_NOT_CONVERTIBLE if problems else cli.EXIT_OK
