"""Operators that work element by element, and Softmax."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from edgeinfer.convert.graph import Tensor

from .operands import exact_scalar, resolve_axis
from .operation import Handler, Operation
from .values import Unsupported


def _operands(op: Operation, count: int) -> list[Tensor]:
    """Activations, and float constants of one value in the terms of the activation beside them."""
    tensors = [op.operand(i) for i in range(count)]
    stored = [t for t in tensors if t.quantization is not None]
    if not stored:
        return tensors
    return [exact_scalar(t, stored[0].dtype) for t in tensors]


def _binary(ir_op: str) -> Handler:
    def handler(op: Operation) -> None:
        op.compute(ir_op, _operands(op, 2))

    return handler


def _variadic(ir_op: str) -> Handler:
    """Max or Min of any number: pairwise. Rounding keeps order, so that it may be done between."""

    def handler(op: Operation) -> None:
        first, *rest = _operands(op, op.input_count)
        if not rest:
            op.move("reshape", [op.movable(0)])
            return
        for target in op.targets([first, *rest]):
            made = first
            for i, tensor in enumerate(rest[:-1]):
                shape = np.broadcast_shapes(made.shape, tensor.shape)
                made = op.step(ir_op, [made, tensor], shape, f"first_{i + 2}", like=target)
            op.finish(ir_op, [made, rest[-1]], target)

    return handler


def sum_of(op: Operation) -> None:
    """Sum of two is Add."""
    if op.input_count == 1:
        op.move("reshape", [op.movable(0)])
    elif op.input_count == 2:
        op.compute("add", _operands(op, 2))
    else:
        raise Unsupported(
            f"it adds {op.input_count} tensors at once", "add them in pairs, with Add"
        )


def div(op: Operation) -> None:
    """Division by a constant of one value, as multiplication by its reciprocal."""
    divisor = op.value(1)
    data = divisor.constant_data
    x = op.operand(0)
    if data is None or data.size != 1 or not data.all():
        raise Unsupported(
            "division is not available",
            "multiply by the reciprocal, where the divisor is a constant",
        )
    with np.errstate(over="ignore"):
        reciprocal = np.asarray(np.float32(1) / data.astype(np.float32), np.float32)
    factor = Tensor(divisor.name, data.shape, "float32", None, reciprocal)
    if x.quantization is not None:
        factor = exact_scalar(factor, x.dtype)
    op.compute("mul", [x, factor])


_POWERS = {2.0: "square", 0.5: "sqrt", -0.5: "rsqrt"}


def power(op: Operation) -> None:
    """Powers that have an operator of their own."""
    exponent = op.scalar(1, "exponent")
    if exponent not in _POWERS:
        raise Unsupported(
            f"powers of {exponent} are not available", "2, 0.5 and -0.5 are the exponents that are"
        )
    x = op.operand(0)
    op.compute(_POWERS[exponent], [x])


def _unary(ir_op: str, **attrs: Any) -> Handler:
    def handler(op: Operation) -> None:
        x = op.operand(0)
        op.compute(ir_op, [x], x.shape, **attrs)

    return handler


def _unary_with(ir_op: str, **defaults: float) -> Handler:
    """A unary operator with float attributes of the same names in file and graph."""

    def handler(op: Operation) -> None:
        x = op.operand(0)
        attrs: dict[str, Any] = {name: op.number(name, value) for name, value in defaults.items()}
        op.compute(ir_op, [x], x.shape, **attrs)

    return handler


def _clamp(op: Operation, ir_op: str, low: float | None, high: float | None, **attrs: Any) -> None:
    """An operator that only bounds.

    Where the file goes on in float, and the bounds are numbers that x is stored with, the result
    stays quantised as x is, without a change to it.
    """
    x = op.operand(0)
    if op.is_read_as_float() and _keeps_steps(x, low) and _keeps_steps(x, high):
        op.move(ir_op, [op.movable(0)], x.shape, **attrs)
    else:
        op.compute(ir_op, [x], x.shape, **attrs)


def _keeps_steps(x: Tensor, bound: float | None) -> bool:
    """Whether a bound is one of the numbers that x is stored with, or beyond all of them."""
    if x.quantization is None or not x.quantization.is_per_tensor:
        return False
    if bound is None:
        return True
    limits = np.iinfo(x.dtype)
    with np.errstate(over="ignore"):
        step = np.float32(bound) / x.quantization.scale[0] + x.quantization.zero_point[0]
    return bool(not limits.min < step < limits.max or step == np.rint(step))


def relu(op: Operation) -> None:
    """x, or zero below."""
    _clamp(op, "relu", 0.0, None)


def clip(op: Operation) -> None:
    """Bounds from inputs, or from attributes before operator set 11."""
    bounds: dict[str, float | None] = {}
    for i, name in enumerate(("min", "max"), start=1):
        bound = float("nan")
        if op.has_input(i):
            bound = op.scalar(i, name)
            if np.isnan(bound):
                raise Unsupported(f"its {name} is NaN")
        elif op.version < 11 and name in op.node.attrs:
            bound = op.number(name, 0.0)
        # Exporters write "no bound" as the last float32.
        is_open = not abs(bound) < float(np.finfo(np.float32).max)
        bounds[name] = None if is_open else bound
    low, high = bounds["min"], bounds["max"]
    if low is not None and high is not None and low > high:
        low = high  # ONNX: all values become max
    _clamp(op, "clip", low, high, min=low, max=high)


def prelu(op: Operation) -> None:
    """x, or slope * x below zero; the slope is a constant that broadcasts to x."""
    x, slope = op.operand(0), op.operand(1)
    op.constant(1, "slope")
    try:
        fits = np.broadcast_shapes(x.shape, slope.shape) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise Unsupported(f"a slope of shape {list(slope.shape)} for input {list(x.shape)}")
    if x.quantization is not None:
        slope = exact_scalar(slope, x.dtype)
    op.compute("prelu", [x, slope], x.shape)


def gelu(op: Operation) -> None:
    """By erf, or by its approximation with tanh."""
    x = op.operand(0)
    approximate = op.text("approximate", "none")
    if approximate not in ("none", "tanh"):
        raise Unsupported(f"approximate is {approximate!r}")
    op.compute("gelu", [x], x.shape, approximate=approximate == "tanh")


def fast_gelu(op: Operation) -> None:
    """onnxruntime's GELU by tanh."""
    if op.has_input(1):
        raise Unsupported("it adds a bias as well", "take the model from before it was optimised")
    x = op.operand(0)
    op.compute("gelu", [x], x.shape, approximate=True)


def swish(op: Operation) -> None:
    """x * sigmoid(alpha * x), with alpha 1."""
    x = op.operand(0)
    if op.number("alpha", 1.0) != 1.0:
        raise Unsupported(f"its alpha is {op.number('alpha', 1.0)}; 1 is available")
    op.compute("silu", [x], x.shape)


def softmax(op: Operation) -> None:
    """Along one axis; before operator set 13, along all axes from it on."""
    x = op.operand(0)
    if not x.shape:
        raise Unsupported("its input has no axis")
    # QLinearSoftmax says in which operator set it is meant.
    version = op.integer("opset", op.version)
    axis = resolve_axis(op.integer("axis", -1 if version >= 13 else 1), len(x.shape))
    if version >= 13 or axis == len(x.shape) - 1:
        op.compute("softmax", [x], x.shape, axis=axis, beta=1.0)
        return
    rows = (prod(x.shape[:axis]), prod(x.shape[axis:]))
    flat = op.reshaped(x, rows, "rows")
    op.compute("softmax", [flat], x.shape, through=rows, axis=1, beta=1.0)


HANDLERS: dict[str, Handler] = {
    "Abs": _unary("abs"),
    "Add": _binary("add"),
    "Clip": clip,
    "Div": div,
    "Elu": _unary_with("elu", alpha=1.0),
    "Erf": _unary("erf"),
    "Exp": _unary("exp"),
    "Gelu": gelu,
    "HardSigmoid": _unary_with("hard_sigmoid", alpha=0.2, beta=0.5),
    "HardSwish": _unary("hard_swish"),
    "LeakyRelu": _unary_with("leaky_relu", alpha=0.01),
    "Log": _unary("log"),
    "Max": _variadic("maximum"),
    "Min": _variadic("minimum"),
    "Mul": _binary("mul"),
    "Neg": _unary("neg"),
    "PRelu": prelu,
    "Pow": power,
    "Relu": relu,
    "Sigmoid": _unary("sigmoid"),
    "Softmax": softmax,
    "Softplus": _unary("softplus"),
    "Sqrt": _unary("sqrt"),
    "Sub": _binary("sub"),
    "Sum": sum_of,
    "Swish": swish,
    "Tanh": _unary("tanh"),
    "com.microsoft:FastGelu": fast_gelu,
    "com.microsoft:Gelu": _unary("gelu", approximate=False),
}
