"""Which layers and tables of a float model have four bits, and which int8, without samples.

Layers that round vectors when they run (`use_blocks`) and embedding tables (`round_tables`) may
have either. What four bits cost one of them is measured on inputs that are made up
(`synthetic_inputs`): the float model runs with this one's weights replaced by what four bits make
of them, all others as they are, and the squared difference at its outputs, as a share of their
energy, is its loss. `choose_schemes` does the rest. Weights in int8, and activations that are
rounded, are taken to cost nothing beside that.

Weights are known by their contents, so that programs of several lengths agree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgeinfer.convert.graph import Graph, Node, Tensor
from edgeinfer.convert.lower.lower_graph import lower
from edgeinfer.convert.lower.pack import TILE_CHANNELS, TILE_K
from edgeinfer.convert.lower.pack_fp4 import tile_bytes
from edgeinfer.convert.passes.edit import copied
from edgeinfer.convert.program import constant_bytes
from edgeinfer.convert.quantize.channel_weights import MOST_K, round_channels
from edgeinfer.convert.quantize.choose_blocks import (
    WeightScheme,
    block_tensor,
    layers_for,
    saves_bytes,
    use_blocks,
)
from edgeinfer.convert.quantize.choose_schemes import Candidate, in_int8
from edgeinfer.convert.quantize.mix_schemes import reasons_of, refuse_size
from edgeinfer.convert.quantize.prepare_graph import layer_name, name_uniquely
from edgeinfer.convert.quantize.quantize_graph import require_layers
from edgeinfer.convert.quantize.round_tables import large_tables, round_tables
from edgeinfer.convert.quantize.run_graph import Array, GraphRunner, Sample
from edgeinfer.convert.quantize.search_block_scales import search_block_scales
from edgeinfer.convert.quantize.synthetic_inputs import synthetic_inputs

SAMPLES = 4
"""Made up, on which losses are measured."""


@dataclass(frozen=True)
class DynamicSchemes:
    """Schemes of a float model's weights.

    scheme : of layers whose weights are not named in `int8`.
    tables : of large tables that are not.
    int8 : the others by `weights_key`, with the name of a layer that reads them and the reason.
    budget : the most bytes that constants may take; None for no limit.
    """

    scheme: WeightScheme
    tables: WeightScheme = "int8"
    int8: Mapping[bytes, tuple[str, str]] = field(default_factory=dict)
    budget: int | None = None

    def apply(self, graph: Graph) -> int:
        """Give a float graph such weights; returns how many layers and tables have them."""
        keys = _keys(graph, self.int8)
        kept = [tensor for tensor, key in keys.items() if key in self.int8]
        made: dict[Tensor, Tensor] = {}
        for node in layers_for(graph, self.scheme):
            w = node.input(1)
            if w in kept:
                if w not in made:
                    assert w.data is not None
                    made[w] = block_tensor(w, round_channels(w.data))
                node.inputs[1] = made[w]
        return use_blocks(graph, self.scheme) + round_tables(graph, self.tables, kept)

    def described(self) -> dict[str, object]:
        """What the file's metadata says."""
        found: dict[str, object] = {"scheme": self.scheme, "tables": self.tables}
        if self.int8:
            found["int8"] = dict(sorted(self.int8.values()))
        if self.budget is not None:
            found["budget"] = self.budget
        return found


def weights_key(tensor: Tensor) -> bytes:
    """Tells weights of one graph in another one of the same model."""
    assert tensor.data is not None
    digest = hashlib.sha256(str(tensor.shape).encode())
    digest.update(np.ascontiguousarray(tensor.data).data.cast("B"))
    return digest.digest()


def dynamic_schemes(
    graph: Graph,
    scheme: WeightScheme,
    *,
    tables: bool = False,
    int8: Collection[str] = (),
    budget: int | None = None,
    others: Sequence[Graph] = (),
    sized: Callable[[Sequence[Graph]], int] | None = None,
    progress: Callable[[str], None] | None = None,
) -> DynamicSchemes:
    """Decide on the schemes of a float graph on which the passes have run.

    Parameters
    ----------
    tables : whether large tables have the scheme too where there is no budget, and not int8.
    int8 : names of layers (`prepare_graph.layer_name`) that are int8 in any case.
    budget : the most bytes that constants of all graphs' programs may take together.
    others : graphs of the same model at other lengths, which the file has too.
    sized : what constants of such graphs take in a file, `file_bytes` by default.

    Raises
    ------
    InputError
        `int8` names a layer that there is not.
    BudgetError
        Four bits everywhere do not fit the budget.
    """
    require_layers(graph, int8)
    found = _weights(graph, scheme)
    asked = {
        weights.key: (name, "asked for")
        for weights in found
        for name in weights.names
        if name in int8
    }
    if budget is None:
        return DynamicSchemes(scheme, scheme if tables else "int8", asked)
    free = [weights for weights in found if weights.key not in asked]
    plain = DynamicSchemes(scheme, scheme, {**asked, **{w.key: ("", "") for w in free}})
    graphs = [copied(g) for g in (graph, *others)]
    for made in graphs:
        plain.apply(made)
    most = (sized or file_bytes)(graphs)
    sizes = [_sizes(weights, scheme) for weights in free]
    least = most - sum(large - small for small, large in sizes)
    if least > budget:
        raise refuse_size(graph.name, least, budget, scheme)
    if most <= budget:
        room = "weights budget: there is room for int8"
        kept = {w.key: (w.names[0], room) for w in free}
        return DynamicSchemes(scheme, scheme, {**asked, **kept}, budget)
    losses = [0.0] * len(free)
    if least < budget:
        losses = _losses(graph, free, scheme, progress)
    candidates = {
        Candidate(weights.names, loss, *size): weights.key
        for weights, loss, size in zip(free, losses, sizes, strict=True)
    }
    chosen = in_int8(list(candidates), budget - most + sum(large for _, large in sizes))
    reasons = reasons_of(chosen, scheme, "weights budget")
    kept = {candidates[c]: (c.names[0], reasons[c.names[0]]) for c in chosen}
    return DynamicSchemes(scheme, scheme, {**asked, **kept}, budget)


def file_bytes(graphs: Sequence[Graph]) -> int:
    """Bytes of the constants that the graphs' programs read."""
    return constant_bytes(lower(graph).program for graph in graphs)


@dataclass(frozen=True, eq=False)
class _Weights:
    """A matrix that may be in four bits or in int8, and what reads it."""

    key: bytes
    tensors: list[Tensor]
    readers: list[Node]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(map(layer_name, self.readers))


def _weights(graph: Graph, scheme: WeightScheme) -> list[_Weights]:
    if scheme == "int8":
        return []
    read = [(node.input(1), node) for node in layers_for(graph, scheme)]
    read = [(tensor, node) for tensor, node in read if tensor.shape[1] <= MOST_K]
    for node in large_tables(graph):
        data = node.input(0).data
        if data is not None and saves_bytes(data, scheme):
            read.append((node.input(0), node))
    keys = {tensor: weights_key(tensor) for tensor, _ in read}
    found: dict[bytes, _Weights] = {}
    for tensor, node in read:
        weights = found.setdefault(keys[tensor], _Weights(keys[tensor], [], []))
        weights.readers.append(node)
        if tensor not in weights.tensors:
            weights.tensors.append(tensor)
    return list(found.values())


def _keys(graph: Graph, wanted: Collection[bytes]) -> dict[Tensor, bytes]:
    """Keys of the weights and tables of a graph; none where nobody asks."""
    if not wanted:
        return {}
    read = {node.input(1) for node in layers_for(graph, "int8")}
    read |= {node.input(0) for node in large_tables(graph)}
    return {tensor: weights_key(tensor) for tensor in read}


def _sizes(weights: _Weights, scheme: WeightScheme) -> tuple[int, int]:
    """Bytes in four bits, and in int8: of products packed by 16 rows, of tables as they are."""
    assert scheme != "int8"
    rows, k = weights.tensors[0].shape
    tiles = -(-rows // TILE_CHANNELS)
    small, large = tiles * tile_bytes(k, scheme), 0
    ops = {node.op for node in weights.readers}
    if ops != {"gather"}:
        large += tiles * TILE_CHANNELS * -(-k // TILE_K) * TILE_K
    if "gather" in ops:
        large += rows * (k + 4)  # with a scale each
    if ops == {"gather"}:
        small += tiles * TILE_CHANNELS * 4  # a factor each, which products have in any case
    return small, large


def _losses(
    graph: Graph,
    weights: Sequence[_Weights],
    scheme: WeightScheme,
    progress: Callable[[str], None] | None,
) -> list[float]:
    """What four bits in these weights alone change at the outputs, as a share of their energy."""
    assert scheme != "int8"
    teacher = copied(graph)
    name_uniquely(teacher)
    samples = synthetic_inputs(teacher, SAMPLES)
    expected = _outputs(teacher, samples)
    losses = []
    for number, matrix in enumerate(weights):
        if progress is not None:
            progress(f"measuring four bits: weights {number + 1} of {len(weights)}")
        first = matrix.tensors[0]
        assert first.data is not None
        values = search_block_scales(first.data, scheme).values()
        trial = copied(teacher)
        for tensor in matrix.tensors:
            rounded = Tensor(tensor.name, tensor.shape, tensor.dtype, None, values)
            for node in trial.nodes:
                node.inputs = [rounded if t is tensor else t for t in node.inputs]
        losses.append(_difference(expected, _outputs(trial, samples)))
    return losses


def _outputs(graph: Graph, samples: Sequence[Sample]) -> dict[str, Array]:
    runner = GraphRunner(graph)
    made = [runner.run(sample) for sample in samples]
    names = [t.name for t in dict.fromkeys(graph.outputs) if t.dtype == "float32"]
    return {name: np.stack([row[name] for row in made]).astype(np.float64) for name in names}


def _difference(expected: Mapping[str, Array], found: Mapping[str, Array]) -> float:
    shares = [
        float(((found[name] - y) ** 2).sum()) / (float((y**2).sum()) or 1.0)
        for name, y in expected.items()
    ]
    return sum(shares)
