"""The functions of float32, in the order of operations that docs/internals/numerics.md states.

Every step is one float32 operation of NumPy, or an exact fused multiply-add.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

F = np.float32
Array = np.ndarray

NAN = np.array(0x7FC00000, np.uint32).view(np.float32)


def quiet(function: Callable) -> Callable:
    """No warnings of overflows, divisions by zero and NaN."""

    def inner(*args, **kwargs):
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*args, **kwargs)

    return inner


@quiet
def fma(a, b, c) -> Array:
    """a * b + c rounded once: the float64 sum is rounded to odd before it becomes float32."""
    a, b, c = np.broadcast_arrays(*(np.asarray(v, F).astype(np.float64) for v in (a, b, c)))
    product = a * b
    total = product + c
    rest = total - product
    error = (product - (total - rest)) + (c - rest)
    bits = np.ascontiguousarray(total).view(np.int64)
    step = np.where((error > 0) == (total > 0), 1, -1)
    inexact = ((error > 0) | (error < 0)) & (bits & 1 == 0)
    return np.where(inexact, (bits + step).view(np.float64), total).astype(F)


def polynomial(coefficients: list[str], x: Array) -> Array:
    """Horner's scheme of fused multiply-adds, the highest power first; hexadecimal coefficients."""
    p = np.full_like(x, float.fromhex(coefficients[0]))
    for c in coefficients[1:]:
        p = fma(p, x, F(float.fromhex(c)))
    return p


def larger(a, b) -> Array:
    return np.where(a > b, a, b).astype(F)


def smaller(a, b) -> Array:
    return np.where(a < b, a, b).astype(F)


@quiet
def clamped(y: Array, low: float = -np.inf, high: float = np.inf) -> Array:
    """What is stored: within bounds, a NaN being 0x7fc00000."""
    y = smaller(F(high), larger(F(low), np.asarray(y, F)))
    return np.where(np.isnan(y), NAN, y)


def _reduce(x: Array) -> tuple[Array, Array]:
    """n and e^r - 1, x = n ln 2 + r."""
    rounder = F(1.5 * 2**23)
    n = fma(x, F(float.fromhex("0x1.715476p+0")), rounder) - rounder
    r = fma(n, F(-float.fromhex("0x1.62e4p-1")), x)
    r = fma(n, F(-float.fromhex("0x1.7f7d1cp-20")), r)
    series = ["0x1.6beb2ap-10", "0x1.122dp-7", "0x1.55568p-5", "0x1.5554aap-3", "0x1.fffffep-2"]
    return n, fma(polynomial(series, r), r * r, r)


def _scale(v: Array, n: Array) -> Array:
    """v * 2^n, rounded once."""
    finite = np.nan_to_num(n).astype(np.int64)
    return np.ldexp(v.astype(np.float64), finite).astype(F)


@quiet
def exp(x: Array) -> Array:
    n, power = _reduce(smaller(F(89), larger(F(-104), x)))
    return _scale(power + F(1), n)


@quiet
def expm1_below(x: Array) -> Array:
    """e^x - 1 for x <= 0."""
    n, power = _reduce(larger(F(-25), x))
    scale = _scale(np.ones_like(x), n)
    return fma(power, scale, scale - F(1))


@quiet
def sigmoid(x: Array) -> Array:
    z = exp(-np.abs(x))
    return np.where(x < 0, z, F(1)) / (z + F(1))


@quiet
def silu(x: Array) -> Array:
    x = larger(F(-128), x)
    return x * sigmoid(x)


@quiet
def tanh(x: Array) -> Array:
    u = expm1_below(np.abs(x) * F(-2))
    return np.copysign(np.abs(u / (u + F(2))), x)


SMALL = F(0.927734375)


def _erf_small(x: Array) -> Array:
    series = [
        "-0x1.38ep-11",
        "0x1.471a58p-8",
        "-0x1.b691b2p-6",
        "0x1.ce1c44p-4",
        "-0x1.8127p-2",
        "0x1.06eba8p-3",
    ]
    return polynomial(series, x * x)


def _erf_tail(t: Array) -> Array:
    h = float.fromhex
    p = fma(t, F(h("-0x1.22p-16")), F(h("0x1.91cfb2p-12")))
    u = fma(t, F(h("-0x1.fd1438p-9")), F(h("0x1.8d6342p-6")))
    p = fma(p, t * t, u)
    for c in ("-0x1.b55cb8p-4", "-0x1.450aap-1", "-0x1.079d0cp-3"):
        p = fma(p, t, F(h(c)))
    return exp(fma(p, t, -t))


@quiet
def erf(x: Array) -> Array:
    t = smaller(F(4), np.abs(x))
    large = np.copysign(F(1) - _erf_tail(t), x)
    return np.where(t < SMALL, fma(_erf_small(x), x, x), large)


@quiet
def gelu(x: Array) -> Array:
    x = larger(F(-16), x)
    v = x * F(float.fromhex("0x1.6a09e6p-1"))
    t = smaller(F(12), np.abs(v))
    tail = _erf_tail(t)
    twice = np.where(v < 0, tail, F(2) - tail)
    twice = np.where(t < SMALL, fma(_erf_small(v), v, v) + F(1), twice)
    return x * F(0.5) * twice


@quiet
def gelu_tanh(x: Array) -> Array:
    x = larger(F(-16), x)
    inner = fma(x * x, F(float.fromhex("0x1.2444f2p-4")), F(float.fromhex("0x1.988454p+0")))
    return x * sigmoid(x * inner)


@quiet
def mish(x: Array) -> Array:
    x = larger(F(-128), x)
    e = exp(smaller(F(20), x))
    n = e * (e + F(2))
    return x * (n / (n + F(2)))


@quiet
def log_f32(x: Array) -> Array:
    """The function `log` of unary_f32; `log` below is that of sums."""
    subnormal = x < F(2.0**-126)
    bits = np.where(subnormal, x * F(2.0**25), x).astype(F).view(np.int32).astype(np.int64)
    bits = (bits - 0x3F3504F3).astype(np.int32)
    e = (bits >> 23).astype(F) - np.where(subnormal, F(25), F(0))
    r = ((bits & 0x7FFFFF) + 0x3F3504F3).astype(np.int32).view(F) - F(1)
    p = np.full_like(r, 7.0376836292e-2)
    for c in (
        -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
        2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
    ):  # fmt: skip
        p = fma(p, r, F(c))
    z = r * r
    y = fma(e, F(-2.12194440e-4), p * r * z)
    y = fma(e, F(0.693359375), r + fma(z, F(-0.5), y))
    y = np.where(x > 0, y, np.where(x < 0, NAN, F(-np.inf)))
    return np.where(x < np.inf, y, x)


@quiet
def hard_sigmoid(x: Array, alpha: F, beta: F) -> Array:
    return smaller(F(1), larger(F(0), fma(alpha, x, beta)))


@quiet
def elu(x: Array, alpha: F, beta: F, gamma: F) -> Array:
    below = expm1_below(smaller(F(0), x * beta)) * alpha
    return np.where(x > 0, x * gamma, below)


@quiet
def leaky_relu(x: Array, alpha: F) -> Array:
    return np.where(x < 0, x * alpha, x)


@quiet
def thresholded_relu(x: Array, alpha: F) -> Array:
    return np.where(alpha < x, x, np.where(np.isnan(x), x, F(0)))


@quiet
def shrink(x: Array, alpha: F, beta: F) -> Array:
    upper = np.where(alpha < x, x - beta, np.where(np.isnan(x), x, F(0)))
    return np.where(x < -alpha, x + beta, upper)


@quiet
def unary(kind: str, x: Array, alpha: float = 0, beta: float = 0, gamma: float = 0) -> Array:
    """The function that the operator's kind of this name computes, before the clamp."""
    alpha, beta, gamma = F(alpha), F(beta), F(gamma)
    simple: dict[str, Callable[[Array], Array]] = {
        "clip": lambda x: x,
        "exp": exp,
        "sigmoid": sigmoid,
        "tanh": tanh,
        "silu": silu,
        "gelu": gelu,
        "gelu_tanh": gelu_tanh,
        "erf": erf,
        "mish": mish,
        "log": log_f32,
        "sqrt": np.sqrt,
        "rsqrt": lambda x: F(1) / np.sqrt(x),
        "reciprocal": lambda x: F(1) / x,
        "abs": np.abs,
        "neg": np.negative,
        "square": lambda x: x * x,
        "floor": np.floor,
        "ceil": np.ceil,
        "round": np.rint,
        "sign": lambda x: np.where(x == 0, x, np.sign(x)),
        "softsign": lambda x: x / (np.abs(x) + F(1)),
    }
    if kind in simple:
        return simple[kind](x)
    if kind in ("hard_sigmoid", "hard_swish"):
        gate = hard_sigmoid(x, alpha, beta)
        return x * gate if kind == "hard_swish" else gate
    if kind == "elu":
        return elu(x, alpha, beta, gamma)
    if kind == "shrink":
        return shrink(x, alpha, beta)
    return {"leaky_relu": leaky_relu, "thresholded_relu": thresholded_relu}[kind](x, alpha)


@quiet
def maximum(a: Array, b: Array) -> Array:
    return np.where(np.isnan(a), a, larger(a, b))


@quiet
def minimum(a: Array, b: Array) -> Array:
    return np.where(np.isnan(a), a, smaller(a, b))


@quiet
def binary(kind: str, a: Array, b: Array) -> Array:
    """The same of two operands that broadcast."""
    functions: dict[str, Callable[[Array, Array], Array]] = {
        "add": np.add,
        "sub": np.subtract,
        "mul": np.multiply,
        "div": np.divide,
        "maximum": maximum,
        "minimum": minimum,
    }
    if kind == "prelu":
        a, b = np.broadcast_arrays(a, b)
        return np.where(a < 0, a * b, a)
    return functions[kind](a, b)


# --- sums of 16 interleaved parts

Joins: dict[str, tuple[Any, Callable[..., Any], Callable[..., Any]]] = {
    "sum": (F(0), lambda part, x: part + x, np.add),
    "squares": (F(0), lambda part, x: fma(x, x, part), np.add),
    "magnitudes": (F(0), lambda part, x: part + np.abs(x), np.add),
    "product": (F(1), lambda part, x: part * x, np.multiply),
    "largest": (F(-np.inf), maximum, maximum),
    "smallest": (F(np.inf), minimum, minimum),
}


@quiet
def fold(x: Array, join: str = "sum") -> Array:
    """Over the last axis: element i joins part i mod 16; parts i and i + 8, + 4, + 2, + 1 join."""
    start, step, combine = Joins[join]
    parts = np.full((*x.shape[:-1], 16), start, F)
    for at in range(0, x.shape[-1], 16):
        block = x[..., at : at + 16]
        lanes = block.shape[-1]
        parts[..., :lanes] = step(parts[..., :lanes], block)
    for half in (8, 4, 2, 1):
        parts = np.asarray(combine(parts[..., :half], parts[..., half : 2 * half]), F)
    return parts[..., 0]


@quiet
def log(x: Array) -> Array:
    """The nearest float32 of the float64 logarithm."""
    return np.log(x.astype(np.float64)).astype(F)


@quiet
def reduce(kind: str, x: Array) -> Array:
    """reduce_f32 over the last axis, before the clamp."""
    joins = {
        "sum": "sum",
        "mean": "sum",
        "reduce_sum_square": "squares",
        "reduce_l2": "squares",
        "reduce_l1": "magnitudes",
        "reduce_prod": "product",
        "reduce_max": "largest",
        "reduce_min": "smallest",
    }
    if kind == "reduce_log_sum":
        return log(fold(x))
    if kind == "reduce_log_sum_exp":
        largest = fold(x, "largest")
        reference = np.where(np.isfinite(largest), largest, F(0))
        return reference + log(fold(exp(x - reference[..., None])))
    y = fold(x, joins[kind])
    if kind == "mean":
        return y / F(x.shape[-1])
    return np.sqrt(y) if kind == "reduce_l2" else y


@quiet
def softmax(x: Array, beta: F, logarithm: bool) -> Array:
    """Over the last axis."""
    t = (x - np.fmax.reduce(x, axis=-1, initial=-np.inf, keepdims=True).astype(F)) * beta
    e = exp(t)
    s = fold(e)[..., None]
    return clamped(t - log(s) if logarithm else e * (F(1) / s))


@quiet
def layer_norm(
    x: Array, scale: Array | None, bias: Array | None, epsilon: F, centred: bool
) -> Array:
    """Over the last axis."""
    n = F(x.shape[-1])
    mean = (fold(x) / n)[..., None] if centred else F(0)
    d = x - mean
    r = F(1) / np.sqrt(fold(d, "squares") / n + epsilon)
    y = d * r[..., None]
    if bias is not None:
        return clamped(fma(y, F(1) if scale is None else scale, bias))
    return clamped(y if scale is None else y * scale)
