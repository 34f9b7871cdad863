"""Tensors of one buffer that overlap by rows: what the validator proves, row by row.

Rules 26 and 35 to 41 of docs/format.md, kept and broken by hand. `test_random_overlaps.py` holds
the validator against a simulation of every byte.
"""

from __future__ import annotations

import struct
import time

import numpy as np
import pytest

import edgeinfer
from edgeinfer.convert.program import Placement
from tests.core.edge_file import check
from tests.core.programs import (
    ROW_BYTES,
    ROWS,
    Draft,
    activation,
    apply_table,
    chain,
    drop_rows,
    flip,
    in_place,
    largest,
    lut,
    pool,
    ring,
)
from tests.core.test_validator_plan import accepted, in_place_ring, refused, values


def by_rows(*operations: int, rows: int = ROWS) -> list[tuple[int, int, int]]:
    """Steps of one row each, the operations taking turns."""
    return [(operation, r, r + 1) for r in range(rows) for operation in operations]


def three_rows(x: np.ndarray) -> np.ndarray:
    """What `pool` computes with three rows, one of them outside at each end."""
    padded = np.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)), constant_values=-128)
    return np.maximum(np.maximum(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])


# --- an output that begins below its input


def pooled_below(distance: int) -> Draft:
    """h = lut(x), whole, and below it g = pool(h), row by row; y = lut(g)."""
    x, h, g, y = (activation(name) for name in "xhgy")
    draft = Draft([x], [y], [lut(x, h), pool(h, g, 3, 1, 1), lut(g, y)])
    draft.overlap({g: (0, None), h: (distance, None)})
    return draft.walk((0, 0, ROWS), *by_rows(1), (2, 0, ROWS))


def test_output_rows_may_take_the_place_of_dead_input_rows() -> None:
    model = accepted(pooled_below(2 * ROW_BYTES))
    assert model.plan.arena_bytes == (ROWS + ROWS + (ROWS + 2)) * ROW_BYTES
    x = values(1)
    np.testing.assert_array_equal(model.run(x), apply_table(three_rows(apply_table(x))))


@pytest.mark.parametrize("distance", [ROW_BYTES, 2 * ROW_BYTES - 16, 2 * ROW_BYTES - 1])
def test_a_step_does_not_write_where_it_reads(distance: int) -> None:
    words = "operands 0 and 1 overlap in buffer 2: rows 0 to 3 are read where rows 1 to 2 are"
    refused(pooled_below(distance), "step 2: node 1", words, "does not work in place")


def test_a_tall_band_needs_a_greater_distance() -> None:
    draft = pooled_below(2 * ROW_BYTES)
    steps = [(0, 0, ROWS), *[(1, r, r + 2) for r in range(0, ROWS, 2)], (2, 0, ROWS)]
    refused(draft.walk(*steps), "step 2: node 1", "rows 1 to 5 are read where rows 2 to 4 are")
    accepted(pooled_below(3 * ROW_BYTES).walk(*steps))


def lut_below(*steps: tuple[int, int, int]) -> Draft:
    """h = lut(x) and, a row below it, g = lut(h); k = max(h, g), elsewhere."""
    x, h, g, k = (activation(name) for name in "xhgk")
    draft = Draft([x], [k], [lut(x, h), lut(h, g), largest(h, g, k)])
    return draft.overlap({g: (0, None), h: (ROW_BYTES, None)}).walk((0, 0, ROWS), *steps)


def test_input_rows_may_be_read_until_they_are_overwritten() -> None:
    x = values(2)
    h = apply_table(x)
    found = accepted(lut_below(*by_rows(1, 2))).run(x)
    np.testing.assert_array_equal(found, np.maximum(h, apply_table(h)))


def test_input_rows_are_not_read_after_they_were_overwritten() -> None:
    steps = [(1, 0, 1), (1, 1, 2), (2, 0, 1), *by_rows(1, 2)[4:]]
    refused(
        lut_below(*steps), "step 3", "'h': row 0 is read after tensor", "was written over row 0"
    )


def test_working_in_place_is_no_licence_to_overlap_in_part() -> None:
    draft = lut_below((1, 0, ROWS), (2, 0, ROWS))
    refused(draft, "step 1: node 1", "working in place needs the same bytes, shape")


def test_working_in_place_goes_on_where_others_overlap() -> None:
    x, h, again, g, y = (activation(name) for name in ("x", "h", "again", "g", "y"))
    operations = [lut(x, h), lut(h, again), lut(again, g), lut(g, y)]
    draft = Draft([x], [y], operations)
    draft.overlap({g: (0, None), h: (ROW_BYTES, None), again: (ROW_BYTES, None)})
    draft.walk((0, 0, ROWS), *by_rows(1, 2), (3, 0, ROWS))
    expected = x_values = values(3)
    for _ in range(4):
        expected = apply_table(expected)
    np.testing.assert_array_equal(accepted(draft).run(x_values), expected)
    draft.program.operations[3] = lut(again, y)
    refused(draft, "'again': row 0 is read after tensor")


def test_what_is_written_later_is_not_lost() -> None:
    """g lies where h gets its last rows: they may be written once nobody needs g any more."""
    x, h, y = activation("x"), activation("h"), activation("y")
    a, g, z = activation("a", 2), activation("g", 2), activation("z", 2)
    draft = Draft([x, a], [y, z], [lut(x, h), lut(h, y), lut(a, g), lut(g, z)])
    draft.overlap({h: (0, None), g: ((ROWS - 2) * ROW_BYTES, None)})
    draft.walk((0, 0, 6), (2, 0, 2), (3, 0, 2), (0, 6, 8), (1, 0, 8))
    given = {"x": values(4), "a": values(5, (1, 2, 4, 16))}
    found = accepted(draft).run(given)
    for name, source in (("y", "x"), ("z", "a")):
        np.testing.assert_array_equal(found[name], apply_table(apply_table(given[source])))
    draft.walk((0, 0, 6), (2, 0, 2), (0, 6, 7), (3, 0, 2), (0, 7, 8), (1, 0, 8))
    refused(draft, "step 3", "'g': row 0 is read after tensor", "was written over row 0")


def test_an_operator_that_reads_further_on_may_write_over_its_very_input() -> None:
    x, h, y = activation("x"), activation("h"), activation("y", ROWS - 2)
    g = activation("g", ROWS - 2)
    draft = Draft([x], [y], [lut(x, h), drop_rows(h, g), lut(g, y)])
    draft.overlap({h: (0, None), g: (0, None)})
    draft.walk((0, 0, ROWS), *[(1, r, r + 2) for r in range(0, ROWS - 2, 2)], (2, 0, ROWS - 2))
    x_values = values(5)
    expected = apply_table(apply_table(x_values))[:, 2:]
    np.testing.assert_array_equal(accepted(draft).run(x_values), expected)
    draft.walk((0, 0, ROWS), (1, 0, 3), (1, 3, 6), (2, 0, ROWS - 2))
    refused(draft, "step 1: node 1", "rows 2 to 5 are read where rows 0 to 3 are written")


def test_all_operands_are_kept_apart() -> None:
    x, h, k, g, y = (activation(name) for name in "xhkgy")
    draft = Draft([x], [y], [lut(x, h), lut(x, k), largest(k, h, g), lut(g, y)]).place(k)
    draft.overlap({g: (0, None), h: (ROW_BYTES, None)})
    draft.walk((0, 0, ROWS), (1, 0, ROWS), *by_rows(2), (3, 0, ROWS))
    accepted(draft)
    draft.walk((0, 0, ROWS), (1, 0, ROWS), (2, 0, ROWS), (3, 0, ROWS))
    refused(draft, "step 2", "operands 1 and 2 overlap in buffer 3")


# --- rings


def ring_in_the_tail(place: int) -> Draft:
    """g = max(x, h), row by row, h being a ring of two rows at row `place` of g; y = lut(g)."""
    x, h, g, y = (activation(name) for name in "xhgy")
    draft = Draft([x], [y], [lut(x, h), largest(x, h, g), lut(g, y)])
    draft.overlap({g: (0, None), h: (place * ROW_BYTES, 2)})
    return draft.walk(*by_rows(0, 1), (2, 0, ROWS))


def test_a_ring_may_lie_in_rows_that_are_not_written_yet() -> None:
    model = accepted(ring_in_the_tail(ROWS - 1))
    assert model.plan.arena_bytes == (3 * ROWS + 1) * ROW_BYTES
    x = values(6)
    np.testing.assert_array_equal(model.run(x), apply_table(np.maximum(x, apply_table(x))))


def test_a_ring_ends_before_the_rows_in_its_place_are_written() -> None:
    words = "rows 6 to 7 are read where rows 6 to 7 are written"
    refused(ring_in_the_tail(ROWS - 2), "step 13: node 1", words)


def ring_in_the_output(place: int) -> Draft:
    """k = max(x, h), h being a ring of two rows at row `place` of the graph output y = lut(k)."""
    x, h, k, y = (activation(name) for name in "xhky")
    draft = Draft([x], [y], [lut(x, h), largest(x, h, k), lut(k, y)]).place(k)
    draft.placements[h] = Placement(draft.placements[y].buffer, place * ROW_BYTES, 2)
    return draft


def test_the_graph_output_may_hold_a_ring_meanwhile() -> None:
    x = values(6)
    expected = apply_table(np.maximum(x, apply_table(x)))
    for place in (0, 3, ROWS - 2):
        draft = ring_in_the_output(place).walk(*by_rows(0, 1), (2, 0, ROWS))
        np.testing.assert_array_equal(accepted(draft).run(x), expected)
    draft = ring_in_the_output(ROWS - 2).walk(*by_rows(0, 1, 2))
    np.testing.assert_array_equal(accepted(draft).run(x), expected)
    draft = ring_in_the_output(0).walk(*by_rows(0, 1, 2))
    refused(draft, "after the last step: graph output 0", "'y': row 0 is read after tensor")


def test_such_a_ring_stays_one_in_the_memory_of_the_caller() -> None:
    """All of its rows would go beyond the output's end."""
    model = accepted(ring_in_the_output(ROWS - 2).walk(*by_rows(0, 1), (2, 0, ROWS)))
    x, size = values(6), ROWS * ROW_BYTES
    memory = np.full(3 * size, 0x5A, np.int8)
    model.run_into(memory[size : 2 * size].reshape(x.shape), x)
    expected = apply_table(np.maximum(x, apply_table(x)))
    np.testing.assert_array_equal(memory[size : 2 * size].reshape(x.shape), expected)
    assert (memory[:size] == 0x5A).all() and (memory[2 * size :] == 0x5A).all()


def wrapped(*steps: tuple[int, int, int]) -> Draft:
    """h, a ring of three rows, and k, one row in the first place of it; z = lut(k)."""
    x, h, y = activation("x"), activation("h"), activation("y")
    a, k, z = activation("a", 1), activation("k", 1), activation("z", 1)
    operations = [lut(x, h), largest(x, h, y), lut(a, k), lut(k, z)]
    draft = Draft([x, a], [y, z], operations).overlap({h: (0, 3), k: (0, None)})
    return draft.walk(*steps)


def test_rows_that_wrap_around_touch_two_places() -> None:
    begin, end = [(0, 0, 2), (1, 0, 2), (2, 0, 1)], [(1, 2, 4), (0, 4, 6), (1, 4, 6)]
    end += [(0, 6, 8), (1, 6, 8)]
    x, a = values(7), values(8, (1, 1, 4, 16))
    found = accepted(wrapped(*begin, (3, 0, 1), (0, 2, 4), *end)).run({"x": x, "a": a})
    np.testing.assert_array_equal(found["y"], np.maximum(x, apply_table(x)))
    np.testing.assert_array_equal(found["z"], apply_table(apply_table(a)))
    # Rows 2 and 3 lie in the last and in the first place.
    late = wrapped(*begin, (0, 2, 4), (3, 0, 1), *end)
    refused(late, "step 4", "'k': row 0 is read after tensor", "was written over row 0")


def test_of_a_ring_the_newest_row_in_a_place_is_lost() -> None:
    steps = [(0, 0, 2), (1, 0, 2), (0, 2, 4), (2, 0, 1)]  # k over row 3 of h
    rest = [(3, 0, 1), (1, 2, 4), (0, 4, 6), (1, 4, 6), (0, 6, 8), (1, 6, 8)]
    refused(wrapped(*steps, *rest), "step 5", "'h': row 2 is read after", "written over row 3")
    steps = [(0, 0, 2), (1, 0, 2), (0, 2, 3), (2, 0, 1)]  # k over row 0 of h
    rest = [(3, 0, 1), (0, 3, 4), (1, 2, 4), (0, 4, 6), (1, 4, 6), (0, 6, 8), (1, 6, 8)]
    accepted(wrapped(*steps, *rest))


def two_rings(first: int, second: int) -> Draft:
    """Rings of `first` and `second` rows at the same bytes, one after the other."""
    x, h, y = activation("x"), activation("h"), activation("y")
    z, g, w = activation("z", 4), activation("g", 4), activation("w", 4)
    operations = [lut(x, h), largest(x, h, y), lut(z, g), largest(z, g, w)]
    draft = Draft([x, z], [y, w], operations).overlap({h: (0, first), g: (0, second)})
    return draft.walk(*by_rows(0, 1), *by_rows(2, 3, rows=4))


@pytest.mark.parametrize("rows", [(2, 2), (3, 2), (2, 3), (1, 1)])
def test_rings_of_other_rows_may_take_turns(rows: tuple[int, int]) -> None:
    x, z = values(9), values(10, (1, 4, 4, 16))
    found = accepted(two_rings(*rows)).run({"x": x, "z": z})
    np.testing.assert_array_equal(found["y"], np.maximum(x, apply_table(x)))
    np.testing.assert_array_equal(found["w"], np.maximum(z, apply_table(z)))


def test_rings_of_other_rows_do_not_disturb_each_other() -> None:
    draft = two_rings(2, 2)
    draft.walk(*by_rows(0, 2, 1, 3, rows=4), *by_rows(0, 1)[8:])
    refused(draft, "step 2", "'h': row 0 is read after tensor", "was written over row 0")


def test_of_rings_at_the_same_bytes_the_second_need_not_wait_for_the_first() -> None:
    """g is done before h has as many rows; then h goes on in places that g has left."""
    x, z = values(9), values(10, (1, 4, 4, 16))
    draft = two_rings(2, 2).walk(*by_rows(0, 1, rows=1), *by_rows(2, 3, rows=4), *by_rows(0, 1)[2:])
    found = accepted(draft).run({"x": x, "z": z})
    np.testing.assert_array_equal(found["y"], np.maximum(x, apply_table(x)))
    np.testing.assert_array_equal(found["w"], np.maximum(z, apply_table(z)))


def test_rings_at_the_same_bytes_hold_rows_in_different_places() -> None:
    """Row 0 of g lies beside row 1 of h, and later over it."""
    x, z = values(9), values(10, (1, 4, 4, 16))
    head, tail = [(0, 0, 1), (1, 0, 1), (0, 1, 2), (2, 0, 1)], [*by_rows(0, 1)[4:]]
    rest = by_rows(2, 3, rows=4)[2:]
    found = accepted(two_rings(2, 2).walk(*head, (3, 0, 1), (1, 1, 2), *rest, *tail)).run(
        {"x": x, "z": z}
    )
    np.testing.assert_array_equal(found["y"], np.maximum(x, apply_table(x)))
    np.testing.assert_array_equal(found["w"], np.maximum(z, apply_table(z)))
    late = two_rings(2, 2).walk(*head, (0, 2, 3), (3, 0, 1), (1, 1, 3), *rest, *tail[2:])
    refused(late, "step 5", "'g': row 0 is read after tensor", "was written over row 0")


def test_a_step_does_not_write_a_ring_where_it_reads_another() -> None:
    x, h, g, y = (activation(name) for name in "xhgy")
    draft = Draft([x], [y], [lut(x, h), pool(h, g, 3, 1, 1), lut(g, y)])
    draft.overlap({h: (0, 4), g: (0, 4)})
    words = "rows 0 to 2 are read where rows 0 to 1 are written, but the operator does not work in"
    refused(draft.walk((0, 0, 3), (1, 0, 1)), "step 1: node 1", words)


# --- views


def shown(*steps: tuple[int, int, int]) -> Draft:
    """lut_below, and z = lut(v), v being rows 2 to 4 of h."""
    x, h, g, k = (activation(name) for name in "xhgk")
    v, z = activation("v", 2), activation("z", 2)
    draft = Draft([x], [k, z], [lut(x, h), lut(h, g), lut(g, k), lut(v, z)])
    draft.overlap({g: (0, None), h: (ROW_BYTES, None), v: (3 * ROW_BYTES, None)})
    return draft.walk((0, 0, ROWS), *steps)


def test_a_view_may_be_read_until_its_bytes_are_overwritten() -> None:
    rows = by_rows(1)
    x = values(11)
    found = accepted(shown(*rows[:3], (3, 0, 2), *rows[3:], (2, 0, ROWS))).run(x)
    np.testing.assert_array_equal(found["z"], apply_table(apply_table(x))[:, 2:4])
    # Row 3 of g lies over row 2 of h; the rows of the view are lost one by one.
    model = accepted(shown(*rows[:3], (3, 0, 1), rows[3], (3, 1, 2), *rows[4:], (2, 0, ROWS)))
    np.testing.assert_array_equal(model.run(x)["z"], found["z"])


def test_a_view_shows_what_lies_there_now() -> None:
    """As anywhere: row 3 of g lies over row 2 of h, and the view shows both."""
    rows = by_rows(1)
    accepted(shown(*rows[:4], (3, 0, 2), *rows[4:], (2, 0, ROWS)))


def test_a_view_over_lost_bytes_is_refused() -> None:
    """A ring is written over h: no whole tensor has bytes there any longer."""
    x, h, r, y = (activation(name) for name in "xhry")
    v, z = activation("v", 2), activation("z", 2)
    draft = Draft([x], [y, z], [lut(x, h), lut(x, r), largest(x, r, y), lut(v, z)])
    draft.overlap({h: (0, None), v: (ROW_BYTES, None), r: (2 * ROW_BYTES, 2)})
    steps = by_rows(1, 2)
    accepted(draft.walk((0, 0, ROWS), (3, 0, 2), *steps))
    words = "'v': rows 0 to 2 are read, but no tensor that is written and not overwritten holds"
    refused(draft.walk((0, 0, ROWS), steps[0], (3, 0, 2), *steps[1:]), "step 2", words, "byte 0")
    refused(draft.walk((3, 0, 2), (0, 0, ROWS), *steps), "step 0", words)


def test_a_view_of_a_ring_is_read_while_the_ring_holds_the_rows() -> None:
    x, h, v, y = (activation(name) for name in "xhvy")
    k, z = activation("k", 1), activation("z", 1)
    a = activation("a", 1)
    operations = [lut(x, h), largest(x, v, y), lut(a, k), lut(k, z)]
    draft = Draft([x, a], [y, z], operations).overlap({h: (0, 2), v: (0, 2), k: (64, None)})
    rows = by_rows(0, 1)
    accepted(draft.walk(*rows[:4], (2, 0, 1), (3, 0, 1), *rows[4:]))
    words = "'v': rows 1 to 2 are read, but no ring of the same rows holds row 1"
    refused(draft.walk(*rows[:3], (2, 0, 1), (3, 0, 1), *rows[3:]), "step 5", words)
    refused(draft.walk(*rows[:1], *rows[2:3], *rows[4:5], *rows[1:2]), "step 3", "no ring of the")


def test_a_view_of_rings_in_place_shows_rows_of_both() -> None:
    """g is written over h row by row: the view shows what of it is there, and of h the rest."""
    x, h, g, v, y, z = (activation(name) for name in ("x", "h", "g", "v", "y", "z"))
    operations = [lut(x, h), lut(h, g), lut(v, y), lut(g, z)]
    draft = Draft([x], [y, z], operations).overlap(dict.fromkeys((h, g, v), (0, 4)))
    mixed = [
        step
        for r in range(0, ROWS, 2)
        for step in ((0, r, r + 2), (1, r, r + 1), (2, r, r + 2), (1, r + 1, r + 2), (3, r, r + 2))
    ]
    x_values = values(13)
    once = apply_table(x_values)
    twice = apply_table(once)
    expected = once.copy()
    expected[:, ::2] = twice[:, ::2]
    found = accepted(draft.walk(*mixed)).run(x_values)
    np.testing.assert_array_equal(found["y"], apply_table(expected))
    np.testing.assert_array_equal(found["z"], apply_table(twice))


# --- graph outputs, several programs, cost, versions


def test_a_graph_output_is_whole_at_the_end() -> None:
    x, y, t, z = activation("x"), activation("y"), activation("t", 2), activation("z", 2)
    draft = Draft([x], [y, z], [lut(x, y), drop_rows(x, t), lut(t, z)])
    draft.placements[t] = Placement(draft.placements[y].buffer, 3 * ROW_BYTES, 2)
    accepted(draft.walk((1, 0, 2), (2, 0, 2), (0, 0, ROWS)))
    accepted(draft.walk((0, 0, 3), (1, 0, 2), (2, 0, 2), (0, 3, ROWS)))
    refused(
        draft.walk((0, 0, 4), (1, 0, 2), (2, 0, 2), (0, 4, ROWS)),
        "after the last step: graph output 0",
        "'y': row 0 is read after tensor",
        "was written over row 3",
    )


def test_outputs_of_other_operators_stay_apart_in_whole_steps() -> None:
    x, h, g, y = (activation(name) for name in "xhgy")
    draft = Draft([x], [y], [lut(x, h), flip(h, g), lut(g, y)])
    refused(
        draft.overlap({g: (0, None), h: (7 * ROW_BYTES, None)}),
        "step 1: node 1",
        "rows 0 to 8 are read where rows 0 to 8 are written, but the operator does not work in",
    )
    below = Draft([x], [y], [lut(x, h), flip(h, g), lut(g, y)])
    accepted(below.overlap({g: (0, None), h: (8 * ROW_BYTES, None)}))


def crowded(rows: int) -> Draft:
    """4000 tensors that stay, two of which overlap, beside one that is written row by row."""
    count = 4000
    x, y, long = activation("x", 1), activation("y", rows), activation("long", rows)
    z = activation("z", rows)
    pieces = [activation(f"piece {i}", 1) for i in range(count)]
    operations = [*(lut(x, piece) for piece in pieces), lut(z, long), lut(long, y)]
    draft = Draft([x, z], [y], operations)
    places: dict = {piece: (i * ROW_BYTES, None) for i, piece in enumerate(pieces)}
    places[pieces[-1]] = ((count - 2) * ROW_BYTES + 16, None)
    places[long] = (count * ROW_BYTES, None)
    steps = [(i, 0, 1) for i in range(count)]
    steps += [(count, row, row + 1) for row in range(rows)]
    return draft.overlap(places).walk(*steps, (count + 1, 0, rows))


def test_comparing_tensors_is_kept_short() -> None:
    """Else a small file could keep the validator busy for long."""
    data = crowded(14_000).write()
    begin = time.perf_counter()
    assert check(data) == ("EI_OK", "")
    assert time.perf_counter() - begin < 20  # some 0.2 s on a desktop
    words = "steps up to this one compare tensors that overlap"
    refused(crowded(16_000), "'long of z' (lut8)", words)


@pytest.mark.parametrize(
    ("draft", "minor"),
    [
        (chain, 0),
        (ring, 0),
        (in_place, 0),
        (in_place_ring, 0),
        (lambda: pooled_below(2 * ROW_BYTES), 1),
        (lambda: ring_in_the_tail(ROWS - 1), 1),
        (lambda: two_rings(2, 2), 1),
        (lambda: pooled_below(ROWS * ROW_BYTES), 0),
    ],
)
def test_a_file_says_1_1_when_its_tensors_overlap(draft, minor: int) -> None:
    data = draft().write()
    assert struct.unpack_from("<HH", data, 8) == (1, minor)
    assert check(data) == ("EI_OK", "")


def test_the_engine_of_numba_gives_the_same_bits() -> None:
    pytest.importorskip("numba")
    x = values(12)
    for draft in (pooled_below(2 * ROW_BYTES), ring_in_the_tail(ROWS - 1), two_rings(2, 2)):
        data = draft.write()
        given = {"x": x, "z": values(10, (1, 4, 4, 16))} if len(draft.program.inputs) == 2 else x
        expected = edgeinfer.load(data).run(given)
        found = edgeinfer.load(data, engine="numba").run(given)
        np.testing.assert_equal(found, expected)
