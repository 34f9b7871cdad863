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
    if mode not in ("linear", "cubic"):
        raise Refused(f"the mode {mode!r} is not available")
    if len(x.shape) != 4 or x.shape[0] != y.shape[0] or x.shape[3] != y.shape[3]:
        raise Refused(
            f"{list(x.shape)} to {list(y.shape)} resizes more than height and width",
            "resize only the two axes of an image",
        )
    scales = node.attrs.get("scales") or (None, None)
    inputs = [lowering.value(x)]
    counts: list[int] = []
    for i, name in ((0, "rows"), (1, "columns")):
        n_in, n_out = x.shape[1 + i], y.shape[1 + i]
        given = scales[i]
        scale = n_out / n_in if given is None else float(given)
        if node.attrs["coordinates"] == "align_corners" and abs(scale * n_in - n_out) > 1e-3:
            # ONNX's reference divides by the unrounded length, ONNX Runtime by the rounded one.
            raise Refused(
                f"a scale of {scale:g} for {n_in} pixels with align_corners has two readings",
                "give the sizes in place of scales",
            )
        if lowering.source_format == "tflite":
            positions = tflite_positions(n_in, n_out, node.attrs["coordinates"])
        else:
            positions = onnx_positions(n_in, n_out, given, node.attrs["coordinates"])
        indices, weights = taps(node, positions, n_in, scale)
        inputs.append(lowering.constant(f"{y.name}/{name}", indices.astype(np.int32)))
        inputs.append(lowering.constant(f"{y.name}/{name} weights", weights))
        counts.append(indices.shape[1])
    params: dict[str, int | float] = {"row_taps": counts[0], "column_taps": counts[1]}
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


def taps(node: Node, positions: Floats, n_in: int, scale: float) -> Taps:
    """Pixels and weights for each position, as ONNX's reference of Resize has them."""
    cubic, antialias = node.attrs["mode"] == "cubic", bool(node.attrs.get("antialias"))
    if not cubic and not antialias:
        return linear_taps(positions, n_in)
    # Filters grow with what is left out between the pixels of a smaller image.
    step = min(scale, 1.0) if antialias else 1.0
    at = positions.astype(np.float64)[:, None]
    left = np.ceil(at) - 1  # the distance from it is in (0, 1]
    reach = int(np.ceil((2 if cubic else 1) / step))
    indices = (left + np.arange(1 - reach, 1 + reach)).astype(np.int64)
    distance = np.abs(indices - at) * step
    if cubic:
        weights = _cubic(distance, float(node.attrs.get("cubic_coeff_a", -0.75)))
    else:
        weights = np.clip(1 - distance, 0, 1)
    if node.attrs.get("exclude_outside"):
        weights = np.where((indices < 0) | (indices >= n_in), 0, weights)
    weights = weights / weights.sum(axis=1, keepdims=True)
    return np.clip(indices, 0, n_in - 1), weights.astype(np.float32)


def _cubic(x: npt.NDArray[np.float64], a: float) -> npt.NDArray[np.float64]:
    """Keys' cubic convolution of a distance x >= 0."""
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


HANDLERS: dict[str, Callable[[Node, Lowering], None]] = {"resize": lower_resize}
