"""What is read of machines of several kinds, and that nothing a system shows can break it."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeinfer.cli.system_text import state_lines
from edgeinfer.system.arm_parts import core_name
from edgeinfer.system.cores import cpu_of_this_thread, read_cores
from edgeinfer.system.kernel_files import KernelFiles, format_cpus, parse_cpus
from edgeinfer.system.state import SystemState, read_state
from edgeinfer.system.throttling import (
    ask_vcgencmd,
    decode_firmware_bits,
    parse_get_throttled,
    read_firmware,
)
from tests.system.recorded import CPU, MACHINES, Tree, write_tree


def state_of(tmp_path: Path, tree: Tree) -> SystemState:
    return read_state(KernelFiles(write_tree(tmp_path, tree)))


def text_of(state: SystemState) -> str:
    return "\n".join(f"{heading}: {line}" for heading, line in state_lines(state))


def test_a_raspberry_pi_4(tmp_path: Path) -> None:
    state = state_of(tmp_path, MACHINES["pi_4"]())
    assert state.cpu == state.board == "Raspberry Pi 4 Model B Rev 1.5"
    (cores,) = state.cores
    assert (cores.name, cores.cpus, cores.cores, cores.kind) == (
        "Cortex-A72",
        (0, 1, 2, 3),
        4,
        None,
    )
    (policy,) = state.policies
    assert (policy.cpus, policy.current_khz, policy.governor) == ((0, 1, 2, 3), 1800000, "ondemand")
    (zone,) = state.zones
    assert (zone.celsius, zone.passive_celsius) == (51.121, None)
    assert state.sensors == ()  # the zone's own, under another name
    assert state.firmware is not None and state.firmware.now == ()  # by the voltage alarm
    assert not state.firmware.is_complete and state.has_silent_firmware
    assert "throttled: unknown: vcgencmd cannot be asked" in text_of(state)


def test_a_raspberry_pi_5_by_its_midr(tmp_path: Path) -> None:
    tree = MACHINES["pi_5"]()
    tree["proc/cpuinfo"] = ""
    state = state_of(tmp_path, tree)
    assert [c.name for c in state.cores] == ["Cortex-A76"]
    (fan,) = state.cooling_devices
    assert fan.is_on and not fan.slows_the_cpu
    text = text_of(state)
    assert "board" not in text  # it is the CPU's name already
    assert "cooling: pwm-fan: 1 of 4" in text
    assert "clock: CPUs 0-3: 1.50 GHz now, 1.50 to 2.40 allowed; governor ondemand" in text
    assert "throttled: unknown" in text  # neither vcgencmd nor the alarm


def test_a_jetson_orin_in_a_power_mode(tmp_path: Path) -> None:
    state = state_of(tmp_path, MACHINES["jetson_orin"]())
    (cores,) = state.cores
    assert cores.name == "Cortex-A78AE" and cores.cores == 12 and cores.offline == (8, 9, 10, 11)
    assert [p.max_khz for p in state.policies] == [1728000, 1728000]
    assert [p.sustained_khz for p in state.policies] == [2201000, 2201000]
    assert [z.celsius for z in state.zones] == [50.656, None, None, 50.656]
    assert [d.name for d in state.cooling_devices if d.slows_the_cpu] == [
        "cpufreq-cpu0",
        "cpu-throttle-alert",
    ]
    assert {c.name: c.events for c in state.counters}["instantaneous over-current"] == 7
    text = text_of(state)
    assert "switched off: 8-11" in text and "0.12 to 1.73 allowed of 2.20 possible" in text
    assert "instantaneous over-current: 7 times since boot" in text


def test_big_and_little_cores(tmp_path: Path) -> None:
    state = state_of(tmp_path, MACHINES["rk3588"]())
    assert [(c.name, c.kind, c.cpus, c.capacity) for c in state.cores] == [
        ("Cortex-A76", "performance", (4, 5, 6, 7), 1024),
        ("Cortex-A55", "efficiency", (0, 1, 2, 3), 530),
    ]
    assert state.zones[0].passive_celsius == 85  # the lower one only makes it look more often


def test_cores_of_one_design_and_two_speeds_are_two_kinds(tmp_path: Path) -> None:
    tree = MACHINES["pi_5"]() | {f"{CPU}/cpu{i}/cpu_capacity": "1000" for i in range(4)}
    tree[f"{CPU}/cpu3/cpu_capacity"] = "1024"  # one that clocks a little higher is no kind
    assert len(read_cores(KernelFiles(write_tree(tmp_path / "a", tree)))) == 1
    tree |= {f"{CPU}/cpu{i}/cpu_capacity": "700" for i in range(2)}
    groups = read_cores(KernelFiles(write_tree(tmp_path / "b", tree)))
    assert [(g.cpus, g.kind) for g in groups] == [((2, 3), "performance"), ((0, 1), "efficiency")]


def test_an_n100(tmp_path: Path) -> None:
    state = state_of(tmp_path, MACHINES["n100"]())
    (cores,) = state.cores
    assert (cores.name, cores.kind, cores.cores) == ("Intel(R) N100", None, 4)
    assert state.boost is True and state.policies[0].base_khz == 800000
    acpi, package = state.zones
    assert acpi.passive_celsius == 105 and package.trips == ()  # 0 and -274 degrees are not set
    assert [(s.name, s.celsius) for s in state.sensors] == [
        ("coretemp Package id 0", 56.0),
        ("coretemp Core 4", 55.0),
    ]
    assert [d.name for d in state.cooling_devices if d.is_on] == ["TCC Offset"]
    assert not state.cooling_devices[2].slows_the_cpu
    assert [(c.name, c.events) for c in state.counters] == [
        ("core too hot", 3),
        ("package too hot", 5),  # once, though four CPUs show it
    ]


def test_a_hybrid_cpu(tmp_path: Path) -> None:
    state = state_of(tmp_path, MACHINES["alder_lake"]())
    assert [(c.kind, format_cpus(c.cpus), c.cores) for c in state.cores] == [
        ("performance", "0-7", 4),
        ("efficiency", "8-15", 8),
    ]
    text = text_of(state)
    assert (
        "4 x 12th Gen Intel(R) Core(TM) i5-1240P, performance cores, 8 threads (CPUs 0-7)" in text
    )
    assert "boost: off" in text and "throttled: no" in text
    assert text.count("clock:") == 2


def test_a_virtual_machine_tells_nothing_and_says_so(tmp_path: Path) -> None:
    state = state_of(tmp_path, MACHINES["virtual_machine"]())
    assert state.cpu == "Intel(R) Xeon(R) Processor @ 2.60GHz" and len(state.cores) == 1
    assert not (state.policies or state.zones or state.counters or state.firmware)
    assert state.boost is None
    assert text_of(state).count("unknown") == 3  # clock, heat, throttled


@pytest.mark.parametrize("machine", MACHINES)
def test_the_state_is_plain_data(tmp_path: Path, machine: str) -> None:
    state = state_of(tmp_path, MACHINES[machine]())
    assert json.loads(json.dumps(state.as_dict()))["cpu"] == state.cpu


NASTY = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"", b"\n", b"-1", b"1_000", b"99999999999999999999", "\u0663".encode(), b"0-9999999999",
         b"3-1", b"0x", b"nan", b"\xff\xfe", b"\x1b[2J", b"a,b", b"--5", b"0-"]
    ),
)  # fmt: skip


@pytest.mark.parametrize("machine", [m for m in MACHINES if m != "nothing"])
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_no_content_of_a_file_breaks_it(
    tmp_path_factory: pytest.TempPathFactory, machine: str, data: st.DataObject
) -> None:
    tree = MACHINES[machine]()
    root = tmp_path_factory.mktemp("tree")
    write_tree(root, tree)
    for name in data.draw(st.lists(st.sampled_from(sorted(tree)), max_size=8, unique=True)):
        content = data.draw(st.one_of(st.none(), st.just("folder"), NASTY))
        path = root / name
        path.unlink()
        if content == "folder":
            path.mkdir()
        elif isinstance(content, bytes):
            path.write_bytes(content)
    state = read_state(KernelFiles(str(root)))
    json.dumps(state.as_dict())
    assert text_of(state).isprintable() or "\n" in text_of(state)
    assert all(line.isprintable() for _, line in state_lines(state))


@pytest.mark.parametrize("error", [errno.EAGAIN, errno.ENODEV, errno.EACCES, errno.EINVAL])
def test_files_that_fail_when_read_are_unknown(
    tmp_path: Path, error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_tree(tmp_path, MACHINES["rk3588"]())
    read, count = os.read, len(os.listdir("/proc/self/fd"))

    def refuse(file: int, size: int) -> bytes:
        name = os.readlink(f"/proc/self/fd/{file}")
        if name.endswith(("/temp", "scaling_cur_freq")):
            raise OSError(error, os.strerror(error))
        return read(file, size)

    monkeypatch.setattr(os, "read", refuse)
    state = read_state(KernelFiles(root))
    assert [p.current_khz for p in state.policies] == [None] * 3
    assert [z.celsius for z in state.zones] == [None]
    assert "unknown now" in text_of(state) and "soc-thermal unknown" in text_of(state)
    assert len(os.listdir("/proc/self/fd")) == count  # nothing left open


def test_files_that_go_away_after_they_were_listed_are_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_tree(tmp_path, MACHINES["alder_lake"]())
    opened = os.open

    def vanish(path: str, flags: int) -> int:
        if "policy" in path or "thermal_zone" in path:
            raise FileNotFoundError(errno.ENOENT, "gone", path)
        return opened(path, flags)

    monkeypatch.setattr(os, "open", vanish)
    state = read_state(KernelFiles(root))
    assert len(state.policies) == 16 and state.policies[3].cpus == (3,)
    assert state.policies[0].governor is None and state.zones[0].name is None
    assert "zone 0 unknown" in text_of(state)


def test_a_pipe_in_place_of_a_file_does_not_hang(tmp_path: Path) -> None:
    path = tmp_path / "sys" / "class" / "thermal" / "thermal_zone0" / "type"
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert read_state(KernelFiles(str(tmp_path))).zones[0].name is None


@pytest.mark.parametrize(
    ("text", "now", "since_boot"),
    [
        ("throttled=0x0\n", (), ()),
        ("throttled=0x50005\n", ("under-voltage", "throttled"), ("under-voltage", "throttled")),
        ("throttled=0xe0008", ("soft temperature limit",),
         ("frequency capped", "throttled", "soft temperature limit")),
        ("throttled=0x20002", ("frequency capped",), ("frequency capped",)),
    ],
)  # fmt: skip
def test_the_firmwares_bits(text: str, now: tuple[str, ...], since_boot: tuple[str, ...]) -> None:
    found = parse_get_throttled(text)
    assert found is not None and (found.now, found.since_boot) == (now, since_boot)


@pytest.mark.parametrize("text", [None, "", "throttled=", "throttled=0x", "VCHI failed", "5" * 99])
def test_other_answers_of_vcgencmd_are_none(text: str | None) -> None:
    assert parse_get_throttled(text) is None


def fake_vcgencmd(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    command = folder / "vcgencmd"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_vcgencmd_is_asked_on_this_machine_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = 'test "$1" = get_throttled && echo throttled=0x50000'
    fake_vcgencmd(tmp_path, script, monkeypatch)
    found = read_firmware(KernelFiles())
    assert found is not None and found.since_boot == ("under-voltage", "throttled")
    assert read_firmware(KernelFiles(str(tmp_path))) is None


@pytest.mark.parametrize("script", ["exit 1", "echo throttled=0x1; exit 255", "kill -9 $$"])
def test_a_vcgencmd_that_fails_is_none(
    tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_vcgencmd(tmp_path, script, monkeypatch)
    assert ask_vcgencmd() is None
    (tmp_path / "vcgencmd").write_text("no program")  # execve refuses it
    (tmp_path / "vcgencmd").write_bytes(b"\x7fELF")
    assert ask_vcgencmd() is None


def test_a_voltage_alarm_stands_in_for_vcgencmd(tmp_path: Path) -> None:
    tree = MACHINES["pi_4"]() | {"sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1\n"}
    state = state_of(tmp_path, tree)
    assert state.firmware == decode_firmware_bits(1, is_complete=False)
    assert "throttled: now: under-voltage" in text_of(state)


@pytest.mark.parametrize(
    ("group", "path"),
    [("0::/system.slice/a.service", "sys/fs/cgroup/system.slice/a.service"),
     ("0::/", "sys/fs/cgroup"), ("0::/docker/1f", "sys/fs/cgroup")],
)  # fmt: skip
def test_quotas_of_containers_and_services(tmp_path: Path, group: str, path: str) -> None:
    tree = {
        "proc/self/cgroup": f"4:memory:/x\n{group}\n",
        f"{path}/cpu.stat": "usage_usec 5\nnr_periods 9\nnr_throttled 4\nthrottled_usec 1\n",
    }
    state = state_of(tmp_path, tree)
    assert state.quota_stops == 4
    assert "stopped 4 times by a quota of CPU time" in text_of(state)


@pytest.mark.parametrize("stat", ["", "nr_throttled", "nr_throttled -1", "usage_usec 1"])
def test_a_group_without_a_quota_is_none(tmp_path: Path, stat: str) -> None:
    tree = {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.stat": stat}
    assert state_of(tmp_path, tree).quota_stops is None


@given(st.sets(st.integers(0, 300)))
def test_cpu_lists_come_back(cpus: set[int]) -> None:
    assert parse_cpus(format_cpus(tuple(cpus))) == tuple(sorted(cpus))


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("0-3,8", (0, 1, 2, 3, 8)), ("0 1 2", (0, 1, 2)), ("", ()), ("x", None), ("3-1", None),
     ("0-5000", None), ("-1", None), ("1-", None)],
)  # fmt: skip
def test_cpu_lists(text: str, cpus: tuple[int, ...] | None) -> None:
    assert parse_cpus(text) == cpus


def test_unknown_cores_show_their_numbers() -> None:
    assert core_name(0x41, 0xD0B) == "Cortex-A76"
    assert core_name(0x61, 0x23) == "ARM core 0x023 of implementer 0x61"


def test_the_cpu_of_this_thread(tmp_path: Path) -> None:
    real: Any = cpu_of_this_thread(KernelFiles())
    assert real in os.sched_getaffinity(0)
    fields = ["S", *["0"] * 35, "7", *["0"] * 10]
    tree = {"proc/self/stat": f"12 (a) (b) c) {' '.join(fields)}"}
    assert cpu_of_this_thread(KernelFiles(write_tree(tmp_path, tree))) == 7
