"""Operators that work element by element, and SOFTMAX."""

from __future__ import annotations

from typing import Any

from .operands import broadcast, computed, computed_alike, numbers_alike
from .operation import Activation, Handler, Handling, Operation, Unsupported


def _binary(ir_op: str, *, has_activation: bool) -> Handler:
    def handler(op: Operation) -> None:
        a, b = numbers_alike(op, 2)
        activation: Activation = op.activation() if has_activation else None
        op.emit(ir_op, [a, b], broadcast(a, b), activation=activation)

    return handler


def _unary(ir_op: str, **attrs: Any) -> Handler:
    def handler(op: Operation) -> None:
        (x,) = numbers_alike(op, 1) if ir_op in ("abs", "neg") else computed_alike(op, 1)
        op.emit(ir_op, [x], x.shape, **attrs)

    return handler


def leaky_relu(op: Operation) -> None:
    """x, or Alpha * x below zero."""
    (x,) = computed_alike(op, 1)
    op.emit("leaky_relu", [x], x.shape, alpha=op.options["Alpha"])


def gelu(op: Operation) -> None:
    """By erf, or by its approximation with tanh."""
    (x,) = computed_alike(op, 1)
    op.emit("gelu", [x], x.shape, approximate=bool(op.options["Approximate"]))


def prelu(op: Operation) -> None:
    """x, or slope * x below zero; the slope broadcasts to x, and is a constant unless float32."""
    x, slope = computed_alike(op, 2)
    if x.dtype != "float32":
        op.constant(1, "slope")
    if broadcast(x, slope) != x.shape:
        raise Unsupported(f"a slope of shape {list(slope.shape)} for input {list(x.shape)}")
    op.emit("prelu", [x, slope], x.shape)


def softmax(op: Operation) -> None:
    """Along the last axis. The result may be float32, or have another integer type than x."""
    x = computed(op.input(0))
    computed(op.output())
    if x.dtype == "float32" != op.output().dtype:
        raise Unsupported(f"its input is float32 and its output {op.output().dtype}")
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
    "MAXIMUM": Handling(_binary("maximum", has_activation=False)),
    "MINIMUM": Handling(_binary("minimum", has_activation=False)),
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
