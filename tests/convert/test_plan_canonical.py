"""The compiled search: it finds packings that exist, and proves that others do not."""

from __future__ import annotations

import pytest
from hypothesis import given

from edgeinfer.convert.plan.offsets import place_buffers
from edgeinfer.convert.plan.rectangles import Rectangles
from edgeinfer.convert.plan.repair import Budget
from edgeinfer.convert.program import Buffer
from tests.builders.hard_packings import CAPACITY, hard_packing
from tests.convert.test_plan_offsets import (
    few_buffers,
    load,
    optimum,
    overlapping,
    perfect_packing,
)

canonical = pytest.importorskip(
    "edgeinfer.convert.plan.canonical", reason="needs numba", exc_type=ImportError
)


def pack(buffers: list[Buffer], limit: int, work: int = 100_000_000) -> bool | None:
    """Whether there is a packing, as far as the search can tell; sets the offsets if so."""
    problem = Rectangles(buffers)
    found = canonical.pack_below(problem, limit, Budget(work))
    if found.offsets is None:
        return False if found.impossible else None
    for buffer, offset in zip(buffers, found.offsets, strict=True):
        buffer.offset = offset
    assert problem.top(found.offsets) <= limit
    return True


@given(few_buffers)
def test_the_optimum_is_found_and_nothing_below_it(buffers: list[Buffer]) -> None:
    best = optimum(buffers)
    assert pack(buffers, best) is True
    assert overlapping(buffers) == []
    assert pack(buffers, best - 64) is False


@pytest.mark.parametrize("pieces", [10, 40, 60])
@pytest.mark.parametrize("seed", range(5))
def test_perfect_packings_are_found(seed: int, pieces: int) -> None:
    buffers = perfect_packing(seed, pieces)
    assert pack(buffers, load(buffers), 1_000_000_000)
    assert overlapping(buffers) == []


def test_parts_that_share_no_time_are_packed_one_by_one() -> None:
    parts = [perfect_packing(seed, 30) for seed in range(20)]
    buffers = [
        Buffer(b.bytes, b.first_step + 100 * number, b.last_step + 100 * number)
        for number, part in enumerate(parts)
        for b in part
    ]
    assert place_buffers(buffers) == load(buffers) == 200 * 64
    assert overlapping(buffers) == []


def test_empty_buffers_do_not_matter() -> None:
    buffers = [Buffer(0, 0, 3), Buffer(64, 0, 1), Buffer(0, 1, 1), Buffer(128, 1, 2)]
    assert pack(buffers, 192)
    assert overlapping(buffers) == []


def test_a_spent_budget_ends_the_search() -> None:
    buffers = hard_packing(1, 300, trimmed=0)
    budget = Budget(3_000_000)
    found = canonical.pack_below(Rectangles(buffers), CAPACITY, budget)
    assert found.offsets is None
    assert not found.impossible
    assert -1_000_000 < budget.work <= 0


def test_packing_twice_gives_the_same_offsets() -> None:
    first, second = (hard_packing(7, 154) for _ in range(2))
    assert pack(first, int(1.1 * CAPACITY)) and pack(second, int(1.1 * CAPACITY))
    assert [b.offset for b in first] == [b.offset for b in second]
