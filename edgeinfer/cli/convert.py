"""Convert a .tflite or .onnx model to an .edge file.

Prints what a device needs to run it: the exact bytes of a session, and the step at which the arena
is fullest. A model that cannot be converted is refused with every reason at once.

With --calibrate a float model becomes INT8: ranges of activations are taken from samples of what
the model will be given. Samples are a .npz or .npy file (the first axis counts them) or a folder of
images; too few, or degenerate ones, are refused. What that cost is measured on samples that were
held out, and shown; --max-drop says how much it may be.

With --calibrate and --activations dynamic, activations stay float32, layers with --weights round
them when they run, and samples decide how these weights are rounded: for transformers, whose
samples may be a .txt file with a sentence a line.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edgeinfer.budget import format_bytes
from edgeinfer.cli.accuracy import (
    accuracy_options,
    accuracy_text,
    add_accuracy_arguments,
    write_reports,
)
from edgeinfer.cli.arguments import (
    add_device_profile_argument,
    add_input_layout_argument,
    add_shape_argument,
    byte_count,
    chosen_input_layout,
    refuse_overwriting,
    refuse_same_outputs,
    require_writable,
    sequence_lengths,
)
from edgeinfer.cli.progress import Progress
from edgeinfer.cli.quantization import (
    add_quantization_arguments,
    calibration_line,
    quantization_lines,
    quantization_options,
    require_calibration,
)
from edgeinfer.printing import print_json

EXAMPLE = (
    "edgeinfer convert model.tflite -o model.edge --ram-budget 96KiB\n"
    "  edgeinfer convert float.onnx --calibrate images/ --mean 0.485,0.456,0.406 "
    "--std 0.229,0.224,0.225\n"
    "  edgeinfer convert float.onnx --calibrate samples.npz --max-drop 0.5% --report report.html\n"
    "  edgeinfer convert encoder.onnx --sequence-lengths 16,32,64 --weights mxfp4 "
    "--activations dynamic --calibrate sentences.txt"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("model", metavar="MODEL", help=".tflite or .onnx file")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="default: MODEL with the suffix .edge"
    )
    parser.add_argument(
        "--ram-budget",
        type=byte_count,
        metavar="BYTES",
        help="the most that a session may take, e.g. 96KiB: the fastest plan that fits",
    )
    parser.add_argument(
        "--optimize",
        choices=["latency", "balanced", "ram"],
        default="latency",
        help="what the memory plan is chosen for: the fastest, the smallest, or the smallest that "
        "is at most a quarter slower than the fastest (default: latency)",
    )
    parser.add_argument(
        "--feed-inputs",
        action="store_true",
        help="plan for inputs that are fed row by row, so that they need not be in memory whole",
    )
    add_device_profile_argument(parser)
    add_shape_argument(parser)
    parser.add_argument(
        "--sequence-lengths",
        type=sequence_lengths,
        default=[],
        metavar="16,32,64",
        help="for open inputs [batch, sequence]: a program for each length, over the same weights; "
        "a run takes the shortest that has room",
    )
    add_input_layout_argument(parser)
    parser.add_argument(
        "--float-weights",
        choices=["float32", "float16"],
        default="float32",
        help="how layers that compute in float32 store weights; float16 is half the size, and "
        "rounds them (default: float32)",
    )
    parser.add_argument(
        "--weights",
        choices=["int8", "mxfp4", "nvfp4"],
        help="how weights are stored, mxfp4 and nvfp4 in four bits: of convolutions and fully "
        "connected layers with static activations; else of fully connected layers on float32, and "
        "embedding tables in int8 (default: int8 with static activations, else as in the model)",
    )
    parser.add_argument(
        "--int8",
        action="append",
        default=[],
        metavar="TENSOR",
        help="let the layer that makes this tensor have int8 weights beside weights of four bits; "
        "may be given again",
    )
    parser.add_argument(
        "--four-bit-tables",
        action="store_true",
        help="with --weights mxfp4 or nvfp4 and without static activations: store large embedding "
        "tables so too, and not in int8",
    )
    parser.add_argument(
        "--weights-budget",
        type=byte_count,
        metavar="BYTES",
        help="the most that the file's constants may take, e.g. 4MiB: layers that lose most by "
        "four bits get int8 weights as far as there is room (--weights: nvfp4 unless given)",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="refuse a model in which anything computes in float32, with the reason for each node",
    )
    add_quantization_arguments(parser)
    add_accuracy_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON for scripts")


def run(args: argparse.Namespace) -> int:
    """Convert, write, and check the result by loading it."""
    from edgeinfer.convert import convert
    from edgeinfer.model import ModelHandle

    require_calibration(args)
    source = Path(args.model)
    output = Path(args.output) if args.output else source.with_suffix(".edge")
    _require_outputs(args, source, output)
    with Progress() as progress:
        conversion = convert(
            source,
            ram_budget=args.ram_budget,
            shapes=dict(args.shape),
            sequence_lengths=args.sequence_lengths,
            input_layout=chosen_input_layout(args.input_layout),
            float_weights=args.float_weights,
            weights=args.weights,
            int8=args.int8,
            weights_budget=args.weights_budget,
            four_bit_tables=args.four_bit_tables,
            optimize=args.optimize,
            feed_inputs=args.feed_inputs,
            device_profile=args.device_profile,
            strict=args.strict,
            progress=progress.show,
            **quantization_options(args),
            **accuracy_options(args),
        )
        conversion.save(output)
    reports = write_reports(conversion.accuracy, args.report)
    model = ModelHandle(str(output), output.name)
    plan = model.plan()
    summary = {
        "output": str(output),
        "file_bytes": output.stat().st_size,
        "arena_bytes": plan.arena_bytes,
        "state_bytes": plan.state_bytes,
        "session_bytes": plan.session_bytes,
        "weights_bytes": plan.weights_bytes,
        "peak_step": plan.peak_step.index,
        "peak_node": plan.peak_step.node,
        "peak_operator": plan.peak_step.operator,
    }
    if len(conversion.programs) > 1:
        summary["programs"] = list(model.program_names)
    falls_back = _float_fallbacks(conversion.metadata)
    summary["float_fallbacks"] = falls_back
    tensors = [f"  input    {info}" for info in model.inputs]
    tensors += [f"  output   {info}" for info in model.outputs]
    needs_code = _needs_code(output)
    quantization = conversion.metadata.get("quantization")
    calibration = conversion.metadata.get("calibration")
    if calibration is not None:
        summary["calibration"] = calibration
    if args.json:
        print_json(summary if quantization is None else {**summary, "quantization": quantization})
        return 0
    print(f"{output}: {format_bytes(output.stat().st_size)}")
    print("\n".join(tensors))
    if args.sequence_lengths:
        listed = ", ".join(map(str, sorted(args.sequence_lengths)))
        print(f"  lengths  {listed}: a run takes the shortest that has room")
    print(f"  arena    {format_bytes(plan.arena_bytes)}")
    print(f"  state    {format_bytes(plan.state_bytes)}")
    print(f"  session  {format_bytes(plan.session_bytes)}: all the RAM that a session takes")
    print(f"  weights  {format_bytes(plan.weights_bytes)}: read in place from the file")
    print(f"  peak     {plan.peak_step}")
    for layer, why in conversion.metadata.get("weights", {}).get("int8", {}).items():
        print(f"  int8     {layer}: {why}")
    if falls_back:
        print(
            f"  float32  {falls_back} of {len(conversion.metadata['nodes'])} operations, though "
            f"the model is quantised: edgeinfer explain {output} tells why, --strict refuses it"
        )
    if needs_code:
        print("  runs only where its custom operators are registered, which they are not here")
    if calibration is not None:
        print(calibration_line(calibration))
    if quantization is not None:
        print("\n".join([*quantization_lines(quantization), *reports]))
    if conversion.accuracy is not None:
        print(f"\n{accuracy_text(conversion.accuracy)}")
    return 0


def _require_outputs(args: argparse.Namespace, source: Path, output: Path) -> None:
    """Refuse outputs that cannot be written, or would replace what is read, before the work."""
    if not source.exists():
        return  # which is what the reader of the model says
    reports = [Path(report) for report in args.report]
    read = [source, *map(Path, args.custom_ops)]
    read += [Path(args.calibrate)] if args.calibrate else []
    read += [Path(args.tokenizer)] if args.tokenizer else []
    read += [Path(args.metric.rpartition(":")[0])] if args.metric else []
    read += [Path(args.device_profile)] if args.device_profile else []
    refuse_same_outputs([output, *reports])
    for path in (output, *reports):
        refuse_overwriting(path, *read)
    require_writable(output, in_place=False)
    for path in reports:
        require_writable(path)


def _needs_code(path: Path) -> bool:
    """Load the file as a device would; whether that takes a custom operator that is not here."""
    import edgeinfer

    try:
        edgeinfer.load(path).close()
    except edgeinfer.CustomOperatorError:
        return True
    return False


def _float_fallbacks(metadata: dict[str, Any]) -> int:
    """How many operations compute in float32 in a model that is quantised otherwise."""
    from edgeinfer.convert.precision_reasons import is_fallback

    reasons = metadata["reasons"]
    return sum(is_fallback(reasons[entry.get("reason", 0)]) for entry in metadata["nodes"])
