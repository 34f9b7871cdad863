"""Compare two models layer by layer on data, and show the first layer that goes wrong.

The first model is the reference. Each is an .onnx, .tflite or .edge file; tensors correspond by
name, by the source node that makes them, and at the outputs. Exits with 5 when a tensor breaks a
limit.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeinfer.cli.arguments import (
    add_input_layout_argument,
    add_shape_argument,
    chosen_input_layout,
    finite_number,
    natural,
    positive_int,
)
from edgeinfer.cli.progress import Progress
from edgeinfer.cli.quantization import add_preprocessing_arguments, preprocessing_of
from edgeinfer.printing import decibels, format_table, print_json, printable, shortened

if TYPE_CHECKING:
    from edgeinfer.convert.compare import Comparison, Pair

EXAMPLE = "edgeinfer compare float.onnx int8.edge --data samples.npz"

_ROWS = 30
"""Layers that the terminal shows without --all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("first", metavar="A", help="the reference: .onnx, .tflite or .edge file")
    parser.add_argument("second", metavar="B", help="the model that is judged")
    parser.add_argument(
        "--data",
        required=True,
        metavar="PATH",
        help=".npz, .npy or folder of images, as for calibration",
    )
    parser.add_argument(
        "--samples",
        type=positive_int,
        default=32,
        metavar="N",
        help="samples of the data that are run (default 32)",
    )
    parser.add_argument("--seed", type=natural, default=0, help="which samples (default 0)")
    add_preprocessing_arguments(parser)
    add_shape_argument(parser)
    add_input_layout_argument(parser)
    parser.add_argument(
        "--min-sqnr",
        type=finite_number,
        default=10.0,
        metavar="DB",
        help="lowest signal-to-noise ratio of a tensor (default 10 dB)",
    )
    parser.add_argument(
        "--min-cosine", type=finite_number, metavar="C", help="lowest cosine of a tensor"
    )
    parser.add_argument(
        "--max-error", type=finite_number, metavar="E", help="largest difference of two numbers"
    )
    parser.add_argument("--all", action="store_true", help="show every layer")
    parser.add_argument("--json", action="store_true", help="print JSON for scripts")


def run(args: argparse.Namespace) -> int:
    """Compare; exit code 5 when a limit is broken."""
    from edgeinfer import cli
    from edgeinfer.convert import require_converter

    require_converter("comparing models")
    from edgeinfer.convert.compare import Limits, compare

    with Progress() as progress:
        progress.stage("reading")
        comparison = compare(
            Path(args.first),
            Path(args.second),
            args.data,
            limits=Limits(args.min_sqnr, args.min_cosine, args.max_error),
            max_samples=args.samples,
            seed=args.seed,
            preprocessing=preprocessing_of(args),
            shapes=dict(args.shape),
            input_layout=chosen_input_layout(args.input_layout),
            progress=progress.count,
        )
    if args.json:
        print_json(_as_data(comparison))
    else:
        _print(comparison, args.all)
    return cli.EXIT_INACCURATE if comparison.first_broken else cli.EXIT_OK


def _as_data(comparison: Comparison) -> dict[str, Any]:
    broken, fall = comparison.first_broken, comparison.largest_fall
    return {
        "first": comparison.first.name,
        "second": comparison.second.name,
        "samples": comparison.samples,
        "first_broken": broken and broken.reference.name,
        "largest_fall": fall and {"tensor": fall.reference.name, "decibels": fall.fall},
        "unmatched": list(comparison.unmatched),
        "layers": [_pair_data(pair) for pair in comparison.pairs],
    }


def _pair_data(pair: Pair) -> dict[str, Any]:
    agreement = pair.agreement
    return {
        "first": _tensor_data(pair.reference),
        "second": _tensor_data(pair.judged),
        "sqnr_db": agreement.sqnr,
        "cosine": agreement.cosine,
        "largest_error": agreement.largest_error,
        "fall_db": pair.fall,
        "range": [agreement.low, agreement.high],
        "top1": pair.top_one,
        "is_output": pair.is_output,
        "broken": pair.broken,
    }


def _tensor_data(tensor: Any) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "operator": tensor.operator,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
    }


def _print(comparison: Comparison, everything: bool) -> None:
    pairs = list(comparison.pairs)
    shown = pairs if everything or len(pairs) <= _ROWS else _around(comparison)
    rows = [_row(pair, comparison) for pair in shown]
    header = ("", "tensor", "operator", "types", "SQNR", "falls", "cosine", "largest error")
    print(format_table(header, rows, right=(4, 5, 6, 7)))
    if len(shown) < len(pairs):
        print(f"... {len(pairs) - len(shown)} more layers, with --all")
    print()
    print(f"{len(pairs)} tensors compared on {comparison.samples} samples", end="")
    first, second = comparison.unmatched
    a, b = printable(comparison.first.name), printable(comparison.second.name)
    if first or second:
        print(f"; without a partner: {first} of {a}, {second} of {b}", end="")
    print()
    for pair in pairs:
        if pair.is_output:
            top = "" if pair.top_one is None else f", top-1 agreement {pair.top_one:.2%}"
            name = printable(pair.reference.name)
            print(f"output {name!r}: SQNR {decibels(pair.agreement.sqnr, ' dB')}{top}")
    fall = comparison.largest_fall
    if fall is not None:
        print(
            f"most is lost in {shortened(fall.reference.name)!r} ({fall.judged.operator}): "
            f"{decibels(fall.fall, ' dB')}"
        )
    broken = comparison.first_broken
    if broken is None:
        print("every layer keeps to the limits")
    else:
        print(
            f"goes wrong first in {shortened(broken.reference.name)!r} "
            f"({broken.judged.operator}): {broken.broken}"
        )


def _around(comparison: Comparison) -> list[Pair]:
    """The layers that tell most: outputs, the first that breaks a limit, and the worst."""
    pairs = comparison.pairs
    worst = sorted(pairs, key=lambda pair: pair.agreement.sqnr)[: _ROWS - 5]
    kept = {id(pair) for pair in worst} | {id(pair) for pair in pairs if pair.is_output}
    for pair in (comparison.first_broken, comparison.largest_fall):
        kept.add(id(pair))
    return [pair for pair in pairs if id(pair) in kept]


def _row(pair: Pair, comparison: Comparison) -> tuple[str, ...]:
    agreement = pair.agreement
    mark = "!" if pair is comparison.first_broken else "x" if pair.broken else ""
    x, y = pair.reference, pair.judged
    return (
        mark,
        shortened(x.name),
        printable(y.operator),
        x.dtype if x.dtype == y.dtype else f"{x.dtype} / {y.dtype}",
        decibels(agreement.sqnr),
        "" if pair.fall is None or pair.fall < 0.05 else decibels(pair.fall),
        "" if math.isnan(agreement.cosine) else f"{agreement.cosine:.5f}",
        f"{agreement.largest_error:.4g}",
    )
