"""From a lowered program to its memory plan."""

from __future__ import annotations

from edgeinfer.budget import session_bytes_of
from edgeinfer.convert.plan.inplace import merge_in_place
from edgeinfer.convert.plan.lifetimes import find_lifetimes, live_bytes, make_buffers
from edgeinfer.convert.plan.offsets import place_buffers
from edgeinfer.convert.plan.verify import verify_plan
from edgeinfer.convert.plan.views import share_views
from edgeinfer.convert.program import Placement, Plan, Program, Step
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
    layout = share_views(program)
    operations = layout.operations
    steps = [Step(i, 0, operation.outputs[0].rows) for i, operation in enumerate(operations)]
    merge_in_place(layout, operations, steps)
    lifetimes = find_lifetimes(layout, operations, steps)
    buffers = make_buffers(lifetimes)
    index_of = {storage: index for index, storage in enumerate(lifetimes)}
    arena_bytes = place_buffers(buffers)
    live = live_bytes(buffers, aligned=False)
    plan = Plan(
        operations=operations,
        buffers=buffers,
        placements={
            value: Placement(index_of[storage], storage.offsets[value] - storage.begin, value.rows)
            for value, storage in layout.storage_of.items()
            if storage in index_of
        },
        steps=steps,
        arena_bytes=arena_bytes,
        peak_step=live.index(max(live)),
    )
    verify_plan(program, plan)
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
