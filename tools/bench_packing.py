"""How near the planner packs hard instances to the bound, and how long it takes.

    python tools/bench_packing.py            # eleven instances of 154 to 454 buffers
    python tools/bench_packing.py --trimmed 0 --pieces 60 100 140

Instances are those of tests/builders/hard_packings.py: a packing at the load, 1 MiB, exists.
Printed are what greedy by size and the planner need, in units of the load, and the seconds of
processor time that packing took. The first instance also pays for what numba compiles, unless an
earlier run left it in numba's cache.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from edgeinfer.convert.plan.offsets import place_buffers
from edgeinfer.convert.program import Buffer
from tests.builders.hard_packings import (
    CAPACITY,
    greedy_by_size,
    hard_packing,
    hard_packings,
)


def measure(instances: Iterable[list[Buffer]], seconds: float | None) -> None:
    """Print a line for each instance, and how many reached the bound."""
    print("buffers  greedy by size  planner  CPU s")
    solved = total = 0
    for buffers in instances:
        greedy = greedy_by_size(buffers) / CAPACITY
        start = time.process_time()
        top = place_buffers(buffers, seconds=seconds) / CAPACITY
        spent = time.process_time() - start
        solved += top <= 1
        total += 1
        print(f"{len(buffers):7}  {greedy:14.3f}  {top:7.3f}  {spent:5.1f}", flush=True)
    print(f"{solved} of {total} at the bound")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pieces", type=int, nargs="+", help="sizes; by default the eleven")
    parser.add_argument("--trimmed", type=float, default=0.5, help="share of shortened lifetimes")
    parser.add_argument("--seed", type=int, default=0, help="of instances given by --pieces")
    parser.add_argument("--seconds", type=float, help="limit for each; by default counted work")
    args = parser.parse_args(argv)
    if args.pieces:
        sizes = [hard_packing(args.seed, n, trimmed=args.trimmed) for n in args.pieces]
        measure(sizes, args.seconds)
    else:
        measure(hard_packings(), args.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
