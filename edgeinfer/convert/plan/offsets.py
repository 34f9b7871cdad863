"""Offsets of buffers in the arena: buffers that are alive at the same time must not overlap.

This is the dynamic storage allocation problem: rectangles whose sides in time are fixed are to be
packed with the lowest top. It is NP-hard; no packing is lower than the largest sum of live bytes.

Algorithm.

1. First fit in several orders: by size, by area (bytes x steps), by lifetime, by the time of their
   first step, by how full the arena is while they live. Each buffer goes to the lowest gap in which
   it fits. For nearly every network one of these reaches the lower bound, and the search ends.
2. Branch and bound for a packing of exactly the lower bound, and when there is none or the search
   exceeds its budget, for anything better than the best so far. Buffers are placed by ascending
   offset, each resting on the floor or on a placed one. A branch is cut where the floor of a step
   and what must still go there exceed the limit; and a buffer is not placed where another one
   would fit below it whole, because that packing is found elsewhere (canonical solutions, after
   Moffitt, "MiniMalloc: A Lightweight Memory Allocator for Hardware-Accelerated Machine
   Learning", ASPLOS 2023).
3. Descent from the best order: one buffer, often one that reaches the top, moves to another
   place in the order, drawn from a fixed sequence; what is not worse is kept.

The result depends on the buffers alone: budgets count work, not seconds. Not guaranteed: the
optimum, where the search budgets end first.
"""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from edgeinfer.budget import align_up
from edgeinfer.convert.plan.views import ARENA_ALIGNMENT
from edgeinfer.convert.program import Buffer

_SEARCH_WORK = 1_000_000  # buffers looked at in one branch and bound: about half a second
_DESCENT_WORK = 1_000_000  # pairs of buffers compared in the descent: as long


def place_buffers(buffers: Sequence[Buffer]) -> int:
    """Give every buffer its offset; return the highest end."""
    if not buffers:
        return 0
    problem = Rectangles(buffers)
    best = _try_orders(problem)
    if problem.top(best) > problem.lower_bound:
        best = _search(problem, problem.lower_bound) or _descend(problem, best)
    while problem.top(best) > problem.lower_bound:
        better = _search(problem, problem.top(best) - 1)
        if better is None:
            break
        best = better
    for buffer, offset in zip(buffers, best, strict=True):
        buffer.offset = offset
    return problem.top(best)


class Rectangles:
    """What is to be packed. Time counts moments: the steps at which some buffer begins its life.

    Between two moments buffers only end, so nothing is lost by leaving the other steps out.
    """

    def __init__(self, buffers: Sequence[Buffer]) -> None:
        self.sizes = [buffer.bytes for buffer in buffers]
        self.rounded = [align_up(size, ARENA_ALIGNMENT) for size in self.sizes]
        moments = sorted({buffer.first_step for buffer in buffers})
        self.lives = [
            (bisect_left(moments, b.first_step), bisect_right(moments, b.last_step))
            for b in buffers
        ]
        self.load = [0] * len(moments)
        alive: list[list[int]] = [[] for _ in moments]
        for index, (first, last) in enumerate(self.lives):
            for moment in range(first, last):
                self.load[moment] += self.rounded[index]
                alive[moment].append(index)
        self.neighbours = [self._neighbours(index, alive) for index in range(len(buffers))]
        # The topmost buffer of a moment need not be rounded up.
        self.lower_bound = max(
            load - max(self.rounded[i] - self.sizes[i] for i in indices)
            for load, indices in zip(self.load, alive, strict=True)
        )

    def _neighbours(self, index: int, alive: list[list[int]]) -> list[int]:
        first, last = self.lives[index]
        begun = [i for i in alive[first] if i != index]
        return begun + [
            i
            for moment in range(first + 1, last)
            for i in alive[moment]
            if self.lives[i][0] == moment
        ]

    def top(self, offsets: Sequence[int]) -> int:
        """The highest end of a packing."""
        return max(offset + size for offset, size in zip(offsets, self.sizes, strict=True))

    def first_fit(self, order: Sequence[int]) -> list[int]:
        """Put each buffer, in this order, into the lowest gap that holds it."""
        offsets = [-1] * len(self.sizes)
        for index in order:
            placed = sorted(
                (offsets[i], offsets[i] + self.rounded[i])
                for i in self.neighbours[index]
                if offsets[i] >= 0
            )
            offset = 0
            for begin, end in placed:
                if begin >= offset + self.sizes[index]:
                    break
                offset = max(offset, end)
            offsets[index] = offset
        return offsets


def _orders(problem: Rectangles) -> list[list[int]]:
    sizes, lives = problem.rounded, problem.lives
    length = [last - first for first, last in lives]
    crowd = [max(problem.load[first:last]) for first, last in lives]
    indices = range(len(sizes))
    keys: list[list[tuple[int, ...]]] = [
        [(-sizes[i], -length[i]) for i in indices],
        [(-sizes[i] * length[i],) for i in indices],
        [(-length[i], -sizes[i]) for i in indices],
        [(-crowd[i], -sizes[i]) for i in indices],
        [(-crowd[i], -length[i], -sizes[i]) for i in indices],
        [(lives[i][0], -sizes[i]) for i in indices],
        [(-lives[i][1], -sizes[i]) for i in indices],
    ]
    return [sorted(indices, key=key.__getitem__) for key in keys]


def _try_orders(problem: Rectangles) -> list[int]:
    best: list[int] | None = None
    for order in _orders(problem):
        offsets = problem.first_fit(order)
        if best is None or problem.top(offsets) < problem.top(best):
            best = offsets
        if problem.top(best) == problem.lower_bound:
            break
    assert best is not None
    return best


def _search(problem: Rectangles, limit: int) -> list[int] | None:
    """Branch and bound for a packing whose top is at most `limit`; None when not found."""
    count = len(problem.sizes)
    offsets = [-1] * count
    floor = [0] * len(problem.load)
    waiting = list(problem.load)  # bytes still to be placed over each moment
    ceiling = align_up(limit, ARENA_ALIGNMENT)
    work = 0

    def candidates() -> list[tuple[int, int, int]]:
        """(offset, -size, buffer) of what may come next, the most promising last."""
        nonlocal work
        work += count
        resting = [
            (max(floor[slice(*problem.lives[i])]), -problem.rounded[i], i)
            for i in range(count)
            if offsets[i] < 0
        ]
        # One that would fit below another whole must not be left until later.
        reach = min((offset - size for offset, size, _ in resting), default=0)
        return sorted((c for c in resting if c[0] < reach), reverse=True)

    def possible() -> bool:
        return all(low + load <= ceiling for low, load in zip(floor, waiting, strict=True) if load)

    # One entry per placed buffer: what else could have been placed, and how things were before.
    stack: list[tuple[list[tuple[int, int, int]], list[int]]] = [(candidates(), floor)]
    chosen: list[int] = []
    while stack and work < _SEARCH_WORK:
        choices, before = stack[-1]
        if len(chosen) == len(stack):  # back from the last choice of this entry
            undone = chosen.pop()
            offsets[undone] = -1
            for moment in range(*problem.lives[undone]):
                waiting[moment] += problem.rounded[undone]
        if not choices:
            stack.pop()
            continue
        offset, _, index = choices.pop()
        if offset + problem.sizes[index] > limit:
            continue
        offsets[index] = offset
        chosen.append(index)
        floor = [max(low, offset) for low in before]  # nothing comes lower any more
        for moment in range(*problem.lives[index]):
            floor[moment] = offset + problem.rounded[index]
            waiting[moment] -= problem.rounded[index]
        if len(chosen) == count:
            return offsets
        stack.append((candidates() if possible() else [], floor))
    return None


def _descend(problem: Rectangles, start: list[int]) -> list[int]:
    """Improve a packing by changing the order of first fit, until the work budget is spent."""
    chance = random.Random(0)
    count = len(problem.sizes)
    best = start
    order = sorted(range(count), key=lambda i: (start[i], i))
    work = 0
    each = count + sum(len(neighbours) for neighbours in problem.neighbours)
    while problem.top(best) > problem.lower_bound and work < _DESCENT_WORK:
        work += each
        top = problem.top(best)
        highest = [i for i in range(count) if best[i] + problem.sizes[i] == top]
        trial = list(order)
        moved = chance.choice(highest if chance.random() < 0.5 else trial)
        trial.remove(moved)
        trial.insert(chance.randrange(count), moved)
        offsets = problem.first_fit(trial)
        if problem.top(offsets) <= top:
            best, order = offsets, trial
    return best
