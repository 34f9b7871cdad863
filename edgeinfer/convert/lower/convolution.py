"""conv2d, depthwise_conv2d, transpose_conv2d, fully_connected: operators with packed weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Node, Tensor
from edgeinfer.convert.lower.activations import integer_range
from edgeinfer.convert.lower.four_bits import has_blocks, integer_operands
from edgeinfer.convert.lower.lowering import (
    ACTIVATIONS,
    Lowering,
    Refused,
    clamp_params,
    finite,
    require,
    require_int32,
    scale_of,
    zero_point_of,
)
from edgeinfer.convert.lower.multipliers import conv_multipliers
from edgeinfer.convert.lower.pack import (
    accumulator_range,
    fold_zero_point,
    pack_channels,
    pack_conv2d,
    pack_depthwise_conv2d,
    pack_fully_connected,
    pack_transpose_conv2d,
)
from edgeinfer.convert.lower.window import geometry, leaves_image
from edgeinfer.convert.program import Value

Array = npt.NDArray[Any]


def lower_conv2d(node: Node, lowering: Lowering) -> None:
    """One conv2d; the bias has the input's zero point folded in."""
    x, y = node.input(0), node.output
    if has_blocks(node):
        _lower_conv2d_of_blocks(node, lowering)
        return
    weights, bias, multiplier = _operands(node, channel_axis=0)
    groups = int(node.attrs["groups"])
    if x.shape[3] != weights.shape[3] * groups or weights.shape[0] % groups:
        raise Refused(
            f"weights {list(weights.shape)} in {groups} groups do not fit {x.shape[3]} channels"
        )
    folded = _folded(x, weights, bias, 0)
    lowering.emit(
        node,
        "conv2d",
        [
            lowering.value(x),
            _constant(lowering, node, "weights", pack_conv2d(weights, groups, _dilations(node)[1])),
            _constant(lowering, node, "bias", pack_channels(folded, groups)),
            _constant(lowering, node, "multiplier", pack_channels(multiplier, groups)),
            *_zero(node, lowering, weights.shape[1:3]),
        ],
        lowering.value(y),
        {
            **geometry(node, weights.shape[1:3]),
            "groups": groups,
            **clamp_params(node.activation, y, lowering.source_format),
        },
    )


def _lower_conv2d_of_blocks(node: Node, lowering: Lowering) -> None:
    x, shape = node.input(0), node.input(1).shape
    groups = int(node.attrs["groups"])
    if x.shape[3] != shape[3] * groups or shape[0] % groups:
        raise Refused(f"weights {list(shape)} in {groups} groups do not fit {x.shape[3]} channels")
    lowering.emit(
        node,
        "conv2d",
        [
            lowering.value(x),
            *integer_operands(node, lowering, groups),
            *_zero(node, lowering, shape[1:3]),
        ],
        lowering.value(node.output),
        {
            **geometry(node, shape[1:3]),
            "groups": groups,
            **clamp_params(node.activation, node.output, lowering.source_format),
        },
    )


def lower_depthwise_conv2d(node: Node, lowering: Lowering) -> None:
    """One depthwise_conv2d; as conv2d."""
    x, y = node.input(0), node.output
    weights, bias, multiplier = _operands(node, channel_axis=2)
    if weights.shape[2] % x.shape[3]:
        raise Refused(f"weights {list(weights.shape)} do not fit {x.shape[3]} channels")
    folded = _folded(x, weights, bias, 2)
    lowering.emit(
        node,
        "depthwise_conv2d",
        [
            lowering.value(x),
            _constant(lowering, node, "weights", pack_depthwise_conv2d(weights)),
            _constant(lowering, node, "bias", pack_channels(folded)),
            _constant(lowering, node, "multiplier", pack_channels(multiplier)),
            *_zero(node, lowering, weights.shape[:2]),
        ],
        lowering.value(y),
        {
            **geometry(node, weights.shape[:2]),
            "multiplier": weights.shape[2] // x.shape[3],
            **clamp_params(node.activation, y, lowering.source_format),
        },
    )


def lower_transpose_conv2d(node: Node, lowering: Lowering) -> None:
    """One transpose_conv2d; taps differ by pixel, so that the zero point stays a parameter."""
    x, y = node.input(0), node.output
    weights, bias, multiplier = _operands(node, channel_axis=0)
    groups = int(node.attrs["groups"])
    if x.shape[3] != weights.shape[3] * groups or weights.shape[0] % groups:
        raise Refused(
            f"weights {list(weights.shape)} in {groups} groups do not fit {x.shape[3]} channels"
        )
    plain = np.zeros(weights.shape[0], np.int64) if bias is None else bias
    dtype = "int32" if x.dtype == "int8" else "int64"
    lowering.emit(
        node,
        "transpose_conv2d",
        [
            lowering.value(x),
            _constant(lowering, node, "weights", pack_transpose_conv2d(weights, groups)),
            _constant(lowering, node, "bias", pack_channels(plain.astype(dtype), groups)),
            _constant(lowering, node, "multiplier", pack_channels(multiplier, groups)),
        ],
        lowering.value(y),
        {
            **geometry(node, weights.shape[1:3]),
            "groups": groups,
            "in_zero_point": zero_point_of(x),
            **clamp_params(node.activation, y, lowering.source_format),
        },
    )


def lower_fully_connected(node: Node, lowering: Lowering) -> None:
    """One fully_connected on an input of any rank."""
    x, y = node.input(0), node.output
    if has_blocks(node):
        if x.shape[-1:] != node.input(1).shape[1:]:
            raise Refused(
                f"weights {list(node.input(1).shape)} do not fit the input {list(x.shape)}"
            )
        lowering.emit(
            node,
            "fully_connected",
            [lowering.value(x), *integer_operands(node, lowering, 1)],
            lowering.value(y),
            clamp_params(node.activation, y, lowering.source_format),
        )
        return
    weights, bias, multiplier = _operands(node, channel_axis=0)
    if x.shape[-1:] != weights.shape[1:]:
        raise Refused(f"weights {list(weights.shape)} do not fit the input {list(x.shape)}")
    lowering.emit(
        node,
        "fully_connected",
        [
            lowering.value(x),
            _constant(lowering, node, "weights", pack_fully_connected(weights)),
            _constant(lowering, node, "bias", pack_channels(_folded(x, weights, bias, 0))),
            _constant(lowering, node, "multiplier", pack_channels(multiplier)),
        ],
        lowering.value(y),
        clamp_params(node.activation, y, lowering.source_format),
    )


def _constant(lowering: Lowering, node: Node, role: str, data: Array) -> Value:
    return lowering.constant(f"{node.output.name}/{role}", data)


def _operands(node: Node, channel_axis: int) -> tuple[Array, Array | None, Array]:
    """Weights, bias in units of the accumulator, and one multiplier per output channel."""
    x, w, y = node.input(0), node.input(1), node.output
    require(x, "input", *ACTIVATIONS)
    require(y, "output", x.dtype)
    weights = _weights(w, channel_axis)
    channels = weights.shape[channel_axis]
    assert w.quantization is not None
    scales = np.broadcast_to(w.quantization.scale, (channels,))
    multiplier = conv_multipliers(scale_of(x), scales, scale_of(y))
    finite(multiplier, "the output multiplier")
    bias = None
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        bias = _bias(node.input(2), scale_of(x) * scales, channels)
    low, high = accumulator_range(
        bias, weights, zero_point_of(x), integer_range(x.dtype), channel_axis
    )
    if x.dtype == "int8":
        require_int32(int(low.min()), int(high.max()), "the sum of an output channel")
    return weights, bias, multiplier


def _weights(w: Tensor, channel_axis: int) -> Array:
    if w.data is None:
        raise Refused(f"weights {w.name!r} are not constant", "weights must be stored in the model")
    if w.quantization is None:
        raise Refused(
            f"weights {w.name!r} are {w.dtype} and not quantised",
            "quantise weights to INT8, symmetrically",
        )
    if w.dtype != "int8":
        raise Refused(f"weights {w.name!r} are {w.dtype}, must be int8")
    if np.any(w.quantization.zero_point != 0):
        raise Refused(
            f"weights {w.name!r} have a zero point other than 0",
            "quantise weights symmetrically (WeightSymmetric in ONNX Runtime's extra_options; "
            "TensorFlow's converter does so for int8)",
        )
    if not w.quantization.is_per_tensor and (
        w.quantization.axis != channel_axis or w.quantization.scale.size != w.shape[channel_axis]
    ):
        raise Refused(
            f"weights {w.name!r} are quantised along axis {w.quantization.axis}",
            "quantise per tensor or per output channel",
        )
    return w.data


def _bias(tensor: Tensor, scales: npt.NDArray[np.float32], channels: int) -> Array:
    """The bias as integers at scale s_x * s_w; a float32 one is rounded to them."""
    if tensor.data is None:
        raise Refused(f"bias {tensor.name!r} is not constant", "store the bias in the model")
    data = tensor.data.reshape(-1)
    if data.size != channels:
        raise Refused(f"bias {tensor.name!r} has {data.size} values for {channels} channels")
    if tensor.dtype in ("int32", "int64"):
        if tensor.quantization is not None and np.any(tensor.quantization.zero_point != 0):
            raise Refused(f"bias {tensor.name!r} has a zero point other than 0")
        return data.astype(np.int64)
    if tensor.dtype == "float32":
        steps = np.rint(data.astype(np.float64) / scales.astype(np.float64))
        if not np.all(np.abs(steps) < 2.0**62):
            raise Refused(f"bias {tensor.name!r} is too large for the scales of this node")
        return steps.astype(np.int64)
    raise Refused(f"bias {tensor.name!r} is {tensor.dtype}, must be int32, int64 or float32")


def _folded(x: Tensor, weights: Array, bias: Array | None, channel_axis: int) -> Array:
    dtype = "int32" if x.dtype == "int8" else "int64"
    return fold_zero_point(bias, weights, zero_point_of(x), dtype, channel_axis)


def _dilations(node: Node) -> tuple[int, int]:
    height, width = node.attrs["dilations"]
    return int(height), int(width)


def _zero(node: Node, lowering: Lowering, kernel: tuple[int, ...]) -> list[Value]:
    """The row of zero points, where a tap can leave the image."""
    x = node.input(0)
    if leaves_image(node, kernel):
        return [lowering.zero_row(x.dtype, zero_point_of(x), x.shape[2] * x.shape[3])]
    return []


HANDLERS: dict[str, Callable[[Node, Lowering], None]] = {
    "conv2d": lower_conv2d,
    "depthwise_conv2d": lower_depthwise_conv2d,
    "transpose_conv2d": lower_transpose_conv2d,
    "fully_connected": lower_fully_connected,
}
