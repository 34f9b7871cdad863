"""From a lowered program to its memory plan.

Algorithm. Operations that only move bytes become views (`views`), an order with a low peak is
searched (`order`), results are written over operands that die (`inplace`), chains of operations
whose tensors are too large for the cache run by bands of rows (`bands`), and what is left is
packed into the arena (`offsets`); each module says how, and what it does not guarantee. Three
decisions are made here, by the largest sum of live bytes of the alternatives:

- The order that was found is taken only when it is better than the source model's own.
- Operations run by bands unless that needs more memory than running them whole.
- A view keeps all of its storage alive. Where memory peaks, views whose storage holds bytes that
  the step at the peak does not touch are undone one at a time, so that their bytes are copied
  instead; what lowers the peak most, or the number of steps that reach it, is kept, and the search
  repeated. If the peak is the same in the end, all views stay.

Nothing but placement can then raise the arena above that sum, and nearly never does. Whatever was
decided, `verify` simulates the plan before it is handed out.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeinfer.budget import session_bytes_of
from edgeinfer.convert.plan.bands import Bands, band_steps, whole_steps
from edgeinfer.convert.plan.inplace import merge_in_place
from edgeinfer.convert.plan.lifetimes import activations, find_lifetimes, live_bytes, make_buffers
from edgeinfer.convert.plan.offsets import place_buffers
from edgeinfer.convert.plan.order import find_order
from edgeinfer.convert.plan.verify import verify_plan
from edgeinfer.convert.plan.views import Layout, Operand, Storage, share_views
from edgeinfer.convert.program import Operation, Placement, Plan, Program, Step
from edgeinfer.errors import BudgetError

_MAX_ROUNDS = 32  # of undoing a view
_MAX_VIEWS_TRIED = 16  # in each round


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
    chosen = _choose(program)
    buffers = make_buffers(chosen.lifetimes, chosen.ring_rows)
    arena_bytes = place_buffers(buffers)
    live = live_bytes(buffers, aligned=False)
    index_of = {storage: index for index, storage in enumerate(chosen.lifetimes)}
    plan = Plan(
        operations=chosen.operations,
        buffers=buffers,
        placements={
            value: Placement(
                index_of[storage],
                storage.offsets[value] - storage.begin,
                chosen.ring_rows.get(storage, value.rows),
            )
            for value, storage in chosen.layout.storage_of.items()
            if storage in index_of
        },
        steps=chosen.steps,
        arena_bytes=arena_bytes,
        peak_step=live.index(max(live)),
    )
    verify_plan(program, plan)
    if ram_budget is not None:
        _check_budget(program, plan, ram_budget)
    return plan


@dataclass(frozen=True)
class _Arrangement:
    """Everything that is decided before offsets."""

    layout: Layout
    operations: list[Operation]
    steps: list[Step]
    ring_rows: dict[Storage, int]
    lifetimes: dict[Storage, tuple[int, int]]
    live: list[int]

    @property
    def peak(self) -> int:
        """The largest sum of live bytes."""
        return max(self.live)

    @property
    def fullness(self) -> tuple[int, int]:
        """The peak, and in how many steps it is reached."""
        return self.peak, self.live.count(self.peak)


def _choose(program: Program) -> _Arrangement:
    with_all_views = best = _arrange(program, frozenset())
    undone: frozenset[Operand] = frozenset()
    for _ in range(_MAX_ROUNDS):
        trials = [
            (_arrange(program, undone | {operand}, thorough=False), operand)
            for operand in _views_at_peak(best)[:_MAX_VIEWS_TRIED]
        ]
        trial, operand = min(trials, key=lambda t: t[0].fullness, default=(best, None))
        if operand is None or trial.fullness >= best.fullness:
            break
        best = trial
        undone |= {operand}
    if best.peak == with_all_views.peak:
        return with_all_views
    return min(best, _arrange(program, undone), key=lambda arrangement: arrangement.peak)


def _arrange(
    program: Program, undone: frozenset[Operand], *, thorough: bool = True
) -> _Arrangement:
    layout = share_views(program, undone)
    found = find_order(layout, thorough=thorough)
    best = _in_order(layout, list(layout.operations))
    if found != layout.operations:
        # Writing in place has merged storages of this layout; the other order starts anew.
        again = share_views(program, undone)
        position = {operation: index for index, operation in enumerate(layout.operations)}
        other = _in_order(again, [again.operations[position[operation]] for operation in found])
        best = min(best, other, key=lambda arrangement: arrangement.peak)
    return best


def _in_order(layout: Layout, operations: list[Operation]) -> _Arrangement:
    whole = whole_steps(operations)
    merge_in_place(layout, operations, whole.steps)
    in_bands = band_steps(layout, operations)
    alternatives = [in_bands, whole] if in_bands.ring_rows else [whole]
    arrangements = [_with_bands(layout, operations, bands) for bands in alternatives]
    return min(arrangements, key=lambda arrangement: arrangement.peak)


def _with_bands(layout: Layout, operations: list[Operation], bands: Bands) -> _Arrangement:
    lifetimes = find_lifetimes(layout, operations, bands.steps)
    live = live_bytes(make_buffers(lifetimes, bands.ring_rows), aligned=True)
    return _Arrangement(layout, operations, bands.steps, bands.ring_rows, lifetimes, live)


def _views_at_peak(arrangement: _Arrangement) -> list[Operand]:
    """Views that keep bytes alive which the step at the peak does not touch."""
    layout = arrangement.layout
    peak_step = arrangement.live.index(arrangement.peak)
    touched: dict[Storage, int] = {}
    if arrangement.steps:
        operation = arrangement.operations[arrangement.steps[peak_step].operation]
        for value in activations([*operation.inputs, *operation.outputs]):
            storage = layout.storage_of[value]
            touched[storage] = touched.get(storage, 0) + value.nbytes
    idle = {
        storage
        for storage, (first, last) in arrangement.lifetimes.items()
        if first <= peak_step <= last and touched.get(storage, 0) < storage.nbytes
    }
    return [
        (operation, index)
        for operation, index in layout.viewed
        if layout.storage_of[operation.output] in idle
    ]


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
    name = operation.name.split(";")[0]  # TFLite joins the names of all that was fused
    raise BudgetError(
        # As the C core says it, which refuses the same at load.
        f"program {program.name!r} needs {needed} bytes and ram_budget is {ram_budget}: "
        f"{needed - ram_budget} too few; memory peaks in step {plan.peak_step}, "
        f"node {name!r} ({operation.operator}): raise the budget, or make what this step reads and "
        "writes smaller"
    )
