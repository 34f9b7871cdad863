"""What a meter is, and how its readings become joules of a stretch of time.

A meter is read; it does not watch by itself. Power sensors must be read often, because what comes
between two readings is only guessed, and energy counters before they wrap twice. `MeterThread` does
that; `MeterLog` is the same without a thread, for who has a clock of their own (a simulation).
"""

from __future__ import annotations

import bisect
import threading
from array import array
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from edgeinfer.errors import InputError
from edgeinfer.power.faults import Fault
from edgeinfer.power.reading import Origin, Reading, Scope, Source

_HISTORY_SECONDS = 300.0


class Meter(Protocol):
    """A source of readings. All implementations are safe to read from one thread at a time."""

    @property
    def name(self) -> str:
        """Unique among those that `find_meters` lists: "rapl package", "ina3221 VDD_IN"."""

    @property
    def source(self) -> Source:
        """What kind of sensor or model it is."""

    @property
    def origin(self) -> Origin:
        """Whether its values are measured."""

    @property
    def covers(self) -> str:
        """What its values include, and what they leave out."""

    @property
    def scope(self) -> Scope:
        """How much of the board that is."""

    @property
    def interval(self) -> float:
        """Seconds between two readings that suit it: often enough to be right, and cheap."""

    @property
    def longest_interval(self) -> float:
        """Seconds between two readings beyond which energy may go uncounted."""

    def now(self) -> float:
        """The clock that its readings carry, in seconds."""

    def read(self) -> Reading:
        """A reading. Never raises: what is wrong is named in `Reading.fault`."""

    def close(self) -> None:
        """Let go of files. A closed meter is not read any more."""


@dataclass(frozen=True)
class Energy:
    """Joules of a stretch of time."""

    joules: float | None
    """What was metered; None when nothing was."""
    seconds: float
    """How long it was ..."""
    unmetered: float
    """... and for how much of that no energy is known. `joules` has nothing for it."""
    origin: Origin
    source: Source
    covers: str
    resolution: float | None
    """Joules, as far as known, that the value may be off at its ends."""
    error: float | None
    """Relative standard error, where it is modelled."""
    faults: tuple[Fault, ...] = ()
    """Those met during it, each once."""

    @property
    def watts(self) -> float | None:
        """Mean over the time that was metered."""
        metered = self.seconds - self.unmetered
        return None if self.joules is None or metered <= 0 else self.joules / metered

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {**asdict(self), "watts": self.watts, "faults": [str(f) for f in self.faults]}


class MeterLog:
    """Keeps the readings of a meter, as many as `history` seconds need, and sums them up.

    Safe from any thread.
    """

    def __init__(self, meter: Meter, *, history: float = _HISTORY_SECONDS) -> None:
        self.meter = meter
        self.history = history
        self._lock = threading.Lock()
        self._times = array("d")
        self._joules = array("d")
        self._unmetered = array("d")
        self._faults: list[tuple[float, Fault]] = []
        self._last: Reading | None = None
        self._first_time: float | None = None
        self._first_good: float | None = None

    @property
    def last(self) -> Reading | None:
        """The newest reading, good or not."""
        return self._last

    def poll(self) -> Reading:
        """Read the meter now."""
        with self._lock:
            return self._poll()

    def total(self) -> Energy:
        """Everything since the first poll, up to now."""
        with self._lock:
            now = self._poll().time
            start = now if self._first_time is None else self._first_time
            return self._between(start, now, whole=True)

    def joules_between(self, t0: float, t1: float) -> Energy:
        """What was counted from t0 to t1, seconds of the meter's clock.

        Between two readings the energy is taken as spread evenly. Reads the meter once more where
        t1 is later than the last reading. Of time before the history nothing is known: it is
        unmetered.
        """
        with self._lock:
            if self._last is None or t1 > self._last.time:
                self._poll()
            return self._between(t0, t1, whole=False)

    def close(self) -> None:
        """Close the meter."""
        with self._lock:
            self.meter.close()

    def _poll(self) -> Reading:
        reading = self.meter.read()
        self._last = reading
        if self._first_time is None:
            self._first_time = reading.time
        if reading.fault is not None:
            if not self._faults or self._faults[-1][1] is not reading.fault:
                self._faults.append((reading.time, reading.fault))
                del self._faults[:-64]
            else:
                self._faults[-1] = (reading.time, reading.fault)
        # A counter that fails and comes back knows what went by meanwhile: only then is it entered.
        elif reading.joules is not None and (not self._times or reading.time > self._times[-1]):
            self._times.append(reading.time)
            if self._first_good is None:
                self._first_good = reading.time
            self._joules.append(reading.joules)
            self._unmetered.append(reading.unmetered)
            self._forget(reading.time - self.history)
        return reading

    def _forget(self, before: float) -> None:
        """Drop what is older, a good part at a time."""
        old = bisect.bisect_left(self._times, before) - 1
        if old > max(64, len(self._times) // 4):
            for column in (self._times, self._joules, self._unmetered):
                del column[:old]

    def _between(self, t0: float, t1: float, *, whole: bool) -> Energy:
        """With the lock held. `whole`: from the first reading on, though the history is shorter."""
        meter, last = self.meter, self._last
        seconds = max(0.0, t1 - t0)
        joules, unmetered = None, seconds
        if self._times and seconds > 0:
            begin, end = max(t0, self._times[0]), min(t1, self._times[-1])
            if whole and self._first_good is not None:
                joules = self._joules[-1]
                metered = end - self._first_good - self._unmetered[-1]
                unmetered = min(seconds, max(0.0, seconds - metered))
            elif end > begin:
                joules = max(0.0, self._at(self._joules, end) - self._at(self._joules, begin))
                gaps = self._at(self._unmetered, end) - self._at(self._unmetered, begin)
                unmetered = min(seconds, max(0.0, gaps) + (seconds - (end - begin)))
        resolution = last.resolution if last is not None else None
        if resolution is not None and last is not None and last.unit == "W":
            resolution *= seconds
        found = dict.fromkeys(fault for when, fault in self._faults if t0 <= when <= t1)
        return Energy(
            joules=joules, seconds=seconds, unmetered=unmetered,
            origin=meter.origin, source=meter.source, covers=meter.covers,
            resolution=resolution, error=last.error if last is not None else None,
            faults=tuple(found),
        )  # fmt: skip

    def _at(self, column: array[float], when: float) -> float:
        """A column's value at a time within the history."""
        i = min(max(bisect.bisect_left(self._times, when), 1), len(self._times) - 1)
        t0, t1 = self._times[i - 1], self._times[i]
        if len(self._times) == 1 or when >= t1:
            return column[i]
        return column[i - 1] + (column[i] - column[i - 1]) * max(0.0, when - t0) / (t1 - t0)


class MeterThread:
    """Polls a meter in the background, often enough to see every wrap of a counter.

    Parameters
    ----------
    meter : Meter
    interval : float, seconds
        Between two readings; the meter's own (`Meter.interval`) by default, at which the thread
        costs under half a percent of a core. Never longer than `Meter.longest_interval`.
    history : float, seconds
        How far back `joules_between` knows.

    Use it as a context manager, or call `start` and `stop`. The thread does not keep the process
    alive.
    """

    def __init__(
        self,
        meter: Meter,
        interval: float | None = None,
        *,
        history: float = _HISTORY_SECONDS,
    ) -> None:
        wanted = meter.interval if interval is None else interval
        if not wanted > 0:
            raise InputError(f"interval is {interval}; it must be a time above 0, in seconds")
        self.meter = meter
        self.interval = min(wanted, meter.longest_interval)
        self.log = MeterLog(meter, history=history)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Take the first reading and begin to poll."""
        if self._thread is None:
            self._stop.clear()
            self.log.poll()
            self._thread = threading.Thread(target=self._run, name="edgeinfer-meter", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread. What it gathered stays."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stop.set()
            thread.join()

    def total(self) -> Energy:
        """Joules since `start`."""
        return self.log.total()

    def joules_between(self, t0: float, t1: float) -> Energy:
        """Joules from t0 to t1, seconds of time.monotonic."""
        return self.log.joules_between(t0, t1)

    @property
    def last(self) -> Reading | None:
        """The newest reading."""
        return self.log.last

    def __enter__(self) -> MeterThread:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _run(self) -> None:
        while not self._stop.wait(self.interval):
            self.log.poll()
