"""Global pools as running sums, so that the image that they pool need never exist whole.

A pool whose one window is the image, or a sum over height and width, reads all rows of its input
for its first row of output: what computes the input cannot run by bands of rows. Two operators do
the same in turns. `accumulate_rows` adds each row to the sums of the rows above it; it reads a row
and the sums before it, so that both sides may be rings of a single row. `rescale_sums` makes of the
last sums what the pool would have made of them, with the same bits.

Pools of float32 stay: the order of their additions is part of their result. So do those whose sums
an int32 may not hold.
"""

from __future__ import annotations

import numpy as np

from edgeinfer.convert.program import Operation, Program, Value

_SUM, _MEAN, _INTEGER_MEAN = range(3)  # kinds of rescale_sums
_HEIGHT_AND_WIDTH = 1 << 1 | 1 << 2
_INT32_MAX = 2**31 - 1


def accumulate_pools(program: Program) -> Program:
    """The same program with running sums in the place of global pools.

    Parameters
    ----------
    program : a lowered program; it is not changed.

    Returns
    -------
    A program with the same inputs, outputs and values; operations that are no such pool are the
    very objects of `program`.
    """
    operations: list[Operation] = []
    for operation in program.operations:
        operations.extend(_as_running_sums(operation) or [operation])
    return Program(
        program.name,
        list(program.inputs),
        list(program.outputs),
        operations,
        program.scratch_bytes,
    )


def _as_running_sums(operation: Operation) -> list[Operation] | None:
    """The two operations that do what a global pool does, or None where it is none."""
    if operation.operator == "avg_pool2d":
        rescaling = _of_mean(operation)
    elif operation.operator == "reduce_sum":
        rescaling = _of_sum(operation)
    else:
        return None
    if rescaling is None:
        return None
    x, y = _image(operation), operation.output
    images, height, _, channels = x.shape
    sums = Value(f"{y.name}/sums", (images, height, 1, channels), "int32")
    return [
        Operation("accumulate_rows", [x], [sums], {"reserved": 0}, operation.name),
        Operation("rescale_sums", [sums], [y], rescaling, operation.name),
    ]


def _image(operation: Operation) -> Value:
    x = operation.inputs[0]
    assert x is not None
    return x


def _can_accumulate(x: Value) -> bool:
    """Whether x is computed, of more than one row per image, and its sums fit."""
    if x.data is not None or len(x.shape) != 4 or x.shape[1] == 1:
        return False
    if x.dtype not in ("int8", "uint8", "int16"):
        return False
    limits = np.iinfo(x.dtype)
    largest = max(-int(limits.min), int(limits.max))
    return x.shape[1] * x.shape[2] * largest <= _INT32_MAX


def _of_mean(operation: Operation) -> dict[str, int | float] | None:
    """Parameters of rescale_sums in the place of an avg_pool2d."""
    x, y, params = _image(operation), operation.output, operation.params
    if not _can_accumulate(x) or y.shape != (x.shape[0], 1, 1, x.shape[3]):
        return None
    height, width = x.shape[1:3]
    kernel_h, kernel_w = int(params["kernel_h"]), int(params["kernel_w"])
    if params["pad_top"] or params["pad_left"] or kernel_h < height or kernel_w < width:
        return None
    divisor = kernel_h * kernel_w if params["count_include_pad"] else height * width
    if divisor > _INT32_MAX:
        return None
    return {
        "kind": _INTEGER_MEAN if params["integer_mean"] else _MEAN,
        "divisor": divisor,
        "zero_sum": height * width * int(params["in_zero_point"]),
        "multiplier": params["multiplier"],
        "offset": 0.0,
        "out_zero_point": params["out_zero_point"],
        "clamp_min": params["clamp_min"],
        "clamp_max": params["clamp_max"],
    }


def _of_sum(operation: Operation) -> dict[str, int | float] | None:
    """Parameters of rescale_sums in the place of a reduce_sum."""
    x, y, params = _image(operation), operation.output, operation.params
    if not _can_accumulate(x) or params["axes"] != _HEIGHT_AND_WIDTH or len(y.shape) not in (2, 4):
        return None
    return {
        "kind": _SUM,
        "divisor": 1,
        "zero_sum": 0,
        "multiplier": params["multiplier"],
        "offset": params["offset"],
        "out_zero_point": 0,
        "clamp_min": params["clamp_min"],
        "clamp_max": params["clamp_max"],
    }
