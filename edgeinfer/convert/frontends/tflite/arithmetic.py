"""Arithmetic and normalisation that float models have: some are several operators of the graph."""

from __future__ import annotations

from typing import Any

from .operands import broadcast, floats, is_plain, numbers_alike
from .operation import Handler, Handling, Operation, Unsupported


def div(op: Operation) -> None:
    """a / b; of integers, truncated."""
    if not is_plain(op.input(0)):
        _need_float(op)
    a, b = numbers_alike(op, 2)
    op.emit("div", [a, b], broadcast(a, b), activation=op.activation())


def _need_float(op: Operation) -> None:
    if op.input(0).dtype != "float32":
        raise Unsupported(
            "division of quantised tensors is not available",
            "multiply by the reciprocal, where the divisor is a constant",
        )


def _binary(ir_op: str, **attrs: Any) -> Handler:
    """Of float32 and of plain integers."""

    def handler(op: Operation) -> None:
        a, b = numbers_alike(op, 2) if is_plain(op.input(0)) else floats(op, 2)
        op.emit(ir_op, [a, b], broadcast(a, b), **attrs)

    return handler


def _unary(ir_op: str, **attrs: Any) -> Handler:
    """Of float32 alone."""

    def handler(op: Operation) -> None:
        (x,) = floats(op, 1)
        op.emit(ir_op, [x], x.shape, **attrs)

    return handler


def floor_div(op: Operation) -> None:
    """The greatest whole number up to a / b."""
    a, b = floats(op, 2)
    shape = broadcast(a, b)
    op.emit("floor", [op.step("div", [a, b], shape, "quotient")], shape)


def squared_difference(op: Operation) -> None:
    """(a - b) squared."""
    a, b = floats(op, 2)
    shape = broadcast(a, b)
    op.emit("square", [op.step("sub", [a, b], shape, "difference")], shape)


def add_n(op: Operation) -> None:
    """The sum of any number of tensors of one shape."""
    if is_plain(op.input(0)):
        terms = numbers_alike(op, op.input_count)
    else:
        terms = floats(op, op.input_count)
    if len(terms) < 2:
        raise Unsupported(f"it has {len(terms)} inputs; two are the least")
    total = terms[0]
    if any(term.shape != total.shape for term in terms):
        raise Unsupported("its inputs have different shapes")
    for i, term in enumerate(terms[1:-1]):
        total = op.step("add", [total, term], total.shape, f"first_{i + 2}")
    op.emit("add", [total, terms[-1]], total.shape)


def log_softmax(op: Operation) -> None:
    """Along the last axis."""
    (x,) = floats(op, 1)
    if not x.shape:
        raise Unsupported("its input has no axis")
    op.emit("log_softmax", [x], x.shape, axis=len(x.shape) - 1)


_LEAST_SQUARE = 1e-6  # of L2_NORMALIZATION, so that zeros stay zeros


def l2_normalization(op: Operation) -> None:
    """x over its length along the last axis."""
    (x,) = floats(op, 1)
    if not x.shape:
        raise Unsupported("its input has no axis")
    rows = (*x.shape[:-1], 1)
    squares = op.step("square", [x], x.shape, "squares")
    axes = (len(x.shape) - 1,)
    total = op.step("sum", [squares], rows, "sum", axes=axes, keep_dims=True)
    least = op.given(_LEAST_SQUARE, "least")
    factor = op.step("rsqrt", [op.step("maximum", [total, least], rows, "above")], rows, "factor")
    op.emit("mul", [x, factor], x.shape, activation=op.activation())


def local_response_normalization(op: Operation) -> None:
    """x / (bias + alpha * sum of squares of neighbouring channels) ^ beta.

    The sum is an average pool over the channels as columns of an image, which counts what lies
    outside as zeros, times its size.
    """
    (x,) = floats(op, 1)
    radius = op.options["Radius"]
    if len(x.shape) != 4 or radius < 0:
        raise Unsupported(f"radius {radius} for an input of shape {list(x.shape)}")
    n, height, width, channels = x.shape
    size = 2 * radius + 1
    squares = op.step("square", [x], x.shape, "squares")
    lines = op.reshaped(squares, (n, height * width, channels, 1), "lines")
    means = op.step(
        "avg_pool2d",
        [lines],
        lines.shape,
        "means",
        kernel=(1, size),
        strides=(1, 1),
        pads=(0, radius, 0, radius),
        count_include_pad=True,
    )
    image = op.reshaped(means, x.shape, "image")
    alpha = op.given(op.options["Alpha"] * size, "alpha")
    scaled = op.step("mul", [image, alpha], x.shape, "scaled")
    base = op.step("add", [scaled, op.given(op.options["Bias"], "bias")], x.shape, "base")
    power = op.step("pow", [base, op.given(op.options["Beta"], "beta")], x.shape, "power")
    op.emit("div", [x, power], x.shape)


HANDLERS = {
    "ADD_N": Handling(add_n),
    "ATAN2": Handling(_binary("atan2")),
    "CEIL": Handling(_unary("ceil")),
    "COS": Handling(_unary("cos")),
    "DIV": Handling(div, "DivOptions"),
    "FLOOR": Handling(_unary("floor")),
    "FLOOR_DIV": Handling(floor_div),
    "FLOOR_MOD": Handling(_binary("mod", fmod=False)),
    "L2_NORMALIZATION": Handling(l2_normalization, "L2NormOptions"),
    "LOCAL_RESPONSE_NORMALIZATION": Handling(
        local_response_normalization, "LocalResponseNormalizationOptions"
    ),
    "LOG_SOFTMAX": Handling(log_softmax),
    "POW": Handling(_binary("pow")),
    "ROUND": Handling(_unary("round")),
    "SIGN": Handling(_unary("sign")),
    "SIN": Handling(_unary("sin")),
    "SQUARED_DIFFERENCE": Handling(squared_difference),
}
