"""Normalisation in all its forms.

BatchNormalization is one multiplication and one addition per channel, which a pass folds into the
convolution beside it. Instance and group normalisation are a layer normalisation of a reshaped
tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from edgeinfer.convert.graph import Tensor

from .arithmetic import Arithmetic
from .operands import resolve_axes, resolve_axis
from .operation import Handler, Operation
from .values import Unsupported


def batch_normalization(op: Operation) -> None:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, per channel of NC..."""
    if op.integer("training_mode", 0) or any(op.has_output(i) for i in range(1, 5)):
        raise Unsupported("it is in training mode", "export the model for inference")
    steps = Arithmetic(op)
    epsilon = op.number("epsilon", 1e-5)
    x = steps.floats(0)
    channels = _along(x, 1)
    if all(op.value(i).constant_data is not None for i in range(1, 5)):
        # In float64: what the pass folds into weights is rounded once.
        scale, bias, mean, variance = (
            op.constant(i, "scale").astype(np.float64) for i in range(1, 5)
        )
        if np.any(variance + epsilon <= 0):
            raise Unsupported("its variance and epsilon are not positive")
        factor = scale / np.sqrt(variance + epsilon)
        factors = steps.constant(factor.reshape(channels), "factor")
        offsets = steps.constant((bias - mean * factor).reshape(channels), "offset")
        steps.give(steps.binary("add", steps.binary("mul", x, factors), offsets))
        return
    scale_, bias_, mean_, variance_ = (
        steps.reshape(steps.floats(i), channels) for i in range(1, 5)
    )
    deviation = steps.unary("sqrt", steps.binary("add", variance_, epsilon))
    factor_ = steps.binary("div", scale_, deviation)
    centred = steps.binary("sub", x, mean_)
    steps.give(steps.binary("add", steps.binary("mul", centred, factor_), bias_))


def instance_normalization(op: Operation) -> None:
    """Every channel of every image by itself, then scale and bias per channel."""
    steps = Arithmetic(op)
    x = steps.floats(0)
    normal = _normalised_in_groups(steps, x, x.shape[1], op.number("epsilon", 1e-5))
    steps.give(_affine(op, steps, normal, _along(x, 1)))


def group_normalization(op: Operation) -> None:
    """Groups of channels by themselves; scale and bias per channel."""
    steps = Arithmetic(op)
    x = steps.floats(0)
    groups = op.integer("num_groups", 1)
    if groups < 1 or len(x.shape) < 2 or x.shape[1] % groups:
        raise Unsupported(f"{groups} groups of the channels of {list(x.shape)}")
    epsilon = op.number("epsilon", 1e-5)
    normal = _normalised_in_groups(steps, x, groups, epsilon)
    steps.give(_affine(op, steps, normal, _along(x, 1)))


def _normalised_in_groups(steps: Arithmetic, x: Tensor, groups: int, epsilon: float) -> Tensor:
    grouped = (x.shape[0], groups, prod(x.shape[1:]) // groups)
    normal = _layer_norm(steps, steps.reshape(x, grouped), 2, epsilon)
    return steps.reshape(normal, x.shape)


def _affine(op: Operation, steps: Arithmetic, x: Tensor, shape: Sequence[int]) -> Tensor:
    """Inputs 1 and 2 are scale and bias."""
    scaled = steps.binary("mul", x, steps.reshape(steps.floats(1), shape))
    return steps.binary("add", scaled, steps.reshape(steps.floats(2), shape))


def _layer_norm(steps: Arithmetic, x: Tensor, axis: int, epsilon: float) -> Tensor:
    return steps.node("layer_norm", [x, None, None], x.shape, axis=axis, epsilon=epsilon)


def layer_normalization(op: Operation) -> None:
    """All axes from one on together, then scale and bias; the statistics where they are read."""
    if op.integer("stash_type", 1) != 1:
        raise Unsupported("stash_type is not float32")
    steps = Arithmetic(op)
    x = steps.floats(0)
    axis = resolve_axis(op.integer("axis", -1), len(x.shape))
    epsilon = op.number("epsilon", 1e-5)
    rest = x.shape[axis:]
    scale = _normal_shape(steps, steps.floats(1), rest)
    bias = _normal_shape(steps, steps.floats(2), rest) if op.has_input(2) else None
    attrs: dict[str, Any] = {"axis": axis, "epsilon": epsilon}
    if scale is not None and (bias is not None or not op.has_input(2)):
        steps.give(steps.node("layer_norm", [x, scale, bias], x.shape, **attrs))
    else:
        y = steps.binary("mul", _layer_norm(steps, x, axis, epsilon), steps.floats(1))
        steps.give(steps.binary("add", y, steps.floats(2)) if op.has_input(2) else y)
    if op.has_output(1) or op.has_output(2):
        axes = tuple(range(axis, len(x.shape)))
        mean = steps.reduce("mean", x, axes)
        if op.has_output(1):
            steps.give(mean, 1)
        if op.has_output(2):
            square = steps.unary("square", steps.binary("sub", x, mean))
            variance = steps.binary("add", steps.reduce("mean", square, axes), epsilon)
            steps.give(steps.unary("reciprocal", steps.unary("sqrt", variance)), 2)


def rms_normalization(op: Operation) -> None:
    """x / sqrt(mean of squares + epsilon) * scale, over all axes from one on."""
    if op.integer("stash_type", 1) != 1:
        raise Unsupported("stash_type is not float32")
    steps = Arithmetic(op)
    x = steps.floats(0)
    axis = resolve_axis(op.integer("axis", -1), len(x.shape))
    attrs: dict[str, Any] = {"axis": axis, "epsilon": op.number("epsilon", 1e-5)}
    scale = _normal_shape(steps, steps.floats(1), x.shape[axis:])
    y = steps.node("rms_norm", [x, scale], x.shape, **attrs)
    steps.give(steps.binary("mul", y, steps.floats(1)) if scale is None else y)


def _normal_shape(steps: Arithmetic, scale: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    """A scale as layer_norm takes it, or None where it must be a multiplication of its own."""
    if scale.shape == shape:
        return scale
    if scale.data is not None:
        try:
            return steps.constant(np.broadcast_to(scale.data, shape), "scale")
        except ValueError:
            return None
    return None


def lp_normalization(op: Operation) -> None:
    """x over the norm along an axis; 0 where the norm is 0."""
    steps = Arithmetic(op)
    x = steps.floats(0)
    axis = resolve_axis(op.integer("axis", -1), len(x.shape))
    if op.integer("p", 2) == 1:
        norm = steps.reduce("sum", steps.unary("abs", x), (axis,))
    elif op.integer("p", 2) == 2:
        norm = steps.unary("sqrt", steps.reduce("sum", steps.unary("square", x), (axis,)))
    else:
        raise Unsupported(f"p is {op.integer('p', 2)}; 1 and 2 are available")
    zero = steps.constant(0.0, "zero")
    y = steps.binary("div", x, norm)
    steps.give(steps.where(steps.compare("equal", norm, zero), zero, y))


def mean_variance_normalization(op: Operation) -> None:
    """(x - mean) / (deviation + 1e-9) over axes, 0, 2 and 3 by default."""
    steps = Arithmetic(op)
    x = steps.floats(0)
    axes = resolve_axes(op.integer_list("axes") or (0, 2, 3), len(x.shape))
    mean = steps.reduce("mean", x, axes)
    centred = steps.binary("sub", x, mean)
    variance = steps.reduce("mean", steps.unary("square", centred), axes)
    deviation = steps.binary("add", steps.unary("sqrt", variance), 1e-9)
    steps.give(steps.binary("div", centred, deviation))


def local_response_normalization(op: Operation) -> None:
    """x / (bias + alpha * mean of squares of neighbouring channels) ^ beta.

    The mean counts channels outside of the tensor as zeros: an average pool with the channels as
    the columns of an image.
    """
    steps = Arithmetic(op)
    x = steps.floats(0)
    size = op.integer("size", 1)
    if size < 1 or len(x.shape) < 3:
        raise Unsupported(f"size {size} for an input of shape {list(x.shape)}")
    n, channels, pixels = x.shape[0], x.shape[1], prod(x.shape[2:])
    before = (size - 1) // 2
    flat = steps.reshape(steps.unary("square", x), (n, 1, channels, pixels))
    mean = steps.node(
        "avg_pool2d",
        [flat],
        flat.shape,
        kernel=(1, size),
        strides=(1, 1),
        pads=(0, before, 0, size - 1 - before),
        count_include_pad=True,
    )
    scaled = steps.binary("mul", steps.reshape(mean, x.shape), op.number("alpha", 1e-4))
    base = steps.binary("add", scaled, op.number("bias", 1.0))
    steps.give(steps.binary("div", x, steps.binary("pow", base, op.number("beta", 0.75))))


def _along(x: Tensor, axis: int) -> tuple[int, ...]:
    """The shape of one value per element of an axis, to broadcast to x."""
    if len(x.shape) <= axis:
        raise Unsupported(f"its input has shape {list(x.shape)}")
    return (x.shape[axis], *([1] * (len(x.shape) - axis - 1)))


HANDLERS: dict[str, Handler] = {
    "BatchNormalization": batch_normalization,
    "GroupNormalization": group_normalization,
    "InstanceNormalization": instance_normalization,
    "LRN": local_response_normalization,
    "LayerNormalization": layer_normalization,
    "LpNormalization": lp_normalization,
    "MeanVarianceNormalization": mean_variance_normalization,
    "RMSNormalization": rms_normalization,
}
