"""The state of the machine as lines of text, for `doctor` and `bench`."""

from __future__ import annotations

from edgeinfer.printing import printable
from edgeinfer.system.cores import CoreGroup
from edgeinfer.system.frequency import FrequencyPolicy
from edgeinfer.system.kernel_files import format_cpus
from edgeinfer.system.state import SystemState
from edgeinfer.system.watch import RunConditions, ghz

_UNKNOWN = "unknown: the system tells nothing about it"


def state_lines(state: SystemState) -> list[tuple[str, str]]:
    """Heading and text of each line."""
    lines = []
    if state.board and state.board != state.cpu:
        lines.append(("board", state.board))
    lines += [("cores", _cores(group)) for group in state.cores] or [("cores", _UNKNOWN)]
    lines += [("clock", _clock(policy)) for policy in _alike(state.policies)]
    if not state.policies:
        lines.append(("clock", _UNKNOWN))
    if state.boost is not None:
        lines.append(("boost", "on" if state.boost else "off"))
    heat = _temperatures(state)
    lines += [("heat", text) for text in heat] or [("heat", _UNKNOWN)]
    lines += [
        ("cooling", f"{d.name or 'unnamed'}: {_or_unknown(d.state)} of {_or_unknown(d.max_state)}")
        for d in state.cooling_devices
        if d.is_on or (d.slows_the_cpu and d.state is None)
    ]
    lines.append(("throttled", _throttling(state)))
    return [(heading, printable(text)) for heading, text in lines]


def condition_lines(conditions: RunConditions) -> list[str]:
    """What a measurement says of the conditions it ran under."""
    lines = []
    khz = conditions.khz
    if khz:
        spread = ghz(min(khz)) if min(khz) == max(khz) else f"{ghz(min(khz))} to {ghz(max(khz))}"
        lines.append(f"clock {spread}")
    hottest = [_hottest(state) for state in (conditions.before, conditions.after)]
    if hottest[0] is not None and hottest[1] is not None:
        lines.append(f"{hottest[0]:.0f} °C before, {hottest[1]:.0f} °C after")
    if conditions.throttled is None:
        lines.append("whether it was throttled is not known here")
    elif not conditions.throttled:
        lines.append("not throttled")
    text = ["  " + ", ".join(lines)] if lines else []
    if conditions.throttled:
        text.append("  THROTTLED, so that these times are no measure of this machine:")
        text += [f"    - {printable(sign.text)}" for sign in conditions.signs]
    return text


def _cores(group: CoreGroup) -> str:
    threads = f", {len(group.cpus)} threads" if group.cores < len(group.cpus) else ""
    name = group.name or "unnamed"
    kind = f", {group.kind} cores" if group.kind else ""
    off = f"; switched off: {format_cpus(group.offline)}" if group.offline else ""
    cpus = f"CPU{'s' if len(group.cpus) > 1 else ''} {format_cpus(group.cpus)}"
    return f"{group.cores} x {name}{kind}{threads} ({cpus}{off})"


def _alike(policies: tuple[FrequencyPolicy, ...]) -> list[list[FrequencyPolicy]]:
    """Policies that differ in nothing but their CPUs and momentary clock share a line."""
    groups: dict[object, list[FrequencyPolicy]] = {}
    for p in policies:
        key = (p.min_khz, p.max_khz, p.hardware_max_khz, p.base_khz, p.governor, p.driver)
        groups.setdefault((*key, p.energy_preference), []).append(p)
    return list(groups.values())


def _clock(policies: list[FrequencyPolicy]) -> str:
    first = policies[0]
    cpus = format_cpus(tuple(cpu for p in policies for cpu in p.cpus))
    now = sorted(p.current_khz for p in policies if p.current_khz is not None)
    current = "unknown" if not now else ghz(now[0])
    if now and now[-1] - now[0] > 10_000:
        current = f"{now[0] / 1e6:.2f} to {ghz(now[-1])}"
    low, high = (f"{k / 1e6:.2f}" if k else "unknown" for k in (first.min_khz, first.max_khz))
    text = f"CPUs {cpus}: {current} now, {low} to {high} allowed"
    if first.hardware_max_khz and first.max_khz and first.max_khz < first.hardware_max_khz:
        text += f" of {first.hardware_max_khz / 1e6:.2f} possible"
    if first.base_khz and first.base_khz != first.hardware_max_khz:
        text += f", base {first.base_khz / 1e6:.2f}"
    text += f"; governor {first.governor or 'unknown'}"
    facts = [fact for fact in (first.driver, first.energy_preference) if fact]
    return text + (f" ({', '.join(facts)})" if facts else "")


def _temperatures(state: SystemState) -> list[str]:
    lines = []
    for zone in state.zones:
        trips = ", ".join(f"{t.kind} {t.celsius:.0f}" for t in zone.trips)
        name = zone.name or f"zone {zone.number}"
        lines.append(f"{name} {_celsius(zone.celsius)}{f' ({trips})' if trips else ''}")
    for sensor in state.sensors:
        limit = f" (critical {sensor.critical_celsius:.0f})" if sensor.critical_celsius else ""
        lines.append(f"{sensor.name} {_celsius(sensor.celsius)}{limit}")
    return lines


def _throttling(state: SystemState) -> str:
    known, found = False, []
    if state.firmware is not None:
        known = state.firmware.is_complete
        found += [f"now: {', '.join(state.firmware.now)}"] if state.firmware.now else []
        past = ", ".join(state.firmware.since_boot)
        found += [f"since boot: {past}"] if past else []
    if state.counters:
        known = True
        found += [f"{c.name}: {c.events} times since boot" for c in state.counters if c.events]
    slowing = [d for d in state.cooling_devices if d.slows_the_cpu]
    if slowing:
        known = True
        found += [f"now: cooling device {d.name}" for d in slowing if d.is_on]
    if state.quota_stops:
        found.append(f"stopped {state.quota_stops} times by a quota of CPU time")
    if not found and state.has_silent_firmware:
        return "unknown: vcgencmd cannot be asked; is this user in the group video?"
    return "; ".join(found) or ("no" if known else _UNKNOWN)


def _hottest(state: SystemState) -> float | None:
    zones = [z.celsius for z in state.zones if z.celsius is not None]
    sensors = [s.celsius for s in state.sensors if s.celsius is not None]
    return max((*zones, *sensors), default=None)


def _celsius(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f} °C"


def _or_unknown(value: int | None) -> str:
    return "unknown" if value is None else str(value)
