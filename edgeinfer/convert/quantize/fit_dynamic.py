"""Weights of layers on float32, rounded for what samples make these layers read.

Layers that round each vector of their input when they run (`use_blocks`) need no samples, but do
better with some. Two models are fed the same samples: the float teacher, and the one that is being
made. Layer by layer, in order, weights and bias are chosen that make of what the made model feeds
the layer what the teacher makes at this place (`layer_moments`), and rounded with error feedback
(`feed_back_errors`). Where the layer's result is added to something else, as to the residual
stream of a transformer, it is the sum that shall be the teacher's: so errors of earlier layers are
made up for, too. Then the next layer is fed by what was rounded.

Of text, tokens that only fill up the sequence say nothing of what layers read: where a graph has an
input `attention_mask`, rows that it masks are left out. Several graphs, one for each length of the
sequence, are one model: a sample goes through the shortest that has room for it.

Left as they are without samples: weights that several layers share, since each of these reads
something else, and layers with too few rows for their covariance.

Not guaranteed: that better layers are better outputs. `fit_dynamic` sets samples aside to compare,
and takes what has less error there. Nor the same codes on another machine: covariances are NumPy's
products, whose order of sums is the machine's.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Graph, Node, Tensor
from edgeinfer.convert.passes.edit import constant, copied
from edgeinfer.convert.quantize.block_weights import BlockWeights
from edgeinfer.convert.quantize.calibration_data import (
    MASK,
    CalibrationData,
    CalibrationSource,
    load_calibration,
)
from edgeinfer.convert.quantize.channel_weights import ChannelWeights
from edgeinfer.convert.quantize.choose_blocks import (
    WeightScheme,
    block_tensor,
    layers_for,
    use_blocks,
)
from edgeinfer.convert.quantize.feed_back_errors import feed_back_channels, feed_back_errors
from edgeinfer.convert.quantize.graph_walk import GraphWalk
from edgeinfer.convert.quantize.layer_moments import LEAST_ROWS, LayerMoments
from edgeinfer.convert.quantize.observe import Progress
from edgeinfer.convert.quantize.prepare_graph import name_uniquely
from edgeinfer.convert.quantize.round_tables import round_tables
from edgeinfer.convert.quantize.run_graph import Array, GraphRunner, Sample
from edgeinfer.errors import InputError

Floats = npt.NDArray[np.float32]

MAX_ROWS = 32768
"""Rows of the sequence, filling included, that are held at a time; further samples are not used."""
DAMPING = 0.3
"""Part of the mean variance of a layer's inputs that keeps weights near where they were. On
sentences like the samples the outputs of MiniLM-L6 are as near to float with 0.01 as with 0.3, on
others they are nearer with 0.3 (docs/internals/quantization.md)."""
ROWS_AT_ONCE = 4096
"""Of which moments are taken in one product."""

OPTIONS = {
    "seed": "seed",
    "max_samples": "max_samples",
    "held_out": "held_out",
    "preprocessing": "preprocessing",
    "allow_thin_calibration": "allow_thin",
}
"""Options of `convert` that say how samples are read, and what `load_calibration` calls them."""


@dataclass(frozen=True, eq=False)
class FittedLayer:
    """What a layer has instead of its own weights and bias."""

    blocks: BlockWeights | ChannelWeights
    bias: Floats


@dataclass(frozen=True, eq=False)
class Fitted:
    """Weights by what they stand for, and what they are worth.

    scheme : of the weights.
    layers : by `layer_key`; none where searched weights are as good.
    samples, held_out : how many were fitted to, and how many judged.
    sqnr, sqnr_searched : of the model's outputs on held-out samples, in dB, with these layers, and
        with weights that no samples were looked at for.
    """

    scheme: WeightScheme
    layers: Mapping[bytes, FittedLayer]
    samples: int
    held_out: int
    sqnr: float
    sqnr_searched: float

    def use(self, graph: Graph) -> None:
        """Give the layers of a float graph of the model, at any length, what was found for them."""
        use_fitted(graph, self.scheme, self.layers)

    def described(self) -> dict[str, object]:
        """What the file's metadata says of it."""
        return {
            "activations": "dynamic",
            "weights": self.scheme,
            "layers": len(self.layers),
            "samples": self.samples,
            "held_out": self.held_out,
            "sqnr_db": round(self.sqnr, 2),
            "sqnr_db_without_samples": round(self.sqnr_searched, 2),
        }


def fit_source(
    graphs: Sequence[Graph],
    scheme: WeightScheme,
    calibration: CalibrationSource,
    options: Mapping[str, Any],
    progress: Progress | None = None,
) -> Fitted:
    """As `fit_dynamic`, with samples from any source.

    Parameters
    ----------
    options : of `calibration_data.load_calibration`, as `convert` calls them.

    Raises
    ------
    InputError
        One of the options is for static activations, or no layer takes such weights. Or the data
        cannot be used (`load_calibration`).
    """
    others = sorted(set(options) - set(OPTIONS))
    if others:
        raise InputError(
            f"{', '.join(others)}: for static activations; with dynamic ones calibration takes "
            f"{', '.join(OPTIONS)}"
        )
    given = {OPTIONS[name]: value for name, value in options.items()}
    data = load_calibration(calibration, graphs[0].inputs, **given)
    return fit_dynamic(graphs, scheme, data, progress)


def fit_dynamic(
    graphs: Sequence[Graph],
    scheme: WeightScheme,
    data: CalibrationData,
    progress: Progress | None = None,
) -> Fitted:
    """Round the weights of a model's layers by samples.

    Parameters
    ----------
    graphs : of one model, float, at each length of the sequence, the longest first; the passes have
        run. Names of tensors are made unique.
    data : samples that fit the longest, filled up with zeros behind what counts.

    Raises
    ------
    InputError
        A sample counts no token.
    """
    for graph in graphs:
        name_uniquely(graph)
    lengths = [_Length(graph, scheme) for graph in graphs]
    used = 0
    for sample in data.samples:
        length = _shortest(lengths, sample)
        used += length.rows
        if used > MAX_ROWS and used > length.rows:
            break
        length.samples.append(length.cut(sample))
    used_lengths = [length for length in lengths if length.samples]
    for length in used_lengths:
        length.begin()
    found = _fitted_layers(used_lengths, scheme, progress)
    judged = [(length, length.cut(s)) for s in data.held_out for length in [_shortest(lengths, s)]]
    if progress is not None:
        progress("comparing with weights that no samples were looked at for")
    sqnr, plain = _sqnr(judged, scheme, found), _sqnr(judged, scheme, {})
    samples = sum(len(length.samples) for length in lengths)
    return Fitted(scheme, found if sqnr > plain else {}, samples, len(judged), sqnr, plain)


def use_fitted(graph: Graph, scheme: WeightScheme, layers: Mapping[bytes, FittedLayer]) -> None:
    """Give the layers of a float graph, of any length, what was found for them."""
    for node in layers_for(graph, scheme):
        layer = layers.get(layer_key(node))
        if layer is not None:
            _replace(node, layer)


def layer_key(node: Node) -> bytes:
    """Tells a layer of one graph in another one of the same model: by its weights and bias."""
    digest = hashlib.sha256()
    for tensor in node.inputs[1:]:
        if tensor is not None and tensor.data is not None:
            digest.update(str(tensor.shape).encode())
            digest.update(np.ascontiguousarray(tensor.data).data.cast("B"))
    return digest.digest()


def counted_rows(x: Array, mask: Array | None) -> Floats:
    """Rows [rows, K] of what a layer reads, without those of tokens that are masked."""
    rows: Floats = np.ascontiguousarray(x, np.float32).reshape(-1, x.shape[-1])
    if mask is None or mask.size != len(rows):
        return rows
    return np.asarray(rows[mask.reshape(-1) != 0])


def rounded_vectors(rows: Floats) -> Floats:
    """Rows as the runtime rounds them: multiples of each one's largest magnitude / 127."""
    steps = np.abs(rows).max(axis=1, keepdims=True) / np.float32(127)
    steps[steps == 0] = 1
    return np.asarray(np.rint(rows / steps) * steps, np.float32)


class _Length:
    """The model at one length: the teacher, the model that is made, and samples on their way."""

    def __init__(self, graph: Graph, scheme: WeightScheme) -> None:
        self.graph = graph
        self.samples: list[Sample] = []
        self.made = copied(graph)
        self.theirs = layers_for(graph, scheme)
        self.ours = layers_for(self.made, scheme)
        keys = list(map(layer_key, self.theirs))
        times = Counter(keys)
        self.alone = {key: i for i, key in enumerate(keys) if times[key] == 1 and self._fits(i)}
        self.rows = graph.inputs[0].shape[1] if len(graph.inputs[0].shape) > 1 else 1

    def begin(self) -> None:
        """Start both models; what is not fitted is as it will be without samples."""
        round_tables(self.made)
        name_uniquely(self.made)
        self.teacher = GraphWalk(self.graph, self.samples)
        self.model = GraphWalk(self.made, self.samples)

    def cut(self, sample: Sample) -> Sample:
        """A sample of the longest graph without the filling that this one has no room for."""
        return {
            tensor.name: np.ascontiguousarray(sample[tensor.name][_corner(tensor)])
            for tensor in self.graph.inputs
        }

    def count(self, key: bytes) -> int:
        """Rows that a layer will be fed by all samples."""
        node = self.theirs[self.alone[key]]
        rows = int(np.prod(node.input(0).shape[:-1], dtype=np.int64))
        masks = [sample.get(MASK) for sample in self.samples]
        return sum(rows if m is None or m.size != rows else int(np.count_nonzero(m)) for m in masks)

    def collect(self, key: bytes, moments: LayerMoments) -> None:
        """What the layer is fed, and what it should make of it, over all samples."""
        theirs, ours = (side[self.alone[key]] for side in (self.theirs, self.ours))
        self.teacher.until(theirs)
        self.model.until(ours)
        beside = _added_to(self.graph, theirs)
        w = theirs.input(1).data
        assert w is not None
        read: list[Floats] = []
        wanted: list[Floats] = []
        for sample, exact, held in zip(
            self.samples, self.teacher.held, self.model.held, strict=True
        ):
            mask = sample.get(MASK)
            x, x_hat = exact[theirs.input(0).name], held[ours.input(0).name]
            y = counted_rows(x, mask) @ w.T
            if beside is not None and beside.name in exact and beside.name in held:
                y += counted_rows(exact[beside.name] - held[beside.name], mask)
            read.append(rounded_vectors(counted_rows(x_hat, mask)))
            wanted.append(y)
            if sum(map(len, read)) >= ROWS_AT_ONCE or sample is self.samples[-1]:
                moments.add(np.concatenate(read)[None], np.concatenate(wanted)[None])
                read, wanted = [], []

    def replace(self, key: bytes, layer: FittedLayer) -> None:
        """Let the model that is made have these weights."""
        _replace(self.ours[self.alone[key]], layer)

    def _fits(self, number: int) -> bool:
        bias = self.theirs[number].inputs[2:3]
        return all(t is None or t.data is not None for t in bias)


def _fitted_layers(
    lengths: Sequence[_Length], scheme: WeightScheme, progress: Progress | None
) -> dict[bytes, FittedLayer]:
    found: dict[bytes, FittedLayer] = {}
    first = lengths[0]
    keys = [key for key in first.alone if all(key in length.alone for length in lengths)]
    for number, key in enumerate(keys):
        if progress is not None:
            progress(f"rounding weights: layer {number + 1} of {len(keys)}")
        node = first.theirs[first.alone[key]]
        n, k = node.input(1).shape
        if sum(length.count(key) for length in lengths) < LEAST_ROWS * k:
            continue
        moments = LayerMoments.zeros(1, n, k, has_data=True)
        for length in lengths:
            length.collect(key, moments)
        found[key] = _rounded(node, scheme, moments)
        for length in lengths:
            length.replace(key, found[key])
    return found


def _rounded(node: Node, scheme: WeightScheme, moments: LayerMoments) -> FittedLayer:
    w = node.input(1).data
    assert w is not None
    wanted = moments.wanted(w.astype(np.float64)[None], DAMPING)
    assert wanted is not None
    (asked,), (covariance,) = wanted
    blocks: BlockWeights | ChannelWeights
    if scheme == "int8":
        blocks = feed_back_channels(asked, covariance)
    else:
        blocks = feed_back_errors(asked, scheme, covariance)
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    own = np.zeros(len(w)) if bias is None or bias.data is None else bias.data.reshape(-1)
    shift = moments.shift(blocks.values().astype(np.float64)[None])
    return FittedLayer(blocks, (own + shift).astype(np.float32))


def _replace(node: Node, layer: FittedLayer) -> None:
    weights = block_tensor(node.input(1), layer.blocks)
    node.inputs = [node.inputs[0], weights, constant(f"{node.output.name}/bias", layer.bias)]


def _added_to(graph: Graph, node: Node) -> Tensor | None:
    """What the layer's result is added to, where that is all that becomes of it."""
    readers = [n for n in graph.nodes if node.output in n.inputs]
    if node.activation is not None or len(readers) != 1 or node.output in graph.outputs:
        return None
    add = readers[0]
    if add.op != "add":
        return None
    others = [t for t in add.inputs if t is not None and t is not node.output]
    same = len(others) == 1 and others[0].shape == node.output.shape
    return others[0] if same and not others[0].is_constant else None


def _shortest(lengths: Sequence[_Length], sample: Sample) -> _Length:
    """The shortest graph that has room for what counts of a sample."""
    mask = sample.get(MASK)
    if mask is None or mask.ndim < 2:
        return lengths[0]
    counted = np.flatnonzero(np.any(mask != 0, axis=0))
    if not counted.size:
        raise InputError(f"calibration data: a sample's {MASK} is 0 throughout: no token counts")
    room = [length for length in lengths if length.rows > counted[-1]]
    return room[-1]


def _corner(tensor: Tensor) -> tuple[slice, ...]:
    return tuple(slice(0, size) for size in tensor.shape)


def _sqnr(
    judged: Sequence[tuple[_Length, Sample]],
    scheme: WeightScheme,
    layers: Mapping[bytes, FittedLayer],
) -> float:
    """Of the outputs, in dB, over samples."""
    signal, noise = 0.0, 1e-30
    for length in dict.fromkeys(length for length, _ in judged):
        made = copied(length.graph)
        use_fitted(made, scheme, layers)
        use_blocks(made, scheme)
        round_tables(made)
        name_uniquely(made)
        teacher, model = GraphRunner(length.graph), GraphRunner(made)
        for sample in [sample for at, sample in judged if at is length]:
            theirs, ours = teacher.run(sample), model.run(sample)
            for name, values in theirs.items():
                if values.dtype.kind == "f" and values.ndim:
                    exact, found = (counted_rows(v, sample.get(MASK)) for v in (values, ours[name]))
                    signal += float(np.sum(exact.astype(np.float64) ** 2))
                    noise += float(np.sum((exact.astype(np.float64) - found) ** 2))
    return 10 * float(np.log10(max(signal, 1e-30) / noise))
