"""What small weights cost a sentence encoder: int8, MXFP4 and NVFP4 beside float, and onnxruntime.

    python tools/accuracy_of_text.py FOLDER             # model.onnx and tokenizer.json
    python tools/accuracy_of_text.py FOLDER --weights int8 nvfp4 --seconds 0
    python tools/accuracy_of_text.py FOLDER --calibrate 500     # each scheme with samples, too
    python tools/accuracy_of_text.py FOLDER --weights mxfp4 --tables --budgets 17.6MB 15MB

Sentences are those of Python's own reference pages (pydoc_data), of 4 to 60 words. Those for
`--calibrate` are others than those that are judged. For each scheme:

    cosine   of its vectors with float ones: mean and least over 200 sentences
    nearest  share of 500 sentences whose nearest other one is the same as with float vectors
    other    cosine, mean and least over the sentences of examples/embedding, which are of another
             kind than samples
    file     bytes of the .edge file at lengths 16, 32, 64 and 128; of onnxruntime that of the .onnx
    session  bytes of RAM that a session takes, as the file says
    memory   that a fresh process grows by from after the imports to after a run of 128 tokens, in
             bytes (tools/load_cost.py): resident, and of that its own, which the kernel cannot drop
             and read again from the file; the peak is what was resident at any moment until then
    time     of a run of 128 tokens over onnxruntime's dynamic INT8, both on one thread, in turn;
             the median of the quotients (taskset keeps the process on one core)

Needs the environment of tools/dev.py: onnxruntime and the extra text. onnxruntime's INT8 is that of
`quantize_dynamic`, weights per channel.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import edgeinfer.text
from edgeinfer.convert import convert
from edgeinfer.printing import format_table, print_json

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tools.load_cost import load_in_a_process  # noqa: E402

LENGTHS = (16, 32, 64, 128)
COSINES, NEAREST = 200, 500
SCHEMES = ("int8", "mxfp4", "nvfp4")

Vectors = npt.NDArray[np.float32]


def sentences(count: int, calibration: int = 0) -> list[str]:
    """Different sentences of Python's reference pages, of all lengths that a model takes.

    calibration : give so many others instead, which are not among the first `count`.
    """
    from pydoc_data import topics

    found: dict[str, None] = {}
    for page in topics.topics.values():
        for part in re.split(r"(?<=[.:])\s+|\n\n+", page):
            text = " ".join(part.split())
            if 4 <= len(text.split()) <= 60 and re.match(r"[A-Z].*[a-z]{3}", text):
                found.setdefault(text)
    spread = np.random.default_rng(0).permutation(len(found))
    spread = spread[count : count + calibration] if calibration else spread[:count]
    listed = list(found)
    return [listed[i] for i in sorted(spread)]


class Peer:
    """The model in onnxruntime, on one thread."""

    def __init__(self, path: Path, tokenizer: edgeinfer.text.Tokenizer) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(path), options)
        self._names = [i.name for i in self.session.get_inputs()]
        self._tokenizer = tokenizer

    def inputs(self, text: str) -> dict[str, npt.NDArray[np.int64]]:
        """What the model is given for a text."""
        encoding = self._tokenizer.encode(text, max_length=LENGTHS[-1])
        fields = {
            "input_ids": encoding.ids,
            "attention_mask": encoding.attention_mask,
            "token_type_ids": encoding.type_ids,
        }
        return {name: np.array([fields[name]], np.int64) for name in self._names}

    def embed(self, texts: Sequence[str]) -> Vectors:
        """As `TextModel.embed`."""
        rows = []
        for text in texts:
            found = self.session.run(None, self.inputs(text))[0]
            row = found[0].mean(0) if found.ndim == 3 else found[0]
            rows.append(row / np.linalg.norm(row))
        return np.array(rows, np.float32)


def quantized_peer(source: Path, folder: Path) -> Path:
    """The model as `quantize_dynamic` makes it."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path = folder / "dynamic.onnx"
    quantize_dynamic(source, path, weight_type=QuantType.QInt8, per_channel=True)
    return path


def nearest(vectors: Vectors) -> npt.NDArray[np.int64]:
    """For each vector the other one with the largest cosine."""
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -2)
    return np.asarray(scores.argmax(1))


class Judge:
    """How near vectors of texts are to those of the float model."""

    def __init__(self, teacher: Peer) -> None:
        self._texts = sentences(NEAREST)
        self._others = (ROOT / "examples/embedding/sentences.txt").read_text().splitlines()
        self._real, self._real_of_others = map(teacher.embed, (self._texts, self._others))

    def judge(self, embed: Callable[[Sequence[str]], Vectors]) -> dict[str, float]:
        """The figures of one model."""
        vectors = embed(self._texts)
        cosines = np.sum(vectors[:COSINES] * self._real[:COSINES], axis=1)
        others = np.sum(embed(self._others) * self._real_of_others, axis=1)
        return {
            "cosine": float(cosines.mean()),
            "least": float(cosines.min()),
            "nearest": float(np.mean(nearest(vectors) == nearest(self._real))),
            "other": float(others.mean()),
            "other_least": float(others.min()),
        }


def quotients(runs: Sequence[Callable[[], Any]], seconds: float) -> list[float | None]:
    """Median time of each over that of the last, run in turn."""
    times: list[list[float]] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        row = []
        for run in runs:
            start = time.perf_counter()
            run()
            row.append(time.perf_counter() - start)
        times.append(row)
    if len(times) < 5:
        return [None] * len(runs)
    table = np.array(times[1:])
    return [float(q) for q in np.median(table / table[:, -1:], axis=0)]


def main() -> int:
    """Convert, embed, compare, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--weights", nargs="+", choices=SCHEMES, default=list(SCHEMES))
    parser.add_argument(
        "--calibrate", type=int, default=0, metavar="N", help="so many other sentences as samples"
    )
    parser.add_argument(
        "--tables", action="store_true", help="each four-bit scheme with tables of four bits, too"
    )
    parser.add_argument(
        "--budgets",
        nargs="+",
        default=[],
        metavar="SIZE",
        help="the last scheme within budgets, too",
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="of timing; 0: none")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    made = conversions(args.weights, args.calibrate, args.tables, args.budgets)
    rows = measure(args.folder, made, args.seconds)
    if args.json:
        print_json(rows)
        return 0
    sizes = ("file", "session", "resident", "own", "peak")
    header = ("", "cosine", "least", "nearest", "other", "least", *sizes, "time")
    print(format_table(header, [_cells(row) for row in rows], right=range(1, len(header))))
    return 0


def measure(
    folder: Path, made: Mapping[str, Mapping[str, Any]], seconds: float
) -> list[dict[str, Any]]:
    """A row for each conversion by name, and for onnxruntime's float and dynamic INT8."""
    source = folder / "model.onnx"
    tokenizer = edgeinfer.text.Tokenizer(folder)
    teacher = Peer(source, tokenizer)
    judge = Judge(teacher).judge
    rows: list[dict[str, Any]] = []
    runs: list[Callable[[], Any]] = []
    full = {name: np.ones((1, LENGTHS[-1]), np.int64) for name in teacher._names}
    with tempfile.TemporaryDirectory() as scratch:
        for name, options in made.items():
            reads: Any = {"tokenizer": tokenizer} if "calibration" in options else {}
            found = convert(source, sequence_lengths=LENGTHS, **options, **reads)
            path = Path(scratch) / "model.edge"
            found.save(path)
            model = edgeinfer.text.load(edgeinfer.load(found.data), tokenizer)
            row = {"name": name, **judge(model.embed)}
            row |= {"file": len(found.data), "session": found.session_bytes}
            rows.append(row | _memory("edgeinfer", path, full))
            runs.append(partial(model.model.run, full))
        path = quantized_peer(source, Path(scratch))
        for name, file in (("float32", source), ("INT8", path)):
            peer = Peer(file, tokenizer)
            row = {"name": f"onnxruntime {name}", **judge(peer.embed)}
            row |= {"file": file.stat().st_size, **_memory("onnxruntime", file, full)}
            rows.append(row)
            runs.append(partial(peer.session.run, None, full))
    for row, quotient in zip(rows, quotients(runs, seconds), strict=True):
        row["time"] = quotient
    return rows


def conversions(
    schemes: Sequence[str], calibrate: int, tables: bool, budgets: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Options of what is converted, by name; float first."""
    made: dict[str, dict[str, Any]] = {"float32": {}}
    samples = sentences(NEAREST, calibrate) if calibrate else []
    with_samples = {"activations": "dynamic", "calibration": samples, "max_samples": calibrate}
    for scheme in schemes:
        made[scheme] = {"weights": scheme}
        if calibrate:
            made[f"{scheme}, samples"] = {"weights": scheme, **with_samples}
        if tables and scheme != "int8":
            made[f"{scheme}, tables"] = {"weights": scheme, "four_bit_tables": True}
    for budget in budgets:
        made[f"{schemes[-1]}, {budget}"] = {"weights": schemes[-1], "weights_budget": budget}
    return made


def _memory(runtime: str, file: Path, feed: dict[str, npt.NDArray[np.int64]]) -> dict[str, float]:
    found = load_in_a_process(runtime, file, list(feed.values()))
    return {"resident": found["rss_bytes"], "own": found["own_bytes"], "peak": found["peak_bytes"]}


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["name"],
        f"{row['cosine']:.4f}",
        f"{row['least']:.4f}",
        f"{100 * row['nearest']:.1f} %",
        f"{row['other']:.4f}",
        f"{row['other_least']:.4f}",
        *(
            f"{row[x]:,}" if x in row else ""
            for x in ("file", "session", "resident", "own", "peak")
        ),
        "" if row["time"] is None else f"{row['time']:.2f}",
    )


if __name__ == "__main__":
    sys.exit(main())
