"""Draw what bench_peers.py measured: each runtime's time in units of edgeinfer's.

    python tools/plot_peers.py results.json results.svg

A file of its own, so that a measurement of another machine can be drawn later.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

# Okabe and Ito's colours, which colour-blind readers can tell apart.
_COLOURS = {
    "edgeinfer": "#0072B2",
    "LiteRT": "#E69F00",
    "onnxruntime": "#009E73",
    "OpenVINO": "#CC79A7",
    "ncnn": "#999999",
}


def plot_results(content: dict[str, Any], target: Path) -> None:
    """Write the drawing; its kind is that of the name's suffix."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    models = content["models"]
    runtimes = [name for name in _COLOURS if name == "edgeinfer" or _runs(models, name)]
    figure = Figure(figsize=(1.2 + 0.36 * len(models) * len(runtimes), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    width = 0.84 / len(runtimes)
    for place, model in enumerate(models):
        drawn = [name for name in runtimes if name == "edgeinfer" or _runs([model], name)]
        for i, name in enumerate(drawn):
            us = model["p50_us"] if name == "edgeinfer" else model["peers_us"][name]
            # Of neighbouring turns, as in the table; the quotient of two medians is another number.
            height = 1.0 if name == "edgeinfer" else 1 / model["ratios"][name]
            x = place + (i - (len(drawn) - 1) / 2) * width
            axes.bar(x, height, width * 0.94, color=_COLOURS[name])
            axes.annotate(
                _time(us), (x, height), (0, 3), textcoords="offset points", rotation=90,
                ha="center", va="bottom", fontsize=7,
            )  # fmt: skip
    for name in runtimes:
        axes.bar(0, 0, color=_COLOURS[name], label=name)
    axes.axhline(1, color="#444444", linewidth=0.8, zorder=0)
    axes.set_xticks(range(len(models)), [model["model"].removesuffix("_int8") for model in models])
    axes.set_ylabel("time per run, edgeinfer = 1 (lower is faster)")
    axes.set_ylim(0, axes.get_ylim()[1] * 1.12)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(ncols=len(runtimes), loc="upper center", bbox_to_anchor=(0.5, 1.1), frameon=False)
    figure.savefig(target, dpi=150)


def _runs(models: list[dict[str, Any]], name: str) -> bool:
    return any(name in model["peers_us"] for model in models)


def _time(us: float) -> str:
    return f"{us / 1e3:.3g} ms" if us >= 1e3 else f"{us:.3g} µs"


def main() -> None:
    """Parse arguments, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("results", type=Path, help="what bench_peers.py --json wrote")
    parser.add_argument("target", type=Path, help=".svg or .png")
    args = parser.parse_args()
    plot_results(json.loads(args.results.read_text()), args.target)


if __name__ == "__main__":
    main()
