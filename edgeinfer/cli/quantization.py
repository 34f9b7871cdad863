"""Options of post-training quantisation on the command line, and what is printed of it."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

from edgeinfer.cli.accuracy import share
from edgeinfer.cli.arguments import UsageError, natural, positive_int, positive_number

if TYPE_CHECKING:
    from edgeinfer.convert.quantize.preprocessing import Preprocessing

METHODS = ("auto", "minmax", "percentile", "entropy", "mse")


NEED_CALIBRATION = {
    "method": "--method",
    "percentile": "--percentile",
    "no_equalize": "--no-equalize",
    "no_bias_correction": "--no-bias-correction",
    "round": "--round",
    "prune": "--prune",
    "io": "--io",
    "keep_float": "--keep-float",
    "int16": "--int16",
    "scale": "--scale",
    "mean": "--mean",
    "std": "--std",
    "layout": "--layout",
    "samples": "--samples",
    "seed": "--seed",
    "activations": "--activations",
    "tokenizer": "--tokenizer",
    "allow_thin_calibration": "--allow-thin-calibration",
    "report": "--report",
    "max_drop": "--max-drop",
    "metric": "--metric",
    "max_raised": "--max-raised",
}
"""Options of `convert` that mean nothing without --calibrate, by their names in the namespace."""
OF_SAMPLES = (
    "scale",
    "mean",
    "std",
    "layout",
    "samples",
    "seed",
    "activations",
    "tokenizer",
    "allow_thin_calibration",
)
"""Those that say how samples are read; the others mean nothing where activations are dynamic."""


def require_calibration(args: argparse.Namespace) -> None:
    """Refuse options of quantisation where nothing is quantised.

    Raises
    ------
    UsageError
        One was given without --calibrate; or is for static activations, which are dynamic.
    """
    values = {name: getattr(args, name) for name in NEED_CALIBRATION}
    named = [  # a seed of 0 is given, and equals False
        name
        for name, value in values.items()
        if not (value is None or value is False or value == [])
    ]
    given = [NEED_CALIBRATION[name] for name in named]
    if args.calibrate is not None:
        static = [NEED_CALIBRATION[name] for name in named if name not in OF_SAMPLES]
        if static and args.activations == "dynamic":
            raise UsageError(f"{', '.join(static)}: for static activations, which are dynamic here")
        return
    if given:
        raise UsageError(
            f"{', '.join(given)}: for quantising a float model; give --calibrate DATA as well"
        )


def add_quantization_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare --calibrate and the options that need it."""
    group = parser.add_argument_group("quantisation of float models")
    group.add_argument(
        "--calibrate",
        metavar="DATA",
        help="quantise to INT8 with these samples: .npz, .npy, a folder of images, or a .txt file "
        "with a sentence a line",
    )
    group.add_argument(
        "--activations",
        choices=["static", "dynamic"],
        help="static: int8, in ranges that samples tell; dynamic: float32, rounded by layers when "
        "they run, and samples only decide how --weights are rounded (default: static with "
        "--calibrate)",
    )
    group.add_argument(
        "--tokenizer",
        metavar="FILE",
        help="tokenizer.json for a .txt file of sentences (default: beside the model)",
    )
    group.add_argument(
        "--method",
        choices=METHODS,
        help="how ranges of activations are chosen (default auto: what is nearest to the float "
        "model's outputs)",
    )
    group.add_argument(
        "--percentile",
        type=float,
        metavar="P",
        help="of --method percentile (default 99.999)",
    )
    group.add_argument(
        "--no-equalize",
        action="store_true",
        help="leave channels as they are across layers",
    )
    group.add_argument(
        "--no-bias-correction",
        action="store_true",
        help="leave biases as they are",
    )
    group.add_argument(
        "--round",
        choices=["nearest", "adaptive"],
        help="how weights are rounded; adaptive: so that layers answer like the float model's, "
        "which takes longer, and for int8 weights needs the jit extra (default nearest for int8, "
        "adaptive for mxfp4 and nvfp4)",
    )
    group.add_argument(
        "--prune",
        type=share,
        metavar="SHARE",
        help="remove this share of the output channels of layers that allow it, such as 0.3, and "
        "let those behind make up for them; accuracy suffers, as the report tells",
    )
    group.add_argument(
        "--io",
        choices=["float32", "int8"],
        help="type of inputs and outputs (default float32: the program converts)",
    )
    for option, what in (("--keep-float", "stay float32"), ("--int16", "get int16 activations")):
        group.add_argument(
            option,
            action="append",
            metavar="TENSOR",
            help=f"let the layer that makes this tensor {what}; may be given again",
        )
    add_preprocessing_arguments(group)
    group.add_argument(
        "--samples", type=positive_int, metavar="N", help="use at most N samples (default 512)"
    )
    group.add_argument("--seed", type=natural, help="of the choice of samples (default 0)")
    group.add_argument(
        "--allow-thin-calibration",
        action="store_true",
        help="use samples that would be refused as too few or degenerate",
    )


def add_preprocessing_arguments(group: argparse._ActionsContainer) -> None:
    """Declare how stored numbers become what a model takes."""
    group.add_argument("--scale", type=positive_number, metavar="F", help="samples are multiplied "
                       "by this first (default 1; images 1/255)")  # fmt: skip
    for option, what in (("--mean", "subtracted from"), ("--std", "divided out of")):
        group.add_argument(
            option,
            type=numbers,
            metavar="M[,M...]",
            help=f"then {what} samples: one number, or one per channel",
        )
    group.add_argument(
        "--layout",
        choices=["nhwc", "nchw"],
        help="where the model's input has its channels, if its shape does not tell",
    )


def preprocessing_of(args: argparse.Namespace) -> Preprocessing | None:
    """What was asked for; None where nothing was."""
    given = {"scale": args.scale, "mean": args.mean, "std": args.std, "layout": args.layout}
    scaling = {key: value for key, value in given.items() if value is not None}
    if not scaling:
        return None
    from edgeinfer.convert.quantize.preprocessing import Preprocessing

    return Preprocessing(**scaling)


def numbers(text: str) -> tuple[float, ...]:
    """Finite numbers between commas."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not numbers between commas") from None
    if not all(math.isfinite(value) for value in values):
        raise argparse.ArgumentTypeError(f"{text!r} has a number that is not finite")
    return values


def quantization_options(args: argparse.Namespace) -> dict[str, Any]:
    """Arguments of `convert` for what was asked for; none without --calibrate."""
    if args.calibrate is None:
        return {}
    given = {
        "activations": args.activations,
        "tokenizer": args.tokenizer,
        "method": args.method,
        "percentile": args.percentile,
        "rounding": args.round,
        "prune": args.prune,
        "io": args.io,
        "keep_float": args.keep_float,
        "int16": args.int16,
        "max_samples": args.samples,
        "seed": args.seed,
        "equalize": False if args.no_equalize else None,
        "correct_bias": False if args.no_bias_correction else None,
        "allow_thin_calibration": True if args.allow_thin_calibration else None,
    }
    options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    preprocessing = preprocessing_of(args)
    if preprocessing is not None:
        options["preprocessing"] = preprocessing
    return {"calibration": args.calibrate, **options}


def calibration_line(described: dict[str, Any]) -> str:
    """What the file's metadata says of weights that were rounded by samples, for people."""
    line = (
        f"  {described['weights']:<8} {described['layers']} layers rounded by "
        f"{described['samples']} samples; outputs of {described['held_out']} others: "
        f"SQNR {described['sqnr_db']:.1f} dB, {described['sqnr_db_without_samples']:.1f} dB "
        "without samples"
    )
    return line if described["layers"] else f"{line}, which are used"


def quantization_lines(described: dict[str, Any]) -> list[str]:
    """What the file's metadata says of the quantisation, for people."""
    lines = [
        f"  int8     {described['samples']} samples, ranges by {described['method']}, "
        f"{described['equalized_tensors']} tensors equalised, biases "
        f"{'corrected' if described['bias_corrected'] else 'as they were'}"
    ]
    if described.get("rounding") == "adaptive":
        lines[0] += ", weights rounded adaptively"
    if "pruned" in described:
        layers = described["pruned"]["layers"]
        removed = sum(layer["before"] - layer["after"] for layer in layers)
        lines.append(f"  pruned   {removed} channels of {len(layers)} layers")
    lines += [f"  float32  {name}: {reason}" for name, reason in described["float_layers"].items()]
    return lines
