"""Which tensors of two models stand for the same thing.

In this order, each tensor of either side at most once, and only if both have as many elements:

1. Inputs and outputs, by name, and what is left of them by position.
2. Names that are equal, once additions of quantising tools are taken off ("_QuantizeLinear_Output",
   " (int8)" and so on). Where several tensors of a model have a name, the last one is what the
   others lead to.
3. The name of the source node that makes them, or that was fused into what makes them.
4. A part of a name that TFLite joined of several ("conv;bias;relu"), where only one tensor of each
   model has it.

What has no partner is counted, and not compared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from edgeinfer.convert.compare.observed_model import ObservedModel, ObservedTensor

Pairs = list[tuple[ObservedTensor, ObservedTensor]]

_ADDED = re.compile(
    r"( \((int8|int16|uint8|float32)\)(_\d+)?"
    r"|_(QuantizeLinear|DequantizeLinear)(_Output|_Input)?"
    r"|_(quantized|dequantized|fp32|int8))+$"
)


def plain_name(name: str) -> str:
    """A tensor's name without what quantising tools add."""
    return _ADDED.sub("", name) or name


def match_inputs(a: ObservedModel, b: ObservedModel) -> Pairs | None:
    """The inputs of two models pair by pair; None if they do not correspond."""
    pairs = _boundary(a.inputs, b.inputs)
    return pairs if len(pairs) == len(a.inputs) == len(b.inputs) else None


def match_tensors(a: ObservedModel, b: ObservedModel) -> Pairs:
    """Pairs of computed tensors, in the order in which `a` computes them."""
    matcher = _Matcher(a.tensors, b.tensors)
    for x, y in _boundary(a.outputs, b.outputs):
        matcher.take(x, y)
    matcher.match(lambda tensor: [plain_name(tensor.base or tensor.name)], last=True)
    matcher.match(lambda tensor: map(plain_name, tensor.nodes), last=True)
    matcher.match(lambda tensor: plain_name(tensor.base or tensor.name).split(";"), last=False)
    return [(x, matcher.found[x]) for x in a.tensors if x in matcher.found]


def _same_size(x: ObservedTensor, y: ObservedTensor) -> bool:
    return _long_axes(x) == _long_axes(y)


def _long_axes(tensor: ObservedTensor) -> tuple[int, ...]:
    return tuple(extent for extent in tensor.shape if extent != 1)


def _boundary(a: Sequence[ObservedTensor], b: Sequence[ObservedTensor]) -> Pairs:
    by_name = {plain_name(tensor.name): tensor for tensor in b}
    found: Pairs = []
    left = []
    for x in a:
        y = by_name.get(plain_name(x.name))
        if y is not None and _same_size(x, y):
            found.append((x, y))
            del by_name[plain_name(x.name)]
        else:
            left.append(x)
    others = [tensor for tensor in b if tensor in by_name.values()]
    if len(left) == len(others):
        found += [(x, y) for x, y in zip(left, others, strict=True) if _same_size(x, y)]
    return found


class _Matcher:
    def __init__(self, a: Sequence[ObservedTensor], b: Sequence[ObservedTensor]) -> None:
        self.a = a
        self.b = b
        self.found: dict[ObservedTensor, ObservedTensor] = {}
        self.used: set[ObservedTensor] = set()

    def take(self, x: ObservedTensor, y: ObservedTensor) -> None:
        if x not in self.found and y not in self.used and _same_size(x, y):
            self.found[x] = y
            self.used.add(y)

    def match(self, keys: Callable[[ObservedTensor], Iterable[str]], *, last: bool) -> None:
        """Pair tensors that share a key: the last ones that have it, or only sole ones."""
        ours = _by_key((t for t in self.a if t not in self.found), keys)
        theirs = _by_key((t for t in self.b if t not in self.used), keys)
        for key, tensors in ours.items():
            others = theirs.get(key, [])
            if not others or not (last or len(tensors) == len(others) == 1):
                continue
            for x in reversed(tensors):
                partner = next((y for y in reversed(others) if _same_size(x, y)), None)
                if partner is not None:
                    self.take(x, partner)
                    break


def _by_key(
    tensors: Iterable[ObservedTensor], keys: Callable[[ObservedTensor], Iterable[str]]
) -> dict[str, list[ObservedTensor]]:
    found: dict[str, list[ObservedTensor]] = {}
    for tensor in tensors:
        for key in dict.fromkeys(keys(tensor)):
            if key:
                found.setdefault(key, []).append(tensor)
    return found
