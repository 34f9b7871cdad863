"""The minor version of the format that a plan needs: the lowest, for the sake of older devices.

docs/format.md, "Versions", says what each one brought.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from edgeinfer.convert.plan.inplace import IN_PLACE
from edgeinfer.convert.program import Operation, Placement, Plan, Program, Value

_OPERATORS_OF_1 = frozenset({"accumulate_rows", "rescale_sums"})
_OPERATORS_OF_2 = frozenset({"embedding", "fully_connected_dynamic"})


def minor_version(program: Program, plan: Plan) -> int:
    """The lowest minor version whose rules the plan keeps."""
    if any(_needs_2(operation) for operation in plan.operations):
        return 2
    makers = {value: operation for operation in plan.operations for value in operation.outputs}
    needs_1 = (
        any(operation.operator in _OPERATORS_OF_1 for operation in plan.operations)
        or any(plan.placements[value].ring_rows != value.rows for value in program.inputs)
        or any(_overlaps(values, plan, makers) for values in _written_by_buffer(program, plan))
        or any(_operands_overlap(operation, plan) for operation in plan.operations)
        or _inputs_are_written_over(plan)
    )
    return int(needs_1)


def _needs_2(operation: Operation) -> bool:
    return operation.operator in _OPERATORS_OF_2 or any(
        value is not None and value.scheme for value in operation.inputs
    )


def _written_by_buffer(program: Program, plan: Plan) -> Iterator[list[Value]]:
    buffers: dict[int, list[Value]] = {}
    results = [value for operation in plan.operations for value in operation.outputs]
    for value in [*program.inputs, *results]:
        buffers.setdefault(plan.placements[value].buffer, []).append(value)
    yield from buffers.values()


def _overlaps(values: list[Value], plan: Plan, makers: Mapping[Value, Operation]) -> bool:
    """Whether some of them share bytes, but not as whole tensors or rings in place do."""

    def held(value: Value) -> tuple[int, int]:
        placement = plan.placements[value]
        return placement.offset, _end(value, placement)

    for first, second in pairwise(sorted(values, key=held)):
        if held(first) != held(second):
            if held(second)[0] < held(first)[1]:
                return True
        elif _is_ring(first, plan) or _is_ring(second, plan):
            in_place = second in makers and first in makers[second].inputs
            if not in_place or _rows(first, plan) != _rows(second, plan):
                return True
    return False


def _operands_overlap(operation: Operation, plan: Plan) -> bool:
    for output in operation.outputs:
        b = plan.placements[output]
        for value in operation.inputs:
            if value is None or value.data is not None:
                continue
            a = plan.placements[value]
            in_place = operation.operator in IN_PLACE and a == b and value.shape == output.shape
            meet = a.offset < _end(output, b) and b.offset < _end(value, a)
            if a.buffer == b.buffer and meet and not in_place:
                return True
    return False


def _inputs_are_written_over(plan: Plan) -> bool:
    """Whether a buffer lies in the bytes of a graph input's while both are alive."""
    return any(
        max(a.first_step, b.first_step) <= min(a.last_step, b.last_step)
        and max(a.offset, b.offset) < min(a.offset + a.bytes, b.offset + b.bytes)
        for a in plan.buffers
        for b in plan.buffers
        if a.is_input and not b.is_input
    )


def _end(value: Value, placement: Placement) -> int:
    return placement.offset + placement.ring_rows * value.row_bytes


def _is_ring(value: Value, plan: Plan) -> bool:
    return plan.placements[value].ring_rows != value.rows


def _rows(value: Value, plan: Plan) -> tuple[int, int, int]:
    return value.rows, plan.placements[value].ring_rows, value.row_bytes
