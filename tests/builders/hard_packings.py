"""Packings that are hard to find: a rectangle of time and address, full at its fullest moment.

The whole is cut into pieces, along time or along addresses or like a pinwheel, so that no straight
cut parts it. Then half of the pieces that do not live in the middle give up some of their time, as
buffers of networks rarely follow each other without a pause. A packing at the load is known to
exist. Kept are those that greedy by size packs into 1.30 to 1.48 times the load.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from edgeinfer.convert.plan.rectangles import Rectangles
from edgeinfer.convert.program import Buffer

CAPACITY = 1_048_576
_TILE = 4096  # sizes are multiples of it, as those of tiles are
_PINWHEELS = 0.15
_GREEDY = (1.30, 1.48)

_Piece = tuple[int, int, int, int]  # begin and end in time, begin and end in address


def hard_packing(seed: int, pieces: int, *, trimmed: float = 0.5) -> list[Buffer]:
    """One instance, not selected; the share `trimmed` of pieces lives for less than its cut."""
    chance = random.Random(seed)
    whole = _cut(chance, pieces, CAPACITY // _TILE)
    buffers = []
    for begin, end, low, high in whole:
        if not begin <= pieces // 2 < end and chance.random() < trimmed:
            length = chance.randint(1, end - begin)
            begin = chance.randint(begin, end - length)
            end = begin + length
        buffers.append(Buffer((high - low) * _TILE, begin, end - 1))
    chance.shuffle(buffers)
    return buffers


def hard_packings(count: int = 11, least: int = 154, most: int = 454) -> Iterator[list[Buffer]]:
    """Instances of growing size, the first of each size that greedy by size finds hard enough."""
    for number in range(count):
        pieces = least + (most - least) * number // max(count - 1, 1)
        seed = pieces * 1000
        while not _GREEDY[0] <= greedy_by_size(hard_packing(seed, pieces)) / CAPACITY <= _GREEDY[1]:
            seed += 1
        yield hard_packing(seed, pieces)


def greedy_by_size(buffers: list[Buffer]) -> int:
    """What placing the largest first needs."""
    problem = Rectangles(buffers)
    order = sorted(range(len(buffers)), key=lambda i: -buffers[i].bytes)
    return problem.top(problem.first_fit(order))


def _cut(chance: random.Random, pieces: int, height: int) -> list[_Piece]:
    whole = [(0, pieces, 0, height)]
    while len(whole) < pieces:
        areas = [(t1 - t0) * (a1 - a0) * chance.random() for t0, t1, a0, a1 in whole]
        whole += _cut_one(chance, whole.pop(areas.index(max(areas))), pieces - len(whole))
    return whole


def _cut_one(chance: random.Random, piece: _Piece, room: int) -> list[_Piece]:
    t0, t1, a0, a1 = piece
    if chance.random() < _PINWHEELS and t1 - t0 >= 3 and a1 - a0 >= 3 and room >= 5:
        u0, u1 = sorted(chance.sample(range(t0 + 1, t1), 2))
        b0, b1 = sorted(chance.sample(range(a0 + 1, a1), 2))
        middle = (u0, u1, b0, b1)
        if chance.random() < 0.5:
            return [(t0, u1, a0, b0), (u1, t1, a0, b1), (u0, t1, b1, a1), (t0, u0, b0, a1), middle]
        return [(u0, t1, a0, b0), (u1, t1, b0, a1), (t0, u1, b1, a1), (t0, u0, a0, b1), middle]
    if chance.random() < 0.5 and t1 - t0 > 1:
        cut = chance.randrange(t0 + 1, t1)
        return [(t0, cut, a0, a1), (cut, t1, a0, a1)]
    if a1 - a0 > 1:
        cut = chance.randrange(a0 + 1, a1)
        return [(t0, t1, a0, cut), (t0, t1, cut, a1)]
    return [piece]
