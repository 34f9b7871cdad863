"""Buffers in the bytes of a graph input that has been read: rules 20 and 42 of docs/format.md.

The caller's memory may stand in for a graph input, and rows may be fed as late as a step reads
them: what is accepted has to give the same bits in each of these runs.
"""

from __future__ import annotations

import struct

import numpy as np
import pytest

import edgeinfer
from edgeinfer.convert.program import Placement, Value
from tests.core.edge_file import check
from tests.core.programs import (
    ROW_BYTES,
    ROWS,
    Draft,
    activation,
    apply_table,
    drop_rows,
    largest,
    lut,
    pool,
)
from tests.core.test_validator_overlap import by_rows
from tests.core.test_validator_plan import accepted, refused, values

FEW = ROWS - 2


def lay(draft: Draft, value: Value, row: int, over: Value) -> Draft:
    """The buffer of a value into the bytes of a graph input, from a row of it on."""
    buffers, placements = draft.buffers, draft.placements
    at = buffers[placements[over].buffer].offset + row * ROW_BYTES
    buffers[placements[value].buffer].offset = at
    return draft


def behind(row: int, *steps: tuple[int, int, int]) -> Draft:
    """h is x without its first two rows, in the bytes of x from `row` on; y = lut(h)."""
    x, h, y = activation("x"), activation("h", FEW), activation("y", FEW)
    draft = lay(Draft([x], [y], [drop_rows(x, h), lut(h, y)]).place(h), h, row, x)
    return draft.walk(*(steps or [*by_rows(0, rows=FEW), (1, 0, FEW)]))


def fed(draft: Draft, given: dict[str, np.ndarray], count: int) -> np.ndarray:
    """What comes of feeding so many rows at a time, each into the session's own memory."""
    model = accepted(draft)
    for name, x in given.items():
        for row in range(0, x.shape[1], count):
            result = model.feed(x[0, row : row + count], name)
    return result


def assert_runs_right(draft: Draft, given: dict[str, np.ndarray], expected: np.ndarray) -> None:
    """With whole arrays of the caller's, fed by rows as late and as early as possible, by numba."""
    np.testing.assert_array_equal(accepted(draft).run(given), expected)
    for count in (1, ROWS):
        np.testing.assert_array_equal(fed(draft, given, count), expected)
    pytest.importorskip("numba")
    found = edgeinfer.load(draft.write(), engine="numba").run(given)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("row", [0, 1, 2])
def test_rows_that_have_been_read_make_room(row: int) -> None:
    x, draft = values(1), behind(row)
    assert draft.planned()[1].arena_bytes == (ROWS + FEW) * ROW_BYTES
    assert struct.unpack_from("<HH", draft.write(), 8) == (1, 1)
    if row < 2:
        assert_runs_right(draft, {"x": x}, apply_table(x[:, 2:]))
    else:
        words = "'h': is written over bytes 128 to 192 of a graph input, which the step reads"
        refused(draft, "step 0: node 0", words)


def test_a_tall_band_needs_more_room() -> None:
    bands = [(0, r, r + 2) for r in range(0, FEW, 2)]
    accepted(behind(0, *bands, (1, 0, FEW)))
    refused(behind(1, *bands, (1, 0, FEW)), "step 0: node 0", "of a graph input, which the step")


def test_a_ring_may_lie_there_and_wrap_around() -> None:
    x, h, y = activation("x"), activation("h", FEW), activation("y", FEW)
    draft = Draft([x], [y], [drop_rows(x, h), lut(h, y)]).place(h, ring_rows=2)
    draft = lay(draft, h, 0, x).walk(*by_rows(0, 1, rows=FEW))
    given = {"x": values(2)}
    assert_runs_right(draft, given, apply_table(given["x"][:, 2:]))
    # Row 2 of h is written over row 1 of x: what comes next is read further on.
    draft = lay(draft, h, 2, x)
    refused(draft, "step 0: node 0", "of a graph input, which the step reads")


def between(*steps: tuple[int, int, int]) -> Draft:
    """k = lut(x), h = lut(k) in the bytes of x, y = max(x, h)."""
    x, k, h, y = (activation(name) for name in "xkhy")
    draft = Draft([x], [y], [lut(x, k), lut(k, h), largest(x, h, y)]).place(k).place(h)
    return lay(draft, h, 0, x).walk(*steps)


def test_rows_of_an_input_are_not_read_after_others_were_written_over_them() -> None:
    words = "'x': row 0 is read after byte 63 of its graph input was written over by another"
    refused(between(*by_rows(0, 1, 2)), "step 2: node 2", words)
    x, k, h, y = (activation(name) for name in "xkhy")
    draft = Draft([x], [y], [lut(x, k), lut(k, h), lut(h, y)]).place(k).place(h)
    draft = lay(draft, h, 0, x).walk(*by_rows(0, 1), (2, 0, ROWS))
    given = {"x": values(3)}
    expected = apply_table(apply_table(apply_table(given["x"])))
    assert_runs_right(draft, given, expected)


def of_another(rows: int, row: int, *steps: tuple[int, int, int]) -> Draft:
    """h = lut(a), `rows` of them, in x from `row` on; y is x without its first two; z = lut(h)."""
    a, x, y = activation("a", rows), activation("x"), activation("y", FEW)
    h, z = activation("h", rows), activation("z", rows)
    draft = Draft([a, x], [y, z], [lut(a, h), drop_rows(x, y), lut(h, z)]).place(h)
    return lay(draft, h, row, x).walk(*steps)


def test_rows_that_nobody_reads_may_come_until_later_ones_are_read() -> None:
    words = "'h': is written over bytes 0 to 64 of a graph input, of which 0 have come for certain"
    steps = [(1, 0, 1), (0, 0, 2), (1, 1, FEW), (2, 0, 2)]
    refused(of_another(2, 0, (0, 0, 1), (0, 1, 2), *by_rows(1, rows=FEW), (2, 0, 2)), words)
    a, x = values(4, (1, 2, 4, 16)), values(5)
    for given in ({"a": a, "x": x}, {"x": x, "a": a}):
        draft = of_another(2, 0, *steps)
        found = accepted(draft).run(given)
        later = fed(draft, given, 1)
        np.testing.assert_array_equal(found["z"], apply_table(apply_table(a)))
        for name, expected in (("y", x[:, 2:]), ("z", found["z"])):
            np.testing.assert_array_equal(found[name], expected)
            np.testing.assert_array_equal(later[name], expected)


def halved(last_step: int) -> Draft:
    """y = pool(x), which leaves the last row of x; h = lut(a) lies there after x has died."""
    a, x, y = activation("a", 1), activation("x", 7), activation("y", 3)
    h, z = activation("h", 1), activation("z", 1)
    draft = Draft([a, x], [y, z], [pool(x, y, 2, 2, 0), lut(a, h), lut(h, z)]).place(h)
    program, plan = lay(draft, h, 6, x).planned()
    plan.buffers[plan.placements[x].buffer].last_step = last_step
    draft.planned = lambda: (program, plan)  # type: ignore[method-assign]
    return draft


def test_rows_behind_all_that_is_read_may_come_as_long_as_the_input_is_alive() -> None:
    words = "bytes 384 to 448 of a graph input, of which 384 have come for certain"
    refused(halved(1), "step 1: node 1", words)
    x, a = values(6, (1, 7, 4, 16)), values(7, (1, 1, 4, 16))
    draft = halved(0)
    for found in (
        accepted(draft).run({"x": x, "a": a}),
        fed(draft, {"x": x, "a": a}, 1),
        fed(draft, {"a": a, "x": x}, 1),
    ):
        np.testing.assert_array_equal(found["z"], apply_table(apply_table(a)))
        np.testing.assert_array_equal(found["y"], np.maximum(x[:, :6:2], x[:, 1:6:2]))


def test_a_view_of_an_input_is_read_while_its_rows_are_there() -> None:
    """z = lut(v), v being rows 2 to 4 of x; h, in the bytes of x, is written over them."""
    x, v, z = activation("x"), activation("v", 2), activation("z", 2)
    h, y = activation("h", FEW), activation("y", FEW)
    draft = Draft([x], [y, z], [drop_rows(x, h), lut(h, y), lut(v, z)]).place(h)
    draft.placements[v] = Placement(draft.placements[x].buffer, 2 * ROW_BYTES, 2)
    lay(draft, h, 0, x)
    rows = by_rows(0, rows=FEW)
    accepted(draft.walk(*rows[:2], (2, 0, 2), *rows[2:], (1, 0, FEW)))
    words = "'v': row 0 is read after byte 191 of its graph input was written over by another"
    refused(draft.walk(*rows[:3], (2, 0, 2), *rows[3:], (1, 0, FEW)), "step 3: node 2", words)


def test_an_input_that_is_a_ring_has_its_bytes_to_itself() -> None:
    x, h, y = activation("x"), activation("h", FEW), activation("y", FEW)
    draft = Draft([], [y], [drop_rows(x, h), lut(h, y)]).place(x, ring_rows=4, is_input=True)
    draft.program.inputs.append(x)
    draft = lay(draft.place(h, ring_rows=2), h, 0, x).walk(*by_rows(0, 1, rows=FEW))
    words = "overlap in the arena while both are alive, and graph input 0 is a ring"
    refused(draft, "buffers 1 and 2: " + words)


def test_two_inputs_or_two_others_do_not_share_bytes() -> None:
    words = "overlap in the arena while both are alive"
    draft = of_another(2, 0, (1, 0, FEW), (0, 0, 2), (2, 0, 2))
    accepted(draft)
    a, x = draft.program.inputs
    refused(lay(draft, a, 0, x), "buffers 0 and 1: " + words)
    draft = of_another(2, 0, (1, 0, FEW), (0, 0, 2), (2, 0, 2))
    _, z = draft.program.outputs
    refused(lay(draft, z, 0, draft.program.inputs[1]), "buffers 3 and 4: " + words)


def test_an_output_may_lie_there() -> None:
    x, y = activation("x"), activation("y", FEW)
    draft = Draft([x], [y], [drop_rows(x, y)]).walk(*by_rows(0, rows=FEW))
    given = {"x": values(8)}
    assert_runs_right(lay(draft, y, 0, x), given, given["x"][:, 2:])
    assert check(draft.write()) == ("EI_OK", "")
