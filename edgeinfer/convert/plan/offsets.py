"""Offsets of buffers in the arena: buffers that are alive at the same time must not overlap.

This is the dynamic storage allocation problem: rectangles whose sides in time are fixed are to be
packed with the lowest top. It is NP-hard; no packing is lower than the largest sum of live bytes.

Algorithm.

1. First fit in several orders: by size, by area (bytes x steps), by lifetime, by the time of their
   first step, by how full the arena is while they live. Each buffer goes to the lowest gap in which
   it fits. For nearly every network one of these reaches the lower bound, and the search ends.
2. Many buffers, and numba installed (the `jit` extra): a search for canonical packings
   (`canonical`). For few, importing numba alone would take longer than all of the rest.
3. Few buffers, or no numba: repair of the best one (`repair`): where a buffer ends too high, it and
   its neighbours in time are taken out and packed anew by branch and bound, in a window that grows
   up to everything. Then descent: one buffer, often one that reaches the top, moves to another
   place in the order of first fit, drawn from a fixed sequence; what is not worse is kept. Then
   repair once more.
4. When the lower bound is out of reach, the same search for limits halfway between it and the best
   packing so far.

The result depends on the buffers alone, and on whether numba is installed where the first fits do
not suffice: budgets count work, not seconds. A caller who would rather have an upper limit of time
says so. Not guaranteed: the optimum, where the budgets end first.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from types import ModuleType

from edgeinfer.budget import align_up
from edgeinfer.convert.plan.rectangles import Rectangles
from edgeinfer.convert.plan.repair import Budget, repair
from edgeinfer.convert.plan.views import ARENA_ALIGNMENT
from edgeinfer.convert.program import Buffer

_FEW_BUFFERS = 64  # up to here numba is not loaded
_REPAIR_WORK = 400_000  # buffers looked at in Python, the first time: about a second
_REPAIR_WORK_OF_MANY = 1_000_000
_DESCENT_WORK = 400_000  # pairs of buffers compared: a few tenths of a second
# Buffers looked at by compiled code, about 240 million a second. What few networks exceed shall
# take a few seconds to give up; what is as large as the hard instances of tests/ has its minute.
_CANONICAL_WORK = 600_000_000
_CANONICAL_WORK_OF_MANY = 11_000_000_000
_MANY_BUFFERS = 150


def place_buffers(buffers: Sequence[Buffer], *, seconds: float | None = None) -> int:
    """Give every buffer its offset; return the highest end.

    Parameters
    ----------
    buffers : get their offsets.
    seconds : when to stop searching for something better, whatever has been found. None leaves it
        to budgets of work, so that the same buffers are packed the same way on every machine.
    """
    if not buffers:
        return 0
    problem = Rectangles(buffers)
    offsets = _pack(problem, None if seconds is None else time.monotonic() + seconds)
    for buffer, offset in zip(buffers, offsets, strict=True):
        buffer.offset = offset
    return problem.top(offsets)


def _pack(problem: Rectangles, deadline: float | None) -> list[int]:
    best = _try_orders(problem)
    if problem.top(best) <= problem.lower_bound:
        return best
    if len(problem.sizes) > _FEW_BUFFERS:
        canonical = _canonical_search()
        if canonical is not None and len(problem.sizes) <= canonical.MOST_BUFFERS:
            return _pack_many(problem, best, canonical, deadline)
    return _pack_without_numba(problem, best, deadline)


def _canonical_search() -> ModuleType | None:
    try:
        from edgeinfer.convert.plan import canonical
    except ImportError:  # no numba
        return None
    return canonical


def _pack_many(
    problem: Rectangles, best: list[int], canonical: ModuleType, deadline: float | None
) -> list[int]:
    bound = problem.lower_bound
    many = len(problem.sizes) >= _MANY_BUFFERS
    work = _CANONICAL_WORK_OF_MANY if many else _CANONICAL_WORK
    found = canonical.pack_below(problem, bound, Budget(work, deadline))
    if found.offsets is not None:
        return list(found.offsets)
    steps = max(((problem.top(best) - bound) // ARENA_ALIGNMENT).bit_length(), 1)
    low = bound
    for _ in range(steps):
        limit = align_up((low + problem.top(best)) // 2, ARENA_ALIGNMENT)
        if not low < limit < problem.top(best):
            break
        budget = Budget(work // (4 * steps), deadline)
        found = canonical.pack_below(problem, limit, budget)
        if found.offsets is None:
            low = limit
        else:
            best = list(found.offsets)
    return best


def _pack_without_numba(problem: Rectangles, best: list[int], deadline: float | None) -> list[int]:
    bound = problem.lower_bound
    work = _REPAIR_WORK if len(problem.sizes) <= _FEW_BUFFERS else _REPAIR_WORK_OF_MANY
    perfect = repair(problem, best, bound, Budget(work, deadline))
    if perfect is None:
        best = _descend(problem, best, deadline)
        perfect = repair(problem, best, bound, Budget(work // 4, deadline))
    if perfect is not None:
        return perfect
    budget = Budget(work // 4, deadline)
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


def _descend(problem: Rectangles, start: list[int], deadline: float | None) -> list[int]:
    """Improve a packing by changing the order of first fit, until the work budget is spent."""
    chance = random.Random(0)
    count = len(problem.sizes)
    best = start
    order = sorted(range(count), key=lambda i: (start[i], i))
    work = 0
    each = count + sum(len(neighbours) for neighbours in problem.neighbours)
    while problem.top(best) > problem.lower_bound and work < _DESCENT_WORK:
        if deadline is not None and time.monotonic() > deadline:
            break
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
