"""The geometry of convolutions and pools: checked parameters, as kernels take them."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeinfer.convert.model_file import FileTensor
from edgeinfer.engine_numba.node import Array, Node

_LARGEST_STRIDE = 65535
_LARGEST_KERNEL = 4096

# Entries of the geometry that kernels take: one array, so that a call has few arguments.
(
    IN_H, IN_W, IN_C, OUT_H, OUT_W, OUT_C, KERNEL_H, KERNEL_W, STRIDE_H, STRIDE_W,
    DILATION_H, DILATION_W, PAD_TOP, PAD_LEFT, GROUPS,
) = range(15)  # fmt: skip


def images(node: Node, *dtypes: str) -> tuple[FileTensor, FileTensor]:
    """x and y: images of one dtype and batch."""
    x = node.activation(0, "x", *dtypes)
    node.dtype(node.y, "y", x.dtype)
    node.rank(x, "x", 4, 4)
    node.rank(node.y, "y", 4, 4)
    node.shape(node.y, "y", (x.shape[0], *node.y.shape[1:]))
    return x, node.y


def geometry(node: Node, x: FileTensor, groups: int = 1) -> Array:
    """The window of a convolution as an array of int64."""
    names = ("kernel", "stride", "dilation")
    most = (_LARGEST_KERNEL, _LARGEST_STRIDE, _LARGEST_STRIDE)
    sizes = [
        node.integer(f"{name}_{side}", 1, largest)
        for name, largest in zip(names, most, strict=True)
        for side in "hw"
    ]
    pads = [node.integer(name, 0, _LARGEST_STRIDE) for name in ("pad_top", "pad_left")]
    return np.array([*x.shape[1:], *node.y.shape[1:], *sizes, *pads, groups], np.int64)


def divided(node: Node, x: FileTensor) -> int:
    """The number of groups, which divides the channels of both sides."""
    groups = node.integer("groups", 1, x.shape[3])
    channels = (x.shape[3], node.y.shape[3])
    node.require(
        all(count % groups == 0 for count in channels),
        f"groups: is {groups}, must divide the channels of x and y, {channels}",
    )
    return groups


def check_reach(node: Node, g: Array, *, has_zero: bool) -> None:
    """Windows start not too far beyond the image; without a zero row they stay inside it."""
    for axis, name in enumerate(("height", "width")):
        last_start = int((g[OUT_H + axis] - 1) * g[STRIDE_H + axis] - g[PAD_TOP + axis])
        last_tap = last_start + int((g[KERNEL_H + axis] - 1) * g[DILATION_H + axis])
        node.require(
            last_start <= g[axis] - 1 + _LARGEST_STRIDE,
            f"y: {name}: the last window starts at {last_start} of an input of {g[axis]}",
        )
        node.require(
            has_zero or (g[PAD_TOP + axis] == 0 and last_tap <= g[axis] - 1),
            f"zero: is absent, but windows leave an input of {name} {g[axis]}",
        )


def check_transposed_reach(node: Node, g: Array) -> None:
    """The output ends not too far beyond the last tap."""
    for axis, name in enumerate(("height", "width")):
        full = (g[axis] - 1) * g[STRIDE_H + axis]
        full += (g[KERNEL_H + axis] - 1) * g[DILATION_H + axis] + 1
        node.require(
            bool(g[OUT_H + axis] + g[PAD_TOP + axis] <= full + _LARGEST_STRIDE),
            f"y: {name}: an input of {g[axis]} reaches {full}, the output ends far beyond it",
        )


def pool_geometry(node: Node, *dtypes: str) -> tuple[FileTensor, Array]:
    """x and the window of a pool, every one of which has a tap inside the image."""
    x = node.present(0, "x", *dtypes)
    node.dtype(node.y, "y", x.dtype)
    node.rank(x, "x", 4, 4)
    node.rank(node.y, "y", 4, 4)
    node.shape(node.y, "y", (x.shape[0], *node.y.shape[1:3], x.shape[3]))
    largest = 2**31 - 1
    sizes = [node.integer(f"kernel_{side}", 1, largest) for side in "hw"]
    sizes += [node.integer(f"stride_{side}", 1, _LARGEST_STRIDE) for side in "hw"]
    for side in "hw":
        name = f"dilation_{side}"
        sizes.append(node.integer(name, 1, _LARGEST_STRIDE) if name in node.params else 1)
    pads = [node.integer(name, 0, _LARGEST_STRIDE) for name in ("pad_top", "pad_left")]
    g = np.array([*x.shape[1:], *node.y.shape[1:], *sizes, *pads, 1], np.int64)
    for axis, name in enumerate(("height", "width")):
        kernel, stride, dilation, pad, size = (
            int(g[first + axis]) for first in (KERNEL_H, STRIDE_H, DILATION_H, PAD_TOP, IN_H)
        )
        node.require(
            (int(g[OUT_H + axis]) - 1) * stride - pad < size,
            f"y: {name}: the last window starts beyond an input of {size}",
        )
        node.require(
            (kernel - 1) * dilation >= pad, f"y: {name}: the first window ends before the input"
        )
        node.require(
            pad == 0 or dilation <= size,
            f"dilation along {name}: is {dilation}, must not exceed a padded input, {size}",
        )
    return x, g


def zero_value(node: Node, index: int, x: FileTensor) -> Any:
    """What a tap outside the image reads: the one value of the zero row; 0 where it is absent."""
    if index >= len(node.inputs) or node.inputs[index] is None:
        return np.dtype(x.dtype).type(0)
    row = node.constant(index, "zero", x.dtype, x.shape[2] * x.shape[3])
    bits = row.view(f"u{row.itemsize}")
    node.require(bool((bits == bits[0]).all()), "zero: not all entries are alike")
    node.require(row.dtype != np.float32 or bits[0] == 0, "zero: must be +0")
    return row[0]
