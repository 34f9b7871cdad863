"""Comparisons, selections, casts, and arithmetic on plain integers and bool."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeinfer.convert.graph import Node, Tensor
from edgeinfer.convert.lower.activations import CLAMPS, bounds_of
from edgeinfer.convert.lower.lowering import Lowering, Refused, describe, require_same_type
from edgeinfer.convert.lower.movement import indexed
from edgeinfer.convert.lower.pooling import window_params
from edgeinfer.convert.program import Value

COMPARISONS = {
    "equal": (0, False),
    "less": (1, False),
    "less_or_equal": (2, False),
    "greater": (1, True),
    "greater_or_equal": (2, True),
}
"""`kind` of compare, and whether the operands change places."""
BINARY = {
    "add": 0,
    "sub": 1,
    "mul": 2,
    "div": 3,
    "maximum": 4,
    "minimum": 5,
    "pow": 6,
    "fmod": 7,
    "mod": 8,
    "logical_and": 9,
    "logical_or": 10,
    "logical_xor": 11,
}
"""`kind` of binary_int."""
UNARY = {"neg": 0, "abs": 1, "sign": 2, "logical_not": 3}
"""`kind` of unary_int."""
REDUCTIONS = {"sum": 0, "mean": 1, "reduce_prod": 2, "reduce_max": 3, "reduce_min": 4}
"""`kind` of reduce_int."""

_NAN, _INFINITY, _MINUS_INFINITY = 1, 2, 4


def is_plain(node: Node) -> bool:
    """Whether the node computes with integers or bool that are not quantised."""
    tensors = [tensor for tensor in [*node.inputs, *node.outputs] if tensor is not None]
    return node.op in PLAIN_HANDLERS and all(
        tensor.quantization is None and tensor.dtype != "float32" for tensor in tensors
    )


def lower_compare(node: Node, lowering: Lowering) -> None:
    """One compare: of numbers as they are stored, so both are stored alike."""
    kind, swapped = COMPARISONS[node.op]
    a, b = _operands(node, lowering, node.inputs)
    require_same_type(node, node.input(0), node.input(1))
    _require_dtype(node.output, "bool")
    inputs = [b, a] if swapped else [a, b]
    lowering.emit(node, "compare", inputs, lowering.value(node.output), {"kind": kind})


def lower_where(node: Node, lowering: Lowering) -> None:
    """One select."""
    _require_dtype(node.input(0), "bool")
    require_same_type(node, node.output, node.input(1), node.input(2))
    _refuse_activation(node)
    lowering.emit(
        node,
        "select",
        _operands(node, lowering, node.inputs),
        lowering.value(node.output),
        {"reserved": 0},
    )


def lower_cast(node: Node, lowering: Lowering) -> None:
    """One cast; a copy where the dtype stays."""
    x, y = node.input(0), node.output
    for tensor in (x, y):
        if tensor.quantization is not None:
            raise Refused(f"{tensor.name!r} is quantised, and a cast is of plain numbers")
    _refuse_activation(node)
    operator = "copy" if x.dtype == y.dtype else "cast"
    lowering.emit(node, operator, [lowering.value(x)], lowering.value(y), {"reserved": 0})


def lower_classify(node: Node, lowering: Lowering) -> None:
    """is_nan and is_inf."""
    _require_dtype(node.input(0), "float32")
    _require_dtype(node.output, "bool")
    classes = _NAN
    if node.op == "is_inf":
        classes = _INFINITY * bool(node.attrs.get("positive", True))
        classes += _MINUS_INFINITY * bool(node.attrs.get("negative", True))
    _emit_unary(node, lowering, "classify_f32", {"classes": classes})


def lower_cumsum(node: Node, lowering: Lowering) -> None:
    """One cumsum, between transposes unless over the last axis."""
    x, y = node.input(0), node.output
    if x.quantization is not None or x.dtype == "bool":
        raise Refused(f"{x.name!r} is {describe(x)}; cumsum is of float32 and of plain integers")
    require_same_type(node, y, x)
    _refuse_activation(node)
    params = {name: int(bool(node.attrs.get(name))) for name in ("exclusive", "reverse")}
    axis = int(node.attrs["axis"]) % len(x.shape)
    inner = Value(y.name, _moved(x.shape, axis), y.dtype)
    source = _axis_last(node, lowering, lowering.value(x), axis)
    if axis == len(x.shape) - 1:
        inner = lowering.value(y)
    lowering.emit(node, "cumsum", [source], inner, {**params})
    _axis_back(node, lowering, inner, lowering.value(y), axis)


def lower_top_k(node: Node, lowering: Lowering) -> None:
    """top_k for the indices, gather_elements for the values, between transposes as cumsum."""
    x, values, indices = node.input(0), node.outputs[0], node.outputs[1]
    require_same_type(node, values, x)
    _require_dtype(indices, "int64")
    axis = int(node.attrs["axis"]) % len(x.shape)
    source = _axis_last(node, lowering, lowering.value(x), axis)
    shape = _moved(values.shape, axis)
    last = axis == len(x.shape) - 1
    results = [lowering.value(values), lowering.value(indices)]
    found = results if last else [Value(v.name, shape, v.dtype) for v in results]
    smallest = int(not node.attrs.get("largest", True))
    lowering.emit(node, "top_k", [source], found[1], {"smallest": smallest})
    lowering.emit(node, "gather_elements", [source, found[1]], found[0], {"reserved": 0})
    for value, result in zip(found, results, strict=True):
        _axis_back(node, lowering, value, result, axis)


def lower_binary(node: Node, lowering: Lowering) -> None:
    """One binary_int."""
    require_same_type(node, node.output, node.input(0), node.input(1))
    _refuse_activation(node)
    kind = "fmod" if node.op == "mod" and node.attrs.get("fmod") else node.op
    lowering.emit(
        node,
        "binary_int",
        _operands(node, lowering, node.inputs),
        lowering.value(node.output),
        {"kind": BINARY[kind]},
    )


def lower_unary(node: Node, lowering: Lowering) -> None:
    """One unary_int."""
    require_same_type(node, node.output, node.input(0))
    _emit_unary(node, lowering, "unary_int", {"kind": UNARY[node.op]})


def lower_clamp(node: Node, lowering: Lowering) -> None:
    """relu and its like: maximum and minimum with a constant."""
    x, y = node.input(0), node.output
    require_same_type(node, y, x)
    _refuse_activation(node)
    value = lowering.value(x)
    info = np.iinfo(y.dtype)
    for kind, bound in zip(("maximum", "minimum"), bounds_of(node.op, node.attrs), strict=True):
        if bound is None:
            continue
        stored = np.array(min(max(int(bound), info.min), info.max), y.dtype)
        limit = lowering.constant(f"{y.name}/{kind}", stored.reshape((1,) * len(y.shape)))
        result = Value(f"{y.name}/{kind}", y.shape, y.dtype)
        lowering.emit(node, "binary_int", [value, limit], result, {"kind": BINARY[kind]})
        value = result
    lowering.emit(node, "copy", [value], lowering.value(y), {"reserved": 0})


def lower_reduce(node: Node, lowering: Lowering) -> None:
    """One reduce_int."""
    require_same_type(node, node.output, node.input(0))
    axes = sum(1 << axis for axis in node.attrs["axes"])
    _emit_unary(node, lowering, "reduce_int", {"axes": axes, "kind": REDUCTIONS[node.op]})


def lower_max_pool2d(node: Node, lowering: Lowering) -> None:
    """max_pool2d of 8 or 16 bits compares stored integers, whatever they mean."""
    x, y = node.input(0), node.output
    require_same_type(node, y, x)
    if x.dtype not in ("int8", "uint8", "int16"):
        raise Refused(f"{x.name!r} is {x.dtype}; max_pool2d is of 8 and 16 bits and of float32")
    info = np.iinfo(x.dtype)
    dilations = node.attrs.get("dilations") or (1, 1)
    params = {
        **window_params(node),
        "dilation_h": int(dilations[0]),
        "dilation_w": int(dilations[1]),
        "clamp_min": int(info.min),
        "clamp_max": int(info.max),
    }
    _emit_unary(node, lowering, "max_pool2d", params)


def _emit_unary(
    node: Node, lowering: Lowering, operator: str, params: dict[str, int | float]
) -> None:
    _refuse_activation(node)
    x, y = lowering.value(node.input(0)), lowering.value(node.output)
    lowering.emit(node, operator, [x], y, params)


def _operands(node: Node, lowering: Lowering, tensors: list[Tensor | None]) -> list[Value | None]:
    """Operands at the rank of the output: rows of tensors of one rank correspond."""
    rank = len(node.output.shape)
    values: list[Value | None] = []
    for tensor in tensors:
        assert tensor is not None
        shape = (1,) * (rank - len(tensor.shape)) + tensor.shape
        values.append(lowering.reshaped(lowering.value(tensor), shape, node))
    return values


def _moved(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], *shape[axis + 1 :], shape[axis])


def _axis_last(node: Node, lowering: Lowering, value: Value, axis: int) -> Value:
    """The value with `axis` moved to the end."""
    rank = len(value.shape)
    if axis == rank - 1:
        return value
    perm = (*(i for i in range(rank) if i != axis), axis)
    result = Value(value.name, _moved(value.shape, axis), value.dtype)
    lowering.emit(node, "transpose", [value], result, indexed("perm", perm, None))
    return result


def _axis_back(node: Node, lowering: Lowering, value: Value, result: Value, axis: int) -> None:
    """The inverse of `_axis_last`, into `result`; nothing where that is the value itself."""
    if value is result:
        return
    rank = len(result.shape)
    perm = (*range(axis), rank - 1, *range(axis, rank - 1))
    lowering.emit(node, "transpose", [value], result, indexed("perm", perm, None))


def _require_dtype(tensor: Tensor, dtype: str) -> None:
    if tensor.dtype != dtype:
        raise Refused(f"{tensor.name!r} is {tensor.dtype}, must be {dtype}")


def _refuse_activation(node: Node) -> None:
    if node.activation is not None:
        raise Refused(f"{node.op} with a fused activation is not available")


HANDLERS: dict[str, Callable[[Node, Lowering], None]] = {
    **dict.fromkeys(COMPARISONS, lower_compare),
    "where": lower_where,
    "cast": lower_cast,
    "cumsum": lower_cumsum,
    "top_k": lower_top_k,
}
"""Operators on numbers of any kind, float32 too."""

FLOAT_HANDLERS: dict[str, Callable[[Node, Lowering], None]] = {
    **HANDLERS,
    "is_nan": lower_classify,
    "is_inf": lower_classify,
}

PLAIN_HANDLERS: dict[str, Callable[[Node, Lowering], None]] = {
    **dict.fromkeys([op for op in BINARY if op != "fmod"], lower_binary),
    **dict.fromkeys(UNARY, lower_unary),
    **dict.fromkeys(CLAMPS, lower_clamp),
    **dict.fromkeys(REDUCTIONS, lower_reduce),
    "max_pool2d": lower_max_pool2d,
}
"""Operators that mean something else of quantised integers."""
