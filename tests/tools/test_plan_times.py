"""tools/plan_times.py: plans of a model are timed in turn, and give the same outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeinfer.convert import convert
from tests.requirements import require_module
from tools import plan_times


def test_plans_are_timed_and_costs_fitted(
    digits_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require_module("onnx")
    model = str(digits_dir / "digits_int8.onnx")
    assert plan_times.main([model, "--seconds", "0.01", "--fit"]) == 0
    lines = capsys.readouterr().out.splitlines()
    labels = [line.split()[0] for line in lines if line]
    assert labels[0] == "digits_int8:" and "StepCosts(mac_ns=" in lines[-1]
    assert labels.index("whole") < labels.index("default") < labels.index("smallest")


def test_a_plan_that_computes_something_else_is_found(
    digits_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_module("onnx")
    program = convert(digits_dir / "digits_int8.onnx").programs[0]
    plans = plan_times.plans_of(program, feed_inputs=False)
    (convolution, *_) = (op for op in program.operations if op.operator == "conv2d")
    bias = convolution.inputs[2]
    assert bias is not None
    real = plan_times.write_model
    written = 0

    def write(planned: list, metadata: dict) -> bytes:
        nonlocal written
        written += 1
        if written == 2:
            assert bias.data is not None
            monkeypatch.setattr(bias, "data", bias.data + np.int32(10_000))
        return real(planned, metadata)

    monkeypatch.setattr(plan_times, "write_model", write)
    with pytest.raises(SystemExit, match="gives another"):
        plan_times.time_in_turn(plans, 0.01)
