"""From a lowered program to its memory plan.

Algorithm. Operations that only move bytes become views (`views`), an order with a low peak is
searched (`order`), results are written over operands that die (`inplace`), and what is left is
packed into the arena (`offsets`); each module says how, and what it does not guarantee. That gives
the plan in which every operation runs whole (`whole`). Beside it stand plans in which operations
take turns by bands of rows (`bands`, `groups`), from the fastest to the smallest. Which of them is
taken depends on what is asked for:

- "latency": the fastest. Where no tensor is larger than the cache, every operation runs whole.
- "ram": the smallest.
- "balanced": the smallest that takes at most `BALANCED_SLOWDOWN` times as long as the fastest.
- a RAM budget: what was asked for if it fits, else the fastest plan that fits.

Whatever was decided, `verify` simulates the plan before it is handed out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from edgeinfer.budget import session_bytes_of
from edgeinfer.convert.plan.arrangement import Arrangement
from edgeinfer.convert.plan.candidates import Candidates
from edgeinfer.convert.plan.lifetimes import live_bytes, make_buffers
from edgeinfer.convert.plan.offsets import place_buffers
from edgeinfer.convert.plan.overlap import Cluster, find_clusters
from edgeinfer.convert.plan.step_cost import StepCosts
from edgeinfer.convert.plan.verify import verify_plan
from edgeinfer.convert.plan.views import ARENA_ALIGNMENT, Storage
from edgeinfer.convert.program import Buffer, Operation, Placement, Plan, Program
from edgeinfer.errors import BudgetError, InputError

OPTIMIZE = ("latency", "balanced", "ram")
"""What a plan may be chosen for."""

BALANCED_SLOWDOWN = 1.25

_PLACEMENTS = 32  # plans looked at for a budget


def plan_program(
    program: Program,
    *,
    ram_budget: int | None = None,
    optimize: str = "latency",
    feed_inputs: bool = False,
    costs: StepCosts | None = None,
) -> Plan:
    """Decide order, steps and addresses.

    Parameters
    ----------
    program : the lowered program; it is not changed.
    ram_budget : bytes that a session may take altogether, or None for no limit.
    optimize : what to choose the plan for: "latency", "balanced" or "ram".
    feed_inputs : plan for a caller who hands graph inputs over row by row, so that they need not
        stand whole in the arena.
    costs : of the device, or None for those of a typical one.

    Returns
    -------
    Plan
        Its `program` is the one that it runs: global pools may have been cut in two.

    Raises
    ------
    BudgetError
        No plan takes at most `ram_budget`; the message names the step at which the smallest peaks.
    """
    if optimize not in OPTIMIZE:
        raise InputError(f"optimize is {optimize!r}, must be one of {', '.join(OPTIMIZE)}")
    candidates = Candidates(program, costs or StepCosts(), feed_inputs=feed_inputs)
    if optimize != "ram":
        # What was planned for speed needs no overlaps, which older readers of the file refuse.
        plan = make_plan(_wanted(candidates, optimize), overlap=optimize != "latency")
        if _fits(plan, ram_budget):
            return plan
        assert ram_budget is not None
        found = _fastest_that_fits(candidates, ram_budget)
        if found is not None:
            return found
    plan = _smallest(candidates)
    if not _fits(plan, ram_budget):
        assert ram_budget is not None
        raise _over_budget(plan, ram_budget)
    return plan


def plan_curve(
    program: Program, *, feed_inputs: bool = False, costs: StepCosts | None = None
) -> list[Plan]:
    """Plans from the fastest to the smallest, each slower and smaller than the one before."""
    candidates = Candidates(program, costs or StepCosts(), feed_inputs=feed_inputs)
    plans: list[Plan] = []
    for plan in map(make_plan, candidates.curve()):
        if not plans or plan.arena_bytes < plans[-1].arena_bytes:
            plans.append(plan)
    smallest = _smallest(candidates)
    if smallest.arena_bytes < plans[-1].arena_bytes:
        plans = [plan for plan in plans if plan.cost_ns < smallest.cost_ns] + [smallest]
    return plans


def make_plan(chosen: Arrangement, *, overlap: bool = True) -> Plan:
    """Decide the addresses, and prove the plan right.

    With `overlap` tensors may overlap by rows (`overlap`) where that makes the arena smaller.
    """
    plan = _placed(chosen, [])
    if overlap and chosen.ring_rows:
        for clusters in find_clusters(chosen):
            other = _placed(chosen, clusters)
            if other.arena_bytes < plan.arena_bytes:
                plan = other
    verify_plan(plan.program, plan)
    return plan


def _placed(chosen: Arrangement, clusters: Sequence[Cluster]) -> Plan:
    """The plan in which each cluster is one buffer, and every other storage has its own.

    A cluster that a graph input is in becomes two, the input's and that of the others.
    """
    taken = {storage for cluster in clusters for storage in cluster.offsets}
    alone = {s: life for s, life in chosen.lifetimes.items() if s not in taken}
    rooms = [
        Buffer(cluster.nbytes, *_lifetime(chosen, cluster.offsets)) for cluster in clusters
    ] + make_buffers(alone, chosen.ring_rows)
    arena_bytes = place_buffers(rooms)
    # A cluster is as large at all times: what is told of the peak goes by tensors, as if apart.
    live = chosen.live if clusters else live_bytes(rooms, aligned=False)
    places: dict[Storage, tuple[int, int]] = {}
    buffers: list[Buffer] = []
    for cluster, room in zip(clusters, rooms, strict=False):
        for storages, begin in cluster.buffers():
            places.update({s: (len(buffers), cluster.offsets[s] - begin) for s in storages})
            is_input = storages[0].is_input
            nbytes = storages[0].nbytes if is_input else cluster.nbytes - begin
            life = _lifetime(chosen, storages)
            buffers.append(Buffer(nbytes, *life, room.offset + begin, is_input=is_input))
    places.update({storage: (len(buffers) + at, 0) for at, storage in enumerate(alone)})
    buffers += rooms[len(clusters) :]
    return Plan(
        program=chosen.program,
        operations=chosen.operations,
        buffers=buffers,
        placements={
            value: Placement(
                places[storage][0],
                places[storage][1] + storage.offsets[value] - storage.begin,
                chosen.ring_rows.get(storage, value.rows),
            )
            for value, storage in chosen.layout.storage_of.items()
            if storage in places
        },
        steps=chosen.steps,
        arena_bytes=arena_bytes,
        peak_step=live.index(max(live)),
        cost_ns=chosen.cost,
    )


def _lifetime(chosen: Arrangement, storages: Iterable[Storage]) -> tuple[int, int]:
    """First and last step that need any of them."""
    lifetimes = [chosen.lifetimes[storage] for storage in storages]
    return min(first for first, _ in lifetimes), max(last for _, last in lifetimes)


def _fits(plan: Plan, ram_budget: int | None) -> bool:
    return ram_budget is None or session_bytes(plan.program, plan) <= ram_budget


def _smallest(candidates: Candidates) -> Plan:
    plans = map(make_plan, candidates.smallest())
    return min(plans, key=lambda plan: (session_bytes(plan.program, plan), plan.cost_ns))


def _wanted(candidates: Candidates, optimize: str) -> Arrangement:
    if optimize == "latency":
        return candidates.fastest
    slowest = BALANCED_SLOWDOWN * candidates.fastest.cost
    return [found for found in candidates.curve() if found.cost <= slowest][-1]


def _fastest_that_fits(candidates: Candidates, ram_budget: int) -> Plan | None:
    """Of the plans that ought to fit, and of those that may because their tensors overlap."""
    plans = (make_plan(arrangement) for arrangement in _that_fit(candidates, ram_budget))
    fitting = next((plan for plan in plans if _fits(plan, ram_budget)), None)
    for arrangement in candidates.curve():
        if fitting is not None and arrangement.cost >= fitting.cost_ns:
            break
        plan = make_plan(arrangement)
        if _fits(plan, ram_budget):
            return plan
    return fitting


def _that_fit(candidates: Candidates, ram_budget: int) -> Iterator[Arrangement]:
    """Arrangements that ought to fit, the fastest first."""
    limit = float("inf")
    for _ in range(_PLACEMENTS):
        found = candidates.within(limit)
        if found is None:
            break
        over = _session_bytes(found.program, found.operations, found.peak) - ram_budget
        if over <= 0:
            yield found
        limit = found.peak - max(over, ARENA_ALIGNMENT)


def session_bytes(program: Program, plan: Plan) -> int:
    """Exact bytes of memory that a session of the planned program takes, on every CPU."""
    return _session_bytes(program, plan.operations, plan.arena_bytes, plan.state_bytes)


def _session_bytes(
    program: Program, operations: Sequence[Operation], arena_bytes: int, state_bytes: int = 0
) -> int:
    return session_bytes_of(
        nodes=len(operations),
        operands=sum(len(op.inputs) + len(op.outputs) for op in operations),
        scratch_bytes=program.scratch_bytes,
        arena_bytes=arena_bytes,
        state_bytes=state_bytes,
    )


def _over_budget(plan: Plan, ram_budget: int) -> BudgetError:
    needed = session_bytes(plan.program, plan)
    operation = plan.operations[plan.steps[plan.peak_step].operation]
    name = operation.name.split(";")[0]  # TFLite joins the names of all that was fused
    return BudgetError(
        # As the C core says it, which refuses the same at load.
        f"program {plan.program.name!r} needs {needed} bytes and ram_budget is {ram_budget}: "
        f"{needed - ram_budget} too few; memory peaks in step {plan.peak_step}, "
        f"node {name!r} ({operation.operator}): raise the budget, or make what this step reads and "
        "writes smaller"
    )
