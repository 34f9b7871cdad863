"""CONV_2D, DEPTHWISE_CONV_2D and TRANSPOSE_CONV."""

from __future__ import annotations

from edgeinfer.convert.graph import Tensor

from .operands import bias, channel_quantization, computed, need_rank, weights
from .operation import Handling, Operation, Unsupported
from .window import SAME, extent, padding, same_pads, stride_size, window


def _image_and_weights(op: Operation, x_index: int = 0) -> tuple[Tensor, Tensor]:
    x, w = need_rank(op.input(x_index), 4), need_rank(op.input(1), 4)
    if 0 in w.shape:
        raise Unsupported(f"its weights have shape {list(w.shape)}")
    return x, w


def _check_output(op: Operation, x: Tensor) -> None:
    y = computed(op.output())
    if y.dtype != computed(x).dtype:
        raise Unsupported(f"its input is {x.dtype} and its output {y.dtype}")


def conv_2d(op: Operation) -> None:
    """Weights are [OC, KH, KW, C / groups]: fewer input channels than x has make it grouped."""
    x, stored = _image_and_weights(op)
    w = weights(op, x, 1, stored.shape[0])
    _check_output(op, x)
    n, height, width, channels = x.shape
    out_channels, kernel_h, kernel_w, group_channels = w.shape
    groups, odd = divmod(channels, group_channels)
    if odd or out_channels % groups:
        raise Unsupported(
            f"weights of shape {list(w.shape)} do not divide {channels} input channels into groups"
        )
    win = window(op, (height, width), (kernel_h, kernel_w), has_dilations=True)
    op.emit(
        "conv2d",
        [x, w, bias(op, x, w, 2, out_channels)],
        (n, *win.size, out_channels),
        activation=op.activation(),
        strides=win.strides,
        dilations=win.dilations,
        pads=win.pads,
        groups=groups,
    )


def depthwise_conv_2d(op: Operation) -> None:
    """Weights are [1, KH, KW, C * multiplier]; the multiplier follows from the shapes."""
    x, stored = _image_and_weights(op)
    one, kernel_h, kernel_w, out_channels = stored.shape
    n, height, width, channels = x.shape
    w = weights(op, x, 1, out_channels, axis=3)
    _check_output(op, x)
    if one != 1 or out_channels % channels:
        raise Unsupported(f"weights of shape {list(w.shape)} for {channels} input channels")
    assert w.data is not None
    shape = (kernel_h, kernel_w, out_channels)
    scale = w.quantization and channel_quantization(w.quantization.scale, axis=2)
    win = window(op, (height, width), (kernel_h, kernel_w), has_dilations=True)
    op.emit(
        "depthwise_conv2d",
        [
            x,
            Tensor(w.name, shape, w.dtype, scale, w.data.reshape(shape)),
            bias(op, x, w, 2, out_channels),
        ],
        (n, *win.size, out_channels),
        activation=op.activation(),
        strides=win.strides,
        dilations=win.dilations,
        pads=win.pads,
    )


def transpose_conv(op: Operation) -> None:
    """Inputs are output shape, weights [OC, KH, KW, C], x, bias.

    The padding is that of the forward convolution from the output's shape to the input's. Rows of
    the output that no tap reaches (up to stride - 1 of them after the last) hold the bias alone:
    they show as a negative pad at the bottom or right.
    """
    x, stored = _image_and_weights(op, x_index=2)
    w = weights(op, x, 1, stored.shape[0])
    _check_output(op, x)
    n, *image, channels = x.shape
    out_channels, *kernel, in_channels = w.shape
    if in_channels != channels:
        raise Unsupported(f"weights of shape {list(w.shape)} for {channels} input channels")
    shape = op.integers(0, "output shape")
    if len(shape) != 4 or shape[0] != n or shape[3] != out_channels or min(shape) < 1:
        raise Unsupported(f"output shape {list(shape)} for input {list(x.shape)}")
    strides = stride_size(op)
    before, after = [], []
    for size, out, taps, stride in zip(image, shape[1:3], kernel, strides, strict=True):
        pad, _ = same_pads(out, taps, stride) if padding(op) == SAME else (0, 0)
        forward = -(-out // stride) if padding(op) == SAME else (out - taps) // stride + 1
        if forward != size:
            raise Unsupported(
                f"output shape {list(shape)} cannot come from input {list(x.shape)} "
                f"with stride {stride}"
            )
        before.append(pad)
        after.append((size - 1) * stride + extent(taps, 1) - pad - out)
    op.emit(
        "transpose_conv2d",
        [x, w, bias(op, x, w, 3, out_channels)],
        shape,
        activation=op.activation(),
        strides=strides,
        dilations=(1, 1),
        pads=(*before, *after),
        groups=1,
    )


HANDLERS = {
    "CONV_2D": Handling(conv_2d, "Conv2DOptions"),
    "DEPTHWISE_CONV_2D": Handling(depthwise_conv_2d, "DepthwiseConv2DOptions"),
    "TRANSPOSE_CONV": Handling(transpose_conv, "TransposeConvOptions"),
}
