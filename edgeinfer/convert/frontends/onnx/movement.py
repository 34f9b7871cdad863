"""Operators that move elements: reshapes, transposes, slices, pads, concatenations, gathers."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from edgeinfer.convert.graph import Tensor

from .arithmetic import Arithmetic
from .operands import resolve_axis
from .operation import Handler, Operation
from .values import Unsupported


def reshape(op: Operation) -> None:
    """Reshape, Squeeze, Unsqueeze, Flatten: the shapes say everything."""
    op.move("reshape", [op.movable(0)])


def identity(op: Operation) -> None:
    """The input as it is."""
    op.move("reshape", [op.movable(0)], op.shape(0))


def dropout(op: Operation) -> None:
    """The input as it is; only training drops any."""
    if op.has_input(2) and op.constant(2, "training_mode").any():
        raise Unsupported("it is in training mode", "export the model for inference")
    identity(op)
    if op.has_output(1):
        steps = Arithmetic(op)
        kept = np.ones(op.shape(0), bool) if op.version >= 10 else np.ones(op.shape(0), np.float32)
        steps.give(steps.constant(kept, "kept", str(kept.dtype)), 1)


def expand(op: Operation) -> None:
    """Axes of length 1 repeated; nothing where the operator behind it broadcasts by itself."""
    shape, x = op.result_shape(), op.movable(0)
    if shape == x.shape:
        identity(op)
        return
    x = op.reshaped(x, (*([1] * (len(shape) - len(x.shape))), *x.shape), "ranked")
    _repeat(op, x, [n // have for n, have in zip(shape, x.shape, strict=True)])


def _repeat(op: Operation, x: Tensor, repeats: Sequence[int]) -> None:
    """x as often as told along every axis, by index: one gather for each axis."""
    axes = [axis for axis, count in enumerate(repeats) if count != 1]
    shape = list(x.shape)
    for axis in axes:
        places = np.tile(np.arange(x.shape[axis], dtype=np.int64), repeats[axis])
        indices = Tensor(op.unique_name(f"indices_{axis}"), places.shape, "int64", None, places)
        shape[axis] = places.size
        if axis == axes[-1]:
            op.move("gather", [x, indices], shape, axis=axis)
        else:
            x = op.step("gather", [x, indices], shape, f"repeated_{axis}", axis=axis)


def transpose(op: Operation) -> None:
    """Axis i of the output is axis perm[i] of the input."""
    x = op.movable(0)
    rank = len(x.shape)
    perm = op.integer_list("perm") or tuple(reversed(range(rank)))
    if sorted(perm) != list(range(rank)):
        raise Unsupported(f"perm {list(perm)} for {rank} axes")
    op.move("transpose", [x], [x.shape[axis] for axis in perm], perm=perm)


def concat(op: Operation) -> None:
    """Inputs side by side. Where they are stored differently, the output's type decides."""
    tensors = [op.movable(i) for i in range(op.input_count)]
    first = tensors[0]
    axis = resolve_axis(op.integer("axis", 0), len(first.shape))
    if all(_same_type(tensor, first) for tensor in tensors):
        op.move("concat", tensors, axis=axis)
    elif op.value(0).elements == "FLOAT":
        op.compute("concat", tensors, axis=axis)
    else:
        raise Unsupported("its integers are quantised differently", "requantise them before it")


def _same_type(a: Tensor, b: Tensor) -> bool:
    if a.quantization is None or b.quantization is None:
        return a.dtype == b.dtype and a.quantization is b.quantization
    return a.dtype == b.dtype and a.quantization.same_as(b.quantization)


def split(op: Operation) -> None:
    """Parts along an axis: of given sizes, or as equal as can be."""
    x = op.movable(0)
    axis = resolve_axis(op.integer("axis", 0), len(x.shape))
    sizes = op.list_or_input("split", 1)
    count = len(op.node.outputs)
    if sizes is None:
        size = -(-x.shape[axis] // count)
        sizes = (*([size] * (count - 1)), x.shape[axis] - size * (count - 1))
    if len(sizes) != count or sum(sizes) != x.shape[axis] or min(sizes) < 1:
        raise Unsupported(f"it splits {x.shape[axis]} into {list(sizes)}")
    if "" in op.node.outputs:
        raise Unsupported("one of its outputs has no name")
    shapes = [(*x.shape[:axis], size, *x.shape[axis + 1 :]) for size in sizes]
    op.move_all("split", x, shapes, axis=axis, sizes=sizes)


def slice_(op: Operation) -> None:
    """Ranges with steps, which may be negative; before operator set 10 there are no steps."""
    x = op.movable(0)
    rank = len(x.shape)
    starts = op.list_or_input("starts", 1) or ()
    ends = op.list_or_input("ends", 2) or ()
    axes = op.list_or_input("axes", 3)
    axes = tuple(resolve_axis(a, rank) for a in (range(len(starts)) if axes is None else axes))
    steps = op.integers(4, "steps") if op.has_input(4) else (1,) * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or len(set(axes)) != len(axes):
        raise Unsupported(
            f"starts {list(starts)}, ends {list(ends)}, axes {list(axes)}, steps {list(steps)}"
        )
    begin, strides, shape = [0] * rank, [1] * rank, list(x.shape)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if step == 0:
            raise Unsupported("it has a step of 0")
        last = x.shape[axis] - 1
        low, high = (0, last + 1) if step > 0 else (-1, last)
        first = min(max(start + (last + 1) * (start < 0), 0), high)
        stop = min(max(end + (last + 1) * (end < 0), low), last + 1)
        begin[axis], strides[axis] = first, step
        shape[axis] = len(range(first, stop, step))
    op.move("slice", [x], shape, begin=tuple(begin), strides=tuple(strides))


def pad(op: Operation) -> None:
    """Elements around a tensor; negative pads cut."""
    x = op.movable(0)
    rank = len(x.shape)
    mode = op.text("mode", "constant")
    if mode not in ("constant", "reflect", "edge", "wrap"):
        raise Unsupported(
            f"it pads with mode {mode!r}; constant, reflect, edge and wrap are available"
        )
    pads = op.list_or_input("pads", 1) or ()
    axes = tuple(range(rank))
    if op.has_input(3):
        axes = tuple(resolve_axis(axis, rank) for axis in op.integers(3, "axes"))
    if len(pads) != 2 * len(axes):
        raise Unsupported(f"its pads are {list(pads)} for {len(axes)} axes")
    before, after = [0] * rank, [0] * rank
    for i, axis in enumerate(axes):
        before[axis], after[axis] = pads[i], pads[i + len(axes)]
    if mode == "wrap":
        cut = _cut(op, x, before, after)
        _wrap(op, cut, [max(n, 0) for n in before], [max(n, 0) for n in after])
        return
    value = _pad_value(op, x)
    if mode == "constant" and not _is_stored_exactly(value, x):
        x = op.plain(0)
    x = _cut(op, x, before, after)
    grown = [n + max(b, 0) + max(a, 0) for n, b, a in zip(x.shape, before, after, strict=True)]
    op.move(
        "pad",
        [x],
        grown,
        before=tuple(max(n, 0) for n in before),
        after=tuple(max(n, 0) for n in after),
        mode=mode,
        value=value,
    )


def _wrap(op: Operation, x: Tensor, before: list[int], after: list[int]) -> None:
    """The tensor over and over again around itself, by index."""
    axes = [i for i in range(len(x.shape)) if before[i] or after[i]]
    if not axes:
        op.move("reshape", [x], x.shape)
    for axis in axes:
        n = x.shape[axis]
        places = np.arange(-before[axis], n + after[axis], dtype=np.int64) % n
        indices = Tensor(op.unique_name(f"places_{axis}"), places.shape, "int64", None, places)
        shape = [places.size if i == axis else m for i, m in enumerate(x.shape)]
        if axis == axes[-1]:
            op.move("gather", [x, indices], shape, axis=axis)
        else:
            x = op.step("gather", [x, indices], shape, f"wrapped_{axis}", axis=axis)


def _cut(op: Operation, x: Tensor, before: list[int], after: list[int]) -> Tensor:
    if min(*before, *after, 0) == 0:
        return x
    begin = tuple(max(-n, 0) for n in before)
    shape = [n - b - max(-a, 0) for n, b, a in zip(x.shape, begin, after, strict=True)]
    return op.step("slice", [x], shape, "cut", begin=begin, strides=(1,) * len(shape))


def _pad_value(op: Operation, x: Tensor) -> float:
    """The constant as a real number. Integers padded directly have it as an integer."""
    value = op.number("value", 0.0)
    if op.has_input(2):
        value = op.scalar(2, "value")
    if x.quantization is not None and op.value(0).elements != "FLOAT":
        value = float((value - x.quantization.zero_point[0]) * x.quantization.scale[0])
    return value


def _is_stored_exactly(value: float, x: Tensor) -> bool:
    """Whether the constant is one of the numbers that x can have."""
    if x.quantization is None:
        return True
    limits = np.iinfo(x.dtype)
    step = np.float32(value) / x.quantization.scale[0] + x.quantization.zero_point[0]
    return bool(limits.min <= step <= limits.max and step == np.rint(step))


def gather(op: Operation) -> None:
    """Slices along an axis, by index."""
    x, indices = op.movable(0), op.movable(1)
    if indices.dtype not in ("int32", "int64"):
        raise Unsupported(f"its indices are {indices.dtype}; int32 or int64 is needed")
    axis = resolve_axis(op.integer("axis", 0), len(x.shape))
    if indices.data is not None:
        rows = x.shape[axis]
        if np.any(indices.data < -rows) or np.any(indices.data >= rows):
            raise Unsupported(f"its indices are outside of {rows}")
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    op.move("gather", [x, indices], shape, axis=axis)


def depth_to_space(op: Operation) -> None:
    """Blocks of channels become blocks of pixels; DCR and CRD order channels differently."""
    block, x = op.integer("blocksize", 1), op.movable(0)
    n, channels, height, width = _image_shape(x)
    mode = op.text("mode", "DCR")
    depth, odd = divmod(channels, max(block, 1) ** 2)
    if block < 1 or odd or mode not in ("DCR", "CRD"):
        raise Unsupported(f"blocks of {block} in mode {mode!r} for {channels} channels")
    blocks, perm = (block, block, depth), (0, 1, 3, 2, 4, 5)
    if mode == "CRD":
        blocks, perm = (depth, block, block), (0, 1, 4, 2, 5, 3)
    shape = (n, depth, height * block, width * block)
    _move_blocks(op, x, (n, height, width, *blocks), perm, shape)


def space_to_depth(op: Operation) -> None:
    """Blocks of pixels become blocks of channels."""
    block, x = op.integer("blocksize", 1), op.movable(0)
    n, channels, height, width = _image_shape(x)
    if block < 1 or height % block or width % block:
        raise Unsupported(f"blocks of {block} in {height} x {width}")
    rows, columns = height // block, width // block
    shape = (n, channels * block * block, rows, columns)
    split_shape = (n, rows, block, columns, block, channels)
    mode = op.text("mode", "DCR")
    if mode not in ("DCR", "CRD"):
        raise Unsupported(f"mode {mode!r}")
    perm = (0, 1, 3, 2, 4, 5) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    _move_blocks(op, x, split_shape, perm, shape)


def _image_shape(x: Tensor) -> tuple[int, ...]:
    if len(x.shape) != 4:
        raise Unsupported(f"{x.name!r} has shape {list(x.shape)}; 4 axes are needed")
    return x.shape


def _move_blocks(
    op: Operation,
    x: Tensor,
    blocks: tuple[int, ...],
    perm: tuple[int, ...],
    shape: tuple[int, ...],
) -> None:
    """Reshape NHWC to `blocks`, transpose by `perm`, and reshape to NHWC of NCHW `shape`."""
    split_image = op.reshaped(op.image(x), blocks, "blocks")
    turned = op.step(
        "transpose", [split_image], [blocks[axis] for axis in perm], "turned", perm=perm
    )
    op.move("reshape", [turned], shape, image=True)


def tile(op: Operation) -> None:
    """Repeated along every axis."""
    repeats, x = op.integers(1, "repeats"), op.movable(0)
    if len(repeats) != len(x.shape) or min(repeats, default=1) < 1:
        raise Unsupported(f"it repeats {list(x.shape)} {list(repeats)} times")
    if prod(repeats) == 1:
        identity(op)
    else:
        _repeat(op, x, repeats)


def center_crop_pad(op: Operation) -> None:
    """Cut, or zeros added, on both sides of axes; what is odd at the end."""
    x = op.movable(0)
    rank = len(x.shape)
    sizes = op.integers(1, "shape")
    chosen = op.integer_list("axes")
    axes = [resolve_axis(a, rank) for a in (range(rank) if chosen is None else chosen)]
    if len(sizes) != len(axes) or min(sizes, default=1) < 1:
        raise Unsupported(f"sizes {list(sizes)} for axes {axes}")
    begin, before, after, shape = [0] * rank, [0] * rank, [0] * rank, list(x.shape)
    for axis, size in zip(axes, sizes, strict=True):
        more = size - x.shape[axis]
        begin[axis], before[axis] = max(-more, 0) // 2, max(more, 0) // 2
        after[axis] = max(more, 0) - before[axis]
        shape[axis] = min(size, x.shape[axis])
    x = op.step("slice", [x], shape, "cut", begin=tuple(begin), strides=(1,) * rank)
    grown = [n + b + a for n, b, a in zip(shape, before, after, strict=True)]
    ends: dict[str, Any] = {"before": tuple(before), "after": tuple(after)}
    op.move("pad", [x], grown, mode="constant", value=0.0, **ends)


HANDLERS: dict[str, Handler] = {
    "CenterCropPad": center_crop_pad,
    "Concat": concat,
    "DepthToSpace": depth_to_space,
    "Dropout": dropout,
    "Expand": expand,
    "Flatten": reshape,
    "Gather": gather,
    "Identity": identity,
    "Pad": pad,
    "Reshape": reshape,
    "Slice": slice_,
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Squeeze": reshape,
    "Tile": tile,
    "Transpose": transpose,
    "Unsqueeze": reshape,
}
