"""Plans of trained networks, from the fastest to the smallest: the same bits, in the bytes planned.

Each runs on memory of exactly the planned size between pages that may not be touched, its inputs
given whole and by rows.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeinfer.convert import convert
from edgeinfer.convert.plan import plan_curve, plan_program
from edgeinfer.convert.program import Plan, Program
from edgeinfer.convert.write import write_model
from tests.core.guarded import checksums
from tests.requirements import require_module

SMALLEST = {
    "ad01": 768,
    "kws": 5_226,
    "vww": 31_490,
    "resnet8": 12_042,
    "mobilenet_v2": 274_848,
}
SMALLEST_FED = {"ad01": 768, "kws": 4_836, "vww": 13_536, "resnet8": 10_784}


def plans_of(program: Program, name: str) -> dict[str, Plan]:
    """The default first; of the large network not every plan of the curve, which takes its time."""
    found = {"default": plan_program(program), "ram": plan_program(program, optimize="ram")}
    if name == "mobilenet_v2":
        budget = 400 * 1024
        found["budget"] = plan_program(program, ram_budget=budget)
        return found
    found["fed"] = plan_program(program, optimize="ram", feed_inputs=True)
    curve = plan_curve(program) + plan_curve(program, feed_inputs=True)
    return found | {f"curve{i}": plan for i, plan in enumerate(curve)}


@pytest.mark.parametrize("name", SMALLEST)
def test_every_plan_gives_the_same_bits_in_its_own_bytes(
    name: str, models_dir: Path, tmp_path: Path
) -> None:
    require_module("tflite")
    program = convert(models_dir / f"{name}_int8.tflite").programs[0]
    plans = plans_of(program, name)
    assert plans["ram"].arena_bytes == SMALLEST[name]
    if "fed" in plans:
        assert plans["fed"].arena_bytes == SMALLEST_FED[name]
    files = {label: write_model([(plan.program, plan)], {}) for label, plan in plans.items()}
    results = [
        checksums(edge, files, tmp_path, threads) for edge in ("begin", "end") for threads in (1, 2)
    ]
    assert len({crc for result in results for crc in result.values()}) == 1
