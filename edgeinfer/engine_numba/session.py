"""Sessions of the engine: the program's steps, one after the other, over arrays of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgeinfer.engine_numba.node import Array, Run
from edgeinfer.engine_numba.storage import Storage
from edgeinfer.errors import InputError
from edgeinfer.feed import Feed
from edgeinfer.session import Session, _sessions
from edgeinfer.turn import Turn

if TYPE_CHECKING:
    from edgeinfer.convert.model_file import FileProgram
    from edgeinfer.engine_numba.model import NumbaHandle


class NumbaSession(Session):
    """A session as `edgeinfer.Session`, its kernels compiled by numba.

    Runs of one session follow each other, in whatever threads they are asked for.
    """

    def __init__(self, handle: NumbaHandle) -> None:
        self._handle = handle
        self.inputs = handle.inputs
        self.outputs = handle.outputs
        self._turn = Turn()
        self._feed = None
        self.runs = 0  # that `_call` made
        self._end_threads = None
        # No array has this dtype: `run` and `run_into` check each array, then come to `_call`.
        self._x_dtype = self._out_dtype = None
        self._x_shape = self._out_shape = ()
        self._program = program = handle.file_program
        storage = Storage(program)
        self._memory = np.empty(0, np.uint8)
        self._inputs = [storage.array(tensor) for tensor in program.inputs]
        self._outputs = [storage.array(tensor) for tensor in program.outputs]
        bound = []
        for node, (run, inputs) in zip(program.nodes, handle.operations, strict=True):
            operands = [
                None if t is None else storage.array(t) if t.data is None else handle.constant(t)
                for t in inputs
            ]
            bound.append((run, operands, storage.array(node.outputs[0])))
        self._steps: list[tuple[Run, list[Array | None], Array, int, int]] = [
            (*bound[step.node], step.row_begin, step.row_end) for step in program.steps
        ]
        self._nbytes = storage.nbytes
        _sessions.add(self)

    @property
    def tier(self) -> str:
        """The engine's name: it has one version of each kernel."""
        self._alive()
        return "numba"

    @property
    def threads(self) -> int:
        """Threads that a run uses."""
        self._alive()
        return 1

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays of activations. It is more than the plan's: rings are held whole."""
        return self._nbytes

    def close(self) -> None:
        """Give the memory back. Using the session afterwards is an error; closing twice is not."""
        turn = self._turn
        taken: list[None] = []
        try:
            turn.take(taken)
            self._handle = None
            self._steps, self._inputs, self._outputs, self._nbytes = [], [], [], 0
        finally:
            turn.home.extend(taken)
            if turn.waiting:
                turn.ring()

    def _call(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        self._require_apart(inputs, outputs)
        turn = self._turn
        taken: list[None] = []
        try:
            turn.take(taken)
            self._alive()
            self.runs += 1
            for place, given in zip(self._inputs, inputs, strict=True):
                place[...] = given
            self._walk()
            for place, wanted in zip(self._outputs, outputs, strict=True):
                wanted[...] = place
        finally:
            turn.home.extend(taken)
            if turn.waiting:
                turn.ring()

    def _walk(self) -> None:
        with np.errstate(all="ignore"):
            for run, operands, output, begin, end in self._steps:
                run(operands, output, begin, end)

    def _new_feed(self) -> Feed:
        return Feed(self.inputs, NumbaRows(self, self._program))

    def _require_apart(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        for i, (info, out) in enumerate(zip(self.outputs, outputs, strict=True)):
            for other in (*inputs, *outputs[:i]):
                if np.may_share_memory(out, other):
                    raise InputError(f"output {info.name!r} overlaps another array of this run")


class NumbaRows:
    """Runs by rows: inputs are whole here, and steps run when the last row has come."""

    def __init__(self, session: NumbaSession, program: FileProgram) -> None:
        self._session = session
        self._tensors = program.inputs
        self._runs = -1
        self._rows = [place.reshape(-1) for place in session._inputs]
        self._left: list[int] = []
        self._read = {t.buffer for node in program.nodes for t in node.inputs if t is not None}

    def begin(self) -> None:
        """The next rows are the first of their inputs."""
        self._runs = self._session.runs
        self._left = [tensor.rows if tensor.buffer in self._read else 0 for tensor in self._tensors]

    def is_under_way(self) -> bool:
        """Whether a run by rows was begun and not abandoned by one of another kind."""
        return self._runs == self._session.runs

    def take(self, index: int, rows: Array) -> int:
        """Take rows of an input, and run when they are the last."""
        total, left = self._tensors[index].rows, self._left[index]
        if left:  # else no operation reads it
            first = self._rows[index].size // total * (total - left)
            self._rows[index][first : first + rows.size] = rows.reshape(-1)
            self._left[index] = left - len(rows)
        if self.is_complete():
            self._session._walk()
        return len(rows)

    def left(self, index: int) -> int:
        """Rows of an input that were not taken yet."""
        return self._left[index]

    def is_complete(self) -> bool:
        """Whether the outputs are."""
        return not any(self._left)

    def outputs(self) -> list[Array]:
        """Copies of them."""
        return [place.copy() for place in self._session._outputs]
