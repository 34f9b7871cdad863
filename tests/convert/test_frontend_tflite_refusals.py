"""Operators whose operands do not fit are refused by name and reason, one at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgeinfer.convert.frontends import tflite
from edgeinfer.convert.graph import check_graph
from tests.builders import tflite_elementwise_ops as elementwise_models
from tests.builders import tflite_matmul_ops as matmul_models
from tests.builders import tflite_pool_ops as pool_models
from tests.builders import tflite_shape_ops as shape_models
from tests.builders.spec import Quant, Spec
from tests.builders.tflite_edit import edited
from tests.builders.tflite_model import ModelBuilder
from tests.convert.litert_agreement import check, fill, int8, plain, read

W = Quant(0.01)


def weights(*shape: int) -> np.ndarray:
    return np.ones(shape, np.int8)


def one(
    code: str,
    operands: Sequence[Spec | np.ndarray],
    outputs: Sequence[Spec],
    options: object | None = None,
) -> bytes:
    """Any operator: Specs are inputs of the model, arrays are constants (int8 ones quantised)."""
    b = ModelBuilder()
    inputs, indices = [], []
    for operand in operands:
        if isinstance(operand, Spec):
            inputs.append(b.tensor(operand))
            indices.append(inputs[-1])
        else:
            quant = Quant(0.05, 3) if operand.dtype == np.int8 else None
            indices.append(b.constant(operand, quant))
    yi = [b.tensor(spec) for spec in outputs]
    b.operator(code, indices, yi, options)
    return b.build(inputs, yi)


def ints(*values: object) -> np.ndarray:
    return np.asarray(values[0] if len(values) == 1 else values, np.int32)


X = int8((2, 6, 4))
IMAGE = int8((1, 4, 4, 8))
SMALL = int8((1, 2, 2, 2))
FLOAT = Spec((4,), np.float32)
INT32 = Spec((4,), np.int32)


def conv(w: np.ndarray, **options: int) -> bytes:
    given = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1, **options}
    return one("CONV_2D", [SMALL, w], [SMALL], schema.Conv2DOptionsT(**given))


def depthwise(w: np.ndarray) -> bytes:
    options = schema.DepthwiseConv2DOptionsT(
        strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1
    )
    return one("DEPTHWISE_CONV_2D", [SMALL, w], [SMALL], options)


def transposed(shape: Sequence[int], w: np.ndarray, stride: int = 2, padding: int = 0) -> bytes:
    options = schema.TransposeConvOptionsT(strideH=stride, strideW=stride, padding=padding)
    return one("TRANSPOSE_CONV", [ints(shape), w, SMALL], [IMAGE], options)


def symmetric(model: bytes) -> bytes:
    """With the zero points of all constants at 0, as weights must have them."""

    def change(objects: schema.ModelT) -> None:
        for tensor in objects.subgraphs[0].tensors:
            if tensor.quantization is not None and tensor.buffer:
                tensor.quantization.zeroPoint = [0]

    return edited(model, change)


def dense(x: Spec, w: Spec | np.ndarray, **options: int) -> bytes:
    given = schema.FullyConnectedOptionsT(**options)
    return one("FULLY_CONNECTED", [x, w], [int8((1, 3))], given)


def batch_matmul(a: Spec, b: Spec) -> bytes:
    return matmul_models.batch_matmul(a, b, int8((1, 1)))


CASES = {
    "conv: groups do not divide": (conv(weights(3, 1, 1, 1)), "do not divide 2 input channels"),
    "conv: empty weights": (conv(weights(2, 0, 1, 2)), "weights have shape"),
    "conv: rank": (conv(weights(2, 2)), "4 axes are needed"),
    "conv: stride": (conv(weights(2, 1, 1, 2), strideH=0), "StrideH is 0"),
    "conv: dilation": (conv(weights(2, 1, 1, 2), dilationWFactor=-1), "DilationWFactor is -1"),
    "conv: padding": (conv(weights(2, 1, 1, 2), padding=2), "neither SAME"),
    "conv: window": (conv(weights(2, 3, 3, 2), padding=1), "does not fit in [2, 2]"),
    "depthwise: channels": (depthwise(weights(1, 1, 1, 3)), "for 2 input channels"),
    "depthwise: first axis": (depthwise(weights(2, 1, 1, 2)), "for 2 input channels"),
    "transpose conv: depth": (transposed((1, 4, 4, 8), weights(8, 2, 2, 3)), "input channels"),
    "transpose conv: output": (transposed((1, 4, 4, 9), weights(8, 2, 2, 2)), "output shape"),
    "transpose conv: stride": (transposed((1, 9, 4, 8), weights(8, 2, 2, 2)), "cannot come from"),
    "dense: shuffled": (dense(int8((1, 4)), weights(3, 4), weightsFormat=1), "shuffled"),
    "dense: rows": (dense(int8((1, 5)), weights(3, 4)), "does not divide into rows of 4"),
    "dense: last axis": (dense(int8((4, 2)), weights(3, 4), keepNumDims=True), "end with 4"),
    "dense: int16 weights": (dense(int8((1, 4)), ints([[1] * 4] * 3)), "weights are int32"),
    "dense: two types": (
        dense(int8((1, 4)), Spec((3, 4), np.int16, W)),
        "its input is int8 and its weights are int16",
    ),
    "dense: computed weights and bias": (
        one(
            "FULLY_CONNECTED",
            [int8((1, 4)), Spec((3, 4), np.int8, W), ints(1, 2, 3)],
            [int8((1, 3))],
            schema.FullyConnectedOptionsT(),
        ),
        "it has a bias, and weights that are computed",
    ),
    "dense: length of bias": (
        one(
            "FULLY_CONNECTED",
            [int8((1, 4)), weights(3, 4), ints(1, 2)],
            [int8((1, 3))],
            schema.FullyConnectedOptionsT(),
        ),
        "2 values for 3 channels",
    ),
    "matmul: vector": (batch_matmul(int8((4,)), int8((4, 1))), "not both matrices"),
    "matmul: inner axis": (batch_matmul(int8((1, 4)), int8((3, 1))), "do not go together"),
    "matmul: batch": (batch_matmul(int8((2, 1, 4)), int8((3, 4, 1))), "do not go together"),
    "matmul: two types": (
        matmul_models.batch_matmul(Spec((1, 4), np.float32), int8((4, 1)), FLOAT),
        "several element types: float32, int8",
    ),
    "add: shapes": (elementwise_models.binary("ADD", X, int8((5,)), X), "do not go together"),
    "add: types": (
        elementwise_models.binary("ADD", X, Spec(X.shape, np.int16, W), X),
        "several element types: int16, int8",
    ),
    "prelu: slope": (
        elementwise_models.prelu(int8((4,)), int8((2, 4)), weights(2, 4), int8((2, 4))),
        "a slope of shape",
    ),
    "prelu: computed slope": (one("PRELU", [X, X], [X]), "computed at run time"),
    "softmax: scalar": (elementwise_models.softmax(int8(()), int8(())), "no axis"),
    "mean: axis": (pool_models.reduce("MEAN", X, X, [3]), "axis 3 of a tensor of 3 axes"),
    "pool: filter": (pool_models.pool_2d("MAX_POOL_2D", IMAGE, IMAGE, (0, 1)), "FilterHeight is 0"),
    "argmax: type": (
        one("ARG_MAX", [Spec((4,), np.bool_), ints(0)], [INT32], schema.ArgMaxOptionsT()),
        "its input is bool",
    ),
    "argmax: result": (
        one("ARG_MAX", [X, ints(0)], [int8((6, 4))], schema.ArgMaxOptionsT()),
        "indices are int32 or int64",
    ),
    "argmax: two axes": (
        one("ARG_MAX", [X, ints(0, 1)], [INT32], schema.ArgMaxOptionsT()),
        "its axis has 2 values, not one",
    ),
    "resize: both modes": (
        pool_models.resize(
            "RESIZE_BILINEAR", IMAGE, IMAGE, align_corners=True, half_pixel_centers=True
        ),
        "both AlignCorners and HalfPixelCenters",
    ),
    "resize: size": (
        one("RESIZE_BILINEAR", [IMAGE, ints(1, 2, 3)], [IMAGE], schema.ResizeBilinearOptionsT()),
        "not a height and a width",
    ),
    "quantize: int32 without scale": (
        elementwise_models.quantize(INT32, int8((4,))),
        "has no single scale",
    ),
    "dequantize: to int32": (elementwise_models.dequantize(int8((4,)), INT32), "float32 is needed"),
    "cast: of quantised numbers": (one("CAST", [int8((4,))], [FLOAT]), "is quantised"),
    "reshape: elements": (shape_models.reshape(X, int8((7, 7))), "does not become [7, 7]"),
    "reshape: open axis": (
        one("RESHAPE", [X, ints(-1, 7)], [X], schema.ReshapeOptionsT()),
        "does not become [-1, 7]",
    ),
    "reshape: float shape": (
        one("RESHAPE", [X, np.ones(2, np.float32)], [X], schema.ReshapeOptionsT()),
        "float32, not an integer",
    ),
    "reshape: long shape": (
        one("RESHAPE", [X, ints([1] * 65)], [X], schema.ReshapeOptionsT()),
        "65 values",
    ),
    "reshape: rank": (
        one("RESHAPE", [X, ints([1] * 6 + [48])], [X], schema.ReshapeOptionsT()),
        "7 axes; 6 are the most",
    ),
    "squeeze": (shape_models.squeeze(X, X, [0]), "it squeezes axes [0]"),
    "transpose": (shape_models.transpose(X, X, [0, 0, 1]), "permutation [0, 0, 1]"),
    "move: type": (
        shape_models.transpose(X, Spec(X.shape, np.int16, W), [0, 1, 2]),
        "it moves int8 elements to int16 ones",
    ),
    "concat: other axes": (
        shape_models.concatenation([X, int8((2, 5, 4))], X, 2),
        "do not join along axis 2",
    ),
    "concat: ranks": (
        shape_models.concatenation([X, int8((2, 6))], X, 1),
        "different numbers of axes",
    ),
    "concat: nothing": (
        one("CONCATENATION", [], [X], schema.ConcatenationOptionsT()),
        "it has no inputs",
    ),
    "pack: nothing": (one("PACK", [], [X], schema.PackOptionsT()), "it has no inputs"),
    "pack: shapes": (shape_models.pack([X, int8((2,))], X, 0), "different shapes"),
    "unpack: count": (shape_models.unpack(X, [int8((6, 4))], 0), "does not give 1 outputs"),
    "split: uneven": (shape_models.split(X, [X] * 4, 1), "does not divide into 4 parts"),
    "split_v: sizes": (shape_models.split_v(X, [int8((2, 5, 4)), X], 1), "into sizes [5, 6]"),
    "gather: indices": (
        one("GATHER", [X, Spec((1,), np.int16, W)], [X], schema.GatherOptionsT()),
        "its indices are int16",
    ),
    "gather: beyond": (shape_models.gather(X, X, np.array([6]), 1), "beyond the 6 elements"),
    "gather: batch": (
        shape_models.gather(X, X, np.array([[1], [0]]), 1, batch_dims=1),
        "other indices for every item",
    ),
    "gather: batch axes": (
        shape_models.gather(X, X, np.array([1]), 1, batch_dims=2),
        "2 batch axes",
    ),
    "embedding: indices": (one("EMBEDDING_LOOKUP", [X, weights(3, 4)], [X]), "looks up int8"),
    "embedding: beyond": (
        one("EMBEDDING_LOOKUP", [ints([9]), X], [int8((1, 6, 4))]),
        "beyond the 2 elements",
    ),
    "tile: axes": (one("TILE", [X, ints(2, 2)], [X]), "is repeated [2, 2] times"),
    "tile: too often": (one("TILE", [X, ints(1, 1, 256)], [X]), "255 are the most"),
    "broadcast: rank": (one("BROADCAST_TO", [X, ints(6, 4)], [X]), "does not broadcast"),
    "broadcast: length": (one("BROADCAST_TO", [X, ints(2, 7, 4)], [X]), "does not broadcast"),
    "pad: axes": (shape_models.pad(X, X, [[1, 1]]), "paddings have shape [1, 2]"),
    "pad: negative": (shape_models.pad(X, X, [[0, -1], [0, 0], [0, 0]]), "padding of [0, -1]"),
    "mirror pad: too wide": (
        shape_models.mirror_pad(X, X, [[2, 0], [0, 0], [0, 0]], "REFLECT"),
        "reflect padding of [2, 0] around 2 elements",
    ),
    "pad: values": (
        one("PADV2", [X, ints([[0, 0]] * 3), weights(2)], [X], schema.PadV2OptionsT()),
        "2 values, not one",
    ),
    "space to depth": (
        shape_models.space_depth("SPACE_TO_DEPTH", IMAGE, IMAGE, 3),
        "blocks of 3",
    ),
    "depth to space": (
        shape_models.space_depth("DEPTH_TO_SPACE", IMAGE, IMAGE, 0),
        "blocks of 0",
    ),
    "slice: beyond": (shape_models.slice_(X, X, [0, 5, 0], [1, 2, 1]), "for shape [2, 6, 4]"),
    "slice: axes": (shape_models.slice_(X, X, [0], [1]), "for shape [2, 6, 4]"),
    "strided slice: stride": (
        shape_models.strided_slice(X, X, [0], [1], [0]),
        "its stride is zero",
    ),
    "strided slice: empty": (shape_models.strided_slice(X, X, [3], [1], [1]), "is empty"),
    "strided slice: axes": (
        shape_models.strided_slice(X, X, [0] * 4, [1] * 4, [1] * 4),
        "it slices 4 axes of 3",
    ),
    "strided slice: lengths": (
        shape_models.strided_slice(X, X, [0, 0], [1], [1]),
        "differ in length",
    ),
    "strided slice: one element": (
        shape_models.strided_slice(X, X, [9], [10], [1], shrink_axis_mask=1),
        "element 9 of an axis of 2",
    ),
    "strided slice: ellipses": (
        one(
            "STRIDED_SLICE",
            [X, ints(0, 0), ints(1, 1), ints(1, 1)],
            [X],
            schema.StridedSliceOptionsT(ellipsisMask=3),
        ),
        "more than one ellipsis",
    ),
    "space to batch: block": (
        one("SPACE_TO_BATCH_ND", [IMAGE, ints(3, 2), ints([[0, 0], [0, 0]])], [IMAGE]),
        "do not divide into blocks of [3, 2]",
    ),
    "space to batch: no block": (
        one("SPACE_TO_BATCH_ND", [IMAGE, ints([0]), ints([[0, 0]])], [IMAGE]),
        "block [0]",
    ),
    "space to batch: paddings": (
        one("SPACE_TO_BATCH_ND", [IMAGE, ints(2, 2), ints([[0, 0]])], [IMAGE]),
        "its paddings are [0, 0] for 2 axes",
    ),
    "batch to space: batch": (
        one("BATCH_TO_SPACE_ND", [IMAGE, ints(2, 2), ints([[0, 0], [0, 0]])], [IMAGE]),
        "a batch of 1 does not divide",
    ),
    "an absent input": (one("RESHAPE", [], [X], schema.ReshapeOptionsT()), "has no input 0"),
    "an absent output": (
        one("UNPACK", [X], [int8((6, 4))] * 2, schema.UnpackOptionsT(axis=3)),
        "axis 3 of a tensor of 3 axes",
    ),
}


@pytest.mark.parametrize(("model", "reason"), CASES.values(), ids=CASES)
def test_refusal(model: bytes, reason: str) -> None:
    graph = tflite.read(symmetric(model), "model.tflite")
    check_graph(graph)
    (problem,) = graph.problems
    assert reason in problem.reason
    assert [node.op for node in graph.nodes] == ["unsupported"]


# --- rarely used, and right


def test_plain_int32_has_a_maximum() -> None:
    model = elementwise_models.binary("MAXIMUM", INT32, INT32, INT32)
    check(model, fill(INT32, 1), fill(INT32, 2))


def test_reduction_over_no_axis_is_a_requantisation() -> None:
    (node,) = read(pool_models.reduce("MEAN", X, int8(X.shape, 0.1, -3), [])).nodes
    assert node.op == "requantize"


def test_cast_to_the_same_type_is_a_copy() -> None:
    (node,) = read(one("CAST", [INT32], [INT32])).nodes
    assert node.op == "reshape"


def test_quantised_int32_is_requantised() -> None:
    x = Spec((4,), np.int32, Quant(0.001))
    (node,) = read(elementwise_models.quantize(x, int8((4,)))).nodes
    assert node.op == "requantize"


def test_shape_in_the_options_counts_where_no_input_gives_one() -> None:
    model = one("RESHAPE", [X], [plain((48,))], schema.ReshapeOptionsT(newShape=[12, -1]))
    (node,) = read(model).nodes
    assert node.output.shape == (12, 4)


def test_old_shape_of_a_scalar() -> None:
    model = one("RESHAPE", [int8((1,))], [int8(())], schema.ReshapeOptionsT(newShape=[0]))
    (node,) = read(model).nodes
    assert node.output.shape == ()
