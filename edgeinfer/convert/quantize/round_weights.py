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
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Graph, Node, Tensor
from edgeinfer.convert.passes.edit import copied
from edgeinfer.convert.quantize.block_weights import BlockWeights, Scheme, joined
from edgeinfer.convert.quantize.choose_blocks import ChosenBlocks
from edgeinfer.convert.quantize.correct_bias import add_to_bias, layers_to_correct
from edgeinfer.convert.quantize.descend import compiled_descend
from edgeinfer.convert.quantize.feed_back_errors import feed_back_errors
from edgeinfer.convert.quantize.float_model import FloatModel
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

DAMPING, DAMPING_PER_INPUT = 0.01, 0.1
"""Parts of the mean variance of a layer's inputs, the second times weights per row of data: keeps
weights near where they were along what data says little of."""
LEAST_ROWS = 2
"""Rows of data for each weight of a channel; with fewer, rounding fits the samples, and is left."""
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


@dataclass(eq=False)
class _Moments:
    """Sums over output positions: of x^, of y = w x, and of their products."""

    x: Reals  # [groups, K]
    y: Reals  # [groups, outputs]
    h: Floats | None  # x^ x^ [groups, K, K]; None where there is too little data for it
    g: Floats | None  # y x^ [groups, outputs, K]
    count: int = 0

    def add(self, x_hat: Floats, y: Floats) -> None:
        """Rows of what the layer is fed, and of what it should make."""
        self.x += x_hat.sum(axis=1, dtype=np.float64)
        self.y += y.sum(axis=1, dtype=np.float64)
        self.count += x_hat.shape[1]
        if self.h is not None and self.g is not None:
            self.h += x_hat.transpose(0, 2, 1) @ x_hat
            self.g += y.transpose(0, 2, 1) @ x_hat

    def covariances(self) -> tuple[Floats, Reals] | None:
        """Of x^ with itself, and of y with x^; None where there is too little data."""
        if self.h is None or self.g is None:
            return None
        mean_x, mean_y = self.x / self.count, self.y / self.count
        h = self.h / np.float32(self.count)
        h -= (mean_x[:, :, None] * mean_x[:, None, :]).astype(np.float32)
        return h, self.g / self.count - mean_y[:, :, None] * mean_x[:, None, :]

    def shift(self, weights: Reals) -> Reals:
        """What a bias must add for weights [groups, outputs, K] to have the mean of y."""
        made = np.einsum("gok,gk->go", weights, self.x / self.count)
        return np.asarray(self.y / self.count - made).reshape(-1)


def _collect(
    teacher: FloatModel,
    result: QuantizedGraph,
    block: Mapping[Node, bool],
    samples: Sequence[Sample],
    seed: int,
) -> dict[str, _Moments]:
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


def _zeros(node: Node, samples: int) -> _Moments:
    groups, outputs, k = grouped_shape(node)
    means = np.zeros((groups, k)), np.zeros((groups, outputs))
    if not _has_data(node, samples):
        return _Moments(*means, None, None)
    h, g = np.zeros((groups, k, k), np.float32), np.zeros((groups, outputs, k), np.float32)
    return _Moments(*means, h, g)


def _has_data(node: Node, samples: int) -> bool:
    return positions(node) * samples >= LEAST_ROWS * grouped_shape(node)[2]


def _choose(node: Node, samples: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    k = grouped_shape(node)[2]
    share = -(-(ROWS_BASE + ROWS_PER_INPUT * k) // samples)
    every = positions(node)
    return np.arange(every) if every <= share else np.sort(rng.choice(every, share, replace=False))


def _rounded(node: Node, weights: ChosenWeights, moments: _Moments) -> tuple[ChosenWeights, Reals]:
    """New integers, and what the bias has to make up for."""
    q = grouped(node, weights.values).copy()
    s = weights.scales.astype(np.float64).reshape(q.shape[:2])
    covariances = moments.covariances()
    if covariances is not None:
        _descend(node, q, s, *covariances, moments.count)
    shift = moments.shift(q * s[:, :, None])
    return ChosenWeights(ungrouped(node, q), weights.scales), shift


def _with_blocks(
    node: Node, weights: ChosenWeights, moments: _Moments
) -> tuple[ChosenWeights, Reals]:
    """New blocks, where a layer has some, and what the bias has to make up for."""
    if not isinstance(weights, ChosenBlocks):
        s = weights.scales.astype(np.float64).reshape(*moments.y.shape, 1)
        return weights, moments.shift(grouped(node, weights.values) * s)
    w = node.input(1)
    assert w.data is not None
    matrix = np.asarray(w.data, np.float32).reshape(w.shape[0], -1)
    covariances = moments.covariances()
    if covariances is None:
        blocks = search_block_scales(matrix, weights.blocks.scheme)
    else:
        blocks = _fed_back(node, weights.blocks.scheme, *covariances, moments.count)
    values = blocks.values().astype(np.float64).reshape(*moments.y.shape, -1)
    return replace(weights, blocks=blocks), moments.shift(values)


def _fed_back(node: Node, scheme: Scheme, h: Floats, g: Reals, count: int) -> BlockWeights:
    """Blocks of the weights that covariances ask for, rounded by the same covariances."""
    w = node.input(1)
    assert w.data is not None
    exact = grouped(node, w.data).astype(np.float64)
    damping = _damping(h, count)
    parts = []
    for weights, x_x, y_x, added in zip(exact, h.astype(np.float64), g, damping, strict=True):
        x_x[np.diag_indices(len(x_x))] += added
        wanted = weights
        if added > 0:
            wanted = weights + np.linalg.solve(x_x, (y_x + added * weights - weights @ x_x).T).T
        parts.append(feed_back_errors(wanted.astype(np.float32), scheme, x_x))
    return joined(parts)


def _damping(h: Floats, count: int) -> Reals:
    """What is added to the diagonal of each group's covariance."""
    share = DAMPING + DAMPING_PER_INPUT * h.shape[1] / count
    return np.asarray(share * np.einsum("gkk->gk", h).mean(axis=1, dtype=np.float64))


def _descend(
    node: Node, q: npt.NDArray[np.int8], s: Reals, h: Floats, g: Reals, count: int
) -> None:
    """Change q to what the covariances ask for."""
    w = node.input(1)
    assert w.data is not None
    exact = grouped(node, w.data).astype(np.float64)
    diagonal = np.einsum("gkk->gk", h)
    damping = _damping(h, count)
    diagonal += damping[:, None].astype(np.float32)
    steps = exact / s[:, :, None]
    low = np.clip(np.floor(steps), -LIMIT, LIMIT).astype(np.int8)
    high = np.clip(np.ceil(steps), -LIMIT, LIMIT).astype(np.int8)
    r = g + damping[:, None, None] * exact
    r -= ((q * s[:, :, None]).astype(np.float32) @ h).astype(np.float64)
    compiled_descend()(q, low, high, h, r, s, PASSES)
