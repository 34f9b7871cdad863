"""Sentences in, the most similar sentences out: text search by meaning, on the device.

    python examples/embedding/similar.py FOLDER "something is wrong with a machine"

FOLDER holds model.onnx and tokenizer.json of a sentence-embedding model, all-MiniLM-L6-v2 say: what
`optimum-cli export onnx` or tools/export_text_model.py makes; by default what EDGEINFER_MINILM
names. The model is converted once, to build/demo, for texts of up to 16, 32, 64 and 128 tokens.
Each query is held against the lines of sentences.txt beside this file, or of --sentences.

Needs the extras convert and text.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

import edgeinfer.text
from edgeinfer.budget import format_bytes
from edgeinfer.convert import convert

HERE = Path(__file__).resolve().parent
OUTPUT = HERE.parents[1] / "build" / "demo"
LENGTHS = (16, 32, 64, 128)
QUERIES = ("something is wrong with a machine", "what will the weather be like", "a pet is resting")


def main() -> int:
    """Convert where that is still to be done, embed, compare, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folder", type=Path, nargs="?", default=os.environ.get("EDGEINFER_MINILM"), metavar="FOLDER"
    )
    parser.add_argument("queries", nargs="*", default=QUERIES, metavar="QUERY")
    parser.add_argument("--sentences", type=Path, default=HERE / "sentences.txt")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="where the .edge file is put")
    parser.add_argument("--top", type=int, default=3, help="sentences shown for each query")
    args = parser.parse_args()
    if args.folder is None:
        parser.error("name the model's folder, or set EDGEINFER_MINILM")
    edge = converted(Path(args.folder), args.output)
    sentences = [line for line in args.sentences.read_text(encoding="utf-8").splitlines() if line]
    with edgeinfer.text.load(edge, args.folder) as model:
        print(f"{edge.name}: session {format_bytes(model.model.session_bytes)}")
        start = time.perf_counter()
        vectors = model.embed(sentences)
        each = (time.perf_counter() - start) / len(sentences)
        print(f"{len(sentences)} sentences, {each * 1e3:.1f} ms each\n")
        for query in args.queries:
            print(query)
            for score, sentence in most_similar(model.embed(query), vectors, sentences, args.top):
                print(f"  {score:.3f}  {sentence}")
    return 0


def converted(folder: Path, output: Path) -> Path:
    """The model as an .edge file, made anew where the source is newer."""
    source, edge = folder / "model.onnx", output / f"{folder.name}.edge"
    if not edge.exists() or edge.stat().st_mtime < source.stat().st_mtime:
        output.mkdir(parents=True, exist_ok=True)
        convert(source, sequence_lengths=LENGTHS).save(edge)
    return edge


def most_similar(
    query: npt.NDArray[np.float32],
    vectors: npt.NDArray[np.float32],
    sentences: list[str],
    count: int,
) -> list[tuple[float, str]]:
    """The sentences whose vectors are nearest, with the cosine of the angle between."""
    scores = vectors @ query
    return [(float(scores[i]), sentences[i]) for i in np.argsort(-scores)[:count]]


if __name__ == "__main__":
    sys.exit(main())
