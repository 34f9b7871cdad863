"""The arrangement in which every operation runs whole, in one step.

Algorithm. Two decisions are made here, by the largest sum of live bytes of the alternatives:

- The order that was found (`order`) is taken only when it is better than the source model's own.
- A view keeps all of its storage alive. Where memory peaks, views whose storage holds bytes that
  the step at the peak does not touch are undone one at a time, so that their bytes are copied
  instead; what lowers the peak most, or the number of steps that reach it, is kept, and the search
  repeated. If the peak is the same in the end, all views stay.

Nothing but placement can then raise the arena above that sum, and nearly never does.
"""

from __future__ import annotations

from edgeinfer.convert.plan.arrangement import Arrangement, arrange
from edgeinfer.convert.plan.bands import whole_steps
from edgeinfer.convert.plan.inplace import merge_in_place
from edgeinfer.convert.plan.lifetimes import activations
from edgeinfer.convert.plan.order import find_order
from edgeinfer.convert.plan.views import Layout, Operand, Storage, share_views
from edgeinfer.convert.program import Operation, Program

_MAX_ROUNDS = 32  # of undoing a view
_MAX_VIEWS_TRIED = 16  # in each round


def arrange_whole(program: Program) -> Arrangement:
    """The arrangement of whole operations with the lowest peak that was found."""
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


def _arrange(program: Program, undone: frozenset[Operand], *, thorough: bool = True) -> Arrangement:
    layout = share_views(program, undone)
    found = find_order(layout, thorough=thorough)
    best = _in_order(program, layout, list(layout.operations))
    if found != layout.operations:
        # Writing in place has merged storages of this layout; the other order starts anew.
        again = share_views(program, undone)
        position = {operation: index for index, operation in enumerate(layout.operations)}
        other = _in_order(
            program, again, [again.operations[position[operation]] for operation in found]
        )
        best = min(best, other, key=lambda arrangement: arrangement.peak)
    return best


def _in_order(program: Program, layout: Layout, operations: list[Operation]) -> Arrangement:
    whole = whole_steps(operations)
    merge_in_place(layout, operations, whole.steps)
    return arrange(program, layout, operations, whole)


def _views_at_peak(arrangement: Arrangement) -> list[Operand]:
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
