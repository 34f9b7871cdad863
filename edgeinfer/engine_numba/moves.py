"""Operators that move elements and compute nothing: NumPy's views and copies.

Rows of the output are made as boxes of its outer axes (`node.boxes`), each by the same move.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgeinfer.convert.model_file import FileTensor
from edgeinfer.engine_numba.node import ANY, Array, Node, Run, boxes, row_elements
from edgeinfer.engine_numba.sums import Folding
from edgeinfer.errors import InputError

_INDEX = ("int32", "int64")


def _alike(node: Node, index: int = 0, what: str = "x") -> FileTensor:
    x = node.present(index, what, *ANY)
    node.dtype(node.y, "y", x.dtype)
    return x


def concat(node: Node) -> Run:
    """x... -> y"""
    shape = node.y.shape
    node.rank(node.y, "y", 1)
    axis = node.integer("axis", 0, len(shape) - 1)
    starts = [0]
    for i in range(len(node.inputs)):
        x = _alike(node, i)
        node.rank(x, "x", len(shape), len(shape))
        node.shape(x, "x", (*shape[:axis], x.shape[axis], *shape[axis + 1 :]))
        starts.append(starts[-1] + x.shape[axis])
    node.shape(node.y, "y", (*shape[:axis], starts[-1], *shape[axis + 1 :]))

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        for box in boxes(shape, begin, end):
            ranges = [*box, *(slice(0, dim) for dim in shape[len(box) :])]
            wanted = ranges[axis]
            for x, start in zip(inputs, starts[:-1], strict=True):
                first = max(wanted.start, start)
                last = min(wanted.stop, start + x.shape[axis])
                if first < last:
                    to, source = list(ranges), list(ranges)
                    to[axis] = slice(first, last)
                    source[axis] = slice(first - start, last - start)
                    output[tuple(to)] = x[tuple(source)]

    return run


def slice_(node: Node) -> Run:
    """x -> y"""
    x, y = _alike(node), node.y
    node.rank(y, "y", len(x.shape), len(x.shape))
    ranges = []
    for axis, (dim, count) in enumerate(zip(x.shape, y.shape, strict=True)):
        begin = node.integer(f"begin_{axis}", 0, dim - 1)
        stride = int(node.params[f"stride_{axis}"])
        node.require(stride != 0, f"stride_{axis}: is 0, must not be")
        last = begin + (count - 1) * stride
        node.require(0 <= last < dim, f"last position on axis {axis}: is {last} of {dim}")
        stop = last + (1 if stride > 0 else -1)
        ranges.append(slice(begin, None if stop < 0 else stop, stride))
    shape = y.shape

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        moved = inputs[0][tuple(ranges)]
        for box in boxes(shape, begin, end):
            output[box] = moved[box]

    return run


def _sources(mode: int, dim: int, before: int, count: int) -> Array:
    """Positions along an axis of x that those of y read; -1 for the constant."""
    inside = np.arange(count) - before
    below, above = {
        0: (np.full(count, -1), np.full(count, -1)),
        1: (-inside, 2 * (dim - 1) - inside),
        2: (-inside - 1, 2 * dim - 1 - inside),
        3: (np.zeros(count, int), np.full(count, dim - 1)),
    }[mode]
    return np.where(inside < 0, below, np.where(inside >= dim, above, inside)).astype(np.int64)


def pad(node: Node) -> Run:
    """x -> y"""
    x, y = _alike(node), node.y
    node.rank(x, "x", 1)
    node.rank(y, "y", len(x.shape), len(x.shape))
    mode = node.integer("mode", 0, 3)
    sources = []
    for axis, (dim, count) in enumerate(zip(x.shape, y.shape, strict=True)):
        most = {1: dim - 1, 2: dim}.get(mode, 2**31 - 1)
        before = node.integer(f"before_{axis}", 0, most)
        after = count - dim - before
        node.require(0 <= after <= most, f"elements after axis {axis}: {after}, at most {most}")
        sources.append(_sources(mode, dim, before, count))
    low_bytes = (int(node.params["value"]) & (2**64 - 1)).to_bytes(8, "little")
    value = np.frombuffer(low_bytes, np.dtype(x.dtype), 1)[0]
    shape = y.shape

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        for box in boxes(shape, begin, end):
            wanted = [source[part] for source, part in zip(sources, box, strict=False)]
            wanted += sources[len(box) :]
            if mode != 0:
                output[box] = inputs[0][np.ix_(*wanted)]
                continue
            target = output[box]
            target[...] = value
            there = [np.flatnonzero(positions >= 0) for positions in wanted]
            if all(positions.size for positions in there):
                inside = tuple(slice(int(p[0]), int(p[-1]) + 1) for p in there)
                source = tuple(
                    slice(int(w[p[0]]), int(w[p[-1]]) + 1)
                    for w, p in zip(wanted, there, strict=True)
                )
                target[inside] = inputs[0][source]

    return run


def transpose(node: Node) -> Run:
    """x -> y"""
    x, y = _alike(node), node.y
    rank = len(x.shape)
    perm = [node.integer(f"perm_{axis}", 0, rank - 1) for axis in range(rank)]
    node.require(len(set(perm)) == rank, f"perm: {perm} is no permutation")
    node.shape(y, "y", [x.shape[axis] for axis in perm])
    node.whole(x, "x")
    shape = y.shape

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        moved = inputs[0].transpose(perm)
        for box in boxes(shape, begin, end):
            output[box] = moved[box]

    return run


def copy(node: Node) -> Run:
    """x -> y"""
    x, y = _alike(node), node.y
    node.require(
        math.prod(x.shape) == math.prod(y.shape),
        f"y: has {math.prod(y.shape)} elements, x has {math.prod(x.shape)}",
    )
    node.unused()
    per_row = row_elements(y.shape)

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        part = slice(begin * per_row, end * per_row)
        output.reshape(-1)[part] = inputs[0].reshape(-1)[part]

    return run


def checked_indices(node: Node, indices: Array, size: int, error: Any) -> Array:
    """Indices from 0 on; those that are out of range are an error."""
    wrong = (indices < -size) | (indices >= size)
    if wrong.any():
        at = int(np.flatnonzero(wrong.reshape(-1))[0])
        raise error(
            f"{node.where}: indices: entry {at} is {int(indices.reshape(-1)[at])}, must be from "
            f"{-size} to {size - 1}"
        )
    return np.where(indices < 0, indices + size, indices)


def gather(node: Node) -> Run:
    """x, indices -> y"""
    x, y = _alike(node), node.y
    indices = node.present(1, "indices", *_INDEX)
    node.rank(x, "x", 1)
    axis = node.integer("axis", 0, len(x.shape) - 1)
    node.shape(y, "y", (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))
    node.whole(x, "x")
    node.whole(indices, "indices")
    size = x.shape[axis]
    if indices.data is not None:
        checked_indices(node, indices.data, size, lambda message: node.fail(message))
    per_row = row_elements(y.shape)
    outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    count = math.prod(indices.shape)

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        wanted = checked_indices(node, inputs[1], size, InputError).reshape(-1)
        first, last = begin * per_row, end * per_row
        # Pieces of `inner` elements that these rows touch; a row may begin within a piece.
        pieces = np.arange(first // inner, -(-last // inner))
        source = inputs[0].reshape(outer * size, inner)
        found = source[pieces // count * size + wanted[pieces % count]].reshape(-1)
        skip = first - first // inner * inner
        output.reshape(-1)[first:last] = found[skip : skip + last - first]

    return run


def gather_elements(node: Node) -> Run:
    """x, indices -> y"""
    x = _alike(node)
    node.rank(x, "x", 1)
    indices = node.present(1, "indices", *_INDEX)
    node.shape(indices, "indices", (*x.shape[:-1], *indices.shape[-1:]))
    node.rank(indices, "indices", len(x.shape), len(x.shape))
    node.shape(node.y, "y", indices.shape)
    node.unused()
    size, entries = x.shape[-1], indices.shape[-1]
    per_row = row_elements(node.y.shape) // entries

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        lines = slice(begin * per_row, end * per_row)
        band = inputs[1].reshape(-1, entries)[lines]
        wanted = checked_indices(node, band, size, InputError)
        source = inputs[0].reshape(-1, size)[lines]
        output.reshape(-1, entries)[lines] = np.take_along_axis(source, wanted, 1)

    return run


def extreme_keys(x: Array) -> Array:
    """int64 in the order of the elements; of float32 -0 is 0, and a NaN is above everything."""
    if x.dtype != np.float32:
        return x.astype(np.int64)
    bits = x.view(np.int32).astype(np.int64)
    keys = np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
    return np.where(np.isnan(x), 2**40, keys)


def argmax(node: Node) -> Run:
    """x -> y"""
    x = node.present(0, "x", "int8", "uint8", "int16", "int32", "float32")
    node.rank(x, "x", 1)
    node.dtype(node.y, "y", *_INDEX)
    fold = Folding(node, x, 1 << node.integer("axis", 0, len(x.shape) - 1))
    last, smallest = node.flag("select_last"), node.flag("minimum")

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        values = fold.of(inputs[0], begin, end)
        keys = extreme_keys(values)
        keys = -keys if smallest else keys
        if values.dtype == np.float32:
            is_nan = np.isnan(values)
            keys = np.where(is_nan, -(2**41), keys)  # it never replaces another element,
            keys[is_nan[:, 0], 0] = 2**41  # and is never replaced
        if last:
            found = fold.terms - 1 - keys[:, ::-1].argmax(axis=1)
        else:
            found = keys.argmax(axis=1)
        fold.put(output, found, begin, end)

    return run


def top_k(node: Node) -> Run:
    """x -> y"""
    x = node.present(0, "x", *ANY)
    node.rank(x, "x", 1)
    y = node.y
    node.dtype(y, "y", "int64")
    node.shape(y, "y", (*x.shape[:-1], *y.shape[-1:]))
    node.rank(y, "y", 1)
    size, wanted = x.shape[-1], y.shape[-1]
    node.require(wanted <= size, f"elements of y's last axis: {wanted}, x has {size}")
    smallest = node.flag("smallest")
    per_row = row_elements(y.shape) // wanted

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        lines = slice(begin * per_row, end * per_row)
        keys = extreme_keys(inputs[0].reshape(-1, size)[lines])
        order = (keys if smallest else ~keys).argsort(axis=1, kind="stable")
        output.reshape(-1, wanted)[lines] = order[:, :wanted]

    return run
