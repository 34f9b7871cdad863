"""Show what an .edge file holds: inputs, outputs, steps, parameters, sections, metadata.

Reads the file with the Python reader, which shares no code with the C core and needs no extra.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeinfer.budget import format_bytes
from edgeinfer.cli.model_file import read_edge_file
from edgeinfer.printing import format_table, print_json, printable

if TYPE_CHECKING:
    from edgeinfer.convert.model_file import FileNode, FileProgram, FileTensor, ModelFile

EXAMPLE = "edgeinfer inspect model.edge --params"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("model", metavar="MODEL", help=".edge file")
    parser.add_argument(
        "--params", action="store_true", help="also print every operator's parameters"
    )
    parser.add_argument("--json", action="store_true", help="print JSON for scripts")


def run(args: argparse.Namespace) -> int:
    """Read and print."""
    model = read_edge_file(Path(args.model))
    if args.json:
        print_json(_as_data(model))
    else:
        _print_model(args.model, model, args.params)
    return 0


def _as_data(model: ModelFile) -> dict[str, Any]:
    return {
        "format_version": list(model.version),
        "file_bytes": model.file_bytes,
        "metadata": model.metadata,
        "sections": [
            {"name": s.name, "offset": s.offset, "bytes": s.bytes} for s in model.sections
        ],
        "programs": [_program_data(program) for program in model.programs],
    }


def _program_data(program: FileProgram) -> dict[str, Any]:
    sizes = ("arena", "state", "scratch", "session", "weights")
    return {
        "name": program.name,
        "inputs": [_tensor_data(t) for t in program.inputs],
        "outputs": [_tensor_data(t) for t in program.outputs],
        **{f"{size}_bytes": getattr(program, f"{size}_bytes") for size in sizes},
        "weights_by_type": program.weights_by_type,
        "peak_step": program.peak_step,
        "steps": [
            {
                "node": program.nodes[step.node].name,
                "operator": program.nodes[step.node].operator,
                "rows": [step.row_begin, step.row_end],
                "inputs": [t and _tensor_data(t) for t in program.nodes[step.node].inputs],
                "outputs": [_tensor_data(t) for t in program.nodes[step.node].outputs],
                "params": program.nodes[step.node].params,
            }
            for step in program.steps
        ],
    }


def _tensor_data(tensor: FileTensor) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "scale": tensor.scale,
        "zero_point": tensor.zero_point,
        "constant": tensor.buffer is None,
        "scheme": tensor.scheme,
    }


def _print_model(path: str, model: ModelFile, params: bool) -> None:
    major, minor = model.version
    print(f"{path}: .edge format {major}.{minor}, {format_bytes(model.file_bytes)}")
    for key, value in sorted(model.metadata.items()):
        if isinstance(value, (str, int, float)):
            print(f"  {printable(key)}: {printable(str(value))}")
    for program in model.programs:
        print(f"\nprogram {program.name!r}")
        for kind, tensors in (("input", program.inputs), ("output", program.outputs)):
            for tensor in tensors:
                print(f"  {kind:<7} {tensor.name!r} {_describe(tensor)}{_held(tensor)}")
        print(f"  session {format_bytes(program.session_bytes)}")
        print(f"  weights {format_bytes(program.weights_bytes)}: {_kinds_of_weights(program)}\n")
        _print_steps(program, params)
    print()
    rows = [(section.name, section.offset, section.bytes) for section in model.sections]
    print(format_table(("section", "offset", "bytes"), rows))


def _kinds_of_weights(program: FileProgram) -> str:
    """Bytes of constants by how they are stored, most first."""
    kinds = sorted(program.weights_by_type.items(), key=lambda item: -item[1])
    return ", ".join(f"{kind} {size:,}" for kind, size in kinds) or "none"


def _held(tensor: FileTensor) -> str:
    """How much of a graph input a session holds at a time, where that is not all of it."""
    if tensor.ring_rows == tensor.rows:
        return ""
    return f", {tensor.ring_rows} of {tensor.rows} rows held"


def _print_steps(program: FileProgram, params: bool) -> None:
    rows = []
    for index, step in enumerate(program.steps):
        node = program.nodes[step.node]
        bands = f"[{step.row_begin}, {step.row_end})"
        rows.append((index, node.operator, bands, _operands(node), printable(node.name)))
    print(format_table(("step", "operator", "rows", "operands", "source node"), rows))
    if params:
        print()
        for index, step in enumerate(program.steps):
            node = program.nodes[step.node]
            listed = ", ".join(f"{name} {value:g}" for name, value in node.params.items())
            print(f"step {index} {node.operator}: {listed}")


def _operands(node: FileNode) -> str:
    activations = [t for t in node.inputs if t is not None and t.buffer is not None]
    constants = sum(t.nbytes for t in node.inputs if t is not None and t.buffer is None)
    schemes = sorted({t.scheme for t in node.inputs if t is not None and t.scheme})
    weights = f" + {constants:,} bytes of constants" if constants else ""
    weights += f" ({', '.join(schemes)})" if schemes else ""
    inputs = ", ".join(_describe(t, short=True) for t in activations)
    outputs = ", ".join(_describe(t, short=True) for t in node.outputs)
    return f"{inputs}{weights} -> {outputs}"


def _describe(tensor: FileTensor, *, short: bool = False) -> str:
    shape = "x".join(map(str, tensor.shape)) or "scalar"
    if short or not tensor.scale:
        return f"{tensor.dtype} {shape}"
    return f"{tensor.dtype} {shape}, scale {tensor.scale:.6g}, zero point {tensor.zero_point}"
