"""Packing anew what lies around a buffer that ends too high.

Algorithm. While a buffer ends above the limit, a window of time around its life is considered: all
buffers that live in it are taken out, the others stay as obstacles, and branch and bound looks for
places below the limit for what was taken out. When there are none, or its budget ends, the window
grows, up to all of the time.

Branch and bound places buffers by ascending offset, each resting on the bottom, on an obstacle or
on a placed buffer. A branch is cut where the height reached at a moment, the obstacles above it and
what must still go there exceed the limit; and a buffer is not placed where another one would fit
below it whole, because that packing is found elsewhere (canonical solutions, after Moffitt,
"MiniMalloc: A Lightweight Memory Allocator for Hardware-Accelerated Machine Learning", ASPLOS
2023). Of buffers that rest at the same height the largest comes first; when the budget ends the
search starts again with the longest-lived first, then with the largest area.

Not guaranteed: that a packing is found where there is one, since budgets limit the search.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgeinfer.budget import align_up
from edgeinfer.convert.plan.rectangles import Rectangles
from edgeinfer.convert.plan.views import ARENA_ALIGNMENT

_WORK_PER_SEARCH = 20_000  # buffers looked at


@dataclass
class Budget:
    """How many buffers may still be looked at, and the clock's end if there is one."""

    work: int
    deadline: float | None = None

    @property
    def spent(self) -> bool:
        """Whether nothing may be looked at any more."""
        return self.work <= 0 or (self.deadline is not None and time.monotonic() > self.deadline)


def repair(
    problem: Rectangles, offsets: Sequence[int], limit: int, budget: Budget
) -> list[int] | None:
    """A packing whose top is at most `limit`, made from another one; None when not found."""
    packed = list(offsets)
    while True:
        high = [i for i, end in enumerate(problem.ends(packed)) if end > limit]
        if not high:
            return packed
        first = min(high, key=lambda i: problem.lives[i])
        for begin, end in _windows(problem, first):
            found = _search_window(problem, packed, (begin, end), limit, budget)
            if found is not None:
                packed = found
                break
        else:
            return None


def _windows(problem: Rectangles, index: int) -> Iterator[tuple[int, int]]:
    moments = len(problem.load)
    begin, end = problem.lives[index]
    margin = 0
    while True:
        yield max(begin - margin, 0), min(end + margin, moments)
        if begin <= margin and moments <= end + margin:
            return
        margin = 2 * margin or 1


def _search_window(
    problem: Rectangles,
    packed: Sequence[int],
    window: tuple[int, int],
    limit: int,
    budget: Budget,
) -> list[int] | None:
    sizes = problem.rounded
    lengths = [end - begin for begin, end in problem.lives]
    everything = range(len(sizes))
    search = _Search(problem, packed, window, limit)
    for preference in (
        [(sizes[i], lengths[i]) for i in everything],
        [(lengths[i], sizes[i]) for i in everything],
        [(sizes[i] * lengths[i], sizes[i]) for i in everything],
    ):
        found = search.run(preference, budget)
        if found is not None or search.exhausted:
            return found
    return None


_Choice = tuple[int, tuple[int, int], int]
"""(minus offset, preference, buffer): the largest is the most promising."""


class _Search:
    """Branch and bound for the buffers that live in a window, the others being obstacles."""

    def __init__(
        self, problem: Rectangles, packed: Sequence[int], window: tuple[int, int], limit: int
    ) -> None:
        self.limit = limit
        self.ceiling = align_up(limit, ARENA_ALIGNMENT)
        self.sizes = problem.sizes
        self.rounded = problem.rounded
        self.offsets = list(packed)
        self.exhausted = False
        free = [i for i, (b, e) in enumerate(problem.lives) if b < window[1] and window[0] < e]
        self.waiting = set(free)
        # Moments count from the first one that a free buffer sees.
        start = min(problem.lives[i][0] for i in free)
        count = max(problem.lives[i][1] for i in free) - start
        self.lives = {i: (problem.lives[i][0] - start, problem.lives[i][1] - start) for i in free}
        self.obstacles: dict[int, list[tuple[int, int]]] = {}  # of each free buffer, ascending
        self.above: list[list[tuple[int, int]]] = [[] for _ in range(count)]  # of each moment
        self.floor = [0] * count  # height of what was placed
        self.due = [0] * count  # bytes still to be placed
        self.level = 0  # offset of the last placed buffer: nothing comes lower any more
        fixed: set[int] = set()
        for i in free:
            others = [n for n in problem.neighbours[i] if n not in self.waiting]
            fixed.update(others)
            self.obstacles[i] = sorted((packed[n], packed[n] + self.rounded[n]) for n in others)
            for moment in range(*self.lives[i]):
                self.due[moment] += self.rounded[i]
        for n in sorted(fixed):
            begin, end = problem.lives[n]
            for moment in range(max(begin - start, 0), min(end - start, count)):
                self.above[moment].append((packed[n], packed[n] + self.rounded[n]))

    def run(self, preference: Sequence[tuple[int, int]], budget: Budget) -> list[int] | None:
        """All offsets, or None; `exhausted` then tells that there is no such packing."""
        # One entry for each placed buffer, and one more: the choices that are left at that depth.
        choices = [self.candidates(preference)]
        undo: list[tuple[int, int, list[int]]] = []
        work = 0 if budget.spent else min(_WORK_PER_SEARCH, budget.work)
        budget.work -= work
        while choices and self.waiting and work > 0:
            if not choices[-1]:
                choices.pop()
                if undo:
                    self.take_back(*undo.pop())
                continue
            offset, _, index = choices[-1].pop()
            if self.sizes[index] - offset > self.limit:
                continue
            undo.append((index, self.level, self.place(index, -offset)))
            work -= len(self.waiting) + 1
            choices.append(self.candidates(preference) if self.possible() else [])
        budget.work += max(work, 0)
        self.exhausted = not choices
        found = None if self.waiting else list(self.offsets)
        while undo:
            self.take_back(*undo.pop())
        return found

    def candidates(self, preference: Sequence[tuple[int, int]]) -> list[_Choice]:
        """What may come next, the most promising last."""
        resting = [(self.rest(i), i) for i in self.waiting]
        # One that would fit below another whole must not be left until later.
        reach = min((offset + self.rounded[i] for offset, i in resting), default=0)
        return sorted((-offset, preference[i], i) for offset, i in resting if offset < reach)

    def rest(self, index: int) -> int:
        """The lowest place for a buffer at or above the level."""
        begin, end = self.lives[index]
        offset = max(self.level, *self.floor[begin:end])
        for low, high in self.obstacles[index]:
            if low >= offset + self.sizes[index]:
                break
            offset = max(offset, high)
        return offset

    def place(self, index: int, offset: int) -> list[int]:
        """Put a buffer down; returns the heights that `take_back` needs."""
        begin, end = self.lives[index]
        size = self.rounded[index]
        before = self.floor[begin:end]
        self.offsets[index] = self.level = offset
        self.waiting.remove(index)
        self.floor[begin:end] = [offset + size] * (end - begin)
        for moment in range(begin, end):
            self.due[moment] -= size
        return before

    def take_back(self, index: int, level: int, before: list[int]) -> None:
        """Undo `place`."""
        begin, end = self.lives[index]
        self.floor[begin:end] = before
        self.level = level
        self.waiting.add(index)
        for moment in range(begin, end):
            self.due[moment] += self.rounded[index]

    def possible(self) -> bool:
        """Whether everything still has room, as far as heights tell."""
        for floor, due, above in zip(self.floor, self.due, self.above, strict=True):
            if due:
                height = max(floor, self.level)
                taken = sum(end - max(begin, height) for begin, end in above if end > height)
                if height + taken + due > self.ceiling:
                    return False
        return True
