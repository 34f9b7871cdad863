"""Windows over images: parameters of the runtime's operators, and whether taps leave the image."""

from __future__ import annotations

from edgeinfer.convert.graph import Node


def geometry(node: Node, kernel: tuple[int, ...]) -> dict[str, int | float]:
    """Parameters kernel_h to pad_left of a convolution."""
    strides, dilations, pads = node.attrs["strides"], node.attrs["dilations"], node.attrs["pads"]
    return {
        "kernel_h": kernel[0],
        "kernel_w": kernel[1],
        "stride_h": int(strides[0]),
        "stride_w": int(strides[1]),
        "dilation_h": int(dilations[0]),
        "dilation_w": int(dilations[1]),
        "pad_top": int(pads[0]),
        "pad_left": int(pads[1]),
    }


def leaves_image(node: Node, kernel: tuple[int, ...]) -> bool:
    """Whether a tap of a convolution can lie outside the image."""
    x, y = node.input(0), node.output
    for axis in (0, 1):
        pad, stride = node.attrs["pads"][axis], node.attrs["strides"][axis]
        reach = (kernel[axis] - 1) * node.attrs["dilations"][axis]
        last = (y.shape[1 + axis] - 1) * stride + reach - pad
        if pad > 0 or last > x.shape[1 + axis] - 1:
            return True
    return False
