"""Quantisation that the graph's tensors cannot express, computed as arithmetic on plain numbers.

Activations that are quantised per channel, in blocks, or as int16 with a zero point; and dynamic
quantisation, where scales are computed from the data at every run (DynamicQuantizeLinear,
MatMulInteger, ConvInteger, as onnxruntime.quantization.quantize_dynamic makes them). Integers are
plain tensors here, without a quantisation of their own.

Sums of products of integers are exact: they are made in float32, as many at a time as stay below
2^24, and added as int32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeinfer.convert.graph import Tensor

from .arithmetic import Arithmetic
from .operands import resolve_axis
from .operation import Handler, Operation
from .values import Array, Unsupported
from .window import Pair, kernel_shape, window

_EXACT = 1 << 24
"""Whole numbers up to this one are float32 numbers, and so are their sums."""
_LARGEST = 255  # of a difference of two 8-bit numbers

_RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}


def quantize_linear(op: Operation) -> None:
    """round(x / scale) + zero point, within the integer type."""
    steps = Arithmetic(op)
    x = steps.floats(0)
    dtype = "uint8"
    if op.has_input(2):
        dtype = (op.value(2).narrow or op.value(2).elements).lower()
    elif op.integer("output_dtype", 0):
        dtype = op.element_type("output_dtype").lower()
    if dtype not in _RANGES:
        raise Unsupported(f"it quantises to {dtype}", "quantise to int8, uint8 or int16")
    scaled = steps.binary("div", x, steps.constant(_spread(op, 1, x.shape), "scale"))
    y = steps.unary("round", scaled)
    if op.has_input(2):
        y = steps.binary("add", y, steps.constant(_spread(op, 2, x.shape), "zero_point"))
    low, high = _RANGES[dtype]
    y = steps.binary("minimum", steps.binary("maximum", y, float(low)), float(high))
    steps.give(steps.cast(y, dtype))


def dequantize_linear(op: Operation) -> None:
    """(x - zero point) * scale."""
    steps = Arithmetic(op)
    x = steps.cast(steps.input(0), "float32")
    if op.has_input(2):
        x = steps.binary("sub", x, steps.constant(_spread(op, 2, x.shape), "zero_point"))
    steps.give(steps.binary("mul", x, steps.constant(_spread(op, 1, x.shape), "scale")))


def _spread(op: Operation, index: int, shape: tuple[int, ...]) -> Array:
    """Scales or zero points so that they broadcast to the tensor."""
    values = op.constant(index, "scale" if index == 1 else "zero point")
    if values.size == 1:
        return values.reshape(())
    axis = resolve_axis(op.integer("axis", 1), len(shape))
    block = op.integer("block_size", 0)
    if block:
        whole = np.repeat(values, block, axis)
        kept = np.take(whole, np.arange(min(shape[axis], whole.shape[axis])), axis)
        if kept.shape != shape:
            raise Unsupported(f"scales of shape {list(values.shape)} for {list(shape)}")
        return kept
    if values.shape != (shape[axis],):
        raise Unsupported(
            f"scales of shape {list(values.shape)} along axis {axis} of {list(shape)}"
        )
    return values.reshape([-1 if i == axis else 1 for i in range(len(shape))])


def dynamic_quantize_linear(op: Operation) -> None:
    """uint8 of a scale and zero point that span zero and all elements."""
    steps = Arithmetic(op)
    x = steps.floats(0)
    axes = tuple(range(len(x.shape)))
    low = steps.binary("minimum", steps.reduce("reduce_min", x, axes, keep_dims=False), 0.0)
    high = steps.binary("maximum", steps.reduce("reduce_max", x, axes, keep_dims=False), 0.0)
    scale = steps.binary("div", steps.binary("sub", high, low), 255.0)
    zero = steps.constant(0.0, "zero")
    one = steps.constant(1.0, "one")  # the scale of nothing but zeros
    scale = steps.where(steps.compare("equal", scale, zero), one, scale)
    point = steps.unary("round", steps.binary("sub", zero, steps.binary("div", low, scale)))
    point = steps.binary("minimum", steps.binary("maximum", point, 0.0), 255.0)
    y = steps.binary("add", steps.unary("round", steps.binary("div", x, scale)), point)
    y = steps.binary("minimum", steps.binary("maximum", y, 0.0), 255.0)
    steps.give(steps.cast(y, "uint8"))
    steps.give(scale, 1)
    steps.give(steps.cast(point, "uint8"), 2)


def matmul_integer(op: Operation) -> None:
    """The int32 product of 8-bit integers less their zero points."""
    steps = Arithmetic(op)
    a, b = _centred(op, steps, 0, 2, rows=True), _centred(op, steps, 1, 3, rows=False)
    if min(len(a.shape), len(b.shape)) < 2:
        raise Unsupported(f"shapes {list(a.shape)} and {list(b.shape)} are not both matrices")
    total = None
    count = a.shape[-1]
    at_once = _EXACT // (_LARGEST * _LARGEST)
    for begin in range(0, count, at_once):
        end = min(begin + at_once, count)
        part = steps.matmul(steps.cut(a, -1, begin, end), steps.cut(b, -2, begin, end))
        whole = steps.cast(part, "int32")
        total = whole if total is None else steps.binary("add", total, whole)
    assert total is not None
    steps.give(total)


def _centred(op: Operation, steps: Arithmetic, index: int, point: int, *, rows: bool) -> Tensor:
    """An operand as float32, less its zero point: one, or one per row or column."""
    x = steps.cast(steps.input(index), "float32")
    if not op.has_input(point):
        return x
    zero_point = steps.cast(steps.input(point), "float32")
    shape = zero_point.shape
    if rows and len(shape) == 1 and shape[0] > 1:
        zero_point = steps.reshape(zero_point, (*shape, 1))
    return steps.binary("sub", x, zero_point)


def conv_integer(op: Operation) -> None:
    """The int32 convolution of 8-bit integers less their zero points; weights are constant."""
    steps = Arithmetic(op)
    x = _centred(op, steps, 0, 2, rows=False)
    w = op.constant(1, "weights").astype(np.float32)
    if op.has_input(3):
        point = op.constant(3, "zero point").astype(np.float32)
        w = w - point.reshape((-1, *([1] * (w.ndim - 1))) if point.size > 1 else ())
    if len(x.shape) != 4 or w.ndim != 4:
        raise Unsupported(f"its input has shape {list(x.shape)}; images of two dimensions are read")
    largest = float(np.abs(w).sum(axis=(1, 2, 3)).max(initial=0)) * _LARGEST
    if largest > _EXACT:
        raise Unsupported(
            f"its sums may be {largest:.0f}, and are exact up to {_EXACT}", "quantise statically"
        )
    kernel: Pair = kernel_shape(op, w.shape)
    win = window(op, kernel)
    n, channels = x.shape[:2]
    image = steps.transpose(x, (0, 2, 3, 1))
    attrs: dict[str, Any] = {
        "strides": win.strides,
        "dilations": win.dilations,
        "pads": win.pads,
        "groups": op.integer("group", 1),
    }
    if channels != w.shape[1] * attrs["groups"] or w.shape[0] % attrs["groups"]:
        raise Unsupported(f"weights of shape {list(w.shape)} for {channels} channels")
    taps = steps.constant(w.transpose(0, 2, 3, 1), "weights")
    y = steps.node("conv2d", [image, taps, None], (n, *win.size, w.shape[0]), **attrs)
    steps.give(steps.cast(steps.transpose(y, (0, 3, 1, 2)), "int32"))


HANDLERS: dict[str, Handler] = {
    "ConvInteger": conv_integer,
    "DequantizeLinear": dequantize_linear,
    "DynamicQuantizeLinear": dynamic_quantize_linear,
    "MatMulInteger": matmul_integer,
    "QuantizeLinear": quantize_linear,
}
"""The two conversions come here where `quantization.is_plain_conversion` says so."""
