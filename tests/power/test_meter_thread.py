"""Joules of a stretch of time, the thread that polls, what it costs, and that nothing else does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeinfer.errors import InputError
from edgeinfer.power import DeviceEnergy, MeterLog, MeterThread, ModelMeter, find_meters
from edgeinfer.power.device_energy import PI_4, PROFILES
from edgeinfer.power.faults import Fault
from edgeinfer.step_costs import StepCost
from tests.power import boards
from tests.power.boards import POWERCAP, Board, Clock
from tests.test_layout import loaded_after


def log_of(board: Board, name: str, history: float = 300.0) -> MeterLog:
    (meter,) = [m for m in find_meters(files=board.files, clock=board.clock) if m.name == name]
    return MeterLog(meter, history=history)


def show(board: Board, joules: float) -> None:
    board.write({f"{POWERCAP}/intel-rapl:0/energy_uj": f"{round(joules * 1e6)}\n"})


def test_energy_between_two_moments(tmp_path: Path) -> None:
    board = Board(tmp_path, boards.n100())
    log = log_of(board, "rapl package")
    log.poll()
    for second in range(1, 5):  # 10 W, then 20 W
        board.clock.now += 1
        show(board, 1000 + 10 * min(second, 2) + 20 * max(0, second - 2))
        log.poll()
    energy = log.joules_between(101.0, 103.5)
    assert energy.joules == pytest.approx(10 + 20 + 10)
    assert (energy.seconds, energy.unmetered) == (2.5, 0) and energy.watts == pytest.approx(16)
    assert (energy.source, energy.origin, energy.faults) == ("rapl", "measured", ())
    assert log.total().joules == pytest.approx(60)
    before = log.joules_between(98.0, 101.0)  # of the time before the first reading
    assert before.joules == pytest.approx(10) and before.unmetered == pytest.approx(2)
    assert log.joules_between(104.0, 103.0).joules is None


def test_what_was_not_metered_is_told(tmp_path: Path) -> None:
    board = Board(tmp_path, boards.orin_nano())
    log = log_of(board, "ina3221 VDD_IN")
    rail = f"{boards.I2C}/ina3221/1-0040/hwmon/hwmon1/curr1_input"
    board.remove(rail)
    log.poll()
    board.clock.now += 1
    board.write({rail: "1000\n"})
    log.poll()
    board.clock.now += 1
    log.poll()
    board.remove(rail)
    board.clock.now += 1
    total = log.total()
    assert total.joules == pytest.approx(4.968)
    assert total.seconds == 3 and total.unmetered == pytest.approx(2)
    assert total.watts == pytest.approx(4.968) and total.faults == (Fault.MISSING,)
    assert total.as_dict()["faults"] == ["missing"]
    board.write({rail: "1000\n"})
    board.clock.now += 4
    energy = log.joules_between(103.0, 107.0)
    assert (energy.joules, energy.unmetered) == (None, 4)
    assert energy.faults == (Fault.MISSING, Fault.TOO_LATE)


def test_history_is_bounded_and_the_total_is_not(tmp_path: Path) -> None:
    board = Board(tmp_path, boards.jetson_nano())
    log = log_of(board, "ina3221 POM_5V_IN", history=30.0)
    power = f"{boards.I2C}/ina3221x/6-0040/iio:device0/in_power0_input"
    for second in range(401):
        board.write({power: f"{2000 + second % 2}\n"})  # a sensor is never quite still
        board.clock.now += 1
        log.poll()
    assert log.total().joules == pytest.approx(2.0005 * 400)
    assert len(log._times) < 100
    now = board.clock.now
    assert log.joules_between(now - 20, now).joules == pytest.approx(2.0005 * 20)
    old = log.joules_between(now - 300, now - 200)
    assert (old.joules, old.unmetered) == (None, 100)


@settings(max_examples=25)
@given(st.lists(st.floats(0.01, 1.5), min_size=2, max_size=12), st.data())
def test_parts_add_up_to_the_whole(steps: list[float], data: st.DataObject) -> None:
    clock = Clock()
    meter = ModelMeter(PI_4, clock=clock)
    log = MeterLog(meter)
    log.poll()
    for seconds in steps:
        clock.now += seconds
        meter.add_run(data.draw(st.floats(0, 5)))
        log.poll()
    cuts = sorted(data.draw(st.lists(st.floats(100, clock.now), min_size=1, max_size=4)))
    cuts = [100.0, *cuts, clock.now]
    parts = [log.joules_between(a, b).joules or 0 for a, b in pairwise(cuts)]
    assert sum(parts) == pytest.approx(log.total().joules, rel=1e-9)


def test_the_model_counts_idle_time_and_reported_runs() -> None:
    clock = Clock()
    meter = ModelMeter(PI_4, clock=clock)
    steps = [StepCost("a", "conv2d", "k", 10**9, 3 << 20, 1 << 20, False)]
    joules = PI_4.of_run(steps)
    # 10^9 multiplications, 1 MiB of weights from the last cache, 2 MiB through memory
    assert joules == pytest.approx(
        PI_4.step_joules + 1e9 * PI_4.mac_joules + 2**20 * PI_4.l2_byte_joules
        + 2**21 * (PI_4.byte_joules + PI_4.dram_byte_joules)
    )  # fmt: skip
    floats = [StepCost("a", "conv2d_f32", "k", 10**9, 3 << 20, 1 << 20, True)]
    assert PI_4.of_run(floats) - joules == pytest.approx(
        1e9 * (PI_4.float_mac_joules - PI_4.mac_joules) - 2**21 * PI_4.byte_joules * 3 / 4
    )  # a value of float32 is four bytes
    clock.now += 2
    meter.add_run(joules)
    reading = meter.read()
    assert reading.joules == pytest.approx(2.2 * 2 + joules)
    assert reading.watts == pytest.approx(2.2 + joules / 2)
    assert (reading.source, reading.origin, reading.error) == ("model", "modelled", 0.5)
    clock.now -= 1
    assert meter.read().fault is Fault.CLOCK
    for bad in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="finite number of at least 0"):
            meter.add_run(bad)


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_has_sources_and_an_order(name: str) -> None:
    profile: DeviceEnergy = PROFILES[name]
    assert profile.sources and 0 < profile.error <= 1
    assert 0 < profile.mac_joules <= profile.float_mac_joules < profile.byte_joules
    assert profile.l1_byte_joules < profile.l2_byte_joules < profile.dram_byte_joules
    assert 1 < profile.idle_watts < 20


def test_weights_that_no_cache_holds_come_from_memory() -> None:
    def step(weight_bytes: int) -> StepCost:
        return StepCost("a", "fully_connected", "k", 0, weight_bytes, weight_bytes, False)

    one, two = PI_4.of_steps([step(1 << 20)]), PI_4.of_steps([step(1 << 20), step(1)])
    assert one[0] - PI_4.step_joules == pytest.approx(2**20 * PI_4.l2_byte_joules)
    assert two[0] - PI_4.step_joules == pytest.approx(2**20 * PI_4.dram_byte_joules)


def test_the_thread_polls_and_ends(tmp_path: Path) -> None:
    board = Board(tmp_path, boards.n100())
    (meter,) = [m for m in find_meters(files=board.files) if m.name == "rapl package"]
    with MeterThread(meter, interval=0.01) as thread:
        first = thread.last
        deadline = time.monotonic() + 20
        while thread.last is first and time.monotonic() < deadline:
            time.sleep(0.01)
        assert thread.last is not first
        show(board, 1000.5)
        assert thread.total().joules == pytest.approx(0.5)
        assert any(t.name == "edgeinfer-meter" and t.daemon for t in threading.enumerate())
    assert not any(t.name == "edgeinfer-meter" for t in threading.enumerate())
    thread.stop()  # once more does nothing
    with pytest.raises(InputError, match="interval is 0; it must be a time above 0"):
        MeterThread(meter, interval=0)


@pytest.mark.parametrize(
    ("tree", "name"),
    [
        (boards.n100, "rapl package"), (boards.two_sockets, "rapl package"),
        (boards.orin_nano, "ina3221 VDD_IN"), (boards.agx_orin, "ina3221 sum"),
        (boards.laptop, "battery"), (boards.hwmon_machine, "hwmon power_meter power1"),
    ],
)  # fmt: skip
def test_a_reading_costs_under_half_a_percent_of_a_core_at_its_own_rate(
    tmp_path: Path, tree: Callable[[], boards.Tree], name: str
) -> None:
    """CPU time, the least of some batches: what other programs do to the caches is not its own."""
    log = log_of(Board(tmp_path, tree()), name)
    batches = []
    for _ in range(8):
        before = time.thread_time()
        for _ in range(20):
            log.poll()
        batches.append((time.thread_time() - before) / 20)
    assert min(batches) < 0.005 * log.meter.interval


def test_nothing_of_it_is_loaded_or_runs_unless_asked_for() -> None:
    loaded = loaded_after(
        "import edgeinfer, edgeinfer.cli, threading; assert threading.active_count() == 1"
    )
    assert not [name for name in loaded if name.startswith("edgeinfer.power")]
    loaded = loaded_after("import edgeinfer.power")
    assert not [name for name in loaded if name.startswith("edgeinfer.power.")]
    program = "import threading; from edgeinfer.power import *; best_meter().read(); "
    assert loaded_after(program + "assert threading.active_count() == 1")
