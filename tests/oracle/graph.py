"""What a `Graph` means, computed in float64 on the real numbers that its tensors stand for.

This is neither fast nor any runtime's rounding: quantised results are rounded once, to nearest
even. It serves to tell whether a frontend or a pass understood a model: against another runtime,
moves of elements agree exactly and arithmetic within a step or two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import erf

import numpy as np

from edgeinfer.convert.graph import Graph, Node, Tensor
from tests.oracle import float_operators


def run_graph(graph: Graph, *inputs: np.ndarray) -> list[np.ndarray]:
    """Run a graph on stored (integer) values, in the order of its inputs."""
    values: dict[Tensor, np.ndarray] = {}
    for tensor, given in zip(graph.inputs, inputs, strict=True):
        assert given.shape == tensor.shape and given.dtype == np.dtype(tensor.dtype), tensor
        values[tensor] = given
    for node in graph.nodes:
        operands = [None if t is None else _stored(t, values) for t in node.inputs]
        results = _OPERATORS[node.op](node, operands)
        for tensor, result in zip(node.outputs, results, strict=True):
            assert result.shape == tensor.shape, (node, result.shape)
            values[tensor] = result
    return [_stored(tensor, values) for tensor in graph.outputs]


def _stored(tensor: Tensor, values: dict[Tensor, np.ndarray]) -> np.ndarray:
    return values[tensor] if tensor.data is None else tensor.data


def real(tensor: Tensor, stored: np.ndarray) -> np.ndarray:
    """The real numbers of stored values."""
    q = tensor.quantization
    if q is None:
        return stored.astype(np.float64)
    return (stored.astype(np.float64) - _along(tensor, q.zero_point)) * _along(
        tensor, q.scale.astype(np.float64)
    )


def _along(tensor: Tensor, per_channel: np.ndarray) -> np.ndarray:
    assert tensor.quantization is not None
    if per_channel.size == 1:
        return per_channel.reshape(())
    axis = tensor.quantization.axis
    assert tensor.shape[axis] == per_channel.size
    return per_channel.reshape([-1 if i == axis else 1 for i in range(len(tensor.shape))])


def store(tensor: Tensor, numbers: np.ndarray) -> np.ndarray:
    """Real numbers as the tensor stores them."""
    q = tensor.quantization
    if q is None:
        return numbers.astype(tensor.dtype)
    limits = np.iinfo(tensor.dtype)
    steps = np.rint(numbers / _along(tensor, q.scale.astype(np.float64)))
    stored = np.clip(steps + _along(tensor, q.zero_point), limits.min, limits.max)
    return stored.astype(tensor.dtype)


def _activated(node: Node, y: np.ndarray) -> np.ndarray:
    bounds = {
        None: (None, None),
        "relu": (0, None),
        "relu6": (0, 6),
        "relu_n1_to_1": (-1, 1),
    }
    if isinstance(node.activation, tuple):
        low, high = node.activation[1:]
    else:
        low, high = bounds[node.activation]
    if low is None and high is None:
        return y
    return np.clip(y, low, high)


Operator = Callable[[Node, Sequence[np.ndarray | None]], list[np.ndarray]]


def _computed(function: Callable[..., np.ndarray]) -> Operator:
    """An operator given by what it does to the real numbers: function(node, *operands)."""

    def run(node: Node, operands: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        numbers = [
            None if stored is None else real(node.input(i), stored)
            for i, stored in enumerate(operands)
        ]
        y = _activated(node, np.asarray(function(node, *numbers)))
        return [store(node.output, y)]

    return run


def _unary(function: Callable[[np.ndarray], np.ndarray]) -> Operator:
    def clipped(node: Node, x: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.clip(function(x), -1e30, 1e30)

    return _computed(clipped)


# --- sums of products


def _taps(node: Node, x: np.ndarray, kernel: Sequence[int]) -> np.ndarray:
    """Every tap of every window: [N, OH, OW, KH, KW, C]; NaN outside of the image."""
    top, left, bottom, right = node.attrs["pads"]
    strides = node.attrs["strides"]
    dilations = node.attrs.get("dilations", (1, 1))
    padded = np.pad(x, [(0, 0), (top, bottom), (left, right), (0, 0)], constant_values=np.nan)
    rows, columns = (
        (np.arange(n) * stride)[:, None] + (np.arange(k) * dilation)[None, :]
        for n, k, stride, dilation in zip(
            node.output.shape[1:3], kernel, strides, dilations, strict=True
        )
    )
    return padded[:, rows[:, None, :, None], columns[None, :, None, :], :]


def _conv2d(node: Node, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    groups = node.attrs["groups"]
    out_channels, kernel_h, kernel_w, depth = w.shape
    taps = np.nan_to_num(_taps(node, x, (kernel_h, kernel_w)))
    taps = taps.reshape(*taps.shape[:5], groups, depth)
    filters = w.reshape(groups, out_channels // groups, kernel_h, kernel_w, depth)
    y = np.einsum("nyxhwgc,gohwc->nyxgo", taps, filters)
    return _biased(y.reshape(*y.shape[:3], out_channels), bias)


def _depthwise(
    node: Node, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None = None
) -> np.ndarray:
    taps = np.nan_to_num(_taps(node, x, w.shape[:2]))
    taps = np.repeat(taps, w.shape[2] // x.shape[3], axis=5)
    return _biased(np.einsum("nyxhwc,hwc->nyxc", taps, w), bias)


def _transpose_conv2d(
    node: Node, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None = None
) -> np.ndarray:
    groups = node.attrs["groups"]
    (stride_h, stride_w), (dilation_h, dilation_w) = node.attrs["strides"], node.attrs["dilations"]
    n, height, width, _ = x.shape
    out_channels, kernel_h, kernel_w, _ = w.shape
    full = np.zeros(
        (
            n,
            (kernel_h - 1) * dilation_h + (height - 1) * stride_h + 1,
            (kernel_w - 1) * dilation_w + (width - 1) * stride_w + 1,
            out_channels,
        )
    )
    for i in range(kernel_h):
        for j in range(kernel_w):
            rows = slice(i * dilation_h, i * dilation_h + (height - 1) * stride_h + 1, stride_h)
            columns = slice(j * dilation_w, j * dilation_w + (width - 1) * stride_w + 1, stride_w)
            grouped = x.reshape(n, height, width, groups, -1)
            filters = w[:, i, j].reshape(groups, out_channels // groups, -1)
            products = np.einsum("nyxgc,goc->nyxgo", grouped, filters)
            full[:, rows, columns] += products.reshape(n, height, width, out_channels)
    top, left, bottom, right = node.attrs["pads"]
    full = np.pad(full, [(0, 0), (0, max(-bottom, 0)), (0, max(-right, 0)), (0, 0)])
    oh, ow = node.output.shape[1:3]
    assert (oh, ow) == (
        full.shape[1] - top - max(bottom, 0),
        full.shape[2] - left - max(right, 0),
    )
    return _biased(full[:, top : top + oh, left : left + ow], bias)


def _fully_connected(
    node: Node, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None = None
) -> np.ndarray:
    return _biased(x @ w.T, bias)


def _biased(y: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    return y if bias is None else y + bias


def _batch_matmul(node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if node.attrs["transpose_a"]:
        a = np.swapaxes(a, -1, -2)
    if node.attrs["transpose_b"]:
        b = np.swapaxes(b, -1, -2)
    return a @ b


# --- pools, reductions, resizing


def _avg_pool2d(node: Node, x: np.ndarray) -> np.ndarray:
    taps = _taps(node, x, node.attrs["kernel"])
    if node.attrs["count_include_pad"]:
        taps = np.nan_to_num(taps)
    return np.nanmean(taps, axis=(3, 4))


def _max_pool2d(node: Node, x: np.ndarray) -> np.ndarray:
    return np.nanmax(_taps(node, x, node.attrs["kernel"]), axis=(3, 4))


def _reduce(function: Callable[..., np.ndarray]) -> Operator:
    return _computed(
        lambda node, x: function(x, axis=node.attrs["axes"], keepdims=node.attrs["keep_dims"])
    )


def _softmax(node: Node, x: np.ndarray) -> np.ndarray:
    axis = node.attrs["axis"]
    e = np.exp(node.attrs["beta"] * (x - x.max(axis=axis, keepdims=True)))
    return e / e.sum(axis=axis, keepdims=True)


def _positions(node: Node, axis: int) -> np.ndarray:
    n_in, n_out = node.input(0).shape[axis], node.output.shape[axis]
    coordinates, scales = node.attrs["coordinates"], node.attrs.get("scales")
    o = np.arange(n_out, dtype=np.float64)
    if coordinates == "align_corners":
        return o * ((n_in - 1) / (n_out - 1)) if n_out > 1 else o * 0
    if coordinates == "pytorch_half_pixel" and n_out == 1:
        return o * 0
    step = n_in / n_out if scales is None else 1 / scales[axis - 1]
    return o * step if coordinates == "asymmetric" else (o + 0.5) * step - 0.5


def _resize_linear(node: Node, x: np.ndarray) -> np.ndarray:
    for axis in (1, 2):
        n_in = x.shape[axis]
        p = np.clip(_positions(node, axis), 0, n_in - 1)
        low = np.floor(p).astype(int)
        high = np.minimum(low + 1, n_in - 1)
        part = (p - low).reshape([-1 if i == axis else 1 for i in range(4)])
        x = np.take(x, low, axis) * (1 - part) + np.take(x, high, axis) * part
    return x


_ROUNDINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "ceil": np.ceil,
    "floor": np.floor,
    "round_half_up": lambda p: np.floor(p + 0.5),
    "round_prefer_ceil": lambda p: np.floor(p + 0.5),
    "round_prefer_floor": lambda p: np.ceil(p - 0.5),
}


def _resize_nearest(node: Node, stored: np.ndarray) -> np.ndarray:
    for axis in (1, 2):
        # Exact halves and integers are what matters; the last bits of a quotient are not.
        p = np.round(_positions(node, axis), 9)
        nearest = _ROUNDINGS[node.attrs["rounding"]](p)
        stored = np.take(stored, np.clip(nearest, 0, stored.shape[axis] - 1).astype(int), axis)
    return stored


def _resize(node: Node, operands: Sequence[np.ndarray | None]) -> list[np.ndarray]:
    if node.attrs["mode"] == "linear":
        return _computed(_resize_linear)(node, operands)
    (stored,) = operands
    assert stored is not None
    return [_resize_nearest(node, stored)]


def _arg(function: Callable[..., np.ndarray]) -> Operator:
    def run(node: Node, operands: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        (stored,) = operands
        assert stored is not None
        axis = node.attrs["axis"]
        last = node.attrs["select_last"]
        index = function(np.flip(stored, axis) if last else stored, axis=axis, keepdims=True)
        index = stored.shape[axis] - 1 - index if last else index
        index = index if node.attrs["keep_dims"] else np.squeeze(index, axis)
        return [index.astype(node.output.dtype)]

    return run


# --- moves


def _moving(function: Callable[..., np.ndarray | list[np.ndarray]]) -> Operator:
    """An operator on stored values."""

    def run(node: Node, operands: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        moved = function(node, *operands)
        return moved if isinstance(moved, list) else [moved]

    return run


def _slice(node: Node, stored: np.ndarray) -> np.ndarray:
    if not stored.shape:
        return stored
    return stored[
        np.ix_(
            *(
                begin + stride * np.arange(n)
                for begin, stride, n in zip(
                    node.attrs["begin"], node.attrs["strides"], node.output.shape, strict=True
                )
            )
        )
    ]


def _pad(node: Node, stored: np.ndarray) -> np.ndarray:
    widths = list(zip(node.attrs["before"], node.attrs["after"], strict=True))
    mode = node.attrs["mode"]
    if mode == "constant":
        value = store(node.output, np.asarray(node.attrs["value"]))
        return np.pad(stored, widths, constant_values=value)
    return np.pad(stored, widths, mode=mode)


def _gelu(node: Node, x: np.ndarray) -> np.ndarray:
    if node.attrs["approximate"]:
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + np.vectorize(erf)(x / np.sqrt(2)))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


_OPERATORS: dict[str, Operator] = {
    "abs": _unary(np.abs),
    "add": _computed(lambda node, a, b: a + b),
    "argmax": _arg(np.argmax),
    "argmin": _arg(np.argmin),
    "avg_pool2d": _computed(_avg_pool2d),
    "batch_matmul": _computed(_batch_matmul),
    "clip": _computed(lambda node, x: np.clip(x, node.attrs["min"], node.attrs["max"])),
    "concat": _computed(lambda node, *xs: np.concatenate(xs, axis=node.attrs["axis"])),
    "conv2d": _computed(_conv2d),
    "depthwise_conv2d": _computed(_depthwise),
    "dequantize": _computed(lambda node, x: x),
    "elu": _computed(lambda node, x: np.where(x > 0, x, node.attrs["alpha"] * np.expm1(x))),
    "erf": _unary(np.vectorize(erf)),
    "exp": _unary(np.exp),
    "fully_connected": _computed(_fully_connected),
    "gather": _moving(lambda node, x, i: np.take(x, i, axis=node.attrs["axis"])),
    "gelu": _computed(_gelu),
    "hard_sigmoid": _computed(
        lambda node, x: np.clip(x * node.attrs["alpha"] + node.attrs["beta"], 0, 1)
    ),
    "hard_swish": _unary(lambda x: x * np.clip(x + 3, 0, 6) / 6),
    "leaky_relu": _computed(lambda node, x: np.where(x >= 0, x, node.attrs["alpha"] * x)),
    "log": _unary(np.log),
    "max_pool2d": _computed(_max_pool2d),
    "maximum": _computed(lambda node, a, b: np.maximum(a, b)),
    "mean": _reduce(np.mean),
    "minimum": _computed(lambda node, a, b: np.minimum(a, b)),
    "mul": _computed(lambda node, a, b: a * b),
    "neg": _unary(np.negative),
    "pad": _moving(_pad),
    "prelu": _computed(lambda node, x, slope: np.where(x >= 0, x, slope * x)),
    "quantize": _computed(lambda node, x: x),
    "reduce_max": _reduce(np.max),
    "reduce_min": _reduce(np.min),
    "relu": _unary(lambda x: np.maximum(x, 0)),
    "relu6": _unary(lambda x: np.clip(x, 0, 6)),
    "requantize": _computed(lambda node, x: x),
    "reshape": _moving(lambda node, x: x.reshape(node.output.shape)),
    "resize": _resize,
    "rsqrt": _unary(lambda x: 1 / np.sqrt(x)),
    "sigmoid": _unary(_sigmoid),
    "silu": _unary(lambda x: x * _sigmoid(x)),
    "slice": _moving(_slice),
    "softmax": _computed(_softmax),
    "softplus": _unary(lambda x: np.log1p(np.exp(x))),
    "split": _moving(
        lambda node, x: np.split(x, np.cumsum(node.attrs["sizes"])[:-1], axis=node.attrs["axis"])
    ),
    "sqrt": _unary(np.sqrt),
    "square": _unary(np.square),
    "sub": _computed(lambda node, a, b: a - b),
    "sum": _reduce(np.sum),
    "tanh": _unary(np.tanh),
    "transpose_conv2d": _computed(_transpose_conv2d),
    "transpose": _moving(lambda node, x: x.transpose(node.attrs["perm"])),
}
_OPERATORS.update({name: _computed(function) for name, function in float_operators.REAL.items()})
_OPERATORS.update({name: _moving(function) for name, function in float_operators.PLAIN.items()})
_OPERATORS["top_k"] = lambda node, operands: float_operators.top_k(
    node, [x for x in operands if x is not None]
)
