"""Einsum of one or two float tensors, as transposes, a sum, and one matrix product.

The letters of two operands fall into four kinds: in both and in the result (a batch), in both alone
(summed by the product), in one and in the result (rows, or columns), in one alone (summed before).
With the axes in that order, an Einsum is a batched matrix product between reshapes. An ellipsis
stands for axes of its own, which broadcast.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from math import prod

import numpy as np

from edgeinfer.convert.graph import Tensor

from .arithmetic import Arithmetic
from .operation import Handler, Operation
from .values import Unsupported


def einsum(op: Operation) -> None:
    """Sums of products, as the equation tells."""
    steps = Arithmetic(op)
    operands = [steps.floats(i) for i in range(op.input_count)]
    if len(operands) not in (1, 2):
        raise Unsupported(
            f"it has {len(operands)} operands; one and two are available",
            "write it as several of two operands",
        )
    terms, result = _letters(op.text("equation", ""), operands)
    singles = [_diagonal(steps, x, term) for x, term in zip(operands, terms, strict=True)]
    if len(singles) == 1:
        x, term = _summed(steps, *singles[0], keep=result)
    else:
        x, term = _product(steps, singles[0], singles[1], result)
    steps.give(steps.transpose(x, [term.index(letter) for letter in result]))


def _letters(equation: str, operands: Sequence[Tensor]) -> tuple[list[str], str]:
    """Letters of every axis of the operands, and of the result; an ellipsis has letters too."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise Unsupported(f"equation {equation!r} for {len(operands)} operands")
    unused = [letter for letter in string.ascii_letters if letter not in equation]
    counts = [
        len(x.shape) - len(t.replace("...", "")) for x, t in zip(operands, terms, strict=True)
    ]
    has_dots = [("..." in term) for term in terms]
    most = max([c for c, dots in zip(counts, has_dots, strict=True) if dots], default=0)
    if min(counts, default=0) < 0 or most > len(unused):
        raise Unsupported(f"equation {equation!r} for shapes {[list(x.shape) for x in operands]}")
    dots = "".join(unused[:most])
    spelled = [
        term.replace("...", dots[most - count :] if is_open else "")
        for term, count, is_open in zip(terms, counts, has_dots, strict=True)
    ]
    for x, term in zip(operands, spelled, strict=True):
        if len(term) != len(x.shape) or not all(c in string.ascii_letters for c in term):
            raise Unsupported(f"equation {equation!r} for shape {list(x.shape)}")
    if arrow:
        result = right.replace("...", dots)
    else:
        once = [c for c in "".join(spelled) if "".join(spelled).count(c) == 1 and c not in dots]
        result = dots + "".join(sorted(once))
    if len(set(result)) != len(result) or not set(result) <= set("".join(spelled)):
        raise Unsupported(f"equation {equation!r} has no result")
    return spelled, result


def _diagonal(steps: Arithmetic, x: Tensor, term: str) -> tuple[Tensor, str]:
    """x with one axis for a letter that has several: those places where they are equal."""
    if len(set(term)) == len(term):
        return x, term
    letters = "".join(dict.fromkeys(term))
    sizes = dict(zip(term, x.shape, strict=True))
    if any(sizes[letter] != n for letter, n in zip(term, x.shape, strict=True)):
        raise Unsupported(f"axes of one letter of {term!r} in {list(x.shape)} differ in length")
    places = np.arange(prod(x.shape), dtype=np.int64).reshape(x.shape)
    numbers = {letter: i for i, letter in enumerate(letters)}
    diagonal = np.einsum(places, [numbers[c] for c in term], [numbers[c] for c in letters])
    return steps.pick(x, diagonal), letters


def _summed(steps: Arithmetic, x: Tensor, term: str, keep: str) -> tuple[Tensor, str]:
    """x summed over the letters that are not in `keep`."""
    axes = [i for i, letter in enumerate(term) if letter not in keep]
    kept = "".join(letter for letter in term if letter in keep)
    return steps.reduce("sum", x, axes, keep_dims=False), kept


def _product(
    steps: Arithmetic, first: tuple[Tensor, str], second: tuple[Tensor, str], result: str
) -> tuple[Tensor, str]:
    a, a_term = _summed(steps, *first, keep=result + second[1])
    b, b_term = _summed(steps, *second, keep=result + a_term)
    sizes: dict[str, int] = {}
    for x, term in ((a, a_term), (b, b_term)):
        for letter, n in zip(term, x.shape, strict=True):
            if sizes.setdefault(letter, n) not in (n, 1) and n != 1:
                raise Unsupported(f"letter {letter!r} is {sizes[letter]} and {n}")
            sizes[letter] = max(sizes[letter], n)
    batch = "".join(c for c in a_term if c in b_term and c in result)
    inner = "".join(c for c in a_term if c in b_term and c not in result)
    rows = "".join(c for c in a_term if c not in b_term)
    columns = "".join(c for c in b_term if c not in a_term)
    left = _ordered(steps, a, a_term, batch + rows + inner, sizes)
    right = _ordered(steps, b, b_term, batch + columns + inner, sizes)

    def count(letters: str) -> int:
        return prod(sizes[letter] for letter in letters)

    left = steps.reshape(left, (count(batch), count(rows), count(inner)))
    right = steps.reshape(right, (count(batch), count(columns), count(inner)))
    y = steps.matmul(left, right, transpose_b=True)
    term = batch + rows + columns
    return steps.reshape(y, [sizes[letter] for letter in term]), term


def _ordered(steps: Arithmetic, x: Tensor, term: str, order: str, sizes: dict[str, int]) -> Tensor:
    """x with its axes in an order, and those of length 1 repeated where the other has more."""
    turned = steps.transpose(x, [term.index(letter) for letter in order])
    return steps.repeat(turned, [sizes[letter] for letter in order])


HANDLERS: dict[str, Handler] = {"Einsum": einsum}
