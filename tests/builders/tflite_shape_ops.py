"""Single-operator TFLite models that move elements without computing on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import ArrayLike

from .spec import Spec
from .tflite_matmul_ops import ACTIVATION
from .tflite_model import ModelBuilder


def _int32(values: ArrayLike) -> np.ndarray:
    return np.asarray(values, np.int32)


def _one_to_one(
    code: str, x: Spec, y: Spec, constants: Sequence[np.ndarray], options: object | None
) -> bytes:
    b = ModelBuilder()
    xi = b.tensor(x)
    ci = [b.constant(c) for c in constants]
    yi = b.tensor(y)
    b.operator(code, [xi, *ci], [yi], options)
    return b.build([xi], [yi])


def concatenation(xs: Sequence[Spec], y: Spec, axis: int, activation: str = "NONE") -> bytes:
    """CONCATENATION of `xs` along `axis`."""
    b = ModelBuilder()
    xi = [b.tensor(x) for x in xs]
    yi = b.tensor(y)
    options = schema.ConcatenationOptionsT(
        axis=axis, fusedActivationFunction=ACTIVATION[activation]
    )
    b.operator("CONCATENATION", xi, [yi], options)
    return b.build(xi, [yi])


def pack(xs: Sequence[Spec], y: Spec, axis: int) -> bytes:
    """PACK: stack `xs` along a new `axis`."""
    b = ModelBuilder()
    xi = [b.tensor(x) for x in xs]
    yi = b.tensor(y)
    b.operator("PACK", xi, [yi], schema.PackOptionsT(valuesCount=len(xs), axis=axis))
    return b.build(xi, [yi])


def unpack(x: Spec, ys: Sequence[Spec], axis: int) -> bytes:
    """UNPACK: split x into slices of one along `axis`, and drop that axis."""
    b = ModelBuilder()
    xi = b.tensor(x)
    yi = [b.tensor(y) for y in ys]
    b.operator("UNPACK", [xi], yi, schema.UnpackOptionsT(num=len(ys), axis=axis))
    return b.build([xi], yi)


def split(x: Spec, ys: Sequence[Spec], axis: int) -> bytes:
    """SPLIT into len(ys) equal parts along `axis`."""
    b = ModelBuilder()
    ai, xi = b.constant(_int32(axis)), b.tensor(x)
    yi = [b.tensor(y) for y in ys]
    b.operator("SPLIT", [ai, xi], yi, schema.SplitOptionsT(numSplits=len(ys)))
    return b.build([xi], yi)


def split_v(x: Spec, ys: Sequence[Spec], axis: int) -> bytes:
    """SPLIT_V into parts of the sizes that `ys` have along `axis`."""
    b = ModelBuilder()
    xi = b.tensor(x)
    si, ai = b.constant(_int32([y.shape[axis] for y in ys])), b.constant(_int32(axis))
    yi = [b.tensor(y) for y in ys]
    b.operator("SPLIT_V", [xi, si, ai], yi, schema.SplitVOptionsT(numSplits=len(ys)))
    return b.build([xi], yi)


def slice_(x: Spec, y: Spec, begin: Sequence[int], size: Sequence[int]) -> bytes:
    """SLICE: `size` elements from `begin`, along every axis."""
    return _one_to_one("SLICE", x, y, [_int32(begin), _int32(size)], schema.SliceOptionsT())


def strided_slice(
    x: Spec,
    y: Spec,
    begin: Sequence[int],
    end: Sequence[int],
    strides: Sequence[int],
    *,
    begin_mask: int = 0,
    end_mask: int = 0,
    shrink_axis_mask: int = 0,
) -> bytes:
    """STRIDED_SLICE with TensorFlow's masks."""
    options = schema.StridedSliceOptionsT(
        beginMask=begin_mask, endMask=end_mask, shrinkAxisMask=shrink_axis_mask
    )
    constants = [_int32(begin), _int32(end), _int32(strides)]
    return _one_to_one("STRIDED_SLICE", x, y, constants, options)


def pad(x: Spec, y: Spec, paddings: Sequence[Sequence[int]]) -> bytes:
    """PAD with the zero point; `paddings` is [[before, after], ...]."""
    return _one_to_one("PAD", x, y, [_int32(paddings)], schema.PadOptionsT())


def pad_v2(x: Spec, y: Spec, paddings: Sequence[Sequence[int]], value: int) -> bytes:
    """PADV2 with the constant `value`, which is quantised as x is."""
    b = ModelBuilder()
    xi = b.tensor(x)
    pi = b.constant(_int32(paddings))
    vi = b.constant(np.asarray([value], x.dtype), x.quant)
    yi = b.tensor(y)
    b.operator("PADV2", [xi, pi, vi], [yi], schema.PadV2OptionsT())
    return b.build([xi], [yi])


def mirror_pad(x: Spec, y: Spec, paddings: Sequence[Sequence[int]], mode: str) -> bytes:
    """MIRROR_PAD; `mode` is "REFLECT" or "SYMMETRIC"."""
    options = schema.MirrorPadOptionsT(mode=getattr(schema.MirrorPadMode, mode))
    return _one_to_one("MIRROR_PAD", x, y, [_int32(paddings)], options)


def transpose(x: Spec, y: Spec, permutation: Sequence[int]) -> bytes:
    """TRANSPOSE: axis i of y is axis permutation[i] of x."""
    return _one_to_one("TRANSPOSE", x, y, [_int32(permutation)], schema.TransposeOptionsT())


def reshape(x: Spec, y: Spec) -> bytes:
    """RESHAPE to y's shape."""
    shape = list(y.shape)
    return _one_to_one("RESHAPE", x, y, [_int32(shape)], schema.ReshapeOptionsT(newShape=shape))


def squeeze(x: Spec, y: Spec, axes: Sequence[int]) -> bytes:
    """SQUEEZE the given axes of length one away."""
    return _one_to_one("SQUEEZE", x, y, [], schema.SqueezeOptionsT(squeezeDims=list(axes)))


def expand_dims(x: Spec, y: Spec, axis: int) -> bytes:
    """EXPAND_DIMS: a new axis of length one at `axis`."""
    return _one_to_one("EXPAND_DIMS", x, y, [_int32(axis)], schema.ExpandDimsOptionsT())


def gather(x: Spec, y: Spec, indices: np.ndarray, axis: int = 0, batch_dims: int = 0) -> bytes:
    """GATHER with constant indices."""
    options = schema.GatherOptionsT(axis=axis, batchDims=batch_dims)
    return _one_to_one("GATHER", x, y, [_int32(indices)], options)


def space_depth(code: str, x: Spec, y: Spec, block: int) -> bytes:
    """SPACE_TO_DEPTH or DEPTH_TO_SPACE with the given block size."""
    kind = {
        "SPACE_TO_DEPTH": schema.SpaceToDepthOptionsT,
        "DEPTH_TO_SPACE": schema.DepthToSpaceOptionsT,
    }[code]
    return _one_to_one(code, x, y, [], kind(blockSize=block))
