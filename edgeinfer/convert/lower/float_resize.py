"""resize of float32: tables of taps and weights for rows and columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Node
from edgeinfer.convert.lower import resize
from edgeinfer.convert.lower.float_elementwise import require_float
from edgeinfer.convert.lower.lowering import Lowering, Refused
from edgeinfer.convert.lower.resize import Floats, onnx_positions, tflite_positions

Taps = tuple[npt.NDArray[Any], npt.NDArray[np.float32]]


def lower_resize(node: Node, lowering: Lowering) -> None:
    """resize_nearest, or one resize_f32."""
    x, y = node.input(0), node.output
    require_float(x, y)
    mode = node.attrs["mode"]
    if mode == "nearest":
        return resize.lower_resize(node, lowering)
    if mode != "linear":
        raise Refused(f"the mode {mode!r} is not available")
    if len(x.shape) != 4 or x.shape[0] != y.shape[0] or x.shape[3] != y.shape[3]:
        raise Refused(
            f"{list(x.shape)} to {list(y.shape)} resizes more than height and width",
            "resize only the two axes of an image",
        )
    scales = node.attrs.get("scales") or (None, None)
    inputs = [lowering.value(x)]
    for i, name in ((0, "rows"), (1, "columns")):
        n_in, n_out = x.shape[1 + i], y.shape[1 + i]
        if lowering.source_format == "tflite":
            positions = tflite_positions(n_in, n_out, node.attrs["coordinates"])
        else:
            positions = onnx_positions(n_in, n_out, scales[i], node.attrs["coordinates"])
        indices, weights = linear_taps(positions, n_in)
        inputs.append(lowering.constant(f"{y.name}/{name}", indices.astype(np.int32)))
        inputs.append(lowering.constant(f"{y.name}/{name} weights", weights))
    params: dict[str, int | float] = {"row_taps": 2, "column_taps": 2}
    return lowering.emit(node, "resize_f32", inputs, lowering.value(y), params)


def linear_taps(positions: Floats, n_in: int) -> Taps:
    """The two pixels around each position, and their weights: [n, 2] each."""
    positions = np.clip(positions, np.float32(0), np.float32(n_in - 1))
    first = np.floor(positions).astype(np.int64)
    second = np.minimum(first + 1, n_in - 1)
    weight = positions - first.astype(np.float32)
    return (
        np.stack([first, second], axis=1),
        np.stack([np.float32(1) - weight, weight], axis=1),
    )


HANDLERS: dict[str, Callable[[Node, Lowering], None]] = {"resize": lower_resize}
