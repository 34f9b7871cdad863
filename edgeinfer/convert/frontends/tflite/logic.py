"""Comparisons, logic and selection, and what is read as these."""

from __future__ import annotations

import numpy as np

from edgeinfer.convert.graph import Node, Tensor

from .operands import broadcast, moved, resolve_axis
from .operation import Handler, Handling, Operation, Unsupported


def _need_truth(*tensors: Tensor) -> None:
    for tensor in tensors:
        if tensor.dtype != "bool":
            raise Unsupported(f"{tensor.name!r} is {tensor.dtype}; bool is needed")


def _comparison(ir_op: str, *, negated: bool = False) -> Handler:
    """Of numbers as they are stored: two quantised ones must be quantised alike."""

    def handler(op: Operation) -> None:
        a, b = op.input(0), op.input(1)
        _need_truth(op.output())
        if a.dtype != b.dtype:
            raise Unsupported(f"it compares {a.dtype} with {b.dtype}")
        q = a.quantization
        if (q is None) != (b.quantization is None) or (q and not q.same_as(b.quantization)):
            raise Unsupported("it compares numbers of different quantisation")
        shape = broadcast(a, b)
        if negated:
            same = op.step(ir_op, [a, b], shape, "same", dtype="bool")
            op.emit("logical_not", [same], shape)
        else:
            op.emit(ir_op, [a, b], shape)

    return handler


def _logical(ir_op: str) -> Handler:
    def handler(op: Operation) -> None:
        a, b = op.input(0), op.input(1)
        _need_truth(a, b, op.output())
        op.emit(ir_op, [a, b], broadcast(a, b))

    return handler


def logical_not(op: Operation) -> None:
    """True where the input is false."""
    x = op.input(0)
    _need_truth(x, op.output())
    op.emit("logical_not", [x], x.shape)


def _select(*, by_rows: bool) -> Handler:
    """SELECT_V2 broadcasts all three; a condition of one axis chooses whole rows for SELECT."""

    def handler(op: Operation) -> None:
        condition, a, b = op.input(0), op.input(1), op.input(2)
        _need_truth(condition)
        for tensor in (a, b):
            moved(op, tensor)
        q = op.output().quantization
        if q and not (q.same_as(a.quantization) and q.same_as(b.quantization)):
            raise Unsupported("it selects among tensors of different quantisation")
        if by_rows and len(condition.shape) == 1 and len(a.shape) > 1:
            rows = (*condition.shape, *([1] * (len(a.shape) - 1)))
            condition = op.reshaped(condition, rows, "rows")
        op.emit("where", [condition, a, b], broadcast(condition, a, b))

    return handler


def one_hot(op: Operation) -> None:
    """`on` where the index is the position along a new axis, `off` elsewhere."""
    indices = op.input(0)
    if indices.dtype not in ("int32", "int64"):
        raise Unsupported(f"its indices are {indices.dtype}; int32 or int64 is needed")
    depth = op.integer(1, "depth")
    on, off = op.input(2), op.input(3)
    for tensor in (on, off):
        moved(op, tensor)
        if tensor.quantization is not None or tensor.shape not in ((), (1,)):
            raise Unsupported("its values are not two plain numbers")
    rank = len(indices.shape)
    axis = rank if op.options["Axis"] == -1 else resolve_axis(op.options["Axis"], rank + 1)
    slab = (*indices.shape[:axis], 1, *indices.shape[axis:])
    shape = (*indices.shape[:axis], depth, *indices.shape[axis:])
    along = [-1 if i == axis else 1 for i in range(rank + 1)]
    positions = op.given(np.arange(max(depth, 0)).reshape(along), "positions", indices.dtype)
    slabs = op.reshaped(indices, slab, "slabs")
    hit = op.step("equal", [slabs, positions], shape, "hit", dtype="bool")
    op.emit("where", [hit, op.reshaped(on, (), "on"), op.reshaped(off, (), "off")], shape)


def cumsum(op: Operation) -> None:
    """Sums of all elements up to each, along an axis."""
    x = op.input(0)
    moved(op, x)
    if x.quantization is not None or x.dtype not in ("float32", "int32", "int64"):
        raise Unsupported(f"{x.name!r} is {x.dtype}; float32 or plain integers are needed")
    axis = resolve_axis(op.integer(1, "axis"), len(x.shape))
    options = op.options
    exclusive, reverse = bool(options["Exclusive"]), bool(options["Reverse"])
    op.emit("cumsum", [x], x.shape, axis=axis, exclusive=exclusive, reverse=reverse)


def top_k(op: Operation) -> None:
    """The largest `k` along the last axis, sorted, and where they are."""
    x = op.input(0)
    moved(op, x)
    k = op.integer(1, "k")
    if not x.shape or not 1 <= k <= x.shape[-1]:
        raise Unsupported(f"the {k} largest of shape {list(x.shape)}")
    if op.output(1).dtype != "int32":
        raise Unsupported(f"its indices are {op.output(1).dtype}; int32 is needed")
    shape = (*x.shape[:-1], k)
    values, positions = op.output(0), Tensor(f"{op.name}/positions", shape, "int64")
    values.shape = shape
    attrs = {"axis": len(x.shape) - 1, "k": k, "largest": True}
    op.nodes.append(Node("top_k", [x], [values, positions], attrs, None, op.name, op.code))
    op.emit("cast", [positions], shape, output=1)


HANDLERS = {
    "CUMSUM": Handling(cumsum, "CumsumOptions"),
    "EQUAL": Handling(_comparison("equal")),
    "GREATER": Handling(_comparison("greater")),
    "GREATER_EQUAL": Handling(_comparison("greater_or_equal")),
    "LESS": Handling(_comparison("less")),
    "LESS_EQUAL": Handling(_comparison("less_or_equal")),
    "LOGICAL_AND": Handling(_logical("logical_and")),
    "LOGICAL_NOT": Handling(logical_not),
    "LOGICAL_OR": Handling(_logical("logical_or")),
    "NOT_EQUAL": Handling(_comparison("equal", negated=True)),
    "ONE_HOT": Handling(one_hot, "OneHotOptions"),
    "SELECT": Handling(_select(by_rows=True)),
    "SELECT_V2": Handling(_select(by_rows=False)),
    "TOPK_V2": Handling(top_k),
}
