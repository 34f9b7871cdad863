"""Packing many buffers below a limit by a search for canonical packings, compiled by numba.

A packing is canonical when every buffer lies on the bottom or on another one, and none could move
lower. Any packing can be pushed down into a canonical one with no higher top, so that nothing else
need be looked at. The ideas of canonical packings, of dominance and of dividing what is left in
time are Moffitt's ("MiniMalloc: A Lightweight Memory Allocator for Hardware-Accelerated Machine
Learning", ASPLOS 2023); where to branch and what is learnt from a failure are our own.

Algorithm. Time is divided into sections, at each of which a largest set of buffers is alive. A
buffer that is not placed yet has a *rest*, where it would lie on what is placed, and a *bound* at
or above it, below which it cannot be any more. A *candidate* has its rest for a bound, and no
neighbour would fit below it whole: so it may be placed with all of its other neighbours above.

1. Take a candidate and branch: it lies at its rest, or it does not. If not, it lies on a neighbour
   that is still to be placed, and its bound rises to the lowest top that one can have.
2. A branch fails where a buffer would end above the limit, or where the buffers that a section
   still waits for do, stacked in the order of their bounds and none below its own. No other order
   ends lower.
3. Which candidate: one of the section that fewest buffers can continue, since that section is the
   nearest to failing (a single one is forced); or so, but few in proportion to how often a section
   has failed; or the lowest one. Among several the first of a preference: by lifetime, by area, by
   how full the fullest section is that they live in.
4. When no waiting buffer lives at both sides of a boundary, the sides are packed one after the
   other; if one of them fails, both do.
5. A wrong choice early on is found out late, if ever. So each search has little work to do, and the
   next one starts from the beginning with another rule and preference, the latter distorted at
   random after the first round. Works follow Luby's sequence: mostly short, now and then long.

The random numbers are always the same and work is counted, so the result depends on the buffers
alone, unless the caller sets a limit in seconds. A search that comes to its end without a packing
proves that there is none.

Not guaranteed: that a packing is found where there is one, since the work is limited.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeinfer.budget import align_up
from edgeinfer.convert.plan.rectangles import Rectangles
from edgeinfer.convert.plan.repair import Budget
from edgeinfer.convert.plan.views import ARENA_ALIGNMENT
from edgeinfer.engine_numba.compile import kernel

MOST_BUFFERS = 4096  # the stacks of a search grow with the square

_SHORTEST = 4_000_000  # work of the shortest search: about 30 ms
_DISTORTION = 0.5
_TRAIL = 1 << 21

# Rows of the arrays that a search works on. `buffers` has a column for each buffer,
_SIZE, _FIRST, _LAST, _NEAR, _OFFSET, _REST, _BOUND = range(7)
# `sections` for each section: where its list begins, lowest bound, bytes that wait, waiting
# buffers that live beyond it, those that could lie lowest, sections to look at again, whether so
# and how often it failed.
_LIVE, _FLOOR, _DUE, _CROSSING, _STARTERS, _DIRTY, _IS_DIRTY, _FAILURES = range(8)
# `frames` for each choice that was made: its part of time, of `listed`, and how to go on from it,
_LOW, _HIGH, _BEGIN, _END, _CHOSEN, _MARK, _RESUME = range(7)
# `counts` is a row by itself.
_LIMIT, _RULE, _TRAIL_LENGTH, _WORK, _DIRTY_COUNT = range(5)
# What an entry of the trail restores.
_OF_REST, _OF_BOUND, _OF_FLOOR, _OF_STARTERS, _OF_PLACE = range(5)

_FOUND, _NONE, _SPENT = 1, 0, -1
_TIGHTEST, _LOWEST, _FAILING = _RULES = range(3)


@dataclass(frozen=True)
class Outcome:
    """Offsets if a packing was found; otherwise whether there is none."""

    offsets: list[int] | None
    impossible: bool = False


def pack_below(problem: Rectangles, limit: int, budget: Budget) -> Outcome:
    """Look for a packing whose top, rounded up to the alignment, is at most `limit`."""
    if align_up(limit - ARENA_ALIGNMENT + 1, ARENA_ALIGNMENT) < problem.lower_bound:
        return Outcome(None, impossible=True)
    offsets = [0] * len(problem.sizes)
    lives = _sections(problem)
    for part in _parts(problem, lives):
        found = _pack_part(problem, lives, part, limit // ARENA_ALIGNMENT, budget)
        if found.offsets is None:
            return found
        for index, offset in zip(part, found.offsets, strict=True):
            offsets[index] = offset * ARENA_ALIGNMENT
    return Outcome(offsets)


def _sections(problem: Rectangles) -> list[tuple[int, int]]:
    """Lives in moments that matter: those after which a buffer ends before the next begins."""
    ends = {last for _, last in problem.lives}
    kept = [moment for moment in range(len(problem.load)) if moment + 1 in ends]
    return [(bisect_left(kept, first), bisect_left(kept, last)) for first, last in problem.lives]


def _parts(problem: Rectangles, lives: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
    """Buffers that have to do with each other through others; empty ones need no place."""
    part: list[int] = []
    until = 0
    for index in sorted(range(len(lives)), key=lives.__getitem__):
        if not problem.rounded[index]:
            continue
        first, last = lives[index]
        if part and first >= until:
            yield part
            part = []
        part.append(index)
        until = max(until, last)
    if part:
        yield part


def _pack_part(
    problem: Rectangles,
    lives: Sequence[tuple[int, int]],
    part: Sequence[int],
    limit: int,
    budget: Budget,
) -> Outcome:
    sizes = np.array([problem.rounded[i] // ARENA_ALIGNMENT for i in part], np.int64)
    spans = np.array([lives[i] for i in part], np.int64).T
    spans -= spans.min()
    random_numbers = random.Random(0)
    failures = np.ones(spans.max(), np.int64)
    for turn, length in enumerate(_luby()):
        if budget.spent:
            break
        rule = _RULES[turn % len(_RULES)]
        order = _preference(sizes, spans, turn // len(_RULES), random_numbers)
        state = _State(sizes[order], spans[:, order], limit, rule)
        state.sections[_FAILURES, :-1] = failures
        verdict = _search(*state.arrays, min(length * _SHORTEST, budget.work))
        budget.work -= max(int(state.counts[_WORK]), 1)
        failures = state.sections[_FAILURES, :-1]
        if verdict == _FOUND:
            offsets = np.empty_like(sizes)
            offsets[order] = state.buffers[_OFFSET, :-1]
            return Outcome([int(offset) for offset in offsets])
        if verdict == _NONE:
            return Outcome(None, impossible=True)
    return Outcome(None)


def _luby() -> Iterator[int]:
    """1 1 2 1 1 2 4 1 1 2 1 1 2 4 8 ..., each for all of the rules."""
    sequence: list[int] = []
    power = 1
    while True:
        fresh = [*sequence, power]
        for length in fresh:
            yield from [length] * len(_RULES)
        sequence = sequence + fresh
        power *= 2


def _preference(sizes: Any, spans: Any, turn: int, random_numbers: random.Random) -> Any:
    """An order of buffers, the most promising first."""
    count = len(sizes)
    load = np.zeros(spans.max() + 1, np.int64)
    for size, (first, last) in zip(sizes, spans.T, strict=True):
        load[first:last] += size
    fullest = np.array([load[first:last].max() for first, last in spans.T])
    length = spans[1] - spans[0]
    distortion = np.ones(count)
    if turn >= 4:
        distortion += _DISTORTION * np.array([random_numbers.random() for _ in range(count)])
    area = sizes * length
    keys = [
        (fullest, length * distortion, area),
        (length * distortion, area, fullest),
        (fullest, area * distortion, length),
        (area * distortion, length, fullest),
    ][turn % 4]
    return np.lexsort([-key for key in reversed(keys)])


class _State:
    """The arrays of one search, to be handed to `_search` in this order."""

    def __init__(self, sizes: Any, spans: Any, limit: int, rule: int) -> None:
        count, sections = len(sizes), int(spans.max())
        first, last = spans
        meet = (first[:, None] < last[None]) & (first[None] < last[:, None])
        np.fill_diagonal(meet, False)
        when = np.arange(sections)[:, None]
        alive = (first[None] <= when) & (when < last[None])
        beyond = alive & (when + 1 < last[None])
        self.buffers = np.zeros((7, count + 1), np.int64)
        self.buffers[_SIZE, :-1] = sizes
        self.buffers[_FIRST, :-1], self.buffers[_LAST, :-1] = first, last
        self.buffers[_NEAR, 1:] = np.cumsum(meet.sum(1))
        self.buffers[_OFFSET] = -1
        self.sections = np.zeros((8, sections + 1), np.int64)
        self.sections[_LIVE, 1:] = np.cumsum(alive.sum(1))
        self.sections[_DUE, :-1] = (alive * sizes).sum(1)
        self.sections[_CROSSING, :-1] = beyond.sum(1)
        self.sections[_STARTERS, :-1] = alive.sum(1)
        self.near = np.ascontiguousarray(np.nonzero(meet)[1])
        self.live = np.ascontiguousarray(np.nonzero(alive)[1])
        self.queue = np.zeros(int(alive.sum(1).max()), np.int64)
        self.frames = np.zeros((7, count + 2), np.int64)
        self.frames[_HIGH, 0], self.frames[_END, 0] = sections, count
        self.listed = np.zeros((count + 1) * (count + 2) // 2 + 1, np.int64)
        self.listed[:count] = np.arange(count)
        self.trail = np.empty((2, _TRAIL), np.int64)
        self.counts = np.array([limit, rule, 0, 0, 0], np.int64)

    @property
    def arrays(self) -> tuple[Any, ...]:
        """As `_search` takes them."""
        return (
            self.buffers,
            self.sections,
            self.near,
            self.live,
            self.queue,
            self.frames,
            self.listed,
            self.trail,
            self.counts,
        )


@kernel
def _remember(trail: Any, counts: Any, what: Any, index: Any, value: Any) -> None:
    length = counts[_TRAIL_LENGTH]
    trail[0, length] = 8 * index + what
    trail[1, length] = value
    counts[_TRAIL_LENGTH] = length + 1


@kernel
def _undo(buffers: Any, sections: Any, trail: Any, counts: Any, mark: Any) -> None:
    """Go back to the state in which the trail was so long."""
    for entry in range(counts[_TRAIL_LENGTH] - 1, mark - 1, -1):
        index, what, value = trail[0, entry] // 8, trail[0, entry] % 8, trail[1, entry]
        if what == _OF_REST:
            buffers[_REST, index] = value
        elif what == _OF_BOUND:
            buffers[_BOUND, index] = value
        elif what == _OF_FLOOR:
            sections[_FLOOR, index] = value
        elif what == _OF_STARTERS:
            sections[_STARTERS, index] = value
        else:
            buffers[_OFFSET, index] = -1
            first, last = buffers[_FIRST, index], buffers[_LAST, index]
            for t in range(first, last):
                sections[_DUE, t] += buffers[_SIZE, index]
                sections[_CROSSING, t] += 1
            sections[_CROSSING, last - 1] -= 1
    counts[_TRAIL_LENGTH] = mark


@kernel
def _mark_dirty(sections: Any, counts: Any, t: Any) -> None:
    if not sections[_IS_DIRTY, t]:
        sections[_IS_DIRTY, t] = 1
        sections[_DIRTY, counts[_DIRTY_COUNT]] = t
        counts[_DIRTY_COUNT] += 1


@kernel
def _raise_bound(buffers: Any, sections: Any, trail: Any, counts: Any, i: Any, bound: Any) -> Any:
    """Whether there is room at the new bound, as far as this buffer tells."""
    old = buffers[_BOUND, i]
    _remember(trail, counts, _OF_BOUND, i, old)
    buffers[_BOUND, i] = bound
    for t in range(buffers[_FIRST, i], buffers[_LAST, i]):
        _mark_dirty(sections, counts, t)
    return bound + buffers[_SIZE, i] <= counts[_LIMIT]


@kernel
def _look(
    buffers: Any, sections: Any, live: Any, queue: Any, trail: Any, counts: Any, t: Any
) -> Any:
    """Bring a section up to date; whether it still has room. `queue` is room for sorting."""
    if sections[_DUE, t] == 0:
        return True
    begin, end = sections[_LIVE, t], sections[_LIVE, t + 1]
    counts[_WORK] += end - begin
    highest = counts[_LIMIT] - sections[_DUE, t]
    starters, waiting = 0, 0
    for k in range(begin, end):
        i = live[k]
        if buffers[_OFFSET, i] < 0:
            bound = buffers[_BOUND, i]
            starters += bound <= highest
            at = waiting
            while at > 0 and buffers[_BOUND, queue[at - 1]] > bound:
                queue[at] = queue[at - 1]
                at -= 1
            queue[at] = i
            counts[_WORK] += waiting - at
            waiting += 1
    floor = buffers[_BOUND, queue[0]]
    top = floor
    for k in range(waiting):
        i = queue[k]
        top = max(top, buffers[_BOUND, i]) + buffers[_SIZE, i]
    if top > counts[_LIMIT]:
        sections[_FAILURES, t] += 1
        return False
    if floor != sections[_FLOOR, t]:
        _remember(trail, counts, _OF_FLOOR, t, sections[_FLOOR, t])
        sections[_FLOOR, t] = floor
    if starters != sections[_STARTERS, t]:
        _remember(trail, counts, _OF_STARTERS, t, sections[_STARTERS, t])
        sections[_STARTERS, t] = starters
    return True


@kernel
def _settle(
    buffers: Any, sections: Any, live: Any, queue: Any, trail: Any, counts: Any, ok: Any
) -> Any:
    """Look at all dirty sections; whether all have room. After a failure it only cleans up."""
    for k in range(counts[_DIRTY_COUNT]):
        t = sections[_DIRTY, k]
        sections[_IS_DIRTY, t] = 0
        ok = ok and _look(buffers, sections, live, queue, trail, counts, t)
    counts[_DIRTY_COUNT] = 0
    return ok


@kernel
def _place(
    buffers: Any, sections: Any, near: Any, live: Any, queue: Any, trail: Any, counts: Any, i: Any
) -> Any:
    """Put a buffer at its rest; whether everything still has room."""
    first, last, size = buffers[_FIRST, i], buffers[_LAST, i], buffers[_SIZE, i]
    top = buffers[_REST, i] + size
    _remember(trail, counts, _OF_PLACE, i, 0)
    buffers[_OFFSET, i] = buffers[_REST, i]
    sections[_CROSSING, last - 1] += 1
    ok = True
    for t in range(first, last):
        sections[_DUE, t] -= size
        sections[_CROSSING, t] -= 1
        if ok and sections[_DUE, t] > 0 and top + sections[_DUE, t] > counts[_LIMIT]:
            sections[_FAILURES, t] += 1
            ok = False
    if not ok:
        return False
    counts[_WORK] += buffers[_NEAR, i + 1] - buffers[_NEAR, i]
    for k in range(buffers[_NEAR, i], buffers[_NEAR, i + 1]):
        j = near[k]
        if buffers[_OFFSET, j] < 0 and buffers[_REST, j] < top:
            _remember(trail, counts, _OF_REST, j, buffers[_REST, j])
            buffers[_REST, j] = top
            if buffers[_BOUND, j] < top:
                ok = ok and _raise_bound(buffers, sections, trail, counts, j, top)
    for t in range(first, last):
        _mark_dirty(sections, counts, t)
    return _settle(buffers, sections, live, queue, trail, counts, ok)


@kernel
def _exclude(
    buffers: Any, sections: Any, near: Any, live: Any, queue: Any, trail: Any, counts: Any, i: Any
) -> Any:
    """Note that a buffer is not at its rest; whether everything still has room."""
    bound = counts[_LIMIT] + 1
    counts[_WORK] += buffers[_NEAR, i + 1] - buffers[_NEAR, i]
    for k in range(buffers[_NEAR, i], buffers[_NEAR, i + 1]):
        j = near[k]
        if buffers[_OFFSET, j] < 0:
            bound = min(bound, buffers[_BOUND, j] + buffers[_SIZE, j])
    ok = _raise_bound(buffers, sections, trail, counts, i, max(bound, buffers[_BOUND, i]))
    return _settle(buffers, sections, live, queue, trail, counts, ok)


@kernel
def _is_candidate(buffers: Any, near: Any, counts: Any, i: Any) -> Any:
    rest = buffers[_REST, i]
    if buffers[_OFFSET, i] >= 0 or rest != buffers[_BOUND, i]:
        return False
    for k in range(buffers[_NEAR, i], buffers[_NEAR, i + 1]):
        j = near[k]
        counts[_WORK] += 1
        if buffers[_OFFSET, j] < 0 and buffers[_BOUND, j] + buffers[_SIZE, j] <= rest:
            return False
    return True


@kernel
def _is_tighter(sections: Any, rule: Any, t: Any, other: Any) -> Any:
    """Whether to branch at section `t` rather than at another."""
    starters, others = sections[_STARTERS, t], sections[_STARTERS, other]
    if rule == _FAILING and starters > 1 and others > 1:
        return starters * sections[_FAILURES, other] < others * sections[_FAILURES, t]
    if starters != others:
        return starters < others
    return sections[_FLOOR, t] < sections[_FLOOR, other]


@kernel
def _choose_at_tightest(
    buffers: Any, sections: Any, near: Any, live: Any, frames: Any, counts: Any, depth: Any
) -> Any:
    """A candidate of the section that fewest buffers can continue, or -1."""
    tightest = -1
    counts[_WORK] += frames[_HIGH, depth] - frames[_LOW, depth]
    for t in range(frames[_LOW, depth], frames[_HIGH, depth]):
        if sections[_DUE, t] > 0 and (
            tightest < 0 or _is_tighter(sections, counts[_RULE], t, tightest)
        ):
            tightest = t
    highest = counts[_LIMIT] - sections[_DUE, tightest]
    for k in range(sections[_LIVE, tightest], sections[_LIVE, tightest + 1]):
        if buffers[_BOUND, live[k]] <= highest and _is_candidate(buffers, near, counts, live[k]):
            return live[k]
    return -1


@kernel
def _choose_lowest(
    buffers: Any, near: Any, frames: Any, listed: Any, counts: Any, depth: Any
) -> Any:
    """The lowest candidate, or -1: then no packing goes on from here."""
    best = -1
    counts[_WORK] += frames[_END, depth] - frames[_BEGIN, depth]
    for k in range(frames[_BEGIN, depth], frames[_END, depth]):
        i = listed[k]
        if buffers[_REST, i] == buffers[_BOUND, i] and (
            best < 0 or buffers[_REST, i] < buffers[_REST, best]
        ):
            best = i
    return best if best >= 0 and _is_candidate(buffers, near, counts, best) else -1


@kernel
def _open_next_part(buffers: Any, sections: Any, frames: Any, listed: Any, depth: Any) -> Any:
    """Make a frame for the next part of time that still waits for buffers, if there is one."""
    t, high = frames[_RESUME, depth], frames[_HIGH, depth]
    while t < high and sections[_DUE, t] == 0:
        t += 1
    if t == high:
        return False
    frames[_LOW, depth + 1] = t
    while sections[_CROSSING, t] > 0:
        t += 1
    frames[_HIGH, depth + 1] = frames[_RESUME, depth] = t + 1
    end = frames[_END, depth]
    frames[_BEGIN, depth + 1] = end
    for k in range(frames[_BEGIN, depth], frames[_END, depth]):
        i = listed[k]
        inside = frames[_LOW, depth + 1] <= buffers[_FIRST, i] and buffers[_LAST, i] <= t + 1
        if inside and buffers[_OFFSET, i] < 0:
            listed[end] = i
            end += 1
    frames[_END, depth + 1] = end
    return True


@kernel
def _search(
    buffers: Any,
    sections: Any,
    near: Any,
    live: Any,
    queue: Any,
    frames: Any,
    listed: Any,
    trail: Any,
    counts: Any,
    work: Any,
) -> int:
    """Depth-first search; buffers come in the order of preference."""
    room = trail.shape[1] - 3 * (buffers.shape[1] + sections.shape[1])
    depth = 0
    while counts[_WORK] < work and counts[_TRAIL_LENGTH] < room:
        i = -1
        if counts[_RULE] != _LOWEST:
            i = _choose_at_tightest(buffers, sections, near, live, frames, counts, depth)
        if i < 0:
            i = _choose_lowest(buffers, near, frames, listed, counts, depth)
        if i < 0:
            depth -= 1
        else:
            frames[_CHOSEN, depth] = i
            frames[_MARK, depth] = counts[_TRAIL_LENGTH]
            if _place(buffers, sections, near, live, queue, trail, counts, i):
                frames[_RESUME, depth] = frames[_LOW, depth]
                while depth >= 0 and not _open_next_part(buffers, sections, frames, listed, depth):
                    depth -= 1
                if depth < 0:
                    return _FOUND
                depth += 1
                continue
        while depth >= 0:
            _undo(buffers, sections, trail, counts, frames[_MARK, depth])
            if _exclude(
                buffers, sections, near, live, queue, trail, counts, frames[_CHOSEN, depth]
            ):
                break
            depth -= 1
        if depth < 0:
            return _NONE
    return _SPENT
