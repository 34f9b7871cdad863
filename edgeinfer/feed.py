"""Runs by rows: inputs that come in pieces, as `Session.feed` takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from edgeinfer._ffi import check, ffi, lib
from edgeinfer.errors import InputError
from edgeinfer.session import _as_dtype, as_array

if TYPE_CHECKING:
    import numpy.typing as npt

    from edgeinfer.session import Array, Session, TensorInfo


class Rows(Protocol):
    """What takes the rows of a session's inputs. All of it is called while the session is held."""

    def begin(self) -> None:
        """The next rows are the first of their inputs."""

    def is_under_way(self) -> bool:
        """Whether a run by rows was begun and not abandoned by one of another kind."""

    def take(self, index: int, rows: Array) -> int:
        """Take rows of an input, as many as can be taken now, and run what can be; how many."""

    def left(self, index: int) -> int:
        """Rows of an input that were not taken yet; 0 when the run is complete."""

    def is_complete(self) -> bool:
        """Whether the outputs are."""

    def outputs(self) -> list[Array]:
        """Copies of them."""


class CoreRows:
    """Runs by rows of the C core."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._taken = ffi.new("uint32_t *")

    def begin(self) -> None:
        """The next rows are the first of their inputs."""
        check(lib().ei_session_begin(self._session._session, ffi.NULL))
        self._session._in_pointers[0] = ffi.NULL

    def is_under_way(self) -> bool:
        """Whether a run by rows was begun and not abandoned: `run` leaves addresses here."""
        return bool(self._session._in_pointers[0] == ffi.NULL)

    def take(self, index: int, rows: Array) -> int:
        """Take rows of an input, as many as can be taken now, and run what can be; how many."""
        pointer, buffer = self._session._session, ffi.from_buffer("char[]", rows)
        check(lib().ei_session_feed(pointer, index, buffer, len(rows), self._taken))
        return int(self._taken[0])

    def left(self, index: int) -> int:
        """Rows of an input that were not taken yet; 0 when the run is complete."""
        return int(lib().ei_session_rows_left(self._session._session, index))

    def is_complete(self) -> bool:
        """Whether the outputs are."""
        next_input = lib().ei_session_next_input(self._session._session)
        return bool(next_input == len(self._session.inputs))

    def outputs(self) -> list[Array]:
        """Copies of them."""
        found = []
        for index, info in enumerate(self._session.outputs):
            result = np.empty(info.shape, info.dtype)
            own = lib().ei_session_output(self._session._session, index)
            ffi.memmove(ffi.from_buffer(result), own, result.nbytes)
            found.append(result)
        return found


class Feed:
    """What a session's inputs were given in a run by rows, and what of it has to wait."""

    def __init__(self, inputs: Sequence[TensorInfo], rows: Rows) -> None:
        self._inputs = inputs
        self._rows = rows
        self.begin()
        self._wants = [rows.left(index) > 0 for index in range(len(inputs))]  # rows at all

    def begin(self) -> None:
        """Start over."""
        self._waiting: list[list[Array]] = [[] for _ in self._inputs]
        self._rows.begin()

    def wanted(self) -> dict[str, int]:
        """Rows of each input that are still to be given."""
        if not self._rows.is_under_way():
            self.begin()
        return {info.name: self._left(index) for index, info in enumerate(self._inputs)}

    def give(self, index: int, rows: Array) -> list[Array] | None:
        """Take the next rows of an input; the outputs when they were the last ones."""
        if not self._rows.is_under_way() or self._rows.is_complete():
            self.begin()
        left = self._left(index)
        if self._wants[index] and len(rows) > left:
            raise InputError(
                f"input {self._inputs[index].name!r}: {len(rows)} rows are given, {left} are still "
                "to come"
            )
        self._waiting[index].append(rows)
        try:
            while sum(map(self._take, range(len(self._inputs)))):
                pass  # rows of one input may have made room for those of another
            if self._rows.is_complete():
                return self._rows.outputs()
            if self._waiting[index]:  # the caller's memory is the caller's
                self._waiting[index][-1] = self._waiting[index][-1].copy()
        except BaseException:
            self.begin()
            raise
        return None

    def _left(self, index: int) -> int:
        return self._rows.left(index) - sum(map(len, self._waiting[index]))

    def _take(self, index: int) -> int:
        """Take what waits of an input, as far as it can be; how many rows."""
        waiting, taken_rows = self._waiting[index], 0
        while waiting:
            taken = self._rows.take(index, waiting[0])
            taken_rows += taken
            if taken < len(waiting[0]):
                waiting[0] = waiting[0][taken:]
                break
            del waiting[0]
        return taken_rows


def as_rows(info: TensorInfo, value: npt.ArrayLike, quantize: bool) -> Array:
    """Rows of an input as one array, the first axis of which counts them."""
    array = as_array(value, f"input {info.name!r}")
    inside = 2 if len(info.shape) >= 4 else 1
    shape = info.shape[max(len(info.shape) - inside, 0) :]
    if array.ndim < len(shape) or array.shape[array.ndim - len(shape) :] != shape:
        axes = ", ".join(["rows", *map(str, shape)])
        raise InputError(f"input {info.name!r} is fed by arrays [{axes}], got {list(array.shape)}")
    return np.ascontiguousarray(_as_dtype(info, array, quantize)).reshape(-1, *shape)


def input_index(inputs: Sequence[TensorInfo], name: str | None) -> int:
    """Which of the inputs is called so; None stands for the only one."""
    names = [info.name for info in inputs]
    if name is None and len(names) != 1:
        raise InputError(f"the model has {len(names)} inputs, {names}: say by name which to feed")
    if name is not None and name not in names:
        raise InputError(f"no input is called {name!r}; the model's inputs are {names}")
    return 0 if name is None else names.index(name)


def feed_of(session: Session) -> Feed:
    """The one of a session of the C core."""
    return Feed(session.inputs, CoreRows(session))


def results_of(outputs: Sequence[TensorInfo], results: list[Any], dequantize: bool) -> Any:
    """What `run` returns."""
    if dequantize:
        results = [
            info.dequantize(result) if info.is_quantized else result
            for info, result in zip(outputs, results, strict=True)
        ]
    if len(results) == 1:
        return results[0]
    return {info.name: result for info, result in zip(outputs, results, strict=True)}
