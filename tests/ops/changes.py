"""Changes that make a good operation a bad one, and the check that opening a file finds them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

import edgeinfer
from edgeinfer.convert.program import Operation, Value
from tests.kernels.run_operation import constant, run_whole

Change = Callable[[Operation], None]
Make = Callable[[], Operation]


def param(name: str, value: float) -> Change:
    def change(operation: Operation) -> None:
        operation.params[name] = value

    return change


def activation(index: int, shape: tuple[int, ...], dtype: str = "int8") -> Change:
    """Another shape or dtype of an input; index -1 is the output."""

    def change(operation: Operation) -> None:
        value = Value("other", shape, dtype)
        if index < 0:
            operation.outputs[0] = value
        else:
            operation.inputs[index] = value

    return change


def data(index: int, edit: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Other contents of a constant."""

    def change(operation: Operation) -> None:
        value = operation.inputs[index]
        assert value is not None and value.data is not None
        edited = constant("edited", edit(value.data.copy()))
        edited.scheme = value.scheme
        operation.inputs[index] = edited

    return change


def poke(index: int, position: int, value: float) -> Change:
    def edit(contents: np.ndarray) -> np.ndarray:
        contents.reshape(-1)[position] = value
        return contents

    return data(index, edit)


def without(index: int) -> Change:
    def change(operation: Operation) -> None:
        operation.inputs[index] = None

    return change


def both(first: Change, second: Change) -> Change:
    def change(operation: Operation) -> None:
        first(operation)
        second(operation)

    return change


def inputs_of(operation: Operation) -> list[np.ndarray]:
    """Zeros for every activation."""
    return [
        np.zeros(value.shape, value.dtype)
        for value in operation.inputs
        if value is not None and value.data is None
    ]


def check_refusal(operation: Operation, change: Change, message: str) -> None:
    """The changed operation is refused with this message (a regular expression)."""
    change(operation)
    with pytest.raises(edgeinfer.EdgeInferError, match=message):
        run_whole(operation, inputs_of(operation))


def open_refuses(refusals: Sequence[tuple[Make, Change, str]]) -> Callable[..., None]:
    """A test, for each of them, that what `make` makes is refused once it is changed, and how."""
    ids = [f"{make.__name__}-{message[:40]}" for make, _, message in refusals]

    @pytest.mark.parametrize(("make", "change", "message"), refusals, ids=ids)
    def test_open_refuses(make: Make, change: Change, message: str) -> None:
        check_refusal(make(), change, message)

    return test_open_refuses


def open_accepts(good: Sequence[Make]) -> Callable[..., None]:
    """A test, for each of them, that it runs: what is refused is so for the change alone."""

    @pytest.mark.parametrize("make", good)
    def test_open_accepts(make: Make) -> None:
        operation = make()
        assert run_whole(operation, inputs_of(operation)).shape == operation.output.shape

    return test_open_accepts
