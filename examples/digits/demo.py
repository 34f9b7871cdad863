"""The main job on a small model: convert, plan, run on held-out digits, measure.

    python examples/digits/demo.py

Converts digits_int8.onnx (beside this file) to build/demo/digits.edge, runs it on 450 real images
that it was not trained on, and prints what a user wants to know.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import edgeinfer
from edgeinfer.budget import format_bytes
from edgeinfer.convert import convert

HERE = Path(__file__).resolve().parent
OUTPUT = HERE.parents[1] / "build" / "demo"
RUNS = 2000


def main() -> int:
    """Convert, run, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=OUTPUT, help="where files are written")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    edge = args.output / "digits.edge"
    drawing = args.output / "digits_plan.svg"

    start = time.perf_counter()
    convert(HERE / "digits_int8.onnx").save(edge)
    print(f"converted digits_int8.onnx in {time.perf_counter() - start:.2f} s")
    command = [sys.executable, "-m", "edgeinfer", "plan", str(edge), "--svg", str(drawing)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    with edgeinfer.load(edge) as model:
        _print_plan(model)
        _print_accuracy(model)
        _print_latency(model)
    print("\nfiles written")
    for path in (edge, drawing):
        print(f"  {path}")
    return 0


def _print_plan(model: edgeinfer.Model) -> None:
    plan = model.plan
    print("\nplan: known before a device exists, the same on every CPU")
    print(f"  arena    {format_bytes(plan.arena_bytes)}")
    print(f"  state    {format_bytes(plan.state_bytes)}")
    print(f"  session  {format_bytes(plan.session_bytes)}, all the RAM that a session takes")
    print(f"  weights  {format_bytes(plan.weights_bytes)}, read in place from the file")
    print(f"  peak     {plan.peak_step}")


def _print_accuracy(model: edgeinfer.Model) -> None:
    with np.load(HERE / "heldout.npz") as heldout:
        images, labels = heldout["images"], heldout["labels"]
    pixels = images.astype(np.float32).reshape(-1, *model.inputs[0].shape) / 16
    right = sum(
        int(model.run(x).argmax()) == label for x, label in zip(pixels, labels, strict=True)
    )
    print(f"\naccuracy {right / len(labels):.2%}: {right} of {len(labels)} held-out digits")


def _print_latency(model: edgeinfer.Model) -> None:
    x = np.zeros(model.inputs[0].shape, model.inputs[0].dtype)
    y = np.empty(model.outputs[0].shape, model.outputs[0].dtype)
    times = np.empty(RUNS)
    for i in range(-RUNS // 10, RUNS):  # the negative ones warm up
        start = time.perf_counter_ns()
        model.run_into(y, x)
        times[i] = (time.perf_counter_ns() - start) / 1e3
    p50, p99 = np.percentile(times, (50, 99))
    print(f"latency  p50 {p50:,.1f} µs, p99 {p99:,.1f} µs over {RUNS} runs, tier {model.tier}")


if __name__ == "__main__":
    sys.exit(main())
