"""What a layer with weights multiplies them with: rows of patches, and weights to match.

    conv2d            weights [groups, OC / groups, K]  patches [groups, rows, K]  K: taps, channels
    depthwise_conv2d  weights [C, multiplier, K]        patches [C, rows, K]       K: taps
    fully_connected   weights [1, N, K]                 patches [1, rows, K]

A row is one output position; their product, per group, is what the layer computes there before bias
and activation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Node

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]

LAYERS = ("conv2d", "depthwise_conv2d", "fully_connected")


def grouped_shape(node: Node) -> tuple[int, int, int]:
    """Groups, outputs of a group, and K."""
    shape = node.input(1).shape
    if node.op == "depthwise_conv2d":
        channels = node.input(0).shape[3]
        return channels, shape[2] // channels, shape[0] * shape[1]
    groups = int(node.attrs["groups"]) if node.op == "conv2d" else 1
    return groups, shape[0] // groups, int(np.prod(shape[1:], dtype=np.int64))


def grouped(node: Node, values: Array) -> Array:
    """Weights, or anything of their shape, as [groups, outputs, K]."""
    if node.op == "depthwise_conv2d":
        channels, multiplier, taps = grouped_shape(node)
        by_tap = values.reshape(taps, channels, multiplier)
        return np.ascontiguousarray(by_tap.transpose(1, 2, 0))
    return values.reshape(grouped_shape(node))


def ungrouped(node: Node, values: Array) -> Array:
    """The inverse of `grouped`."""
    shape = node.input(1).shape
    if node.op == "depthwise_conv2d":
        return np.ascontiguousarray(values.transpose(2, 0, 1)).reshape(shape)
    return values.reshape(shape)


def positions(node: Node) -> int:
    """Rows that one run has."""
    return int(np.prod(node.output.shape[:-1], dtype=np.int64))


def patches(node: Node, x: Floats, chosen: npt.NDArray[np.int64]) -> Floats:
    """The rows of an input that these output positions see; zeros outside of the image."""
    if node.op == "fully_connected":
        return x.reshape(1, -1, x.shape[-1])[:, chosen]
    w = node.input(1).shape
    height, width = (w[0], w[1]) if node.op == "depthwise_conv2d" else (w[1], w[2])
    top, left, bottom, right = node.attrs["pads"]
    border = [(0, 0), (top, max(bottom, 0)), (left, max(right, 0)), (0, 0)]
    padded = np.pad(x, border) if any(node.attrs["pads"]) else x
    _, rows, columns, _ = node.output.shape
    (stride_h, stride_w), (gap_h, gap_w) = node.attrs["strides"], node.attrs["dilations"]
    image, rest = np.divmod(chosen, rows * columns)
    row, column = np.divmod(rest, columns)
    i = (row * stride_h)[:, None, None] + (np.arange(height) * gap_h)[None, :, None]
    j = (column * stride_w)[:, None, None] + (np.arange(width) * gap_w)[None, None, :]
    seen = padded[image[:, None, None], i, j]
    count, channels = len(chosen), x.shape[3]
    if node.op == "depthwise_conv2d":
        return np.ascontiguousarray(seen.reshape(count, -1, channels).transpose(2, 0, 1))
    groups = int(node.attrs["groups"])
    if groups == 1:
        return np.asarray(seen.reshape(1, count, -1), np.float32)
    split = seen.reshape(count, height * width, groups, channels // groups)
    return np.ascontiguousarray(split.transpose(2, 0, 1, 3)).reshape(groups, count, -1)
