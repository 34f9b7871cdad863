"""Gemm and MatMul."""

from __future__ import annotations

import numpy as np

from edgeinfer.convert.graph import Tensor

from .arithmetic import Arithmetic
from .operands import bias, channel_quantization, laid_out, weights
from .operation import Handler, Operation
from .values import Unsupported


def gemm(op: Operation) -> None:
    """alpha * A * B + beta * C, with A and B as they are or transposed."""
    a = op.operand(0)
    alpha, beta = op.number("alpha", 1.0), op.number("beta", 1.0)
    transpose_a, transpose_b = bool(op.integer("transA", 0)), bool(op.integer("transB", 0))
    if op.value(1).constant_data is None:
        if alpha == 1.0 and not op.has_input(2):
            op.compute(
                "batch_matmul",
                [a, op.operand(1)],
                transpose_a=transpose_a,
                transpose_b=transpose_b,
            )
        else:
            _gemm_of_activations(op, alpha, beta)
        return
    if op.has_input(2) and beta != 0 and not _is_row(op):
        _gemm_of_activations(op, alpha, beta)
        return
    w = _scaled(_fc_weights(op, transpose_b), alpha)
    if transpose_a:
        a = op.step("transpose", [a], a.shape[::-1], "transposed", perm=(1, 0))
    if len(a.shape) != 2 or a.shape[1] != w.shape[1]:
        raise Unsupported(f"shapes {list(a.shape)} and {list(w.shape)} do not go together")
    b = bias(op, a, w, 2, w.shape[0], beta) if op.has_input(2) and beta != 0 else None
    op.compute("fully_connected", [a, w, b], (a.shape[0], w.shape[0]))


def _is_row(op: Operation) -> bool:
    """Whether C is a constant that is the same for every row."""
    c, channels = op.value(2), op.shape(1)[0 if op.integer("transB", 0) else 1]
    shape = c.known_shape
    return c.constant_data is not None and (
        all(n == 1 for n in shape[:-1]) and (not shape or shape[-1] in (1, channels))
    )


def _gemm_of_activations(op: Operation, alpha: float, beta: float) -> None:
    """In float32: the product, then the addend."""
    steps = Arithmetic(op)
    a, b = steps.floats(0), steps.floats(1)
    if op.integer("transA", 0):
        a = steps.transpose(a, (1, 0))
    y = steps.matmul(a, b, transpose_b=bool(op.integer("transB", 0)))
    if alpha != 1.0:
        y = steps.binary("mul", y, alpha)
    if op.has_input(2) and beta != 0:
        c = steps.floats(2)
        y = steps.binary("add", y, c if beta == 1.0 else steps.binary("mul", c, beta))
    steps.give(y)


def matmul(op: Operation) -> None:
    """A times B: fully_connected where B is a constant matrix."""
    b = op.value(1)
    if b.constant_data is not None and len(b.known_shape) == 2:
        a, w = op.operand(0), _fc_weights(op, transposed=False)
        if not a.shape or a.shape[-1] != w.shape[1]:
            raise Unsupported(
                f"shapes {list(a.shape)} and {list(b.known_shape)} do not go together"
            )
        op.compute("fully_connected", [a, w, None], (*a.shape[:-1], w.shape[0]))
        return
    operands = [op.operand(0), op.operand(1)]
    shapes = [operands[0].shape, operands[1].shape]
    shape = op.result_shape()
    # A vector is a row at the left and a column at the right; the product has no axis for it.
    if len(shapes[0]) == 1:
        shapes[0] = (1, *shapes[0])
    if len(shapes[1]) == 1:
        shapes[1] = (*shapes[1], 1)
    rank = max(len(s) for s in shapes)
    shapes = [(*([1] * (rank - len(s))), *s) for s in shapes]
    batch = np.broadcast_shapes(shapes[0][:-2], shapes[1][:-2])
    op.compute(
        "batch_matmul",
        [
            op.reshaped(tensor, s, suffix)
            for tensor, s, suffix in zip(operands, shapes, ("a", "b"), strict=True)
        ],
        shape,
        through=(*batch, shapes[0][-2], shapes[1][-1]),
        transpose_a=False,
        transpose_b=False,
    )


def _fc_weights(op: Operation, transposed: bool) -> Tensor:
    """The constant second input as [N, K]; `transposed` when the file has it so."""
    w = weights(op, 1, axis=0 if transposed else 1)
    if w.data is None or w.data.ndim != 2 or 0 in w.shape:
        raise Unsupported(f"its weights have shape {list(w.shape)}; a matrix is needed")
    return laid_out(w, w.data if transposed else w.data.T, axis=0)


def _scaled(w: Tensor, alpha: float) -> Tensor:
    """Weights times alpha, which their scales take."""
    assert w.data is not None
    if alpha == 1.0:
        return w
    if w.quantization is None:
        return Tensor(w.name, w.shape, w.dtype, None, w.data * np.float32(alpha))
    data, scale = w.data, w.quantization.scale * np.float32(abs(alpha))
    if not np.all(np.isfinite(scale) & (scale > 0)):
        raise Unsupported(f"alpha is {alpha}, which leaves the weights no scale")
    if alpha < 0:
        if np.any(data == -128):
            raise Unsupported(f"alpha is {alpha}, and int8 has no 128 for weights of -128")
        data = -data
    return Tensor(w.name, w.shape, w.dtype, channel_quantization(scale, 0), data)


HANDLERS: dict[str, Handler] = {
    "Gemm": gemm,
    "MatMul": matmul,
}
