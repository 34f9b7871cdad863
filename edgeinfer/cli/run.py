"""Run a model once per given input and print or save what comes out.

Inputs are .npy, .npz (one array per input name, or a single array) or raw files: dense row-major
bytes in the input's own dtype. Several inputs are given as NAME=FILE, once each. An array
with one more leading axis than the input is a stack of inputs, run one after the other.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from edgeinfer.cli.text import print_json
from edgeinfer.errors import InputError
from edgeinfer.session import Array, TensorInfo

EXAMPLE = "edgeinfer run model.edge --input x.npy --output y.npz --dequantize"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("model", metavar="MODEL", help=".edge file (or .tflite, .onnx)")
    parser.add_argument(
        "-i",
        "--input",
        action="append",
        required=True,
        metavar="[NAME=]FILE",
        help=".npy, .npz or raw file; NAME= where the model has several inputs",
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="save outputs: .npz, .npy or raw")
    parser.add_argument(
        "--quantize", action="store_true", help="quantise floating-point input values"
    )
    parser.add_argument("--dequantize", action="store_true", help="return outputs as float32")
    parser.add_argument("--ram-budget", metavar="BYTES", help="refuse above it, e.g. 96KiB")
    parser.add_argument("--tier", help="kernel tier, e.g. scalar")
    parser.add_argument("--json", action="store_true", help="print outputs as JSON")


def run(args: argparse.Namespace) -> int:
    """Load, run each input, print or save."""
    import edgeinfer

    with edgeinfer.load(args.model, ram_budget=args.ram_budget, tier=args.tier) as model:
        given = _read_inputs(args.input, model.inputs)
        stacked, feeds = _split_stacks(given, model.inputs)
        runs = []
        for feed in feeds:
            result = model.run(feed, quantize=args.quantize, dequantize=args.dequantize)
            runs.append(result if isinstance(result, dict) else {model.outputs[0].name: result})
        outputs = {
            info.name: np.stack([r[info.name] for r in runs]) if stacked else runs[0][info.name]
            for info in model.outputs
        }
    if args.output:
        _save(Path(args.output), outputs)
    if args.json:
        print_json({name: array.tolist() for name, array in outputs.items()})
    elif not args.output:
        for name, array in outputs.items():
            print(f"{name}: {array.dtype}{list(array.shape)}\n{array}")
    return 0


def _read_inputs(specs: list[str], infos: tuple[TensorInfo, ...]) -> dict[str, Array]:
    by_name = {info.name: info for info in infos}
    given: dict[str, Array] = {}
    for spec in specs:
        name, separator, path = spec.partition("=")
        if not separator or name not in by_name:
            name, path = "", spec
        given.update(_read_file(Path(path), name, infos))
    missing = [name for name in by_name if name not in given]
    if missing:
        raise InputError(f"no file given for input {', '.join(missing)}; use --input NAME=FILE")
    return given


def _read_file(path: Path, name: str, infos: tuple[TensorInfo, ...]) -> dict[str, Array]:
    names = [info.name for info in infos]
    if not name and len(names) > 1 and path.suffix != ".npz":
        raise InputError(f"{path}: the model has inputs {names}; say which: --input NAME={path}")
    target = name or names[0]
    if path.suffix == ".npy":
        return {target: np.load(path, allow_pickle=False)}
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
        if all(key in names for key in arrays):
            return arrays
        if len(arrays) == 1:
            return {target: next(iter(arrays.values()))}
        known = {key: array for key, array in arrays.items() if key in names}
        if not known:
            raise InputError(f"{path} holds {sorted(arrays)}; the model's inputs are {names}")
        return known
    info = next(info for info in infos if info.name == target)
    raw = np.frombuffer(path.read_bytes(), np.uint8)
    size = int(np.prod(info.shape, dtype=np.int64)) * info.dtype.itemsize
    if raw.size == 0 or raw.size % size:
        raise InputError(
            f"{path} has {raw.size} bytes; input {info} takes {size}, or a multiple of it"
        )
    count = raw.size // size
    shape = info.shape if count == 1 else (count, *info.shape)
    return {target: raw.view(info.dtype).reshape(shape)}


def _split_stacks(
    given: dict[str, Array], infos: tuple[TensorInfo, ...]
) -> tuple[bool, list[dict[str, Array]]]:
    """Whether the arrays are stacks, and the feed of each run."""
    lengths = {
        len(given[info.name])
        for info in infos
        if given[info.name].ndim == len(info.shape) + 1
        or (
            given[info.name].ndim == len(info.shape)
            and info.shape[:1] == (1,)
            and given[info.name].shape[0] > 1
        )
    }
    if not lengths:
        return False, [given]
    if len(lengths) > 1:
        raise InputError(f"the inputs are stacks of different lengths: {sorted(lengths)}")
    (count,) = lengths
    feeds: list[dict[str, Any]] = []
    for i in range(count):
        feeds.append(
            {info.name: given[info.name][i].reshape(_one(given[info.name], info)) for info in infos}
        )
    return True, feeds


def _one(array: Array, info: TensorInfo) -> tuple[int, ...]:
    """Shape of one item of a stack: the batch axis of 1 is put back where the stack lacks it."""
    return array.shape[1:] if array.ndim == len(info.shape) + 1 else (1, *array.shape[1:])


def _save(path: Path, outputs: dict[str, Array]) -> None:
    if path.suffix == ".npz":
        np.savez(path, **outputs)  # type: ignore[arg-type]
        return
    if len(outputs) != 1:
        raise InputError(f"the model has {len(outputs)} outputs; save them to a .npz file")
    (array,) = outputs.values()
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        path.write_bytes(np.ascontiguousarray(array).tobytes())
