"""Sessions of the engine: the program's steps, one after the other, over arrays of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgeinfer.engine_numba.node import Array, Run
from edgeinfer.engine_numba.storage import Storage
from edgeinfer.errors import InputError
from edgeinfer.session import Session, _sessions, _Turn

if TYPE_CHECKING:
    from edgeinfer.engine_numba.model import NumbaHandle


class NumbaSession(Session):
    """A session as `edgeinfer.Session`, its kernels compiled by numba.

    Runs of one session follow each other, in whatever threads they are asked for.
    """

    def __init__(self, handle: NumbaHandle) -> None:
        self._handle = handle
        self.inputs = handle.inputs
        self.outputs = handle.outputs
        self._turn = _Turn()
        self._end_threads = None
        # No array has this dtype: `run` and `run_into` check each array, then come to `_call`.
        self._x_dtype = self._out_dtype = None
        self._x_shape = self._out_shape = ()
        program = handle.file_program
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
            for place, given in zip(self._inputs, inputs, strict=True):
                place[...] = given
            with np.errstate(all="ignore"):
                for run, operands, output, begin, end in self._steps:
                    run(operands, output, begin, end)
            for place, wanted in zip(self._outputs, outputs, strict=True):
                wanted[...] = place
        finally:
            turn.home.extend(taken)
            if turn.waiting:
                turn.ring()

    def _require_apart(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        for i, (info, out) in enumerate(zip(self.outputs, outputs, strict=True)):
            for other in (*inputs, *outputs[:i]):
                if np.may_share_memory(out, other):
                    raise InputError(f"output {info.name!r} overlaps another array of this run")
