"""What weights and biases must be, and how odd ones are read.

- Weights are int8 and symmetric, per tensor or per output channel. Stored with a zero point they
  are taken where weight - zero_point fits int8, as of uint8 weights with zero point 128.
- A float bias, and one whose scale differs from s_x * s_w by more than rounding (1 in 10,000), is
  brought to s_x * s_w, rounding to nearest even.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Quantization, Tensor

from .operation import Operation
from .values import Array, Unsupported

Scales: TypeAlias = npt.NDArray[np.float32]

_BIAS_SCALE_TOLERANCE = 1e-4


def resolve_axis(axis: int, rank: int) -> int:
    """An axis that may count from the end, as one that does not."""
    if not -rank <= axis < rank:
        raise Unsupported(f"axis {axis} of a tensor of {rank} axes")
    return axis % rank


def resolve_axes(axes: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """Axes in ascending order, each once."""
    return tuple(sorted({resolve_axis(axis, rank) for axis in axes}))


def channel_quantization(scale: Scales, axis: int = 0) -> Quantization:
    """Symmetric quantisation, per channel along `axis` when there are several scales."""
    return Quantization(scale, np.zeros(scale.shape, np.int64), axis if scale.size > 1 else 0)


def weights(op: Operation, index: int, axis: int) -> Tensor:
    """Constant weights as the file lays them out, with output channels along `axis`.

    int8 and symmetric; or float32, where the file has left them so: that is reported when the
    model is lowered, unless something takes the operator away before.
    """
    stored = op.operand(index)
    if stored.data is None:
        raise Unsupported(
            f"its weights (tensor {stored.name!r}) are computed at run time",
            "store the weights in the model",
        )
    if stored.quantization is None:
        return stored
    if stored.dtype not in ("int8", "uint8"):
        raise Unsupported(f"its weights are {stored.dtype}; int8 is needed")
    q = stored.quantization
    if not q.is_per_tensor and q.axis != axis:
        raise Unsupported(
            f"its weights have a scale for each of {q.scale.size} along axis {q.axis}",
            "quantise per tensor or per output channel",
        )
    zero_point = q.zero_point
    if not q.is_per_tensor:
        zero_point = zero_point.reshape([-1 if i == axis else 1 for i in range(stored.data.ndim)])
    centred = stored.data.astype(np.int64) - zero_point
    if np.any(centred < -128) or np.any(centred > 127):
        odd = int(q.zero_point[q.zero_point != 0][0])
        raise Unsupported(
            f"its weights are asymmetric {stored.dtype} (zero point {odd})",
            "quantise again with weight_type=QuantType.QInt8 and WeightSymmetric in extra_options",
        )
    return Tensor(
        stored.name,
        stored.shape,
        "int8",
        channel_quantization(q.scale, axis),
        centred.astype(np.int8),
    )


def laid_out(w: Tensor, data: Array, axis: int) -> Tensor:
    """Weights `w` in another layout, with output channels along `axis`."""
    data = np.ascontiguousarray(data)
    quantization = w.quantization and channel_quantization(w.quantization.scale, axis)
    return Tensor(w.name, data.shape, w.dtype, quantization, data)


def bias(
    op: Operation, x: Tensor, w: Tensor, index: int, channels: int, factor: float = 1.0
) -> Tensor | None:
    """The bias of a node, one value per output channel.

    Of a quantised node it is int32 at scale s_x * s_w, int64 for int16 activations; of others
    float32.

    Parameters
    ----------
    factor : the bias is multiplied by this (beta of Gemm).
    """
    if not op.has_input(index):
        return None
    stored = op.operand(index)
    if stored.data is None:
        raise Unsupported(
            f"its bias (tensor {stored.name!r}) is computed at run time",
            "store the bias in the model, or add it in a node of its own",
        )
    name, data = stored.name, stored.data.reshape(-1)
    if data.size != channels:
        if data.size != 1:
            raise Unsupported(f"its bias has {data.size} values for {channels} channels")
        data = np.repeat(data, channels)
    if x.quantization is None or w.quantization is None or not x.quantization.is_per_tensor:
        real = op.constant(index, "bias").reshape(-1).astype(np.float32) * np.float32(factor)
        real = np.broadcast_to(real, (channels,)).copy()
        return Tensor(name, (channels,), "float32", None, real)
    with np.errstate(over="ignore"):
        scale = x.quantization.scale * w.quantization.scale
    if not np.all(np.isfinite(scale)):
        raise Unsupported("the product of its scales, of input and weights, is not finite")
    # A product below the smallest float32 stands for nothing, but a scale must be above zero.
    scale = np.maximum(scale, np.finfo(np.float32).tiny).astype(np.float32)
    steps = _at_scale(stored, data, scale, factor)
    dtype = np.int64 if x.dtype == "int16" else np.int32
    limits = np.iinfo(dtype)
    if np.any(steps < limits.min) or np.any(steps > limits.max):
        raise Unsupported(f"its bias {name!r} does not fit {limits.dtype} at scale s_x * s_w")
    return Tensor(
        name, (channels,), str(limits.dtype), channel_quantization(scale), steps.astype(dtype)
    )


def _at_scale(stored: Tensor, data: Array, scale: Scales, factor: float) -> Array:
    """The values of a bias times `factor` as integers at `scale`."""
    values, unit = data.astype(np.float64), np.asarray(factor, np.float64)
    q = stored.quantization
    if q is not None:
        if q.scale.size not in (1, values.size):
            raise Unsupported(f"its bias has {q.scale.size} scales for {values.size} channels")
        values = values - q.zero_point
        unit = unit * q.scale.astype(np.float64)
        if np.all(np.abs(unit / scale - 1) <= _BIAS_SCALE_TOLERANCE):
            return values.astype(np.int64)
    steps = values * unit / scale.astype(np.float64)
    if not np.all(np.abs(steps) < 2.0**62):
        raise Unsupported(f"its bias {stored.name!r} does not fit int64 at scale s_x * s_w")
    return np.rint(steps).astype(np.int64)


def exact_scalar(tensor: Tensor, dtype: str) -> Tensor:
    """A float constant of one value as a quantised one of `dtype` that has exactly that value.

    Anything else is given back as it is.
    """
    if tensor.data is None or tensor.dtype != "float32" or tensor.data.size != 1:
        return tensor
    value = np.float32(tensor.data.reshape(-1)[0])
    magnitude = np.abs(value)
    if not np.isfinite(value) or 0 < magnitude < np.finfo(np.float32).tiny:
        return tensor
    scale = float(magnitude) if magnitude > 0 else 1.0
    step, zero_point = int(np.sign(value)), 0
    if dtype == "uint8" and step < 0:
        step, zero_point = 0, 1
    return Tensor(
        tensor.name,
        tensor.shape,
        dtype,
        Quantization.per_tensor(scale, zero_point),
        np.full(tensor.shape, step, dtype),
    )
