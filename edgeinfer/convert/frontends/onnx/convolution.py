"""Conv and ConvTranspose."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeinfer.convert.graph import Tensor

from .arithmetic import Arithmetic
from .operands import bias, channel_quantization, laid_out, weights
from .operation import Handler, Operation
from .values import Array, Unsupported
from .window import (
    Pair,
    as_pair,
    explicit_pads,
    extent,
    image_size,
    kernel_shape,
    spatial,
    window,
)


def conv(op: Operation) -> None:
    """x [N,C,H,W] by weights [OC,C/groups,KH,KW]; depthwise when every channel is a group."""
    x, w = op.operand(0), weights(op, 1, axis=0)
    data = _as_image_weights(op, w)
    groups = op.integer("group", 1)
    n, channels, *_ = x.shape
    out_channels, group_channels = data.shape[:2]
    if groups < 1 or out_channels % groups or channels != groups * group_channels:
        raise Unsupported(
            f"weights of shape {list(w.shape)} do not divide {channels} input channels into "
            f"{groups} groups"
        )
    win = window(op, kernel_shape(op, w.shape))
    b = bias(op, x, w, 2, out_channels)
    shape = (n, out_channels, *win.size[-(len(x.shape) - 2) :])
    attrs: dict[str, Any] = {
        "strides": win.strides,
        "dilations": win.dilations,
        "pads": win.pads,
    }
    if groups == channels and groups > 1:
        taps = laid_out(w, data[:, 0].transpose(1, 2, 0), axis=2)
        op.compute("depthwise_conv2d", [op.image(x), taps, b], shape, image=True, **attrs)
        return
    taps = laid_out(w, data.transpose(0, 2, 3, 1), axis=0)
    op.compute("conv2d", [op.image(x), taps, b], shape, image=True, groups=groups, **attrs)


def causal_conv_with_state(op: Operation) -> None:
    """A depthwise convolution of [N, C, L] that looks back; the last elements are given out."""
    steps = Arithmetic(op)
    x, w = steps.floats(0), op.constant(1, "weights")
    activation = op.text("activation", "none")
    if activation not in ("none", "silu", "swish"):
        raise Unsupported(f"its activation is {activation!r}")
    n, channels, length = x.shape
    if w.shape[:2] != (channels, 1) or w.ndim != 3:
        raise Unsupported(f"weights of shape {list(w.shape)} for {channels} channels")
    taps = w.shape[2]
    if op.has_input(3):
        whole = steps.concat([steps.floats(3), x], 2) if taps > 1 else x
    else:
        whole = steps.pad(x, (0, 0, taps - 1), (0, 0, 0))
    bias_ = steps.constant(op.constant(2, "bias"), "bias") if op.has_input(2) else None
    image = steps.reshape(steps.transpose(whole, (0, 2, 1)), (n, 1, length + taps - 1, channels))
    attrs: dict[str, Any] = {"strides": (1, 1), "dilations": (1, 1), "pads": (0, 0, 0, 0)}
    kernel = steps.constant(w.transpose(1, 2, 0), "weights")
    y = steps.node("depthwise_conv2d", [image, kernel, bias_], (n, 1, length, channels), **attrs)
    y = y if activation == "none" else steps.unary("silu", y)
    steps.give(steps.transpose(steps.reshape(y, (n, length, channels)), (0, 2, 1)))
    if op.has_output(1):
        if taps == 1:
            raise Unsupported("its second output has no elements")
        steps.give(steps.cut(whole, 2, length, length + taps - 1), 1)


def conv_transpose(op: Operation) -> None:
    """x [N,C,H,W] by weights [C,OC/groups,KH,KW]."""
    x = op.operand(0)
    groups = op.integer("group", 1)
    n, channels, *_ = x.shape
    w = _per_output_channel(weights(op, 1, axis=1), groups)
    data = _as_image_weights(op, w)
    in_channels, group_outputs, *kernel = data.shape
    if groups < 1 or channels % groups or in_channels != channels:
        raise Unsupported(
            f"weights of shape {list(w.shape)} do not fit {channels} input channels in "
            f"{groups} groups"
        )
    out_channels = groups * group_outputs
    kernel_shape(op, w.shape)
    size, pads = _transposed_size(op, (kernel[0], kernel[1]))
    # [C, OC/g, ..] -> [g, C/g, OC/g, ..] -> [g, OC/g, .., C/g] -> [OC, .., C/g]
    grouped = data.reshape(groups, channels // groups, group_outputs, *kernel)
    taps = grouped.transpose(0, 2, 3, 4, 1).reshape(out_channels, *kernel, channels // groups)
    op.compute(
        "transpose_conv2d",
        [op.image(x), laid_out(w, taps, axis=0), bias(op, x, w, 2, out_channels)],
        (n, out_channels, *size[-(len(x.shape) - 2) :]),
        image=True,
        strides=spatial(op, "strides", 1),
        dilations=spatial(op, "dilations", 1),
        pads=pads,
        groups=groups,
    )


def _as_image_weights(op: Operation, w: Tensor) -> Array:
    """Weights of one spatial dimension with a height of 1."""
    assert w.data is not None
    rank = len(op.shape(0))
    if w.data.ndim != rank or rank not in (3, 4):
        raise Unsupported(
            f"its input has shape {list(op.shape(0))} and its weights {list(w.shape)}; images of "
            "one or two dimensions are what is available"
        )
    if 0 in w.shape:
        raise Unsupported(f"its weights have shape {list(w.shape)}")
    return w.data if rank == 4 else w.data[:, :, None, :]


def _per_output_channel(w: Tensor, groups: int) -> Tensor:
    """Scales along axis 1 are those of one group: every group has the same."""
    q = w.quantization
    if q is None or q.is_per_tensor or groups == 1:
        return w
    scale = np.tile(q.scale, max(groups, 1))
    return Tensor(w.name, w.shape, w.dtype, channel_quantization(scale, 1), w.data)


def _transposed_size(op: Operation, kernel: Pair) -> tuple[Pair, tuple[int, int, int, int]]:
    """Output size, and what is cut from the full result: (top, left, bottom, right)."""
    image = image_size(op.shape(0))
    strides, dilations = spatial(op, "strides", 1), spatial(op, "dilations", 1)
    extra = spatial(op, "output_padding", 0, filler=0, lowest=0)
    begins, ends = explicit_pads(op)
    declared = op.integer_list("output_shape")
    if declared is not None:
        declared = declared[-(len(op.shape(0)) - 2) :]  # may list batch and channels first
    auto = op.text("auto_pad", "NOTSET")
    sizes, befores, afters = [], [], []
    for i in (0, 1):
        full = (image[i] - 1) * strides[i] + extent(kernel[i], dilations[i])
        before, after = (begins[i], ends[i]) if auto == "NOTSET" else (0, 0)
        size = full + extra[i] - before - after
        if declared is not None or auto in ("SAME_UPPER", "SAME_LOWER"):
            size = image[i] * strides[i] if declared is None else as_pair(declared, 1)[i]
            total = max(full + extra[i] - size, 0)
            before = total // 2 if auto == "SAME_UPPER" else total - total // 2
        if size < 1:
            raise Unsupported(f"its result would have {size} rows or columns")
        sizes.append(size)
        befores.append(before)
        afters.append(full - before - size)
    return (sizes[0], sizes[1]), (befores[0], befores[1], afters[0], afters[1])


HANDLERS: dict[str, Handler] = {
    "CausalConvWithState": causal_conv_with_state,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
}
