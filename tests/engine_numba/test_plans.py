"""Plans as the format allows them: rings, results in place, views; drawn programs as planned."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import edgeinfer
from edgeinfer.convert.plan import plan_program
from edgeinfer.convert.program import Program
from edgeinfer.convert.write import write_model
from edgeinfer.engine_numba.node import boxes, outer_axes
from tests.convert.random_programs import programs
from tests.core.edge_file import EdgeFile
from tests.core.programs import Draft, apply_table, chain, concatenation, in_place, ring
from tests.engine_numba.engines import random_feed, run_on_both


@pytest.mark.parametrize("draft", [chain, ring, in_place, concatenation])
def test_bits_of_plans_made_by_hand(draft: Callable[[], Draft]) -> None:
    file = draft().write()
    rng = np.random.default_rng(5)
    with edgeinfer.load(file) as model:
        feeds = [random_feed(model, rng) for _ in range(3)]
    run_on_both(file, *feeds)


@settings(max_examples=min(100, settings().max_examples))
@given(programs(), st.integers(0, 2**32 - 1))
def test_bits_of_drawn_programs(program: Program, seed: int) -> None:
    file = write_model([(program, plan_program(program))], {})
    with edgeinfer.load(file) as model:
        feed = random_feed(model, np.random.default_rng(seed))
    run_on_both(file, feed, feed)


def test_a_tensor_may_lie_in_the_state_and_outlives_a_run() -> None:
    file = EdgeFile(chain().write())
    buffer, program = file.buffers[2], file.programs[0]
    size = int(buffer["bytes"])
    buffer["region"], buffer["offset"], buffer["first_step"], buffer["last_step"] = 1, 0, 0, 1
    program["arena_bytes"] = program["arena_bytes"] - size
    program["state_bytes"] = size
    with edgeinfer.load(file.build(), engine="numba") as model:
        x = np.arange(512, dtype=np.int8).reshape(model.inputs[0].shape)
        np.testing.assert_array_equal(model.run(x), np.maximum(x, apply_table(x)))


@given(
    st.lists(st.integers(1, 4), min_size=0, max_size=6),
    st.integers(0, 300),
    st.integers(0, 300),
)
def test_boxes_are_the_rows_in_order(shape: list[int], first: int, second: int) -> None:
    dims = tuple(shape[: outer_axes(len(shape))])
    rows = np.arange(int(np.prod(dims))).reshape(dims)
    begin, end = sorted((first % (rows.size + 1), second % (rows.size + 1)))
    found = [np.atleast_1d(rows[box]).reshape(-1) for box in boxes(shape, begin, end)]
    assert [int(row) for part in found for row in part] == list(range(begin, end))
    assert len(found) <= max(1, 2 * len(dims) - 1)
