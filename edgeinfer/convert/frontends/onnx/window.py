"""The windows of convolutions and pools: pads, auto_pad and ceil_mode in rows and columns.

Everything is in pairs (h, w); a one-dimensional operator has a height of 1.
"""

from __future__ import annotations

from dataclasses import dataclass

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


def window(op: Operation, kernel: Pair) -> Window:
    """The window of Conv, AveragePool and MaxPool."""
    image = image_size(op.shape(0))
    strides, dilations = spatial(op, "strides", 1), spatial(op, "dilations", 1)
    begins, ends = explicit_pads(op)
    auto, is_ceil = op.text("auto_pad", "NOTSET"), bool(op.integer("ceil_mode", 0))
    sizes, befores, afters, overhangs = [], [], [], False
    for i in (0, 1):
        span, stride = extent(kernel[i], dilations[i]), strides[i]
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            size = -(-image[i] // stride)
            total = max((size - 1) * stride + span - image[i], 0)
            before = total // 2 if auto == "SAME_UPPER" else total - total // 2
            after = total - before
        else:
            before, after = (begins[i], ends[i]) if auto == "NOTSET" else (0, 0)
            room = image[i] + before + after - span
            if room < 0:
                raise Unsupported(
                    f"its window of {span} does not fit in {image[i]} with pads "
                    f"{before} and {after}"
                )
            size = room // stride + 1
            if is_ceil and room % stride and size * stride < image[i] + before:
                # One more, unless it would begin behind the image.
                size += 1
                overhangs = True
                after = (size - 1) * stride + span - image[i] - before
        sizes.append(size)
        befores.append(before)
        afters.append(after)
    return Window(
        strides,
        dilations,
        (befores[0], befores[1], afters[0], afters[1]),
        (sizes[0], sizes[1]),
        overhangs,
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
