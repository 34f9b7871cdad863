"""Structured pruning: output channels are removed, and the layers behind make up for them.

For each layer whose channels can be removed (`channel_groups`), in order:

1. Both models run on calibration samples: the float teacher, and the model pruned so far. Of every
   layer that reads the channels are collected, over output positions, the covariance A of what the
   pruned model feeds it (x^), and that of what the teacher's makes (y = w x) with x^.
2. Channels go one by one. To go without a channel's weights w_c, when all others may change to make
   up for it, costs w_c (P_cc)^-1 w_c^T, with P = A^-1; the cheapest goes, and w and P become what
   they are without it. (B. Hassibi and D. Stork, "Second order derivatives for network pruning:
   Optimal brain surgeon", NIPS 1992, for channels in the place of weights.) Of several readers,
   costs are added, each relative to the power of what it makes.
3. Of the readers' weights for the channels that are left, the least squares solution

       E | y - w' x^ - shift |^2  +  damping | w' - w |^2

   is taken, the shift goes into the bias. So channels that are zero, constant away from borders, or
   sums of others are removed at no cost.

How many. Weights are packed in tiles of `TILE` output channels, so layers become faster in steps of
that, though any channel saves its reader's inputs. Of the two multiples around what is asked for
the smaller is taken where it adds little to the predicted error (`LITTLE`, `NOTHING`), else the
larger; what is asked for itself, where the larger would remove nothing.

Not guaranteed: accuracy. A trained network has few channels to spare, and nothing here trains it
again. Layers see too little data where they run once per sample; damping holds their weights then.
As for `round_weights`, sums are the machine's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Graph, Node, Tensor
from edgeinfer.convert.passes.edit import constant, copied
from edgeinfer.convert.quantize.channel_groups import ChannelGroup, Ints, channel_groups, spread
from edgeinfer.convert.quantize.correct_bias import add_to_bias
from edgeinfer.convert.quantize.layer_patches import grouped, patches, positions
from edgeinfer.convert.quantize.observe import Progress
from edgeinfer.convert.quantize.prepare_graph import layer_name
from edgeinfer.convert.quantize.run_graph import GraphRunner, Sample
from edgeinfer.errors import InputError

Reals = npt.NDArray[np.float64]

TILE = 16
LITTLE = 0.25
"""The part that more channels, down to a multiple of `TILE`, may add to the predicted error."""
NOTHING = 1e-3
"""A predicted error, relative to the power of what readers make, that INT8 adds anyway: 30 dB."""
DAMPING, DAMPING_OF_FEW = 1e-6, 0.1
"""Parts of the mean variance of a layer's inputs; the second times the fourth power of weights per
row of data, of which layers that run once per sample have few."""
MAX_SAMPLES = 128
ROWS_BASE, ROWS_PER_INPUT = 4096, 8
"""Output positions that are looked at: so many, and so many more for each weight of a channel."""


@dataclass(frozen=True, eq=False)
class Pruned:
    """A graph with fewer channels.

    Attributes
    ----------
    graph : a copy; names are those of the graph it was made from.
    kept : for every tensor that lost channels, where those that are left lie in its last axis.
    layers : channels before and after, of every layer that lost some, by name.
    left : why each other layer with weights was left alone, by name.
    share : what was asked for.
    """

    graph: Graph
    kept: dict[str, Ints]
    layers: dict[str, tuple[int, int]]
    left: dict[str, str]
    share: float

    def described(self) -> dict[str, Any]:
        """As reports and metadata have it."""
        layers = [{"name": n, "before": a, "after": b} for n, (a, b) in self.layers.items()]
        left = [{"name": name, "reason": reason} for name, reason in self.left.items()]
        return {"share": self.share, "layers": layers, "left_alone": left}


def prune_channels(
    graph: Graph,
    samples: Sequence[Sample],
    share: float,
    *,
    reconstruct: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
) -> Pruned:
    """Remove output channels of every layer that allows it.

    Parameters
    ----------
    graph : float, prepared; not changed.
    share : of the channels of each layer, above 0 and below 1.
    reconstruct : False leaves the readers' weights and biases as they are: to see what that does.
    seed : decides which output positions are looked at.

    Raises
    ------
    InputError
        The share is none; or no layer's channels can be removed, or none need be for this share.
    """
    refuse_share(share)
    result = copied(graph)
    groups, left = channel_groups(result)
    if not groups:
        raise InputError(
            f"prune: {graph.name} has no layer whose output channels can be removed{_why(left)}"
        )
    if len(samples) > MAX_SAMPLES:
        samples = [samples[i * len(samples) // MAX_SAMPLES] for i in range(MAX_SAMPLES)]
    teacher = {layer_name(node): node for node in graph.nodes}
    pruned = Pruned(result, {}, {}, left, share)
    for number in range(len(groups)):
        if progress is not None:
            progress(f"pruning channels: layer {number + 1} of {len(groups)}")
        # Tensors have been replaced by narrower ones since the groups were found.
        group = channel_groups(result)[0][number]
        name, channels = layer_name(group.maker), group.channels
        asked = round(share * channels)
        if not asked:
            left[name] = f"{share:g} of {channels} channels is none"
            continue
        readers = _collect(graph, teacher, result, group, samples, seed)
        order, costs = _order(readers, channels, _most(channels, asked))
        count = _count(channels, asked, costs)
        kept = np.setdiff1d(np.arange(channels), order[:count])
        for reader in readers:
            _reconstruct(reader, spread(kept, channels, reader.inputs), reconstruct)
        pruned.kept.update(_apply(result, group, kept))
        pruned.layers[name] = (channels, len(kept))
    if not pruned.layers:
        raise InputError(
            f"prune: {share:g} of the channels of every layer is none; give a larger share"
        )
    return pruned


def refuse_share(share: float) -> None:
    """Raise InputError unless it is above 0 and below 1."""
    if not 0 < share < 1:
        raise InputError(
            f"prune is {share}; it is the share of channels to remove, above 0 and below 1, "
            "such as 0.3"
        )


def _why(left: dict[str, str]) -> str:
    listed = [f"\n  {name}: {reason}" for name, reason in list(left.items())[:5]]
    return "".join([":", *listed]) if listed else "; there are no convolutions or dense layers"


# --- what readers are fed


@dataclass(eq=False)
class _Reader:
    """A layer that sums over the channels: moments over rows of its patches."""

    node: Node
    weights: Reals  # [outputs, K]: of the teacher's
    x: Reals  # sum of x^ [K]
    y: Reals  # sum of y [outputs]
    a: Reals  # sum of x^ x^, later their covariance [K, K]
    g: Reals  # sum of y x^, later their covariance [outputs, K]
    power: float = 0.0  # sum of y^2, later the variance
    count: int = 0

    @property
    def inputs(self) -> int:
        return int(self.weights.shape[1])

    def add(self, x_hat: Reals, y: Reals) -> None:
        self.x += x_hat.sum(axis=0)
        self.y += y.sum(axis=0)
        self.a += x_hat.T @ x_hat
        self.g += y.T @ x_hat
        self.power += float((y**2).sum())
        self.count += len(y)

    def finish(self) -> None:
        """Sums become means, and products covariances."""
        for total in (self.x, self.y, self.a, self.g):
            total /= self.count
        self.power = self.power / self.count - float((self.y**2).sum())
        self.a -= np.outer(self.x, self.x)
        self.g -= np.outer(self.y, self.x)

    @property
    def damping(self) -> float:
        part = DAMPING + DAMPING_OF_FEW * (self.inputs / self.count) ** 4
        return part * float(np.diagonal(self.a).mean()) or 1.0


def _collect(
    graph: Graph,
    teacher: dict[str, Node],
    result: Graph,
    group: ChannelGroup,
    samples: Sequence[Sample],
    seed: int,
) -> list[_Reader]:
    readers = [_empty(node, teacher[layer_name(node)]) for node in group.readers]
    names = list(dict.fromkeys(reader.node.input(0).name for reader in readers))
    ours, theirs = GraphRunner(graph, names), GraphRunner(result, names)
    for number, sample in enumerate(samples):
        exact, seen = ours.run(sample), theirs.run(sample)
        for reader in readers:
            node, name = reader.node, reader.node.input(0).name
            rng = np.random.default_rng([seed, number, positions(node)])
            chosen = _choose(node, reader.inputs, len(samples), rng)
            x = patches(node, exact[name], chosen)[0].astype(np.float64)
            x_hat = patches(node, seen[name], chosen)[0].astype(np.float64)
            reader.add(x_hat, x @ reader.weights.T)
    for reader in readers:
        reader.finish()
    return readers


def _empty(node: Node, teacher: Node) -> _Reader:
    """Reads as many channels as the teacher's does: its own group's come first."""
    data = teacher.input(1).data
    assert data is not None
    weights = grouped(teacher, data)[0].astype(np.float64)
    outputs, k = weights.shape
    zeros = np.zeros
    return _Reader(node, weights, zeros(k), zeros(outputs), zeros((k, k)), zeros((outputs, k)))


def _choose(node: Node, k: int, samples: int, rng: np.random.Generator) -> Ints:
    share = -(-(ROWS_BASE + ROWS_PER_INPUT * k) // samples)
    every = positions(node)
    return np.arange(every) if every <= share else np.sort(rng.choice(every, share, replace=False))


# --- which channels


def _most(channels: int, asked: int) -> int:
    """The most that may be removed: down to a multiple of `TILE`, if there is one."""
    kept = (channels - asked) // TILE * TILE
    return channels - kept if kept else min(asked, channels - 1)


def _count(channels: int, asked: int, costs: Reals) -> int:
    """How many to remove, as the module says; costs are those of the first, the first two..."""
    most = len(costs)
    asked = min(asked, most)
    reaches = (channels - most) % TILE == 0
    if reaches and costs[most - 1] <= (1 + LITTLE) * costs[asked - 1] + NOTHING:
        return most
    above = -(-(channels - asked) // TILE) * TILE
    return channels - above if above < channels else asked


def _order(readers: Sequence[_Reader], channels: int, count: int) -> tuple[Ints, Reals]:
    """Channels in the order in which they go, and what each removal costs with those before it."""
    states = [_Elimination(reader, channels) for reader in readers]
    gone = np.zeros(channels, bool)
    order, costs = [], []
    for _ in range(count):
        cost = np.sum([state.costs(gone) for state in states], axis=0)
        channel = int(np.where(gone, np.inf, cost).argmin())
        gone[channel] = True
        order.append(channel)
        costs.append(max(float(cost[channel]), 0.0))
        for state in states:
            state.remove(channel)
    return np.array(order, np.int64), np.cumsum(costs)


class _Elimination:
    """A reader's weights and inverse covariance, while channels are taken away from it."""

    def __init__(self, reader: _Reader, channels: int) -> None:
        k = reader.inputs
        damped = reader.a + reader.damping * np.eye(k)
        self._inverse = np.linalg.inv(damped)
        missing = reader.g - reader.weights @ reader.a
        self._weights = reader.weights + missing @ self._inverse
        self._power = reader.power if reader.power > 0 else 1.0
        self._columns = np.arange(k).reshape(-1, channels).T  # [channels, those of one]

    def costs(self, gone: npt.NDArray[np.bool_]) -> Reals:
        """Of every channel; anything for those that are gone."""
        columns = self._columns
        found = np.zeros(len(columns))
        alive = columns[~gone]
        blocks = self._inverse[alive[:, :, None], alive[:, None, :]]
        w = self._weights[:, alive].transpose(1, 2, 0)
        found[~gone] = (w * np.linalg.solve(blocks, w)).sum(axis=(1, 2)) / self._power
        return found

    def remove(self, channel: int) -> None:
        columns = self._columns[channel]
        rows = self._inverse[columns]
        solved = np.linalg.solve(rows[:, columns], rows)
        self._weights -= self._weights[:, columns] @ solved
        self._inverse -= rows.T @ solved


# --- what becomes of the layers


def _reconstruct(reader: _Reader, kept: Ints, is_solved: bool) -> None:
    """Give the reader its weights for the kept inputs, and its bias."""
    node, w = reader.node, reader.weights[:, kept]
    if is_solved:
        a = reader.a[np.ix_(kept, kept)]
        missing = reader.g[:, kept] - w @ a
        damped = a + reader.damping * np.eye(len(kept))
        w = w + np.linalg.solve(damped, missing.T).T
    shape = node.input(1).shape
    narrow = (*shape[:-1], shape[-1] * len(kept) // reader.inputs)
    node.inputs[1] = constant(node.input(1).name, w.astype(np.float32).reshape(narrow))
    if is_solved:
        add_to_bias(node, reader.y - w @ reader.x[kept])


def _apply(graph: Graph, group: ChannelGroup, kept: Ints) -> dict[str, Ints]:
    """Take the channels from the layer and what they pass; where the kept ones lie, by tensor."""
    channels = group.channels
    _narrow(group.maker, 0, kept)
    for node in group.carriers:
        if node.op == "depthwise_conv2d":
            _narrow(node, 2, spread(kept, channels, node.input(0).shape[-1]))
    found = {}
    for tensor in group.tensors:
        where = spread(kept, channels, tensor.shape[-1])
        new = Tensor(tensor.name, (*tensor.shape[:-1], len(where)), tensor.dtype)
        for node in graph.nodes:
            node.inputs = [new if t is tensor else t for t in node.inputs]
            node.outputs = [new if t is tensor else t for t in node.outputs]
        found[tensor.name] = where
    return found


def _narrow(node: Node, axis: int, kept: Ints) -> None:
    """Weights along an axis, and the bias."""
    w = node.input(1)
    assert w.data is not None
    node.inputs[1] = constant(w.name, w.data.take(kept, axis))
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is not None and bias.data is not None:
        node.inputs[2] = constant(bias.name, bias.data.reshape(-1)[kept])
