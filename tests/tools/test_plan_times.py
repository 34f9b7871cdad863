"""tools/plan_times.py: plans of a model are timed in turn, and give the same outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeinfer.convert import convert
from edgeinfer.convert.plan.device_profile import load_device_profile
from edgeinfer.convert.plan.step_cost import StepCosts
from tests.requirements import require_module
from tools import plan_times


def test_plans_are_timed_and_costs_fitted(
    digits_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require_module("onnx")
    model = str(digits_dir / "digits_int8.onnx")
    out = tmp_path / "mine.json"
    assert plan_times.main([model, "--seconds", "0.01", "--fit", "--out", str(out)]) == 0
    profile = load_device_profile(out)
    assert profile.name == "mine" and "tier" in profile.device and "digits" in profile.measured
    assert profile.costs.cache_bytes == StepCosts().cache_bytes
    assert max(profile.costs.mac_ns, profile.costs.byte_ns, profile.costs.step_ns) > 0
    lines = capsys.readouterr().out.splitlines()
    labels = [line.split()[0] for line in lines if line]
    assert labels[0] == "digits_int8:" and "StepCosts(mac_ns=" in lines[-1]
    assert labels.index("whole") < labels.index("default") < labels.index("smallest")


def test_constants_that_would_be_negative_are_none() -> None:
    rng = np.random.default_rng(0)
    relative = rng.uniform(0.1, 1, (12, 4))
    relative[:, 3] = 2 * relative[:, 0] + rng.uniform(0, 0.01, 12)
    found = plan_times._least_squares(relative / (relative @ [1, 2, 3, -0.3])[:, None])
    assert min(found) == 0 and max(found) > 1
    exact = plan_times._least_squares(relative / (relative @ [1, 2, 3, 4])[:, None])
    np.testing.assert_allclose(exact, [1, 2, 3, 4], rtol=1e-6)


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
