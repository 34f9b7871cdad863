"""From a lowered program to its memory plan."""

from __future__ import annotations

from edgeinfer.budget import session_bytes_of
from edgeinfer.convert.plan.offsets import place_buffers
from edgeinfer.convert.program import Buffer, Placement, Plan, Program, Step, Value
from edgeinfer.errors import BudgetError


def plan_program(program: Program, *, ram_budget: int | None = None) -> Plan:
    """Decide order, steps and addresses.

    Parameters
    ----------
    program : the lowered program; it is not changed.
    ram_budget : bytes that a session may take altogether, or None for no limit.

    Raises
    ------
    BudgetError
        The session needs more than `ram_budget`; the message names the step that peaks.
    """
    last = max(len(program.operations) - 1, 0)
    buffers: list[Buffer] = []
    placements: dict[Value, Placement] = {}

    def add(value: Value, first: int, is_input: bool = False) -> None:
        is_output = value in outputs
        placements[value] = Placement(len(buffers), 0, value.rows)
        buffers.append(
            Buffer(value.nbytes, first, last if is_output else first, 0, is_input, is_output)
        )

    outputs = set(program.outputs)
    for value in program.inputs:
        add(value, 0, is_input=True)
    steps = []
    for index, operation in enumerate(program.operations):
        for operand in operation.inputs:
            if operand is not None and operand.data is None:
                buffer = buffers[placements[operand].buffer]
                buffer.last_step = max(buffer.last_step, index)
        for value in operation.outputs:
            add(value, index)
        steps.append(Step(index, 0, operation.outputs[0].rows))
    arena_bytes = place_buffers(buffers)
    live = [
        sum(b.bytes for b in buffers if b.first_step <= step <= b.last_step)
        for step in range(last + 1)
    ]
    plan = Plan(
        operations=list(program.operations),
        buffers=buffers,
        placements=placements,
        steps=steps,
        arena_bytes=arena_bytes,
        peak_step=live.index(max(live)),
    )
    if ram_budget is not None:
        _check_budget(program, plan, ram_budget)
    return plan


def session_bytes(program: Program, plan: Plan) -> int:
    """Exact bytes of memory that a session of the planned program takes, on every CPU."""
    return session_bytes_of(
        nodes=len(plan.operations),
        operands=sum(len(op.inputs) + len(op.outputs) for op in plan.operations),
        scratch_bytes=program.scratch_bytes,
        arena_bytes=plan.arena_bytes,
        state_bytes=plan.state_bytes,
    )


def _check_budget(program: Program, plan: Plan, ram_budget: int) -> None:
    needed = session_bytes(program, plan)
    if needed <= ram_budget:
        return
    operation = plan.operations[plan.steps[plan.peak_step].operation]
    raise BudgetError(
        f"program {program.name!r} needs {needed:,} bytes and the budget is {ram_budget:,}: "
        f"{needed - ram_budget:,} too few; memory peaks in step {plan.peak_step}, "
        f"{operation.name!r} ({operation.operator})"
    )
