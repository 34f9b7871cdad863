"""Run a model once per given input and print or save what comes out.

Inputs are .npy, .npz (one array per input name, or a single array) or raw files: dense row-major
bytes in the input's own dtype. Several inputs are given as NAME=FILE, once each. An array
with one more leading axis than the input is a stack of inputs, run one after the other; of several
inputs all are stacks of one length, or none is.

With --report-memory the report takes the place of the values: what the session was planned to take,
and what it takes here. Without inputs it runs on zeros.
"""

from __future__ import annotations

import argparse
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeinfer.cli.arguments import (
    UsageError,
    add_engine_argument,
    add_thread_arguments,
    byte_count,
    refuse_overwriting,
    require_writable,
)
from edgeinfer.cli.progress import Progress
from edgeinfer.errors import InputError
from edgeinfer.printing import print_json, printable

if TYPE_CHECKING:
    from edgeinfer.session import Array, TensorInfo

# What NumPy and zipfile raise on damaged files, as a fuzzed .npy and .npz showed.
_DAMAGED_ARRAY = (
    EOFError,
    MemoryError,
    OverflowError,
    SyntaxError,
    TypeError,
    ValueError,
    tokenize.TokenError,
)
_DAMAGED_ARCHIVE = (
    *_DAMAGED_ARRAY,
    KeyError,
    NotImplementedError,  # a compression method that zipfile does not know
    RuntimeError,  # encrypted
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
EXAMPLE = "edgeinfer run model.edge --input x.npy --output y.npz --dequantize"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("model", metavar="MODEL", help=".edge file (or .tflite, .onnx)")
    parser.add_argument(
        "-i",
        "--input",
        action="append",
        default=[],
        metavar="[NAME=]FILE",
        help=".npy, .npz or raw file; NAME= where the model has several inputs",
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="save outputs: .npz, .npy or raw")
    parser.add_argument(
        "--quantize", action="store_true", help="quantise floating-point input values"
    )
    parser.add_argument("--dequantize", action="store_true", help="return outputs as float32")
    parser.add_argument(
        "--ram-budget", type=byte_count, metavar="BYTES", help="refuse above it, e.g. 96KiB"
    )
    parser.add_argument("--tier", help="kernel tier, e.g. scalar")
    add_engine_argument(parser)
    add_thread_arguments(parser)
    parser.add_argument(
        "--report-memory",
        action="store_true",
        help="measure what a session takes beside what was planned; needs no input",
    )
    parser.add_argument("--json", action="store_true", help="print outputs, or the report, as JSON")


def run(args: argparse.Namespace) -> int:
    """Load, run each input, print or save."""
    if args.report_memory:
        code = _report_memory(args)
        if code or not args.output:
            return code
    if not args.input:
        raise UsageError("give an input: -i FILE, or -i NAME=FILE for each where there are several")
    return _run_inputs(args)


def _report_memory(args: argparse.Namespace) -> int:
    """Before anything else runs in this process, which would hide what the session takes."""
    from edgeinfer.cli.memory_report import as_data, as_edge_file, as_text
    from edgeinfer.cli.session_memory import measure_session
    from edgeinfer.model import checked_options

    if args.engine is not None:
        raise UsageError("--report-memory measures the C core: leave --engine out")
    options = checked_options(
        args.ram_budget, args.threads, args.tier, args.cpus, args.performance_cores
    )

    def read_feed(infos: tuple[TensorInfo, ...]) -> dict[str, Array] | None:
        if not args.input:
            return None
        given = _read_inputs(_files_by_input(args.input, infos), infos)
        _, feeds = _split_stacks(given, infos)
        return feeds[0]

    with as_edge_file(Path(args.model), args.custom_ops) as model:
        if isinstance(model, int):
            return model
        found = measure_session(model, options, read_feed, quantize=args.quantize)
    if args.json:
        print_json(as_data(found))
    else:
        print(as_text(found))
    return 0


def _run_inputs(args: argparse.Namespace) -> int:
    import edgeinfer

    with edgeinfer.load(
        args.model,
        ram_budget=args.ram_budget,
        threads=args.threads,
        tier=args.tier,
        engine=args.engine,
        cpus=args.cpus,
        performance_cores=args.performance_cores,
    ) as model:
        files = _files_by_input(args.input, model.inputs)
        if args.output:
            read = [Path(args.model), *(path for path, _ in files)]
            refuse_overwriting(Path(args.output), *read)
            require_writable(Path(args.output))
        stacked, feeds = _split_stacks(_read_inputs(files, model.inputs), model.inputs)
        runs = []
        with Progress() as progress:
            for number, feed in enumerate(feeds, 1):
                progress.count(f"running {number:,} of {len(feeds):,}")
                result = model.run(feed, quantize=args.quantize, dequantize=args.dequantize)
                runs.append(result if isinstance(result, dict) else {model.outputs[0].name: result})
        outputs = {
            info.name: np.stack([r[info.name] for r in runs]) if stacked else runs[0][info.name]
            for info in model.outputs
        }
    if args.output:
        _save(Path(args.output), outputs)
    if args.report_memory:
        return 0  # the report has been printed
    if args.json:
        print_json({name: array.tolist() for name, array in outputs.items()})
    elif not args.output:
        for name, array in outputs.items():
            print(f"{printable(name)}: {array.dtype}{list(array.shape)}\n{array}")
    return 0


def _files_by_input(specs: list[str], infos: tuple[TensorInfo, ...]) -> list[tuple[Path, str]]:
    """Each file, and the input that it was said to be for ("" where nothing was said)."""
    names = {info.name for info in infos}
    files = []
    for spec in specs:
        name, separator, path = spec.partition("=")
        is_named = separator and name in names  # else the sign belongs to the file's name
        files.append((Path(path), name) if is_named else (Path(spec), ""))
    return files


def _read_inputs(files: list[tuple[Path, str]], infos: tuple[TensorInfo, ...]) -> dict[str, Array]:
    given: dict[str, Array] = {}
    sources: dict[str, Path] = {}
    for path, name in files:
        for key, array in _read_file(path, name, infos).items():
            if key in given:
                raise InputError(f"input {key!r} is given twice: {sources[key]} and {path}")
            given[key], sources[key] = array, path
    missing = [info.name for info in infos if info.name not in given]
    if missing:
        raise InputError(f"no file given for input {', '.join(missing)}; use --input NAME=FILE")
    return given


def _read_file(path: Path, name: str, infos: tuple[TensorInfo, ...]) -> dict[str, Array]:
    names = [info.name for info in infos]
    if path.suffix == ".npz":
        return _choose(path, _load_npz(path), name, names)
    if not name and len(names) > 1:
        raise InputError(f"{path}: the model has inputs {names}; say which: --input NAME={path}")
    target = name or names[0]
    if path.suffix == ".npy":
        return {target: _load_npy(path)}
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


def _load_npy(path: Path) -> Array:
    # Its own reader, for np.load takes a file of any other kind for a pickle.
    try:
        with path.open("rb") as file:
            array: Array = np.lib.format.read_array(file, allow_pickle=False)
            return array
    except _DAMAGED_ARRAY as error:
        raise InputError(f"{path}: not a readable .npy file: {error}") from error


def _load_npz(path: Path) -> dict[str, Array]:
    if path.exists() and not zipfile.is_zipfile(path):
        raise InputError(f"{path}: not a readable .npz file: it is no zip archive, or is cut short")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays: dict[str, Array] = {key: archive[key] for key in archive.files}
    except _DAMAGED_ARCHIVE as error:
        raise InputError(f"{path}: not a readable .npz file: {error}") from error
    if not arrays:
        raise InputError(f"{path} holds no array")
    for key, array in arrays.items():
        if not isinstance(array, np.ndarray):  # NumPy hands out other members as bytes
            raise InputError(f"{path}: its member {key!r} is no array")
    return arrays


def _choose(path: Path, arrays: dict[str, Array], name: str, names: list[str]) -> dict[str, Array]:
    """The arrays of an archive, by the inputs they are for."""
    target = name or (names[0] if len(names) == 1 else "")
    if target:
        if target in arrays:
            return {target: arrays[target]}
        if len(arrays) == 1:  # whatever it is called
            return {target: next(iter(arrays.values()))}
        raise InputError(f"{path} holds {sorted(arrays)}; none is called {target!r}")
    known = {key: array for key, array in arrays.items() if key in names}
    if not known:
        raise InputError(f"{path} holds {sorted(arrays)}; the model's inputs are {names}")
    return known


def _split_stacks(
    given: dict[str, Array], infos: tuple[TensorInfo, ...]
) -> tuple[bool, list[dict[str, Array]]]:
    """Whether the arrays are stacks, and the feed of each run."""
    lengths = {
        info.name: len(given[info.name]) for info in infos if _is_stack(given[info.name], info)
    }
    if not lengths:
        return False, [given]
    single = [info.name for info in infos if info.name not in lengths]
    if single:
        raise InputError(
            f"input {next(iter(lengths))!r} is a stack and input {single[0]!r} is not; "
            "give stacks of one length for all inputs, or for none"
        )
    if len(set(lengths.values())) > 1:
        raise InputError(f"the inputs are stacks of different lengths: {lengths}")
    count = next(iter(lengths.values()))
    if count == 0:
        raise InputError(f"input {next(iter(lengths))!r} is a stack of no inputs")
    feeds: list[dict[str, Any]] = []
    for i in range(count):
        feeds.append(
            {info.name: given[info.name][i].reshape(_one(given[info.name], info)) for info in infos}
        )
    return True, feeds


def _is_stack(array: Array, info: TensorInfo) -> bool:
    """Whether there is a leading axis too many, or the batch axis of 1 is longer or empty."""
    if array.ndim == len(info.shape) + 1:
        return True
    return array.ndim == len(info.shape) and info.shape[:1] == (1,) and array.shape[0] != 1


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
