"""Pictures of a simulation: power, temperature, rate and decisions over time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from tools.power_plant.simulation import Outcome

_INK, _CAP, _ORACLE = "#1f4e79", "#b03a2e", "#8a8a8a"
_POINTS = 240
_RATE_SECONDS = 5.0


def plot_outcome(kept: Outcome, best: Outcome, title: str, target: Path) -> None:
    """Draw the governor, and the oracle behind it, as .svg or .png; needs matplotlib."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    mpl.rcParams["svg.fonttype"] = "none"  # text stays text: small, and it can be searched
    mpl.rcParams["svg.hashsalt"] = "edgeinfer"  # the same picture gives the same file
    figure = Figure(figsize=(8.6, 6.6), layout="constrained")
    FigureCanvasAgg(figure)
    power, heat, rate, decided = figure.subplots(4, 1, sharex=True, height_ratios=(3, 2, 2, 2))
    power.set_title(title, loc="left", fontsize=10)

    for outcome, colour, label in ((best, _ORACLE, "oracle"), (kept, _INK, "governor")):
        ends, watts = outcome.windows()
        grid = np.linspace(0.5, outcome.seconds, _POINTS)
        power.plot(grid, np.interp(grid, ends, watts), color=colour, lw=1.1, label=label)
        times = np.array([t.ended or 0.0 for t in outcome.done])
        rate.plot(*_rate(times, outcome.seconds), color=colour, lw=1.1)
    power.axhline(kept.cap_watts, color=_CAP, lw=1, ls="--", label="cap")
    power.set_ylabel(f"W, mean of {kept.window:g} s")
    power.legend(loc="lower right", fontsize=8, frameon=False, ncols=3)

    grid = np.linspace(0, kept.seconds, _POINTS)
    heat.plot(grid, np.interp(grid, kept.plant.times, kept.plant.temperatures), color=_INK, lw=1.1)
    trip = kept.plant.board.trip_celsius
    if max(kept.plant.temperatures) > trip - 15:
        heat.axhline(trip, color=_CAP, lw=1, ls="--")
    heat.set_ylabel("°C")
    rate.set_ylabel("runs/s")
    rate.set_ylim(bottom=0)

    _draw_decisions(kept, decided)
    decided.set_xlabel("seconds")
    decided.set_xlim(0, kept.seconds)
    for axes in (power, heat, rate, decided):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
        axes.yaxis.label.set_size(9)
    figure.savefig(target, metadata={"Date": None} if target.suffix == ".svg" else None)


def _rate(
    times: npt.NDArray[np.float64], seconds: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Runs per second, by steps."""
    edges = np.arange(0, seconds + _RATE_SECONDS, _RATE_SECONDS)
    counts, _ = np.histogram(times, edges)
    return edges[:-1] + _RATE_SECONDS / 2, counts / _RATE_SECONDS


def _draw_decisions(outcome: Outcome, axes: object) -> None:
    """When runs waited and how long, and when the way or the share changed."""
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    assert outcome.governor is not None
    # The longest wait of each step of time: a dot for each run would be thousands.
    steps = np.linspace(0, outcome.seconds, _POINTS // 2 + 1)
    starts = np.array([t.started or 0.0 for t in outcome.done])
    waits = np.array([t.waited for t in outcome.done])
    which = np.clip(np.digitize(starts, steps) - 1, 0, len(steps) - 2)
    longest = np.zeros(len(steps) - 1)
    np.maximum.at(longest, which, waits)
    axes.step(steps[:-1], longest, where="post", color=_INK, lw=1.0)
    axes.set_ylabel("longest wait, s")
    top = max(float(longest.max()), 0.1) * 1.25
    for kind, marker, colour in (
        ("setting", "v", "#1e8449"),
        ("variant", "v", "#7d3c98"),
        ("refuse", "x", _CAP),
        ("thermal", "s", "#ca6f1e"),
    ):
        when = sorted({round(d.time, 0) for d in outcome.governor.decisions.of(kind)})
        if when:
            axes.plot(when, [0.93 * top] * len(when), marker, ms=4, color=colour, label=kind)
    axes.set_ylim(0, top)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="center right", fontsize=8, frameon=False, ncols=4)
