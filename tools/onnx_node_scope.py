"""Which of ONNX's node tests edgeinfer is judged by, and why not by the others.

The tests are those of the installed `onnx` package (`onnx.backend.test`), without the ones that run
the same operator again as the functions it is made of. `classify` puts each test either into a
family that is in scope or under a reason why it is not. `KNOWN_REFUSALS` are tests in scope that
are not passed: conversion refuses them, with a reason, and computes nothing.

Whatever passes or is refused otherwise fails the tests, so the lists are always what is true.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import onnx

_PACKAGE = "onnx.backend.test.case.node"

FAMILIES: dict[str, tuple[str, ...]] = {
    "quantised": (
        *("ConvInteger", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger"),
        *("QLinearConv", "QLinearMatMul", "QuantizeLinear"),
    ),
    "convolution": ("CausalConvWithState", "Conv", "ConvTranspose"),
    "pooling": ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool", "MaxPool"),
    "normalisation": (
        *("BatchNormalization", "GroupNormalization", "InstanceNormalization", "LRN"),
        *("LayerNormalization", "LpNormalization", "MeanVarianceNormalization"),
        "RMSNormalization",
    ),
    "activations": (
        *("Celu", "Clip", "Dropout", "Elu", "Gelu", "HardSigmoid", "HardSwish", "Hardmax"),
        *("LeakyRelu", "LogSoftmax", "Mish", "PRelu", "Relu", "Selu", "Shrink", "Sigmoid"),
        *("Softmax", "Softplus", "Softsign", "SwiGLU", "Swish", "Tanh", "ThresholdedRelu"),
    ),
    "products": ("Einsum", "Gemm", "MatMul"),
    "attention": ("Attention", "FlexAttention", "RotaryEmbedding", "TensorScatter"),
    "tensor manipulation": (
        *("Cast", "CastLike", "CenterCropPad", "Compress", "Concat", "Constant"),
        *("ConstantOfShape", "DepthToSpace", "Expand", "EyeLike", "Flatten", "Gather"),
        *("GatherElements", "GatherND", "Identity", "OneHot", "Pad", "Range", "Reshape", "Resize"),
        *("ReverseSequence", "Scatter", "ScatterElements", "ScatterND", "Shape", "Size", "Slice"),
        *("SpaceToDepth", "Split", "Squeeze", "Tile", "TopK", "Transpose", "Trilu", "Unsqueeze"),
        *("Upsample", "Where"),
    ),
    "reductions": (
        *("ArgMax", "ArgMin", "CumProd", "CumSum", "ReduceL1", "ReduceL2", "ReduceLogSum"),
        *("ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum"),
        "ReduceSumSquare",
    ),
    "elementwise": (
        *("Abs", "Acos", "Acosh", "Add", "And", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos"),
        *("Cosh", "Div", "Equal", "Erf", "Exp", "Floor", "Greater", "GreaterOrEqual", "IsInf"),
        *("IsNaN", "Less", "LessOrEqual", "Log", "Max", "Mean", "Min", "Mod", "Mul", "Neg", "Not"),
        *("Or", "Pow", "Reciprocal", "Round", "Sign", "Sin", "Sinh", "Sqrt", "Sub", "Sum", "Tan"),
        "Xor",
    ),
}
"""Operators in scope, by family."""

REASONS: dict[str, str] = {
    "strings": "tensors of an .edge file hold numbers; text is for the program around it",
    "sequences": "sequences and optional values have no place in a plan of fixed memory",
    "control flow": "a program is a flat list of steps; loops and branches are unrolled at export",
    "training": "losses, optimisers and operators in training mode; this runs inference",
    "random": "results would not be the same at every run",
    "image decoding": "files of images are decoded before the model",
    "signals": "Fourier transforms, complex numbers, windows; computed before the model",
    "recurrence": "a step depends on the one before it, which needs state between steps",
    "classical models": "trees and the like, of the domain ai.onnx.ml",
    "computed shapes": "the size of the result depends on the data, and memory is planned before",
    "computed positions": "samples at positions that are computed; there is no operator for it",
    "bits": "shifts and logic on the bits of integers; there is no operator for it",
    "linear algebra": "determinants; there is no operator for it",
    "float64": "devices compute in float32; rounding a model of doubles would be silent",
    "unsigned integers": "uint16, uint32 and uint64 are no types of the .edge format",
    "small floats and integers": "types of 8, 4 and 2 bits that are only meant for storage",
    "no elements": "a tensor of the file has at least one element",
}
"""Why tests are out of scope."""

_OPERATORS_OUT: dict[str, tuple[str, ...]] = {
    "strings": (
        *("LabelEncoder", "RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit"),
        "TfIdfVectorizer",
    ),
    "sequences": (
        *("OptionalGetElement", "OptionalHasElement", "SequenceInsert", "SplitToSequence"),
    ),
    "control flow": ("If", "Loop", "Scan", "SequenceMap"),
    "training": (
        *("Adagrad", "Adam", "Momentum", "NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"),
    ),
    "random": ("Bernoulli",),
    "image decoding": ("ImageDecoder",),
    "signals": (
        *("BlackmanWindow", "DFT", "HammingWindow", "HannWindow", "MelWeightMatrix", "STFT"),
    ),
    "recurrence": ("GRU", "LSTM", "LinearAttention", "RNN"),
    "classical models": ("ArrayFeatureExtractor", "Binarizer", "TreeEnsemble"),
    "computed shapes": ("NonMaxSuppression", "NonZero", "Unique"),
    "computed positions": (
        *("AffineGrid", "Col2Im", "DeformConv", "GridSample", "MaxUnpool", "RoiAlign"),
    ),
    "bits": ("BitCast", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor"),
    "linear algebra": ("Det",),
}

_TYPES_OUT: dict[str, tuple[str, ...]] = {
    "strings": ("STRING",),
    "float64": ("DOUBLE",),
    "unsigned integers": ("UINT16", "UINT32", "UINT64"),
    "small floats and integers": (
        *("FLOAT4E2M1", "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ"),
        *("FLOAT8E8M0", "INT2", "INT4", "UINT2", "UINT4"),
    ),
}

_FAMILY_OF = {op: family for family, ops in FAMILIES.items() for op in ops}
_REASON_OF = {op: reason for reason, ops in _OPERATORS_OUT.items() for op in ops}
_REASON_OF_TYPE = {name: reason for reason, names in _TYPES_OUT.items() for name in names}


@dataclass(frozen=True)
class Scope:
    """What a test counts as: a family of FAMILIES in scope, or else a reason of REASONS."""

    family: str = ""
    reason: str = ""


def classify(test: Any) -> Scope:
    """The scope of a test.

    Raises
    ------
    LookupError
        Its operator is in no list of this module: a new version of onnx has one more.
    """
    infos = [*test.model.graph.input, *test.model.graph.output]
    if any(info.type.WhichOneof("value") != "tensor_type" for info in infos):
        return Scope(reason="sequences")
    for node in test.model.graph.node:
        if node.op_type in _REASON_OF:
            return Scope(reason=_REASON_OF[node.op_type])
    for info in infos:
        name = onnx.TensorProto.DataType.Name(info.type.tensor_type.elem_type)
        if name in _REASON_OF_TYPE:
            return Scope(reason=_REASON_OF_TYPE[name])
    if "training" in test.name:
        return Scope(reason="training")
    if any(size == 0 for _, outputs in test.data_sets for size in map(_size, outputs)):
        return Scope(reason="no elements")
    return Scope(family=_FAMILY_OF[test.model.graph.node[0].op_type])


def _size(value: Any) -> int:
    return int(getattr(value, "size", 1))


def modules() -> list[str]:
    """Names of the modules that hold the tests, without importing them."""
    folder = Path(onnx.__file__).parent / "backend" / "test" / "case" / "node"
    names = (path.relative_to(folder).with_suffix("").parts for path in folder.rglob("*.py"))
    return sorted(".".join(parts) for parts in names if parts[-1] != "__init__")


@cache
def cases_of(module: str) -> tuple[Any, ...]:
    """The tests of a module (`onnx.backend.test.case.test_case.TestCase`).

    Importing the module makes them. Those of modules that it imports in turn are its own, too.
    """
    cases = importlib.import_module(_PACKAGE)._NodeTestCases
    before = len(cases)
    importlib.import_module(f"{_PACKAGE}.{module}")
    return tuple(case for case in cases[before:] if "_expanded" not in case.name)


def all_cases() -> Iterator[Any]:
    """Every test."""
    for module in modules():
        yield from cases_of(module)


KNOWN_REFUSALS: dict[str, tuple[str, ...]] = {
    "ConvTranspose": ("test_convtranspose_3d",),
    "FlexAttention": (
        "test_flexattention",
        "test_flexattention_causal_mask",
        "test_flexattention_diff_head_sizes",
        "test_flexattention_fp16",
        "test_flexattention_gqa",
        "test_flexattention_prob_mod",
        "test_flexattention_relative_positional",
        "test_flexattention_scaled",
        "test_flexattention_score_mod",
        "test_flexattention_soft_cap",
    ),
    "MaxPool": (
        "test_maxpool_with_argmax_2d_precomputed_pads",
        "test_maxpool_with_argmax_2d_precomputed_strides",
    ),
    "MeanVarianceNormalization": ("test_mvn",),
    "Not": (
        "test_not_2d",
        "test_not_3d",
        "test_not_4d",
    ),
    "QLinearConv": ("test_qlinearconv",),
    "Resize": (
        "test_resize_downsample_scales_cubic_align_corners",
        "test_resize_downsample_scales_linear_align_corners",
        "test_resize_tf_crop_and_resize",
        "test_resize_tf_crop_and_resize_axes_2_3",
        "test_resize_tf_crop_and_resize_axes_3_2",
        "test_resize_tf_crop_and_resize_extrapolation_value",
    ),
}
"""Tests in scope that are refused, by operator."""
