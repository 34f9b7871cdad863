"""Signs that a measurement was throttled: each one alone, and none where all is well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgeinfer.cli.system_text import condition_lines
from edgeinfer.system import state as state_module
from edgeinfer.system import watch as watch_module
from edgeinfer.system.kernel_files import KernelFiles
from edgeinfer.system.throttling import FirmwareThrottling, decode_firmware_bits
from edgeinfer.system.watch import RunConditions, RunWatch, warnings_before
from tests.system.recorded import CPU, MACHINES, Tree, cooling, throttle_counts, write_tree


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def on_cpu(cpu: int) -> Tree:
    return {"proc/self/stat": f"1 (python) {' '.join(['R', *['0'] * 35, str(cpu)])}"}


def measure(root: Path, tree: Tree, change: Tree | None = None, at: float = 0.5) -> RunConditions:
    """Two seconds under watch; the files change after `at` of them, and stay so."""
    write_tree(root, {**on_cpu(0), **tree})
    clock = Clock()
    watch = RunWatch(KernelFiles(str(root)), clock)
    changed = False
    for tick in range(40):
        clock.now = 100 + tick / 20
        if not changed and tick / 20 >= at:
            write_tree(root, change or {})
            changed = True
        if watch.is_due:
            watch.sample()
    return watch.finish()


def kinds(conditions: RunConditions) -> list[str]:
    return [sign.kind for sign in conditions.signs]


@pytest.fixture(autouse=True)
def every_cpu_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "allowed_cpus", lambda: tuple(range(16)))


def calm(machine: str) -> Tree:
    tree = MACHINES[machine]()
    if machine == "pi_5":
        tree[f"{CPU}/cpufreq/policy0/scaling_cur_freq"] = "2400000"
    if machine == "n100":
        tree |= {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.stat": "nr_throttled 2\n"}
    return tree


@pytest.mark.parametrize("machine", ["jetson_orin", "rk3588", "n100", "alder_lake"])
def test_a_machine_at_ease_was_not_throttled(tmp_path: Path, machine: str) -> None:
    conditions = measure(tmp_path, calm(machine))
    assert conditions.signs == () and conditions.throttled is False
    assert "not throttled" in "\n".join(condition_lines(conditions))
    assert 15 <= len(conditions.khz) <= 20


@pytest.mark.parametrize("machine", ["virtual_machine", "nothing"])
def test_where_nothing_tells_it_is_unknown(tmp_path: Path, machine: str) -> None:
    conditions = measure(tmp_path, MACHINES[machine]())
    assert conditions.throttled is None and conditions.warnings == ()
    assert condition_lines(conditions) == ["  whether it was throttled is not known here"]
    assert conditions.as_dict()["throttled"] is conditions.as_dict()["median_khz"] is None


@pytest.mark.parametrize("machine", ["pi_4", "pi_5"])
def test_a_raspberry_pi_whose_firmware_is_silent_is_unknown(tmp_path: Path, machine: str) -> None:
    conditions = measure(tmp_path, calm(machine))
    assert conditions.signs == () and conditions.throttled is None
    assert "vcgencmd cannot be asked" in conditions.warnings[-1]


def firmware(bits: int) -> Callable[[KernelFiles], FirmwareThrottling]:
    return lambda files: decode_firmware_bits(bits)


def test_a_raspberry_pi_whose_firmware_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_module, "read_firmware", firmware(0))
    conditions = measure(tmp_path / "calm", calm("pi_4"))
    assert conditions.throttled is False and len(conditions.warnings) == 1  # the governor
    write_tree(tmp_path / "hot", {**on_cpu(0), **calm("pi_4")})
    for before, after, told in (
        (0x0, 0x60000, ["frequency capped", "throttled"]),  # during the run, over before its end
        (0x50000, 0x50000, []),  # before it
        (0x50005, 0x50000, ["under-voltage", "throttled"]),
        (0x50000, 0x50008, ["soft temperature limit"]),
    ):
        monkeypatch.setattr(state_module, "read_firmware", firmware(before))
        watch = RunWatch(KernelFiles(str(tmp_path / "hot")), Clock())
        monkeypatch.setattr(state_module, "read_firmware", firmware(after))
        signs = watch.finish().signs
        assert [sign.text for sign in signs] == [f"the firmware reports: {name}" for name in told]
        earlier = [w for w in warnings_before(watch.before) if "since boot" in w]
        assert len(earlier) == (before > 0xFFFF)


SIGNS: dict[str, tuple[str, Tree, str, str]] = {
    "firmware": (
        "pi_4", {"sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1\n"}, "firmware", "under-voltage",
    ),
    "counter": ("n100", throttle_counts(4, core=3, package=9), "counter",
                "throttled 4 times: package too hot"),
    "one core of many": ("n100", {f"{CPU}/cpu2/thermal_throttle/core_throttle_count": "1\n"},
                         "counter", "throttled 1 times: core too hot"),
    "over-current": ("jetson_orin", {"sys/class/hwmon/hwmon3/oc3_event_cnt": "9\n"}, "counter",
                     "throttled 2 times: instantaneous over-current"),
    "quota": ("n100", {"sys/fs/cgroup/cpu.stat": "nr_throttled 9\n"}, "quota", "7 times"),
    "cooling": ("rk3588", cooling(0, "thermal-cpufreq-0", 2, 9), "cooling", "thermal-cpufreq-0"),
    "alert": ("jetson_orin", cooling(1, "cpu-throttle-alert", 1, 2), "cooling",
              "cpu-throttle-alert"),
    "limit": ("rk3588", {f"{CPU}/cpufreq/policy4/scaling_max_freq": "1608000\n"}, "limit",
              "CPUs 4-5 fell from 2.40 GHz to 1.61 GHz"),
    "temperature": ("rk3588", {"sys/class/thermal/thermal_zone0/temp": "86000\n"}, "temperature",
                    "soc-thermal reached 86 °C and is slowed down from 85 °C"),
    "frequency": ("pi_4", {f"{CPU}/cpufreq/policy0/scaling_cur_freq": "1000000\n"}, "frequency",
                  "CPUs 0-3 ran at 1.00 GHz instead of 1.80 GHz in 15 of"),
    "frequency under its base": (
        "alder_lake", {f"{CPU}/cpufreq/policy0/scaling_cur_freq": "1500000\n"}, "frequency",
        "CPU 0 ran at 1.50 GHz instead of 1.70 GHz"),
}  # fmt: skip


@pytest.mark.parametrize("sign", SIGNS)
def test_each_sign_alone_is_told(tmp_path: Path, sign: str) -> None:
    machine, change, kind, text = SIGNS[sign]
    conditions = measure(tmp_path, calm(machine), change)
    assert kinds(conditions) == [kind] and conditions.throttled is True
    assert text in conditions.signs[0].text
    printed = "\n".join(condition_lines(conditions))
    assert "THROTTLED" in printed and text in printed
    assert conditions.as_dict()["signs"] == [{"kind": kind, "text": conditions.signs[0].text}]


def test_what_passes_between_before_and_after_is_seen(tmp_path: Path) -> None:
    tree = calm("rk3588")
    write_tree(tmp_path, {**on_cpu(4), **tree})
    clock = Clock()
    watch = RunWatch(KernelFiles(str(tmp_path)), clock)
    for second in range(4):
        clock.now = 101.0 + second
        hot = second == 1
        write_tree(tmp_path, cooling(0, "thermal-cpufreq-0", 3 if hot else 0, 9))
        temperature = "91000" if hot else "70000"
        write_tree(tmp_path, {"sys/class/thermal/thermal_zone0/temp": temperature})
        limit = "1200000" if hot else "2400000"
        write_tree(tmp_path, {f"{CPU}/cpufreq/policy4/scaling_max_freq": limit})
        assert watch.is_due
        watch.sample()
    assert kinds(watch.finish()) == ["cooling", "limit", "temperature"]


def test_a_governor_that_saves_power_is_a_warning_and_no_throttling(tmp_path: Path) -> None:
    tree = MACHINES["pi_4"]() | {
        f"{CPU}/cpufreq/policy0/scaling_governor": "powersave\n",
        f"{CPU}/cpufreq/policy0/scaling_cur_freq": "600000\n",
    }
    conditions = measure(tmp_path, tree)
    assert conditions.signs == ()
    assert "governor of CPUs 0-3 is powersave" in conditions.warnings[0]
    assert "echo performance" in conditions.warnings[0]


def test_the_performance_governor_is_no_warning(tmp_path: Path) -> None:
    tree = MACHINES["pi_4"]() | {f"{CPU}/cpufreq/policy0/scaling_governor": "performance\n"}
    (warning,) = measure(tmp_path, tree).warnings
    assert "vcgencmd" in warning


def test_a_power_mode_is_a_warning_and_what_is_compared_with(tmp_path: Path) -> None:
    conditions = measure(tmp_path, MACHINES["jetson_orin"]())
    assert conditions.throttled is False  # 1.73 GHz is what the mode allows
    assert "CPUs 0-3 may run at 1.73 GHz at most, and can at 2.20 GHz" in conditions.warnings[1]


def test_governors_of_cpus_that_this_process_may_not_use_do_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = MACHINES["rk3588"]() | {f"{CPU}/cpufreq/policy4/scaling_governor": "performance"}
    monkeypatch.setattr(watch_module, "allowed_cpus", lambda: (4, 5))
    watch = RunWatch(KernelFiles(write_tree(tmp_path, tree)), Clock())
    assert warnings_before(watch.before) == ()


def test_a_clock_that_is_slow_at_the_start_only_is_no_throttling(tmp_path: Path) -> None:
    slow = {f"{CPU}/cpufreq/policy0/scaling_cur_freq": "600000\n"}
    fast = {f"{CPU}/cpufreq/policy0/scaling_cur_freq": "1800000\n"}
    conditions = measure(tmp_path, MACHINES["pi_4"]() | slow, fast, at=0.3)
    assert conditions.signs == () and min(conditions.khz) == 1800000


def test_idle_cores_may_be_slow(tmp_path: Path) -> None:
    idle = {f"{CPU}/cpufreq/policy4/scaling_cur_freq": "408000\n"}
    assert measure(tmp_path, calm("rk3588") | idle).throttled is False


def test_a_hot_gpu_is_none_of_the_cpus_business(tmp_path: Path) -> None:
    hot = {"sys/class/thermal/thermal_zone1/temp": "101000\n"}
    assert measure(tmp_path, calm("jetson_orin"), hot).throttled is False


def test_files_that_vanish_while_it_runs_change_nothing(tmp_path: Path) -> None:
    tree = calm("rk3588")
    write_tree(tmp_path, {**on_cpu(0), **tree})
    clock = Clock()
    watch = RunWatch(KernelFiles(str(tmp_path)), clock)
    for name in tree:
        (tmp_path / name).unlink()
    clock.now += 1
    watch.sample()
    assert watch.finish().signs == ()
