"""Which operations need not be run, and which must."""

from __future__ import annotations

from itertools import pairwise

from edgeinfer.convert.plan import plan_program
from edgeinfer.convert.program import Operation, Placement, Plan, Program, Value
from tests.convert.random_programs import add, concat, copy, lut8, slice_, transpose


def value(name: str, *shape: int, dtype: str = "int8") -> Value:
    return Value(name, shape, dtype)


def plan_of(inputs: list[Value], outputs: list[Value], operations: list[Operation]) -> Plan:
    return plan_program(Program("main", inputs, outputs, operations))


def names(plan: Plan) -> list[str]:
    """Operators that are left to run."""
    return [operation.operator for operation in plan.operations]


def same_buffer(plan: Plan, *values: Value) -> bool:
    return len({plan.placements[value].buffer for value in values}) == 1


def test_a_reshape_between_operators_is_a_view() -> None:
    x, a, b, y = value("x", 2, 6), value("a", 2, 6), value("b", 12), value("y", 12)
    plan = plan_of([x], [y], [transpose(x, a, (0, 1)), copy(a, b), transpose(b, y, (0,))])
    assert names(plan) == ["transpose", "transpose"]
    assert plan.placements[a].buffer == plan.placements[b].buffer
    assert plan.placements[b].ring_rows == b.rows


def test_a_reshape_of_the_graph_input_is_a_view_of_it() -> None:
    x, a, y = value("x", 2, 6), value("a", 12), value("y", 12)
    plan = plan_of([x], [y], [copy(x, a), lut8(a, y, 0)])
    assert names(plan) == ["lut8"]
    assert same_buffer(plan, x, a)
    assert not same_buffer(plan, a, y)  # the caller's input is never written


def test_a_graph_output_that_reshapes_the_graph_input_is_copied() -> None:
    x, y = value("x", 2, 6), value("y", 12)
    assert names(plan_of([x], [y], [copy(x, y)])) == ["copy"]


def test_a_graph_output_that_reshapes_a_result_is_that_result() -> None:
    x, a, y = value("x", 2, 6), value("a", 2, 6), value("y", 12)
    plan = plan_of([x], [y], [lut8(x, a, 0), copy(a, y)])
    assert names(plan) == ["lut8"]
    assert same_buffer(plan, a, y)


def test_of_two_graph_outputs_with_the_same_bytes_one_is_copied() -> None:
    x, y, z = value("x", 2, 6), value("y", 2, 6), value("z", 12)
    plan = plan_of([x], [y, z], [lut8(x, y, 0), copy(y, z)])
    assert names(plan) == ["lut8", "copy"]


def test_a_graph_output_that_reshapes_a_constant_is_copied() -> None:
    table = lut8(value("x", 4), value("y", 4), 0).inputs[1]
    assert table is not None
    y = value("y", 256)
    assert names(plan_of([], [y], [copy(table, y)])) == ["copy"]


def test_slices_that_are_one_run_are_views_at_their_offset() -> None:
    x, a, b = value("x", 4, 6), value("a", 2, 6), value("b", 1, 3)
    y, z = value("y", 2, 6), value("z", 1, 3)
    plan = plan_of(
        [x],
        [y, z],
        [slice_(x, a, (1, 0)), slice_(x, b, (3, 2)), lut8(a, y, 0), lut8(b, z, 1)],
    )
    assert names(plan) == ["lut8", "lut8"]
    assert plan.placements[a] == Placement(plan.placements[x].buffer, 6, 2)
    assert plan.placements[b] == Placement(plan.placements[x].buffer, 20, 1)


def test_slices_of_several_runs_are_operators() -> None:
    x, a, b, c = value("x", 4, 6), value("a", 4, 3), value("b", 2, 6), value("c", 4, 6)
    plan = plan_of(
        [x],
        [a, b, c],
        [slice_(x, a, (0, 0)), slice_(x, b, (0, 0), (2, 1)), slice_(x, c, (3, 0), (-1, 1))],
    )
    assert names(plan) == ["slice"] * 3


def test_a_graph_output_that_is_a_part_of_a_result_is_copied_out_of_it() -> None:
    x, a, y = value("x", 4, 6), value("a", 4, 6), value("y", 2, 6)
    plan = plan_of([x], [y], [lut8(x, a, 0), slice_(a, y, (1, 0))])
    assert names(plan) == ["lut8", "slice"]


def test_producers_write_straight_into_a_concat() -> None:
    x, a, b, y = value("x", 1, 2, 3), value("a", 1, 2, 3), value("b", 1, 2, 3), value("y", 1, 4, 3)
    plan = plan_of([x], [y], [lut8(x, a, 0), lut8(x, b, 1), concat([a, b], y, 1)])
    assert names(plan) == ["lut8", "lut8"]
    assert same_buffer(plan, a, b, y)
    assert (plan.placements[a].offset, plan.placements[b].offset) == (0, 6)


def test_a_concat_of_interleaved_runs_is_an_operator() -> None:
    x, a, b, y = value("x", 2, 3), value("a", 2, 3), value("b", 2, 3), value("y", 2, 6)
    plan = plan_of([x], [y], [lut8(x, a, 0), lut8(x, b, 1), concat([a, b], y, 1)])
    assert names(plan) == ["lut8", "lut8", "concat"]


def test_what_cannot_lie_in_a_concat_is_copied_into_it() -> None:
    x, a, y = value("x", 1, 3), value("a", 1, 3), value("y", 1, 9)
    plan = plan_of([x], [y], [lut8(x, a, 0), concat([x, a, a], y, 1)])
    assert names(plan) == ["lut8", "copy", "copy"]
    pieces = [operation.output for operation in plan.operations]
    assert same_buffer(plan, y, *pieces)
    assert sorted(plan.placements[piece].offset for piece in pieces) == [0, 3, 6]


def test_a_concat_of_nothing_but_inputs_stays_an_operator() -> None:
    x, z, y = value("x", 1, 3), value("z", 1, 3), value("y", 1, 6)
    assert names(plan_of([x, z], [y], [concat([x, z], y, 1)])) == ["concat"]


def test_views_chain() -> None:
    """Heads of a detector: reshapes of results, joined, reshaped again and cut apart."""
    x = value("x", 1, 4, 4, 6)
    heads, flat = [], []
    operations = []
    for number in range(3):
        head, rows = value(f"head{number}", 1, 4, 4, 6), value(f"rows{number}", 1, 24, 4)
        operations += [lut8(x, head, number), copy(head, rows)]
        heads.append(head)
        flat.append(rows)
    joined, boxes, second = value("joined", 1, 72, 4), value("boxes", 72, 4), value("cut", 24, 4)
    y = value("y", 24, 4)
    operations += [
        concat(flat, joined, 1),
        copy(joined, boxes),
        slice_(boxes, second, (24, 0)),
        transpose(second, y, (0, 1)),
        # Keeps all of it needed, so that nothing is gained by copying the slice.
        transpose(boxes, z := value("z", 4, 72), (1, 0)),
    ]
    plan = plan_of([x], [y, z], operations)
    assert sorted(names(plan)) == ["lut8"] * 3 + ["transpose"] * 2
    assert same_buffer(plan, *heads, *flat, joined, boxes, second)
    assert plan.placements[second].offset == 96


def block_with_a_small_part(x: Value, y: Value) -> list[Operation]:
    """A slice of a large tensor is read after another large tensor has come and gone."""
    big, part = value(f"big {y.name}", 4096), value(f"part {y.name}", 64)
    a, b = value(f"a {y.name}", 4096), value(f"b {y.name}", 64)
    return [
        Operation("conv2d", [x], [big], {}, "big"),
        slice_(big, part, (64,)),
        Operation("conv2d", [part], [a], {}, "a"),
        Operation("conv2d", [a], [b], {}, "b"),
        add(part, b, y),
    ]


def test_small_parts_do_not_hold_large_tensors_where_memory_peaks() -> None:
    values = [value(f"v{i}", 64) for i in range(4)]
    operations = [
        operation for x, y in pairwise(values) for operation in block_with_a_small_part(x, y)
    ]
    plan = plan_of([values[0]], [values[-1]], operations)
    assert names(plan).count("slice") == 3
    assert plan.arena_bytes < 4096 + 4096


def test_a_small_part_is_a_view_where_memory_does_not_peak() -> None:
    x, y, big = value("x", 64), value("y", 64), value("big", 8192)
    operations = block_with_a_small_part(x, y)
    operations += [
        Operation("conv2d", [y], [big], {}, "big"),
        Operation("conv2d", [big], [value("z", 64)], {}, "z"),
    ]
    plan = plan_of([x], [operations[-1].output], operations)
    assert "slice" not in names(plan)
    assert plan.arena_bytes == 4096 + 4096 + 64


def test_views_keep_elements_aligned() -> None:
    """int32 behind three bytes of int8 would be, as a part of one buffer, misaligned."""
    x = value("x", 1, 11)
    a, b, c = value("a", 1, 3), value("b", 1, 8), value("c", 1, 2, dtype="int32")
    y, z = value("y", 1, 11), value("z", 1, 2, dtype="int32")
    plan = plan_of(
        [x],
        [y, z],
        [
            transpose(x, t := value("t", 1, 11), (0, 1)),
            slice_(t, a, (0, 0)),
            slice_(t, b, (0, 3)),
            copy(b, c),
            concat([a, b], y, 1),
            transpose(c, z, (0, 1)),
        ],
    )
    for found, placement in plan.placements.items():
        if found.dtype == "int32":
            assert placement.offset % 4 == 0
