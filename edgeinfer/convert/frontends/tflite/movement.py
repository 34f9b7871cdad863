"""Operators that move elements and compute nothing: any element type passes through."""

from __future__ import annotations

from math import prod

import numpy as np

from edgeinfer.convert.graph import Tensor

from .operands import moved, need_rank, resolve_axis
from .operation import Handler, Handling, Operation, Unsupported

_MAX_COPIES = 255  # inputs that one concat takes


def _reshape(op: Operation, x: Tensor, shape: tuple[int, ...]) -> None:
    moved(op, x)
    if prod(shape) != prod(x.shape):
        raise Unsupported(f"shape {list(x.shape)} does not become {list(shape)}")
    op.emit("reshape", [x], shape)


def reshape(op: Operation) -> None:
    """To the shape of the second input, or of the options where it is absent; -1 is worked out."""
    x = op.input(0)
    if op.optional_input(1) is not None:
        shape = op.integers(1, "shape")
    else:
        shape = op.options["NewShape"]
    if shape == (0,):  # how old converters wrote the shape of a scalar
        shape = ()
    if shape.count(-1) == 1:
        known = prod(n for n in shape if n != -1)
        if known < 1 or prod(x.shape) % known:
            raise Unsupported(f"shape {list(x.shape)} does not become {list(shape)}")
        shape = tuple(prod(x.shape) // known if n == -1 else n for n in shape)
    _reshape(op, x, shape)


def squeeze(op: Operation) -> None:
    """Without the axes that SqueezeDims names, or without every axis of length one."""
    x = op.input(0)
    rank = len(x.shape)
    axes = {resolve_axis(axis, rank) for axis in op.options["SqueezeDims"]}
    if not axes:
        axes = {i for i, n in enumerate(x.shape) if n == 1}
    if any(x.shape[axis] != 1 for axis in axes):
        raise Unsupported(f"it squeezes axes {sorted(axes)} of shape {list(x.shape)}")
    _reshape(op, x, tuple(n for i, n in enumerate(x.shape) if i not in axes))


def expand_dims(op: Operation) -> None:
    """With a new axis of length one."""
    x = op.input(0)
    axis = resolve_axis(op.integer(1, "axis"), len(x.shape) + 1)
    _reshape(op, x, (*x.shape[:axis], 1, *x.shape[axis:]))


def transpose(op: Operation) -> None:
    """Axis i of the result is axis perm[i] of x."""
    x = op.input(0)
    rank = len(x.shape)
    perm = tuple(resolve_axis(axis, rank) for axis in op.integers(1, "permutation"))
    if sorted(perm) != list(range(rank)):
        raise Unsupported(f"permutation {list(perm)} of a tensor of {rank} axes")
    moved(op, x)
    op.emit("transpose", [x], tuple(x.shape[axis] for axis in perm), perm=perm)


def _same_but(tensors: list[Tensor], axis: int) -> None:
    first = tensors[0]
    for tensor in tensors:
        others = [n for i, n in enumerate(tensor.shape) if i != axis]
        if others != [n for i, n in enumerate(first.shape) if i != axis]:
            raise Unsupported(
                f"shapes {list(first.shape)} and {list(tensor.shape)} do not join along axis {axis}"
            )


def concatenation(op: Operation) -> None:
    """All inputs side by side along Axis."""
    tensors = [op.input(i) for i in range(op.input_count)]
    if not tensors:
        raise Unsupported("it has no inputs")
    for tensor in tensors:
        moved(op, tensor)
    axis = resolve_axis(op.options["Axis"], len(tensors[0].shape))
    if any(len(tensor.shape) != len(tensors[0].shape) for tensor in tensors):
        raise Unsupported("its inputs have different numbers of axes")
    _same_but(tensors, axis)
    shape = list(tensors[0].shape)
    shape[axis] = sum(tensor.shape[axis] for tensor in tensors)
    op.emit("concat", tensors, shape, activation=op.activation(), axis=axis)


def pack(op: Operation) -> None:
    """All inputs, of one shape, side by side along a new axis."""
    tensors = [op.input(i) for i in range(op.input_count)]
    if not tensors:
        raise Unsupported("it has no inputs")
    shape = tensors[0].shape
    if any(tensor.shape != shape for tensor in tensors):
        raise Unsupported("its inputs have different shapes")
    for tensor in tensors:
        moved(op, tensor)
    axis = resolve_axis(op.options["Axis"], len(shape) + 1)
    slab = (*shape[:axis], 1, *shape[axis:])
    if len(tensors) == 1:
        op.emit("reshape", tensors, slab)
        return
    slabs = [op.reshaped(tensor, slab, f"slab_{i}") for i, tensor in enumerate(tensors)]
    joined = (*shape[:axis], len(tensors), *shape[axis:])
    op.emit("concat", slabs, joined, axis=axis)


def unpack(op: Operation) -> None:
    """Slices of one along Axis, without that axis."""
    x = op.input(0)
    axis = resolve_axis(op.options["Axis"], len(x.shape))
    count = x.shape[axis]
    if count != len(op.outputs):
        raise Unsupported(f"axis {axis} of {list(x.shape)} does not give {len(op.outputs)} outputs")
    for i in range(count):
        moved(op, x, i)
    shape = x.shape[:axis] + x.shape[axis + 1 :]
    if count == 1:
        op.emit("reshape", [x], shape)
        return
    slab = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    strides = (1,) * len(x.shape)
    for i in range(count):
        begin = tuple(i if j == axis else 0 for j in range(len(x.shape)))
        part = op.step("slice", [x], slab, f"slab_{i}", begin=begin, strides=strides)
        op.emit("reshape", [part], shape, output=i)


def _split(op: Operation, x: Tensor, axis: int, sizes: list[int]) -> None:
    if sum(sizes) != x.shape[axis] or len(sizes) != len(op.outputs) or min(sizes) < 1:
        raise Unsupported(f"axis {axis} of {list(x.shape)} is split into sizes {sizes}")
    for i in range(len(sizes)):
        moved(op, x, i)
    if len(sizes) == 1:
        op.emit("reshape", [x], x.shape)
        return
    shapes = [(*x.shape[:axis], size, *x.shape[axis + 1 :]) for size in sizes]
    op.emit_all("split", [x], shapes, axis=axis, sizes=tuple(sizes))


def split(op: Operation) -> None:
    """Equal parts; the inputs are axis and x."""
    x = op.input(1)
    axis = resolve_axis(op.integer(0, "axis"), len(x.shape))
    count = op.options["NumSplits"]
    if count < 1 or x.shape[axis] % count or count != len(op.outputs):
        raise Unsupported(f"axis {axis} of {list(x.shape)} does not divide into {count} parts")
    _split(op, x, axis, [x.shape[axis] // count] * count)


def split_v(op: Operation) -> None:
    """Parts of given sizes, of which one may be -1: what remains. Inputs: x, sizes, axis."""
    x = op.input(0)
    axis = resolve_axis(op.integer(2, "axis"), len(x.shape))
    sizes = list(op.integers(1, "sizes", at_most=len(op.outputs)))
    if sizes.count(-1) == 1:
        rest = x.shape[axis] - sum(size for size in sizes if size != -1)
        sizes[sizes.index(-1)] = rest
    if not sizes:
        raise Unsupported("it has no sizes")
    _split(op, x, axis, sizes)


def gather(op: Operation) -> None:
    """Slices of x along Axis, in the order of the indices."""
    x, indices = op.input(0), op.input(1)
    moved(op, x)
    if indices.dtype not in ("int32", "int64"):
        raise Unsupported(f"its indices are {indices.dtype}; int32 or int64 is needed")
    axis = resolve_axis(op.options["Axis"], len(x.shape))
    batch = op.options["BatchDims"]
    batch += len(indices.shape) if batch < 0 else 0
    if not 0 <= batch <= min(axis, len(indices.shape)):
        raise Unsupported(f"it has {batch} batch axes")
    if any(n != 1 for n in (*x.shape[:batch], *indices.shape[:batch])):
        raise Unsupported("it gathers with other indices for every item of a batch")
    if indices.data is not None:
        _check_indices(indices, x.shape[axis])
    # Batch axes of length one select nothing.
    own = op.reshaped(indices, indices.shape[batch:], "indices")
    op.emit("gather", [x, own], x.shape[:axis] + own.shape + x.shape[axis + 1 :], axis=axis)


def embedding_lookup(op: Operation) -> None:
    """Rows of a table; the inputs are indices and table."""
    indices, table = op.input(0), op.input(1)
    moved(op, table)
    if indices.dtype != "int32" or not table.shape:
        raise Unsupported(f"it looks up {indices.dtype} in a table of shape {list(table.shape)}")
    if indices.data is not None:
        _check_indices(indices, table.shape[0])
    op.emit("gather", [table, indices], indices.shape + table.shape[1:], axis=0)


def _check_indices(indices: Tensor, size: int) -> None:
    values = indices.data
    if values is None or values.size == 0 or values.min() < 0 or values.max() >= size:
        raise Unsupported(f"its indices reach beyond the {size} elements of the axis")


def tile(op: Operation) -> None:
    """x repeated along every axis."""
    x = op.input(0)
    _repeat(op, x, op.integers(1, "multiples"))


def broadcast_to(op: Operation) -> None:
    """x repeated along the axes of length one, to a shape."""
    x = op.input(0)
    shape = op.integers(1, "shape")
    missing = len(shape) - len(x.shape)
    if missing < 0:
        raise Unsupported(f"shape {list(x.shape)} does not broadcast to {list(shape)}")
    own = (1,) * missing + x.shape
    if any(n not in (1, m) for n, m in zip(own, shape, strict=True)):
        raise Unsupported(f"shape {list(x.shape)} does not broadcast to {list(shape)}")
    moved(op, x)
    if own == shape:
        op.emit("reshape", [x], own)
        return
    wide = op.reshaped(x, own, "axes")
    _repeat(op, wide, tuple(m // n for n, m in zip(own, shape, strict=True)))


def _repeat(op: Operation, x: Tensor, multiples: tuple[int, ...]) -> None:
    if len(multiples) != len(x.shape) or min(multiples, default=1) < 1:
        raise Unsupported(f"shape {list(x.shape)} is repeated {list(multiples)} times")
    if max(multiples, default=1) > _MAX_COPIES:
        raise Unsupported(f"it repeats an axis {max(multiples)} times; {_MAX_COPIES} are the most")
    moved(op, x)
    # From the last axis on, where rows are short; the first repeated axis makes the output.
    repeated = [axis for axis in reversed(range(len(multiples))) if multiples[axis] > 1]
    if not repeated:
        op.emit("reshape", [x], x.shape)
        return
    for axis in repeated:
        shape = list(x.shape)
        shape[axis] *= multiples[axis]
        copies = [x] * multiples[axis]
        if axis == repeated[-1]:
            op.emit("concat", copies, shape, axis=axis)
        else:
            x = op.step("concat", copies, shape, f"axis_{axis}", axis=axis)


def _pad(op: Operation, mode: str, value: float, least: int = 0) -> None:
    x = op.input(0)
    moved(op, x)
    rank = len(x.shape)
    paddings = op.constant(1, "paddings")
    if paddings.shape != (rank, 2) or not np.issubdtype(paddings.dtype, np.integer):
        raise Unsupported(f"its paddings have shape {list(paddings.shape)} for {rank} axes")
    before = tuple(int(n) for n in paddings[:, 0])
    after = tuple(int(n) for n in paddings[:, 1])
    for n, *both in zip(x.shape, before, after, strict=True):
        if min(both) < 0 or (mode != "constant" and max(both) > n - least):
            raise Unsupported(f"{mode} padding of {both} around {n} elements")
    shape = [n + a + b for n, a, b in zip(x.shape, before, after, strict=True)]
    op.emit("pad", [x], shape, before=before, after=after, mode=mode, value=value)


def pad(op: Operation) -> None:
    """With the real number zero."""
    _pad(op, "constant", 0.0)


def pad_v2(op: Operation) -> None:
    """With the third input, which is quantised on its own or else as x is."""
    value = op.constant(2, "value")
    stored = op.input(2).quantization or op.input(0).quantization
    if value.size != 1:
        raise Unsupported(f"it pads with {value.size} values, not one")
    real = float(value.reshape(-1)[0])
    if stored is not None:
        if not stored.is_per_tensor:
            raise Unsupported("its padding value is quantised per channel")
        real = (real - float(stored.zero_point[0])) * float(stored.scale[0])
    _pad(op, "constant", real)


def mirror_pad(op: Operation) -> None:
    """With a reflection of what lies inside: REFLECT does not repeat the edge, SYMMETRIC does."""
    mode = op.options["Mode"]
    if mode not in (0, 1):
        raise Unsupported(f"its mode {mode} is neither REFLECT (0) nor SYMMETRIC (1)")
    _pad(op, ("reflect", "symmetric")[mode], 0.0, least=1 - mode)


def _space_depth(to_depth: bool) -> Handler:
    """[N, H*b, W*b, C] to [N, H, W, b*b*C], or back, as reshape, transpose, reshape."""

    def handler(op: Operation) -> None:
        x = op.input(0)
        n, height, width, channels = need_rank(x, 4).shape
        moved(op, x)
        b = op.options["BlockSize"]
        odd = height % b or width % b if to_depth else channels % (b * b) if b > 0 else True
        if b < 1 or odd:
            raise Unsupported(f"shape {list(x.shape)} does not divide into blocks of {b}")
        if to_depth:
            split_shape = (n, height // b, b, width // b, b, channels)
            result = (n, height // b, width // b, b * b * channels)
        else:
            split_shape = (n, height, width, b, b, channels // (b * b))
            result = (n, height * b, width * b, channels // (b * b))
        perm = (0, 1, 3, 2, 4, 5)
        blocks = op.step("reshape", [x], split_shape, "blocks")
        swapped_shape = tuple(split_shape[axis] for axis in perm)
        swapped = op.step("transpose", [blocks], swapped_shape, "swapped", perm=perm)
        op.emit("reshape", [swapped], result)

    return handler


HANDLERS = {
    "BROADCAST_TO": Handling(broadcast_to),
    "CONCATENATION": Handling(concatenation, "ConcatenationOptions"),
    "DEPTH_TO_SPACE": Handling(_space_depth(to_depth=False), "DepthToSpaceOptions"),
    "EMBEDDING_LOOKUP": Handling(embedding_lookup),
    "EXPAND_DIMS": Handling(expand_dims),
    "GATHER": Handling(gather, "GatherOptions"),
    "MIRROR_PAD": Handling(mirror_pad, "MirrorPadOptions"),
    "PACK": Handling(pack, "PackOptions"),
    "PAD": Handling(pad),
    "PADV2": Handling(pad_v2),
    "RESHAPE": Handling(reshape, "ReshapeOptions"),
    "SPACE_TO_DEPTH": Handling(_space_depth(to_depth=True), "SpaceToDepthOptions"),
    "SPLIT": Handling(split, "SplitOptions"),
    "SPLIT_V": Handling(split_v, "SplitVOptions"),
    "SQUEEZE": Handling(squeeze, "SqueezeOptions"),
    "TILE": Handling(tile),
    "TRANSPOSE": Handling(transpose),
    "UNPACK": Handling(unpack, "UnpackOptions"),
}
