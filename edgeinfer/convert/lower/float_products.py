"""Products of float32: convolutions, fully_connected and batch_matmul.

Weights are packed as float32, or as float16 where the conversion asks for it: the runtime decodes
these exactly and computes in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Node, Tensor
from edgeinfer.convert.lower.activations import float_bounds
from edgeinfer.convert.lower.four_bits import has_blocks, lower_dynamic
from edgeinfer.convert.lower.lowering import Lowering, Refused
from edgeinfer.convert.lower.matmul import swap_last
from edgeinfer.convert.lower.pack import pack_channels
from edgeinfer.convert.lower.pack_float import (
    pack_conv2d_float,
    pack_depthwise_conv2d_float,
    pack_fully_connected_float,
)
from edgeinfer.convert.lower.window import geometry, leaves_image
from edgeinfer.convert.program import Value

Array = npt.NDArray[Any]


def lower_conv2d(node: Node, lowering: Lowering) -> None:
    """One conv2d_f32."""
    x = node.input(0)
    weights, bias = _operands(node, channel_axis=0)
    groups = _groups(node, weights)
    packed = _stored(pack_conv2d_float(weights, groups), lowering)
    kernel = weights.shape[1:3]
    lowering.emit(
        node,
        "conv2d_f32",
        [
            lowering.value(x),
            _constant(lowering, node, "weights", packed),
            _constant(lowering, node, "bias", pack_channels(bias, groups)),
            *_zero(node, lowering, kernel),
        ],
        lowering.value(node.output),
        {**geometry(node, kernel), "groups": groups, **float_bounds(node.activation)},
    )


def lower_depthwise_conv2d(node: Node, lowering: Lowering) -> None:
    """One depthwise_conv2d_f32; its few weights are always float32."""
    x = node.input(0)
    weights, bias = _operands(node, channel_axis=2)
    if weights.shape[2] % x.shape[3]:
        raise Refused(f"weights {list(weights.shape)} do not fit {x.shape[3]} channels")
    kernel = weights.shape[:2]
    lowering.emit(
        node,
        "depthwise_conv2d_f32",
        [
            lowering.value(x),
            _constant(lowering, node, "weights", pack_depthwise_conv2d_float(weights)),
            _constant(lowering, node, "bias", pack_channels(bias)),
            *_zero(node, lowering, kernel),
        ],
        lowering.value(node.output),
        {
            **geometry(node, kernel),
            "multiplier": weights.shape[2] // x.shape[3],
            **float_bounds(node.activation),
        },
    )


def lower_transpose_conv2d(node: Node, lowering: Lowering) -> None:
    """One transpose_conv2d_f32; weights are packed as those of a conv2d."""
    weights, bias = _operands(node, channel_axis=0)
    groups = _groups(node, weights)
    lowering.emit(
        node,
        "transpose_conv2d_f32",
        [
            lowering.value(node.input(0)),
            _constant(lowering, node, "weights", pack_conv2d_float(weights, groups)),
            _constant(lowering, node, "bias", pack_channels(bias, groups)),
        ],
        lowering.value(node.output),
        {
            **geometry(node, weights.shape[1:3]),
            "groups": groups,
            **float_bounds(node.activation),
        },
    )


def lower_fully_connected(node: Node, lowering: Lowering) -> None:
    """One fully_connected_f32 on an input of any rank; with weights in blocks the dynamic one."""
    if has_blocks(node):
        lower_dynamic(node, lowering)
        return
    x = node.input(0)
    weights, bias = _operands(node, channel_axis=0)
    if x.shape[-1:] != weights.shape[1:]:
        raise Refused(f"weights {list(weights.shape)} do not fit the input {list(x.shape)}")
    packed = _stored(pack_fully_connected_float(weights), lowering)
    lowering.emit(
        node,
        "fully_connected_f32",
        [
            lowering.value(x),
            _constant(lowering, node, "weights", packed),
            _constant(lowering, node, "bias", pack_channels(bias)),
        ],
        lowering.value(node.output),
        float_bounds(node.activation),
    )


def lower_batch_matmul(node: Node, lowering: Lowering) -> None:
    """One batch_matmul_f32; transpose_a becomes a transpose in front."""
    a, b, y = node.input(0), node.input(1), node.output
    for tensor in (a, b):
        _require_float(tensor, "operand")
        if tensor.data is not None:
            _require_finite(tensor.data, f"operand {tensor.name!r}")
    rank = len(y.shape)
    left = lowering.reshaped(lowering.value(a), (1,) * (rank - len(a.shape)) + a.shape, node)
    right = lowering.reshaped(lowering.value(b), (1,) * (rank - len(b.shape)) + b.shape, node)
    if node.attrs.get("transpose_a"):
        left = swap_last(left, node, lowering)
    lowering.emit(
        node,
        "batch_matmul_f32",
        [left, right],
        lowering.value(y),
        {
            "transpose_b": int(bool(node.attrs.get("transpose_b"))),
            **float_bounds(node.activation),
        },
    )


def _constant(lowering: Lowering, node: Node, role: str, data: Array) -> Value:
    return lowering.constant(f"{node.output.name}/{role}", data)


def _require_float(tensor: Tensor, role: str) -> None:
    if tensor.dtype != "float32":
        raise Refused(f"{role} {tensor.name!r} is {tensor.dtype}, must be float32")


def _require_finite(data: Array, what: str) -> None:
    if not np.all(np.isfinite(data)):
        raise Refused(f"{what} has values that are infinite or no numbers")


def _operands(node: Node, channel_axis: int) -> tuple[Array, Array]:
    """Weights, and a bias for every output channel."""
    w = node.input(1)
    _require_float(node.input(0), "input")
    _require_float(w, "weights")
    if w.data is None:
        raise Refused(f"weights {w.name!r} are not constant", "weights must be stored in the model")
    _require_finite(w.data, f"weights {w.name!r}")
    channels = w.shape[channel_axis]
    tensor = node.inputs[2] if len(node.inputs) > 2 else None
    if tensor is None:
        return w.data, np.zeros(channels, np.float32)
    _require_float(tensor, "bias")
    if tensor.data is None:
        raise Refused(f"bias {tensor.name!r} is not constant", "store the bias in the model")
    bias = tensor.data.reshape(-1)
    if bias.size != channels:
        raise Refused(f"bias {tensor.name!r} has {bias.size} values for {channels} channels")
    _require_finite(bias, f"bias {tensor.name!r}")
    return w.data, bias


def _groups(node: Node, weights: Array) -> int:
    x, groups = node.input(0), int(node.attrs["groups"])
    if x.shape[3] != weights.shape[3] * groups or weights.shape[0] % groups:
        raise Refused(
            f"weights {list(weights.shape)} in {groups} groups do not fit {x.shape[3]} channels"
        )
    return groups


def _stored(packed: Array, lowering: Lowering) -> Array:
    """Packed weights in the type that the conversion stores."""
    if lowering.float_weights == "float32":
        return packed
    with np.errstate(over="ignore"):
        half = packed.astype(np.float16)
    if not np.all(np.isfinite(half)):
        raise Refused(
            f"weights up to {np.abs(packed).max():g} do not fit float16, whose largest is 65504",
            "store them as float32",
        )
    return half


def _zero(node: Node, lowering: Lowering, kernel: tuple[int, ...]) -> list[Value]:
    """The row of zeros, where a tap can leave the image."""
    x = node.input(0)
    if leaves_image(node, kernel):
        return [lowering.zero_row("float32", 0, x.shape[2] * x.shape[3])]
    return []


HANDLERS: dict[str, Callable[[Node, Lowering], None]] = {
    "conv2d": lower_conv2d,
    "depthwise_conv2d": lower_depthwise_conv2d,
    "transpose_conv2d": lower_transpose_conv2d,
    "fully_connected": lower_fully_connected,
    "batch_matmul": lower_batch_matmul,
}
