"""Programs whose graph inputs are rings, fed by rows; their plans are made by hand."""

from __future__ import annotations

from collections.abc import Sequence

from edgeinfer.convert.plan.rows import rows_read
from edgeinfer.convert.program import Operation, Value
from tests.convert.random_programs import max_pool
from tests.core.programs import Draft, activation, largest, lut


def smallest_rings(draft: Draft) -> dict[Value, int]:
    """Rows that each graph input must hold, if each comes right before the first step to read it.

    Right for operations whose rows `rows_read` knows.
    """
    inputs = draft.program.inputs
    fed = dict.fromkeys(inputs, 0)
    rings = dict.fromkeys(inputs, 1)
    for step in draft.steps:
        operation = draft.program.operations[step.operation]
        reads = [
            (value, *rows_read(operation, value, step.row_begin, step.row_end))
            for value in operation.inputs
            if value in fed
        ]
        for value, begin, end in reads:
            fed[value] = max(fed[value], end) if begin < end else fed[value]
        for value, begin, end in reads:
            if begin < end:
                rings[value] = max(rings[value], fed[value] - begin)
    return rings


def with_rings(
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    operations: Sequence[Operation],
    steps: Sequence[tuple[int, int, int]],
    *,
    spare: int = 0,
    whole: bool = False,
) -> Draft:
    """Graph inputs in the smallest rings, and so many rows more; all else whole."""
    draft = Draft([], outputs, operations).walk(*steps)
    draft.program.inputs = list(inputs)
    for value, rows in smallest_rings(draft).items():
        rows = value.rows if whole else min(rows + spare, value.rows)
        draft.place(value, ring_rows=rows, is_input=True)
    for operation in operations:
        if operation.output not in draft.placements:
            draft.place(operation.output)
    return draft


def pooled(
    height: int,
    *,
    images: int = 1,
    kernel: int = 3,
    stride: int = 1,
    pad: int = 1,
    band: int = 1,
    spare: int = 0,
    whole: bool = False,
) -> Draft:
    """x -> y, the largest in windows, `band` rows at a time; images are 4 wide with 5 channels."""
    x = Value("x", (images, height, 4, 5), "int8", scale=0.5, zero_point=3)
    rows, columns = ((size + 2 * pad - kernel) // stride + 1 for size in (height, 4))
    y = Value("y", (images, rows, columns, 5), "int8", scale=0.5, zero_point=3)
    pool = max_pool(x, y, kernel, stride, pad)
    steps = [(0, row, min(row + band, y.rows)) for row in range(0, y.rows, band)]
    return with_rings([x], [y], [pool], steps, spare=spare, whole=whole)


def two_inputs(*, ahead: int = 0, whole: bool = False) -> Draft:
    """y = max(lut(a), lut(b)): of `a` so many rows are read before the first of `b`."""
    a, b, from_a, from_b, y = (activation(name) for name in ("a", "b", "from a", "from b", "y"))
    operations = [lut(a, from_a), lut(b, from_b), largest(from_a, from_b, y)]
    steps = [(0, row, row + 1) for row in range(ahead)]
    for row in range(a.rows):
        if row + ahead < a.rows:
            steps.append((0, row + ahead, row + ahead + 1))
        steps += [(1, row, row + 1), (2, row, row + 1)]
    return with_rings([a, b], [y], operations, steps, whole=whole)
