"""Packing buffers: never overlapping, at the lower bound wherever a search can get there."""

from __future__ import annotations

import random
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.budget import align_up
from edgeinfer.convert.plan.offsets import place_buffers
from edgeinfer.convert.plan.rectangles import Rectangles
from edgeinfer.convert.plan.repair import Budget, repair
from edgeinfer.convert.program import Buffer
from tests.builders.hard_packings import (
    CAPACITY,
    greedy_by_size,
    hard_packing,
    hard_packings,
)


def overlapping(buffers: list[Buffer]) -> list[tuple[int, int]]:
    """Pairs of buffers that share bytes while both live."""
    return [
        (i, j)
        for i, a in enumerate(buffers)
        for j, b in enumerate(buffers[:i])
        if a.first_step <= b.last_step
        and b.first_step <= a.last_step
        and a.offset < b.offset + b.bytes
        and b.offset < a.offset + a.bytes
    ]


def load(buffers: list[Buffer]) -> int:
    """Largest sum of live bytes, each rounded up to 64."""
    last = max(b.last_step for b in buffers)
    return max(
        sum(-(-b.bytes // 64) * 64 for b in buffers if b.first_step <= step <= b.last_step)
        for step in range(last + 1)
    )


def perfect_packing(seed: int, pieces: int) -> list[Buffer]:
    """A rectangle of time and address cut into pieces: the bound can be reached, but only just."""
    chance = random.Random(seed)
    whole = [(0, pieces, 0, 200)]
    while len(whole) < pieces:
        areas = [(t1 - t0) * (a1 - a0) * chance.random() for t0, t1, a0, a1 in whole]
        t0, t1, a0, a1 = whole.pop(areas.index(max(areas)))
        if chance.random() < 0.5 and t1 - t0 > 1:
            cut = chance.randrange(t0 + 1, t1)
            whole += [(t0, cut, a0, a1), (cut, t1, a0, a1)]
        elif a1 - a0 > 1:
            cut = chance.randrange(a0 + 1, a1)
            whole += [(t0, t1, a0, cut), (t0, t1, cut, a1)]
        else:
            whole.append((t0, t1, a0, a1))
    chance.shuffle(whole)
    return [Buffer((a1 - a0) * 64, t0, t1 - 1) for t0, t1, a0, a1 in whole]


buffers_ = st.lists(
    st.builds(
        lambda size, first, length: Buffer(size, first, first + length),
        st.integers(1, 1000),
        st.integers(0, 20),
        st.integers(0, 8),
    ),
    min_size=1,
    max_size=25,
)


@given(buffers_)
def test_buffers_never_overlap_and_are_aligned(buffers: list[Buffer]) -> None:
    top = place_buffers(buffers)
    assert overlapping(buffers) == []
    assert all(buffer.offset % 64 == 0 for buffer in buffers)
    assert top == max(buffer.offset + buffer.bytes for buffer in buffers)
    assert top >= load(buffers) - 63


def test_no_buffers_need_no_memory() -> None:
    assert place_buffers([]) == 0


@pytest.mark.parametrize("pieces", [5, 10, 20, 30])
@pytest.mark.parametrize("seed", range(5))
def test_perfect_packings_are_found(seed: int, pieces: int) -> None:
    buffers = perfect_packing(seed, pieces)
    assert place_buffers(buffers) == load(buffers) == 200 * 64
    assert overlapping(buffers) == []


def test_what_no_order_of_first_fit_packs_is_repaired() -> None:
    """Found by search: seven orders of first fit leave 12 % over the bound."""
    buffers = perfect_packing(1, 40)
    problem = Rectangles(buffers)
    first_fit = problem.first_fit(sorted(range(40), key=lambda i: -problem.sizes[i]))
    assert problem.top(first_fit) > problem.lower_bound
    repaired = repair(problem, first_fit, problem.lower_bound, Budget(1_000_000))
    assert repaired is not None
    assert problem.top(repaired) == problem.lower_bound


def test_repair_tells_when_there_is_no_packing() -> None:
    buffers = [Buffer(64, 0, 1), Buffer(64, 1, 2)]
    problem = Rectangles(buffers)
    assert repair(problem, [0, 64], 64, Budget(1_000_000)) is None


def test_a_spent_budget_ends_the_search() -> None:
    buffers = perfect_packing(1, 40)
    problem = Rectangles(buffers)
    first_fit = problem.first_fit(range(40))
    budget = Budget(10)
    assert repair(problem, first_fit, problem.lower_bound, budget) is None
    assert budget.work == 0


def test_packing_twice_gives_the_same_offsets() -> None:
    first, second = perfect_packing(3, 60), perfect_packing(3, 60)
    place_buffers(first)
    place_buffers(second)
    assert first == second


def test_many_buffers_are_placed_in_time() -> None:
    buffers = [Buffer(1000 + i % 7 * 300, i, i + 1 + i % 5) for i in range(1000)]
    assert place_buffers(buffers) < 1.25 * load(buffers)
    assert overlapping(buffers) == []


def optimum(buffers: list[Buffer]) -> int:
    """The lowest top of all packings: every one can be pushed down to a first fit of some order."""
    problem = Rectangles(buffers)
    return min(problem.top(problem.first_fit(order)) for order in permutations(range(len(buffers))))


few_buffers = st.lists(
    st.builds(
        lambda size, first, length: Buffer(size * 64, first, first + length),
        st.integers(1, 9),
        st.integers(0, 6),
        st.integers(0, 4),
    ),
    min_size=1,
    max_size=5,
)


@given(few_buffers)
def test_few_buffers_are_packed_as_well_as_any_order_packs_them(buffers: list[Buffer]) -> None:
    assert place_buffers(buffers) == optimum(buffers)


@given(buffers_)
def test_no_packing_is_worse_than_greedy_by_size(buffers: list[Buffer]) -> None:
    # Less than 64 above the bound the search ends: a session's memory is rounded up.
    assert place_buffers(buffers) <= align_up(greedy_by_size(buffers), 64)


@pytest.mark.parametrize("seed", range(2))
def test_a_limit_of_time_leaves_the_best_packing_so_far(seed: int) -> None:
    buffers = hard_packing(seed, 300, trimmed=0)
    assert place_buffers(buffers, seconds=0.0) <= greedy_by_size(buffers)
    assert overlapping(buffers) == []


def test_hard_packings_are_as_hard_as_they_claim() -> None:
    for buffers, pieces in zip(hard_packings(3), (154, 304, 454), strict=True):
        assert len(buffers) == pieces
        assert load(buffers) == CAPACITY
        assert 1.30 <= greedy_by_size(buffers) / CAPACITY <= 1.48


def test_without_numba_many_buffers_are_packed_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edgeinfer.convert.plan.offsets._canonical_search", lambda: None)
    buffers = perfect_packing(3, 70)
    assert place_buffers(buffers) <= greedy_by_size(buffers)
    assert overlapping(buffers) == []
