"""SLICE, STRIDED_SLICE and REVERSE_V2: a box of x, as begin and stride along every axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgeinfer.convert.graph import Tensor

from .operands import moved, resolve_axis
from .operation import Handling, Operation, Unsupported


def _emit(
    op: Operation,
    x: Tensor,
    begin: list[int],
    strides: list[int],
    sizes: list[int],
    shape: list[int] | None = None,
) -> None:
    """The box; under another `shape` where axes go or come."""
    moved(op, x)
    attrs: dict[str, Any] = {"begin": tuple(begin), "strides": tuple(strides)}
    if shape is None or shape == sizes:
        op.emit("slice", [x], sizes, **attrs)
        return
    if begin == [0] * len(begin) and sizes == list(x.shape):
        op.emit("reshape", [x], shape)
        return
    box = op.step("slice", [x], sizes, "box", **attrs)
    op.emit("reshape", [box], shape)


def slice_(op: Operation) -> None:
    """`size` elements from `begin`; -1 is as many as there are."""
    x = op.input(0)
    begin, sizes = list(op.integers(1, "begin")), list(op.integers(2, "size"))
    if not len(x.shape) == len(begin) == len(sizes):
        raise Unsupported(f"begin {begin} and size {sizes} for shape {list(x.shape)}")
    for i, n in enumerate(x.shape):
        if sizes[i] == -1:
            sizes[i] = n - begin[i]
        if begin[i] < 0 or sizes[i] < 1 or begin[i] + sizes[i] > n:
            raise Unsupported(f"begin {begin} and size {sizes} for shape {list(x.shape)}")
    _emit(op, x, begin, [1] * len(begin), sizes)


@dataclass(frozen=True)
class _Masks:
    """TensorFlow's bit masks; bit i speaks of element i of begin, end and strides."""

    begin: int
    end: int
    ellipsis: int
    new_axis: int
    shrink: int

    def is_ellipsis(self, i: int) -> bool:
        return bool(self.ellipsis >> i & 1)

    def is_new_axis(self, i: int) -> bool:
        return bool(self.new_axis >> i & 1) and not self.is_ellipsis(i)

    def takes_axis(self, i: int) -> bool:
        return not self.is_ellipsis(i) and not self.is_new_axis(i)


def strided_slice(op: Operation) -> None:
    """x[begin:end:strides], with masks for open ends, `...`, new axes and single elements."""
    x = op.input(0)
    begins, ends = op.integers(1, "begin"), op.integers(2, "end")
    steps = op.integers(3, "strides")
    if not len(begins) == len(ends) == len(steps):
        raise Unsupported(f"begin {begins}, end {ends} and strides {steps} differ in length")
    if op.options["Offset"]:
        ends = tuple(begin + end for begin, end in zip(begins, ends, strict=True))
    masks = _Masks(
        *(
            op.options[name]
            for name in ("BeginMask", "EndMask", "EllipsisMask", "NewAxisMask", "ShrinkAxisMask")
        )
    )
    if bin(masks.ellipsis & ((1 << len(begins)) - 1)).count("1") > 1:
        raise Unsupported("it has more than one ellipsis")
    rank = len(x.shape)
    begin: list[int] = []
    strides: list[int] = []
    sizes: list[int] = []
    shape: list[int] = []

    def take_whole_axis() -> None:
        n = x.shape[len(begin)]
        begin.append(0)
        strides.append(1)
        sizes.append(n)
        shape.append(n)

    axes_named = sum(masks.takes_axis(i) for i in range(len(begins)))
    if axes_named > rank:
        raise Unsupported(f"it slices {axes_named} axes of {rank}")
    for i in range(len(begins)):
        if masks.is_ellipsis(i):
            for _ in range(rank - axes_named):
                take_whole_axis()
        elif masks.is_new_axis(i):
            shape.append(1)
        else:
            first, count = _axis_range(x.shape[len(begin)], begins[i], ends[i], steps[i], masks, i)
            begin.append(first)
            strides.append(steps[i])
            sizes.append(count)
            if not masks.shrink >> i & 1:
                shape.append(count)
    while len(begin) < rank:
        take_whole_axis()
    _emit(op, x, begin, strides, sizes, shape)


def _axis_range(
    n: int, begin: int, end: int, step: int, masks: _Masks, bit: int
) -> tuple[int, int]:
    """First element and number of elements along an axis of n: ends are cut to the axis."""
    if step == 0:
        raise Unsupported("its stride is zero")
    lowest, highest = (0, n) if step > 0 else (-1, n - 1)

    def resolve(position: int) -> int:
        return min(max(position + n if position < 0 else position, lowest), highest)

    first = resolve(begin)
    if masks.begin >> bit & 1:
        first = 0 if step > 0 else n - 1
    if masks.shrink >> bit & 1:
        if step < 0 or first >= n:
            raise Unsupported(f"element {begin} of an axis of {n} is taken with stride {step}")
        return first, 1
    stop = resolve(end)
    if masks.end >> bit & 1:
        stop = n if step > 0 else -1
    count = -((first - stop) // step)  # rounded up
    if count < 1:
        raise Unsupported(f"{begin}:{end}:{step} of an axis of {n} is empty")
    return first, count


def reverse_v2(op: Operation) -> None:
    """x backwards along the given axes."""
    x = op.input(0)
    axes = {resolve_axis(axis, len(x.shape)) for axis in op.integers(1, "axes")}
    begin = [n - 1 if i in axes else 0 for i, n in enumerate(x.shape)]
    strides = [-1 if i in axes else 1 for i in range(len(x.shape))]
    _emit(op, x, begin, strides, list(x.shape))


HANDLERS = {
    "REVERSE_V2": Handling(reverse_v2),
    "SLICE": Handling(slice_, "SliceOptions"),
    "STRIDED_SLICE": Handling(strided_slice, "StridedSliceOptions"),
}
