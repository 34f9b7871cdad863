"""SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND: on their own, as moves of elements.

Around a convolution they are an old way to write a dilated one; `dilated.py` looks for that first.
"""

from __future__ import annotations

from math import prod

from edgeinfer.convert.graph import Tensor

from .operands import moved
from .operation import Handling, Operation, Unsupported


def _block(op: Operation, x: Tensor) -> tuple[int, ...]:
    block = op.integers(1, "block shape")
    if not 1 <= len(block) <= 2 or len(x.shape) < len(block) + 1 or min(block) < 1:
        raise Unsupported(f"block {list(block)} for shape {list(x.shape)}")
    return block


def _pairs(op: Operation, what: str, count: int) -> list[tuple[int, int]]:
    values = op.integers(2, what)
    if len(values) != 2 * count or min(values) < 0:
        raise Unsupported(f"its {what} are {list(values)} for {count} axes")
    return list(zip(values[::2], values[1::2], strict=True))


def space_to_batch_nd(op: Operation) -> None:
    """Pad, then every block's pixel (i, j) to an image of its own: batch index (i, j, n)."""
    x = op.input(0)
    moved(op, x)
    block = _block(op, x)
    m = len(block)
    rest = x.shape[1 + m :]
    paddings = _pairs(op, "paddings", m)
    space = [n + a + b for n, (a, b) in zip(x.shape[1 : 1 + m], paddings, strict=True)]
    if any(n % b for n, b in zip(space, block, strict=True)):
        raise Unsupported(f"padded axes {space} do not divide into blocks of {list(block)}")
    if any(a or b for a, b in paddings):
        before = (0, *(a for a, _ in paddings), *(0 for _ in rest))
        after = (0, *(b for _, b in paddings), *(0 for _ in rest))
        x = op.step(
            "pad",
            [x],
            (x.shape[0], *space, *rest),
            "padded",
            before=before,
            after=after,
            mode="constant",
            value=0.0,
        )
    # [N, H/bh, bh, W/bw, bw, C] to [bh, bw, N, H/bh, W/bw, C]
    split = [x.shape[0]]
    for n, b in zip(space, block, strict=True):
        split += [n // b, b]
    split += rest
    counts = tuple(n // b for n, b in zip(space, block, strict=True))
    perm = (
        *(2 + 2 * i for i in range(m)),
        0,
        *(1 + 2 * i for i in range(m)),
        *range(1 + 2 * m, len(split)),
    )
    blocks = op.step("reshape", [x], split, "blocks")
    swapped = op.step("transpose", [blocks], [split[i] for i in perm], "swapped", perm=perm)
    batch = x.shape[0] * prod(block)
    op.emit("reshape", [swapped], (batch, *counts, *rest))


def batch_to_space_nd(op: Operation) -> None:
    """The inverse: weave the images of a batch into blocks, then cut the crops off."""
    x = op.input(0)
    moved(op, x)
    block = _block(op, x)
    m = len(block)
    rest = x.shape[1 + m :]
    crops = _pairs(op, "crops", m)
    if x.shape[0] % prod(block):
        raise Unsupported(f"a batch of {x.shape[0]} does not divide into blocks of {list(block)}")
    batch = x.shape[0] // prod(block)
    counts = x.shape[1 : 1 + m]
    # [bh, bw, N, H, W, C] to [N, H, bh, W, bw, C]
    split = (*block, batch, *counts, *rest)
    perm = [m]
    for i in range(m):
        perm += [m + 1 + i, i]
    perm += range(2 * m + 1, len(split))
    space = [n * b for n, b in zip(counts, block, strict=True)]
    blocks = op.step("reshape", [x], split, "blocks")
    swapped = op.step("transpose", [blocks], [split[i] for i in perm], "swapped", perm=tuple(perm))
    woven = (batch, *space, *rest)
    if not any(a or b for a, b in crops):
        op.emit("reshape", [swapped], woven)
        return
    whole = op.step("reshape", [swapped], woven, "whole")
    sizes = [n - a - b for n, (a, b) in zip(space, crops, strict=True)]
    op.emit(
        "slice",
        [whole],
        (batch, *sizes, *rest),
        begin=(0, *(a for a, _ in crops), *(0 for _ in rest)),
        strides=(1,) * len(woven),
    )


HANDLERS = {
    "BATCH_TO_SPACE_ND": Handling(batch_to_space_nd),
    "SPACE_TO_BATCH_ND": Handling(space_to_batch_nd),
}
