"""Pools of float32 that take several operators: LpPool, and pools over three dimensions.

A box is taken apart into its plane and its line: the largest element of a box is the largest of its
planes' largest, and the mean over pixels inside the image is the mean of the planes' means, since
each plane of a window has as many of them. LpPool is a mean of powers, times the window's size.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from edgeinfer.convert.graph import Tensor

from .arithmetic import Arithmetic
from .operation import Handler, Operation
from .values import Unsupported
from .window import AxisWindow, axis_windows


def pool_3d(op: Operation, ir_op: str) -> None:
    """AveragePool or MaxPool of [N, C, D, H, W]."""
    steps = Arithmetic(op)
    windows = axis_windows(op)
    x = steps.floats(0)
    if ir_op == "avg_pool2d" and op.integer("count_include_pad", 0):
        x, windows = _with_padding(steps, x, windows)
    steps.give(_pooled(steps, x, windows, ir_op))


def lp_pool(op: Operation) -> None:
    """The p-th root of the sum of p-th powers of absolute values."""
    steps = Arithmetic(op)
    p = op.integer("p", 2)
    if p < 1:
        raise Unsupported(f"p is {p}")
    windows = axis_windows(op)
    x = steps.unary("abs", steps.floats(0))
    powers = {1: lambda: x, 2: lambda: steps.unary("square", x)}
    power = powers.get(p, lambda: steps.binary("pow", x, float(p)))()
    whole, inside = _with_padding(steps, power, windows, all_of_it=True)
    mean = _pooled(steps, whole, inside, "avg_pool2d")
    total = steps.binary("mul", mean, float(prod(window.kernel for window in windows)))
    if p == 1:
        steps.give(total)
    elif p == 2:
        steps.give(steps.unary("sqrt", total))
    else:
        steps.give(steps.binary("pow", total, 1 / p))


def _with_padding(
    steps: Arithmetic, x: Tensor, windows: Sequence[AxisWindow], *, all_of_it: bool = False
) -> tuple[Tensor, list[AxisWindow]]:
    """Zeros in the place of pads, so that they count as pixels.

    What a last window reaches beyond the pads of the file counts only where `all_of_it` says so.
    """
    after = [w.after if all_of_it else w.declared_after for w in windows]
    padded = steps.pad(x, [0, 0, *(w.before for w in windows)], [0, 0, *after])
    left = [w.without_pads(n) for w, n in zip(windows, after, strict=True)]
    return padded, left


def _pooled(steps: Arithmetic, x: Tensor, windows: Sequence[AxisWindow], ir_op: str) -> Tensor:
    """x [N, C, ...] pooled over all but its first two axes."""
    if not 1 <= len(windows) <= 3:
        raise Unsupported(f"it has {len(windows)} spatial dimensions; three are the most")
    n, channels, *space = x.shape
    sizes = [window.size for window in windows]
    line = AxisWindow(1, 1, 1, 0, 0, 0, 1)
    depth, height, width = [*([line] * (3 - len(windows))), *windows]
    d, h, w = [*([1] * (3 - len(space))), *space]
    last = (0, *range(2, 2 + len(space)), 1)
    planes = steps.reshape(steps.transpose(x, last), (n * d, h, w, channels))
    pooled = _pool(steps, planes, height, width, ir_op)
    lines = steps.reshape(pooled, (n, d, height.size * width.size, channels))
    if (depth.kernel, depth.stride, depth.before, depth.after) != (1, 1, 0, 0):
        across = AxisWindow(1, 1, 1, 0, 0, 0, lines.shape[2])
        lines = _pool(steps, lines, depth, across, ir_op)
    shaped = steps.reshape(lines, (n, *sizes, channels))
    rank = len(x.shape)
    return steps.transpose(shaped, (0, rank - 1, *range(1, rank - 1)))


def _pool(
    steps: Arithmetic, x: Tensor, rows: AxisWindow, columns: AxisWindow, ir_op: str
) -> Tensor:
    for window, pixels in ((rows, x.shape[1]), (columns, x.shape[2])):
        window.check_reach(pixels)
    attrs: dict[str, Any] = {
        "kernel": (rows.kernel, columns.kernel),
        "strides": (rows.stride, columns.stride),
        "dilations": (rows.dilation, columns.dilation),
        "pads": (rows.before, columns.before, rows.after, columns.after),
    }
    if ir_op == "avg_pool2d":
        attrs["count_include_pad"] = False
    shape = (x.shape[0], rows.size, columns.size, x.shape[3])
    return steps.node(ir_op, [x], shape, **attrs)


HANDLERS: dict[str, Handler] = {"LpPool": lp_pool}
