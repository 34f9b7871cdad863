"""Pools, reductions, softmax and normalisation of float32."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeinfer.convert.graph import Node, Tensor
from edgeinfer.convert.lower.activations import activation_bounds
from edgeinfer.convert.lower.float_elementwise import clamp_of, require_float
from edgeinfer.convert.lower.lowering import Lowering, Refused
from edgeinfer.convert.lower.movement import indexed
from edgeinfer.convert.lower.pooling import window_params
from edgeinfer.convert.program import Value

REDUCTIONS = {
    "sum": 0,
    "mean": 1,
    "reduce_sum_square": 2,
    "reduce_l2": 3,
    "reduce_l1": 4,
    "reduce_prod": 5,
    "reduce_max": 6,
    "reduce_min": 7,
    "reduce_log_sum": 8,
    "reduce_log_sum_exp": 9,
}
"""`kind` of reduce_f32."""


def lower_pool2d(node: Node, lowering: Lowering) -> None:
    """avg_pool2d and max_pool2d."""
    x, y = node.input(0), node.output
    require_float(x, y)
    dilations = node.attrs.get("dilations") or (1, 1)
    lowering.emit(
        node,
        "pool2d_f32",
        [lowering.value(x)],
        lowering.value(y),
        {
            **window_params(node),
            "kind": int(node.op == "avg_pool2d"),
            "dilation_h": int(dilations[0]),
            "dilation_w": int(dilations[1]),
            "count_include_pad": int(bool(node.attrs.get("count_include_pad"))),
            **clamp_of(activation_bounds(node.activation)),
        },
    )


def lower_reduce(node: Node, lowering: Lowering) -> None:
    """Sums and their like over axes."""
    x, y = node.input(0), node.output
    require_float(x, y)
    lowering.emit(
        node,
        "reduce_f32",
        [lowering.value(x)],
        lowering.value(y),
        {
            "axes": sum(1 << axis for axis in node.attrs["axes"]),
            "kind": REDUCTIONS[node.op],
            **clamp_of(activation_bounds(node.activation)),
        },
    )


def lower_softmax(node: Node, lowering: Lowering) -> None:
    """softmax and log_softmax, between transposes unless over the last axis."""
    x, y = node.input(0), node.output
    require_float(x, y)
    _refuse_activation(node)
    beta = float(node.attrs.get("beta", 1.0))
    if not (np.isfinite(np.float32(beta)) and np.float32(beta) > 0):
        raise Refused(f"beta is {beta}, must be finite and above zero")
    params: dict[str, int | float] = {"beta": beta, "logarithm": int(node.op == "log_softmax")}
    rank = len(x.shape)
    axis = int(node.attrs["axis"]) % max(rank, 1)
    source, result = lowering.value(x), lowering.value(y)
    if all(extent == 1 for extent in x.shape[axis + 1 :]):
        _emit_on(node, lowering, "softmax_f32", [source], result, x.shape[: axis + 1], params)
        return
    perm = (*(i for i in range(rank) if i != axis), axis)
    shape = tuple(x.shape[i] for i in perm)
    moved, inner = (Value(value.name, shape, "float32") for value in (source, result))
    lowering.emit(node, "transpose", [source], moved, indexed("perm", perm, None))
    lowering.emit(node, "softmax_f32", [moved], inner, params)
    back = tuple(perm.index(i) for i in range(rank))
    lowering.emit(node, "transpose", [inner], result, indexed("perm", back, None))


def lower_norm(node: Node, lowering: Lowering) -> None:
    """layer_norm and rms_norm: vectors of all axes from `axis` on."""
    x, y = node.input(0), node.output
    _refuse_activation(node)
    axis = int(node.attrs["axis"]) % len(x.shape)
    size = int(np.prod(x.shape[axis:], dtype=np.int64))
    affine: list[Value | None] = []
    for tensor in node.inputs[1:]:
        if tensor is not None:
            require_float(tensor)
        affine.append(None if tensor is None else _vector(tensor, x.shape[axis:], node, lowering))
    while affine and affine[-1] is None:
        affine.pop()
    require_float(x, y)
    epsilon = float(node.attrs["epsilon"])
    if not np.isfinite(np.float32(epsilon)):
        raise Refused(f"epsilon is {epsilon}, must be finite")
    _emit_on(
        node,
        lowering,
        "layer_norm_f32",
        [lowering.value(x), *affine],
        lowering.value(y),
        (*x.shape[:axis], size),
        {"centred": int(node.op == "layer_norm"), "epsilon": epsilon},
    )


def _vector(tensor: Tensor, shape: tuple[int, ...], node: Node, lowering: Lowering) -> Value:
    """A scale or bias that broadcasts to `shape`, as a vector."""
    value = lowering.value(tensor)
    size = int(np.prod(shape, dtype=np.int64))
    if tensor.data is not None:
        data = np.broadcast_to(tensor.data, shape).reshape(size)
        return lowering.constant(tensor.name, np.ascontiguousarray(data))
    if int(np.prod(tensor.shape, dtype=np.int64)) != size:
        raise Refused(f"{tensor.name!r} is {list(tensor.shape)}, must be {list(shape)}")
    return lowering.reshaped(value, (size,), node)


def _emit_on(
    node: Node,
    lowering: Lowering,
    operator: str,
    inputs: list[Value | None],
    result: Value,
    shape: tuple[int, ...],
    params: dict[str, int | float],
) -> None:
    """The operator on its first input under another shape, and its result back under its own."""
    first = inputs[0]
    assert first is not None
    source = lowering.reshaped(first, shape, node)
    if result.shape == shape:
        lowering.emit(node, operator, [source, *inputs[1:]], result, params)
        return
    inner = Value(result.name, shape, "float32")
    lowering.emit(node, operator, [source, *inputs[1:]], inner, params)
    lowering.emit(node, "copy", [inner], result, {"reserved": 0})


def _refuse_activation(node: Node) -> None:
    if node.activation is not None:
        raise Refused(f"{node.op} with a fused activation is not available")


HANDLERS: dict[str, Callable[[Node, Lowering], None]] = {
    "avg_pool2d": lower_pool2d,
    "max_pool2d": lower_pool2d,
    **dict.fromkeys(REDUCTIONS, lower_reduce),
    "softmax": lower_softmax,
    "log_softmax": lower_softmax,
    "layer_norm": lower_norm,
    "rms_norm": lower_norm,
}
