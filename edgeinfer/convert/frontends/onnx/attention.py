"""Attention and RotaryEmbedding, written out as products, a softmax and moves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Tensor

from .arithmetic import Arithmetic
from .operation import Handler, Operation
from .values import Unsupported

_MASKED = float("-inf")


def attention(op: Operation) -> None:
    """softmax(q k' * scale + bias) v over heads; query heads may share a key and value head."""
    steps = Arithmetic(op)
    q, k, v = (_heads(op, steps, i) for i in range(3))
    if op.has_input(4) != op.has_input(5):
        raise Unsupported("one of past_key and past_value is missing")
    past = 0
    if op.has_input(4):
        past_key, past_value = steps.floats(4), steps.floats(5)
        past = past_key.shape[2]
        k, v = steps.concat([past_key, k], 2), steps.concat([past_value, v], 2)
    steps.give(k, 1)
    steps.give(v, 2)
    batch, heads, length, depth = q.shape
    _, shared, keys, width = v.shape
    if heads % shared or k.shape[:3] != v.shape[:3] or k.shape[3] != depth:
        raise Unsupported(
            f"queries {list(q.shape)}, keys {list(k.shape)} and values {list(v.shape)}"
        )
    grouped = (batch, shared, heads // shared * length, depth)
    scaled = steps.binary("mul", q, op.number("scale", float(1 / np.sqrt(depth))))
    products = steps.matmul(steps.reshape(scaled, grouped), k, transpose_b=True)
    logits = [steps.reshape(products, (batch, heads, length, keys))]
    softcap = op.number("softcap", 0.0)
    capped = logits[0]
    if softcap > 0:
        bent = steps.unary("tanh", steps.binary("div", capped, softcap))
        capped = steps.binary("mul", bent, softcap)
    logits.append(capped)
    bias = _bias(op, steps, length, keys, past)
    biased = capped if bias is None else steps.binary("add", capped, bias)
    logits.append(biased)
    logits.append(_probabilities(steps, biased, bias))
    mode = op.integer("qk_matmul_output_mode", 0)
    if op.has_output(3):
        if not 0 <= mode < len(logits):
            raise Unsupported(f"qk_matmul_output_mode is {mode}")
        steps.give(logits[mode], 3)
    weights = steps.reshape(logits[3], (batch, shared, heads // shared * length, keys))
    y = steps.reshape(steps.matmul(weights, v), (batch, heads, length, width))
    if len(op.shape(0)) == 3:
        y = steps.reshape(steps.transpose(y, (0, 2, 1, 3)), (batch, length, heads * width))
    steps.give(y)


def _heads(op: Operation, steps: Arithmetic, index: int) -> Tensor:
    """Query, key or value as [batch, heads, length, depth]."""
    x = steps.floats(index)
    if len(x.shape) == 4:
        return x
    heads = op.integer("kv_num_heads" if index else "q_num_heads", 0)
    if len(x.shape) != 3 or heads < 1 or x.shape[2] % heads:
        raise Unsupported(f"{heads} heads in {list(x.shape)}")
    split = steps.reshape(x, (*x.shape[:2], heads, x.shape[2] // heads))
    return steps.transpose(split, (0, 2, 1, 3))


def _bias(op: Operation, steps: Arithmetic, length: int, keys: int, past: int) -> Tensor | None:
    """What is added to the logits: the mask, and minus infinity where keys are out of sight."""
    mask = None
    if op.has_input(3):
        mask = steps.input(3)
        missing = keys - mask.shape[-1]
        if missing > 0:
            none = [0] * len(mask.shape)
            fill = 0.0 if mask.dtype == "bool" else _MASKED
            mask = steps.pad(mask, none, [*none[:-1], missing], fill)
    visible = _visible(op, steps, length, keys, past)
    if mask is not None and mask.dtype == "bool":
        visible = mask if visible is None else steps.compare("logical_and", mask, visible)
        mask = None
    if visible is None:
        return mask
    rest = steps.constant(0.0, "seen") if mask is None else mask
    return steps.where(visible, rest, steps.constant(_MASKED, "hidden"))


def _visible(op: Operation, steps: Arithmetic, length: int, keys: int, past: int) -> Tensor | None:
    """Which keys a query sees by its place: [length, keys], or [batch, 1, length, keys].

    Query i stands at p = i + offset, where the offset is the length of the past, or tells how many
    keys of a cache are in use. It sees key j where p - left <= j <= p + right.
    """
    left, right = op.integer("left_window_size", -1), op.integer("right_window_size", -1)
    causal = bool(op.integer("is_causal", 0))
    if causal:
        right = 0
    ahead = np.arange(keys)[None, :] - np.arange(length)[:, None]  # j - i
    if not op.has_input(6):
        seen = np.ones((length, keys), bool)
        if right >= 0:
            seen &= ahead <= past + right
        if left >= 0:
            seen &= ahead >= past - left
        return None if seen.all() else steps.constant(seen, "visible", "bool")
    # offset = used - length, so that comparing with numbers known now says it all.
    used = steps.input(6)
    used = steps.reshape(used, (used.shape[0], 1, 1, 1))

    def compared(ir_op: str, numbers: npt.NDArray[np.int64]) -> Tensor:
        return steps.compare(ir_op, steps.constant(numbers, "places", used.dtype), used)

    conditions = [compared("less", np.arange(keys)[None, :])]
    if right >= 0:
        conditions.append(compared("less_or_equal", ahead + length - right))
    if left >= 0:
        conditions.append(compared("greater_or_equal", ahead + length + left))
    visible = conditions[0]
    for condition in conditions[1:]:
        visible = steps.compare("logical_and", visible, condition)
    return visible


def _probabilities(steps: Arithmetic, logits: Tensor, bias: Tensor | None) -> Tensor:
    """Softmax over keys; zeros for a query that sees none."""
    if bias is None or (bias.data is not None and np.isfinite(bias.data).any(-1).all()):
        return steps.softmax(logits, -1)
    largest = steps.reduce("reduce_max", bias, (len(bias.shape) - 1,))
    blind = steps.test("is_inf", largest, positive=False, negative=True)
    zero = steps.constant(0.0, "zero")
    return steps.where(blind, zero, steps.softmax(steps.where(blind, zero, logits), -1))


def rotary_embedding(op: Operation) -> None:
    """Pairs of elements turned by angles that their position tells."""
    steps = Arithmetic(op)
    x = steps.floats(0)
    shape = x.shape
    if len(shape) == 4:
        x = steps.transpose(x, (0, 2, 1, 3))
    else:
        heads = op.integer("num_heads", 0)
        if len(shape) != 3 or heads < 1 or shape[2] % heads:
            raise Unsupported(f"{heads} heads in {list(shape)}")
        x = steps.reshape(x, (*shape[:2], heads, shape[2] // heads))
    batch, length, _, depth = x.shape
    turned = op.integer("rotary_embedding_dim", 0) or depth
    if turned % 2 or turned > depth:
        raise Unsupported(f"rotary_embedding_dim is {turned} of {depth}")
    angles = []
    for index in (1, 2):
        cache = steps.floats(index)
        if op.has_input(3):
            cache = steps.gather(cache, steps.input(3), 0)
        if cache.shape != (batch, length, turned // 2):
            raise Unsupported(f"angles of shape {list(cache.shape)} for {list(shape)}")
        angles.append(steps.reshape(cache, (batch, length, 1, turned // 2)))
    cosine, sine = angles
    if op.integer("interleaved", 0):
        first, second = (steps.cut(x, 3, start, turned, 2) for start in (0, 1))
    else:
        first = steps.cut(x, 3, 0, turned // 2)
        second = steps.cut(x, 3, turned // 2, turned)
    real = steps.binary(
        "sub", steps.binary("mul", cosine, first), steps.binary("mul", sine, second)
    )
    imaginary = steps.binary(
        "add", steps.binary("mul", sine, first), steps.binary("mul", cosine, second)
    )
    if op.integer("interleaved", 0):
        pairs = [steps.reshape(t, (*t.shape, 1)) for t in (real, imaginary)]
        y = steps.reshape(steps.concat(pairs, 4), (*x.shape[:3], turned))
    else:
        y = steps.concat([real, imaginary], 3)
    if turned < depth:
        y = steps.concat([y, steps.cut(x, 3, turned, depth)], 3)
    if len(shape) == 4:
        y = steps.transpose(y, (0, 2, 1, 3))
    steps.give(steps.reshape(y, shape))


HANDLERS: dict[str, Handler] = {
    "Attention": attention,
    "RotaryEmbedding": rotary_embedding,
}
