"""A session of a file that holds one model at several lengths: a run takes the shortest that fits.

The programs of such a file have the same inputs, the first at their longest. Memory is that of
the largest session; where the length changes, the session of another program is made in it, which
takes less than a millisecond. What is shorter than its program is filled up with zeros: of a mask
they say that nothing is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from edgeinfer.errors import EdgeInferError, InputError, UnsupportedError
from edgeinfer.session import (
    Session,
    SessionOptions,
    TensorInfo,
    aligned_memory,
    as_array,
    free_turn_after_fork,
    needed_bytes,
    ordered,
)
from edgeinfer.turn import Turn

if TYPE_CHECKING:
    import numpy.typing as npt

    from edgeinfer.model import ModelHandle
    from edgeinfer.session import Array

Sizes = tuple[int, ...]
"""Of one axis in every program."""


def are_lengths(handles: Sequence[ModelHandle]) -> bool:
    """Whether programs are one model at several sizes of their inputs, the largest first."""
    largest = handles[0]
    if len(handles) < 2:
        return False
    for before, handle in pairwise(handles):
        if not _are_alike(largest.inputs, handle.inputs):
            return False
        if not _are_alike(largest.outputs, handle.outputs):
            return False
        pairs = [
            (more, less)
            for a, b in zip(before.inputs, handle.inputs, strict=True)
            for more, less in zip(a.shape, b.shape, strict=True)
        ]
        if any(more < less for more, less in pairs) or all(m == n for m, n in pairs):
            return False
    return True


def _are_alike(first: Sequence[TensorInfo], second: Sequence[TensorInfo]) -> bool:
    """Whether tensors differ in sizes alone."""
    return [(t.name, t.dtype, len(t.shape), t.scale, t.zero_point) for t in first] == [
        (t.name, t.dtype, len(t.shape), t.scale, t.zero_point) for t in second
    ]


class SequenceSession(Session):
    """One run-time state of a model of several lengths, used as a `Session` is.

    `inputs` and `outputs` are those of the longest. A run takes inputs of any length up to it; axes
    of the outputs that grow with the input are as long as what was given.
    """

    def __init__(self, handles: Sequence[ModelHandle], options: SessionOptions) -> None:
        self._handles = tuple(handles)
        self._options = options
        self.inputs = handles[0].inputs
        self.outputs = handles[0].outputs
        self._in_sizes = _sizes([handle.inputs for handle in handles])
        self._out_sizes = _sizes([handle.outputs for handle in handles])
        self._memory = aligned_memory(max(needed_bytes(h, options) for h in handles))
        self._turn = Turn()
        self._current = 0
        self._running: Session | None = Session(handles[0], options, self._memory)
        free_turn_after_fork(self)

    @property
    def _session(self) -> Any:  # the ei_session that ran last, for `bench --profile`
        return self._live()._session

    @property
    def tier(self) -> str:
        """Name of the kernel tier in use."""
        return self._live().tier

    @property
    def threads(self) -> int:
        """Threads that the latest run used; before the first run, those of the longest."""
        return self._live().threads

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the session holds: what the longest takes."""
        return int(self._memory.nbytes)

    def run(
        self,
        x: npt.ArrayLike | Mapping[str, npt.ArrayLike],
        *,
        quantize: bool = False,
        dequantize: bool = False,
        deadline: float | str | None = None,
        priority: int = 0,
        on_late: str = "refuse",
    ) -> Any:
        """Run once, on inputs of any length up to the longest; see `Session.run`.

        Raises
        ------
        InputError
            As `Session.run`; an input is longer than the longest, or two are not of one length.
        """
        given = ordered(x, self.inputs, "input")
        arrays = [
            as_array(value, f"input {info.name!r}")
            for info, value in zip(self.inputs, given, strict=True)
        ]
        lengths = self._lengths(arrays)
        program = self._shortest(arrays)
        filled = {
            info.name: _filled(array, info)
            for info, array in zip(self._handles[program].inputs, arrays, strict=True)
        }
        result = self._in_turn(
            program,
            lambda session: session.run(
                filled,
                quantize=quantize,
                dequantize=dequantize,
                deadline=deadline,
                priority=priority,
                on_late=on_late,
            ),
        )
        if len(self.outputs) == 1:
            return self._cut(0, result, lengths)
        return {
            info.name: self._cut(i, result[info.name], lengths)
            for i, info in enumerate(self.outputs)
        }

    def run_into(self, out: Array | Mapping[str, Array], x: Array | Mapping[str, Array]) -> None:
        """Run once without copies, on arrays that have exactly the shapes of one of the programs.

        See `Session.run_into`.
        """
        shapes = [np.shape(value) for value in ordered(x, self.inputs, "input")]
        for program, handle in enumerate(self._handles):
            if [info.shape for info in handle.inputs] == shapes:
                self._in_turn(program, lambda session: session.run_into(out, x))
                return
        listed = ", ".join(str(handle.inputs[0].shape) for handle in self._handles)
        raise InputError(
            f"run_into fills nothing up: inputs have shapes {shapes}, and {self.inputs[0].name!r} "
            f"may have {listed}"
        )

    def feed(
        self,
        rows: npt.ArrayLike,
        name: str | None = None,
        *,
        quantize: bool = False,
        dequantize: bool = False,
    ) -> NoReturn:
        """Not possible: which program runs is decided by the whole input."""
        raise UnsupportedError(
            "a model of several lengths takes whole inputs; load it with program= to feed it"
        )

    @property
    def rows_wanted(self) -> dict[str, int]:
        """As `feed`, not possible."""
        return self.feed(())

    def reset(self) -> None:
        """No run by rows is ever under way."""
        self._live()

    def close(self) -> None:
        """End the session's threads and give the memory back; see `Session.close`."""
        taken: list[None] = []
        try:
            self._turn.take(taken)
            if self._running is not None:
                self._running.close()
            self._running = None
            self._memory = self._memory[:0]
        finally:
            self._turn.home.extend(taken)
            if self._turn.waiting:
                self._turn.ring()

    def __repr__(self) -> str:
        if self._running is None:
            return "<edgeinfer.SequenceSession (closed)>"
        listed = ", ".join(str(handle.inputs[0].shape) for handle in self._handles)
        return f"<edgeinfer.SequenceSession {self._handles[0].name!r}: {listed}>"

    def _alive(self) -> None:
        self._live()

    def _live(self) -> Session:
        if self._running is None:
            raise EdgeInferError("this session is closed")
        return self._running

    def _in_turn(self, program: int, function: Any) -> Any:
        """Call with the session of a program, which no other thread changes meanwhile."""
        turn = self._turn
        taken: list[None] = []
        try:
            turn.take(taken)
            session = self._live()
            if program != self._current:
                session.close()
                self._current = -1  # and so it stays where the new one cannot be made
                session = Session(self._handles[program], self._options, self._memory)
                self._running, self._current = session, program
            return function(session)
        finally:
            turn.home.extend(taken)
            if turn.waiting:
                turn.ring()

    def _lengths(self, arrays: Sequence[Array]) -> dict[Sizes, int]:
        """How long what was given is along each axis that programs differ in.

        Axes that are of the same sizes in every program are one length.
        """
        found: dict[Sizes, tuple[int, str]] = {}
        for info, array, axes in zip(self.inputs, arrays, self._in_sizes, strict=True):
            if array.ndim != len(axes):
                raise InputError(
                    f"input {info.name!r} takes shape {info.shape} or less, got {array.shape}"
                )
            for sizes, size in zip(axes, array.shape, strict=True):
                if len(set(sizes)) == 1:
                    continue
                known, where = found.setdefault(sizes, (size, info.name))
                if known != size:
                    raise InputError(
                        f"input {info.name!r} has shape {array.shape}, but {where!r} is {known} "
                        "long: they must be of one length"
                    )
        return {sizes: size for sizes, (size, _) in found.items()}

    def _shortest(self, arrays: Sequence[Array]) -> int:
        """The last program that has room for all arrays."""
        for program in reversed(range(len(self._handles))):
            infos = self._handles[program].inputs
            if all(_has_room(info, a) for info, a in zip(infos, arrays, strict=True)):
                return program
        info, array = next(
            (info, array)
            for info, array in zip(self.inputs, arrays, strict=True)
            if not _has_room(info, array)
        )
        raise InputError(
            f"input {info.name!r} takes at most shape {info.shape}, got {array.shape}; cut it, or "
            "convert the model with a longer --sequence-lengths"
        )

    def _cut(self, output: int, result: Array, lengths: Mapping[Sizes, int]) -> Array:
        """Without what belongs to the zeros."""
        axes = self._out_sizes[output]
        cut = tuple(slice(lengths.get(sizes)) for sizes in axes)
        return result if all(s.stop is None for s in cut) else result[cut].copy()


def _sizes(tensors: Sequence[Sequence[TensorInfo]]) -> list[list[Sizes]]:
    """For each tensor and axis its sizes in all programs."""
    return [
        list(zip(*(info.shape for info in same), strict=True))
        for same in zip(*tensors, strict=True)
    ]


def _has_room(info: TensorInfo, array: Array) -> bool:
    """Whether an array of the same rank, with something in it, fits."""
    return all(0 < n <= room for n, room in zip(array.shape, info.shape, strict=True))


def _filled(array: Array, info: TensorInfo) -> Array:
    """The array with zeros behind it, up to the program's shape."""
    if array.shape == info.shape:
        return array
    zero = info.zero_point if array.dtype == info.dtype else 0
    filled = np.full(info.shape, zero, array.dtype)
    filled[tuple(map(slice, array.shape))] = array
    return filled
