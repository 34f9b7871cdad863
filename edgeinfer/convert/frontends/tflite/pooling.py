"""Pools, reductions, ARG_MAX and ARG_MIN, resizing."""

from __future__ import annotations

from typing import Any

from edgeinfer.convert.graph import Tensor

from .operands import computed_alike, floats, moved, need_rank, numbers_alike, resolve_axis
from .operation import Handler, Handling, Operation, Unsupported
from .window import filter_size, window


def average_pool_2d(op: Operation) -> None:
    """The mean of the pixels inside the image."""
    (x,) = computed_alike(op, 1)
    shape, attrs = _averages(op, x)
    op.emit("avg_pool2d", [x], shape, activation=op.activation(), **attrs)


def l2_pool_2d(op: Operation) -> None:
    """The root of the mean square of the pixels inside the image."""
    (x,) = floats(op, 1)
    shape, attrs = _averages(op, x)
    squares = op.step("square", [x], x.shape, "squares")
    means = op.step("avg_pool2d", [squares], shape, "means", **attrs)
    op.emit("sqrt", [means], shape, activation=op.activation())


def _averages(op: Operation, x: Tensor) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Shape and attributes of an average pool."""
    n, height, width, channels = need_rank(x, 4).shape
    kernel = filter_size(op)
    win = window(op, (height, width), kernel, has_dilations=False)
    attrs = {
        "kernel": kernel,
        "strides": win.strides,
        "pads": win.pads,
        "count_include_pad": False,
    }
    return (n, *win.size, channels), attrs


def max_pool_2d(op: Operation) -> None:
    """The largest of the pixels inside the image."""
    (x,) = computed_alike(op, 1)
    n, height, width, channels = need_rank(x, 4).shape
    kernel = filter_size(op)
    win = window(op, (height, width), kernel, has_dilations=False)
    op.emit(
        "max_pool2d",
        [x],
        (n, *win.size, channels),
        activation=op.activation(),
        kernel=kernel,
        strides=win.strides,
        dilations=(1, 1),
        pads=win.pads,
    )


def _reduction(ir_op: str) -> Handler:
    def handler(op: Operation) -> None:
        (x,) = numbers_alike(op, 1)
        rank = len(x.shape)
        axes = tuple(sorted({resolve_axis(axis, rank) for axis in op.integers(1, "axes")}))
        if not axes:
            op.emit("requantize" if x.quantization else "reshape", [x], x.shape)
            return
        keep_dims = bool(op.options["KeepDims"])
        kept = [1 if i in axes else n for i, n in enumerate(x.shape) if keep_dims or i not in axes]
        op.emit(ir_op, [x], kept, axes=axes, keep_dims=keep_dims)

    return handler


def _truth(ir_op: str) -> Handler:
    """REDUCE_ANY and REDUCE_ALL: the largest and the smallest of truth values."""

    def handler(op: Operation) -> None:
        x = op.input(0)
        if {x.dtype, op.output().dtype} != {"bool"}:
            raise Unsupported(f"it reduces {x.dtype} to {op.output().dtype}; bool is needed")
        axes = tuple(sorted({resolve_axis(a, len(x.shape)) for a in op.integers(1, "axes")}))
        keep_dims = bool(op.options["KeepDims"])
        kept = [1 if i in axes else n for i, n in enumerate(x.shape) if keep_dims or i not in axes]
        numbers = op.step("cast", [x], x.shape, "numbers", dtype="int32")
        found = op.step(ir_op, [numbers], kept, "found", axes=axes, keep_dims=keep_dims)
        op.emit("cast", [found], kept)

    return handler


def _arg_extreme(ir_op: str) -> Handler:
    def handler(op: Operation) -> None:
        x, y = op.input(0), op.output()
        if x.dtype not in ("int8", "uint8", "int16", "int32", "float32"):
            raise Unsupported(f"its input is {x.dtype}")
        if y.dtype not in ("int32", "int64"):
            raise Unsupported(f"its result is {y.dtype}; indices are int32 or int64")
        axis = resolve_axis(op.integer(1, "axis"), len(x.shape))
        shape = x.shape[:axis] + x.shape[axis + 1 :]
        op.emit(ir_op, [x], shape, axis=axis, keep_dims=False, select_last=False)

    return handler


def _resize(mode: str) -> Handler:
    """RESIZE_BILINEAR computes; RESIZE_NEAREST_NEIGHBOR only moves, and takes any type."""

    def handler(op: Operation) -> None:
        if mode == "nearest":
            x = op.input(0)
            moved(op, x)
        else:
            (x,) = computed_alike(op, 1)
        n, _, _, channels = need_rank(x, 4).shape
        size = op.integers(1, "size")
        if len(size) != 2:
            raise Unsupported(f"its size is {list(size)}, not a height and a width")
        align, half_pixel = op.options["AlignCorners"], op.options["HalfPixelCenters"]
        if align and half_pixel:
            raise Unsupported("it has both AlignCorners and HalfPixelCenters")
        coordinates = "half_pixel" if half_pixel else "asymmetric"
        attrs: dict[str, Any] = {
            "mode": mode,
            "coordinates": "align_corners" if align else coordinates,
            "scales": None,
        }
        if mode == "nearest":
            # With half_pixel the source is floor((o + 0.5) * step): half a pixel above the
            # coordinate, which is rounding half up.
            attrs["rounding"] = "round_half_up" if align or half_pixel else "floor"
        op.emit("resize", [x], (n, *size, channels), **attrs)

    return handler


HANDLERS = {
    "ARG_MAX": Handling(_arg_extreme("argmax")),
    "ARG_MIN": Handling(_arg_extreme("argmin")),
    "AVERAGE_POOL_2D": Handling(average_pool_2d, "Pool2DOptions"),
    "L2_POOL_2D": Handling(l2_pool_2d, "Pool2DOptions"),
    "MAX_POOL_2D": Handling(max_pool_2d, "Pool2DOptions"),
    "MEAN": Handling(_reduction("mean"), "ReducerOptions"),
    "REDUCE_ALL": Handling(_truth("reduce_min"), "ReducerOptions"),
    "REDUCE_ANY": Handling(_truth("reduce_max"), "ReducerOptions"),
    "REDUCE_MAX": Handling(_reduction("reduce_max"), "ReducerOptions"),
    "REDUCE_MIN": Handling(_reduction("reduce_min"), "ReducerOptions"),
    "REDUCE_PROD": Handling(_reduction("reduce_prod"), "ReducerOptions"),
    "RESIZE_BILINEAR": Handling(_resize("linear"), "ResizeBilinearOptions"),
    "RESIZE_NEAREST_NEIGHBOR": Handling(_resize("nearest"), "ResizeNearestNeighborOptions"),
    "SUM": Handling(_reduction("sum"), "ReducerOptions"),
}
