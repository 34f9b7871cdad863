"""Runs by rows: any chunks give the bits of a run, in memory that holds a few rows of the input."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import edgeinfer
from edgeinfer._ffi import ffi, lib
from edgeinfer.convert.plan.verify import PlanError, verify_plan
from edgeinfer.convert.program import Buffer, Placement, Value
from edgeinfer.convert.write import write_model
from tests.convert.random_programs import evaluate, max_pool, maximum, random_inputs
from tests.core.c_api import NULL, OpenModel, ok, own_buffer, pointer, pointers, refused, run
from tests.core.edge_file import aligned
from tests.core.fed_programs import pooled, smallest_rings, two_inputs, with_rings
from tests.core.guarded import checksums
from tests.core.programs import Draft, activation, apply_table, chain, flip, largest, lut

ARGUMENT = "EI_ERROR_ARGUMENT"


class Fed:
    """A session that is fed through the C API."""

    def __init__(self, draft: Draft, threads: int = 1) -> None:
        self.model = OpenModel(draft.write())
        size = self.model.session_bytes(threads=threads)
        self.session = self.model.session(aligned(bytes(size)), threads=threads)

    def feed(self, rows: np.ndarray, index: int = 0) -> int:
        """Rows taken of these, the first axis of which counts them."""
        taken = ffi.new("uint32_t *", 99)
        rows = np.ascontiguousarray(rows)
        ok(lib().ei_session_feed(self.session, index, pointer(rows), len(rows), taken))
        return int(taken[0])

    def left(self, index: int = 0) -> int:
        return int(lib().ei_session_rows_left(self.session, index))

    def next_input(self) -> int:
        return int(lib().ei_session_next_input(self.session))

    def output(self, value: Value) -> np.ndarray:
        own = lib().ei_session_output(self.session, 0)
        return own_buffer(own, value.shape, value.dtype).copy()


def rows_of(array: np.ndarray) -> np.ndarray:
    """[rows, elements of one]."""
    return array.reshape(array.shape[0] * array.shape[1], -1)


def chunks(rows: np.ndarray, sizes: list[int]) -> Iterator[np.ndarray]:
    """Pieces of these sizes, over and over."""
    begin, turn = 0, 0
    while begin < len(rows):
        yield rows[begin : begin + sizes[turn % len(sizes)]]
        begin += sizes[turn % len(sizes)]
        turn += 1


@st.composite
def pools(draw: st.DrawFn) -> Draft:
    kernel = draw(st.integers(1, 4))
    return pooled(
        draw(st.integers(4, 12)),
        images=draw(st.integers(1, 3)),
        kernel=kernel,
        stride=draw(st.integers(1, 3)),
        pad=draw(st.integers(0, kernel - 1)),
        band=draw(st.integers(1, 4)),
        spare=draw(st.integers(0, 2)),
        whole=draw(st.booleans()),
    )


@given(pools(), st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(0, 99))
def test_any_chunks_give_the_bits_of_a_run(draft: Draft, sizes: list[int], seed: int) -> None:
    program, plan = draft.planned()
    verify_plan(program, plan)
    fed = Fed(draft)
    y = program.outputs[0]
    for turn in range(2):  # a run by rows begins anew after the last row of one
        (x,) = random_inputs(program, seed + turn)
        (expected,) = evaluate(program, [x])
        left = len(rows_of(x))
        for chunk in chunks(rows_of(x), sizes):
            assert fed.feed(chunk) == len(chunk)
            left -= len(chunk)
            assert fed.left() == left
            assert fed.next_input() == (0 if left else 1)
        np.testing.assert_array_equal(fed.output(y), expected)
        result = np.empty(y.shape, y.dtype)
        ok(run(fed.session, pointers(x), pointers(result)))
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_share_the_steps(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEINFER_PART_WORK", "1")
    draft = pooled(12, band=4)
    fed = Fed(draft, threads)
    assert lib().ei_session_threads(fed.session) == threads
    (x,) = random_inputs(draft.program)
    for row in rows_of(x):
        assert fed.feed(row[None]) == 1
    np.testing.assert_array_equal(
        fed.output(draft.program.outputs[0]), evaluate(draft.program, [x])[0]
    )
    lib().ei_session_close(fed.session)


@pytest.mark.parametrize("ahead", [0, 3])
@pytest.mark.parametrize("whole", [False, True])
@given(st.lists(st.integers(1, 5), min_size=1), st.lists(st.integers(1, 5), min_size=1))
def test_a_step_waits_for_all_inputs(
    ahead: int, whole: bool, a_sizes: list[int], b_sizes: list[int]
) -> None:
    draft = two_inputs(ahead=ahead, whole=whole)
    a, b = random_inputs(draft.program)
    fed = Fed(draft)
    rows, given_rows = [rows_of(a), rows_of(b)], [0, 0]
    sizes = [a_sizes, b_sizes]
    turn = 0
    while fed.next_input() < 2:
        index = fed.next_input()
        begin = given_rows[index]
        chunk = rows[index][begin : begin + sizes[index][turn % len(sizes[index])]]
        taken = fed.feed(chunk, index)
        assert 0 < taken <= len(chunk)
        assert taken == len(chunk) or not whole
        given_rows[index] += taken
        assert [fed.left(0), fed.left(1)] == [8 - n for n in given_rows]
        turn += 1
    expected = np.maximum(apply_table(a), apply_table(b))
    np.testing.assert_array_equal(fed.output(draft.program.outputs[0]), expected)


def test_rows_that_another_inputs_rows_must_come_before_are_left() -> None:
    fed = Fed(two_inputs(ahead=3))
    a = rows_of(random_inputs(two_inputs().program)[0])
    assert fed.next_input() == 0
    assert fed.feed(a) == 4  # three ahead, and the one that comes before the first of b
    assert fed.next_input() == 1
    assert fed.feed(a[4:]) == 0


def test_rows_of_a_whole_input_are_taken_early() -> None:
    fed = Fed(two_inputs(whole=True))
    a = rows_of(random_inputs(two_inputs().program)[0])
    assert fed.feed(a) == 8
    assert (fed.left(0), fed.left(1), fed.next_input()) == (0, 8, 1)


def test_rows_after_the_last_that_is_read_are_not_stored() -> None:
    """A buffer whose last step is over may be another's: here of `g`, which is written later."""
    x, h, g, y = activation("x", 4), activation("h", 2), activation("g", 2), activation("y", 2)
    operations = [max_pool(x, h, 1, 1), lut(h, g), lut(g, y)]
    h.shape = g.shape = y.shape = (1, 2, 4, 16)
    draft = Draft([x], [y], operations).place(h)
    program, plan = draft.walk((0, 0, 1), (0, 1, 2), (1, 0, 2), (2, 0, 2)).planned()
    plan.buffers[plan.placements[x].buffer].last_step = 1
    plan.placements[g] = Placement(len(plan.buffers), 0, 2)
    plan.buffers.append(Buffer(2 * 64, 2, 3, plan.buffers[plan.placements[x].buffer].offset))
    data = random_inputs(program)[0]
    with edgeinfer.load(write_model([(program, plan)], {})) as model:
        expected = model.run(data)
        assert model.feed(data[0, :2]) is None
        np.testing.assert_array_equal(model.feed(data[0, 2:]), expected)


# --- beginning, abandoning, failing


def test_results_go_where_begin_says() -> None:
    draft = pooled(8)
    fed = Fed(draft)
    (x,) = random_inputs(draft.program)
    y = np.zeros(draft.program.outputs[0].shape, np.int8)
    ok(lib().ei_session_begin(fed.session, pointers(y)))
    fed.feed(rows_of(x))
    np.testing.assert_array_equal(y, evaluate(draft.program, [x])[0])
    fed.feed(rows_of(x)[::-1])  # the next run's go to the session's own buffer
    np.testing.assert_array_equal(y, evaluate(draft.program, [x])[0])


@pytest.mark.parametrize("by", ["begin", "run"])
def test_a_run_by_rows_is_abandoned(by: str) -> None:
    draft = pooled(8)
    fed = Fed(draft)
    x, other = random_inputs(draft.program)[0], random_inputs(draft.program, 1)[0]
    fed.feed(rows_of(other)[:5])
    assert fed.left() == 3
    if by == "begin":
        ok(lib().ei_session_begin(fed.session, NULL))
    else:
        y = np.zeros(draft.program.outputs[0].shape, np.int8)
        ok(run(fed.session, pointers(other), pointers(y)))
    assert fed.left() == 8
    assert fed.feed(rows_of(x)) == 8
    np.testing.assert_array_equal(
        fed.output(draft.program.outputs[0]), evaluate(draft.program, [x])[0]
    )


def test_a_run_that_is_refused_changes_nothing() -> None:
    draft = pooled(8)
    fed = Fed(draft)
    (x,) = random_inputs(draft.program)
    fed.feed(rows_of(x)[:5])
    y = np.zeros(draft.program.outputs[0].shape, np.int8)
    refused(run(fed.session, pointers(x), pointers(x)), ARGUMENT, "overlaps an input")
    fed.feed(rows_of(x)[5:])
    np.testing.assert_array_equal(
        fed.output(draft.program.outputs[0]), evaluate(draft.program, [x])[0]
    )
    assert not y.any()


def test_too_many_rows_are_refused_and_none_is_taken() -> None:
    draft = pooled(8)
    fed = Fed(draft)
    (x,) = random_inputs(draft.program)
    fed.feed(rows_of(x)[:5])
    taken = ffi.new("uint32_t *", 99)
    rows = np.zeros((4, 20), np.int8)
    code = lib().ei_session_feed(fed.session, 0, pointer(rows), 4, taken)
    refused(code, ARGUMENT, "input 0 'x': 4 rows are given, 3 of its 8 are still to come")
    assert (taken[0], fed.left()) == (99, 3)


def test_the_session_has_no_buffer_for_all_of_a_ring() -> None:
    fed = Fed(pooled(8))
    message = "the session itself holds 3 of its 8 rows: give an array, or feed it by rows"
    refused(run(fed.session), ARGUMENT, "inputs 0 'x'", message)
    fed.feed(np.zeros((1, 20), np.int8))  # views are where a run by rows has them
    refused(run(fed.session), ARGUMENT, message)
    assert fed.left() == 7
    assert lib().ei_session_input(fed.session, 0) == NULL
    assert "holds 3 of its 8 rows" in ffi.string(lib().ei_last_error()).decode()


def test_arguments() -> None:
    fed, c = Fed(pooled(8)), lib()
    taken, rows = ffi.new("uint32_t *"), np.zeros((1, 20), np.int8)
    assert fed.feed(rows[:0]) == 0
    refused(c.ei_session_begin(NULL, NULL), ARGUMENT, "session is NULL")
    refused(c.ei_session_feed(NULL, 0, pointer(rows), 1, taken), ARGUMENT, "session is NULL")
    refused(c.ei_session_feed(fed.session, 0, NULL, 1, taken), ARGUMENT, "rows is NULL")
    refused(c.ei_session_feed(fed.session, 0, pointer(rows), 1, NULL), ARGUMENT, "taken is NULL")
    refused(c.ei_session_feed(fed.session, 1, pointer(rows), 1, taken), ARGUMENT, "has 1 inputs")
    own = c.ei_session_output(fed.session, 0)
    refused(c.ei_session_feed(fed.session, 0, own, 1, taken), ARGUMENT, "overlap the session")
    x, y = np.zeros((8, 20), np.int8), np.zeros(160, np.int8)
    ok(c.ei_session_begin(fed.session, pointers(y)))
    assert fed.feed(x) == 8
    assert (c.ei_session_rows_left(NULL, 0), c.ei_session_next_input(NULL)) == (0, 0)
    assert c.ei_session_rows_left(fed.session, 1) == 0
    info = ffi.new("ei_input_rows *")
    refused(c.ei_model_input_rows(NULL, 0, 0, info), ARGUMENT, "model is NULL")
    refused(c.ei_model_input_rows(fed.model.model, 0, 0, NULL), ARGUMENT, "rows is NULL")
    refused(c.ei_model_input_rows(fed.model.model, 0, 1, info), ARGUMENT, "has 1 inputs")
    ok(c.ei_model_input_rows(fed.model.model, 0, 0, info))
    assert (info.rows, info.held_rows, info.row_bytes) == (8, 3, 20)


def test_rows_need_no_alignment() -> None:
    x, y = Value("x", (4, 3), "int32"), Value("y", (4, 3), "int32")
    zero = Value("zero", (1,), "int32", data=np.zeros(1, np.int32))
    steps = [(0, row, row + 1) for row in range(4)]
    fed = Fed(with_rings([x], [y], [maximum(x, zero, y)], steps, whole=True))
    data = np.arange(-6, 6, dtype=np.int32)
    odd = np.zeros(49, np.uint8)
    odd[1:] = data.view(np.uint8)
    taken = ffi.new("uint32_t *")
    for row in range(4):
        ok(lib().ei_session_feed(fed.session, 0, pointer(odd[1 + 12 * row :]), 1, taken))
    np.testing.assert_array_equal(fed.output(y).reshape(-1), np.maximum(data, 0))


def test_ticks_are_those_of_the_steps() -> None:
    draft = pooled(8)
    fed = Fed(draft)
    ticks = np.zeros(len(draft.steps) + 1, np.uint64)
    address = ffi.cast("uint64_t *", ticks.ctypes.data)
    ok(lib().ei_session_profile(fed.session, address, len(ticks)))
    (x,) = random_inputs(draft.program)
    rows = rows_of(x)
    fed.feed(rows[:4])
    assert ticks[:4].all() and not ticks[4:].any()  # three steps have their rows
    fed.feed(rows[4:])
    assert (np.diff(ticks.astype(np.int64)) >= 0).all() and ticks.all()


# --- what files may say


def test_two_operands_of_one_ring_are_read_at_the_same_time() -> None:
    """Feeding for one must not cost the rows of the other."""
    x, y = activation("x"), activation("y")
    good = with_rings([x], [y], [largest(x, x, y)], [(0, row, row + 1) for row in range(8)])
    good.buffers[good.placements[x].buffer].bytes = 64
    good.placements[x] = Placement(good.placements[x].buffer, 0, 1)
    fed = Fed(good)
    data = random_inputs(good.program)[0]
    fed.feed(rows_of(data))
    np.testing.assert_array_equal(fed.output(y), data)


def test_a_view_of_a_ring_is_fed_with_it() -> None:
    x, view, y = activation("x"), activation("view"), activation("y")
    draft = with_rings([x], [y], [lut(view, y)], [(0, row, row + 1) for row in range(8)])
    buffer = draft.placements[x].buffer
    draft.buffers[buffer].bytes = 3 * 64
    draft.placements[x] = draft.placements[view] = Placement(buffer, 0, 3)
    fed = Fed(draft)
    data = random_inputs(draft.program)[0]
    for row in rows_of(data):
        assert fed.feed(row[None]) == 1
    np.testing.assert_array_equal(fed.output(y), apply_table(data))


def test_a_ring_that_is_too_small_is_refused() -> None:
    for band in (1, 3):
        draft = pooled(8, band=band)
        x = draft.program.inputs[0]
        place = draft.placements[x]
        assert place.ring_rows == smallest_rings(draft)[x] == band + 2
        draft.placements[x] = Placement(place.buffer, 0, band + 1)
        draft.buffers[place.buffer].bytes -= x.row_bytes
        with pytest.raises(edgeinfer.ModelFileError, match=r"row \d has left the ring of . rows"):
            edgeinfer.load(draft.write())
        with pytest.raises(PlanError, match=r"of a ring of|whose bytes are not there"):
            verify_plan(*draft.planned())


def test_operators_that_need_all_rows_refuse_a_ring() -> None:
    x, y = activation("x"), activation("y")
    draft = Draft([x], [y], [flip(x, y)])
    draft.buffers[0].bytes = 4 * 64
    draft.placements[x] = Placement(0, 0, 4)
    with pytest.raises(edgeinfer.ModelFileError, match="row 0 has left the ring of 4 rows: 8 are"):
        edgeinfer.load(draft.write())


def test_a_ring_fills_its_buffer_and_an_output_is_none() -> None:
    draft = pooled(8)
    draft.buffers[draft.placements[draft.program.inputs[0]].buffer].bytes += 20
    with pytest.raises(edgeinfer.ModelFileError, match="input 0: must be a ring that fills buffer"):
        edgeinfer.load(draft.write())
    draft = chain()
    y = draft.program.outputs[0]
    draft.placements[y] = Placement(draft.placements[y].buffer, 0, 4)
    draft.buffers[draft.placements[y].buffer].bytes = 256
    with pytest.raises(edgeinfer.ModelFileError, match="output 0: must be a whole tensor"):
        edgeinfer.load(draft.write())


def test_the_arena_has_no_room_for_the_input() -> None:
    with (
        edgeinfer.load(pooled(12).write()) as ring,
        edgeinfer.load(pooled(12, whole=True).write()) as whole,
    ):
        assert whole.plan.arena_bytes - ring.plan.arena_bytes == 9 * 20  # three rows are held


@pytest.mark.parametrize("edge", ["begin", "end"])
def test_no_byte_outside_is_touched(edge: str, tmp_path: Path) -> None:
    drafts = {
        "pooled": pooled(9),
        "strided": pooled(11, kernel=2, stride=3, pad=0),
        "bands": pooled(12, band=5, spare=1, images=2),
        "two": two_inputs(ahead=2),
        "whole": pooled(9, whole=True),
    }
    files = {name: draft.write() for name, draft in drafts.items()}
    checksums(edge, files, tmp_path)
