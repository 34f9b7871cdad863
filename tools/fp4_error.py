#!/usr/bin/env python3
"""What four bits cost the matrices of a float model: plain rounding, searched scales, feedback.

    python tools/fp4_error.py encoder.onnx                      # errors of weights
    python tools/fp4_error.py folder/model.onnx --sentences s.txt   # and of outputs

Prints, for MXFP4 and NVFP4, the squared error of all weights of fully connected layers and of what
these compute, as a share of plain rounding's, which is that of the formats' specifications, and of
llama.cpp's. The latter is that of its own package `gguf`, as far as that rounds (MXFP4), and is
left out where it is missing.

Outputs are those of each layer on inputs that the float model feeds it: three quarters of the
sentences (one a line) are what feedback knows, the rest is what all are judged on. The
tokenizer.json beside the model makes tokens of them. The figure is the mean over layers of each
one's share, and the worst layer's stands beside it.

Needs the `convert` and `text` extras. tools/export_text_model.py makes such a folder.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeinfer.cli.progress import Progress
from edgeinfer.convert.frontends import read
from edgeinfer.convert.graph import Graph, Node, Tensor
from edgeinfer.convert.passes import run_passes
from edgeinfer.convert.quantize.block_weights import BLOCK, Scheme
from edgeinfer.convert.quantize.calibration_data import MASK, filled_up
from edgeinfer.convert.quantize.choose_blocks import layers_for, round_blocks
from edgeinfer.convert.quantize.feed_back_errors import feed_back_errors
from edgeinfer.convert.quantize.fit_dynamic import counted_rows
from edgeinfer.convert.quantize.prepare_graph import name_uniquely
from edgeinfer.convert.quantize.run_graph import GraphRunner, Sample
from edgeinfer.convert.quantize.search_block_scales import search_block_scales
from edgeinfer.convert.quantize.text_samples import text_samples
from edgeinfer.printing import format_table
from edgeinfer.text import Tokenizer

Floats = npt.NDArray[np.float32]
Reals = npt.NDArray[np.float64]

LENGTH = 64
"""Tokens that the graph has room for; longer sentences lose their end."""
PLAIN, PEER, SEARCHED, FED_BACK = "plain", "llama.cpp", "searched", "fed back"
HEADER = [
    "scheme",
    "rounding",
    "weights / plain",
    "/ llama.cpp",
    "outputs / plain",
    "worst",
    "/ llama.cpp",
    "worst",
]


@dataclass
class Errors:
    """Squared errors of one way to round: of each matrix, and of what each computes."""

    weights: list[float] = field(default_factory=list)
    outputs: list[float] = field(default_factory=list)


def encoded(graph: Graph, tokenizer: Tokenizer, sentences: Sequence[str]) -> list[Sample]:
    """Inputs of a text model for each sentence."""
    inputs = graph.inputs
    return [
        {tensor.name: filled_up(sample[tensor.name], tensor, inputs) for tensor in inputs}
        for sample in text_samples(sentences, inputs, tokenizer)
    ]


def input_moments(
    graph: Graph, layers: Sequence[Node], samples: Sequence[Sample], progress: Progress
) -> dict[Tensor, Reals]:
    """Mean of x x' over the rows x [K] that layers are fed, by the layer's weights.

    Layers that share weights are taken together; tokens that are masked are left out.
    """
    sums: dict[Tensor, Reals] = {}
    counts: Counter[Tensor] = Counter()
    runner = GraphRunner(graph, list(dict.fromkeys(node.input(0).name for node in layers)))
    for number, sample in enumerate(samples):
        found = runner.run(sample)
        for node in layers:
            w, rows = node.input(1), counted_rows(found[node.input(0).name], sample.get(MASK))
            moments = (rows.T @ rows).astype(np.float64)
            sums[w] = sums[w] + moments if w in sums else moments
            counts[w] += len(rows)
        progress.count(f"looking at what layers read: sample {number + 1} of {len(samples)}")
    return {w: total / max(counts[w], 1) for w, total in sums.items()}


def squared_error(weights: Floats, rounded: Floats, moments: Reals | None = None) -> float:
    """Of all weights, or of the products with inputs of these second moments."""
    lost = rounded.astype(np.float64) - weights
    return float((lost**2).sum() if moments is None else ((lost @ moments) * lost).sum())


def rounded_by_llama_cpp(weights: Floats, scheme: Scheme) -> Floats | None:
    """What llama.cpp's quantiser makes of a matrix; None where `gguf` is missing, or has none.

    It takes whole blocks: what is filled up is cut off again.
    """
    try:
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants
    except ImportError:
        return None
    kind = getattr(GGMLQuantizationType, scheme.upper(), None)
    if kind is None:  # an older release
        return None
    block, k = GGML_QUANT_SIZES[kind][0], weights.shape[1]
    padded = np.pad(weights, ((0, 0), (0, -k % block)))
    try:
        codes = quants.quantize(padded, kind)
    except NotImplementedError:  # it only reads this one
        return None
    return np.asarray(quants.dequantize(codes, kind)[:, :k], np.float32)


def errors_of(
    graph: Graph, known: Sequence[Sample], judged: Sequence[Sample], progress: Progress
) -> dict[tuple[Scheme, str], Errors]:
    """By scheme and rounding; what is not to be had is missing."""
    layers = layers_for(graph, "mxfp4")
    knows = input_moments(graph, layers, known, progress) if known else {}
    judges = input_moments(graph, layers, judged, progress) if judged else {}
    found: dict[tuple[Scheme, str], Errors] = {}
    for scheme in BLOCK:
        for number, w in enumerate(dict.fromkeys(node.input(1) for node in layers)):
            progress.count(f"{scheme}: matrix {number + 1}")
            assert w.data is not None
            matrix = np.asarray(w.data, np.float32).reshape(w.shape[0], -1)
            made = {
                PLAIN: round_blocks(matrix, scheme).values(),
                PEER: rounded_by_llama_cpp(matrix, scheme),
                SEARCHED: search_block_scales(matrix, scheme).values(),
            }
            if w in knows:
                made[FED_BACK] = feed_back_errors(matrix, scheme, knows[w]).values()
            for rounding, values in made.items():
                if values is not None:
                    errors = found.setdefault((scheme, rounding), Errors())
                    errors.weights.append(squared_error(matrix, values))
                    if w in judges:
                        errors.outputs.append(squared_error(matrix, values, judges[w]))
    return found


def lines_of(found: dict[tuple[Scheme, str], Errors]) -> list[list[str]]:
    """The table: a line for each scheme and rounding."""
    lines = []
    for (scheme, rounding), errors in found.items():
        cells: dict[str, list[str]] = {"weights": [], "outputs": []}
        for base in (found.get((scheme, PLAIN)), found.get((scheme, PEER))):
            if base is None:
                cells["weights"] += ["-"]
                cells["outputs"] += ["-", "-"]
                continue
            cells["weights"] += [f"{sum(errors.weights) / sum(base.weights):.3f}"]
            shares = np.divide(errors.outputs, base.outputs)
            cells["outputs"] += (
                [f"{shares.mean():.3f}", f"{shares.max():.3f}"] if len(shares) else ["-", "-"]
            )
        lines.append([scheme, rounding, *cells["weights"], *cells["outputs"]])
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
    if not layers_for(graph, "mxfp4"):
        parser.error(f"{options.model} has no fully connected layers with float weights")
    known: list[Sample] = []
    judged: list[Sample] = []
    if options.sentences is not None:
        sentences = [s for s in options.sentences.read_text().splitlines() if s.strip()]
        samples = encoded(graph, Tokenizer(options.model.parent), sentences)
        judged = samples[::4]
        known = [sample for i, sample in enumerate(samples) if i % 4]
    with Progress() as progress:
        found = errors_of(graph, known, judged, progress)
    if ("mxfp4", PEER) not in found:
        print("llama.cpp's rounding is left out: pip install -U gguf", file=sys.stderr)
    print(f"{len(layers_for(graph, 'mxfp4'))} layers")
    print(format_table(HEADER, lines_of(found), right=range(2, len(HEADER))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
