"""Arrangements to choose from: every operation whole, and groups of operations by bands.

The plan of whole operations knows more ways to save memory where nothing takes turns (views undone,
results written over operands that have several readers); groups know rings. Both are candidates.
Groups are those of the same program with its global pools cut in two (`pools`): one operation adds
rows up as they come, another finishes the mean.
"""

from __future__ import annotations

from functools import cached_property

from edgeinfer.convert.plan.arrangement import Arrangement, arrange
from edgeinfer.convert.plan.bands import Bands, Flow
from edgeinfer.convert.plan.groups import Group, Groups, steps_of
from edgeinfer.convert.plan.inplace import merge_chains
from edgeinfer.convert.plan.order import find_order
from edgeinfer.convert.plan.pools import accumulate_pools
from edgeinfer.convert.plan.step_cost import StepCosts
from edgeinfer.convert.plan.views import share_views
from edgeinfer.convert.plan.whole import arrange_whole
from edgeinfer.convert.program import Program

_SMALLER = (0.9, 0.75, 0.6)
_LONGEST_FOR_SPEED = 16  # operations in a group that is to keep tensors in the cache


class Candidates:
    """What a program's plan is chosen from."""

    def __init__(self, program: Program, costs: StepCosts, *, feed_inputs: bool = False) -> None:
        self._program = program
        self._costs = costs
        self._feed_inputs = feed_inputs

    @cached_property
    def whole(self) -> Arrangement:
        """Every operation whole."""
        found = arrange_whole(self._program)
        bands = Bands(found.steps)
        cost = self._costs.of_plan(found.layout, found.operations, bands)
        return arrange(found.program, found.layout, found.operations, bands, cost=cost)

    @cached_property
    def fastest(self) -> Arrangement:
        """By bands where that keeps large tensors in the cache, else whole."""
        cache_bytes = self._costs.cache_bytes
        if max((s.nbytes for s in self.whole.layout.storages()), default=0) <= cache_bytes:
            return self.whole
        streams = _Streams(self._program, self._costs, self._feed_inputs)
        groups = Groups(streams.flow, self._costs, longest=_LONGEST_FOR_SPEED, least=cache_bytes)
        cut = groups.cheapest(float("inf"))
        found = [self.whole, *([] if cut is None else [streams.arrange(cut)])]
        return min(found, key=lambda a: (a.cost, a.peak))

    def within(self, limit: float) -> Arrangement | None:
        """The fastest whose peak is at most `limit`; None when there is none."""
        found = [self.whole] if self.whole.peak <= limit else []
        cut = self._streams.groups.cheapest(limit)
        if cut is not None:
            found.append(self._streams.arrange(cut))
        return min(found, key=lambda a: (a.cost, a.peak), default=None)

    def smallest(self) -> list[Arrangement]:
        """Those with the lowest peaks: overlaps decide which of them is the smallest plan."""
        groups = self._streams.groups
        lowest = groups.smallest()
        cuts = [groups.cheapest(lowest)]
        # Overlaps make the largest group smaller; then others must be as well.
        largest = max(cuts[0] or [], key=lambda group: group.nbytes, default=None)
        if largest is not None:
            cuts += [groups.cheapest(lowest * part, exempt=largest) for part in _SMALLER]
        found = [self._streams.arrange(cut) for cut in cuts if cut is not None]
        return [self.whole, *found]

    def curve(self) -> list[Arrangement]:
        """From the fastest to the smallest, each slower and smaller than the one before."""
        found = [self.whole]
        found += [self._streams.arrange(cut) for cut in self._streams.groups.curve()]
        found.sort(key=lambda a: (a.cost, a.peak))
        curve: list[Arrangement] = []
        for arrangement in found:
            if not curve or arrangement.peak < curve[-1].peak:
                curve.append(arrangement)
        return curve

    @cached_property
    def _streams(self) -> _Streams:
        return _Streams(accumulate_pools(self._program), self._costs, self._feed_inputs)


class _Streams:
    """The operations of one program that take turns by bands."""

    def __init__(self, program: Program, costs: StepCosts, feed_inputs: bool) -> None:
        self._program = program
        self._costs = costs
        self._layout = share_views(program)
        self._operations = find_order(self._layout)
        merge_chains(self._layout, self._operations)
        self.flow = Flow(self._layout, self._operations, feed_inputs=feed_inputs)

    @cached_property
    def groups(self) -> Groups:
        """All groups."""
        return Groups(self.flow, self._costs)

    def arrange(self, cut: list[Group]) -> Arrangement:
        """The arrangement of a cut."""
        bands = steps_of(self.flow, cut)
        cost = self._costs.of_plan(self._layout, self._operations, bands)
        groups = [range(group.first, group.last) for group in cut]
        return arrange(
            self._program, self._layout, self._operations, bands, groups=groups, cost=cost
        )
