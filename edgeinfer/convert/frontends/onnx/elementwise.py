"""Operators that work element by element and that quantised models have too, and Softmax."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from edgeinfer.convert.graph import Tensor

from .arithmetic import Arithmetic
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
        if op.value(0).elements == "FLOAT":
            op.compute(ir_op, _operands(op, 2))
        else:
            steps = Arithmetic(op)
            steps.give(steps.binary(ir_op, steps.input(0), steps.input(1)))

    return handler


def _variadic(ir_op: str) -> Handler:
    """Max or Min of any number: pairwise. Rounding keeps order, so that it may be done between."""

    def handler(op: Operation) -> None:
        if op.value(0).elements != "FLOAT":
            _folded(op, ir_op)
            return
        first, *rest = _operands(op, op.input_count)
        if not rest:
            op.move("reshape", [op.movable(0)])
            return
        for target in op.targets():
            made = first
            for i, tensor in enumerate(rest[:-1]):
                shape = np.broadcast_shapes(made.shape, tensor.shape)
                made = op.step(ir_op, [made, tensor], shape, f"first_{i + 2}", like=target)
            op.finish(ir_op, [made, rest[-1]], target)

    return handler


def _folded(op: Operation, ir_op: str) -> Tensor:
    """Any number of plain tensors, pairwise from the left; given as the output."""
    steps = Arithmetic(op)
    result = steps.input(0)
    for i in range(1, op.input_count):
        result = steps.binary(ir_op, result, steps.input(i))
    steps.give(result)
    return result


def sum_of(op: Operation) -> None:
    """Sum of two is Add."""
    if op.input_count == 2:
        op.compute("add", _operands(op, 2))
    else:
        _folded(op, "add")


def mean_of(op: Operation) -> None:
    """The mean of any number of tensors, which broadcast."""
    steps = Arithmetic(op)
    total = steps.floats(0)
    for i in range(1, op.input_count):
        total = steps.binary("add", total, steps.floats(i))
    steps.give(steps.binary("div", total, float(op.input_count)))


def div(op: Operation) -> None:
    """Division; of quantised numbers by a constant of one value, a product with its reciprocal."""
    divisor = op.value(1)
    data = divisor.constant_data
    if op.value(0).elements == "FLOAT" and data is not None and data.size == 1 and data.all():
        x = op.operand(0)
        if x.quantization is not None:
            with np.errstate(over="ignore"):
                reciprocal = np.asarray(np.float32(1) / data.astype(np.float32), np.float32)
            factor = Tensor(divisor.name, data.shape, "float32", None, reciprocal)
            op.compute("mul", [x, exact_scalar(factor, x.dtype)])
            return
    steps = Arithmetic(op)
    steps.give(steps.binary("div", steps.input(0), steps.input(1)))


_POWERS = {2.0: "square", 0.5: "sqrt", -0.5: "rsqrt"}


def power(op: Operation) -> None:
    """Powers; some exponents have an operator of their own."""
    exponent = op.value(1).constant_data
    if op.value(0).elements == "FLOAT" and exponent is not None and exponent.size == 1:
        ir_op = _POWERS.get(float(exponent.reshape(-1)[0]))
        x = op.operand(0)
        if ir_op is not None and len(exponent.shape) <= len(x.shape):
            op.compute(ir_op, [x], x.shape)
            return
    steps = Arithmetic(op)
    base, raised = steps.input(0), steps.input(1)
    if base.dtype != "float32":
        steps.give(steps.cast(_real_power(steps, base, raised), base.dtype))
    else:
        steps.give(_real_power(steps, base, raised))


def _real_power(steps: Arithmetic, base: Tensor, exponent: Tensor) -> Tensor:
    return steps.binary("pow", steps.cast(base, "float32"), steps.cast(exponent, "float32"))


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
    is_constant = all(op.value(i).constant_data is not None for i in (1, 2) if op.has_input(i))
    if op.value(0).elements != "FLOAT" or not is_constant:
        _clip_at_run_time(op)
        return
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


def _clip_at_run_time(op: Operation) -> None:
    """Bounds that are computed, or integers."""
    steps = Arithmetic(op)
    x = steps.input(0)
    for i, ir_op in ((1, "maximum"), (2, "minimum")):
        if op.has_input(i):
            bound = steps.input(i)
            if bound.shape not in ((), (1,)):
                raise Unsupported(f"a bound of shape {list(bound.shape)}")
            x = steps.binary(ir_op, x, steps.reshape(bound, ()))
    steps.give(x)


def prelu(op: Operation) -> None:
    """x, or slope * x below zero; the slope is a constant that broadcasts to x."""
    x, slope = op.operand(0), op.operand(1)
    if op.value(1).constant_data is None:
        _prelu_at_run_time(op)
        return
    try:
        fits = np.broadcast_shapes(x.shape, slope.shape) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise Unsupported(f"a slope of shape {list(slope.shape)} for input {list(x.shape)}")
    if x.quantization is not None:
        slope = exact_scalar(slope, x.dtype)
    op.compute("prelu", [x, slope], x.shape)


def _prelu_at_run_time(op: Operation) -> None:
    """max(x, 0) + slope * min(x, 0)"""
    steps = Arithmetic(op)
    x, slope = steps.floats(0), steps.floats(1)
    below = steps.binary("mul", slope, steps.binary("minimum", x, 0.0))
    steps.give(steps.binary("add", steps.unary("relu", x), below))


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
    """x * sigmoid(alpha * x)."""
    alpha = op.number("alpha", 1.0)
    if alpha == 1.0:
        x = op.operand(0)
        op.compute("silu", [x], x.shape)
        return
    steps = Arithmetic(op)
    steps.give(scaled_swish(steps, steps.floats(0), alpha))


def scaled_swish(steps: Arithmetic, x: Tensor, alpha: float) -> Tensor:
    """x * sigmoid(alpha * x)."""
    if alpha == 1.0:
        return steps.unary("silu", x)
    gate = steps.unary("sigmoid", steps.binary("mul", x, alpha))
    return steps.binary("mul", x, gate)


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
    "Mean": mean_of,
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
