"""Operators that take several of the graph: float arithmetic, one step at a time.

`Arithmetic` reads like the formula that it writes. Its operands are plain tensors: float32,
integers, booleans; what is stored quantised is dequantised. `give` makes a tensor the operator's
output.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Tensor

from .operation import Operation
from .values import Array, Unsupported, check_shape

Perm = Sequence[int]


class Arithmetic:
    """Steps on the way to the outputs of one operator."""

    def __init__(self, op: Operation) -> None:
        self._op = op

    # --- operands

    def input(self, index: int) -> Tensor:
        """Input `index` as the file has it."""
        tensor = self._op.plain(index)
        if tensor.quantization is not None:
            raise Unsupported(
                f"it computes with the integers of {tensor.name!r}, which stand for real numbers",
                "dequantise before it",
            )
        return tensor

    def floats(self, index: int) -> Tensor:
        """Input `index`, which must be float32."""
        return self._op.float_operand(index)

    def constant(self, data: npt.ArrayLike, name: str, dtype: str = "float32") -> Tensor:
        """A constant."""
        array = np.ascontiguousarray(np.asarray(data, dtype)).reshape(np.shape(data))
        return Tensor(self._op.unique_name(name), array.shape, dtype, None, array)

    # --- element by element

    def unary(self, ir_op: str, x: Tensor, **attrs: Any) -> Tensor:
        """A function of one tensor."""
        return self._step(ir_op, [x], x.shape, x.dtype, attrs)

    def binary(self, ir_op: str, a: Tensor, b: Tensor | float, **attrs: Any) -> Tensor:
        """A function of two that broadcast; a number stands for a constant."""
        if not isinstance(b, Tensor):
            b = self.constant(b, ir_op, a.dtype)
        return self._step(ir_op, [a, b], broadcast(a, b), a.dtype, attrs)

    def compare(self, ir_op: str, a: Tensor, b: Tensor) -> Tensor:
        """A comparison of two that broadcast."""
        return self._step(ir_op, [a, b], broadcast(a, b), "bool", {})

    def test(self, ir_op: str, x: Tensor, **attrs: Any) -> Tensor:
        """A question about every element."""
        return self._step(ir_op, [x], x.shape, "bool", attrs)

    def where(self, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """a where the condition holds, else b; all three broadcast."""
        shape = _broadcast_shapes(condition.shape, a.shape, b.shape)
        return self._step("where", [condition, a, b], shape, a.dtype, {})

    def cast(self, x: Tensor, dtype: str) -> Tensor:
        """The numbers of x in another type."""
        return x if x.dtype == dtype else self._step("cast", [x], x.shape, dtype, {})

    # --- sums of products, reductions

    def matmul(self, a: Tensor, b: Tensor, *, transpose_b: bool = False) -> Tensor:
        """Matrix products over the last two axes; ranks are made equal, batches broadcast."""
        rank = max(len(a.shape), len(b.shape))
        a = self.reshape(a, (*([1] * (rank - len(a.shape))), *a.shape))
        b = self.reshape(b, (*([1] * (rank - len(b.shape))), *b.shape))
        columns = b.shape[-2] if transpose_b else b.shape[-1]
        shape = (*_broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], columns)
        attrs = {"transpose_a": False, "transpose_b": transpose_b}
        return self._step("batch_matmul", [a, b], shape, a.dtype, attrs)

    def weighted(self, x: Tensor, weights: Array, axis: int) -> Tensor:
        """Element i along `axis` is the sum of `weights[i]` times the elements of x there."""
        order = [i for i in range(len(x.shape)) if i != axis] + [axis]
        w = self.constant(weights, "weights")
        turned = self.transpose(x, order)
        shape = (*turned.shape[:-1], weights.shape[0])
        y = self._step("fully_connected", [turned, w, None], shape, x.dtype, {})
        return self.transpose(y, [order.index(i) for i in range(len(order))])

    def reduce(
        self, ir_op: str, x: Tensor, axes: Sequence[int], *, keep_dims: bool = True
    ) -> Tensor:
        """A reduction over axes that do not count from the end; x itself over none."""
        chosen = tuple(sorted(axes))
        if not chosen:
            return x
        shape = [
            1 if i in chosen else n for i, n in enumerate(x.shape) if keep_dims or i not in chosen
        ]
        return self._step(ir_op, [x], shape, x.dtype, {"axes": chosen, "keep_dims": keep_dims})

    def softmax(self, x: Tensor, axis: int, ir_op: str = "softmax") -> Tensor:
        """Softmax, or its logarithm, along an axis."""
        attrs: dict[str, Any] = {"axis": axis % len(x.shape)}
        if ir_op == "softmax":
            attrs["beta"] = 1.0
        return self._step(ir_op, [x], x.shape, x.dtype, attrs)

    def node(
        self,
        ir_op: str,
        inputs: Sequence[Tensor | None],
        shape: Sequence[int],
        dtype: str = "float32",
        **attrs: Any,
    ) -> Tensor:
        """Any other operator of one output."""
        return self._step(ir_op, inputs, shape, dtype, attrs)

    # --- moves

    def reshape(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """The elements of x under another shape; x itself when it has that shape."""
        if x.shape == tuple(shape):
            return x
        if prod(x.shape) != prod(shape):
            raise Unsupported(f"{list(x.shape)} does not reshape to {list(shape)}")
        return self._step("reshape", [x], shape, x.dtype, {})

    def transpose(self, x: Tensor, perm: Perm) -> Tensor:
        """Axis i of the result is axis perm[i] of x."""
        if list(perm) == list(range(len(x.shape))):
            return x
        shape = [x.shape[axis] for axis in perm]
        return self._step("transpose", [x], shape, x.dtype, {"perm": tuple(perm)})

    def cut(self, x: Tensor, axis: int, begin: int, end: int, step: int = 1) -> Tensor:
        """The elements from begin to end along one axis."""
        axis %= len(x.shape)
        count = len(range(begin, end, step))
        if (begin, count, step) == (0, x.shape[axis], 1):
            return x
        first = [begin if i == axis else 0 for i in range(len(x.shape))]
        strides = [step if i == axis else 1 for i in range(len(x.shape))]
        shape = [count if i == axis else n for i, n in enumerate(x.shape)]
        attrs = {"begin": tuple(first), "strides": tuple(strides)}
        return self._step("slice", [x], shape, x.dtype, attrs)

    def concat(self, tensors: Sequence[Tensor], axis: int) -> Tensor:
        """Tensors side by side."""
        if len(tensors) == 1:
            return tensors[0]
        first = tensors[0]
        axis %= len(first.shape)
        shape = list(first.shape)
        shape[axis] = sum(t.shape[axis] for t in tensors)
        return self._step("concat", list(tensors), shape, first.dtype, {"axis": axis})

    def pad(
        self, x: Tensor, before: Sequence[int], after: Sequence[int], value: float = 0.0
    ) -> Tensor:
        """Constants around x."""
        if not any((*before, *after)):
            return x
        shape = [b + n + a for b, n, a in zip(before, x.shape, after, strict=True)]
        attrs = {
            "before": tuple(before),
            "after": tuple(after),
            "mode": "constant",
            "value": value,
        }
        return self._step("pad", [x], shape, x.dtype, attrs)

    def gather(self, x: Tensor, indices: Tensor, axis: int) -> Tensor:
        """Slices along an axis, by index."""
        axis %= len(x.shape)
        shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
        return self._step("gather", [x, indices], shape, x.dtype, {"axis": axis})

    def pick(self, x: Tensor, places: Array) -> Tensor:
        """The elements of x at constant places, counted through the whole tensor."""
        flat = self.reshape(x, (prod(x.shape),))
        indices = self.constant(places.reshape(-1), "places", "int64")
        return self.reshape(self.gather(flat, indices, 0), places.shape)

    def repeat(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """x with axes of length 1 repeated to `shape`."""
        x = self.reshape(x, (*([1] * (len(shape) - len(x.shape))), *x.shape))
        for axis, (have, want) in enumerate(zip(x.shape, shape, strict=True)):
            if have != want:
                indices = self.constant(np.zeros(want), "first", "int64")
                x = self.gather(x, indices, axis)
        return x

    # --- results

    def give(self, tensor: Tensor, index: int = 0) -> None:
        """Make `tensor` output `index` of the operator."""
        self._op.give(tensor, index)

    def _step(
        self,
        ir_op: str,
        inputs: Sequence[Tensor | None],
        shape: Sequence[int],
        dtype: str,
        attrs: dict[str, Any],
    ) -> Tensor:
        return self._op.plain_step(ir_op, inputs, check_shape(shape, dtype), dtype, attrs)


def broadcast(*tensors: Tensor) -> tuple[int, ...]:
    """The shape that tensors have together."""
    return _broadcast_shapes(*(tensor.shape for tensor in tensors))


def _broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return tuple(int(n) for n in np.broadcast_shapes(*shapes))
    except ValueError as error:
        listed = " and ".join(str(list(shape)) for shape in shapes)
        raise Unsupported(f"shapes {listed} do not broadcast") from error
