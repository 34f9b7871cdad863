"""Adaptive rounding: weights go up or down so that layers answer like the float teacher's.

To the nearest integer is the best rounding of a weight alone, not of a sum of products: errors of
weights whose inputs go together can cancel. For each output channel the integers q minimise

    E | w x - s q x^ - shift |^2  +  damping | w - s q |^2

over the calibration samples: x is what the float teacher feeds the layer, x^ what the quantised
model feeds it, so the layer also makes up for errors of those before it; the shift goes into its
bias. That is the objective of AdaRound (M. Nagel et al., "Up or down? Adaptive rounding for
post-training quantization", ICML 2020), layer by layer against the float model. With H the
covariance of x^ it is quadratic in q, and is solved where it is discrete, by coordinate descent
from the nearest integers: one weight at a time to its best integer beside w / s, until none gains.
Every step lowers the error, so the result is never worse on these samples than where it began, and
nothing is random but the choice of positions, which the seed decides.

Weights of four bits (`choose_blocks`) go another way to the same end, since what they may become
depends on their block's scale: the real weights that minimise this are rounded with error feedback
(`feed_back_errors`).

Layers are taken in blocks, in order, one layer each where the model is small enough; behind each
block the quantised model is run anew, so that the next one sees what it really will be fed. A layer
that reads what an earlier one of its block makes is given x for x^: else both would make up for one
error. Layers with too little data for their covariance keep their integers and get the shift only.

Not guaranteed: that a lower error of each layer is a lower one at the outputs. `post_training` sets
samples aside to compare. Nor the same integers on another machine: covariances are NumPy's products
of float32, whose order of sums is the machine's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Graph, Node, Tensor
from edgeinfer.convert.passes.edit import copied
from edgeinfer.convert.quantize.block_weights import joined
from edgeinfer.convert.quantize.choose_blocks import ChosenBlocks
from edgeinfer.convert.quantize.correct_bias import add_to_bias, layers_to_correct
from edgeinfer.convert.quantize.descend import compiled_descend
from edgeinfer.convert.quantize.feed_back_errors import feed_back_errors
from edgeinfer.convert.quantize.float_model import FloatModel
from edgeinfer.convert.quantize.layer_moments import LEAST_ROWS, LayerMoments, damping
from edgeinfer.convert.quantize.layer_patches import (
    grouped,
    grouped_shape,
    patches,
    positions,
    ungrouped,
)
from edgeinfer.convert.quantize.measure import real_values
from edgeinfer.convert.quantize.measure_layers import fed
from edgeinfer.convert.quantize.observe import Progress
from edgeinfer.convert.quantize.prepare_graph import layer_name
from edgeinfer.convert.quantize.quantize_graph import QuantizedGraph
from edgeinfer.convert.quantize.quantize_weights import LIMIT, ChosenWeights
from edgeinfer.convert.quantize.run_graph import GraphRunner, Sample
from edgeinfer.convert.quantize.search_block_scales import search_block_scales

Floats = npt.NDArray[np.float32]
Reals = npt.NDArray[np.float64]

PASSES = 20
PRODUCTS = 3e12
"""Multiplications that running the models again may take: it bounds blocks, and so the time."""
BLOCK_BYTES = 384 << 20
"""Of covariances that are collected at once."""
ROWS_BASE, ROWS_PER_INPUT = 4096, 2
"""Output positions that are looked at: so many, and so many more for each weight of a channel."""

Quantize = Callable[[Graph, Mapping[str, ChosenWeights]], QuantizedGraph]
"""Makes the quantised graph of a float graph with these weights."""


def round_weights(
    teacher: FloatModel,
    result: QuantizedGraph,
    quantize: Quantize,
    samples: Sequence[Sample],
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> QuantizedGraph:
    """Round the weights of a quantised graph again.

    Parameters
    ----------
    teacher : the float model that `result` was made from.
    quantize : makes such a graph, of the teacher's with other biases and of given weights.

    Raises
    ------
    MissingExtraError
        numba is not installed, and all weights are int8. Beside layers of four bits, those that are
        int8 keep their integers.
    """
    graph = copied(teacher.graph)
    weights = dict(result.weights)
    if not any(isinstance(chosen, ChosenBlocks) for chosen in weights.values()):
        compiled_descend()
        rounded = _rounded
    else:
        rounded = _with_blocks
    layers = [node for node in layers_to_correct(graph) if layer_name(node) in weights]
    blocks = _blocks(layers, len(samples))
    readable = _Readable(graph)
    for number, block in enumerate(blocks):
        if progress is not None:
            progress(f"rounding weights: block {number + 1} of {len(blocks)}")
        moments = _collect(teacher, result, readable.of(block), samples, seed)
        for node in block:
            name = layer_name(node)
            weights[name], shift = rounded(node, weights[name], moments[name])
            add_to_bias(node, shift)
        result = quantize(graph, weights)
    return result


def _blocks(layers: Sequence[Node], samples: int) -> list[list[Node]]:
    """Layers in order, in few blocks whose covariances fit."""
    blocks: list[list[Node]] = []
    products = 2 * samples * sum(positions(n) * int(np.prod(n.input(1).shape)) for n in layers)
    size, most = 0, -(-len(layers) // max(1, int(PRODUCTS / max(products, 1))))
    for node in layers:
        groups, _, k = grouped_shape(node)
        nbytes = groups * k * k * 4 if _has_data(node, samples) else 0
        if not blocks or len(blocks[-1]) >= most or size + nbytes > BLOCK_BYTES:
            blocks.append([])
            size = 0
        blocks[-1].append(node)
        size += nbytes
    return blocks


def _collect(
    teacher: FloatModel,
    result: QuantizedGraph,
    block: Mapping[Node, bool],
    samples: Sequence[Sample],
    seed: int,
) -> dict[str, LayerMoments]:
    """Moments of every layer of a block, over positions of all samples.

    Parameters
    ----------
    block : for every layer, whether x^ is what the quantised model feeds it.
    """
    producers = result.graph.producers()
    fed_by = {n: producers[result.stored[layer_name(n)]].input(0) for n in block}
    wanted = list(dict.fromkeys(node.input(0).name for node in block))
    ours = GraphRunner(teacher.graph, wanted)
    theirs = GraphRunner(result.graph, list(dict.fromkeys(t.name for t in fed_by.values())))
    moments = {layer_name(node): _zeros(node, len(samples)) for node in block}
    for number, sample in enumerate(samples):
        exact, stored = ours.run(sample), theirs.run(fed(result.graph, sample))
        for node in block:
            rng = np.random.default_rng([seed, number, positions(node)])
            chosen = _choose(node, len(samples), rng)
            x = x_hat = patches(node, exact[node.input(0).name], chosen)
            if block[node]:
                tensor = fed_by[node]
                real = real_values(stored[tensor.name], tensor.quantization)
                x_hat = patches(node, real.astype(np.float32), chosen)
            w = node.input(1)
            assert w.data is not None
            y = x @ grouped(node, w.data).transpose(0, 2, 1)
            moments[layer_name(node)].add(x_hat, y)
    return moments


class _Readable:
    """Which layers of a block read nothing that another layer of it has a part in."""

    def __init__(self, graph: Graph) -> None:
        self._nodes = graph.nodes

    def of(self, block: Sequence[Node]) -> dict[Node, bool]:
        changed: set[Tensor] = set()
        found = {}
        for node in self._nodes:
            reads_changed = any(tensor in changed for tensor in node.inputs if tensor is not None)
            if node in block:
                found[node] = not reads_changed
            if reads_changed or node in block:
                changed.update(node.outputs)
        return found


def _zeros(node: Node, samples: int) -> LayerMoments:
    return LayerMoments.zeros(*grouped_shape(node), has_data=_has_data(node, samples))


def _has_data(node: Node, samples: int) -> bool:
    return positions(node) * samples >= LEAST_ROWS * grouped_shape(node)[2]


def _choose(node: Node, samples: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    k = grouped_shape(node)[2]
    share = -(-(ROWS_BASE + ROWS_PER_INPUT * k) // samples)
    every = positions(node)
    return np.arange(every) if every <= share else np.sort(rng.choice(every, share, replace=False))


def _rounded(
    node: Node, weights: ChosenWeights, moments: LayerMoments
) -> tuple[ChosenWeights, Reals]:
    """New integers, and what the bias has to make up for."""
    q = grouped(node, weights.values).copy()
    s = weights.scales.astype(np.float64).reshape(q.shape[:2])
    covariances = moments.covariances()
    if covariances is not None:
        _descend(node, q, s, *covariances, moments.count)
    shift = moments.shift(q * s[:, :, None])
    return ChosenWeights(ungrouped(node, q), weights.scales), shift


def _with_blocks(
    node: Node, weights: ChosenWeights, moments: LayerMoments
) -> tuple[ChosenWeights, Reals]:
    """New blocks, where a layer has some, and what the bias has to make up for."""
    if not isinstance(weights, ChosenBlocks):
        s = weights.scales.astype(np.float64).reshape(*moments.y.shape, 1)
        return weights, moments.shift(grouped(node, weights.values) * s)
    w = node.input(1)
    assert w.data is not None
    matrix = np.asarray(w.data, np.float32).reshape(w.shape[0], -1)
    wanted = moments.wanted(grouped(node, w.data).astype(np.float64))
    scheme = weights.blocks.scheme
    if wanted is None:
        blocks = search_block_scales(matrix, scheme)
    else:
        blocks = joined([feed_back_errors(v, scheme, h) for v, h in zip(*wanted, strict=True)])
    values = blocks.values().astype(np.float64).reshape(*moments.y.shape, -1)
    return replace(weights, blocks=blocks), moments.shift(values)


def _descend(
    node: Node, q: npt.NDArray[np.int8], s: Reals, h: Floats, g: Reals, count: int
) -> None:
    """Change q to what the covariances ask for."""
    w = node.input(1)
    assert w.data is not None
    exact = grouped(node, w.data).astype(np.float64)
    diagonal = np.einsum("gkk->gk", h)
    added = damping(h, count)
    diagonal += added[:, None].astype(np.float32)
    steps = exact / s[:, :, None]
    low = np.clip(np.floor(steps), -LIMIT, LIMIT).astype(np.int8)
    high = np.clip(np.ceil(steps), -LIMIT, LIMIT).astype(np.int8)
    r = g + added[:, None, None] * exact
    r -= ((q * s[:, :, None]).astype(np.float32) @ h).astype(np.float64)
    compiled_descend()(q, low, high, h, r, s, PASSES)
