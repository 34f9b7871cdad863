"""Clocks of the cores: cpufreq.

What `current` is depends on the driver: intel_pstate, amd-pstate and drivers with activity counters
measure it; others say what was asked for, and firmware may clock lower without telling (Raspberry
Pi: see throttling.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeinfer.system.kernel_files import KernelFiles

_CPUFREQ = "sys/devices/system/cpu/cpufreq"


@dataclass(frozen=True)
class FrequencyPolicy:
    """CPUs that are clocked together. All frequencies in kHz."""

    number: int
    cpus: tuple[int, ...]
    current_khz: int | None
    min_khz: int | None
    """What the system may go down to at present ..."""
    max_khz: int | None
    """... and up to: a power mode, a user or the thermal governor may have lowered it."""
    hardware_min_khz: int | None
    hardware_max_khz: int | None
    """The highest that the CPU has; with boost, one that not all cores reach together."""
    base_khz: int | None
    """What all cores hold under load, where the system tells it apart from boost."""
    governor: str | None
    driver: str | None
    energy_preference: str | None

    @property
    def sustained_khz(self) -> int | None:
        """The lowest frequency of a busy core that nothing holds back."""
        if self.base_khz and self.hardware_max_khz:
            return min(self.base_khz, self.hardware_max_khz)
        return self.base_khz or self.hardware_max_khz


def read_policies(files: KernelFiles) -> tuple[FrequencyPolicy, ...]:
    """One policy for each clock of the machine; empty where the system tells nothing of clocks."""
    return tuple(_read_policy(files, n, path) for n, path in files.numbered(_CPUFREQ, "policy"))


def read_boost(files: KernelFiles) -> bool | None:
    """Whether clocks above the base are allowed; None where there are none or nothing tells."""
    no_turbo = files.number("sys/devices/system/cpu/intel_pstate/no_turbo")
    if no_turbo is not None:
        return no_turbo == 0
    boost = files.number(f"{_CPUFREQ}/boost")
    return None if boost is None else boost != 0


def current_khz(files: KernelFiles, policy: int) -> int | None:
    """Only how fast a policy's cores are now."""
    return _frequency(files, f"{_CPUFREQ}/policy{policy}/scaling_cur_freq")


def limit_khz(files: KernelFiles, policy: int) -> int | None:
    """Only how fast a policy's cores may be now."""
    return _frequency(files, f"{_CPUFREQ}/policy{policy}/scaling_max_freq")


def _frequency(files: KernelFiles, path: str) -> int | None:
    return files.natural(path) or None  # drivers write 0 for what they do not know


def _read_policy(files: KernelFiles, number: int, path: str) -> FrequencyPolicy:
    # affected_cpus leaves out those that are switched off
    cpus = files.cpus(f"{path}/affected_cpus") or files.cpus(f"{path}/related_cpus")
    base = _frequency(files, f"{path}/base_frequency")
    if base is None:  # amd-pstate: in MHz
        nominal = files.natural(f"sys/devices/system/cpu/cpu{number}/acpi_cppc/nominal_freq")
        base = nominal * 1000 if nominal else None
    return FrequencyPolicy(
        number=number,
        cpus=cpus or (number,),
        current_khz=_frequency(files, f"{path}/scaling_cur_freq"),
        min_khz=_frequency(files, f"{path}/scaling_min_freq"),
        max_khz=_frequency(files, f"{path}/scaling_max_freq"),
        hardware_min_khz=_frequency(files, f"{path}/cpuinfo_min_freq"),
        hardware_max_khz=_frequency(files, f"{path}/cpuinfo_max_freq"),
        base_khz=base,
        governor=files.text(f"{path}/scaling_governor"),
        driver=files.text(f"{path}/scaling_driver"),
        energy_preference=files.text(f"{path}/energy_performance_preference"),
    )
