"""Offsets of buffers in the arena: buffers that are alive at the same time must not overlap.

This is the dynamic storage allocation problem: rectangles whose sides in time are fixed are to be
packed with the lowest top. It is NP-hard; no packing is lower than the largest sum of live bytes.

Algorithm.

1. First fit in several orders: by size, by area (bytes x steps), by lifetime, by the time of their
   first step, by how full the arena is while they live. Each buffer goes to the lowest gap in which
   it fits. For nearly every network one of these reaches the lower bound, and the search ends.
2. Repair of the best one (`repair`): where a buffer ends too high, it and its neighbours in time
   are taken out and packed anew by branch and bound, in a window that grows up to everything.
3. Descent: one buffer, often one that reaches the top, moves to another place in the order of
   first fit, drawn from a fixed sequence; what is not worse is kept. Then repair once more.
4. When the lower bound is out of reach, repair for limits halfway between it and the best so far.

The result depends on the buffers alone: budgets count work, not seconds. Not guaranteed: the
optimum, where the budgets end first.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from edgeinfer.convert.plan.rectangles import Rectangles
from edgeinfer.convert.plan.repair import Budget, repair
from edgeinfer.convert.plan.views import ARENA_ALIGNMENT
from edgeinfer.convert.program import Buffer

_REPAIR_WORK = 1_000_000  # buffers looked at, the first time: about two seconds
_DESCENT_WORK = 400_000  # pairs of buffers compared: a few tenths of a second


def place_buffers(buffers: Sequence[Buffer]) -> int:
    """Give every buffer its offset; return the highest end."""
    if not buffers:
        return 0
    problem = Rectangles(buffers)
    offsets = _pack(problem)
    for buffer, offset in zip(buffers, offsets, strict=True):
        buffer.offset = offset
    return problem.top(offsets)


def _pack(problem: Rectangles) -> list[int]:
    bound = problem.lower_bound
    best = _try_orders(problem)
    if problem.top(best) <= bound:
        return best
    perfect = repair(problem, best, bound, Budget(_REPAIR_WORK))
    if perfect is None:
        best = _descend(problem, best)
        perfect = repair(problem, best, bound, Budget(_REPAIR_WORK // 4))
    if perfect is not None:
        return perfect
    budget = Budget(_REPAIR_WORK // 4)
    low = bound  # not reached, as far as this search can tell
    while problem.top(best) > low + ARENA_ALIGNMENT:
        limit = (low + problem.top(best)) // 2
        better = repair(problem, best, limit, budget)
        if better is None:
            low = limit
        else:
            best = better
    return best


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
        if problem.top(best) <= problem.lower_bound:
            break
    assert best is not None
    return best


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
