"""Cases of the convolution family: numbers and geometry, drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import note

from tests.kernels.draw import LIMITS, Draw
from tests.kernels.run_operation import RowRange
from tests.oracle.requantize import requantize

CHANNELS = [1, 2, 3, 4, 5, 8, 15, 16, 17, 20, 33]
GROUPS = [1, 1, 1, 2, 3]
DILATIONS = [(1, 1), (1, 1), (1, 1), (2, 1), (1, 2), (3, 2)]


def draw_pair(draw: Draw, low: int, high: int) -> tuple[int, int]:
    """Of height and width: low <= both <= high."""
    return draw.integer(low, high), draw.integer(low, high)


@dataclass(frozen=True)
class Quantization:
    """Everything about numbers that is not a shape."""

    dtype: str
    seed: int
    x_zero_point: int
    y_zero_point: int
    clamp: tuple[int, int]
    values: str
    spread: str

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    def activation(self, shape: tuple[int, ...]) -> np.ndarray:
        low, high = LIMITS[self.dtype]
        if self.values == "lowest":
            return np.full(shape, low, self.dtype)
        if self.values == "extremes":
            return self.rng().choice([low, high], shape).astype(self.dtype)
        return self.rng().integers(low, high, shape, endpoint=True).astype(self.dtype)

    def weights(self, shape: tuple[int, ...]) -> np.ndarray:
        if self.values == "lowest":
            return np.full(shape, -128, np.int8)
        if self.values == "extremes":
            return self.rng().choice([-128, 127], shape).astype(np.int8)
        return self.rng().integers(-128, 128, shape).astype(np.int8)

    def bias(self, channels: int) -> np.ndarray:
        return self.rng().integers(-(2**15), 2**15, channels)

    def multipliers(self, sums: np.ndarray) -> np.ndarray:
        """One per channel, such that outputs spread over the range, hit ties, or saturate."""
        channels = sums.shape[-1]
        largest = np.abs(sums).max() + 1
        if self.spread == "saturating":
            return np.full(channels, 1e30, np.float32)
        if self.spread == "ties":
            power = np.ceil(np.log2(largest / LIMITS[self.dtype][1]))
            return np.full(channels, 2.0 ** -max(power, 1), np.float32)
        step = LIMITS[self.dtype][1] * 1.5 / largest
        return (step * self.rng().uniform(0.1, 1, channels)).astype(np.float32)

    def finish(self, sums: np.ndarray, multiplier: np.ndarray | float) -> np.ndarray:
        if self.dtype == "int8":
            sums = sums.astype(np.int32)  # as the kernels wrap
        with np.errstate(over="ignore"):  # a product of infinity saturates
            return requantize(sums, multiplier, self.y_zero_point, self.clamp, self.dtype)

    def params(self) -> dict[str, int | float]:
        low, high = self.clamp
        return {"out_zero_point": self.y_zero_point, "clamp_min": low, "clamp_max": high}


def draw_quantization(draw: Draw) -> Quantization:
    dtype = draw.choice(["int8", "int8", "int16"])
    quantization = Quantization(
        dtype,
        draw.integer(0, 2**32 - 1),
        draw.zero_point(dtype),
        draw.zero_point(dtype),
        draw.clamp(dtype),
        draw.choice(["random", "random", "random", "extremes", "lowest"]),
        draw.choice(["typical", "typical", "ties", "saturating"]),
    )
    note(str(quantization))
    return quantization


@dataclass(frozen=True)
class Window:
    """Geometry of a convolution; out is what the padding leaves."""

    batch: int
    image: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]

    @property
    def out(self) -> tuple[int, int]:
        height, width = (
            (size + sum(pads) - (k - 1) * d - 1) // s + 1
            for size, pads, k, d, s in zip(
                self.image, self.padding, self.kernel, self.dilations, self.strides, strict=True
            )
        )
        return height, width

    @property
    def leaves_image(self) -> bool:
        return any(
            pads[0] > 0 or (out - 1) * s - pads[0] + (k - 1) * d >= size
            for size, pads, k, d, s, out in zip(
                self.image,
                self.padding,
                self.kernel,
                self.dilations,
                self.strides,
                self.out,
                strict=True,
            )
        )

    def params(self) -> dict[str, int | float]:
        names = ["kernel", "stride", "dilation"]
        pairs = zip(names, (self.kernel, self.strides, self.dilations), strict=True)
        params: dict[str, int | float] = {
            f"{name}_{axis}": pair[i] for name, pair in pairs for i, axis in enumerate("hw")
        }
        return {**params, "pad_top": self.padding[0][0], "pad_left": self.padding[1][0]}

    def reads(self, begin: int, end: int) -> tuple[int, int]:
        """Rows between the first and the last tap of output rows [begin, end), in the images."""
        first_image, first_row = divmod(begin, self.out[0])
        last_image, last_row = divmod(end - 1, self.out[0])
        height, reach = self.image[0], (self.kernel[0] - 1) * self.dilations[0] + 1
        first = first_row * self.strides[0] - self.padding[0][0]
        last = last_row * self.strides[0] - self.padding[0][0] + reach
        low = first_image * height + min(max(first, 0), height)
        high = last_image * height + min(max(last, 0), height)
        return low, max(low, high)


def draw_window(draw: Draw) -> Window:
    kernel, stride = draw_pair(draw, 1, 7), draw_pair(draw, 1, 3)
    dilation = draw.choice(DILATIONS)

    def axis(k: int, d: int) -> tuple[int, tuple[int, int]]:
        reach = (k - 1) * d + 1
        before, after = draw.choice([(0, 0), draw_pair(draw, 0, k), draw_pair(draw, 0, reach)])
        smallest = max(reach - before - after, 1)
        return draw.integer(smallest, smallest + 6), (before, after)

    height, rows = axis(kernel[0], dilation[0])
    width, columns = axis(kernel[1], dilation[1])
    batch = draw.choice([1, 1, 2, 3])
    window = Window(batch, (height, width), kernel, stride, dilation, (rows, columns))
    note(str(window))
    return window


def transposed_reads(window: Window, out_height: int) -> RowRange:
    """Rows between the first and the last input that output rows gather, in the images."""

    def reads(begin: int, end: int) -> tuple[int, int]:
        first_image, first_row = divmod(begin, out_height)
        last_image, last_row = divmod(end - 1, out_height)
        height, stride, pad = window.image[0], window.strides[0], window.padding[0][0]
        reach = first_row + pad - (window.kernel[0] - 1) * window.dilations[0]
        first = min(max(0, -(-reach // stride)), height)
        last = min((last_row + pad) // stride + 1, height)
        low, high = first_image * height + first, last_image * height + last
        return low, max(low, high)

    return reads
