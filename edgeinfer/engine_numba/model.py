"""Models of the engine: the file as the Python reader finds it, and its operations prepared."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeinfer.budget import SESSION_THREAD_BYTES
from edgeinfer.convert.model_file import FileTensor
from edgeinfer.convert.read import read_model
from edgeinfer.engine_numba.node import Array
from edgeinfer.engine_numba.registry import prepare
from edgeinfer.engine_numba.session import NumbaSession
from edgeinfer.errors import unreadable_model
from edgeinfer.model import Model, ModelHandle, _planned_buffers, _require_unique
from edgeinfer.plan_info import PeakStep, PlanInfo
from edgeinfer.session import Session, SessionOptions, TensorInfo


class NumbaHandle(ModelHandle):
    """An .edge file that was read and checked, its weights in the form that kernels take."""

    def __init__(self, source: str | bytes, name: str) -> None:
        self.name = name
        self.program = 0
        data = _read(source) if isinstance(source, str) else source
        self._file = read_model(data)
        self.file_program = self._file.programs[self.program]
        self.operations = [prepare(node) for node in self.file_program.nodes]
        self._constants: dict[FileTensor, Array] = {}
        self.inputs = tuple(_info(tensor) for tensor in self.file_program.inputs)
        self.outputs = tuple(_info(tensor) for tensor in self.file_program.outputs)
        _require_unique(self.inputs, f"{name}: inputs")
        _require_unique(self.outputs, f"{name}: outputs")

    def constant(self, tensor: FileTensor) -> Array:
        """The contents of a constant that an operation reads as it runs: one copy for all sessions.

        A copy, since numba takes read-only arrays for another type and would compile kernels twice.
        """
        if tensor not in self._constants:
            self._constants[tensor] = np.array(tensor.data, np.dtype(tensor.dtype))
        return self._constants[tensor]

    def metadata(self) -> dict[str, Any]:
        """The metadata section."""
        return self._file.metadata

    def plan(self) -> PlanInfo:
        """What the file promises of the C core."""
        program = self.file_program
        peak = program.nodes[program.steps[program.peak_step].node]
        return PlanInfo(
            arena_bytes=program.arena_bytes,
            state_bytes=program.state_bytes,
            session_bytes=program.session_bytes,
            thread_bytes=SESSION_THREAD_BYTES,
            weights_bytes=program.weights_bytes,
            peak_step=PeakStep(program.peak_step, peak.name, peak.operator),
            buffers=tuple(_planned_buffers(program)),
        )


class NumbaModel(Model):
    """A model as `edgeinfer.Model`, whose kernels numba compiles. Made by `edgeinfer.load`."""

    def __init__(self, handle: NumbaHandle) -> None:
        super().__init__(handle, SessionOptions())

    def session(self) -> Session:
        """A new independent session over the same weights, for use in another thread."""
        handle = self._open()
        assert isinstance(handle, NumbaHandle)
        return NumbaSession(handle)


def _info(tensor: FileTensor) -> TensorInfo:
    return TensorInfo(
        name=tensor.name,
        shape=tensor.shape,
        dtype=np.dtype(tensor.dtype),
        scale=tensor.scale,
        zero_point=tensor.zero_point,
    )


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise unreadable_model(path, error) from error
