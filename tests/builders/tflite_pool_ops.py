"""Single-operator TFLite models that pool, reduce or resize."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from .spec import Spec
from .tflite_matmul_ops import ACTIVATION, PADDING
from .tflite_model import ModelBuilder


def pool_2d(
    code: str,
    x: Spec,
    y: Spec,
    kernel: tuple[int, int],
    *,
    strides: tuple[int, int] = (1, 1),
    padding: str = "VALID",
    activation: str = "NONE",
) -> bytes:
    """AVERAGE_POOL_2D or MAX_POOL_2D over NHWC."""
    b = ModelBuilder()
    xi, yi = b.tensor(x), b.tensor(y)
    options = schema.Pool2DOptionsT(
        padding=PADDING[padding],
        strideH=strides[0],
        strideW=strides[1],
        filterHeight=kernel[0],
        filterWidth=kernel[1],
        fusedActivationFunction=ACTIVATION[activation],
    )
    b.operator(code, [xi], [yi], options)
    return b.build([xi], [yi])


def reduce(code: str, x: Spec, y: Spec, axes: Sequence[int], keep_dims: bool = False) -> bytes:
    """MEAN, SUM, REDUCE_MAX, REDUCE_MIN ... over `axes`."""
    b = ModelBuilder()
    xi = b.tensor(x)
    ai, yi = b.constant(np.asarray(axes, np.int32)), b.tensor(y)
    b.operator(code, [xi, ai], [yi], schema.ReducerOptionsT(keepDims=keep_dims))
    return b.build([xi], [yi])


def arg_max(x: Spec, y: Spec, axis: int) -> bytes:
    """ARG_MAX along `axis`; y is int32 or int64."""
    b = ModelBuilder()
    xi = b.tensor(x)
    ai, yi = b.constant(np.asarray(axis, np.int32)), b.tensor(y)
    out = schema.TensorType.INT64 if np.dtype(y.dtype) == np.int64 else schema.TensorType.INT32
    b.operator("ARG_MAX", [xi, ai], [yi], schema.ArgMaxOptionsT(outputType=out))
    return b.build([xi], [yi])


def resize(
    method: str,
    x: Spec,
    y: Spec,
    *,
    align_corners: bool = False,
    half_pixel_centers: bool = False,
) -> bytes:
    """RESIZE_BILINEAR or RESIZE_NEAREST_NEIGHBOR of NHWC to y's height and width."""
    b = ModelBuilder()
    xi = b.tensor(x)
    si, yi = b.constant(np.asarray(y.shape[1:3], np.int32)), b.tensor(y)
    kind = {
        "RESIZE_BILINEAR": schema.ResizeBilinearOptionsT,
        "RESIZE_NEAREST_NEIGHBOR": schema.ResizeNearestNeighborOptionsT,
    }[method]
    options = kind(alignCorners=align_corners, halfPixelCenters=half_pixel_centers)
    b.operator(method, [xi, si], [yi], options)
    return b.build([xi], [yi])
