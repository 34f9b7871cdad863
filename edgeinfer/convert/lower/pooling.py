"""avg_pool2d and max_pool2d."""

from __future__ import annotations

from collections.abc import Callable

from edgeinfer.convert.graph import Node
from edgeinfer.convert.lower.lowering import (
    ACTIVATIONS,
    Lowering,
    Refused,
    clamp_params,
    finite,
    require,
    require_same_type,
    scale_of,
    zero_point_of,
)


def lower_avg_pool2d(node: Node, lowering: Lowering) -> None:
    """TFLite averages stored integers where both sides have one quantisation; ONNX rescales."""
    x, y = node.input(0), node.output
    require(x, "input", *ACTIVATIONS)
    require(y, "output", x.dtype)
    multiplier = scale_of(x) / scale_of(y)
    finite(multiplier, "the multiplier")
    assert x.quantization is not None
    include_pad = bool(node.attrs["count_include_pad"])
    padded = any(node.attrs["pads"])
    integer_mean = (
        lowering.source_format == "tflite"
        and x.quantization.same_as(y.quantization)
        and not (include_pad and padded and zero_point_of(x) != 0)
    )
    lowering.emit(
        node,
        "avg_pool2d",
        [lowering.value(x)],
        lowering.value(y),
        {
            **window_params(node),
            "count_include_pad": int(include_pad),
            "integer_mean": int(integer_mean),
            "in_zero_point": zero_point_of(x),
            "multiplier": float(multiplier),
            **clamp_params(node.activation, y, lowering.source_format),
        },
    )


def lower_max_pool2d(node: Node, lowering: Lowering) -> None:
    """The largest stored integer; both sides have one quantisation."""
    x, y = node.input(0), node.output
    require(x, "input", "int8", "uint8", "int16")
    require(y, "output", x.dtype)
    require_same_type(node, x, y)
    clamp = clamp_params(node.activation, y, lowering.source_format)
    del clamp["out_zero_point"]
    lowering.emit(
        node,
        "max_pool2d",
        [lowering.value(x)],
        lowering.value(y),
        {
            **window_params(node),
            "dilation_h": int(node.attrs["dilations"][0]),
            "dilation_w": int(node.attrs["dilations"][1]),
            **clamp,
        },
    )


def window_params(node: Node) -> dict[str, int | float]:
    """Kernel, strides and pads; refused where a window sees nothing."""
    x, y = node.input(0), node.output
    dilations = node.attrs.get("dilations", (1, 1))
    for axis in (0, 1):
        kernel, stride = node.attrs["kernel"][axis], node.attrs["strides"][axis]
        pad, size = node.attrs["pads"][axis], x.shape[1 + axis]
        last = (y.shape[1 + axis] - 1) * stride - pad
        taps = [last + tap * dilations[axis] for tap in range(kernel)]
        first = [tap * dilations[axis] - pad for tap in range(kernel)]
        if not any(0 <= at < size for at in taps) or not any(0 <= at < size for at in first):
            raise Refused("a window lies wholly in the padding", "reduce the padding")
    return {
        "kernel_h": int(node.attrs["kernel"][0]),
        "kernel_w": int(node.attrs["kernel"][1]),
        "stride_h": int(node.attrs["strides"][0]),
        "stride_w": int(node.attrs["strides"][1]),
        "pad_top": int(node.attrs["pads"][0]),
        "pad_left": int(node.attrs["pads"][1]),
    }


HANDLERS: dict[str, Callable[[Node, Lowering], None]] = {
    "avg_pool2d": lower_avg_pool2d,
    "max_pool2d": lower_max_pool2d,
}
