"""What the hypothesis tests of this directory draw: scales, zero points, arrays with extremes."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

#: Every int8 value, and every pair of them, as rows of a batch of one.
ALL_INT8 = np.arange(-128, 128, dtype=np.int8).reshape(1, 256)
PAIRS = np.stack(np.meshgrid(ALL_INT8[0], ALL_INT8[0])).reshape(2, 1, -1)

zero_points = st.one_of(st.integers(-128, 127), st.sampled_from([-128, -1, 0, 1, 127]))
activations = st.sampled_from(["NONE", "RELU", "RELU6", "RELU_N1_TO_1"])
seeds = st.integers(0, 2**32 - 1)
_pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def scales(draw: st.DrawFn, low: float = 2.0**-12, high: float = 1.0) -> float:
    """A float32 scale: half of them few-bit numbers, for which results land on ties."""
    exponent = draw(st.floats(float(np.log2(low)), float(np.log2(high))))
    if draw(st.booleans()):
        return float(np.float32(2.0**exponent))
    return float(2.0 ** round(exponent) * draw(st.sampled_from([0.75, 1.0, 1.25])))


@st.composite
def ratios(draw: st.DrawFn, low: float, high: float) -> float:
    """A factor between two scales, log-uniform, often a power of two."""
    return draw(scales(low, high))


@st.composite
def windows(draw: st.DrawFn):
    """Image, kernel, strides, dilations and padding of a convolution with an output."""
    kernel = draw(_pairs)
    strides = draw(_pairs)
    dilated = strides == (1, 1)
    dilations = draw(_pairs) if dilated else (1, 1)
    padding = draw(st.sampled_from(["SAME", "VALID"]))
    least = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    image = tuple(draw(st.integers(n, n + 8)) for n in least)
    return image, kernel, strides, dilations, padding


def integers(seed: int, shape: tuple[int, ...], dtype: str = "int8") -> np.ndarray:
    """Random integers of the whole range; one array in four holds only the two extremes."""
    rng = np.random.default_rng(seed)
    info = np.iinfo(dtype)
    if seed % 4 == 0:
        return rng.choice([info.min, info.max], shape).astype(dtype)
    return rng.integers(info.min, info.max + 1, shape).astype(dtype)


def weights(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """int8 weights; one array in four is all -128, the value that symmetric schemes avoid."""
    if seed % 4 == 1:
        return np.full(shape, -128, np.int8)
    return integers(seed, shape)


def channel_scales(seed: int, count: int) -> np.ndarray:
    """float32 scales of `count` output channels, spread over a factor of four."""
    exponent = np.random.default_rng(seed).uniform(-9, -7, count)
    return (2.0**exponent).astype(np.float32)


def biases(seed: int, count: int) -> np.ndarray:
    """int32 biases."""
    return np.random.default_rng(seed).integers(-20000, 20000, count).astype(np.int32)


def output_scale(sums: np.ndarray, s_x: float, s_w: np.ndarray, spread: float) -> float:
    """A scale that brings `sums` to a standard deviation of `spread` steps of int8."""
    deviation = float(np.std(sums.astype(np.float64) * s_x * s_w)) or s_x * float(np.mean(s_w))
    return float(np.float32(deviation / spread))
