"""AveragePool, MaxPool, global pools and Resize."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeinfer.convert.graph import Tensor

from .float_pooling import pool_3d
from .operation import Handler, Operation
from .values import Unsupported
from .window import Window, explicit_pads, image_size, kernel_shape, window


def average_pool(op: Operation) -> None:
    """The mean of a window, over its pixels inside the image or over all of them."""
    if len(op.shape(0)) == 5:
        pool_3d(op, "avg_pool2d")
        return
    x = op.operand(0)
    kernel = kernel_shape(op)
    win = window(op, kernel)
    if win.dilations != (1, 1) and x.dtype != "float32":
        raise Unsupported(f"an average over a window with dilations {list(win.dilations)}")
    _check_windows(op, kernel, win)
    image, pads = op.image(x), win.pads
    include_pad = bool(op.integer("count_include_pad", 0)) and any(pads)
    if include_pad and win.overhangs:
        # The padding counts, what lies behind it does not: so the padding becomes pixels.
        # (onnxruntime's QLinearAveragePool counts both; it is read as AveragePool all the same.)
        image, pads = _with_padding(op, image, win)
        include_pad = False
    op.compute(
        "avg_pool2d",
        [image],
        (*x.shape[:2], *win.size[-(len(x.shape) - 2) :]),
        image=True,
        kernel=kernel,
        strides=win.strides,
        dilations=win.dilations,
        pads=pads,
        count_include_pad=include_pad,
    )


def _with_padding(
    op: Operation, image: Tensor, win: Window
) -> tuple[Tensor, tuple[int, int, int, int]]:
    """The image with the pads of the file around it, and the pads that are left of the window's."""
    (top, left), (bottom, right) = explicit_pads(op)
    if any((top, left, bottom, right)):
        n, height, width, channels = image.shape
        image = op.step(
            "pad",
            [image],
            (n, height + top + bottom, width + left + right, channels),
            "padded",
            before=(0, top, left, 0),
            after=(0, bottom, right, 0),
            mode="constant",
            value=0.0,
        )
    return image, (0, 0, win.pads[2] - bottom, win.pads[3] - right)


def max_pool(op: Operation) -> None:
    """The largest of the pixels inside the image."""
    if op.has_output(1):
        raise Unsupported(
            "its second output (indices) is read", "use a pool that gives values alone"
        )
    if len(op.shape(0)) == 5:
        pool_3d(op, "max_pool2d")
        return
    x = op.movable(0)
    kernel = kernel_shape(op)
    win = window(op, kernel)
    _check_windows(op, kernel, win)
    op.move(
        "max_pool2d",
        [op.image(x)],
        (*x.shape[:2], *win.size[-(len(x.shape) - 2) :]),
        image=True,
        kernel=kernel,
        strides=win.strides,
        dilations=win.dilations,
        pads=win.pads,
    )


def _check_windows(op: Operation, kernel: tuple[int, int], win: Window) -> None:
    """Every window must have a pixel inside the image."""
    for i, rows in enumerate(image_size(op.shape(0))):
        begins = np.arange(win.size[i]) * win.strides[i] - win.pads[i]
        taps = begins[:, None] + np.arange(kernel[i]) * win.dilations[i]
        if not np.all(np.any((taps >= 0) & (taps < rows), axis=1)):
            raise Unsupported(
                f"with pads {list(win.pads)} it has windows of {list(kernel)} outside of the image"
            )


def _global_pool(ir_op: str) -> Handler:
    def handler(op: Operation) -> None:
        x = op.operand(0) if ir_op == "mean" else op.movable(0)
        image = op.image(x)
        shape = (*x.shape[:2], *(1 for _ in x.shape[2:]))
        attrs: dict[str, Any] = {"axes": (1, 2), "keep_dims": True}
        if ir_op == "mean":
            op.compute(ir_op, [image], shape, image=True, **attrs)
        else:
            op.move(ir_op, [image], shape, image=True, **attrs)

    return handler


_COORDINATES = (
    "half_pixel",
    "asymmetric",
    "align_corners",
    "pytorch_half_pixel",
    "half_pixel_symmetric",
)


def resize(op: Operation) -> None:
    """Resize an image to other rows and columns: nearest pixel, or interpolation between some."""
    mode = op.text("mode", "nearest")
    x = op.movable(0)
    is_float = x.dtype == "float32"
    antialias = bool(op.integer("antialias", 0)) and mode != "nearest"
    if mode not in ("nearest", "linear", "cubic") or (mode == "cubic" and not is_float):
        raise Unsupported(
            f"it resizes with mode {mode!r}; nearest and linear are available, cubic of float32",
            "export the model with nearest or linear resizing",
        )
    is_old = op.version < 11
    coordinates = "asymmetric"
    if not is_old:
        coordinates = op.text("coordinate_transformation_mode", "half_pixel")
    if coordinates not in _COORDINATES:
        raise Unsupported(
            f"coordinate_transformation_mode {coordinates!r} is not available",
            f"{', '.join(_COORDINATES)} are",
        )
    if antialias and not is_float:
        raise Unsupported("antialias is available of float32 alone", "export the model without it")
    shape = op.result_shape()
    if len(x.shape) not in (3, 4) or shape[:2] != x.shape[:2]:
        raise Unsupported(f"it resizes {list(x.shape)} to {list(shape)}; only images are resized")
    scales = _scales(op, is_old)
    if shape == x.shape:
        # onnxruntime copies then, even where the scales say that the image is cut.
        op.move("reshape", [x], shape)
        return
    attrs: dict[str, Any] = {"mode": mode, "coordinates": coordinates, "scales": scales}
    if mode == "nearest":
        rounding = "floor" if is_old else op.text("nearest_mode", "round_prefer_floor")
        attrs["rounding"] = rounding
        op.move("resize", [op.image(x)], shape, image=True, **attrs)
    elif op.value(0).elements == "FLOAT":
        if mode == "cubic" or antialias:
            attrs["cubic_coeff_a"] = op.number("cubic_coeff_a", -0.75)
            attrs["exclude_outside"] = bool(op.integer("exclude_outside", 0))
            attrs["antialias"] = antialias
        op.compute("resize", [op.image(op.operand(0))], shape, image=True, **attrs)
    else:  # directly on integers, which keep their quantisation
        op.move("resize", [op.image(x)], shape, image=True, **attrs)


def _scales(op: Operation, is_old: bool) -> tuple[float, float] | None:
    """Scales (h, w) where the file gives them; None where the shapes decide."""
    given: list[float] = []
    index = 1 if is_old else 2
    if op.node.op == "Upsample" and op.version < 9:
        given = [float(v) for v in op.node.attrs.get("scales", [])]
    elif op.has_input(index) and op.shape(index) != (0,):
        given = [float(v) for v in op.constant(index, "scales").reshape(-1)]
    rank = len(op.shape(0))
    axes = [axis % rank for axis in op.integer_list("axes") or range(rank)]
    if given:
        by_axis = dict(zip(axes, given, strict=True))
        scales = [by_axis.get(axis, 1.0) for axis in range(rank)]
    elif op.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        scales = _kept_ratio(op, axes)
    else:
        return None
    return (scales[2], scales[3]) if rank == 4 else (1.0, scales[2])


def _kept_ratio(op: Operation, axes: list[int]) -> list[float]:
    """One scale for all axes listed: the smallest or largest that the sizes ask for."""
    sizes = op.integers(3, "sizes")
    x = op.shape(0)
    ratios = [
        np.float32(size) / np.float32(x[axis]) for axis, size in zip(axes, sizes, strict=True)
    ]
    is_smaller = op.text("keep_aspect_ratio_policy", "stretch") == "not_larger"
    ratio = float(min(ratios) if is_smaller else max(ratios))
    return [ratio if axis in axes else 1.0 for axis in range(len(x))]


HANDLERS: dict[str, Handler] = {
    "AveragePool": average_pool,
    "GlobalAveragePool": _global_pool("mean"),
    "GlobalMaxPool": _global_pool("reduce_max"),
    "MaxPool": max_pool,
    "Resize": resize,
    "Upsample": resize,
}
