"""Steps and contents: rules 26 and 30 to 37 of docs/format.md, kept and broken by hand.

Tensors that overlap by rows are in test_validator_overlap.py.
"""

from __future__ import annotations

import numpy as np
import pytest

import edgeinfer
from edgeinfer.convert.program import Operation, Placement, Step
from tests.core.edge_file import EdgeFile, check
from tests.core.programs import (
    ROW_BYTES,
    ROWS,
    SHAPE,
    Draft,
    activation,
    apply_table,
    chain,
    concatenation,
    flip,
    in_place,
    largest,
    lut,
    ring,
)


def values(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


def accepted(draft: Draft) -> edgeinfer.Model:
    data = draft.write()
    assert check(data) == ("EI_OK", "")
    return edgeinfer.load(data)


def refused(draft: Draft | bytes, *words: str) -> None:
    status, message = check(draft if isinstance(draft, bytes) else draft.write())
    assert status == "EI_ERROR_FORMAT", message
    for word in words:
        assert word in message, message


# --- plans that are allowed, and what they compute


def test_a_chain_runs() -> None:
    x = values(1)
    np.testing.assert_array_equal(accepted(chain()).run(x), np.maximum(x, apply_table(x)))


@pytest.mark.parametrize("ring_rows", [2, 3, 4, 7])
def test_a_ring_runs(ring_rows: int) -> None:
    x = values(2)
    model = accepted(ring(ring_rows))
    assert model.plan.arena_bytes == (2 * ROWS + ring_rows) * ROW_BYTES
    np.testing.assert_array_equal(model.run(x), np.maximum(x, apply_table(x)))


def test_in_place_in_bands_runs() -> None:
    x = values(3)
    expected = apply_table(apply_table(apply_table(x)))
    np.testing.assert_array_equal(accepted(in_place()).run(x), expected)


def in_place_ring(ring_rows: int = 4) -> Draft:
    """As in_place, h and g being one ring."""
    x, h, g, y = (activation(name) for name in "xhgy")
    operations = [lut(x, h), lut(h, g), lut(g, y)]
    draft = Draft([x], [y], operations).place(h, g, ring_rows=ring_rows)
    return draft.walk(*((node, r, r + 2) for r in range(0, ROWS, 2) for node in (0, 1, 2)))


def test_in_place_in_a_ring_runs() -> None:
    x = values(4)
    expected = apply_table(apply_table(apply_table(x)))
    np.testing.assert_array_equal(accepted(in_place_ring()).run(x), expected)


def test_concatenation_as_a_view_runs() -> None:
    half = (1, ROWS // 2, 4, 16)
    x, z = values(5, half), values(6, half)
    joined = np.concatenate([apply_table(x), apply_table(z)], axis=1)
    result = accepted(concatenation()).run({"x": x, "z": z})
    np.testing.assert_array_equal(result, joined[:, ::-1])


def part_of_an_input() -> Draft:
    """part is the last two rows of the graph input; y = lut(part)."""
    x, part, y = activation("x"), activation("part", 2), activation("y", 2)
    return Draft([x], [y], [lut(part, y)]).put(part, x, (ROWS - 2) * ROW_BYTES)


def test_a_part_as_a_view_runs() -> None:
    x = values(7)
    np.testing.assert_array_equal(accepted(part_of_an_input()).run(x), apply_table(x[:, -2:]))


def test_a_view_moves_with_the_callers_input() -> None:
    model = edgeinfer.load(part_of_an_input().write())
    x, y = values(8), np.empty((1, 2, 4, 16), np.int8)
    model.run_into(y, x)
    np.testing.assert_array_equal(y, apply_table(x[:, -2:]))


# --- steps


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("node", 2, "step 0: node is 2, the program has 2"),
        ("node", 2**32 - 1, "step 0: node is 4294967295"),
        ("reserved", 1, "step 0: reserved must be 0"),
        ("row_begin", 8, "rows 8 to 8 must be at least one"),
        ("row_end", 0, "rows 0 to 0 must be at least one"),
        ("row_end", 9, "rows 0 to 9 must be at least one and inside the output, 8 rows"),
        ("row_end", 2**32 - 1, "inside the output, 8 rows"),
        ("row_begin", 1, "rows 1 to 8 are written, the next one is row 0"),
    ],
)
def test_step_records_are_checked(field: str, value: int, words: str) -> None:
    file = EdgeFile(chain().write())
    file.steps[0][field] = value
    refused(file.build(), words)


def test_rows_are_not_computed_twice() -> None:
    refused(chain().walk((0, 0, 8), (0, 0, 8), (1, 0, 8)), "step 1", "the next one is row 8")


def test_rows_are_not_left_out() -> None:
    refused(chain().walk((0, 0, 3), (0, 4, 8), (1, 0, 8)), "step 1", "the next one is row 3")


def test_all_rows_are_computed() -> None:
    refused(chain().walk((0, 0, 8), (1, 0, 7)), "'y'", "only 7 of 8 rows are written")


def test_every_node_runs() -> None:
    refused(chain().walk((0, 0, 8)), "'y'", "only 0 of 8 rows are written")


def test_a_step_writes_no_more_than_the_ring_holds() -> None:
    refused(ring(2).walk((0, 0, 4), (1, 0, 4)), "rows 0 to 4 are written, the ring has only 2")


@pytest.mark.parametrize(
    ("buffer", "name", "value", "step"),
    [(2, "first_step", 1, 0), (2, "last_step", 0, 1), (0, "last_step", 0, 1)],
)
def test_operands_are_alive(buffer: int, name: str, value: int, step: int) -> None:
    file = EdgeFile(chain().write())
    file.buffers[buffer][name] = value
    refused(file.build(), f"step {step}: ", f"its buffer {buffer} lives from step")


def wide_concatenation(rows: int) -> Draft:
    """255 tensors, all but the last of one row, to one of `rows` rows, computed row by row."""
    x, z, y = activation("x", 1), activation("z", rows - 254), activation("y", rows)
    pieces = [activation(f"piece {i}", 1) for i in range(254)] + [activation("rest", rows - 254)]
    operations = [lut(x if piece.rows == 1 else z, piece) for piece in pieces]
    join = Operation("concat", list(pieces), [y], {"axis": 1}, "join")
    draft = Draft([x, z], [y], [*operations, join])
    for piece in pieces:
        draft.place(piece)
    steps = [(i, 0, piece.rows) for i, piece in enumerate(pieces)]
    return draft.walk(*steps, *((255, row, row + 1) for row in range(rows)))


def test_the_walk_is_kept_short() -> None:
    """Else a small file could keep the validator busy: each of these steps has 256 operands."""
    assert check(wide_concatenation(2**12 - 100).write()) == ("EI_OK", "")
    refused(wide_concatenation(2**12 + 100), "'join' (concat): steps up to this one have too many")


# --- contents


def test_rows_are_not_read_before_they_are_written() -> None:
    refused(chain().walk((1, 0, 8), (0, 0, 8)), "'h': rows 0 to 8 are read, only 0 are written")
    refused(
        chain().walk((0, 0, 4), (1, 0, 5), (0, 4, 8), (1, 5, 8)),
        "'h': rows 0 to 5 are read, only 4 are written",
    )


def test_rows_are_not_read_after_they_left_the_ring() -> None:
    refused(
        ring(3).walk((0, 0, 2), (0, 2, 4), (1, 0, 2), (1, 2, 8)),
        "'h': row 0 has left the ring of 3 rows: 4 are written",
    )


def test_rows_are_not_read_after_they_were_overwritten() -> None:
    x, h, g, y = (activation(name) for name in "xhgy")
    draft = Draft([x], [y], [lut(x, h), lut(h, g), largest(h, g, y)]).place(h).put(g, h)
    refused(draft, "step 2", "'h': row 0 is read after tensor", "was written over it")


def test_a_tensor_is_not_written_over_one_that_comes_later() -> None:
    x, h, g, y = (activation(name) for name in "xhgy")
    operations = [lut(x, h), lut(x, g), largest(x, g, y)]
    draft = Draft([x], [y], operations).place(h).put(g, h)
    draft.walk((0, 0, 4), (1, 0, 6), (0, 4, 8), (1, 6, 8), (2, 0, 8))
    refused(draft, "step 1", "'g': row 5 is written over tensor", "before that has its own")


def test_a_ring_does_not_lap_what_was_written_over_it() -> None:
    draft = in_place_ring(4)
    draft.walk((0, 0, 2), (1, 0, 2), (0, 2, 4), (0, 4, 6), (2, 0, 2), *[(1, 2, 8), (0, 6, 8)])
    refused(draft, "step 4", "'g': row 0 is read after tensor", "was written over row 1")


def test_a_graph_output_is_there_at_the_end() -> None:
    x, y, z = activation("x"), activation("y"), activation("z")
    draft = Draft([x], [y], [lut(x, y), lut(y, z)]).put(z, y)
    refused(draft, "after the last step: graph output 0", "'y'", "written over it")


def test_a_tensor_has_one_producer() -> None:
    x, h, y = activation("x"), activation("h"), activation("y")
    draft = Draft([x], [y], [lut(x, h), lut(x, h), lut(h, y)]).place(h)
    refused(draft, "node 1", "'h': is the output of node 0 too")


def test_only_operators_that_can_work_in_place() -> None:
    x, h, g, y = (activation(name) for name in "xhgy")
    draft = Draft([x], [y], [lut(x, h), flip(h, g), lut(g, y)]).place(h).put(g, h)
    words = "overlap in buffer 2: rows 0 to 8 are read where rows 0 to 8 are written"
    refused(draft, "node 1", words, "but the operator does not work in place")


def test_in_place_means_the_same_bytes() -> None:
    x, h, g, y = (activation(name) for name in "xhgy")
    draft = Draft([x], [y], [lut(x, h), lut(h, g), lut(g, y)]).place(h).put(g, h, ROW_BYTES)
    draft.buffers[2].bytes += ROW_BYTES
    refused(draft, "node 1", "overlap in buffer 2", "but working in place needs the same bytes")


def test_a_view_shows_what_something_writes() -> None:
    draft = concatenation()
    b = draft.program.operations[1].output
    draft.place(b)  # elsewhere, so that nothing fills the second half
    refused(draft, "'c': nothing writes its bytes from 256 on")


def test_a_view_without_anything_below_is_refused() -> None:
    x, h, y = activation("x"), activation("h"), activation("y")
    refused(Draft([x], [y], [largest(x, h, y)]).place(h), "'h': nothing writes its bytes from 0")


def test_a_view_is_not_read_before_its_parts_are_written() -> None:
    draft = concatenation()
    draft.steps = [draft.steps[i] for i in (0, 2, 1)]
    refused(draft, "step 1", "'c': rows 0 to 8 are read, only 4 are written")
    draft.steps = [Step(0, 0, 2), Step(1, 0, 4), Step(2, 0, 8), Step(0, 2, 4)]
    refused(draft, "step 2", "'c': rows 0 to 8 are read, only 2 are written")


def test_a_view_may_be_read_as_far_as_it_is_written() -> None:
    half = ROWS // 2
    x, z, a, b = (activation(name, half) for name in "xzab")
    c, y = activation("c"), activation("y")
    draft = Draft([x, z], [y], [lut(x, a), lut(z, b), lut(c, y)]).place(c)
    draft.put(a, c).put(b, c, half * ROW_BYTES)
    draft.walk((0, 0, 3), (2, 0, 3), (0, 3, 4), (1, 0, 1), (2, 3, 5), (1, 1, 4), (2, 5, 8))
    assert check(draft.write()) == ("EI_OK", "")


def test_a_view_of_a_ring_has_its_rows() -> None:
    x, h, y = activation("x"), activation("h"), activation("y")
    v, part = activation("v"), activation("part", 4)
    steps = [(node, r, r + 2) for r in range(0, ROWS, 2) for node in (0, 1)]
    good = Draft([x], [y], [lut(x, h), largest(x, v, y)]).place(h, v, ring_rows=4).walk(*steps)
    assert check(good.write()) == ("EI_OK", "")
    z = activation("z", 4)
    bad = Draft([x], [y, z], [lut(x, h), largest(x, h, y), lut(part, z)])
    bad.place(h, ring_rows=4).walk(*steps, (2, 0, 4))
    bad.placements[part] = Placement(bad.placements[h].buffer, 0, 4)
    refused(bad, "'part': shows bytes of tensor", "rings must have the same rows")


def test_a_buffer_has_at_most_4096_parts() -> None:
    count = 4097
    x, whole, y = activation("x", 1), activation("whole", count), activation("y", count)
    pieces = [activation(f"piece {i}", 1) for i in range(count)]
    draft = Draft([x], [y], [*(lut(x, piece) for piece in pieces), lut(whole, y)]).place(whole)
    for i, piece in enumerate(pieces):
        draft.put(piece, whole, i * ROW_BYTES)
    refused(draft, "buffer 2: nodes write more than 4096 different parts of it")
