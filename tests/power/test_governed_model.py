"""`edgeinfer.load` with a power budget: real sessions, threads, levers; and nothing without one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeinfer
from edgeinfer.convert.plan import plan_program
from edgeinfer.convert.program import Program, Value
from edgeinfer.convert.write import write_model
from edgeinfer.errors import InputError, PowerBudgetError, UnsupportedError
from edgeinfer.power.governed import GovernedModel
from edgeinfer.power.levers import FrequencyLimit, NvpModel, RaplLimit, open_levers
from edgeinfer.power.model_meter import ModelMeter
from tests.device.programs import one_in_one_out, requantize, two_in_two_out
from tests.system.recorded import MACHINES, write_tree

ROOT = Path(__file__).resolve().parents[2]


def load(**options: object) -> GovernedModel:
    model = edgeinfer.load(one_in_one_out(), meter="model", **options)  # type: ignore[arg-type]
    assert isinstance(model, GovernedModel)
    return model


def zeros(model: edgeinfer.Model) -> np.ndarray:
    info = model.inputs[0]
    return np.zeros(info.shape, info.dtype)


def test_without_a_budget_nothing_of_power_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "m.edge").write_bytes(one_in_one_out())
    program = (
        "import sys, threading, numpy, edgeinfer\n"
        f"model = edgeinfer.load({str(tmp_path / 'm.edge')!r})\n"
        "info = model.inputs[0]\n"
        "model.run(numpy.zeros(info.shape, info.dtype))\n"
        "assert threading.active_count() == 1\n"
        "print([name for name in sys.modules if name.startswith('edgeinfer.power')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_a_governed_run_gives_the_same_bits_and_says_what_it_cost() -> None:
    plain = edgeinfer.load(one_in_one_out())
    with load(power_budget="30W", window="1s", device_profile="pi-5") as model:
        x = zeros(model)
        assert np.array_equal(model.run(x), plain.run(x))
        out = np.empty(model.outputs[0].shape, model.outputs[0].dtype)
        model.run_into(out, x)
        assert np.array_equal(out, plain.run(x))
        report = model.last_run
        assert report is not None
        assert report.joules > 0
        assert report.variant == 0
        assert model.meter.origin == "modelled"
        assert model.decisions.of("start")
        other = model.session()
        assert np.array_equal(other.run(x), plain.run(x))
        other.close()
    with pytest.raises(edgeinfer.EdgeInferError, match="closed"):
        model.run(x)


def test_a_budget_holds_the_rate_of_real_runs() -> None:
    with load(power_budget="30W", device_profile="pi-5") as trial:
        joules = trial.governor.account.joules(0)
    idle, rate = 2.4, 50.0
    model = load(power_budget=idle + rate * joules, window="0.5s", device_profile="pi-5")
    with model:
        x = zeros(model)
        end = time.monotonic() + 1.0
        while time.monotonic() < end:  # the first window may go at once
            model.run(x)
        count, start = 0, time.monotonic()
        while (now := time.monotonic()) < start + 1.5:
            model.run(x)
            count += 1
        # A busy machine may be slower, never faster.
        assert 0.3 * rate < count / (now - start) < 1.08 * rate


def test_threads_share_one_budget_and_all_get_their_turn() -> None:
    with load(power_budget="30W", window="1s", device_profile="pi-5") as model:
        done: list[int] = []

        def work(number: int) -> None:
            session = model.session()
            for _ in range(5):
                session.run(zeros(model))
            session.close()
            done.append(number)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(done) == [0, 1, 2, 3]


def test_deadlines_are_refused_at_once() -> None:
    with load(power_budget="2.41W", window="100ms", device_profile="pi-5") as model:
        x = zeros(model)
        assert model.run(x, deadline="30s") is not None
        start = time.monotonic()
        with pytest.raises(
            PowerBudgetError, match=r"no run can end within [0-9.e-]+ s under 2.41 W: it ends "
        ):
            model.run(x, deadline=1e-9)
        assert time.monotonic() - start < 1.0
        with pytest.raises(InputError, match="on_late is 'perhaps'"):
            model.run(x, on_late="perhaps")
    asked: dict[str, Any]
    for asked in ({"deadline": 1.0}, {"priority": 1}, {"on_late": "degrade"}):
        with pytest.raises(InputError, match="deadline, priority and on_late need a power budget"):
            edgeinfer.load(one_in_one_out()).run(x, **asked)
    about_power: list[dict[str, Any]] = [{"window": "10s"}, {"device_profile": "pi-5"}]
    for arguments in about_power:
        with pytest.raises(InputError, match="are about a power budget"):
            edgeinfer.load(one_in_one_out(), **arguments)


def test_a_budget_below_idle_power_is_refused_with_both_figures() -> None:
    with (
        load(power_budget="1.5W", device_profile="pi-5") as model,
        pytest.raises(PowerBudgetError, match=r"takes 2.4 W when nothing runs.*is 1.5 W"),
    ):
        model.run(zeros(model))


def test_waiting_can_be_interrupted_by_closing() -> None:
    with load(power_budget="30W", device_profile="pi-5") as trial:
        joules = trial.governor.account.joules(0)
    model = load(power_budget=2.4 + joules * 1.05 / 20, window="20s", device_profile="pi-5")
    failed: list[Exception] = []

    def wait() -> None:
        try:
            for _ in range(20):
                model.session().run(zeros(model))
        except edgeinfer.EdgeInferError as error:
            failed.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.3)
    model.governor  # noqa: B018 - it is still there
    model._power.close()
    thread.join(10)
    assert not thread.is_alive()
    assert failed


def doubled(scale: float, steps: int) -> bytes:
    """x int8 [1, 4, 3] -> y = 2 x, in so many steps; stored with a scale."""
    names = ["x", *(f"t{i}" for i in range(steps - 1)), "y"]
    values = [Value(name, (1, 4, 3), "int8", scale=scale, zero_point=0) for name in names]
    operations = [
        requantize(a, b, 2.0 if i == 0 else 1.0) for i, (a, b) in enumerate(pairwise(values))
    ]
    program = Program("main", values[:1], values[-1:], operations)
    return write_model([(program, plan_program(program))], {})


def test_a_ladder_runs_each_variant_in_its_own_numbers() -> None:
    x = np.full((1, 4, 3), 2.0, np.float32)
    large, small = doubled(0.5, 9), doubled(0.25, 1)
    first = edgeinfer.load(
        large, ladder=[small], power_budget="30W", device_profile="pi-5", meter="model"
    )
    assert isinstance(first, GovernedModel)
    with first as model:
        joules = [model.governor.account.joules(way) for way in (0, 1)]
        assert np.allclose(model.run(x, quantize=True, dequantize=True), 4.0)
        with pytest.raises(InputError, match="quantize=True, dequantize=True"):
            model.run(zeros(model))
    assert joules[0] > 2 * joules[1]
    between = sum(joules) / 2
    second = edgeinfer.load(
        large, ladder=[small], energy_budget=between, device_profile="pi-5", meter="model"
    )
    assert isinstance(second, GovernedModel)
    with second as model:
        assert np.allclose(model.run(x, quantize=True, dequantize=True), 4.0)
        assert model.last_run is not None
        assert model.last_run.variant == 1
    with pytest.raises(InputError, match="all variants need the same names and shapes"):
        load(power_budget="30W", ladder=[two_in_two_out()])


def test_an_energy_budget_that_no_variant_keeps_is_refused() -> None:
    with (
        load(energy_budget=1e-12, device_profile="pi-5") as model,
        pytest.raises(PowerBudgetError, match=r"beyond idle at least.*smaller variant"),
    ):
        model.run(zeros(model))


def test_the_child_of_a_fork_keeps_the_budget() -> None:
    with load(power_budget="30W", window="1s", device_profile="pi-5") as model:
        x = zeros(model)
        y = model.run(x)
        child = os.fork()
        if child == 0:  # pragma: no cover - another process
            same = np.array_equal(model.run(x), y)
            os._exit(0 if same else 1)
        _, status = os.waitpid(child, 0)
        assert status == 0
        assert np.array_equal(model.run(x), y)


def test_what_belongs_to_a_budget_needs_one() -> None:
    with pytest.raises(InputError, match="pass power_budget or energy_budget too"):
        edgeinfer.load(one_in_one_out(), ladder=[one_in_one_out()])
    with pytest.raises(InputError, match="device_profile is 'pi-6'; there are 'pi-4'"):
        load(power_budget="3W", device_profile="pi-6")
    with pytest.raises(UnsupportedError, match="engine='numba' has no power_budget"):
        edgeinfer.load(one_in_one_out(), engine="numba", power_budget="3W")
    with pytest.raises(InputError, match="there is no lever 'turbo'"):
        load(power_budget="3W", power_levers=["turbo"])


def test_the_modelled_meter_counts_what_ran() -> None:
    with load(energy_budget="1J", device_profile="pi-5") as model:
        meter = model.meter
        assert isinstance(meter, ModelMeter)
        before = meter.read()
        for _ in range(10):
            model.run(zeros(model))
        after = meter.read()
        assert before.joules is not None
        assert after.joules is not None
        idle = 2.4 * (after.time - before.time)
        joules = model.governor.account.joules(0)
        assert after.joules - before.joules - idle == pytest.approx(10 * joules, rel=1e-6)


def test_the_highest_clock_is_set_and_put_back(tmp_path: Path) -> None:
    root = Path(write_tree(tmp_path, MACHINES["pi_5"]()))
    path = root / "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq"
    before = path.read_text()
    lever = FrequencyLimit(str(root))
    assert lever.choices[0] == int(before)
    assert list(lever.choices) == sorted(lever.choices, reverse=True)
    lever.set(lever.choices[-1])
    assert int(path.read_text()) == lever.choices[-1] < int(before)
    lever.close()
    assert path.read_text() == before


def test_rapls_limit_is_lowered_never_raised_and_put_back(tmp_path: Path) -> None:
    zone = "sys/class/powercap/intel-rapl:0"
    files = {f"{zone}/name": "package-0\n", f"{zone}/constraint_0_power_limit_uw": "15000000\n"}
    root = write_tree(tmp_path, files)
    path = tmp_path / zone / "constraint_0_power_limit_uw"
    lever = RaplLimit(6.0, root)
    assert path.read_text() == "6000000"
    lever.close()
    assert path.read_text() == "15000000\n"
    RaplLimit(20.0, root).close()
    assert int(path.read_text()) == 15_000_000


def test_nvpmodel_is_asked_set_and_put_back(tmp_path: Path) -> None:
    command = tmp_path / "nvpmodel"
    command.write_text(
        f'#!/bin/sh\nif [ "$1" = -q ]; then echo "NV Power Mode: 15W"; cat {tmp_path}/mode; '
        f'else echo "$2" > {tmp_path}/mode; fi\n'
    )
    command.chmod(0o755)
    (tmp_path / "mode").write_text("0\n")
    lever = NvpModel(2, str(command))
    assert (tmp_path / "mode").read_text() == "2\n"
    lever.close()
    assert (tmp_path / "mode").read_text() == "0\n"


def test_levers_that_cannot_be_used_say_so_and_leave_nothing_behind(tmp_path: Path) -> None:
    root = Path(write_tree(tmp_path, MACHINES["pi_5"]()))
    path = root / "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq"
    before = path.read_text()
    with pytest.raises(UnsupportedError, match=r"no RAPL limit.*leave 'rapl' out"):
        open_levers(["frequency", "rapl"], 5.0, str(root))
    assert path.read_text() == before
    with pytest.raises(InputError, match="must be a list"):
        open_levers("frequency", 5.0, str(root))
