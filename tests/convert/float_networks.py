"""Float networks with random weights, as graphs, for tests of quantisation."""

from __future__ import annotations

from typing import Any

import numpy as np

import edgeinfer
from edgeinfer.convert import convert
from edgeinfer.convert.graph import Graph, Tensor
from tests.convert.graphs import GraphBuilder

WINDOW: dict[str, Any] = {"strides": (1, 1), "dilations": (1, 1), "pads": (1, 1, 1, 1)}


def numbers(seed: int, *shape: int) -> np.ndarray:
    """Standard normal float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def small_network() -> Graph:
    """Convolutions, a residual add, a pool, a product: x [1, 8, 8, 3] -> y [1, 5]."""
    b = GraphBuilder()
    x = b.input((1, 8, 8, 3), None)
    first = b.node(
        "conv2d", [x, b.constant(numbers(1, 16, 3, 3, 3) * 0.3), b.constant(numbers(2, 16))],
        (1, 8, 8, 16), None, activation="relu", groups=1, **WINDOW,
    )  # fmt: skip
    second = b.node(
        "depthwise_conv2d", [first, b.constant(numbers(3, 3, 3, 16)), b.constant(numbers(4, 16))],
        (1, 8, 8, 16), None, **WINDOW,
    )  # fmt: skip
    joined = b.node("add", [first, second], (1, 8, 8, 16), None, activation="relu")
    mean = b.node("mean", [joined], (1, 16), None, axes=(1, 2), keep_dims=False)
    w, bias = b.constant(numbers(5, 5, 16)), b.constant(numbers(6, 5))
    return b.build(b.node("fully_connected", [mean, w, bias], (1, 5), None))


CLASSES = 10


def labelled_images(seed: int, count: int, size: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Images [count, 1, size, size, 3] of ten coarse patterns under noise, and which each shows."""
    patterns = np.random.default_rng(99).standard_normal((CLASSES, 1, size // 4, size // 4, 3))
    rng = np.random.default_rng(seed)
    labels = rng.integers(CLASSES, size=count)
    shown = patterns[labels] + 0.4 * rng.standard_normal((count, 1, size // 4, size // 4, 3))
    noise = 0.3 * rng.standard_normal((count, 1, size, size, 3))
    return (shown.repeat(4, 2).repeat(4, 3) + noise).astype(np.float32), labels


def trained_mobilenet(seed: int, spread: int, activation: str = "relu") -> Graph:
    """A MobileNet with random features, and a classifier fitted to `labelled_images`."""
    samples, labels = labelled_images(1000 + seed, 600)
    features = outputs(MobileNet(seed, 0, activation).build(), samples).astype(np.float64)
    features = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    fitted = np.linalg.solve(
        features.T @ features + np.eye(features.shape[1]),
        features.T @ np.eye(CLASSES)[labels],
    )
    return MobileNet(seed, spread, activation).build(fitted[:-1].T, fitted[-1])


SAMPLES = numbers(0, 64, 1, 8, 8, 3)
"""Inputs of `small_network`."""


class MobileNet:
    """Inverted residuals as MobileNet v2 has them: x [1, 16, 16, 3] -> y [1, 64], or classes.

    With `spread`, every channel between two layers is multiplied by 2^k in the one and divided by
    it in the other, k random within +-spread: powers of two change no bit of the float result.
    """

    def __init__(self, seed: int, spread: int, activation: str = "relu") -> None:
        self.b = GraphBuilder()
        self.rng = np.random.default_rng(seed)
        self.scales = np.random.default_rng(seed + 1)  # weights are the same at every spread
        self.spread = spread
        self.activation = activation

    def build(self, w: np.ndarray | None = None, bias: np.ndarray | None = None) -> Graph:
        """The graph, with a fully connected layer at the end where it is given."""
        x = self.b.input((1, 16, 16, 3), None)
        x, into = self.conv(x, np.ones(3), 16, 3, 2, self.activation)
        stream = self.factors(24)
        x, into = self.block(x, into, 24, stream, 2)
        for _ in range(3):
            y, _ = self.block(x, into, 24, stream, 1)
            x = self.b.node("add", [x, y], x.shape, None)
        x, into = self.conv(x, into, 64, 1, 1, self.activation)
        x = self.b.node("mean", [x], (1, 64), None, axes=(1, 2), keep_dims=False)
        if w is None or bias is None:
            return self.b.build(x)
        weights = self.b.constant((w / into).astype(np.float32))
        inputs = [x, weights, self.b.constant(bias.astype(np.float32))]
        return self.b.build(self.b.node("fully_connected", inputs, (1, len(bias)), None))

    def factors(self, channels: int) -> np.ndarray:
        """What each channel of an activation is multiplied by."""
        return 2.0 ** self.scales.integers(-self.spread, self.spread + 1, channels)

    def block(
        self, x: Tensor, into: np.ndarray, channels: int, out: np.ndarray, stride: int
    ) -> tuple[Tensor, np.ndarray]:
        """Expansion, depthwise, projection."""
        wide = 3 * x.shape[3]
        x, into = self.conv(x, into, wide, 1, 1, self.activation)
        x, into = self.depthwise(x, into, stride)
        return self.conv(x, into, channels, 1, 1, None, out)

    def conv(
        self, x: Tensor, into: np.ndarray, channels: int, kernel: int, stride: int,
        activation: str | None, out: np.ndarray | None = None,
    ) -> tuple[Tensor, np.ndarray]:  # fmt: skip
        """A convolution whose weights undo `into` and make channels times `out`."""
        out = self.factors(channels) if out is None else out
        shape = (channels, kernel, kernel, x.shape[3])
        gain = (2 if activation else 1) / np.prod(shape[1:])
        w = self.rng.normal(0, gain**0.5, shape) / into * out[:, None, None, None]
        return self._window("conv2d", x, w, out, kernel, stride, activation, groups=1), out

    def depthwise(self, x: Tensor, into: np.ndarray, stride: int) -> tuple[Tensor, np.ndarray]:
        """The same, channel by channel."""
        out = self.factors(x.shape[3])
        w = self.rng.normal(0, (2 / 9) ** 0.5, (3, 3, x.shape[3])) / into * out
        return self._window("depthwise_conv2d", x, w, out, 3, stride, self.activation), out

    def _window(
        self, op: str, x: Tensor, w: np.ndarray, out: np.ndarray, kernel: int, stride: int,
        activation: str | None, **attrs: Any,
    ) -> Tensor:  # fmt: skip
        bias = (self.rng.normal(0, 0.2, out.size) * out).astype(np.float32)
        _, height, width, _ = x.shape
        pad = kernel // 2
        shape = (1, -(-height // stride), -(-width // stride), out.size)
        return self.b.node(
            op,
            [x, self.b.constant(w.astype(np.float32)), self.b.constant(bias)],
            shape,
            None,
            activation=activation,
            strides=(stride, stride),
            dilations=(1, 1),
            pads=(pad, pad, pad, pad),
            **attrs,
        )


def outputs(model: Any, samples: np.ndarray) -> np.ndarray:
    """What a graph, or a file's bytes, makes of samples: [samples, values]."""
    data = model if isinstance(model, bytes) else convert(model).data
    with edgeinfer.load(data) as loaded:
        return np.stack([np.asarray(loaded.run(x)).reshape(-1) for x in samples])


def sqnr(expected: np.ndarray, found: np.ndarray) -> float:
    """Signal-to-noise ratio in dB."""
    noise = float(((expected.astype(np.float64) - found) ** 2).sum())
    return 10 * float(np.log10(float((expected.astype(np.float64) ** 2).sum()) / max(noise, 1e-30)))


def agreement(expected: np.ndarray, found: np.ndarray) -> float:
    """How often the largest value is the same one."""
    return float((expected.argmax(axis=1) == found.argmax(axis=1)).mean())
