"""resize: the source pixels of every output row and column, computed at conversion.

TFLite's formulas are those of LiteRT's kernels; ONNX's are the specification's, in float32 as ONNX
Runtime computes them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Node
from edgeinfer.convert.lower.lowering import Lowering, Refused, require, require_same_type

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[Any]
F32 = np.float32

FRACTION_BITS = 11
"""Of interpolation weights, as in XNNPACK."""
BUILTIN_BITS = 10
"""Of positions in TFLite's own kernel."""


def lower_resize(node: Node, lowering: Lowering) -> None:
    """One resize_nearest or resize_bilinear."""
    x, y = node.input(0), node.output
    require_same_type(node, x, y)
    if len(x.shape) != 4 or x.shape[0] != y.shape[0] or x.shape[3] != y.shape[3]:
        raise Refused(
            f"{list(x.shape)} to {list(y.shape)} resizes more than height and width",
            "resize only the two axes of an image",
        )
    if node.attrs["mode"] not in ("nearest", "linear") or node.attrs.get("antialias"):
        raise Refused("cubic and antialiased resizing of integers is not available")
    tflite = lowering.source_format == "tflite"
    scales = node.attrs.get("scales") or (None, None)
    axes = [(x.shape[1 + i], y.shape[1 + i], scales[i]) for i in (0, 1)]
    coordinates = node.attrs["coordinates"]
    params: dict[str, int | float]
    if node.attrs["mode"] == "nearest":
        rounding = node.attrs.get("rounding")
        tables = [
            tflite_nearest(n_in, n_out, coordinates)
            if tflite
            else onnx_nearest(onnx_positions(n_in, n_out, scale, coordinates), n_in, rounding)
            for n_in, n_out, scale in axes
        ]
        operator, params = "resize_nearest", {"reserved": 0}
    else:
        require(x, "input", "int8", "uint8", "int16")
        # TFLite's own kernel, which LiteRT runs on int16, has a step of 10 bits.
        builtin = tflite and x.dtype == "int16"
        tables = [
            builtin_interpolation(n_in, n_out, coordinates)
            if builtin
            else interpolation(
                tflite_positions(n_in, n_out, coordinates)
                if tflite
                else onnx_positions(n_in, n_out, scale, coordinates),
                n_in,
            )
            for n_in, n_out, scale in axes
        ]
        operator = "resize_bilinear"
        bits = BUILTIN_BITS if builtin else FRACTION_BITS
        params = {"fraction_bits": bits, "half_away": int(builtin)}
    lowering.emit(
        node,
        operator,
        [
            lowering.value(x),
            lowering.constant(f"{y.name}/rows", tables[0].astype(np.int32)),
            lowering.constant(f"{y.name}/columns", tables[1].astype(np.int32)),
        ],
        lowering.value(y),
        params,
    )


def interpolation(positions: Floats, n_in: int) -> Ints:
    """(first source index, second, weight of the second in 2^-11) for every position: [n, 3]."""
    positions = np.clip(positions, F32(0), F32(n_in - 1))
    first = np.floor(positions).astype(np.int64)
    second = np.minimum(first + 1, n_in - 1)
    weight = np.rint((positions - first.astype(F32)) * F32(1 << FRACTION_BITS)).astype(np.int64)
    return np.stack([first, second, weight], axis=1)


def builtin_interpolation(n_in: int, n_out: int, coordinates: str) -> Ints:
    """As `interpolation`, with positions of 10 bits, as TFLite's own kernel computes them."""
    one = 1 << BUILTIN_BITS
    corner = 1 if coordinates == "align_corners" and n_out > 1 else 0
    step = (one * (n_in - corner) + (n_out - corner) // 2) // (n_out - corner)
    at = np.arange(n_out, dtype=np.int64) * step
    if coordinates == "half_pixel":
        at = at + step // 2 - one // 2
    at = np.maximum(at, 0)  # in front of the first pixel both indices are 0
    first = np.minimum(at >> BUILTIN_BITS, n_in - 1)
    second = np.minimum(-(-at >> BUILTIN_BITS), n_in - 1)
    weight = np.where(first == second, 0, at - one * first)
    return np.stack([first, second, weight], axis=1)


def tflite_positions(n_in: int, n_out: int, coordinates: str) -> Floats:
    """Source positions of RESIZE_BILINEAR."""
    corner = 1 if coordinates == "align_corners" and n_out > 1 else 0
    step = F32(n_in - corner) / F32(n_out - corner)
    at = np.arange(n_out, dtype=np.float32) * step
    if coordinates == "half_pixel":
        at = at + (F32(0.5) * step - F32(0.5))
    return np.asarray(at, np.float32)


def tflite_nearest(n_in: int, n_out: int, coordinates: str) -> Ints:
    """Source indices of RESIZE_NEAREST_NEIGHBOR."""
    align = coordinates == "align_corners"
    step = F32(n_in - 1) / F32(n_out - 1) if align and n_out > 1 else F32(n_in) / F32(n_out)
    offset = F32(0.5) if coordinates == "half_pixel" else F32(0)
    at = (np.arange(n_out, dtype=np.float32) + offset) * step
    index = np.floor(at + F32(0.5)) if align else np.floor(at)
    return np.asarray(np.clip(index.astype(np.int64), 0, n_in - 1))


def onnx_positions(n_in: int, n_out: int, scale: float | None, coordinates: str) -> Floats:
    """Source positions of Resize, by coordinate_transformation_mode."""
    factor = F32(scale) if scale is not None else F32(n_out) / F32(n_in)
    at = np.arange(n_out, dtype=np.float32)
    if coordinates == "asymmetric":
        return np.asarray(at / factor, np.float32)
    if coordinates == "align_corners":
        return at * F32(n_in - 1) / F32(n_out - 1) if n_out > 1 else np.zeros(1, np.float32)
    if coordinates == "pytorch_half_pixel" and n_out == 1:
        return np.zeros(1, np.float32)
    if coordinates in ("half_pixel", "pytorch_half_pixel"):
        return np.asarray((at + F32(0.5)) / factor - F32(0.5), np.float32)
    if coordinates == "half_pixel_symmetric":
        # Centred on the image, where a scale leaves a part of a pixel out.
        offset = F32(n_in) / F32(2) * (F32(1) - F32(n_out) / (factor * F32(n_in)))
        return np.asarray(offset + (at + F32(0.5)) / factor - F32(0.5), np.float32)
    raise Refused(f"the coordinates {coordinates!r} are not available")


def onnx_nearest(positions: Floats, n_in: int, rounding: str | None) -> Ints:
    """Source indices of Resize, by nearest_mode.

    As in ONNX Runtime, a position within 1e-6 of a half counts as a half.
    """
    whole = np.floor(positions)
    fraction = positions - whole
    down, up = whole + (fraction > F32(0.5 + 1e-6)), whole + (fraction >= F32(0.5 - 1e-6))
    rounded = {
        "floor": whole,
        "ceil": np.ceil(positions),
        "round_prefer_floor": down,
        "round_prefer_ceil": up,
        "round_half_up": up,
    }
    if rounding not in rounded:
        raise Refused(f"the rounding {rounding!r} is not available")
    return np.asarray(np.clip(rounded[rounding].astype(np.int64), 0, n_in - 1))


HANDLERS: dict[str, Callable[[Node, Lowering], None]] = {"resize": lower_resize}
