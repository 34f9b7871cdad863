"""FULLY_CONNECTED and BATCH_MATMUL."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from edgeinfer.convert.graph import Tensor

from .operands import bias, broadcast, computed, computed_alike, float_weights, need_rank, weights
from .operation import Handling, Operation, Unsupported


def fully_connected(op: Operation) -> None:
    """x of any shape, read as rows of K, by weights [N, K]."""
    if op.options["WeightsFormat"] != 0:
        raise Unsupported(
            "its weights are shuffled for one kind of kernel", "convert the original model again"
        )
    x, stored = op.input(0), need_rank(op.input(1), 2)
    n, k = stored.shape
    is_constant = stored.is_constant
    w = weights(op, x, 1, n) if is_constant else _computed_weights(op, x, stored)
    if computed(op.output()).dtype != computed(x).dtype:
        raise Unsupported(f"its input is {x.dtype} and its output {op.output().dtype}")
    if k == 0 or prod(x.shape) % k:
        raise Unsupported(f"input {list(x.shape)} does not divide into rows of {k}")
    rows = (prod(x.shape) // k, k)
    if op.options["KeepNumDims"]:
        if x.shape[-1:] != (k,):
            raise Unsupported(f"input {list(x.shape)} does not end with {k}")
        shape = (*x.shape[:-1], n)
    else:
        shape = (rows[0], n)
    if is_constant:
        flat = x if op.options["KeepNumDims"] else op.reshaped(x, rows, "rows")
        b = bias(op, x, w, 2, n)
        op.emit("fully_connected", [flat, w, b], shape, activation=op.activation())
        return
    _product(op, op.reshaped(x, rows, "rows"), w, (rows[0], n), shape)


def _product(
    op: Operation, x: Tensor, w: Tensor, rows: tuple[int, int], shape: tuple[int, ...]
) -> None:
    """x by the transpose of computed weights, and a float bias."""
    attrs: dict[str, Any] = {"transpose_a": False, "transpose_b": True}
    if op.optional_input(2) is not None:
        bias_ = computed(op.input(2))
        if bias_.dtype != x.dtype:
            raise Unsupported(f"its input is {x.dtype} and its bias {bias_.dtype}")
        sums = op.step("batch_matmul", [x, w], rows, "product", **attrs)
        if broadcast(sums, bias_) != rows:
            raise Unsupported(f"its bias has shape {list(bias_.shape)} for rows of {rows[1]}")
        _give(op, "add", [sums, bias_], rows, shape)
    else:
        _give(op, "batch_matmul", [x, w], rows, shape, **attrs)


def _give(
    op: Operation,
    ir_op: str,
    inputs: list[Tensor],
    rows: tuple[int, int],
    shape: tuple[int, ...],
    **attrs: Any,
) -> None:
    """The output, computed as rows."""
    if shape == rows:
        op.emit(ir_op, inputs, shape, activation=op.activation(), **attrs)
        return
    result = op.step(
        ir_op, inputs, rows, "result", like=op.output(), activation=op.activation(), **attrs
    )
    op.emit("reshape", [result], shape)


def _computed_weights(op: Operation, x: Tensor, w: Tensor) -> Tensor:
    """Weights that are an activation: the operator is a matrix product then."""
    if x.dtype != "float32" and op.optional_input(2) is not None:
        raise Unsupported("it has a bias, and weights that are computed at run time")
    if computed(w).dtype != computed(x).dtype:
        raise Unsupported(f"its input is {x.dtype} and its weights are {w.dtype}")
    return w


def batch_matmul(op: Operation) -> None:
    """a [..., M, K] by b [..., K, N]; AdjX and AdjY swap the last two axes."""
    a, b = op.input(0), op.input(1)
    if a.dtype == "float32" and b.is_constant and b.dtype != "float32":
        axis = len(b.shape) - (2 if op.options["AdjY"] else 1)
        b = float_weights(op, 1, b.shape[axis] if b.shape else 1, max(axis, 0))
        computed_alike(op, 1)
    else:
        a, b = computed_alike(op, 2)
    rank = max(len(a.shape), len(b.shape))
    if min(len(a.shape), len(b.shape)) < 2:
        raise Unsupported(f"shapes {list(a.shape)} and {list(b.shape)} are not both matrices")
    transpose_a, transpose_b = bool(op.options["AdjX"]), bool(op.options["AdjY"])
    m, k = a.shape[-2:][:: -1 if transpose_a else 1]
    k_of_b, n = b.shape[-2:][:: -1 if transpose_b else 1]
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        batch = None
    if batch is None or k != k_of_b:
        raise Unsupported(f"shapes {list(a.shape)} and {list(b.shape)} do not go together")
    operands = [
        op.reshaped(t, (1,) * (rank - len(t.shape)) + t.shape, suffix)
        for t, suffix in ((a, "a"), (b, "b"))
    ]
    op.emit(
        "batch_matmul",
        operands,
        (*batch, m, n),
        transpose_a=transpose_a,
        transpose_b=transpose_b,
    )


HANDLERS = {
    "BATCH_MATMUL": Handling(batch_matmul, "BatchMatMulOptions"),
    "FULLY_CONNECTED": Handling(fully_connected, "FullyConnectedOptions"),
}
