"""The TFLite frontend moves elements as LiteRT does, to the last one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.builders import tflite_shape_ops as shape_models
from tests.builders.spec import Quant, Spec
from tests.builders.tflite_model import ModelBuilder
from tests.convert.litert_agreement import (
    FEW,
    blocks,
    check,
    fill,
    moved_dtypes,
    pairs,
    plain,
    read,
    shapes,
    small,
)
from tests.oracle.graph import run_graph


@FEW
@given(shape=shapes, count=st.integers(1, 4), dtype=moved_dtypes, data=st.data())
def test_concatenation_and_pack(shape, count, dtype, data) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    parts = []
    for _ in range(count):
        own = list(shape)
        own[axis] = data.draw(small)
        parts.append(plain(own, dtype))
    joined = list(shape)
    joined[axis] = sum(part.shape[axis] for part in parts)
    values = [fill(part, i) for i, part in enumerate(parts)]
    check(shape_models.concatenation(parts, plain(joined, dtype), axis), *values)

    where = data.draw(st.integers(-len(shape) - 1, len(shape)))
    same = [plain(shape, dtype)] * count
    stacked = np.stack([fill(part, i) for i, part in enumerate(same)], where)
    model = shape_models.pack(same, plain(stacked.shape, dtype), where)
    check(model, *(fill(part, i) for i, part in enumerate(same)))


@FEW
@given(shape=shapes, dtype=moved_dtypes, data=st.data())
def test_split_and_unpack(shape, dtype, data) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    others = [n for i, n in enumerate(shape) if i != axis % len(shape)]
    x = plain(shape, dtype)
    check(shape_models.unpack(x, [plain(others, dtype)] * shape[axis], axis), fill(x))

    count = data.draw(small)
    whole = list(shape)
    whole[axis] *= count
    x = plain(whole, dtype)
    check(shape_models.split(x, [plain(shape, dtype)] * count, axis), fill(x))

    sizes = data.draw(st.lists(small, min_size=1, max_size=3))
    whole[axis] = sum(sizes)
    x = plain(whole, dtype)
    parts = []
    for size in sizes:
        own = list(whole)
        own[axis] = size
        parts.append(plain(own, dtype))
    check(shape_models.split_v(x, parts, axis), fill(x))


@FEW
@given(shape=shapes, dtype=moved_dtypes, data=st.data())
def test_slice(shape, dtype, data) -> None:
    begin = [data.draw(st.integers(0, n - 1)) for n in shape]
    size = [data.draw(st.integers(1, n - b)) for n, b in zip(shape, begin, strict=True)]
    open_ended = [
        -1 if b + s == n and data.draw(st.booleans()) else s
        for n, b, s in zip(shape, begin, size, strict=True)
    ]
    x = plain(shape, dtype)
    check(shape_models.slice_(x, plain(size, dtype), begin, open_ended), fill(x))


@st.composite
def strided_slices(draw: st.DrawFn):
    """A shape, and begin, end, strides, masks in TensorFlow's terms."""
    shape = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    named = draw(st.integers(1, len(shape)))
    new_axes = draw(st.integers(0, 4 - len(shape))) if len(shape) < 4 else 0
    kinds = draw(st.permutations(["axis"] * named + ["new"] * new_axes))
    masks = dict.fromkeys(("beginMask", "endMask", "newAxisMask", "shrinkAxisMask"), 0)
    masks["ellipsisMask"] = 0
    if draw(st.booleans()):
        at = draw(st.integers(0, len(kinds)))
        kinds = [*kinds[:at], "ellipsis", *kinds[at:]]
        masks["ellipsisMask"] = 1 << at
    begin, end, strides = [], [], []
    for i, kind in enumerate(kinds):
        step = draw(st.sampled_from([1, 1, 2, 3, -1, -2]))
        first, last = draw(st.integers(-7, 7)), draw(st.integers(-7, 7))
        if kind == "axis":
            for mask in ("beginMask", "endMask"):
                masks[mask] |= draw(st.booleans()) << i
            if draw(st.integers(0, 3)) == 0:
                masks["shrinkAxisMask"] |= 1 << i
                step = 1
        if kind == "new":
            masks["newAxisMask"] |= 1 << i
        begin.append(first)
        end.append(last)
        strides.append(step)
    return shape, begin, end, strides, masks


def numpy_index(begin, end, strides, masks) -> tuple[Any, ...]:
    """The same slice in NumPy's terms."""
    index: list[Any] = []
    for i in range(len(begin)):
        if masks["ellipsisMask"] >> i & 1:
            index.append(Ellipsis)
        elif masks["newAxisMask"] >> i & 1:
            index.append(None)
        elif masks["shrinkAxisMask"] >> i & 1:
            index.append(0 if masks["beginMask"] >> i & 1 else begin[i])
        else:
            first = None if masks["beginMask"] >> i & 1 else begin[i]
            last = None if masks["endMask"] >> i & 1 else end[i]
            index.append(slice(first, last, strides[i]))
    return tuple(index)


def strided_slice_model(x: Spec, y: Spec, begin, end, strides, masks) -> bytes:
    b = ModelBuilder()
    xi = b.tensor(x)
    constants = [b.constant(np.asarray(v, np.int32)) for v in (begin, end, strides)]
    yi = b.tensor(y)
    b.operator("STRIDED_SLICE", [xi, *constants], [yi], schema.StridedSliceOptionsT(**masks))
    return b.build([xi], [yi])


@settings(max_examples=300)
@given(case=strided_slices())
def test_strided_slice_is_numpy_indexing(case) -> None:
    shape, begin, end, strides, masks = case
    x = plain(shape)
    values = fill(x)
    try:
        expected = values[numpy_index(begin, end, strides, masks)]
    except IndexError:
        assume(False)
    assume(expected.size > 0)
    model = strided_slice_model(x, plain(expected.shape), begin, end, strides, masks)
    np.testing.assert_array_equal(run_graph(read(model), values)[0], expected)


@settings(max_examples=60)
@given(case=strided_slices())
def test_strided_slice_is_litert_s(case) -> None:
    shape, begin, end, strides, masks = case
    # LiteRT's `...` stands for one axis at least, and for others when new axes come too.
    named = len(begin) - 1 - bin(masks["newAxisMask"]).count("1")
    assume(not masks["ellipsisMask"] or (named < len(shape) and not masks["newAxisMask"]))
    x = plain(shape)
    values = fill(x)
    try:
        expected = values[numpy_index(begin, end, strides, masks)]
    except IndexError:
        assume(False)
    assume(expected.size > 0)
    check(strided_slice_model(x, plain(expected.shape), begin, end, strides, masks), values)


@FEW
@given(shape=shapes, dtype=moved_dtypes, data=st.data())
def test_pads(shape, dtype, data) -> None:
    x = plain(shape, dtype)
    amounts = [[data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2))] for _ in shape]
    out = [n + a + b for n, (a, b) in zip(shape, amounts, strict=True)]
    check(shape_models.pad(x, plain(out, dtype), amounts), fill(x))
    check(shape_models.pad_v2(x, plain(out, dtype), amounts, 77), fill(x))
    for mode, least in (("REFLECT", 1), ("SYMMETRIC", 0)):
        inside = [
            [min(a, n - least), min(b, n - least)] for n, (a, b) in zip(shape, amounts, strict=True)
        ]
        out = [n + a + b for n, (a, b) in zip(shape, inside, strict=True)]
        check(shape_models.mirror_pad(x, plain(out, dtype), inside, mode), fill(x))


@FEW
@given(shape=shapes, dtype=moved_dtypes, data=st.data())
def test_transpose_and_reshapes(shape, dtype, data) -> None:
    x = plain(shape, dtype)
    perm = data.draw(st.permutations(range(len(shape))))
    check(shape_models.transpose(x, plain([shape[i] for i in perm], dtype), perm), fill(x))
    check(shape_models.reshape(x, plain([int(np.prod(shape)), 1], dtype)), fill(x))
    axis = data.draw(st.integers(-len(shape) - 1, len(shape)))
    wide = np.expand_dims(fill(x), axis).shape
    check(shape_models.expand_dims(x, plain(wide, dtype), axis), fill(x))
    axes = [i for i, n in enumerate(shape) if n == 1]
    some = data.draw(st.lists(st.sampled_from(axes), unique=True)) if axes else []
    narrow = np.squeeze(fill(x), tuple(some) if some else None).shape
    check(shape_models.squeeze(x, plain(narrow, dtype), some), fill(x))


@FEW
@given(shape=shapes, dtype=moved_dtypes, data=st.data())
def test_gather(shape, dtype, data) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    wanted = data.draw(st.lists(small, max_size=2))
    indices = np.asarray(
        data.draw(
            st.lists(
                st.integers(0, shape[axis] - 1),
                min_size=int(np.prod(wanted)),
                max_size=int(np.prod(wanted)),
            )
        ),
        np.int32,
    ).reshape(wanted)
    x = plain(shape, dtype)
    out = np.take(fill(x), indices, axis).shape
    check(shape_models.gather(x, plain(out, dtype), indices, axis), fill(x))

    b = ModelBuilder()
    xi, ii, yi = b.tensor(x), b.tensor(Spec(indices.shape, np.int32)), b.tensor(plain(out, dtype))
    b.operator("GATHER", [xi, ii], [yi], schema.GatherOptionsT(axis=axis))
    check(b.build([xi, ii], [yi]), fill(x), indices)


def test_gather_with_a_batch_of_one() -> None:
    x, indices = plain((1, 5, 3)), np.array([[4, 0]], np.int32)
    check(shape_models.gather(x, plain((1, 2, 3)), indices, axis=1, batch_dims=1), fill(x))


def test_embedding_lookup() -> None:
    b = ModelBuilder()
    table = fill(plain((6, 3)), 1)
    ii = b.tensor(Spec((4,), np.int32))
    ti, yi = b.constant(table, Quant(0.05, 3)), b.tensor(plain((4, 3)))
    b.operator("EMBEDDING_LOOKUP", [ii, ti], [yi])
    check(b.build([ii], [yi]), np.array([5, 0, 2, 2], np.int32))


@FEW
@given(n=st.integers(1, 2), size=pairs, channels=small, block=st.integers(2, 3), dtype=moved_dtypes)
def test_space_and_depth(n, size, channels, block, dtype) -> None:
    wide = plain((n, size[0] * block, size[1] * block, channels), dtype)
    deep = plain((n, *size, channels * block * block), dtype)
    check(shape_models.space_depth("SPACE_TO_DEPTH", wide, deep, block), fill(wide))
    check(shape_models.space_depth("DEPTH_TO_SPACE", deep, wide, block), fill(deep))


def simple(code: str, x: Spec, constants: Sequence[Any], y: Spec) -> bytes:
    """One operator on x and int32 constants."""
    b = ModelBuilder()
    xi = b.tensor(x)
    ci = [b.constant(np.asarray(c, np.int32)) for c in constants]
    yi = b.tensor(y)
    b.operator(code, [xi, *ci], [yi])
    return b.build([xi], [yi])


@FEW
@given(shape=shapes, dtype=moved_dtypes, data=st.data())
def test_repetitions_and_reversal(shape, dtype, data) -> None:
    x = plain(shape, dtype)
    times = [data.draw(small) for _ in shape]
    tiled = [n * m for n, m in zip(shape, times, strict=True)]
    check(simple("TILE", x, [times], plain(tiled, dtype)), fill(x))

    thin = [1 if data.draw(st.booleans()) else n for n in shape]
    x = plain(thin[data.draw(st.integers(0, len(shape) - 1)) :], dtype)
    full = [*([2] * (len(shape) - len(x.shape))), *shape[len(shape) - len(x.shape) :]]
    graph = read(simple("BROADCAST_TO", x, [full], plain(full, dtype)))
    np.testing.assert_array_equal(run_graph(graph, fill(x))[0], np.broadcast_to(fill(x), full))

    x = plain(shape, dtype)
    axis = data.draw(st.integers(0, len(shape) - 1))
    check(simple("REVERSE_V2", x, [[axis]], x), fill(x))


@FEW
@given(case=blocks(), n=st.integers(1, 2), channels=small, data=st.data())
def test_batches_of_blocks(case, n, channels, data) -> None:
    image, block, amounts = case
    x = plain((n, *image, channels))
    counts = [(m + sum(p)) // b for m, b, p in zip(image, block, amounts, strict=True)]
    y = plain((n * block[0] * block[1], *counts, channels))
    check(simple("SPACE_TO_BATCH_ND", x, [block, amounts], y), fill(x))

    space = [c * b for c, b in zip(counts, block, strict=True)]
    crops = [(data.draw(st.integers(0, 1)), data.draw(st.integers(0, 1))) for _ in space]
    assume(all(m > sum(c) for m, c in zip(space, crops, strict=True)))
    cut = [m - sum(c) for m, c in zip(space, crops, strict=True)]
    check(simple("BATCH_TO_SPACE_ND", y, [block, crops], plain((n, *cut, channels))), fill(y))


def test_batches_of_blocks_along_one_axis() -> None:
    x, y = plain((2, 5, 3)), plain((6, 3, 3))
    check(simple("SPACE_TO_BATCH_ND", x, [[3], [[1, 3]]], y), fill(x))
    check(simple("BATCH_TO_SPACE_ND", y, [[3], [[1, 3]]], x), fill(y))
