"""Operators that work element by element, and SOFTMAX."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeinfer.convert.graph import Tensor

from .operands import quantised, quantised_alike
from .operation import Activation, Handler, Handling, Operation, Unsupported


def _broadcast(a: Tensor, b: Tensor) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise Unsupported(
            f"shapes {list(a.shape)} and {list(b.shape)} do not go together"
        ) from None


def _binary(ir_op: str, *, has_activation: bool) -> Handler:
    def handler(op: Operation) -> None:
        a, b = quantised_alike(op, 2)
        activation: Activation = op.activation() if has_activation else None
        op.emit(ir_op, [a, b], _broadcast(a, b), activation=activation)

    return handler


def _extreme(ir_op: str) -> Handler:
    """MAXIMUM or MINIMUM: of plain int32 too, which is compared as it is."""
    quantised_handler = _binary(ir_op, has_activation=False)

    def handler(op: Operation) -> None:
        a, b = op.input(0), op.input(1)
        if {a.dtype, b.dtype, op.output().dtype} != {"int32"}:
            quantised_handler(op)
            return
        op.emit(ir_op, [a, b], _broadcast(a, b))

    return handler


def _unary(ir_op: str, **attrs: Any) -> Handler:
    def handler(op: Operation) -> None:
        (x,) = quantised_alike(op, 1)
        op.emit(ir_op, [x], x.shape, **attrs)

    return handler


def leaky_relu(op: Operation) -> None:
    """x, or Alpha * x below zero."""
    (x,) = quantised_alike(op, 1)
    op.emit("leaky_relu", [x], x.shape, alpha=op.options["Alpha"])


def gelu(op: Operation) -> None:
    """By erf, or by its approximation with tanh."""
    (x,) = quantised_alike(op, 1)
    op.emit("gelu", [x], x.shape, approximate=bool(op.options["Approximate"]))


def prelu(op: Operation) -> None:
    """x, or slope * x below zero; the slope is a constant that broadcasts to x."""
    x, slope = quantised_alike(op, 2)
    op.constant(1, "slope")
    if _broadcast(x, slope) != x.shape:
        raise Unsupported(f"a slope of shape {list(slope.shape)} for input {list(x.shape)}")
    op.emit("prelu", [x, slope], x.shape)


def softmax(op: Operation) -> None:
    """Along the last axis. The result may be float32, or have another integer type than x."""
    x = quantised(op.input(0))
    if op.output().dtype != "float32":
        quantised(op.output())
    if not x.shape:
        raise Unsupported("its input has no axis")
    op.emit("softmax", [x], x.shape, axis=len(x.shape) - 1, beta=op.options["Beta"])


HANDLERS = {
    "ABS": Handling(_unary("abs")),
    "ADD": Handling(_binary("add", has_activation=True), "AddOptions"),
    "ELU": Handling(_unary("elu", alpha=1.0)),
    "EXP": Handling(_unary("exp")),
    "GELU": Handling(gelu, "GeluOptions"),
    "HARD_SWISH": Handling(_unary("hard_swish")),
    "LEAKY_RELU": Handling(leaky_relu, "LeakyReluOptions"),
    "LOG": Handling(_unary("log")),
    "LOGISTIC": Handling(_unary("sigmoid")),
    "MAXIMUM": Handling(_extreme("maximum")),
    "MINIMUM": Handling(_extreme("minimum")),
    "MUL": Handling(_binary("mul", has_activation=True), "MulOptions"),
    "NEG": Handling(_unary("neg")),
    "PRELU": Handling(prelu),
    "RELU": Handling(_unary("relu")),
    "RELU6": Handling(_unary("relu6")),
    "RELU_0_TO_1": Handling(_unary("clip", min=0.0, max=1.0)),
    "RELU_N1_TO_1": Handling(_unary("clip", min=-1.0, max=1.0)),
    "RSQRT": Handling(_unary("rsqrt")),
    "SOFTMAX": Handling(softmax, "SoftmaxOptions"),
    "SQRT": Handling(_unary("sqrt")),
    "SQUARE": Handling(_unary("square")),
    "SUB": Handling(_binary("sub", has_activation=True), "SubOptions"),
    "TANH": Handling(_unary("tanh")),
}
