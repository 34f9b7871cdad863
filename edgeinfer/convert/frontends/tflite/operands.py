"""What operands must be before an operator can compute with them, and how odd ones are read.

An operator computes with quantised tensors of one dtype, or with float32. Mixed types, missing
scales and the like are refused here, so that every handler refuses them in the same words. Harmless
details that stricter readers refuse are read for what they mean:

- One scale or zero point given for several channels counts for all of them; several equal ones
  on a tensor that must have one count as one.
- The channel axis of weights and biases follows from the operator. The stored axis is ignored.
- A bias without a scale has s_x * s_w. A bias whose scale differs from that by more than rounding
  (1 in 10,000) is brought to it, value by value, rounding to nearest even: the file says which
  real numbers it means. (LiteRT takes the integers as if they were at s_x * s_w, or refuses.)
- uint8 weights with zero point 128 are int8 weights.
- Integer weights of an operator that computes in float32 ("dynamic range" quantisation) stand for
  the real numbers that their scales say, so they are dequantised here and computed with in float32.
  (LiteRT quantises the activations of such an operator at every run, and loses precision by it.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Quantization, Tensor

from .operation import Operation, Unsupported

QUANTISED_DTYPES = ("int8", "uint8", "int16")

_BIAS_SCALE_TOLERANCE = 1e-4


def quantised(tensor: Tensor) -> Tensor:
    """`tensor`, which must be int8, uint8 or int16 with one scale for all of it."""
    if tensor.dtype not in QUANTISED_DTYPES:
        raise Unsupported(
            f"{tensor.name!r} is {tensor.dtype}, and {tensor.dtype} is not computed with"
        )
    if tensor.quantization is None:
        raise Unsupported(f"{tensor.name!r} is {tensor.dtype} and has no scale")
    if not tensor.quantization.is_per_tensor:
        tensor.quantization = _as_per_tensor(tensor)
    return tensor


def computed(tensor: Tensor) -> Tensor:
    """`tensor`, which must be float32, or quantised with one scale for all of it."""
    return tensor if tensor.dtype == "float32" else quantised(tensor)


def computed_alike(op: Operation, inputs: int) -> list[Tensor]:
    """The first inputs of an operator, of its output's dtype: all quantised, or all float32."""
    return _alike(op, inputs, computed)


def numbers_alike(op: Operation, inputs: int) -> list[Tensor]:
    """As `computed_alike`, or plain numbers: int32 or int64 that are not quantised."""
    return _alike(op, inputs, lambda tensor: tensor if is_plain(tensor) else computed(tensor))


def floats(op: Operation, inputs: int) -> list[Tensor]:
    """The first inputs of an operator whose operands and result must be float32."""
    return _alike(op, inputs, _float32)


def is_plain(tensor: Tensor) -> bool:
    """Whether the elements are integers that stand for themselves."""
    return tensor.dtype in ("int32", "int64") and tensor.quantization is None


def _float32(tensor: Tensor) -> Tensor:
    if tensor.dtype != "float32":
        raise Unsupported(
            f"{tensor.name!r} is {tensor.dtype}, and it is computed in float32 only",
            "leave this operator in float32 when the model is quantised",
        )
    return tensor


def _alike(op: Operation, inputs: int, rule: Callable[[Tensor], Tensor]) -> list[Tensor]:
    tensors = [op.input(i) for i in range(inputs)]
    dtypes = {tensor.dtype for tensor in [*tensors, op.output()]}
    for tensor in [*tensors, op.output()]:
        rule(tensor)
    if len(dtypes) != 1:
        raise Unsupported(f"its operands have several element types: {', '.join(sorted(dtypes))}")
    return tensors


def broadcast(*tensors: Tensor) -> tuple[int, ...]:
    """The shape of an elementwise result."""
    try:
        return np.broadcast_shapes(*(tensor.shape for tensor in tensors))
    except ValueError:
        shapes = " and ".join(str(list(tensor.shape)) for tensor in tensors)
        raise Unsupported(f"shapes {shapes} do not go together") from None


def need_rank(tensor: Tensor, rank: int) -> Tensor:
    """`tensor`, which must have `rank` axes."""
    if len(tensor.shape) != rank:
        raise Unsupported(f"{tensor.name!r} has shape {list(tensor.shape)}; {rank} axes are needed")
    return tensor


def resolve_axis(axis: int, rank: int) -> int:
    """An axis that may count from the end, as one that does not."""
    if not -rank <= axis < rank:
        raise Unsupported(f"axis {axis} of a tensor of {rank} axes")
    return axis % rank


def moved(op: Operation, x: Tensor, output: int = 0) -> Tensor:
    """Output `output` of an operator that only moves the elements of `x`: of the same dtype.

    An output without quantisation has that of `x`.
    """
    y = op.output(output)
    if y.dtype != x.dtype:
        raise Unsupported(f"it moves {x.dtype} elements to {y.dtype} ones")
    if y.quantization is None:
        y.quantization = x.quantization
    return y


def weights(op: Operation, x: Tensor, index: int, channels: int, axis: int = 0) -> Tensor:
    """Constant weights for `channels` output channels: float32 where x is, else int8.

    int8 ones are symmetric, with one scale or one per channel, which the result has along the first
    axis. `axis` is where the stored tensor has its channels; handlers rearrange.
    """
    if x.dtype == "float32":
        return float_weights(op, index, channels, axis)
    tensor = op.input(index)
    data = op.constant(index, "weights")
    if tensor.dtype not in ("int8", "uint8"):
        raise Unsupported(f"its weights are {tensor.dtype}; int8 is needed")
    if tensor.quantization is None:
        raise Unsupported(f"its weights {tensor.name!r} have no scale")
    scale, zero_point = tensor.quantization.scale, tensor.quantization.zero_point
    if scale.size not in (1, channels):
        raise Unsupported(f"its weights have {scale.size} scales for {channels} channels")
    middle = 128 if tensor.dtype == "uint8" else 0
    if np.any(zero_point != middle):
        odd = int(zero_point[zero_point != middle][0])
        raise Unsupported(
            f"its weights are asymmetric {tensor.dtype} (zero point {odd})",
            "convert the original model again with a current converter, which makes int8 weights "
            "with zero point 0",
        )
    if tensor.dtype == "uint8":
        data = (data ^ np.uint8(128)).view(np.int8)
    return Tensor(tensor.name, tensor.shape, "int8", channel_quantization(scale), data)


def float_weights(op: Operation, index: int, channels: int, axis: int) -> Tensor:
    """Constant float32 weights; int8 and uint8 ones are dequantised."""
    tensor, data = op.input(index), op.constant(index, "weights")
    if tensor.dtype == "float32":
        return tensor
    if tensor.dtype not in ("int8", "uint8"):
        raise Unsupported(f"its weights are {tensor.dtype}; float32 or int8 is needed")
    if tensor.quantization is None:
        raise Unsupported(f"its weights {tensor.name!r} have no scale")
    scale, zero_point = tensor.quantization.scale, tensor.quantization.zero_point
    if scale.size not in (1, channels):
        raise Unsupported(f"its weights have {scale.size} scales for {channels} channels")
    along = [-1 if i == axis else 1 for i in range(data.ndim)] if scale.size > 1 else ()
    steps = data.astype(np.float32) - zero_point.astype(np.float32).reshape(along)
    real = np.asarray(steps * scale.reshape(along), np.float32)
    return Tensor(tensor.name, tensor.shape, "float32", None, real)


def channel_quantization(scale: npt.NDArray[np.float32], axis: int = 0) -> Quantization:
    """Symmetric quantisation, per channel along `axis` when there are several scales."""
    return Quantization(scale, np.zeros(scale.shape, np.int64), axis if scale.size > 1 else 0)


def bias(op: Operation, x: Tensor, w: Tensor, index: int, channels: int) -> Tensor | None:
    """The bias of a node: float32 where x is.

    Else at scale s_x * s_w: int32, or int64 for int16 activations.
    """
    tensor = op.optional_input(index)
    if tensor is None:
        return None
    data = op.constant(index, "bias")
    if x.dtype == "float32":
        return _float_bias(tensor, data, channels)
    if tensor.dtype not in ("int32", "int64"):
        raise Unsupported(f"its bias is {tensor.dtype}; int32 is needed")
    if data.size != channels:
        raise Unsupported(f"its bias has {data.size} values for {channels} channels")
    values = data.reshape(-1)
    assert x.quantization is not None and w.quantization is not None
    scale = x.quantization.scale * w.quantization.scale
    # A product below the smallest float32 stands for nothing, but a scale must be above zero.
    scale = np.maximum(scale, np.finfo(np.float32).tiny)
    values = _at_scale(tensor, values, scale)
    dtype = np.int64 if x.dtype == "int16" else np.int32
    limits = np.iinfo(dtype)
    if np.any(values < limits.min) or np.any(values > limits.max):
        raise Unsupported(
            f"its bias {tensor.name!r} does not fit {limits.dtype} at scale s_x * s_w"
        )
    return Tensor(
        tensor.name,
        (channels,),
        str(limits.dtype),
        channel_quantization(scale),
        values.astype(dtype, copy=False),
    )


def _float_bias(tensor: Tensor, data: npt.NDArray[Any], channels: int) -> Tensor:
    if tensor.dtype != "float32":
        raise Unsupported(f"its bias is {tensor.dtype}; float32 is needed")
    if data.size != channels:
        raise Unsupported(f"its bias has {data.size} values for {channels} channels")
    return Tensor(tensor.name, (channels,), "float32", None, data.reshape(channels))


def _at_scale(
    tensor: Tensor, values: npt.NDArray[np.integer], scale: npt.NDArray[np.float32]
) -> npt.NDArray[np.integer]:
    stored = tensor.quantization
    if stored is None:
        return values
    if stored.scale.size not in (1, values.size):
        raise Unsupported(f"its bias has {stored.scale.size} scales for {values.size} channels")
    ratio = stored.scale.astype(np.float64) / scale.astype(np.float64)
    if np.all(np.abs(ratio - 1) <= _BIAS_SCALE_TOLERANCE) and not np.any(stored.zero_point):
        return values
    real = (values.astype(np.float64) - stored.zero_point) * ratio
    if np.any(np.abs(real) >= 2.0**62):
        raise Unsupported(f"its bias {tensor.name!r} does not fit int64 at scale s_x * s_w")
    rounded: npt.NDArray[np.int64] = np.rint(real).astype(np.int64)
    return rounded


def _as_per_tensor(tensor: Tensor) -> Quantization:
    stored = tensor.quantization
    assert stored is not None
    scale, zero_point = stored.scale, stored.zero_point
    if np.any(scale != scale[0]) or np.any(zero_point != zero_point[0]):
        raise Unsupported(f"{tensor.name!r} is quantised per channel; one scale is needed here")
    return Quantization(scale[:1], zero_point[:1])
