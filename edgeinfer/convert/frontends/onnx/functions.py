"""Functions of float32, element by element, that only float models have."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeinfer.convert.graph import Tensor

from .arithmetic import Arithmetic
from .elementwise import scaled_swish
from .operands import resolve_axis
from .operation import Handler, Operation
from .values import Unsupported


def _unary(ir_op: str, **defaults: float) -> Handler:
    """A function with float attributes of the same names in file and graph."""

    def handler(op: Operation) -> None:
        steps = Arithmetic(op)
        attrs: dict[str, Any] = {name: op.number(name, value) for name, value in defaults.items()}
        steps.give(steps.unary(ir_op, steps.floats(0), **attrs))

    return handler


def mod(op: Operation) -> None:
    """The remainder, with the sign of the dividend (fmod) or of the divisor."""
    steps = Arithmetic(op)
    fmod = bool(op.integer("fmod", 0))
    steps.give(steps.binary("mod", steps.input(0), steps.input(1), fmod=fmod))


def _rowwise(op: Operation, steps: Arithmetic) -> tuple[Tensor, int]:
    """x and the axis; before operator set 13 all axes from that on are one."""
    x = steps.floats(0)
    if not x.shape:
        raise Unsupported("its input has no axis")
    axis = resolve_axis(op.integer("axis", -1 if op.version >= 13 else 1), len(x.shape))
    if op.version < 13:
        rows = int(np.prod(x.shape[:axis], dtype=np.int64))
        return steps.reshape(x, (rows, int(np.prod(x.shape[axis:], dtype=np.int64)))), 1
    return x, axis


def log_softmax(op: Operation) -> None:
    """The logarithm of Softmax."""
    steps = Arithmetic(op)
    x, axis = _rowwise(op, steps)
    y = steps.softmax(x, axis, "log_softmax")
    steps.give(steps.reshape(y, op.shape(0)))


def hardmax(op: Operation) -> None:
    """1 at the first largest element along an axis, 0 elsewhere."""
    steps = Arithmetic(op)
    x, axis = _rowwise(op, steps)
    shape = [1 if i == axis else n for i, n in enumerate(x.shape)]
    attrs: dict[str, Any] = {"axis": axis, "keep_dims": True, "select_last": False}
    place = steps.node("argmax", [x], shape, "int64", **attrs)
    line = [n if i == axis else 1 for i, n in enumerate(x.shape)]
    places = steps.constant(np.arange(x.shape[axis]).reshape(line), "places", "int64")
    y = steps.cast(steps.compare("equal", place, places), "float32")
    steps.give(steps.reshape(y, op.shape(0)))


def swiglu(op: Operation) -> None:
    """Swish of the first input times the second."""
    steps = Arithmetic(op)
    gate = scaled_swish(steps, steps.floats(0), op.number("alpha", 1.0))
    steps.give(steps.binary("mul", gate, steps.floats(1)))


HANDLERS: dict[str, Handler] = {
    "Acos": _unary("acos"),
    "Acosh": _unary("acosh"),
    "Asin": _unary("asin"),
    "Asinh": _unary("asinh"),
    "Atan": _unary("atan"),
    "Atanh": _unary("atanh"),
    "Ceil": _unary("ceil"),
    "Celu": _unary("celu", alpha=1.0),
    "Cos": _unary("cos"),
    "Cosh": _unary("cosh"),
    "Floor": _unary("floor"),
    "Hardmax": hardmax,
    "LogSoftmax": log_softmax,
    "Mish": _unary("mish"),
    "Mod": mod,
    "Reciprocal": _unary("reciprocal"),
    "Round": _unary("round"),
    "Selu": _unary("selu", alpha=1.67326319217681884765625, gamma=1.05070102214813232421875),
    "Shrink": _unary("shrink", lambd=0.5, bias=0.0),
    "Sign": _unary("sign"),
    "Sin": _unary("sin"),
    "Sinh": _unary("sinh"),
    "Softsign": _unary("softsign"),
    "SwiGLU": swiglu,
    "Tan": _unary("tan"),
    "ThresholdedRelu": _unary("thresholded_relu", alpha=1.0),
}
