"""Hold edgeinfer against the peer runtime on one model: which values differ, and by how much.

A .tflite model is compared with LiteRT on its default path (XNNPACK where it takes the operator), a
.onnx model with onnxruntime. Prints per output how many values differ, the largest difference in
quantised steps (those of the tensor that was dequantised, where the output is float), and in how
many rows along the last axis the largest entry is the same (top-1 agreement).

    python tools/compare.py model.tflite --count 1000
    python tools/compare.py model.tflite --data inputs.npz
    python tools/compare.py model.tflite --by-operator    # which operator is it?

With --by-operator each operator of a .tflite model runs alone on LiteRT's own inputs of it, so a
difference belongs to that operator and is not handed on from an earlier one.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import edgeinfer
from edgeinfer.cli.arguments import natural, positive_int
from edgeinfer.convert import convert
from edgeinfer.convert.model_file import FileProgram, FileTensor
from edgeinfer.convert.read import read_model
from edgeinfer.errors import EdgeInferError
from edgeinfer.printing import format_table, print_json
from edgeinfer.session import TensorInfo

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.peers import LiteRT, OnnxRuntime, Peer

Feed = dict[str, np.ndarray]

_MOVES = ("copy", "reshape", "slice", "transpose")  # they leave values as they are


def peer_for(path: Path, *, delegate: bool = True) -> Peer:
    """The peer that runs this kind of file."""
    if path.suffix == ".tflite":
        return LiteRT(path.read_bytes(), delegate=delegate)
    return OnnxRuntime(path.read_bytes(), exact=True)


@dataclass
class Difference:
    """How one output differs from the peer's over all inputs.

    `largest` counts steps of `step`; where `step` is None, nothing quantised lies behind a float
    output, and it is in units of the value.
    """

    output: str
    step: float | None = None
    values: int = 0
    differ: int = 0
    largest: float = 0.0
    runs: int = 0
    rows: int = 0  # along the last axis; of rows of one entry the largest is no news
    same_top1: int = 0

    def add(self, ours: np.ndarray, theirs: np.ndarray) -> None:
        """Count one run."""
        same = (ours == theirs) | ((ours != ours) & (theirs != theirs))  # NaN is like NaN
        with np.errstate(invalid="ignore"):  # infinity less infinity, which is the same
            gap = np.abs(ours.astype(np.float64) - theirs.astype(np.float64)) / (self.step or 1.0)
        gap = np.where(same, 0.0, np.where(np.isnan(gap), np.inf, gap))
        self.values += ours.size
        self.differ += int(np.count_nonzero(~same))
        self.largest = max(self.largest, float(gap.max(initial=0.0)))
        self.runs += 1
        if ours.ndim and ours.shape[-1] > 1:
            top = ours.reshape(-1, ours.shape[-1]).argmax(axis=1)
            top_of_theirs = theirs.reshape(-1, theirs.shape[-1]).argmax(axis=1)
            self.rows += top.size
            self.same_top1 += int(np.count_nonzero(top == top_of_theirs))


def differences_of(data: bytes) -> list[Difference]:
    """For each output of an .edge file an empty count that knows the output's step."""
    program = read_model(data).programs[0]
    return [Difference(output.name, _step_of(output, program)) for output in program.outputs]


def _step_of(output: FileTensor, program: FileProgram) -> float | None:
    """1 for integers; for float the scale of the dequantize that it comes from, by moves only."""
    if output.dtype != "float32":
        return 1.0
    place = (output.buffer, output.offset)  # views share it, whatever they are called
    for node in reversed(program.nodes):
        if place not in [(made.buffer, made.offset) for made in node.outputs]:
            continue
        if node.operator == "dequantize":
            return float(node.params["scale"])
        (moved, *_) = node.inputs
        if node.operator not in _MOVES or moved is None:
            return None
        place = (moved.buffer, moved.offset)
    return None


def random_feeds(infos: Sequence[TensorInfo], count: int, seed: int) -> Iterator[list[np.ndarray]]:
    """Inputs over the whole range of each dtype: half uniform, half smooth like pictures."""
    from edgeinfer.cli.bench import random_input

    rng = np.random.default_rng(seed)
    for i in range(count):
        arrays = [random_input(info, rng) for info in infos]
        yield [_smooth(a) if i % 2 and a.dtype.kind in "iu" else a for a in arrays]


def _smooth(array: np.ndarray) -> np.ndarray:
    """Running means along the longest axis, spread over the range again."""
    axis = int(np.argmax(array.shape))
    limits = np.iinfo(array.dtype)
    total = np.cumsum(array.astype(np.float64) - (limits.min + limits.max) / 2, axis=axis)
    low, high = total.min(), total.max()
    scaled = (total - low) / max(high - low, 1.0) * (limits.max - limits.min) + limits.min
    return np.rint(scaled).astype(array.dtype)


def file_feeds(path: Path, infos: Sequence[TensorInfo]) -> Iterator[list[np.ndarray]]:
    """Inputs from a .npy or .npz stack for a one-input model."""
    if len(infos) != 1:
        raise SystemExit(f"--data is for models of one input; this one has {len(infos)}")
    loaded = np.load(path)
    stack = loaded if isinstance(loaded, np.ndarray) else loaded[_stack_name(loaded, infos)]
    for item in stack:
        yield [item.reshape(infos[0].shape).astype(infos[0].dtype, casting="safe")]


def _stack_name(archive: Any, infos: Sequence[TensorInfo]) -> str:
    names = list(archive.files)
    return next(n for n in (infos[0].name, "inputs", names[0]) if n in names)


def compare(
    model: edgeinfer.Model,
    peer: Peer,
    feeds: Iterator[list[np.ndarray]],
    found: list[Difference] | None = None,
) -> list[Difference]:
    """Run both on every feed and count in `found`, empty counts of `differences_of` the file.

    Without it the largest differences of float outputs are in units of the value.
    """
    if found is None:
        found = [Difference(i.name, 1.0 if i.dtype.kind in "iub" else None) for i in model.outputs]
    for feed in feeds:
        named = {info.name: array for info, array in zip(model.inputs, feed, strict=True)}
        ours = model.run(named)
        outputs = [ours[i.name] for i in model.outputs] if isinstance(ours, dict) else [ours]
        for difference, mine, theirs in zip(found, outputs, peer.run(feed), strict=True):
            difference.add(mine, theirs)
    return found


def expose_all_tensors(model: bytes) -> tuple[bytes, list[str]]:
    """The .tflite model with every activation as an output, and the outputs' names."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    tree = schema.ModelT.InitFromPackedBuf(model, 0)
    subgraph = tree.subgraphs[0]
    made = [t for operator in subgraph.operators for t in operator.outputs]
    subgraph.outputs = made
    builder = flatbuffers.Builder(len(model))
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output()), [subgraph.tensors[t].name.decode() for t in made]


@dataclass
class OperatorDifference:
    """How one output of an operator that runs alone differs from the peer's."""

    operator: str
    node: str
    difference: Difference


def compare_by_operator(
    path: Path, feeds: Iterator[list[np.ndarray]], *, delegate: bool = True
) -> list[OperatorDifference]:
    """Each operator of a .tflite model alone, on LiteRT's own inputs of it."""
    from edgeinfer.convert.frontends.tflite import read
    from edgeinfer.convert.graph import Graph

    data = path.read_bytes()
    exposed, names = expose_all_tensors(data)
    peer = LiteRT(exposed, delegate=delegate)
    graph = read(data, path.name)
    alone = []
    for node in graph.nodes:
        inputs = list(dict.fromkeys(t for t in node.inputs if t is not None and t.data is None))
        single = Graph(
            node.name, inputs, list(node.outputs), [copy.copy(node)], graph.source_format
        )
        edge = convert(single).data
        alone.append((node, edgeinfer.load(edge), differences_of(edge)))
    for feed in feeds:
        values: Feed = dict(zip((t.name for t in graph.inputs), feed, strict=True))
        values.update(zip(names, peer.run(feed), strict=True))
        for node, model, differences in alone:
            ours = model.run({info.name: values[info.name] for info in model.inputs})
            outputs = ours if isinstance(ours, dict) else {node.outputs[0].name: ours}
            for tensor, difference in zip(node.outputs, differences, strict=True):
                difference.add(outputs[tensor.name], values[tensor.name])
    return [
        OperatorDifference(node.source, node.name, difference)
        for node, _, differences in alone
        for difference in differences
    ]


def _cells(found: Difference) -> tuple[Any, ...]:
    """Values, differing ones, their share, the largest difference, agreement of the largest."""
    largest = f"{found.largest:.6g}" + ("" if found.step is not None else " (value)")
    top1 = f"{found.same_top1}/{found.rows}" if found.rows else "-"
    return found.values, found.differ, f"{found.differ / found.values:.4%}", largest, top1


_HEADER = ("values", "differ", "share", "largest step", "same top-1")


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; exit code 0 whatever the comparison finds, unless --max-step is exceeded."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help=".tflite or .onnx file")
    parser.add_argument(
        "--count", type=positive_int, default=1000, help="random inputs (default 1000)"
    )
    parser.add_argument("--data", type=Path, help=".npy or .npz stack of inputs instead")
    parser.add_argument("--seed", type=natural, default=0)
    parser.add_argument("--builtin", action="store_true", help="LiteRT without XNNPACK")
    parser.add_argument("--by-operator", action="store_true", help="each operator alone (.tflite)")
    parser.add_argument("--max-step", type=float, help="exit with 1 above this difference")
    parser.add_argument("--json", action="store_true", help="print JSON for scripts")
    args = parser.parse_args(argv)
    if args.model.suffix not in (".tflite", ".onnx"):
        parser.error(f"{args.model}: no peer runs it; give the .tflite or .onnx model")
    if args.by_operator and args.model.suffix != ".tflite":
        parser.error(f"{args.model}: --by-operator is for .tflite models")
    try:
        return _compare_and_print(args)
    except (EdgeInferError, OSError) as error:
        print(f"compare: {error}", file=sys.stderr)
        return 1


def _compare_and_print(args: argparse.Namespace) -> int:
    edge = convert(args.model).data
    model = edgeinfer.load(edge)
    if args.data:
        feeds = file_feeds(args.data, model.inputs)
    else:
        feeds = random_feeds(model.inputs, args.count, args.seed)
    header: tuple[str, ...]
    if args.by_operator:
        operators = compare_by_operator(args.model, feeds, delegate=not args.builtin)
        found = [item.difference for item in operators]
        data = [asdict(item) for item in operators]
        peer_name = "LiteRT, operator by operator"
        header = ("operator", "node", *_HEADER)
        first: list[tuple[Any, ...]] = [(item.operator, item.node) for item in operators]
    else:
        peer = peer_for(args.model, delegate=not args.builtin)
        found = compare(model, peer, feeds, differences_of(edge))
        data = [asdict(difference) for difference in found]
        peer_name = peer.name
        header = ("output", *_HEADER)
        first = [(difference.output,) for difference in found]
    if not (found and found[0].runs):
        print("compare: there was nothing to compare", file=sys.stderr)
        return 1
    if args.json:
        print_json(data)
    else:
        print(f"{args.model.name} against {peer_name}, {found[0].runs} inputs")
        rows = [(*names, *_cells(f)) for names, f in zip(first, found, strict=True)]
        print(format_table(header, rows))
    worst = max(difference.largest for difference in found)
    return int(args.max_step is not None and worst > args.max_step)


if __name__ == "__main__":
    sys.exit(main())
