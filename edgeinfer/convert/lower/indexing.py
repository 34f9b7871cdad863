"""gather, argmax, argmin."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeinfer.convert.graph import Node, Tensor
from edgeinfer.convert.lower.lowering import Lowering, Refused, require_same_type
from edgeinfer.convert.lower.pack import pack_channels
from edgeinfer.convert.lower.pack_fp4 import kernel_factors, pack_blocks
from edgeinfer.convert.quantize.block_weights import BlockWeights


def lower_gather(node: Node, lowering: Lowering) -> None:
    """One gather; constant indices are checked now, others by the run."""
    x, indices, y = node.input(0), node.input(1), node.output
    axis = int(node.attrs["axis"])
    if x.blocks is not None:
        _lower_embedding(node, lowering)
        return
    require_same_type(node, y, x)
    _check_indices(indices, axis, x.shape[axis])
    lowering.emit(
        node,
        "gather",
        [lowering.value(x), lowering.value(indices)],
        lowering.value(y),
        {"axis": axis},
    )


def _lower_embedding(node: Node, lowering: Lowering) -> None:
    """A lookup in a table in blocks, packed as weights of a product are."""
    table, indices, y = node.input(0), node.input(1), node.output
    blocks = table.blocks
    assert isinstance(blocks, BlockWeights) and node.attrs["axis"] == 0
    _check_indices(indices, 0, table.shape[0])
    packed = lowering.constant(f"{y.name}/table", pack_blocks(blocks))
    packed.scheme = blocks.scheme
    factors = pack_channels(kernel_factors(blocks))
    lowering.emit(
        node,
        "embedding",
        [packed, lowering.value(indices), lowering.constant(f"{y.name}/multiplier", factors)],
        lowering.value(y),
        {"rows": table.shape[0]},
    )


def _check_indices(indices: Tensor, axis: int, extent: int) -> None:
    if indices.dtype not in ("int32", "int64"):
        raise Refused(f"indices {indices.name!r} are {indices.dtype}, must be int32 or int64")
    if indices.data is not None:
        wrong = indices.data[(indices.data < -extent) | (indices.data >= extent)]
        if wrong.size:
            raise Refused(f"index {int(wrong.reshape(-1)[0])} is outside axis {axis} of {extent}")


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
