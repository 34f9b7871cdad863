"""Everything that can be wrong with a reading: a name, a sentence, and what to do."""

from __future__ import annotations

from enum import Enum


class Fault(Enum):
    """What is wrong with a reading. The value is what that means, and what to do about it."""

    NO_PERMISSION = (
        "this user may not read the sensor",
        "grant it: docs/power.md has a udev rule, or run as root",
    )
    MISSING = (
        "the sensor's file is not there, or is there no longer",
        "see whether its driver is loaded; the meter goes on when the file comes back",
    )
    READ_FAILED = (
        "the kernel failed to read the sensor",
        "the part may be switched off, or its bus busy; see dmesg if it lasts",
    )
    NOT_A_NUMBER = (
        "the sensor gives something that is not a number",
        "if it lasts, the driver or the firmware is not one that this version knows",
    )
    NEGATIVE = (
        "the sensor gives a value below zero",
        "if it lasts, its shunt or its driver is set up wrongly",
    )
    IMPLAUSIBLE = (
        "the sensor gives more than such a part can draw",
        "the sample is dropped; if it lasts, the sensor is not to be trusted",
    )
    STUCK = (
        "the sensor gives the same value for too long",
        "it is no longer updated: reload its driver, or use another meter",
    )
    COUNTER_RESET = (
        "the energy counter started anew",
        "the time since the reading before is not counted; suspend and driver reloads do this",
    )
    RANGE_UNKNOWN = (
        "the energy counter wrapped, and at which value cannot be read",
        "the time since the reading before is not counted; let max_energy_range_uj be read",
    )
    RANGE_CHANGED = (
        "the energy counter's range is another one than before",
        "the time since the reading before is not counted",
    )
    TOO_LATE = (
        "too long since the reading before to know what came in between",
        "that time is not counted; poll more often (MeterThread does)",
    )
    CLOCK = (
        "the clock did not move forward since the reading before",
        "the sample is dropped",
    )
    NOT_DISCHARGING = (
        "no battery is being discharged, so none tells what the device draws",
        "unplug the charger to measure by the battery",
    )
    COMMAND_FAILED = (
        "the command that asks the firmware is missing or failed",
        "see whether vcgencmd is installed and this user in the group video",
    )
    COMMAND_TIMEOUT = (
        "the firmware did not answer in time",
        "if it lasts, restart the board: the firmware's mailbox hangs",
    )

    @property
    def meaning(self) -> str:
        """What is wrong, as a sentence without its capital and full stop."""
        return self.value[0]

    @property
    def advice(self) -> str:
        """What to do about it."""
        return self.value[1]

    def __str__(self) -> str:
        return self.name.lower().replace("_", "-")


class SensorFault(Exception):
    """How readers of sensors tell their meter of a fault. It never leaves `Meter.read`."""

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault = fault
        self.detail = detail
