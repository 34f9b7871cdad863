"""Times of a model's steps, from the C core's own clock, and the trace that a browser shows.

The clock costs 10 to 20 ns per step, which is much where a step takes 200. So only some runs are
profiled, those that are timed as a whole are not, and how much longer a profiled run takes is
measured and told.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeinfer._ffi import check, ffi, lib
from edgeinfer.step_costs import StepCost

if TYPE_CHECKING:
    from edgeinfer.cli.read_bandwidth import ReadBandwidth
    from edgeinfer.model import Model

_CALIBRATION_NS = 20_000_000
_MAX_TICKS = 4_000_000  # of all runs together: 32 MB
_TRACED_RUNS = 200


class StepProfiler:
    """Switches step times on for single runs of a model's own session, and keeps them."""

    def __init__(self, model: Model) -> None:
        self.costs = model.step_costs
        self._session = model._session._session
        self._ticks = np.zeros(len(self.costs) + 1, np.uint64)
        self._pointer = ffi.cast("uint64_t *", self._ticks.ctypes.data)
        self._marks: list[tuple[int, int]] = []  # when a profiled run ended: nanoseconds, ticks
        self._runs: list[npt.NDArray[np.uint64]] = []

    def start(self) -> None:
        """The next run is profiled."""
        check(lib().ei_session_profile(self._session, self._pointer, len(self._ticks)))

    def stop(self) -> None:
        """Keep the times of the run that just ended; the next one is not profiled."""
        mark = (time.perf_counter_ns(), int(self._ticks[-1]))
        check(lib().ei_session_profile(self._session, ffi.NULL, 0))
        self._marks = [*self._marks[:1], mark]
        if (len(self._runs) + 1) * len(self._ticks) <= _MAX_TICKS:
            self._runs.append(self._ticks.copy())

    @property
    def needs_time(self) -> bool:
        """Whether the first and the last profiled run are too close to tell what a tick is."""
        return len(self._marks) < 2 or self._marks[1][0] - self._marks[0][0] < _CALIBRATION_NS

    @property
    def runs(self) -> int:
        """Profiled runs."""
        return len(self._runs)

    def boundaries_us(self) -> npt.NDArray[np.float64]:
        """A row of each profiled run: its start and its steps' ends, 0 being the first start."""
        (t0, c0), (t1, c1) = self._marks
        us_per_tick = np.float64((t1 - t0) / (c1 - c0) / 1e3)
        ticks = np.stack(self._runs)
        times: npt.NDArray[np.float64] = (ticks - ticks[0, 0]).astype(np.float64) * us_per_tick
        return times

    def medians_us(self) -> npt.NDArray[np.float64]:
        """The median time of each step."""
        medians: npt.NDArray[np.float64] = np.median(np.diff(self.boundaries_us()), axis=0)
        return medians


def profile_rows(
    costs: Sequence[StepCost],
    medians_us: Sequence[float],
    peak_gmacs: float | None,
    bandwidth: ReadBandwidth,
) -> list[dict[str, Any]]:
    """One row per step, with rates and what share of the machine's they are; None if not known."""
    total = float(np.sum(medians_us)) or 1.0
    rows = []
    for i, (cost, us) in enumerate(zip(costs, medians_us, strict=True)):
        ns = max(float(us) * 1e3, 1e-3)  # a step of nothing may be shorter than a tick
        row = {
            "step": i,
            "node": cost.node,
            "operator": cost.operator,
            "kernel": cost.kernel,
            "us": float(us),
            "share": float(us) / total,
            "macs": cost.macs,
            "gmacs": cost.macs / ns,
            "bytes": cost.bytes,
            "weight_bytes": cost.weight_bytes,
            "gb_per_s": cost.bytes / ns,
            "share_of_memory": _share(cost.bytes / ns, bandwidth.memory),
            "share_of_cache": _share(cost.bytes / ns, bandwidth.cache),
        }
        if peak_gmacs is not None:
            row["share_of_peak"] = cost.macs / ns / peak_gmacs
        rows.append(row)
    return rows


def _share(rate: float, most: float | None) -> float | None:
    return None if most is None else rate / most


def write_trace(path: Path, profiler: StepProfiler, model: str) -> None:
    """Trace-event JSON of the first profiled runs, for chrome://tracing and ui.perfetto.dev."""
    events: list[dict[str, Any]] = [
        {"ph": "M", "pid": 1, "tid": 1, "name": "process_name", "args": {"name": "edgeinfer"}},
        {"ph": "M", "pid": 1, "tid": 1, "name": "thread_name", "args": {"name": model}},
    ]
    for number, times in enumerate(profiler.boundaries_us()[:_TRACED_RUNS]):
        events.append(_event(f"run {number}", "run", times[0], times[-1], {}))
        for i, cost in enumerate(profiler.costs):
            facts = {"step": i, "kernel": cost.kernel, "macs": cost.macs, "bytes": cost.bytes}
            name = f"{cost.operator} {cost.node}"
            events.append(_event(name, cost.operator, times[i], times[i + 1], facts))
    trace = {"traceEvents": events, "displayTimeUnit": "ns"}
    path.write_text(json.dumps(trace), encoding="utf-8")


def _event(
    name: str, category: str, start: float, end: float, facts: dict[str, Any]
) -> dict[str, Any]:
    # 6 digits behind the point of a microsecond: sums of parts must not exceed the whole.
    return {
        "ph": "X", "pid": 1, "tid": 1, "name": name, "cat": category,
        "ts": round(start, 6), "dur": round(end - start, 6), "args": facts,
    }  # fmt: skip
