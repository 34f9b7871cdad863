"""The state of the machine at one moment, as far as its system tells."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edgeinfer.system.cores import CoreGroup, board_name, cpu_name, read_cores
from edgeinfer.system.frequency import FrequencyPolicy, read_boost, read_policies
from edgeinfer.system.kernel_files import KernelFiles
from edgeinfer.system.thermal import (
    CoolingDevice,
    Sensor,
    ThermalZone,
    read_cooling_devices,
    read_sensors,
    read_zones,
)
from edgeinfer.system.throttling import (
    FirmwareThrottling,
    ThrottleCounter,
    read_counters,
    read_firmware,
    read_quota_stops,
)


@dataclass(frozen=True)
class SystemState:
    """What was found. Whatever the system does not tell is None, or missing from its list."""

    cpu: str | None
    board: str | None
    cores: tuple[CoreGroup, ...]
    policies: tuple[FrequencyPolicy, ...]
    boost: bool | None
    zones: tuple[ThermalZone, ...]
    sensors: tuple[Sensor, ...]
    cooling_devices: tuple[CoolingDevice, ...]
    firmware: FirmwareThrottling | None
    counters: tuple[ThrottleCounter, ...]
    quota_stops: int | None
    """How often a quota of CPU time stopped this process's container or service."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)

    @property
    def has_silent_firmware(self) -> bool:
        """Whether this is a Raspberry Pi whose firmware, which may slow it, cannot be asked."""
        is_pi = (self.board or "").startswith("Raspberry Pi")
        return is_pi and not (self.firmware and self.firmware.is_complete)

    def policy_of(self, cpu: int) -> FrequencyPolicy | None:
        """Which clock a CPU has."""
        return next((p for p in self.policies if cpu in p.cpus), None)


def read_state(files: KernelFiles | None = None) -> SystemState:
    """Read all that the system tells; takes some milliseconds."""
    files = files or KernelFiles()
    return SystemState(
        cpu=cpu_name(files),
        board=board_name(files),
        cores=read_cores(files),
        policies=read_policies(files),
        boost=read_boost(files),
        zones=read_zones(files),
        sensors=read_sensors(files),
        cooling_devices=read_cooling_devices(files),
        firmware=read_firmware(files),
        counters=read_counters(files),
        quota_stops=read_quota_stops(files),
    )
