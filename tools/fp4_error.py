#!/usr/bin/env python3
"""What four bits cost the matrices of a float model: plain rounding, searched scales, feedback.

    python tools/fp4_error.py encoder.onnx                      # errors of weights
    python tools/fp4_error.py folder/model.onnx --sentences s.txt   # and of outputs

Prints, for MXFP4 and NVFP4, the squared error of all weights of fully connected layers and of what
these compute, as a share of plain rounding's: the rounding of the formats' specifications, which
for MXFP4 is llama.cpp's too (it rounds ties away from zero, which weights hardly have).

Outputs are those of each layer on inputs that the float model feeds it: three quarters of the
sentences (one a line) are what feedback knows, the rest is what all are judged on. The
tokenizer.json beside the model makes tokens of them. The figure is the mean over layers of each
one's share, and the worst layer's stands beside it.

Needs the `convert` and `text` extras. tools/export_text_model.py makes such a folder.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeinfer.cli.progress import Progress
from edgeinfer.convert.frontends import read
from edgeinfer.convert.graph import Graph, Node
from edgeinfer.convert.passes import run_passes
from edgeinfer.convert.quantize.block_weights import BLOCK, BlockWeights
from edgeinfer.convert.quantize.choose_blocks import round_blocks
from edgeinfer.convert.quantize.feed_back_errors import feed_back_errors
from edgeinfer.convert.quantize.prepare_graph import name_uniquely
from edgeinfer.convert.quantize.run_graph import Sample
from edgeinfer.convert.quantize.search_block_scales import search_block_scales
from edgeinfer.printing import format_table
from edgeinfer.text import Tokenizer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.input_moments import input_moments

Floats = npt.NDArray[np.float32]
Reals = npt.NDArray[np.float64]

LENGTH = 64
"""Tokens that the graph has room for; longer sentences lose their end."""
TABLE = [
    "weights of",
    "layers",
    "weights, searched",
    "outputs, searched",
    "worst",
    "outputs, fed back",
    "worst ",
]


def float_layers(graph: Graph) -> list[Node]:
    """The fully connected layers whose weights are a float matrix."""
    return [
        node
        for node in graph.nodes
        if node.op == "fully_connected"
        and node.input(1).data is not None
        and node.input(1).dtype == "float32"
        and not node.input(0).is_constant
    ]


def encoded(graph: Graph, tokenizer: Tokenizer, sentences: Sequence[str]) -> list[Sample]:
    """Inputs of a text model for each sentence."""
    fields = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
    samples: list[Sample] = []
    for sentence in sentences:
        encoding = tokenizer.encode(sentence, max_length=LENGTH)
        sample = {}
        for tensor in graph.inputs:
            values = np.zeros(tensor.shape, tensor.dtype)
            given = getattr(encoding, fields[tensor.name])
            values.reshape(-1)[: len(given)] = given
            sample[tensor.name] = values
        samples.append(sample)
    return samples


def squared_error(weights: Floats, packed: BlockWeights, moments: Reals | None = None) -> float:
    """Of all weights, or of the products with inputs of these second moments."""
    lost = packed.values().astype(np.float64) - weights
    return float((lost**2).sum() if moments is None else ((lost @ moments) * lost).sum())


def share_of_plain(
    graph: Graph, known: Sequence[Sample], judged: Sequence[Sample], progress: Progress
) -> list[list[str]]:
    """A line of the table for each scheme."""
    layers = float_layers(graph)
    knows = input_moments(graph, layers, known, progress.count) if known else {}
    judges = input_moments(graph, layers, judged, progress.count) if judged else {}
    lines = []
    for scheme in BLOCK:
        plain_error = searched_error = 0.0
        outputs, fed = [], []
        for number, w in enumerate(dict.fromkeys(node.input(1) for node in layers)):
            progress.count(f"{scheme}: matrix {number + 1}")
            assert w.data is not None
            matrix = np.asarray(w.data, np.float32).reshape(w.shape[0], -1)
            plain, searched = round_blocks(matrix, scheme), search_block_scales(matrix, scheme)
            plain_error += squared_error(matrix, plain)
            searched_error += squared_error(matrix, searched)
            if w in judges:
                base = squared_error(matrix, plain, judges[w])
                outputs.append(squared_error(matrix, searched, judges[w]) / base)
                packed = feed_back_errors(matrix, scheme, knows[w])
                fed.append(squared_error(matrix, packed, judges[w]) / base)
        cells = [f"{np.mean(x):.3f} {max(x):.3f}" if x else "- -" for x in (outputs, fed)]
        line = f"{scheme} {len(layers)} {searched_error / plain_error:.3f} {' '.join(cells)}"
        lines.append(line.split())
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="a float text model, .onnx")
    parser.add_argument("--sentences", type=Path, help="a file with one a line")
    options = parser.parse_args(arguments)
    data = options.model.read_bytes()
    graph = read("onnx", data, options.model.stem, sequence_length=LENGTH)
    if graph.problems:
        parser.error(f"{options.model}: {graph.problems[0]}")
    run_passes(graph)
    name_uniquely(graph)
    if not float_layers(graph):
        parser.error(f"{options.model} has no fully connected layers with float weights")
    known: list[Sample] = []
    judged: list[Sample] = []
    if options.sentences is not None:
        sentences = [s for s in options.sentences.read_text().splitlines() if s.strip()]
        samples = encoded(graph, Tokenizer(options.model.parent), sentences)
        judged = samples[::4]
        known = [sample for i, sample in enumerate(samples) if i % 4]
    with Progress() as progress:
        lines = share_of_plain(graph, known, judged, progress)
    print(format_table(TABLE, lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
