"""Arithmetic and functions of float32, element by element."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from edgeinfer.convert.graph import Node, Tensor
from edgeinfer.convert.lower.activations import (
    CLAMPS,
    Bounds,
    activation_bounds,
    bounds_of,
    chained,
)
from edgeinfer.convert.lower.elementwise import operands
from edgeinfer.convert.lower.lowering import Lowering, Refused

BINARY = {
    "add": 0,
    "sub": 1,
    "mul": 2,
    "div": 3,
    "maximum": 4,
    "minimum": 5,
    "prelu": 6,
    "pow": 7,
    "fmod": 8,
    "mod": 9,
    "atan2": 10,
}
"""`kind` of binary_f32."""

UNARY = {
    "clip": 0,
    "exp": 1,
    "sigmoid": 2,
    "tanh": 3,
    "silu": 4,
    "gelu": 5,
    "gelu_tanh": 6,
    "erf": 7,
    "hard_sigmoid": 8,
    "hard_swish": 9,
    "leaky_relu": 10,
    "elu": 11,
    "mish": 12,
    "sqrt": 13,
    "rsqrt": 14,
    "reciprocal": 15,
    "abs": 16,
    "neg": 17,
    "square": 18,
    "floor": 19,
    "ceil": 20,
    "round": 21,
    "sign": 22,
    "softsign": 23,
    "thresholded_relu": 24,
    "shrink": 25,
    "log": 26,
    "sin": 65,
    "cos": 66,
    "tan": 67,
    "asin": 68,
    "acos": 69,
    "atan": 70,
    "sinh": 71,
    "cosh": 72,
    "asinh": 73,
    "acosh": 74,
    "atanh": 75,
    "softplus": 76,
}
"""`kind` of unary_f32."""

POWERS = {1.0: "clip", 2.0: "square", 0.5: "sqrt", -1.0: "reciprocal", -0.5: "rsqrt"}
"""Exponents that are functions by themselves."""


def clamp_of(bounds: Bounds) -> dict[str, int | float]:
    """clamp_min and clamp_max of an operator on float32."""
    low, high = bounds
    return {
        "clamp_min": -math.inf if low is None else float(np.float32(low)),
        "clamp_max": math.inf if high is None else float(np.float32(high)),
    }


def require_float(*tensors: Tensor) -> None:
    """Refuse operands of another dtype."""
    for tensor in tensors:
        if tensor.dtype != "float32":
            raise Refused(f"{tensor.name!r} is {tensor.dtype}, must be float32")


def lower_binary(node: Node, lowering: Lowering) -> None:
    """One binary_f32, or the function that a constant exponent makes of pow."""
    a, b = node.input(0), node.input(1)
    if node.op == "pow" and b.data is not None:
        exponents = np.unique(b.data.astype(np.float32))
        if exponents.size == 1 and float(exponents[0]) in POWERS and a.shape == node.output.shape:
            require_float(a, node.output)
            return emit_unary(node, lowering, POWERS[float(exponents[0])])
        if b.dtype != "float32":
            b = Tensor(b.name, b.shape, "float32", None, b.data.astype(np.float32))
    require_float(a, b, node.output)
    kind = "fmod" if node.op == "mod" and node.attrs.get("fmod") else node.op
    pair = Node(node.op, [a, b], node.outputs, name=node.name, source=node.source)
    lowering.emit(
        node,
        "binary_f32",
        operands(pair, lowering),
        lowering.value(node.output),
        {"kind": BINARY[kind], **clamp_of(activation_bounds(node.activation))},
    )


def lower_unary(node: Node, lowering: Lowering) -> None:
    """One unary_f32."""
    require_float(node.input(0), node.output)
    attrs = node.attrs
    if node.op == "gelu":
        emit_unary(node, lowering, "gelu_tanh" if attrs.get("approximate") else "gelu")
    elif node.op == "hard_sigmoid":
        emit_unary(node, lowering, node.op, float(attrs["alpha"]), float(attrs["beta"]))
    elif node.op == "hard_swish":
        emit_unary(node, lowering, node.op, 1 / 6, 0.5)
    elif node.op in ("leaky_relu", "thresholded_relu"):
        emit_unary(node, lowering, node.op, float(attrs["alpha"]))
    elif node.op == "elu":
        emit_unary(node, lowering, "elu", float(attrs["alpha"]), 1.0, 1.0)
    elif node.op == "selu":
        gamma = float(attrs["gamma"])
        emit_unary(node, lowering, "elu", float(attrs["alpha"]) * gamma, 1.0, gamma)
    elif node.op == "celu":
        alpha = float(attrs["alpha"])
        emit_unary(node, lowering, "elu", alpha, 1 / alpha if alpha else math.inf, 1.0)
    elif node.op == "shrink":
        emit_unary(node, lowering, node.op, float(attrs["lambd"]), float(attrs["bias"]))
    else:
        emit_unary(node, lowering, node.op)


def lower_clamp(node: Node, lowering: Lowering) -> None:
    """relu and its like: the clamp alone."""
    require_float(node.input(0), node.output)
    first = ("clip", *bounds_of(node.op, node.attrs))
    emit_unary(
        node,
        lowering,
        "clip",
        bounds=activation_bounds(chained(first, activation_bounds(node.activation))),
    )


def emit_unary(
    node: Node,
    lowering: Lowering,
    kind: str,
    alpha: float = 0.0,
    beta: float = 0.0,
    gamma: float = 0.0,
    bounds: Bounds | None = None,
) -> None:
    """One unary_f32 on the node's first input."""
    for name, value in (("alpha", alpha), ("beta", beta), ("gamma", gamma)):
        if not np.isfinite(np.float32(value)):
            raise Refused(f"{name} is {value}, must be finite")
    clamp = clamp_of(activation_bounds(node.activation) if bounds is None else bounds)
    if not clamp["clamp_min"] <= clamp["clamp_max"]:
        # Of empty bounds ONNX's Clip takes the upper one everywhere.
        clamp["clamp_min"] = clamp["clamp_max"]
    lowering.emit(
        node,
        "unary_f32",
        [lowering.value(node.input(0))],
        lowering.value(node.output),
        {"kind": UNARY[kind], "alpha": alpha, "beta": beta, "gamma": gamma, **clamp},
    )


_BY_OTHER_KINDS = ("gelu", "selu", "celu")

HANDLERS: dict[str, Callable[[Node, Lowering], None]] = {
    **dict.fromkeys([op for op in BINARY if op != "fmod"], lower_binary),
    **dict.fromkeys([op for op in (*UNARY, *_BY_OTHER_KINDS) if op != "gelu_tanh"], lower_unary),
    **dict.fromkeys(CLAMPS, lower_clamp),
}
