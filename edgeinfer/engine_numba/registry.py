"""Which function prepares each operator of operators.def. A test holds that none is forgotten."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from edgeinfer.convert.model_file import FileNode, FileTensor
from edgeinfer.engine_numba import (
    custom,
    elementwise,
    float_functions,
    float_products,
    float_sums,
    four_bits,
    moves,
    plain,
    pooling,
    products,
    resize,
    sums,
)
from edgeinfer.engine_numba.node import Node, Run
from edgeinfer.errors import UnsupportedError

PREPARE: dict[str, Callable[[Node], Run]] = {
    "conv2d": products.conv2d,
    "depthwise_conv2d": products.depthwise_conv2d,
    "transpose_conv2d": products.transpose_conv2d,
    "fully_connected": products.fully_connected,
    "batch_matmul": products.batch_matmul,
    "add": elementwise.add,
    "mul": elementwise.mul,
    "maximum": elementwise.maximum,
    "minimum": elementwise.minimum,
    "lut8": elementwise.lut8,
    "lut16": elementwise.lut16,
    "requantize": elementwise.requantize,
    "quantize": elementwise.quantize,
    "dequantize": elementwise.dequantize,
    "avg_pool2d": pooling.avg_pool2d,
    "max_pool2d": pooling.max_pool2d,
    "reduce_sum": sums.reduce_sum,
    "accumulate_rows": sums.accumulate_rows,
    "rescale_sums": sums.rescale_sums,
    "softmax": sums.softmax,
    "concat": moves.concat,
    "slice": moves.slice_,
    "pad": moves.pad,
    "transpose": moves.transpose,
    "copy": moves.copy,
    "gather": moves.gather,
    "gather_elements": moves.gather_elements,
    "argmax": moves.argmax,
    "top_k": moves.top_k,
    "resize_nearest": resize.resize_nearest,
    "resize_bilinear": resize.resize_bilinear,
    "resize_f32": resize.resize_f32,
    "conv2d_f32": float_products.conv2d_f32,
    "depthwise_conv2d_f32": float_products.depthwise_conv2d_f32,
    "transpose_conv2d_f32": float_products.transpose_conv2d_f32,
    "fully_connected_f32": float_products.fully_connected_f32,
    "batch_matmul_f32": float_products.batch_matmul_f32,
    "fully_connected_dynamic": four_bits.fully_connected_dynamic,
    "embedding": four_bits.embedding,
    "binary_f32": float_functions.binary_f32,
    "unary_f32": float_functions.unary_f32,
    "classify_f32": float_functions.classify_f32,
    "pool2d_f32": float_sums.pool2d_f32,
    "reduce_f32": float_sums.reduce_f32,
    "softmax_f32": float_sums.softmax_f32,
    "layer_norm_f32": float_sums.layer_norm_f32,
    "compare": plain.compare,
    "select": plain.select,
    "cast": plain.cast,
    "binary_int": plain.binary_int,
    "unary_int": plain.unary_int,
    "reduce_int": plain.reduce_int,
    "cumsum": plain.cumsum,
    "custom": custom.custom,
}

REFUSED: dict[str, str] = {}
"""Operators that this engine does not run, and why."""


class Prepared(NamedTuple):
    """What computes rows of an operation's output, and the inputs that it needs while it runs."""

    run: Run
    inputs: tuple[FileTensor | None, ...]


def prepare(node: FileNode) -> Prepared:
    """Check an operation's contract and bring its constants into the form that kernels take.

    Raises
    ------
    ModelFileError
        The operation breaks its operator's contract.
    UnsupportedError
        This engine does not run the operator.
    """
    checked = Node(node)
    found = PREPARE.get(node.operator)
    if found is None:
        reason = REFUSED.get(node.operator, "it has no kernel for this operator")
        raise UnsupportedError(f"{checked.where}: engine='numba' cannot run it: {reason}")
    run = found(checked)
    inputs = (None if i in checked.taken else tensor for i, tensor in enumerate(node.inputs))
    return Prepared(run, tuple(inputs))
