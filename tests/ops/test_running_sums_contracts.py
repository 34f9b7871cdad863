"""What running sums of rows refuse when a file is opened: one change of a good operation per rule,
and the message that names it."""

from __future__ import annotations

import numpy as np

from edgeinfer.convert.program import Operation
from tests.kernels.run_operation import constant
from tests.ops.changes import Change, activation, both, open_accepts, open_refuses, param
from tests.ops.test_contracts import OUT, X, Y, operation


def accumulate_rows() -> Operation:
    return operation(
        "accumulate_rows", {"x": ((2, 6, 7, 5), "int8")}, ((2, 6, 1, 5), "int32"), {"reserved": 0}
    )


def rescale_sums() -> Operation:
    params: dict[str, int | float] = {
        "kind": 1, "divisor": 42, "zero_sum": 84, "multiplier": 0.5, "offset": 0.0,
    }  # fmt: skip
    operands = {"x": ((2, 6, 1, 5), "int32")}
    return operation("rescale_sums", operands, ((2, 1, 1, 5), "int8"), {**params, **OUT})


def rescale_sums_to_vectors() -> Operation:
    changed = rescale_sums()
    activation(Y, (2, 5), "int16")(changed)
    return changed


GOOD = [accumulate_rows, rescale_sums, rescale_sums_to_vectors]


def constant_x(operation: Operation) -> None:
    x = operation.inputs[X]
    assert x is not None
    operation.inputs[X] = constant("x", np.zeros(x.shape, x.dtype))


def image(height: int, width: int, dtype: str) -> Change:
    """x of one channel, and y to match."""
    return both(
        activation(X, (1, height, width, 1), dtype), activation(Y, (1, height, 1, 1), "int32")
    )


REFUSALS = [
    (accumulate_rows, constant_x, "x: is a constant"),
    (accumulate_rows, activation(X, (2, 6, 7, 5), "int32"), "x: dtype is int32, must be int8"),
    (accumulate_rows, activation(X, (12, 7, 5)), "x: shape is .12,7,5., rank must be 4"),
    (accumulate_rows, activation(Y, (2, 6, 1, 5)), "y: dtype is int8, must be int32"),
    (accumulate_rows, activation(Y, (12, 1, 5), "int32"), "y: shape is .12,1,5., rank must be 4"),
    (accumulate_rows, activation(Y, (1, 6, 1, 5), "int32"), "y: .* axis 0 must have 2 elements"),
    (accumulate_rows, activation(Y, (2, 1, 1, 5), "int32"), "y: .* axis 1 must have 6 elements"),
    (accumulate_rows, activation(Y, (2, 6, 7, 5), "int32"), "y: .* axis 2 must have 1 elements"),
    (accumulate_rows, activation(Y, (2, 6, 1, 7), "int32"), "y: .* axis 3 must have 5 elements"),
    (accumulate_rows, image(4096, 4096, "int8"), "pixels of an image: is 16777216, .* 16777215"),
    (accumulate_rows, image(4096, 2057, "uint8"), "pixels of an image: is 8425472, .* 8421504"),
    (accumulate_rows, image(256, 256, "int16"), "pixels of an image: is 65536, .* 65535"),
    (accumulate_rows, param("reserved", 1), "reserved: is 1"),
    (rescale_sums, constant_x, "x: is a constant"),
    (rescale_sums, activation(X, (2, 6, 1, 5)), "x: dtype is int8, must be int32"),
    (rescale_sums, activation(X, (12, 1, 5), "int32"), "x: shape is .12,1,5., rank must be 4"),
    (rescale_sums, activation(X, (2, 6, 2, 5), "int32"), "x: .* axis 2 must have 1 elements"),
    (rescale_sums, activation(Y, (2, 1, 1, 5), "int32"), "y: dtype is int32, must be int8"),
    (rescale_sums, activation(Y, (2, 1, 5)), "y: shape is .2,1,5., rank must be 4"),
    (rescale_sums, activation(Y, (1, 5)), "y: shape is .1,5., axis 0 must have 2 elements"),
    (rescale_sums, activation(Y, (2, 4)), "y: shape is .2,4., axis 1 must have 5 elements"),
    (rescale_sums, activation(Y, (1, 1, 1, 5)), "y: .* axis 0 must have 2 elements"),
    (rescale_sums, activation(Y, (2, 6, 1, 5)), "y: .* axis 1 must have 1 elements"),
    (rescale_sums, activation(Y, (2, 1, 7, 5)), "y: .* axis 2 must have 1 elements"),
    (rescale_sums, activation(Y, (2, 1, 1, 6)), "y: .* axis 3 must have 5 elements"),
    (rescale_sums, param("kind", 3), "kind: is 3, must be from 0 to 2"),
    (rescale_sums, param("kind", -1), "kind: is -1, must be from 0 to 2"),
    (rescale_sums, param("divisor", 0), "divisor: is 0, must be from 1"),
    (rescale_sums, param("multiplier", np.inf), "multiplier: is inf"),
    (rescale_sums, param("offset", np.nan), "offset: is -?nan"),
    (rescale_sums, param("out_zero_point", 128), "out_zero_point: is 128"),
    (rescale_sums, param("clamp_max", 128), "clamp_max: is 128"),
]


test_open_refuses = open_refuses(REFUSALS)
test_open_accepts_what_the_changes_start_from = open_accepts(GOOD)
