"""Axes under transposes: y = transpose(x, perm) has axis i of y from axis perm[i] of x."""

from __future__ import annotations

from collections.abc import Sequence

Perm = tuple[int, ...]
Shape = tuple[int, ...]


def inverse(perm: Sequence[int]) -> Perm:
    """The permutation that undoes `perm`."""
    return tuple(perm.index(i) for i in range(len(perm)))


def compose(first: Sequence[int], then: Sequence[int]) -> Perm:
    """One permutation for `first` followed by `then`."""
    return tuple(first[i] for i in then)


def permuted(shape: Sequence[int], perm: Sequence[int]) -> Shape:
    """The shape after a transpose."""
    return tuple(shape[i] for i in perm)


def is_identity(perm: Sequence[int]) -> bool:
    """Whether the permutation moves no axis."""
    return list(perm) == list(range(len(perm)))


def moves_nothing(shape: Sequence[int], perm: Sequence[int]) -> bool:
    """Whether elements stay in their order: axes longer than 1 keep theirs."""
    long_axes = [axis for axis in perm if shape[axis] != 1]
    return long_axes == sorted(long_axes)


def groups_of(shape: Sequence[int], target: Sequence[int]) -> list[tuple[range, range]] | None:
    """The shortest runs of axes of `shape` and of `target` that hold equally many elements.

    A reshape keeps each run to itself. Axes of length 1 at the end of a run belong to it.
    """
    groups = []
    i = j = 0
    while i < len(shape) or j < len(target):
        first_i, first_j = i, j
        left = right = 1
        if i < len(shape):
            left, i = shape[i], i + 1
        if j < len(target):
            right, j = target[j], j + 1
        while left != right:
            if left < right:
                if i == len(shape):
                    return None
                left, i = left * shape[i], i + 1
            else:
                if j == len(target):
                    return None
                right, j = right * target[j], j + 1
        groups.append((range(first_i, i), range(first_j, j)))
    return groups


def split_at_reshape(
    shape: Sequence[int], perm: Sequence[int], target: Sequence[int]
) -> tuple[Perm, Shape, Perm] | None:
    """(first, inner, moved): reshape(transpose(x, perm), target) =
    transpose(reshape(transpose(x, first), inner), moved).

    `first` puts side by side what the reshape joins, and leaves the rest in the order of x. None
    where the reshape has no groups of axes at all.
    """
    groups = groups_of(permuted(shape, perm), target)
    if groups is None:
        return None
    placed: list[tuple[int, list[int], range]] = []  # place in x, axes of x, axes of target
    place = -1
    for source, result in groups:
        axes = [perm[i] for i in source]
        long_axes = [axis for axis in axes if shape[axis] != 1]
        place = min(long_axes, default=place)  # lengths of 1 only: stay behind the last group
        placed.append((place, axes, result))
    placed.sort(key=lambda item: item[0])  # stable
    first = tuple(axis for _, axes, _ in placed for axis in axes)
    order = [axis for _, _, result in placed for axis in result]
    inner = tuple(target[axis] for axis in order)
    return first, inner, tuple(order.index(axis) for axis in range(len(target)))


def reshape_then_transpose(
    shape: Sequence[int], perm: Sequence[int], target: Sequence[int]
) -> tuple[Shape, Perm] | None:
    """(inner, moved): reshape(transpose(x, perm), target) = transpose(reshape(x, inner), moved).

    None where the reshape joins axes that the transpose has torn apart.
    """
    found = split_at_reshape(shape, perm, target)
    if found is None or not moves_nothing(shape, found[0]):
        return None
    return found[1:]


def transpose_then_reshape(
    shape: Sequence[int], target: Sequence[int], perm: Sequence[int]
) -> tuple[Perm, Shape] | None:
    """(moved, result): transpose(reshape(x, target), perm) = reshape(transpose(x, moved), result).

    None where the transpose tears apart axes that the reshape has split from one.
    """
    back = reshape_then_transpose(permuted(target, perm), inverse(perm), shape)
    if back is None:
        return None
    _, moved = back
    return inverse(moved), permuted(target, perm)
