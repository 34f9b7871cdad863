"""Backing off from heat before the kernel does.

The target lies a few degrees below the lowest temperature at which the kernel slows a zone down.
How much of the power beyond idle may be spent follows the temperature by a proportional and an
integral part in velocity form: each reading moves the share by what the temperature moved and by
how far it is from the target. The gains suit heat sinks that take half a minute or longer to warm;
these are slow enough that the share settles without swinging. Close to the target nothing moves,
and far from it the temperature may move as it likes.

When something has throttled the CPU all the same (firmware bits of a Raspberry Pi, counters of x86
and Jetson), the share drops at once and is held for a while.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeinfer.system.kernel_files import KernelFiles
from edgeinfer.system.thermal import read_zones, zone_celsius
from edgeinfer.system.throttling import read_counters, read_firmware

_BELOW_TRIP = 4.0  # degrees between the target and where the kernel acts
_BAND = 8.0  # degrees above the target in which the share begins to move
_PER_DEGREE = 0.08  # of the share
_PER_DEGREE_SECOND = _PER_DEGREE / 80.0
_QUIET = 0.4  # degrees around the target in which nothing moves
_LEAST = 0.05
_ABOVE_SPENT = 1.05  # times what is being spent: where the share is taken back from
_AFTER_THROTTLING = 0.8  # of the share
_HOLD_SECONDS = 30.0
_SMOOTH_SECONDS = 6.0  # temperatures come in steps of up to a degree
_NOT_CPU = ("gpu", "wifi", "wlan", "nvme", "bat", "modem", "charger")


@dataclass(frozen=True)
class Heat:
    """What was read of temperatures at one moment."""

    headroom: float | None
    """Degrees to the trip point that is nearest; None where no zone has one."""
    zone: str
    """Whose that is."""
    throttled: str
    """What says that the CPU is being slowed; empty when nothing does."""


class HeatReader:
    """Reads thermal zones and signs of throttling below a root folder.

    Parameters
    ----------
    root : str
        "/" of this machine, or the folder that holds another one's `sys`.
    """

    def __init__(self, root: str = "/") -> None:
        self._files = KernelFiles(root)
        self._zones = [
            (zone.number, zone.name or f"zone {zone.number}", zone.passive_celsius)
            for zone in read_zones(self._files)
            if zone.passive_celsius is not None
            and not any(part in (zone.name or "").lower() for part in _NOT_CPU)
        ]
        self._events = self._counted()
        firmware = read_firmware(self._files)
        self._has_firmware = firmware is not None and (root != "/" or firmware.is_complete)

    @property
    def is_of_use(self) -> bool:
        """Whether this machine tells anything of heat."""
        return bool(self._zones or self._events or self._has_firmware)

    def read(self, *, with_counters: bool = True) -> Heat:
        """What is so now. Without counters it is a file or two."""
        nearest: tuple[float, str] | None = None
        for number, name, limit in self._zones:
            celsius = zone_celsius(self._files, number)
            if celsius is not None and limit is not None:
                nearest = min(nearest or (limit - celsius, name), (limit - celsius, name))
        throttled = self._throttled() if with_counters else ""
        if nearest is None:
            return Heat(None, "", throttled)
        return Heat(nearest[0], nearest[1], throttled)

    def _throttled(self) -> str:
        before, self._events = self._events, self._counted()
        grown = [n for n, events in self._events.items() if events > before.get(n, events)]
        if self._has_firmware:
            firmware = read_firmware(self._files)
            grown += [] if firmware is None else list(firmware.now)
        return ", ".join(grown)

    def _counted(self) -> dict[str, int]:
        return {counter.name: counter.events for counter in read_counters(self._files)}


class HeatLimit:
    """The share of the power beyond idle that heat leaves: 1.0 while it is cool."""

    def __init__(self) -> None:
        self.share = 1.0
        self._headroom: float | None = None
        self._time = 0.0
        self._held_until = float("-inf")

    def observe(self, now: float, heat: Heat, spent: float = 1.0) -> str:
        """One reading. Returns why the share moved, or "" when it did not.

        spent : share of the power beyond idle that is being spent, 0 to 1
        """
        if heat.throttled:
            return self._throttled(now, heat.throttled, spent)
        if heat.headroom is None:
            return ""
        if self._headroom is None:
            self._headroom, self._time = heat.headroom, now
            return ""
        passed = max(0.0, now - self._time)
        self._time = now
        smooth = self._headroom
        smooth += (heat.headroom - smooth) * min(1.0, passed / _SMOOTH_SECONDS)
        moved, self._headroom = smooth - self._headroom, smooth
        above = smooth - _BELOW_TRIP
        if abs(above) < _QUIET and abs(moved) < _QUIET / 4:
            return ""
        change = _PER_DEGREE_SECOND * above * passed
        if above < _BAND:
            change += _PER_DEGREE * moved
        if change > 0 and now < self._held_until:
            return ""
        before = self.share
        # Less than what is not spent anyway would change nothing.
        base = self.share if change > 0 else min(self.share, _ABOVE_SPENT * spent)
        self.share = min(1.0, max(_LEAST, base + change))
        if self.share == before:
            return ""
        return f"{heat.zone} is {heat.headroom:.1f} °C below where the kernel slows it down"

    def _throttled(self, now: float, sign: str, spent: float) -> str:
        if now < self._held_until:
            return ""
        self._held_until = now + _HOLD_SECONDS
        self.share = max(_LEAST, min(self.share, _ABOVE_SPENT * spent) * _AFTER_THROTTLING)
        return f"the CPU is being slowed: {sign}"
