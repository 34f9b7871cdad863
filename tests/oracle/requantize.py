"""From an exact integer sum to an activation: the one step that most operators end with."""

from __future__ import annotations

import numpy as np

INTEGER_RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}

_ACTIVATION_BOUNDS = {
    "NONE": (None, None),
    "RELU": (0.0, None),
    "RELU6": (0.0, 6.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
}


def multipliers(s_x: float, s_w: np.ndarray | float, s_y: float) -> np.ndarray:
    """The float32 multipliers (s_x * s_w) / s_y, in that order of float32 operations.

    Parameters
    ----------
    s_x, s_y : float
        Scales of the input and of the output.
    s_w : float or array
        Scale of the weights, or one per output channel.

    Returns
    -------
    float32 array of the shape of s_w, at least one-dimensional.
    """
    s_w = np.atleast_1d(np.asarray(s_w, np.float32))
    return (np.float32(s_x) * s_w) / np.float32(s_y)


def activation_range(
    activation: str, s_y: float, zp_y: int, dtype: str = "int8"
) -> tuple[int, int]:
    """The integers that a fused activation leaves: clamp(rne(f32(bound) / s_y + f32(zp_y))).

    Parameters
    ----------
    activation : {"NONE", "RELU", "RELU6", "RELU_N1_TO_1"}
    s_y, zp_y : float, int
        Quantisation of the output.
    dtype : {"int8", "uint8", "int16"}
        The integer type of the output.
    """
    lo, hi = INTEGER_RANGES[dtype]

    def quantized(bound: float) -> int:
        value = np.float32(bound) / np.float32(s_y) + np.float32(zp_y)
        return int(np.clip(np.rint(value), lo, hi))

    lower, upper = _ACTIVATION_BOUNDS[activation]
    return (
        lo if lower is None else quantized(lower),
        hi if upper is None else quantized(upper),
    )


def requantize(
    acc: np.ndarray,
    multiplier: np.ndarray | np.floating | float,
    zp_y: int,
    clamp: tuple[int, int] = (-128, 127),
    dtype: str = "int8",
) -> np.ndarray:
    """clamp(rne(f32(acc) * multiplier) + zp_y).

    Parameters
    ----------
    acc : integer array
        Exact sums. Their conversion to float32 rounds to nearest even.
    multiplier : float32, or float32 array that broadcasts against acc
    zp_y : int
        Zero point of the output.
    clamp : (int, int)
        The range of the result.
    dtype : str
        The integer type of the result.
    """
    scaled = acc.astype(np.float32) * np.asarray(multiplier, np.float32)
    rounded = np.rint(scaled).astype(np.float64) + zp_y
    return np.clip(rounded, *clamp).astype(dtype)
