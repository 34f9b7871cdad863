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
        shape = [1 if i in axes else n for i, n in enumerate(x.shape) if keep_dims or i not in axes]
        if ir_op not in ("reduce_max", "reduce_min"):
            op.compute(ir_op, [x], shape, axes=axes, keep_dims=keep_dims)
            return
        *first, last = _runs(axes)
        for run in first:
            kept = [1 if i in run else n for i, n in enumerate(x.shape)]
            x = op.step(ir_op, [x], kept, f"over_{run[0]}", axes=run, keep_dims=True)
        if first:
            kept = [1 if i in last else n for i, n in enumerate(x.shape)]
            op.compute(ir_op, [x], shape, through=kept, axes=last, keep_dims=True)
        else:
            op.compute(ir_op, [x], shape, axes=axes, keep_dims=keep_dims)

    return handler


def _runs(axes: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Axes in groups of neighbours, over which an extreme is taken at once."""
    runs: list[tuple[int, ...]] = []
    for axis in axes:
        if runs and runs[-1][-1] == axis - 1:
            runs[-1] = (*runs[-1], axis)
        else:
            runs.append((axis,))
    return runs


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
