"""Which cores a machine has, grouped by kind."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from edgeinfer.system.arm_parts import core_name
from edgeinfer.system.kernel_files import KernelFiles

_CPU = "sys/devices/system/cpu"

# The kernel has one set of performance counters for each kind of core of a hybrid x86 CPU.
_HYBRID = (
    ("cpu_core", "performance"),
    ("cpu_atom", "efficiency"),
    ("cpu_lowpower", "low-power efficiency"),
)


@dataclass(frozen=True)
class CoreGroup:
    """Cores of one kind."""

    name: str | None
    """Of the core ("Cortex-A76") or of the CPU ("Intel(R) N100")."""
    kind: str | None
    """"performance", "efficiency", ... where the CPU has several kinds; None where it has one."""
    cpus: tuple[int, ...]
    """Numbers of its CPUs, those that are switched off included."""
    cores: int
    """How many cores that are: fewer than CPUs where a core runs two threads."""
    offline: tuple[int, ...]
    """CPUs of it that are switched off."""
    capacity: int | None
    """What one does in the kernel's scale, on which the machine's fastest core does 1024."""


def cpu_name(files: KernelFiles) -> str | None:
    """The CPU's model name, or on ARM boards, which give none, the board's."""
    for facts in _cpuinfo(files).values():
        if name := facts.get("model name"):
            return name
    return board_name(files)


def board_name(files: KernelFiles) -> str | None:
    """The model of a board that has a device tree: "Raspberry Pi 5 Model B Rev 1.0"."""
    return files.text("proc/device-tree/model") or files.text("sys/firmware/devicetree/base/model")


def read_cores(files: KernelFiles) -> tuple[CoreGroup, ...]:
    """The machine's cores, the fastest kind first; empty where nothing tells."""
    info = _cpuinfo(files)
    present = files.cpus(f"{_CPU}/present") or tuple(n for n, _ in files.numbered(_CPU, "cpu"))
    present = present or tuple(sorted(info))
    online = files.cpus(f"{_CPU}/online")
    hybrid = {
        cpu: kind
        for device, kind in _HYBRID
        for cpu in files.cpus(f"sys/devices/{device}/cpus") or ()
    }
    named: dict[tuple[str | None, str | None], list[int]] = {}
    for cpu in present:
        key = (_name(files, cpu, info.get(cpu, {})), hybrid.get(cpu))
        named.setdefault(key, []).append(cpu)
    _adopt_nameless(named)
    groups = []
    for (name, kind), cpus in named.items():
        for part in _split_by_capacity(files, cpus):
            off = tuple(c for c in part if online is not None and c not in online)
            capacities = [c for cpu in part if (c := _capacity(files, cpu)) is not None]
            groups.append(
                CoreGroup(
                    name, kind, part, _count_cores(files, part), off, max(capacities, default=None)
                )
            )
    if len(groups) > 1 and not hybrid:
        groups = _name_kinds(groups)
    return tuple(
        sorted(groups, key=lambda g: (-(g.capacity or 0), g.kind != "performance", g.cpus))
    )


def cpu_of_this_thread(files: KernelFiles) -> int | None:
    """The CPU that the main thread ran on last."""
    text = files.text("proc/self/stat")
    # The second field is the program's name, in parentheses, and may hold anything.
    fields = [] if text is None else text.rpartition(")")[2].split()
    number = fields[36] if len(fields) > 36 else ""
    return int(number) if re.fullmatch(r"[0-9]{1,5}", number) else None


def allowed_cpus() -> tuple[int, ...] | None:
    """The CPUs that this process may use."""
    try:
        return tuple(sorted(os.sched_getaffinity(0)))
    except (AttributeError, OSError):
        return None


def _cpuinfo(files: KernelFiles) -> dict[int, dict[str, str]]:
    """/proc/cpuinfo by CPU. Lines behind the last CPU are about the whole machine."""
    found: dict[int, dict[str, str]] = {}
    facts: dict[str, str] = {}
    for line in (files.text("proc/cpuinfo") or "").splitlines():
        key, colon, value = (part.strip() for part in line.partition(":"))
        if key == "processor" and value.isascii() and value.isdigit() and len(value) < 6:
            facts = found.setdefault(int(value), {})
        elif colon:
            facts[key.lower()] = value
    return found


def _name(files: KernelFiles, cpu: int, facts: dict[str, str]) -> str | None:
    midr = _hexadecimal(files.text(f"{_CPU}/cpu{cpu}/regs/identification/midr_el1"))
    if midr is not None:
        return core_name(midr >> 24 & 0xFF, midr >> 4 & 0xFFF)
    implementer = _hexadecimal(facts.get("cpu implementer"))
    part = _hexadecimal(facts.get("cpu part"))
    if implementer is not None and part is not None:
        return core_name(implementer, part)
    return facts.get("model name")


def _hexadecimal(text: str | None) -> int | None:
    if text is None or not re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}", text):
        return None
    return int(text, 16)


def _adopt_nameless(named: dict[tuple[str | None, str | None], list[int]]) -> None:
    """CPUs that are switched off have no name: they are of the only kind, where there is one."""
    known = [key for key in named if key[0] is not None]
    if len(known) == 1 and len(named) == 2 and (None, None) in named:
        named[known[0]] = sorted(named[known[0]] + named.pop((None, None)))


def _capacity(files: KernelFiles, cpu: int) -> int | None:
    return files.natural(f"{_CPU}/cpu{cpu}/cpu_capacity")


def _split_by_capacity(files: KernelFiles, cpus: list[int]) -> list[tuple[int, ...]]:
    """Cores of one design are of two kinds when they are made for quite different clocks.

    Single cores that may clock a little higher than their neighbours are no kind of their own: the
    limit is an eighth, as for performance_cores (csrc/base/affinity.c).
    """
    ordered = sorted(cpus, key=lambda cpu: (-(_capacity(files, cpu) or 0), cpu))
    parts: list[list[int]] = []
    largest = 0
    for cpu in ordered:
        capacity = _capacity(files, cpu) or 0
        if not parts or capacity < largest - largest // 8:
            parts.append([])
            largest = capacity
        parts[-1].append(cpu)
    return [tuple(sorted(part)) for part in parts]


def _count_cores(files: KernelFiles, cpus: tuple[int, ...]) -> int:
    cores = set()
    for cpu in cpus:
        siblings = files.cpus(f"{_CPU}/cpu{cpu}/topology/core_cpus_list") or files.cpus(
            f"{_CPU}/cpu{cpu}/topology/thread_siblings_list"
        )
        cores.add(siblings or (cpu,))
    return len(cores)


def _name_kinds(groups: list[CoreGroup]) -> list[CoreGroup]:
    """ARM says how fast cores are, not what they are for; the fastest are the performance cores."""
    if any(group.capacity is None for group in groups):
        return groups
    largest = max(group.capacity or 0 for group in groups)
    return [
        CoreGroup(
            g.name,
            "performance" if g.capacity == largest else "efficiency",
            g.cpus, g.cores, g.offline, g.capacity,
        )
        for g in groups
    ]  # fmt: skip
