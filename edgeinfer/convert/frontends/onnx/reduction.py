"""ReduceMean and its kind, ArgMax and ArgMin."""

from __future__ import annotations

from .operands import resolve_axes, resolve_axis
from .operation import Handler, Operation


def _reduction(ir_op: str) -> Handler:
    def handler(op: Operation) -> None:
        x = op.operand(0)
        rank = len(x.shape)
        axes = op.list_or_input("axes", 1)
        if not axes:
            if op.integer("noop_with_empty_axes", 0):
                op.move("reshape", [op.movable(0)], x.shape)
                return
            axes = tuple(range(rank))
        axes = resolve_axes(axes, rank)
        keep_dims = bool(op.integer("keepdims", 1))
        kept = [1 if i in axes else n for i, n in enumerate(x.shape) if keep_dims or i not in axes]
        op.compute(ir_op, [x], kept, axes=axes, keep_dims=keep_dims)

    return handler


def _arg_extreme(ir_op: str) -> Handler:
    def handler(op: Operation) -> None:
        x = op.movable(0)
        axis = resolve_axis(op.integer("axis", 0), len(x.shape))
        keep_dims = bool(op.integer("keepdims", 1))
        shape = [n for i, n in enumerate(x.shape) if i != axis]
        if keep_dims:
            shape.insert(axis, 1)
        op.compute(
            ir_op,
            [x],
            shape,
            elements="INT64",
            axis=axis,
            keep_dims=keep_dims,
            select_last=bool(op.integer("select_last_index", 0)),
        )

    return handler


HANDLERS: dict[str, Handler] = {
    "ArgMax": _arg_extreme("argmax"),
    "ArgMin": _arg_extreme("argmin"),
    "ReduceMax": _reduction("reduce_max"),
    "ReduceMean": _reduction("mean"),
    "ReduceMin": _reduction("reduce_min"),
    "ReduceSum": _reduction("sum"),
}
