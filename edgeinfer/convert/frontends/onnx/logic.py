"""Comparisons, logic, Where, Cast: operators with booleans on one side."""

from __future__ import annotations

from .arithmetic import Arithmetic
from .operation import Handler, Operation
from .values import Unsupported, graph_dtype


def _comparison(ir_op: str) -> Handler:
    def handler(op: Operation) -> None:
        steps = Arithmetic(op)
        steps.give(steps.compare(ir_op, steps.input(0), steps.input(1)))

    return handler


def logical_not(op: Operation) -> None:
    """True where the input is false."""
    steps = Arithmetic(op)
    steps.give(steps.test("logical_not", steps.input(0)))


def is_nan(op: Operation) -> None:
    """Whether an element is no number."""
    steps = Arithmetic(op)
    steps.give(steps.test("is_nan", steps.floats(0)))


def is_inf(op: Operation) -> None:
    """Whether an element is infinite, of a sign that counts."""
    steps = Arithmetic(op)
    positive = bool(op.integer("detect_positive", 1))
    negative = bool(op.integer("detect_negative", 1))
    x = steps.floats(0)
    steps.give(steps.test("is_inf", x, positive=positive, negative=negative))


def where(op: Operation) -> None:
    """One of two tensors, element by element."""
    steps = Arithmetic(op)
    steps.give(steps.where(steps.input(0), steps.input(1), steps.input(2)))


def cast(op: Operation) -> None:
    """The numbers in another type."""
    _cast_to(op, op.element_type("to"))


def cast_like(op: Operation) -> None:
    """The numbers in the type of the second input."""
    like = op.value(1)
    _cast_to(op, like.narrow or like.elements)


def _cast_to(op: Operation, target: str) -> None:
    x = op.value(0)
    if target == x.elements:
        op.move("reshape", [op.movable(0)], op.shape(0))
        return
    if target in ("FLOAT16", "BFLOAT16", "DOUBLE"):
        raise Unsupported(
            f"it casts {x.elements} to {target} at run time", "export the model in float32"
        )
    steps = Arithmetic(op)
    steps.give(steps.cast(steps.input(0), graph_dtype(op.node.outputs[0], target)))


HANDLERS: dict[str, Handler] = {
    "And": _comparison("logical_and"),
    "Cast": cast,
    "CastLike": cast_like,
    "Equal": _comparison("equal"),
    "Greater": _comparison("greater"),
    "GreaterOrEqual": _comparison("greater_or_equal"),
    "IsInf": is_inf,
    "IsNaN": is_nan,
    "Less": _comparison("less"),
    "LessOrEqual": _comparison("less_or_equal"),
    "Not": logical_not,
    "Or": _comparison("logical_or"),
    "Where": where,
    "Xor": _comparison("logical_xor"),
}
