"""Whether a measurement was held back by heat, power or the governor.

The state of the machine is read before and after, and some of it in between, in the pauses that the
measurement leaves: how fast the core is that it runs on, ten times a second, and temperatures and
cooling devices once a second. A reading of the clock takes some 50 microseconds on a PC.

Signs of throttling are

- firmware or the kernel says so: bits of the Raspberry Pi, counters of x86 and Jetson, of quotas;
- a cooling device that slows the CPU was on;
- the highest frequency that is allowed fell;
- a part was as hot as where the kernel begins to slow it down (its passive trip point);
- a busy core was slower than what it holds under load, under a governor that lets busy cores run at
  full speed.

What happens between two readings and leaves no trace in a counter is not seen. A virtual machine
shows nothing of all this: the answer is then None, unknown. So it is on a Raspberry Pi without
vcgencmd, whose firmware changes clocks behind the kernel's back.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgeinfer.system.cores import allowed_cpus, cpu_of_this_thread
from edgeinfer.system.frequency import FrequencyPolicy, current_khz, limit_khz
from edgeinfer.system.kernel_files import KernelFiles, format_cpus
from edgeinfer.system.state import SystemState, read_state
from edgeinfer.system.thermal import ThermalZone, read_cooling_devices, zone_celsius

_SECONDS_BETWEEN = 0.1
_SECONDS_BETWEEN_TEMPERATURES = 1.0
_RAMP_SECONDS = 0.3  # governors look at the load every 10 to 100 ms before they raise the clock
_FEWEST_SAMPLES = 3
_SLOW = 0.95  # of the frequency expected; below is slow
_SLOW_SHARE = 0.2  # of samples that may be slow: other work and interrupts change clocks shortly

# These let a busy core run as fast as it can. "powersave" does where the CPU chooses the clock.
_FULL_SPEED_GOVERNORS = ("performance", "schedutil", "ondemand", "interactive")
_PSTATE_DRIVERS = ("intel_pstate", "amd-pstate", "amd-pstate-epp", "amd_pstate", "amd_pstate_epp")
_FULL_SPEED_PREFERENCES = (None, "performance", "balance_performance", "default")

_NOT_CPU = ("gpu", "wifi", "wlan", "nvme", "bat", "modem", "charger")


@dataclass(frozen=True)
class Sign:
    """One sign of throttling."""

    kind: str
    """firmware, counter, quota, cooling, limit, temperature or frequency."""
    text: str


@dataclass(frozen=True)
class RunConditions:
    """Under what conditions a measurement ran."""

    before: SystemState
    after: SystemState
    khz: tuple[int, ...]
    """Clocks of the core that it ran on, as sampled."""
    signs: tuple[Sign, ...]
    throttled: bool | None
    """None where the system tells nothing that could show it."""
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "throttled": self.throttled,
            "signs": [{"kind": sign.kind, "text": sign.text} for sign in self.signs],
            "warnings": list(self.warnings),
            "samples": len(self.khz),
            "min_khz": min(self.khz, default=None),
            "median_khz": statistics.median_low(self.khz) if self.khz else None,
            "max_khz": max(self.khz, default=None),
            "before": self.before.as_dict(),
            "after": self.after.as_dict(),
        }


@dataclass(frozen=True)
class _Sample:
    seconds: float
    policy: int
    khz: int
    limit_khz: int | None


class RunWatch:
    """Watches the machine while something is measured. Making one reads the state before.

    Parameters
    ----------
    files : KernelFiles, optional
        Where to read; this machine's files otherwise.
    clock : callable
        Seconds, ever rising.
    """

    def __init__(
        self, files: KernelFiles | None = None, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._files = files or KernelFiles()
        self._clock = clock
        self.before = read_state(self._files)
        self._zones = tuple(z for z in self.before.zones if _matters(z))
        self._hottest = {z.number: z.celsius for z in self._zones if z.celsius is not None}
        self._cooling = {d.number for d in self.before.cooling_devices if d.slows_the_cpu}
        self._cooled: set[int] = set()
        self._samples: list[_Sample] = []
        self._start = clock()
        self._next = self._start
        self._next_temperatures = self._start

    @property
    def is_due(self) -> bool:
        """Whether it is time for a sample."""
        return self._clock() >= self._next

    def sample(self) -> None:
        """Read what can change during a run. Called where nothing is being timed."""
        now = self._clock()
        self._next = now + _SECONDS_BETWEEN
        cpu = cpu_of_this_thread(self._files) if self.before.policies else None
        policy = None if cpu is None else self.before.policy_of(cpu)
        if policy is not None:
            khz = current_khz(self._files, policy.number)
            if khz is not None:
                limit = limit_khz(self._files, policy.number)
                self._samples.append(_Sample(now - self._start, policy.number, khz, limit))
        if now >= self._next_temperatures:
            self._next_temperatures = now + _SECONDS_BETWEEN_TEMPERATURES
            self._sample_temperatures()

    def finish(self) -> RunConditions:
        """Read the state after, and judge."""
        self._sample_temperatures()
        after = read_state(self._files)
        signs = (
            *_firmware_signs(self.before, after),
            *_counter_signs(self.before, after),
            *_quota_signs(self.before, after),
            *self._cooling_signs(after),
            *self._limit_signs(after),
            *self._temperature_signs(),
            *self._frequency_signs(),
        )
        is_known = not after.has_silent_firmware and bool(
            after.firmware
            or after.counters
            or self._cooling
            or self._hottest
            or len(self._settled()) >= _FEWEST_SAMPLES
        )
        return RunConditions(
            before=self.before,
            after=after,
            khz=tuple(s.khz for s in self._settled() or self._samples),
            signs=signs,
            throttled=True if signs else False if is_known else None,
            warnings=warnings_before(self.before),
        )

    def _sample_temperatures(self) -> None:
        for zone in self._zones:
            celsius = zone_celsius(self._files, zone.number)
            if celsius is not None:
                self._hottest[zone.number] = max(celsius, self._hottest.get(zone.number, celsius))
        if self._cooling:
            self._cooled |= {
                d.number for d in read_cooling_devices(self._files) if d.slows_the_cpu and d.is_on
            }

    def _settled(self) -> list[_Sample]:
        """Samples from when a governor had time to see the load."""
        return [s for s in self._samples if s.seconds >= _RAMP_SECONDS]

    def _cooling_signs(self, after: SystemState) -> list[Sign]:
        on = self._cooled | {d.number for d in self.before.cooling_devices if d.is_on}
        return [
            Sign("cooling", f"cooling device {d.name} slowed the CPU")
            for d in after.cooling_devices
            if d.slows_the_cpu and (d.is_on or d.number in on)
        ]

    def _limit_signs(self, after: SystemState) -> list[Sign]:
        signs = []
        later = {p.number: p.max_khz for p in after.policies}
        for policy in self.before.policies:
            limits = [s.limit_khz for s in self._samples if s.policy == policy.number]
            lowest = min((k for k in (*limits, later.get(policy.number)) if k), default=None)
            if lowest and policy.max_khz and lowest < policy.max_khz:
                signs.append(
                    Sign(
                        "limit",
                        f"the highest frequency of {_cpus(policy)} fell from "
                        f"{ghz(policy.max_khz)} to {ghz(lowest)}",
                    )
                )
        return signs

    def _temperature_signs(self) -> list[Sign]:
        signs = []
        for zone in self._zones:
            hottest, limit = self._hottest.get(zone.number), zone.passive_celsius
            if hottest is not None and limit is not None and hottest >= limit:
                signs.append(
                    Sign(
                        "temperature",
                        f"{zone.name or f'zone {zone.number}'} reached {hottest:.0f} °C and is "
                        f"slowed down from {limit:.0f} °C",
                    )
                )
        return signs

    def _frequency_signs(self) -> list[Sign]:
        signs = []
        for policy in self.before.policies:
            khz = [s.khz for s in self._settled() if s.policy == policy.number]
            expected = _expected_khz(policy)
            if len(khz) < _FEWEST_SAMPLES or expected is None or not _runs_at_full_speed(policy):
                continue
            slow = [k for k in khz if k < _SLOW * expected]
            if len(slow) > _SLOW_SHARE * len(khz):
                signs.append(
                    Sign(
                        "frequency",
                        f"{_cpus(policy)} ran at {ghz(min(slow))} instead of {ghz(expected)} in "
                        f"{len(slow)} of {len(khz)} samples",
                    )
                )
        return signs


def warnings_before(state: SystemState) -> tuple[str, ...]:
    """What makes a measurement hard to compare, known before it begins."""
    allowed = allowed_cpus()
    mine = [p for p in state.policies if allowed is None or set(allowed) & set(p.cpus)]
    warnings = []
    governors = sorted({p.governor for p in mine if p.governor not in (None, "performance")})
    if governors:
        cpus = format_cpus(tuple(c for p in mine if p.governor in governors for c in p.cpus))
        warnings.append(
            f"the governor of CPUs {cpus} is {' and '.join(map(str, governors))}, so clocks change "
            "with the load; to fix them: echo performance | sudo tee "
            "/sys/devices/system/cpu/cpufreq/policy*/scaling_governor"
        )
    for policy in mine:
        sustained = policy.sustained_khz
        if policy.max_khz and sustained and policy.max_khz < _SLOW * sustained:
            warnings.append(
                f"{_cpus(policy)} may run at {ghz(policy.max_khz)} at most, and can at "
                f"{ghz(sustained)}: a power mode, a setting or heat limits it"
            )
    if state.has_silent_firmware:
        warnings.append(
            "vcgencmd cannot be asked, so nothing is known of what the firmware holds back; is "
            "this user in the group video?"
        )
    if state.firmware and state.firmware.since_boot:
        past = ", ".join(state.firmware.since_boot)
        warnings.append(f"the firmware reports since boot, before this run: {past}")
    return tuple(warnings)


def ghz(khz: int) -> str:
    """A frequency as text."""
    return f"{khz / 1e6:.2f} GHz"


def _matters(zone: ThermalZone) -> bool:
    name = (zone.name or "").lower()
    return zone.passive_celsius is not None and not any(part in name for part in _NOT_CPU)


def _cpus(policy: FrequencyPolicy) -> str:
    return f"CPU{'s' if len(policy.cpus) > 1 else ''} {format_cpus(policy.cpus)}"


def _expected_khz(policy: FrequencyPolicy) -> int | None:
    """How fast a busy core of it should be, as it was allowed to be at the beginning."""
    known = [k for k in (policy.sustained_khz, policy.max_khz) if k]
    return min(known, default=None)


def _runs_at_full_speed(policy: FrequencyPolicy) -> bool:
    if policy.governor in _FULL_SPEED_GOVERNORS:
        return True
    return (
        policy.governor == "powersave"
        and policy.driver in _PSTATE_DRIVERS
        and policy.energy_preference in _FULL_SPEED_PREFERENCES
    )


def _firmware_signs(before: SystemState, after: SystemState) -> list[Sign]:
    if after.firmware is None:
        return []
    earlier = before.firmware.since_boot if before.firmware else ()
    now = (*(before.firmware.now if before.firmware else ()), *after.firmware.now)
    names = [*now, *(name for name in after.firmware.since_boot if name not in earlier)]
    return [Sign("firmware", f"the firmware reports: {name}") for name in dict.fromkeys(names)]


def _counter_signs(before: SystemState, after: SystemState) -> list[Sign]:
    earlier = {c.name: c.events for c in before.counters}
    return [
        Sign("counter", f"throttled {c.events - earlier[c.name]} times: {c.name}")
        for c in after.counters
        if c.name in earlier and c.events > earlier[c.name]
    ]


def _quota_signs(before: SystemState, after: SystemState) -> list[Sign]:
    if before.quota_stops is None or after.quota_stops is None:
        return []
    stops = after.quota_stops - before.quota_stops
    text = f"a quota of CPU time stopped this container or service {stops} times"
    return [Sign("quota", text)] if stops > 0 else []
