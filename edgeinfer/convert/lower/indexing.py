"""gather, argmax, argmin."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeinfer.convert.graph import Node
from edgeinfer.convert.lower.lowering import Lowering, Refused, require_same_type


def lower_gather(node: Node, lowering: Lowering) -> None:
    """One gather; constant indices are checked now, others by the run."""
    x, indices, y = node.input(0), node.input(1), node.output
    axis = int(node.attrs["axis"])
    require_same_type(node, y, x)
    if indices.dtype not in ("int32", "int64"):
        raise Refused(f"indices {indices.name!r} are {indices.dtype}, must be int32 or int64")
    extent = x.shape[axis]
    if indices.data is not None:
        wrong = indices.data[(indices.data < -extent) | (indices.data >= extent)]
        if wrong.size:
            raise Refused(f"index {int(wrong.reshape(-1)[0])} is outside axis {axis} of {extent}")
    lowering.emit(
        node,
        "gather",
        [lowering.value(x), lowering.value(indices)],
        lowering.value(y),
        {"axis": axis},
    )


def lower_argmax(node: Node, lowering: Lowering) -> None:
    """argmax and argmin."""
    x, y = node.input(0), node.output
    if x.dtype not in ("int8", "uint8", "int16", "int32", "float32"):
        raise Refused(f"input {x.name!r} is {x.dtype}")
    if x.quantization is not None and not x.quantization.is_per_tensor:
        raise Refused(f"input {x.name!r} is quantised per channel")
    if y.dtype not in ("int32", "int64"):
        raise Refused(f"output {y.name!r} is {y.dtype}, must be int32 or int64")
    axis = int(node.attrs["axis"])
    if np.prod(x.shape) > 0 and axis >= len(x.shape):
        raise Refused(f"axis {axis} is outside rank {len(x.shape)}")
    lowering.emit(
        node,
        "argmax",
        [lowering.value(x)],
        lowering.value(y),
        {
            "axis": axis,
            "select_last": int(bool(node.attrs.get("select_last"))),
            "minimum": int(node.op == "argmin"),
        },
    )


HANDLERS: dict[str, Callable[[Node, Lowering], None]] = {
    "gather": lower_gather,
    "argmax": lower_argmax,
    "argmin": lower_argmax,
}
