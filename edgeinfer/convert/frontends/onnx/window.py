"""The windows of convolutions and pools: pads, auto_pad and ceil_mode in rows and columns.

Everything is in pairs (h, w); a one-dimensional operator has a height of 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .operation import Operation
from .values import Unsupported

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """A window over an image; pads are (top, left, bottom, right)."""

    strides: Pair
    dilations: Pair
    pads: tuple[int, int, int, int]
    size: Pair  # of the output
    overhangs: bool  # ceil_mode lets the last window leave even the padding


def extent(kernel: int, dilation: int) -> int:
    """Rows that a dilated kernel spans."""
    return (kernel - 1) * dilation + 1


def image_size(shape: tuple[int, ...]) -> Pair:
    """Height and width of an NCHW or NCL shape."""
    return as_pair(shape[2:], 1)


def as_pair(values: tuple[int, ...], filler: int) -> Pair:
    """One or two values as (h, w)."""
    if len(values) == 1:
        return filler, values[0]
    if len(values) != 2:
        raise Unsupported(f"it has {len(values)} spatial dimensions; one and two are available")
    return values[0], values[1]


def spatial(op: Operation, name: str, default: int, filler: int = 1, lowest: int = 1) -> Pair:
    """An attribute with one value per spatial dimension."""
    rank = len(op.shape(0)) - 2
    values = op.integer_list(name) or (default,) * rank
    if len(values) != rank:
        raise Unsupported(f"its {name} is {list(values)} for {rank} spatial dimensions")
    if min(values, default=lowest) < lowest:
        raise Unsupported(f"its {name} is {list(values)}")
    return as_pair(values, filler)


@dataclass(frozen=True)
class AxisWindow:
    """A window along one axis. `declared_after` is the pad of the file, without an overhang."""

    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    declared_after: int
    size: int  # of the output

    def without_pads(self, padded: int) -> AxisWindow:
        """The window over an axis that has its pads, `padded` of them behind, as pixels."""
        return replace(self, before=0, after=self.after - padded, declared_after=0)

    def check_reach(self, pixels: int) -> None:
        """Refuse a window without a pixel inside the image."""
        begins = np.arange(self.size) * self.stride - self.before
        taps = begins[:, None] + np.arange(self.kernel) * self.dilation
        if not np.all(np.any((taps >= 0) & (taps < pixels), axis=1)):
            raise Unsupported(
                f"with pads {self.before} and {self.after} it has windows of {self.kernel} "
                f"outside of {pixels} pixels"
            )


def axis_windows(op: Operation) -> list[AxisWindow]:
    """The windows of a pool over any number of axes."""
    kernel = _values(op, "kernel_shape", 0)
    strides, dilations = _values(op, "strides", 1), _values(op, "dilations", 1)
    rank = len(kernel)
    pads = op.integer_list("pads") or (0,) * (2 * rank)
    if len(pads) != 2 * rank or min(pads) < 0:
        raise Unsupported(f"its pads are {list(pads)} for {rank} spatial dimensions")
    return [
        _axis_window(op, n, kernel[i], strides[i], dilations[i], (pads[i], pads[i + rank]))
        for i, n in enumerate(op.shape(0)[2:])
    ]


def _values(op: Operation, name: str, default: int) -> tuple[int, ...]:
    rank = len(op.shape(0)) - 2
    values = op.integer_list(name) or (default,) * rank
    if len(values) != rank or min(values, default=1) < 1:
        raise Unsupported(f"its {name} is {list(values)} for {rank} spatial dimensions")
    return values


def _axis_window(
    op: Operation, pixels: int, kernel: int, stride: int, dilation: int, pads: Pair
) -> AxisWindow:
    """How many places a window has along an axis, and the pads that this takes."""
    auto, is_ceil = op.text("auto_pad", "NOTSET"), bool(op.integer("ceil_mode", 0))
    span = extent(kernel, dilation)
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        size = -(-pixels // stride)
        total = max((size - 1) * stride + span - pixels, 0)
        before = total // 2 if auto == "SAME_UPPER" else total - total // 2
        return AxisWindow(kernel, stride, dilation, before, total - before, total - before, size)
    before, after = pads if auto == "NOTSET" else (0, 0)
    declared = after
    room = pixels + before + after - span
    if room < 0:
        raise Unsupported(
            f"its window of {span} does not fit in {pixels} with pads {before} and {after}"
        )
    size = room // stride + 1
    if is_ceil and room % stride and size * stride < pixels + before:
        # One more, unless it would begin behind the image.
        size += 1
        after = (size - 1) * stride + span - pixels - before
    return AxisWindow(kernel, stride, dilation, before, after, declared, size)


def window(op: Operation, kernel: Pair) -> Window:
    """The window of Conv, AveragePool and MaxPool."""
    image = image_size(op.shape(0))
    strides, dilations = spatial(op, "strides", 1), spatial(op, "dilations", 1)
    begins, ends = explicit_pads(op)
    axes = [
        _axis_window(op, image[i], kernel[i], strides[i], dilations[i], (begins[i], ends[i]))
        for i in (0, 1)
    ]
    return Window(
        strides,
        dilations,
        (axes[0].before, axes[1].before, axes[0].after, axes[1].after),
        (axes[0].size, axes[1].size),
        any(axis.after != axis.declared_after for axis in axes),
    )


def explicit_pads(op: Operation) -> tuple[Pair, Pair]:
    """The attribute `pads` as (top, left) and (bottom, right)."""
    rank = len(op.shape(0)) - 2
    pads = op.integer_list("pads") or (0,) * (2 * rank)
    if len(pads) != 2 * rank:
        raise Unsupported(f"its pads are {list(pads)} for {rank} spatial dimensions")
    if min(pads, default=0) < 0:
        raise Unsupported(
            f"its pads are {list(pads)}", "cut the input with a Slice instead of negative pads"
        )
    return as_pair(pads[:rank], 0), as_pair(pads[rank:], 0)


def kernel_shape(op: Operation, weights: tuple[int, ...] | None = None) -> Pair:
    """The attribute `kernel_shape`, which weights [.., .., KH, KW] say too."""
    declared = op.integer_list("kernel_shape")
    if weights is not None:
        if declared is not None and declared != weights[2:]:
            raise Unsupported(f"its kernel_shape is {list(declared)}, its weights {list(weights)}")
        return as_pair(weights[2:], 1)
    if declared is None:
        raise Unsupported("it has no kernel_shape")
    if min(declared, default=0) < 1:
        raise Unsupported(f"its kernel_shape is {list(declared)}")
    if len(declared) != len(op.shape(0)) - 2:
        raise Unsupported(f"its kernel_shape is {list(declared)} for input {list(op.shape(0))}")
    return as_pair(declared, 1)
