#!/usr/bin/env python3
"""Hash what models give on this machine, tier by tier, to compare with another machine.

    python tools/output_hashes.py kws.edge vww.edge --inputs 20

The inputs come from SHAKE-256, so they are the same wherever this runs: a third are random bytes,
a third smooth (each element near its neighbour), a third one value throughout, the extremes first.
For float32 they are multiples of 1/16 but for every second random one, which is any bits at all:
infinities, NaN and subnormal numbers. One line of JSON for each model and tier; a run that the
runtime refuses, for an index out of range say, counts as `refused` and gives the error's name to
the hash. Needs edgeinfer and what a device has beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

import edgeinfer
from edgeinfer.cli.doctor import examine


def tiers() -> list[str]:
    """Those that this build has and this CPU supports."""
    return [name for name, supported in examine()["tiers"].items() if supported]


def tensor(seed: str, shape: Sequence[int], dtype: np.dtype, kind: int) -> np.ndarray:
    """One input: random (0), smooth (1) or constant (2)."""
    count = int(np.prod(shape))
    number = int(seed.rpartition(" ")[2]) // 3
    if dtype == np.float32 and kind == 0 and number % 2 == 1:
        bits = hashlib.shake_256(seed.encode()).digest(4 * count)
        return np.frombuffer(bits, np.float32).reshape(shape)
    drawn = np.frombuffer(hashlib.shake_256(seed.encode()).digest(count), np.uint8)
    if kind == 1:
        steps = drawn.astype(np.int64) % 7 - 3
        drawn = (np.cumsum(steps) % 256).astype(np.uint8)
    elif kind == 2:
        drawn = np.full(count, (0x80, 0x7F, 0)[number] if number < 3 else drawn[0], np.uint8)
    if dtype.kind == "f":
        values = (drawn.astype(np.float32) - 128) / 16  # exact
        return values.astype(dtype).reshape(shape)
    if dtype.itemsize == 1:
        return drawn.view(dtype).reshape(shape)
    return (drawn.astype(np.int64) * 257 - 32768).astype(dtype).reshape(shape)


def feeds(model: edgeinfer.Model, count: int) -> Iterator[dict[str, np.ndarray]]:
    """`count` inputs of a model."""
    for i in range(count):
        yield {
            info.name: tensor(f"{info.name} {i}", info.shape, np.dtype(info.dtype), i % 3)
            for info in model.inputs
        }


def output_hash(path: Path, tier: str, count: int) -> tuple[str, int]:
    """SHA-256 of all outputs over `count` inputs, and how many of the runs were refused."""
    digest = hashlib.sha256()
    refused = 0
    with edgeinfer.load(path, tier=tier) as model:
        for feed in feeds(model, count):
            try:
                outputs = model.run(feed)
            except edgeinfer.EdgeInferError as error:
                digest.update(type(error).__name__.encode())
                refused += 1
                continue
            arrays = outputs.values() if isinstance(outputs, dict) else [outputs]
            for array in arrays:
                digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest(), refused


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL.edge")
    parser.add_argument("--inputs", type=int, default=9, help="how many, of each model")
    parser.add_argument("--tiers", nargs="+", metavar="TIER", help="default: all of this CPU")
    arguments = parser.parse_args()
    for path in arguments.models:
        for tier in arguments.tiers or tiers():
            digest, refused = output_hash(path, tier, arguments.inputs)
            line = {"model": path.stem, "tier": tier, "sha256": digest, "refused": refused}
            print(json.dumps(line), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
