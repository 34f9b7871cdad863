"""Small models for tests of the device side, made without a frontend."""

from __future__ import annotations

from edgeinfer.convert.plan import plan_program
from edgeinfer.convert.program import Operation, Program, Value
from edgeinfer.convert.write import write_model


def requantize(x: Value, y: Value, multiplier: float = 1.0, name: str = "") -> Operation:
    """y = clamp(rne((x - zero point) * multiplier) + zero point) in int8."""
    params: dict[str, int | float] = {
        "in_zero_point": x.zero_point,
        "multiplier": multiplier,
        "out_zero_point": y.zero_point,
        "clamp_min": -128,
        "clamp_max": 127,
    }
    return Operation("requantize", [x], [y], params, name or f"make {y.name}")


def one_in_one_out() -> bytes:
    """x int8 [1, 4, 3] -> y = 2 x, saturated."""
    x = Value("x", (1, 4, 3), "int8", scale=0.5, zero_point=3)
    y = Value("y", (1, 4, 3), "int8", scale=0.5, zero_point=3)
    program = Program("main", [x], [y], [requantize(x, y, 2.0, "double")])
    return write_model([(program, plan_program(program))], {"labels": ["a", "b"]})


def two_in_two_out() -> bytes:
    """a, b int8 [6] -> largest of both, and a negated about its zero point."""
    a, b = Value("a", (6,), "int8"), Value("b", (6,), "int8")
    largest, negated = Value("largest", (6,), "int8"), Value("negated", (6,), "int8")
    operations = [
        Operation("maximum", [a, b], [largest], {"reserved": 0}, "pick"),
        requantize(a, negated, -1.0, "negate"),
    ]
    program = Program("main", [a, b], [largest, negated], operations)
    return write_model([(program, plan_program(program))], {})
