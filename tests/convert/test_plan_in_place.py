"""Results written over operands that die."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

from edgeinfer.convert.plan import plan_program
from edgeinfer.convert.plan.inplace import IN_PLACE, merge_in_place
from edgeinfer.convert.plan.views import Layout, share_views
from edgeinfer.convert.program import Plan, Program, Step, Value
from tests.convert.random_programs import add, copy, lut8, slice_, transpose


def value(name: str, *shape: int, dtype: str = "int8") -> Value:
    return Value(name, shape, dtype)


def shares(plan: Plan, a: Value, b: Value) -> bool:
    return plan.placements[a] == plan.placements[b]


def test_the_list_is_that_of_the_core(repo_root: Path) -> None:
    """`copy` works in place too, but one that could is a view."""
    found = set()
    for path in (repo_root / "csrc/ops").glob("*.c"):
        for body in re.findall(r"const ei_op ei_op_\w+ = \{(.*?)\};", path.read_text(), re.DOTALL):
            if re.search(r"\.in_place = 1", body):
                found.update(re.findall(r'\.name = "(\w+)"', body))
    assert found == IN_PLACE | {"copy"}


def test_a_chain_uses_one_buffer_besides_the_input() -> None:
    values = [value(f"v{i}", 64) for i in range(5)]
    operations = [lut8(a, b, 0) for a, b in pairwise(values)]
    plan = plan_program(Program("main", [values[0]], [values[-1]], operations))
    assert len(plan.buffers) == 2
    assert plan.arena_bytes == 128
    assert all(shares(plan, values[1], other) for other in values[2:])


def test_a_graph_input_is_not_written_over() -> None:
    x, y = value("x", 64), value("y", 64)
    plan = plan_program(Program("main", [x], [y], [lut8(x, y, 0)]))
    assert not shares(plan, x, y)


def test_what_is_read_later_is_not_written_over() -> None:
    x, a, b, y = (value(name, 64) for name in "xaby")
    plan = plan_program(Program("main", [x], [y], [lut8(x, a, 0), lut8(a, b, 1), add(a, b, y)]))
    assert not shares(plan, a, b)
    assert shares(plan, a, y) or shares(plan, b, y)


def test_a_graph_output_is_not_written_over() -> None:
    x, a, y = (value(name, 64) for name in "xay")
    plan = plan_program(Program("main", [x], [a, y], [lut8(x, a, 0), lut8(a, y, 1)]))
    assert not shares(plan, a, y)


def merge_in_source_order(program: Program) -> Layout:
    """Views and merges without a search for an order, so that tests decide what comes when."""
    layout = share_views(program)
    steps = [Step(i, 0, op.output.rows) for i, op in enumerate(layout.operations)]
    merge_in_place(layout, layout.operations, steps)
    return layout


def test_what_a_view_reads_later_is_not_written_over() -> None:
    x, a, part, b, y = value("x", 64), value("a", 64), value("p", 8), value("b", 64), value("y", 8)
    early, late = transpose(part, y, (0,)), lut8(a, b, 1)
    for operations, merged in (([early, late], True), ([late, early], False)):
        program = Program("main", [x], [y, b], [lut8(x, a, 0), slice_(a, part, (3,)), *operations])
        layout = merge_in_source_order(program)
        assert layout.storage_of[part] is layout.storage_of[a]
        assert (layout.storage_of[b] is layout.storage_of[a]) == merged


def test_a_broadcast_view_of_the_operand_prevents_it() -> None:
    """add(a, a[0:1]) in place over a would overwrite the element that all others still read."""
    x, a, first, y = value("x", 64), value("a", 64), value("first", 1), value("y", 64)
    program = Program("main", [x], [y], [lut8(x, a, 0), slice_(a, first, (0,)), add(a, first, y)])
    layout = merge_in_source_order(program)
    assert layout.storage_of[first] is layout.storage_of[a]
    assert layout.storage_of[y] is not layout.storage_of[a]


def test_a_part_of_a_result_is_not_written_over() -> None:
    """The device follows what buffers hold by whole results."""
    x, a, part, y = value("x", 64), value("a", 64), value("part", 32), value("y", 32)
    program = Program("main", [x], [y], [lut8(x, a, 0), slice_(a, part, (8,)), lut8(part, y, 1)])
    layout = merge_in_source_order(program)
    assert layout.storage_of[y] is not layout.storage_of[a]


def test_an_operand_given_twice_may_be_written_over() -> None:
    x, a, y = (value(name, 64) for name in "xay")
    plan = plan_program(Program("main", [x], [y], [lut8(x, a, 0), add(a, a, y)]))
    assert shares(plan, a, y)


def test_a_broadcast_operand_is_not_written_over() -> None:
    x, a, row, y = value("x", 8, 8), value("a", 8, 8), value("row", 1, 8), value("y", 8, 8)
    w = value("w", 1, 8)
    operations = [lut8(x, a, 0), lut8(w, row, 1), add(row, a, y)]
    plan = plan_program(Program("main", [x, w], [y], operations))
    assert shares(plan, a, y)
    assert plan.placements[row].buffer != plan.placements[y].buffer


def test_other_element_sizes_are_not_written_over() -> None:
    x, a, y = value("x", 64), value("a", 64), value("y", 64, dtype="int32")
    plan = plan_program(Program("main", [x], [y], [lut8(x, a, 0), lut8(a, y, 1)]))
    assert plan.placements[a].buffer != plan.placements[y].buffer


def test_operators_that_read_ahead_do_not_write_in_place() -> None:
    x, a, y = (value(name, 8, 8) for name in "xay")
    plan = plan_program(Program("main", [x], [y], [lut8(x, a, 0), transpose(a, y, (1, 0))]))
    assert plan.placements[a].buffer != plan.placements[y].buffer


def test_a_reshape_in_between_does_not_prevent_it() -> None:
    x, a, b, y = value("x", 8, 8), value("a", 8, 8), value("b", 64), value("y", 64)
    plan = plan_program(Program("main", [x], [y], [lut8(x, a, 0), copy(a, b), lut8(b, y, 1)]))
    assert shares(plan, b, y)
