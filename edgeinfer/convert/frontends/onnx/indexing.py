"""Operators that pick or place elements by index, and those that order them.

Indices of GatherElements, GatherND and the scatters must be constants: then each is one gather of
the whole tensor at places that are known.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeinfer.convert.graph import Tensor

from .arithmetic import Arithmetic
from .operands import resolve_axis
from .operation import Handler, Operation
from .values import Array, Unsupported, graph_dtype


def _places(x: Tensor) -> Array:
    """The number of every element of x."""
    return np.arange(int(np.prod(x.shape, dtype=np.int64)), dtype=np.int64).reshape(x.shape)


def _constant_indices(op: Operation, index: int) -> Array:
    indices = op.constant(index, "index")
    if not np.issubdtype(indices.dtype, np.integer):
        raise Unsupported(f"its indices are {indices.dtype}")
    return indices.astype(np.int64)


def _inside(indices: Array, count: int) -> Array:
    if np.any(indices < -count) or np.any(indices >= count):
        raise Unsupported(f"its indices are outside of {count}")
    return np.where(indices < 0, indices + count, indices)


def gather_elements(op: Operation) -> None:
    """y[i][j] = x[index[i][j]][j] for axis 0, and so on."""
    steps = Arithmetic(op)
    x = steps.input(0)
    axis = resolve_axis(op.integer("axis", 0), len(x.shape))
    indices = _inside(_constant_indices(op, 1), x.shape[axis])
    kept = [slice(0, n) for n in indices.shape]
    kept[axis] = slice(None)
    steps.give(steps.pick(x, np.take_along_axis(_places(x)[tuple(kept)], indices, axis)))


def gather_nd(op: Operation) -> None:
    """The last axis of the index is a position in x."""
    steps = Arithmetic(op)
    x = steps.input(0)
    batch = op.integer("batch_dims", 0)
    indices = _constant_indices(op, 1)
    places = _places(x)
    depth = indices.shape[-1]
    if not 0 <= batch < min(len(x.shape), indices.ndim) or batch + depth > len(x.shape):
        raise Unsupported(f"batch_dims {batch}, indices of shape {list(indices.shape)}")
    lines = [_inside(indices[..., i], x.shape[batch + i]) for i in range(depth)]
    grids = np.indices(indices.shape[:batch])
    rank = indices.ndim - 1
    batches = [g.reshape(g.shape + (1,) * (rank - batch)) for g in grids]
    position = (*batches, *lines)
    steps.give(steps.pick(x, places[position]))


def _replaced(steps: Arithmetic, x: Tensor, updates: Tensor, places: Array) -> Tensor:
    """x with updates at places; the later of two at one place."""
    source = _places(x).reshape(-1)
    count = source.size
    source[places.reshape(-1)] = count + np.arange(places.size)
    flat = [steps.reshape(x, (count,)), steps.reshape(updates, (places.size,))]
    return steps.pick(steps.concat(flat, 0), source.reshape(x.shape))


def _scattered(op: Operation, places: Array) -> None:
    """x with updates at places, or combined with what is there."""
    steps = Arithmetic(op)
    x, updates = steps.input(0), steps.input(2)
    reduction = op.text("reduction", "none")
    if reduction == "none":
        steps.give(_replaced(steps, x, updates, places))
    else:
        steps.give(_combined(steps, x, updates, places, reduction))


_COMBINED = {"add": "add", "mul": "mul", "max": "maximum", "min": "minimum"}
_NEUTRAL = {"add": 0.0, "mul": 1.0, "max": -np.inf, "min": np.inf}
_MAX_ROUNDS = 64


def _combined(
    steps: Arithmetic, x: Tensor, updates: Tensor, places: Array, reduction: str
) -> Tensor:
    """x combined with the first update of every place, then the second, and so on."""
    if reduction not in _COMBINED or x.dtype != "float32":
        raise Unsupported(f"reduction {reduction!r} of {x.dtype}")
    size, count = int(np.prod(x.shape, dtype=np.int64)), places.size
    neutral = steps.constant([_NEUTRAL[reduction]], "neutral")
    line = steps.concat([steps.reshape(updates, (count,)), neutral], 0)
    result = steps.reshape(x, (size,))
    remaining = list(enumerate(places.reshape(-1).tolist()))
    for _ in range(_MAX_ROUNDS):
        if not remaining:
            return steps.reshape(result, x.shape)
        source = np.full(size, count, np.int64)
        later = []
        for number, place in remaining:
            if source[place] == count:
                source[place] = number
            else:
                later.append((number, place))
        result = steps.binary(_COMBINED[reduction], result, steps.pick(line, source))
        remaining = later
    raise Unsupported(f"it updates one element more than {_MAX_ROUNDS} times")


def scatter_elements(op: Operation) -> None:
    """x with x[index[i][j]][j] = update[i][j] for axis 0, and so on."""
    x = op.plain(0)
    axis = resolve_axis(op.integer("axis", 0), len(x.shape))
    indices = _inside(_constant_indices(op, 1), x.shape[axis])
    kept = [slice(0, n) for n in indices.shape]
    kept[axis] = slice(None)
    _scattered(op, np.take_along_axis(_places(x)[tuple(kept)], indices, axis))


def scatter_nd(op: Operation) -> None:
    """x with slices replaced, the last axis of the index being a position."""
    x = op.plain(0)
    indices = _constant_indices(op, 1)
    depth = indices.shape[-1]
    if depth > len(x.shape):
        raise Unsupported(f"indices of shape {list(indices.shape)} for {list(x.shape)}")
    lines = [_inside(indices[..., i], x.shape[i]) for i in range(depth)]
    _scattered(op, _places(x)[tuple(lines)])


def tensor_scatter(op: Operation) -> None:
    """A cache with new entries written from a place for each batch on."""
    x, update = op.plain(0), op.plain(1)
    axis = resolve_axis(op.integer("axis", -2), len(x.shape))
    mode = op.text("mode", "linear")
    begins = np.zeros(x.shape[0], np.int64)
    if op.has_input(2):
        begins = _constant_indices(op, 2)
    length, count = x.shape[axis], update.shape[axis]
    rows = begins.reshape(-1, 1) + np.arange(count)
    if mode == "circular":
        rows %= length
    elif mode != "linear" or np.any(rows < 0) or np.any(rows >= length):
        raise Unsupported(f"mode {mode!r} with rows outside of {length}")
    shape = [1] * len(x.shape)
    shape[0], shape[axis] = rows.shape
    kept = np.broadcast_to(rows.reshape(shape), update.shape)
    places = np.take_along_axis(_places(x), kept, axis)
    steps = Arithmetic(op)
    steps.give(_replaced(steps, steps.input(0), steps.input(1), places))


def reverse_sequence(op: Operation) -> None:
    """The first elements of every batch in reverse, as many as its constant length tells."""
    steps = Arithmetic(op)
    x = steps.input(0)
    time, batch = op.integer("time_axis", 0), op.integer("batch_axis", 1)
    if {time, batch} != {0, 1} or len(x.shape) < 2:
        raise Unsupported(f"time axis {time} and batch axis {batch}")
    places = np.moveaxis(_places(x), batch, 0).copy()
    for i, length in enumerate(_constant_indices(op, 1).tolist()):
        if not 0 <= length <= x.shape[time]:
            raise Unsupported(f"a length of {length} for {x.shape[time]} steps")
        places[i, :length] = places[i, :length][::-1].copy()
    steps.give(steps.pick(x, np.moveaxis(places, 0, batch)))


def one_hot(op: Operation) -> None:
    """One value where the position is the index, another elsewhere."""
    steps = Arithmetic(op)
    indices, values = steps.input(0), steps.input(2)
    depth = int(op.scalar(1, "depth"))
    rank = len(indices.shape)
    axis = resolve_axis(op.integer("axis", -1), rank + 1)
    if depth < 1:
        raise Unsupported(f"its depth is {depth}")
    line = [depth if i == axis else 1 for i in range(rank + 1)]
    places = steps.constant(np.arange(depth).reshape(line), "places", indices.dtype)
    column = steps.reshape(indices, (*indices.shape[:axis], 1, *indices.shape[axis:]))
    here = steps.compare("equal", column, places)
    # Indices may count from the end.
    there = steps.constant(np.arange(-depth, 0).reshape(line), "ends", indices.dtype)
    here = steps.compare("logical_or", here, steps.compare("equal", column, there))
    off, on = (steps.reshape(steps.cut(values, 0, i, i + 1), ()) for i in (0, 1))
    steps.give(steps.where(here, on, off))


def trilu(op: Operation) -> None:
    """The upper or the lower triangle of matrices, zeros elsewhere."""
    steps = Arithmetic(op)
    x = steps.input(0)
    k = int(op.scalar(1, "k")) if op.has_input(1) else 0
    upper = bool(op.integer("upper", 1))
    ones = np.ones(x.shape[-2:], bool)
    kept = np.triu(ones, k) if upper else np.tril(ones, k)
    zero = steps.constant(0, "zero", x.dtype)
    steps.give(steps.where(steps.constant(kept, "kept", "bool"), x, zero))


def cumulative_sum(op: Operation) -> None:
    """Sums of all elements up to each along an axis."""
    steps = Arithmetic(op)
    x = steps.input(0)
    attrs: dict[str, Any] = {
        "axis": resolve_axis(int(op.scalar(1, "axis")), len(x.shape)),
        "exclusive": bool(op.integer("exclusive", 0)),
        "reverse": bool(op.integer("reverse", 0)),
    }
    steps.give(steps.node("cumsum", [x], x.shape, x.dtype, **attrs))


_MAX_FACTORS = 256  # along an axis that CumProd goes along


def cumulative_product(op: Operation) -> None:
    """Products of all elements up to each along an axis, one multiplication after the other."""
    steps = Arithmetic(op)
    x = steps.input(0)
    axis = resolve_axis(int(op.scalar(1, "axis")), len(x.shape))
    count = x.shape[axis]
    if count > _MAX_FACTORS:
        raise Unsupported(f"it multiplies {count} elements; {_MAX_FACTORS} are the most")
    slices = [steps.cut(x, axis, i, i + 1) for i in range(count)]
    if op.integer("reverse", 0):
        slices.reverse()
    if op.integer("exclusive", 0):
        slices = [steps.constant(np.ones(slices[0].shape), "one", x.dtype), *slices[:-1]]
    made = slices[:1]
    for part in slices[1:]:
        made.append(steps.binary("mul", made[-1], part))
    if op.integer("reverse", 0):
        made.reverse()
    steps.give(steps.concat(made, axis))


def compress(op: Operation) -> None:
    """The slices along an axis, or of all elements in a row, where a constant condition holds."""
    steps = Arithmetic(op)
    x = steps.input(0)
    axis = 0
    if "axis" in op.node.attrs:
        axis = resolve_axis(op.integer("axis", 0), len(x.shape))
    else:
        x = steps.reshape(x, (int(np.prod(x.shape, dtype=np.int64)),))
    (kept,) = np.nonzero(op.constant(1, "condition").reshape(-1))
    if kept.size == 0 or kept.max() >= x.shape[axis]:
        raise Unsupported(f"{kept.size} of {x.shape[axis]} elements are kept")
    steps.give(steps.gather(x, steps.constant(kept, "kept", "int64"), axis))


def eye_like(op: Operation) -> None:
    """Ones on a diagonal: the shape of the input tells everything."""
    shape = op.shape(0)
    if len(shape) != 2:
        raise Unsupported(f"its input has shape {list(shape)}; a matrix is needed")
    elements = op.element_type("dtype") if "dtype" in op.node.attrs else op.value(0).elements
    steps = Arithmetic(op)
    ones = np.eye(*shape, k=op.integer("k", 0))
    steps.give(steps.constant(ones, "eye", graph_dtype(op.node.outputs[0], elements)))


def top_k(op: Operation) -> None:
    """The largest or smallest elements along an axis, in order."""
    steps = Arithmetic(op)
    x = steps.input(0)
    axis = resolve_axis(op.integer("axis", -1), len(x.shape))
    k = int(op.scalar(1, "k"))
    if not 1 <= k <= x.shape[axis]:
        raise Unsupported(f"k is {k} for {x.shape[axis]} elements")
    shape = tuple(k if i == axis else n for i, n in enumerate(x.shape))
    values = Tensor(op.unique_name("values"), shape, x.dtype)
    indices = Tensor(op.unique_name("indices"), shape, "int64")
    largest = bool(op.integer("largest", 1))
    op.plain_steps("top_k", [x], [values, indices], axis=axis, k=k, largest=largest)
    steps.give(values, 0)
    steps.give(indices, 1)


HANDLERS: dict[str, Handler] = {
    "Compress": compress,
    "CumProd": cumulative_product,
    "CumSum": cumulative_sum,
    "EyeLike": eye_like,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "OneHot": one_hot,
    "ReverseSequence": reverse_sequence,
    "Scatter": scatter_elements,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
    "TensorScatter": tensor_scatter,
    "TopK": top_k,
    "Trilu": trilu,
}
