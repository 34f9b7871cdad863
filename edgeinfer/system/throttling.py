"""Who has slowed the CPU down: the Raspberry Pi's firmware, counters of the kernel, quotas."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

from edgeinfer.system.kernel_files import KernelFiles

_SECONDS = 2.0  # vcgencmd answers within milliseconds, or not at all

# Bits of `vcgencmd get_throttled`; the same 16 higher say that it happened since boot.
# Source: Raspberry Pi documentation, "get_throttled".
_FIRMWARE_BITS = (
    "under-voltage",
    "frequency capped",
    "throttled",
    "soft temperature limit",
)

# Jetson: what the hardware throttles for, by the number of its counter.
# Source: Jetson Linux Developer Guide, "Platform Power and Performance".
_OVER_CURRENT = {1: "under-voltage", 2: "average over-current", 3: "instantaneous over-current"}


@dataclass(frozen=True)
class FirmwareThrottling:
    """What a Raspberry Pi's firmware holds back, and did at any time since boot."""

    bits: int
    """As vcgencmd gives them."""
    is_complete: bool
    """False where only the alarm for under-voltage could be read."""
    now: tuple[str, ...]
    since_boot: tuple[str, ...]


@dataclass(frozen=True)
class ThrottleCounter:
    """How often something slowed the CPU down since boot."""

    name: str
    events: int


def read_firmware(files: KernelFiles) -> FirmwareThrottling | None:
    """The Raspberry Pi's firmware, by vcgencmd; None where there is none to be asked.

    The kernel's own file (get_throttled below /sys) is not read: newer kernels answer with an old
    value and a warning in their log. Where vcgencmd is missing, the voltage alarm is what is left.
    """
    if files.root == "/":
        asked = parse_get_throttled(ask_vcgencmd())
        if asked is not None:
            return asked
    for _, path in files.numbered("sys/class/hwmon", "hwmon"):
        if files.text(f"{path}/name") == "rpi_volt":
            alarm = files.number(f"{path}/in0_lcrit_alarm")
            if alarm in (0, 1):
                return decode_firmware_bits(alarm, is_complete=False)
    return None


def parse_get_throttled(text: str | None) -> FirmwareThrottling | None:
    """The answer "throttled=0x50005", decoded; None when it is something else."""
    found = re.fullmatch(r"throttled=0x([0-9a-fA-F]{1,8})\s*", text or "")
    return None if found is None else decode_firmware_bits(int(found[1], 16))


def decode_firmware_bits(bits: int, *, is_complete: bool = True) -> FirmwareThrottling:
    """The conditions that the bits stand for."""
    now = tuple(name for i, name in enumerate(_FIRMWARE_BITS) if bits >> i & 1)
    past = tuple(name for i, name in enumerate(_FIRMWARE_BITS) if bits >> (16 + i) & 1)
    return FirmwareThrottling(bits, is_complete, now, past)


def ask_vcgencmd() -> str | None:
    """What `vcgencmd get_throttled` prints; None where it is missing, refused or fails."""
    try:
        command = shutil.which("vcgencmd")
        if command is None:
            return None
        done = subprocess.run(
            [command, "get_throttled"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return done.stdout[:200].decode("ascii", "replace") if done.returncode == 0 else None


def read_counters(files: KernelFiles) -> tuple[ThrottleCounter, ...]:
    """Counters of throttling: x86 by core and package, Jetson by cause."""
    counters = []
    for level, neighbours in (("core", "core_cpus_list"), ("package", "package_cpus_list")):
        counts: dict[object, int] = {}
        for cpu, path in files.numbered("sys/devices/system/cpu", "cpu"):
            count = files.natural(f"{path}/thermal_throttle/{level}_throttle_count")
            if count is not None:
                # Threads of a core, and CPUs of a package, each show the count that they share.
                counts[files.text(f"{path}/topology/{neighbours}") or cpu] = count
        if counts:
            counters.append(ThrottleCounter(f"{level} too hot", sum(counts.values())))
    for _, path in files.numbered("sys/class/hwmon", "hwmon"):
        if files.text(f"{path}/name") != "soctherm_oc":
            continue
        for index, cause in _OVER_CURRENT.items():
            count = files.natural(f"{path}/oc{index}_event_cnt")
            if count is not None:
                counters.append(ThrottleCounter(cause, count))
    return tuple(counters)


def read_quota_stops(files: KernelFiles) -> int | None:
    """How often this process's control group was stopped for having used up its share of the CPU.

    Containers and services have such shares (`docker run --cpus`, CPUQuota=). None where the group
    has none, or tells nothing.
    """
    for line in (files.text("proc/self/cgroup") or "").splitlines():
        if line.startswith("0::/"):  # version 2: one hierarchy
            stat = files.text(f"sys/fs/cgroup/{line[4:]}/cpu.stat")
            if stat is None:
                # In a container the path is the host's, or the container's own root.
                stat = files.text("sys/fs/cgroup/cpu.stat")
            found = re.search(r"^nr_throttled ([0-9]{1,18})$", stat or "", re.MULTILINE)
            return int(found[1]) if found else None
    return None
