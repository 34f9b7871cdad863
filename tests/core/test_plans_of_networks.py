"""Plans of trained networks, from the fastest to the smallest: the same bits, in the bytes planned.

Each runs on memory of exactly the planned size between pages that may not be touched, its inputs
given whole and by rows. The large network has dozens of plans on its curves, which take minutes:
they are run with

    python -m pytest --every-plan tests/core/test_plans_of_networks.py
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
    "mobilenet_v2, nhwc": 272_832,
}
SMALLEST_FED = {
    "ad01": 768,
    "kws": 4_836,
    "vww": 13_536,
    "resnet8": 10_784,
    "mobilenet_v2, nhwc": 129_696,
}


def few_plans_of(program: Program, name: str) -> dict[str, Plan]:
    """Of the large network, in either layout of its input."""
    found = {"default": plan_program(program)}
    if name in SMALLEST_FED:
        found["fed"] = plan_program(program, optimize="ram", feed_inputs=True)
    else:
        found["ram"] = plan_program(program, optimize="ram")
        found["budget"] = plan_program(program, ram_budget=400 * 1024)
    return found


def plans_of(program: Program) -> dict[str, Plan]:
    """All of them, the default first."""
    found = {"default": plan_program(program), "ram": plan_program(program, optimize="ram")}
    found["fed"] = plan_program(program, optimize="ram", feed_inputs=True)
    curve = plan_curve(program) + plan_curve(program, feed_inputs=True)
    return found | {f"curve{i}": plan for i, plan in enumerate(curve)}


@pytest.mark.parametrize("name", SMALLEST)
def test_every_plan_gives_the_same_bits_in_its_own_bytes(
    name: str, models_dir: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    require_module("tflite")
    source = models_dir / f"{name.split(',')[0]}_int8.tflite"
    program = convert(source, input_layout="nhwc" if "nhwc" in name else "source").programs[0]
    few = name.startswith("mobilenet_v2") and not request.config.getoption("--every-plan")
    plans = few_plans_of(program, name) if few else plans_of(program)
    if "ram" in plans:
        assert plans["ram"].arena_bytes == SMALLEST[name]
    if "fed" in plans:
        assert plans["fed"].arena_bytes == SMALLEST_FED.get(name, SMALLEST[name])
    files = {label: write_model([(plan.program, plan)], {}) for label, plan in plans.items()}
    results = [
        checksums(edge, files, tmp_path, threads) for edge in ("begin", "end") for threads in (1, 2)
    ]
    assert len({crc for result in results for crc in result.values()}) == 1
