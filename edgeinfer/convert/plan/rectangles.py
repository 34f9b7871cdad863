"""Buffers as rectangles in time and address, for `offsets` and `repair` to pack."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from edgeinfer.budget import align_up
from edgeinfer.convert.plan.views import ARENA_ALIGNMENT
from edgeinfer.convert.program import Buffer


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
        born: list[list[int]] = [[] for _ in moments]
        for index, (first, last) in enumerate(self.lives):
            born[first].append(index)
            for moment in range(first, last):
                self.load[moment] += self.rounded[index]
        # Two buffers meet when one is born while the other lives.
        self.neighbours: list[list[int]] = [[] for _ in buffers]
        for index, (first, last) in enumerate(self.lives):
            for moment in range(first, last):
                for other in born[moment]:
                    if other < index or first < moment:
                        self.neighbours[index].append(other)
                        self.neighbours[other].append(index)
        # No packing is lower, once its top is rounded up as a session's memory is.
        self.lower_bound = max(self.load)

    def ends(self, offsets: Sequence[int]) -> list[int]:
        """One past the last byte of each buffer."""
        return [offset + size for offset, size in zip(offsets, self.sizes, strict=True)]

    def top(self, offsets: Sequence[int]) -> int:
        """The highest end of a packing."""
        return max(self.ends(offsets))

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
