"""RAM against time, measured: plans of a model from the fastest to the smallest, run in turn.

    python tools/plan_times.py model.tflite ... [--feed-inputs] [--input-layout nhwc] [--core 1]
        [--seconds 2] [--device-profile NAME_OR_FILE] [--fit [--out FILE]]

Of each model: the plan in which every operation runs whole, the one that `convert` takes, and those
of the curve (`edgeinfer plan --pareto`), with the bytes of the arena, medians, the ratio to the
whole plan, and the ratio that the planner expects. Outputs are compared: every plan must give the
same bytes. --fit solves for the constants of `edgeinfer/convert/plan/step_cost.py` by least squares
of the relative errors over all plans shown, none negative, and prints them; memory_ns and
cache_bytes stay those of --device-profile. --out writes them as a profile of this machine, for
`convert --device-profile`.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import edgeinfer  # noqa: E402
from edgeinfer.cli.arguments import (  # noqa: E402
    add_device_profile_argument,
    add_input_layout_argument,
    chosen_input_layout,
)
from edgeinfer.convert import convert  # noqa: E402
from edgeinfer.convert.plan import plan_curve, plan_program  # noqa: E402
from edgeinfer.convert.plan.candidates import Candidates  # noqa: E402
from edgeinfer.convert.plan.device_profile import (  # noqa: E402
    DeviceProfile,
    load_device_profile,
    save_device_profile,
)
from edgeinfer.convert.plan.planner import make_plan  # noqa: E402
from edgeinfer.convert.plan.step_cost import StepCosts, moved_bytes, weight_bytes  # noqa: E402
from edgeinfer.convert.program import Plan, Program  # noqa: E402
from edgeinfer.convert.write import write_model  # noqa: E402
from edgeinfer.printing import format_table  # noqa: E402
from edgeinfer.system.cores import cpu_name  # noqa: E402
from edgeinfer.system.kernel_files import KernelFiles  # noqa: E402

_MOST_PLANS = 8  # of a curve


@dataclass
class Timed:
    """A plan, and what a run took in each round."""

    label: str
    plan: Plan
    nanoseconds: list[int]

    @property
    def median(self) -> float:
        return float(np.median(self.nanoseconds))


def plans_of(program: Program, *, feed_inputs: bool, costs: StepCosts | None = None) -> list[Timed]:
    """The plans to compare, that of whole operations first."""
    costs = costs or StepCosts()
    curve = plan_curve(program, feed_inputs=feed_inputs, costs=costs)
    shown = {round(i * (len(curve) - 1) / (_MOST_PLANS - 1)) for i in range(_MOST_PLANS)}
    whole = make_plan(Candidates(program, costs).whole)
    smallest = plan_program(program, optimize="ram", feed_inputs=feed_inputs, costs=costs)
    return [
        Timed("whole", whole, []),
        Timed("default", plan_program(program, feed_inputs=feed_inputs, costs=costs), []),
        *(Timed("curve", curve[i], []) for i in sorted(shown)),
        Timed("smallest", smallest, []),
    ]


def time_in_turn(plans: Sequence[Timed], seconds: float) -> str:
    """Run all of them, one after the other, until the time is up; returns the kernel tier.

    Raises
    ------
    SystemExit
        Two plans give different outputs.
    """
    models = [edgeinfer.load(write_model([(t.plan.program, t.plan)], {})) for t in plans]
    rng = np.random.default_rng(0)
    x = {info.name: _random(rng, info) for info in models[0].inputs}
    out = [{i.name: np.empty(i.shape, i.dtype) for i in model.outputs} for model in models]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or not plans[0].nanoseconds:
        for timed, model, results in zip(plans, models, out, strict=True):
            begin = time.perf_counter_ns()
            model.run_into(results, x)
            timed.nanoseconds.append(time.perf_counter_ns() - begin)
    for timed, results in zip(plans, out, strict=True):
        for name, values in results.items():
            if not np.array_equal(values, out[0][name]):
                sys.exit(f"the plan of {timed.plan.arena_bytes} bytes gives another {name!r}")
    return models[0].tier


def _random(rng: np.random.Generator, info: edgeinfer.TensorInfo) -> np.ndarray:
    if info.dtype.kind in "iu":
        limits = np.iinfo(info.dtype)
        return rng.integers(limits.min, limits.max + 1, info.shape).astype(info.dtype)
    return rng.standard_normal(info.shape).astype(info.dtype)


def fit(plans: Sequence[Timed], known: StepCosts) -> StepCosts:
    """Constants for which the costs come closest to the times, relative to each.

    What no plan tells is taken from `known`.
    """
    rows = []
    for timed in plans:
        plan = timed.plan
        operations = plan.operations
        macs = sum(weight_bytes(o) * math.prod(o.outputs[0].shape[:-1]) for o in operations)
        weights = sum(weight_bytes(operations[step.operation]) for step in plan.steps)
        rows.append([macs, sum(map(moved_bytes, operations)), len(plan.steps), weights])
    times = np.array([timed.median for timed in plans])
    relative = np.array(rows, float) / times[:, None]
    mac_ns, byte_ns, step_ns, weight_ns = _least_squares(relative)
    return dataclasses.replace(
        known, mac_ns=mac_ns, byte_ns=byte_ns, step_ns=step_ns, weight_ns=weight_ns
    )


def _least_squares(relative: np.ndarray) -> list[float]:
    """Factors of the columns whose sum comes closest to 1 in each row; none is negative.

    Plans that hardly differ tell little of some constants: those that come out negative are 0, the
    most negative first.
    """
    used = list(range(relative.shape[1]))
    while True:
        factors = np.linalg.lstsq(relative[:, used], np.ones(len(relative)), rcond=None)[0]
        if np.all(factors >= 0):
            break
        del used[int(np.argmin(factors * np.abs(relative[:, used]).mean(0)))]
    found = [0.0] * relative.shape[1]
    for column, factor in zip(used, factors, strict=True):
        found[column] = float(factor)
    return found


def write_profile(costs: StepCosts, tier: str, models: Sequence[Path], path: Path) -> None:
    """A profile of this machine, with what it was measured on."""
    names = ", ".join(model.name for model in models)
    profile = DeviceProfile(
        name=path.stem,
        costs=costs,
        device=f"{cpu_name(KernelFiles()) or 'an unknown CPU'}, tier {tier}, one core",
        measured=f"tools/plan_times.py --fit on {names}, {date.today().isoformat()}",
    )
    save_device_profile(profile, path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, fit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path, help=".tflite or .onnx files")
    parser.add_argument("--feed-inputs", action="store_true", help="plans for inputs fed by rows")
    add_input_layout_argument(parser)
    parser.add_argument("--core", type=int, help="pin to this core")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each model (default: 2)")
    add_device_profile_argument(parser)
    parser.add_argument("--fit", action="store_true", help="fit the constants of step costs")
    parser.add_argument("--out", type=Path, help="with --fit: the profile to write")
    args = parser.parse_args(arguments)
    if args.out and not args.fit:
        parser.error("--out is for what --fit finds: give both")
    costs = load_device_profile(args.device_profile).costs
    if args.core is not None:
        os.sched_setaffinity(0, {args.core})
    everything: list[Timed] = []
    for path in args.models:
        converted = convert(path, input_layout=chosen_input_layout(args.input_layout))
        plans = plans_of(converted.programs[0], feed_inputs=args.feed_inputs, costs=costs)
        tier = time_in_turn(plans, args.seconds)
        print(f"{path.stem}: {len(plans[0].nanoseconds)} rounds")
        print(format_table(_HEADER, [_row(timed, plans[0]) for timed in plans]))
        everything += plans
    if args.fit:
        fitted = fit(everything, costs)
        print(fitted)
        if args.out:
            write_profile(fitted, tier, args.models, args.out)
    return 0


_HEADER = ["plan", "arena", "steps", "median µs", "to whole", "expected"]


def _row(timed: Timed, whole: Timed) -> list[Any]:
    plan = timed.plan
    return [
        timed.label,
        plan.arena_bytes,
        len(plan.steps),
        f"{timed.median / 1e3:.1f}",
        f"{timed.median / whole.median:.3f}",
        f"{plan.cost_ns / whole.plan.cost_ns:.3f}",
    ]


if __name__ == "__main__":
    sys.exit(main())
