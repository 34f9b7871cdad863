"""Loading a model, and what can be known of it before it runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer._ffi import check, ffi, lib, text
from edgeinfer.budget import parse_bytes
from edgeinfer.errors import EdgeInferError, MissingExtraError
from edgeinfer.session import Array, Session, SessionOptions, TensorInfo

_ALIGNMENT = 64
_DTYPES = {1: "int8", 2: "uint8", 3: "int16", 4: "int32", 5: "int64", 6: "float32", 7: "bool"}
_SOURCE_SUFFIXES = {".tflite", ".onnx"}
_TFLITE_IDENTIFIER = b"TFL3"  # bytes 4 to 7 of a .tflite file


@dataclass(frozen=True)
class PeakStep:
    """The step at which the arena is fullest."""

    index: int
    node: str
    operator: str

    def __str__(self) -> str:
        return f"step {self.index}, {self.node!r} ({self.operator})"


@dataclass(frozen=True)
class PlannedBuffer:
    """A range of the arena, in bytes, and the steps (inclusive) during which it is in use."""

    offset: int
    nbytes: int
    first_step: int
    last_step: int
    tensors: tuple[str, ...]


@dataclass(frozen=True)
class PlanInfo:
    """What a session needs, in bytes, as planned at conversion: the same on every CPU.

    `session_bytes` is everything: arena (activations, graph inputs and outputs included), state
    that outlives a run, and bookkeeping. `weights_bytes` are read in place from the file.
    """

    arena_bytes: int
    state_bytes: int
    session_bytes: int
    weights_bytes: int
    peak_step: PeakStep
    buffers: tuple[PlannedBuffer, ...] = field(repr=False)


class ModelHandle:
    """An open ei_model and the memory that it borrows; closed when nobody holds it any longer."""

    def __init__(self, source: str | Array, name: str) -> None:
        self.name = name
        self.program = 0
        made = ffi.new("ei_model **")
        if isinstance(source, str):
            check(lib().ei_model_open(os.fsencode(source), made))
            self.pointer = ffi.gc(made[0], lib().ei_model_close)
        else:
            self._data = source  # borrowed by the model
            size = ffi.new("size_t *")
            data = ffi.from_buffer("char[]", source)
            check(lib().ei_model_size(data, source.nbytes, size))
            self._memory = ffi.new("uint64_t[]", (size[0] + 7) // 8)
            check(lib().ei_model_init(data, source.nbytes, self._memory, size[0], made))
            self.pointer = made[0]
        count = lib().ei_model_input_count(self.pointer, self.program)
        self.inputs = tuple(self._tensor(lib().ei_model_input, i) for i in range(count))
        count = lib().ei_model_output_count(self.pointer, self.program)
        self.outputs = tuple(self._tensor(lib().ei_model_output, i) for i in range(count))

    def _tensor(self, getter: Any, index: int) -> TensorInfo:
        info = ffi.new("ei_tensor_info *")
        check(getter(self.pointer, self.program, index, info))
        return TensorInfo(
            name=text(info.name),
            shape=tuple(info.shape[i] for i in range(info.rank)),
            dtype=np.dtype(_DTYPES[info.dtype]),
            scale=info.scale,
            zero_point=info.zero_point,
        )

    def metadata(self) -> bytes:
        """The metadata section: JSON."""
        pointer, size = ffi.new("const char **"), ffi.new("size_t *")
        check(lib().ei_model_metadata(self.pointer, pointer, size))
        return bytes(ffi.buffer(pointer[0], size[0]))


class Model:
    """A model that is ready to run: checked weights, and a session of its own.

    Made by `edgeinfer.load`. Use it as a context manager, or let it go out of scope.

    Attributes
    ----------
    inputs, outputs : tuple of TensorInfo
        Name, shape, dtype, scale and zero point, in the source model's order.
    """

    def __init__(
        self,
        handle: ModelHandle,
        data: str | Array,
        options: SessionOptions,
    ) -> None:
        self._handle: ModelHandle | None = handle
        self._data = data
        self._options = options
        self.name = handle.name
        self.inputs = handle.inputs
        self.outputs = handle.outputs
        self._session = self.session()

    @cached_property
    def plan(self) -> PlanInfo:
        """The memory plan: exact bytes, the step that peaks, and a table of buffers."""
        from edgeinfer.convert.read import read_model  # an independent reader; light

        handle = self._open()
        info = ffi.new("ei_plan_info *")
        check(lib().ei_model_plan(handle.pointer, handle.program, info))
        program = read_model(self._bytes()).programs[handle.program]
        return PlanInfo(
            arena_bytes=info.arena_bytes,
            state_bytes=info.state_bytes,
            session_bytes=info.session_bytes,
            weights_bytes=info.weights_bytes,
            peak_step=PeakStep(info.peak_step, text(info.peak_node), text(info.peak_operator)),
            buffers=tuple(_planned_buffers(program)),
        )

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """What the converter wrote about the model: its source, labels, quantisation report."""
        import json

        result: dict[str, Any] = json.loads(self._open().metadata())
        return result

    @property
    def tier(self) -> str:
        """Name of the kernel tier in use."""
        return self._session.tier

    def run(
        self,
        x: npt.ArrayLike | Mapping[str, npt.ArrayLike],
        *,
        quantize: bool = False,
        dequantize: bool = False,
    ) -> Any:
        """Run once in the model's own session; see `Session.run`."""
        return self._session.run(x, quantize=quantize, dequantize=dequantize)

    def run_into(self, out: Array | Mapping[str, Array], x: Array | Mapping[str, Array]) -> None:
        """Run once without copies in the model's own session; see `Session.run_into`."""
        self._session.run_into(out, x)

    def session(self) -> Session:
        """A new independent session over the same weights, for use in another thread."""
        return Session(self._open(), self._options)

    def close(self) -> None:
        """Let go of the file and the session's memory. Other sessions keep the file open."""
        self._handle = None
        self._session.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._handle is None:
            return f"<edgeinfer.Model {self.name!r} (closed)>"
        listed = "".join(f"\n  input  {info}" for info in self.inputs)
        listed += "".join(f"\n  output {info}" for info in self.outputs)
        return f"<edgeinfer.Model {self.name!r}: session {self._session.nbytes:,} bytes{listed}>"

    def _open(self) -> ModelHandle:
        if self._handle is None:
            raise EdgeInferError(f"model {self.name!r} is closed")
        return self._handle

    def _bytes(self) -> bytes:
        return (
            Path(self._data).read_bytes() if isinstance(self._data, str) else self._data.tobytes()
        )


def load(
    source: str | os.PathLike[str] | bytes | bytearray | memoryview,
    *,
    ram_budget: int | str | None = None,
    threads: int = 1,
    tier: str | None = None,
) -> Model:
    """Load a model.

    Parameters
    ----------
    source : path or bytes
        An .edge file (mapped, not copied), or the bytes of one (copied). A .tflite or .onnx model
        is converted in memory first, which needs the `convert` extra.
    ram_budget : bytes as int, or text such as "96KiB"
        Refuse the model when a session needs more.
    threads : int
        Threads per session. This version runs a session on the calling thread: 1.
    tier : str
        Kernel tier, e.g. "scalar". Default: EDGEINFER_TIER, else the fastest that the CPU has.

    Raises
    ------
    FileNotFoundError, ModelReadError, ModelFileError, ModelVersionError
        The file is not there, cannot be read, is damaged, or is of an unknown version.
    BudgetError
        The session needs more than ram_budget; names the step that peaks and the shortfall.
    TierError
        This CPU or build lacks the tier.
    ConversionError, MissingExtraError
        The source model cannot be converted, or the extra for it is not installed.
    """
    if threads < 1:
        raise ValueError(f"threads is {threads}; it must be 1 or more")
    budget = None if ram_budget is None else parse_bytes(ram_budget)
    data: str | Array
    if isinstance(source, (bytes, bytearray, memoryview)):
        name = "<bytes>"
        raw = bytes(source)
        data = _aligned(_convert(raw, name) if _looks_like_source(raw) else raw)
    else:
        path = Path(source)
        name = path.name
        if not path.exists():
            raise FileNotFoundError(f"no such model file: {path}")
        if path.suffix.lower() in _SOURCE_SUFFIXES:
            data = _aligned(_convert(path, name))
        else:
            data = str(path)
    handle = ModelHandle(data, name)
    return Model(handle, data, SessionOptions(budget, threads, tier))


def _looks_like_source(raw: bytes) -> bool:
    # An ONNX file starts with the protobuf field ir_version, a small varint.
    return raw[4:8] == _TFLITE_IDENTIFIER or raw[:1] == b"\x08"


def _convert(source: bytes | Path, name: str) -> bytes:
    try:
        from edgeinfer.convert import convert
    except MissingExtraError as error:
        raise error from None
    return convert(source).data


def _aligned(raw: bytes) -> Array:
    memory = np.empty(len(raw) + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    aligned = memory[start : start + len(raw)]
    aligned[:] = np.frombuffer(raw, np.uint8)
    return aligned


def _planned_buffers(program: Any) -> list[PlannedBuffer]:
    names: list[list[str]] = [[] for _ in program.buffers]
    for tensor in program.tensors:
        if tensor.buffer is not None:
            names[tensor.buffer].append(tensor.name)
    return [
        PlannedBuffer(b.offset, b.bytes, b.first_step, b.last_step, tuple(names[i]))
        for i, b in enumerate(program.buffers)
    ]
