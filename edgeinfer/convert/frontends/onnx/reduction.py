"""ReduceMean and its kind, ArgMax and ArgMin."""

from __future__ import annotations

from collections.abc import Callable

from edgeinfer.convert.graph import Tensor

from .arithmetic import Arithmetic
from .operands import resolve_axes, resolve_axis
from .operation import Handler, Operation


def _axes(op: Operation) -> tuple[int, ...]:
    """The axes to reduce, none where the operator is to do nothing."""
    rank = len(op.shape(0))
    axes = op.list_or_input("axes", 1)
    if not axes:
        return () if op.integer("noop_with_empty_axes", 0) else tuple(range(rank))
    return resolve_axes(axes, rank)


def _reduction(ir_op: str) -> Handler:
    def handler(op: Operation) -> None:
        axes = _axes(op)
        if op.value(0).elements != "FLOAT":
            _plain_reduction(op, ir_op, axes)
            return
        x = op.operand(0)
        if not axes:
            op.move("reshape", [op.movable(0)], x.shape)
            return
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


def _plain_reduction(op: Operation, ir_op: str, axes: tuple[int, ...]) -> None:
    """Of integers and booleans; the extremes of booleans are those of 0 and 1."""
    steps = Arithmetic(op)
    x = steps.input(0)
    dtype = x.dtype
    keep_dims = bool(op.integer("keepdims", 1))
    y = steps.reduce(
        ir_op, steps.cast(x, "uint8") if dtype == "bool" else x, axes, keep_dims=keep_dims
    )
    steps.give(steps.cast(y, dtype))


def _of_steps(formula: Callable[[Arithmetic, Tensor, tuple[int, ...]], Tensor]) -> Handler:
    """A reduction that is several; `formula` keeps the axes."""

    def handler(op: Operation) -> None:
        steps = Arithmetic(op)
        x, axes = steps.floats(0), _axes(op)
        y = formula(steps, x, axes)
        if not op.integer("keepdims", 1):
            y = steps.reshape(y, [n for i, n in enumerate(y.shape) if i not in axes])
        steps.give(y)

    return handler


def _l1(steps: Arithmetic, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    return steps.reduce("sum", steps.unary("abs", x), axes)


def _square(steps: Arithmetic, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    return steps.reduce("sum", steps.unary("square", x), axes)


def _l2(steps: Arithmetic, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    return steps.unary("sqrt", _square(steps, x, axes))


def _log_sum(steps: Arithmetic, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    return steps.unary("log", steps.reduce("sum", x, axes))


def _log_sum_exp(steps: Arithmetic, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Around the largest element, if that is finite, so that nothing overflows."""
    largest = steps.reduce("reduce_max", x, axes)
    zero = steps.constant(0.0, "zero")
    infinite = steps.test("is_inf", largest, positive=True, negative=True)
    centre = steps.where(infinite, zero, largest)
    total = steps.reduce("sum", steps.unary("exp", steps.binary("sub", x, centre)), axes)
    return steps.binary("add", steps.unary("log", total), centre)


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
    "ReduceL1": _of_steps(_l1),
    "ReduceL2": _of_steps(_l2),
    "ReduceLogSum": _of_steps(_log_sum),
    "ReduceLogSumExp": _of_steps(_log_sum_exp),
    "ReduceMax": _reduction("reduce_max"),
    "ReduceMean": _reduction("mean"),
    "ReduceMin": _reduction("reduce_min"),
    "ReduceProd": _reduction("reduce_prod"),
    "ReduceSum": _reduction("sum"),
    "ReduceSumSquare": _of_steps(_square),
}
