"""The order of operators: never worse than the source's, best where a search can tell."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.convert.plan import plan_program
from edgeinfer.convert.plan.order import find_order
from edgeinfer.convert.plan.views import share_views
from edgeinfer.convert.program import Operation, Program, Value


def compute(inputs: Sequence[Value], name: str, size: int) -> Operation:
    """An operator that is neither view nor in place."""
    return Operation("conv2d", list(inputs), [Value(name, (size,), "int8")], {}, name)


def peak_of(program: Program, order: Sequence[Operation]) -> int:
    """Largest sum of live bytes, written without the code under test."""
    last = {value: index for index, op in enumerate(order) for value in op.inputs}
    live = {value for value in program.inputs if value in last}
    peak = 0
    for index, operation in enumerate(order):
        live.add(operation.output)
        peak = max(peak, sum(-(-value.nbytes // 64) * 64 for value in live))
        keep = set(program.outputs)
        live = {value for value in live if value in keep or last.get(value, -1) > index}
    return peak


def orders(program: Program) -> list[list[Operation]]:
    """Every order that respects the data."""
    found = []
    for order in itertools.permutations(program.operations):
        known = set(program.inputs)
        for operation in order:
            if not known.issuperset(v for v in operation.inputs if v is not None):
                break
            known.add(operation.output)
        else:
            found.append(list(order))
    return found


@st.composite
def branching(draw: st.DrawFn) -> Program:
    sizes = st.sampled_from([64, 128, 320, 640])
    x = Value("x", (draw(sizes),), "int8")
    values = [x]
    operations = []
    for number in range(draw(st.integers(2, 6))):
        inputs = draw(st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True))
        operation = compute(inputs, f"v{number}", draw(sizes))
        operations.append(operation)
        values.append(operation.output)
    read = {value for operation in operations for value in operation.inputs}
    outputs = [v for v in values[1:] if v not in read]
    return Program("main", [x], outputs, operations)


@given(branching())
def test_small_graphs_get_the_best_order(program: Program) -> None:
    best = min(peak_of(program, order) for order in orders(program))
    found = find_order(share_views(program))
    assert peak_of(program, found) == best
    assert plan_program(program).arena_bytes <= best


def test_the_source_order_stays_when_it_is_as_good() -> None:
    x = Value("x", (64,), "int8")
    a, b = compute([x], "a", 64), compute([x], "b", 64)
    c = compute([a.output, b.output], "c", 64)
    for operations in ([a, b, c], [b, a, c]):
        plan = plan_program(Program("main", [x], [c.output], operations))
        assert [o.name for o in plan.operations] == [o.name for o in operations]


def test_a_wide_branch_is_finished_before_the_next_begins() -> None:
    """Breadth first, four large tensors would be alive at once."""
    x = Value("x", (64,), "int8")
    large = [compute([x], f"large{i}", 1024) for i in range(4)]
    small = [compute([op.output], f"small{i}", 64) for i, op in enumerate(large)]
    end = compute([op.output for op in small], "end", 64)
    program = Program("main", [x], [end.output], [*large, *small, end])
    plan = plan_program(program)
    assert peak_of(program, program.operations) == 64 + 4 * 1024
    assert plan.arena_bytes == 64 + 1024 + 3 * 64


def test_many_independent_operations_end_in_time_and_in_source_order() -> None:
    x = Value("x", (64,), "int8")
    operations = [compute([x], f"v{i}", 64) for i in range(300)]
    program = Program("main", [x], [operation.output for operation in operations], operations)
    assert find_order(share_views(program)) == operations
