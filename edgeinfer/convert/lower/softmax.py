"""softmax over any axis."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeinfer.convert.graph import Node
from edgeinfer.convert.lower.lowering import (
    ACTIVATIONS,
    Lowering,
    Refused,
    clamp_params,
    require,
    scale_of,
)
from edgeinfer.convert.lower.movement import indexed
from edgeinfer.convert.lower.multipliers import exp_table
from edgeinfer.convert.program import Value


def lower_softmax(node: Node, lowering: Lowering) -> None:
    """A table of exponentials; transposes around it where the axis is not the last one."""
    x, y = node.input(0), node.output
    require(x, "input", *ACTIVATIONS)
    require(y, "output", "int8", "uint8", "int16", "float32")
    if node.activation is not None:
        raise Refused("softmax with a fused activation is not available")
    beta = float(node.attrs.get("beta", 1.0))
    if not (np.isfinite(beta) and beta >= 0):
        raise Refused(f"beta is {beta}, must be finite and not negative")
    table = lowering.constant(f"{y.name}/exp", exp_table(scale_of(x), beta, x.dtype))
    params: dict[str, int | float]
    if y.dtype == "float32":
        params = {"out_scale": 1.0, "out_zero_point": 0, "clamp_min": 0, "clamp_max": 0}
    else:
        params = {
            "out_scale": float(scale_of(y)),
            **clamp_params(None, y, lowering.source_format),
        }
    rank, axis = len(x.shape), int(node.attrs["axis"]) % len(x.shape)
    source, result = lowering.value(x), lowering.value(y)
    if axis == rank - 1 or x.shape[axis + 1 :] == (1,) * (rank - axis - 1):
        # What follows the axis has length 1: drop it from the shape.
        shape = x.shape[: axis + 1]
        source = lowering.reshaped(source, shape, node)
        inner = result if shape == y.shape else _like(result, shape)
        lowering.emit(node, "softmax", [source, table], inner, params)
        if inner is not result:
            lowering.emit(node, "copy", [inner], result, {"reserved": 0})
        return
    perm = (*(i for i in range(rank) if i != axis), axis)
    shape = tuple(x.shape[i] for i in perm)
    moved, inner = _like(source, shape), _like(result, shape)
    lowering.emit(node, "transpose", [source], moved, indexed("perm", perm, None))
    lowering.emit(node, "softmax", [moved, table], inner, params)
    back = tuple(perm.index(i) for i in range(rank))
    lowering.emit(node, "transpose", [inner], result, indexed("perm", back, None))


def _like(value: Value, shape: tuple[int, ...]) -> Value:
    return Value(value.name, shape, value.dtype, value.scale, value.zero_point)


HANDLERS: dict[str, Callable[[Node, Lowering], None]] = {"softmax": lower_softmax}
