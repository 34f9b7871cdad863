"""Loading a model, and what can be known of it before it runs."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeinfer._ffi import check, ffi, lib, text
from edgeinfer.budget import MAX_THREADS, SESSION_THREAD_BYTES, parse_bytes
from edgeinfer.errors import (
    EdgeInferError,
    InputError,
    ModelFileError,
    ModelNotFoundError,
    UnsupportedError,
)
from edgeinfer.extras import extra
from edgeinfer.session import Session, SessionOptions, TensorInfo
from edgeinfer.source_format import HEAD_BYTES, source_format

if TYPE_CHECKING:
    import numpy.typing as npt

    from edgeinfer.convert.model_file import FileProgram
    from edgeinfer.plan_info import PlanInfo, PlannedBuffer
    from edgeinfer.power.energy_profile import DeviceEnergy
    from edgeinfer.power.meter import Meter
    from edgeinfer.session import Array
    from edgeinfer.step_costs import StepCost

    Source = str | os.PathLike[str] | bytes | bytearray | memoryview

_ALIGNMENT = 64
_MAX_UINT32 = 2**32 - 1  # what ei_session_options can say
_DTYPES = {
    1: "int8",
    2: "uint8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float32",
    7: "bool",
    8: "float16",
}


class ModelHandle:
    """An open ei_model and the memory that it borrows; closed when nobody holds it any longer."""

    def __init__(self, source: str | Array, name: str) -> None:
        self.name = name
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
        self._select(0)

    def _select(self, program: int) -> None:
        self.program = program
        count = lib().ei_model_input_count(self.pointer, self.program)
        self.inputs = tuple(self._tensor(lib().ei_model_input, i) for i in range(count))
        count = lib().ei_model_output_count(self.pointer, self.program)
        self.outputs = tuple(self._tensor(lib().ei_model_output, i) for i in range(count))
        _require_unique(self.inputs, f"{self.name}: inputs")
        _require_unique(self.outputs, f"{self.name}: outputs")

    @property
    def program_names(self) -> tuple[str, ...]:
        """Names of the file's programs, the one that runs by default first."""
        count = lib().ei_model_program_count(self.pointer)
        return tuple(text(lib().ei_model_program_name(self.pointer, i)) for i in range(count))

    def of_program(self, program: int) -> ModelHandle:
        """A handle of the same open model for another of its programs."""
        if program == self.program:
            return self
        other = object.__new__(ModelHandle)
        other.__dict__.update(self.__dict__)
        other._select(program)
        return other

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

    def metadata(self) -> dict[str, Any]:
        """The metadata section, which the C core hands on without reading it."""
        import json

        pointer, size = ffi.new("const char **"), ffi.new("size_t *")
        check(lib().ei_model_metadata(self.pointer, pointer, size))
        try:
            found = json.loads(bytes(ffi.buffer(pointer[0], size[0])).decode())
        except (ValueError, RecursionError) as error:
            raise ModelFileError(f"{self.name}: metadata is not JSON: {error}") from error
        if not isinstance(found, dict):
            raise ModelFileError(f"{self.name}: metadata is not a JSON object")
        return found

    def plan(self) -> PlanInfo:
        """The plan's sizes from the C core, its buffers from the file's bytes."""
        from edgeinfer.plan_info import PeakStep, PlanInfo

        info = ffi.new("ei_plan_info *")
        check(lib().ei_model_plan(self.pointer, self.program, info))
        program = self.read_program()
        return PlanInfo(
            arena_bytes=info.arena_bytes,
            state_bytes=info.state_bytes,
            session_bytes=info.session_bytes,
            thread_bytes=SESSION_THREAD_BYTES,
            weights_bytes=info.weights_bytes,
            peak_step=PeakStep(info.peak_step, text(info.peak_node), text(info.peak_operator)),
            buffers=tuple(_planned_buffers(program)),
        )

    def read_program(self) -> FileProgram:
        """The program's steps and tensors, whose constants lie in the file's bytes."""
        from edgeinfer.convert.read import read_model  # an independent reader; light

        # Not from the path, where another file may lie by now. What points into these bytes goes
        # before the handle does.
        data, size = ffi.new("const void **"), ffi.new("size_t *")
        check(lib().ei_model_data(self.pointer, data, size))
        contents = memoryview(ffi.buffer(ffi.cast("const char *", data[0]), size[0]))
        return read_model(contents).programs[self.program]


class Model:
    """A model that is ready to run: checked weights, and a session of its own.

    Made by `edgeinfer.load`. Use it as a context manager, or let it go out of scope.

    Attributes
    ----------
    inputs, outputs : tuple of TensorInfo
        Name, shape, dtype, scale and zero point, in the source model's order. Of a model at several
        lengths those of the longest; a run takes shorter inputs too.
    """

    def __init__(
        self,
        handle: ModelHandle,
        options: SessionOptions,
        lengths: Sequence[ModelHandle] = (),
    ) -> None:
        self._handle: ModelHandle | None = handle
        self._lengths = tuple(lengths)
        self._options = options
        self._plan: PlanInfo | None = None
        self._metadata: dict[str, Any] | None = None
        self.name = handle.name
        self.inputs = handle.inputs
        self.outputs = handle.outputs
        self._session = self.session()

    @property
    def plan(self) -> PlanInfo:
        """The memory plan: exact bytes, the step that peaks, and a table of buffers."""
        handle = self._open()
        if self._plan is None:
            self._plan = handle.plan()
        return self._plan

    @property
    def step_costs(self) -> tuple[StepCost, ...]:
        """What each step of a run has to do: multiplications, bytes, and the kernels it calls."""
        from edgeinfer.step_costs import step_costs

        return tuple(step_costs(self._open().read_program(), self.tier))

    @property
    def metadata(self) -> dict[str, Any]:
        """What the converter wrote about the model: its source, labels, quantisation report."""
        handle = self._open()
        if self._metadata is None:
            self._metadata = handle.metadata()
        return self._metadata

    @property
    def tier(self) -> str:
        """Name of the kernel tier in use."""
        return self._session.tier

    @property
    def threads(self) -> int:
        """Threads that a run uses: as many as were asked for, or 1 where sharing does not pay."""
        return self._session.threads

    @property
    def has_lengths(self) -> bool:
        """Whether a run takes inputs of any length up to that of `inputs`."""
        return bool(self._lengths)

    @property
    def session_bytes(self) -> int:
        """Bytes of memory that the model's own session holds, its threads' included."""
        return self._session.nbytes

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
        """Run once in the model's own session; see `Session.run`."""
        return self._session.run(
            x, quantize=quantize, dequantize=dequantize,
            deadline=deadline, priority=priority, on_late=on_late,
        )  # fmt: skip

    def run_into(self, out: Array | Mapping[str, Array], x: Array | Mapping[str, Array]) -> None:
        """Run once without copies in the model's own session; see `Session.run_into`."""
        self._session.run_into(out, x)

    def feed(
        self,
        rows: npt.ArrayLike,
        name: str | None = None,
        *,
        quantize: bool = False,
        dequantize: bool = False,
    ) -> Any:
        """Give the next rows of an input to the model's own session; see `Session.feed`."""
        return self._session.feed(rows, name, quantize=quantize, dequantize=dequantize)

    @property
    def rows_wanted(self) -> dict[str, int]:
        """Rows that are missing from the run that `feed` began; see `Session.rows_wanted`."""
        return self._session.rows_wanted

    def reset(self) -> None:
        """Abandon the run that `feed` began; see `Session.reset`."""
        self._session.reset()

    def session(self) -> Session:
        """A new independent session over the same weights, for use in another thread."""
        handle = self._open()
        if self._lengths:
            from edgeinfer.sequence_session import SequenceSession

            return SequenceSession(self._lengths, self._options)
        return Session(handle, self._options)

    def close(self) -> None:
        """Let go of the file and the session's memory. Other sessions keep the file open."""
        self._handle = None
        self._lengths = ()
        self._session.close()

    def __enter__(self) -> Model:
        self._open()
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


def load(
    source: Source,
    *,
    ram_budget: int | str | None = None,
    threads: int = 1,
    tier: str | None = None,
    cpus: Sequence[int] | None = None,
    performance_cores: bool = False,
    engine: str | None = None,
    program: str | None = None,
    power_budget: float | str | None = None,
    window: float | str | None = None,
    energy_budget: float | str | None = None,
    ladder: Sequence[Source] = (),
    patience: float | str | None = None,
    meter: Meter | str | None = None,
    device_profile: DeviceEnergy | str | None = None,
    power_levers: Sequence[str] = (),
) -> Model:
    """Load a model.

    Parameters
    ----------
    source : path or bytes
        An .edge file (mapped, not copied), or the bytes of one (copied). A .tflite or .onnx model
        is converted in memory first, which needs the `convert` extra.
    ram_budget : bytes as int, or text such as "96KiB"
        Refuse the model when a session needs more. None sets no limit; no model meets 0.
    threads : int
        Threads that share the work of a run, the calling one included; at most 32. Results have the
        same bits at any number. Each thread beyond the first takes `plan.thread_bytes` more memory.
        Pays where a run takes a tenth of a millisecond or longer and there is a core for each.
    tier : str
        Kernel tier, e.g. "scalar". Default: EDGEINFER_TIER, else the fastest that the CPU has.
    cpus : sequence of int
        Numbers of the CPUs that the threads run on: thread i on the i-th, over again when there are
        fewer. The first is the calling thread's, which is yours to place (`os.sched_setaffinity`).
    performance_cores : bool
        Keep the session's own threads on the CPU's cores of the fastest kind.
    engine : str
        "numba" runs the file without the C library, by kernels that numba compiles (the
        extras `convert` and `jit`): the same bits, on one thread, with no promise about memory.
        Default: the C core.
    program : str
        Name of the program to run, where the file holds several. Default: the first one; of a model
        at several lengths (`convert --sequence-lengths`) the shortest that each run fits in,
        but the longest where there is a power budget.
    power_budget : watts as float, or text such as "1.5W"
        Keep the mean power of every `window` below, of all that the meter covers. Runs wait for it
        as long as they have to (docs/power.md); the model is a `power.GovernedModel`.
    window : seconds as float, or text such as "10s"; ten seconds by default
    energy_budget : joules as float, or text such as "20mJ"
        What one run may take beyond the idle power. Variants that take more are not used.
    ladder : sequence of sources
        Smaller variants of the model, from big to small, with the same inputs and outputs: for runs
        that would wait longer than `patience`, or miss their deadline.
    patience : seconds as float, or text
        A tenth of the window by default.
    meter : power.Meter, or the name of one
        What the budget is held by; `power.best_meter()` by default.
    device_profile : power.DeviceEnergy, or "pi-4", "pi-5", "orin-nano", "n100"
        What is known of the device before anything is measured; by the board's name by default.
    power_levers : list of str
        Levers that need privilege and are used only when they are named: "frequency", "rapl",
        "nvpmodel:<mode>". What they change is put back when the model is closed.

    Raises
    ------
    ModelNotFoundError, ModelReadError, ModelFileError, ModelVersionError
        The file is not there, cannot be read, is damaged, or is of an unknown version.
    InputError
        An argument is not of a kind or value that this function takes.
    BudgetError
        The session needs more than ram_budget; names the step that peaks and the shortfall.
    TierError
        This CPU or build lacks the tier.
    ConversionError, MissingExtraError
        The source model cannot be converted, or the extra for it or for the engine is not
        installed.
    UnsupportedError
        The engine cannot do what another argument asks for, or the machine lacks a power lever.
    PowerBudgetError
        From runs: what was asked for cannot be had under the budget.
    """
    if engine is not None:
        _require_engine(engine)
    options = checked_options(ram_budget, threads, tier, cpus, performance_cores)
    contents, name = _read_source(source)
    is_governed = power_budget is not None or energy_budget is not None
    if engine is not None:
        _refuse_what_numba_lacks(options, program, is_governed)
        with extra("engine='numba'", "edgeinfer-convert", "convert,jit"):
            from edgeinfer.engine_numba import load_model
        return load_model(contents, name)
    handle = _open_handle(contents, name)
    if is_governed:
        with extra("a power or energy budget", "edgeinfer-power", "power"):
            from edgeinfer.power.governed import PowerOptions, govern
        power = PowerOptions(
            power_budget, window, energy_budget, meter, device_profile, patience, power_levers
        )
        handles = [handle, *(_open_handle(*_read_source(variant)) for variant in ladder)]
        if program is not None:
            handles = [_program_named(variant, program) for variant in handles]
        return govern(handles, options, power)
    if ladder or power_levers or not (window is patience is meter is device_profile is None):
        raise InputError(
            "window, ladder, patience, meter, device_profile and power_levers are about a power "
            "budget: pass power_budget or energy_budget too"
        )
    if program is not None:
        return Model(_program_named(handle, program), options)
    return Model(handle, options, _lengths_of(handle))


def _program_named(handle: ModelHandle, program: str) -> ModelHandle:
    names = handle.program_names
    if program not in names:
        raise InputError(f"{handle.name} has no program {program!r}; its programs: {list(names)}")
    return handle.of_program(names.index(program))


def _lengths_of(handle: ModelHandle) -> list[ModelHandle]:
    """The programs of a model at several lengths; none of any other."""
    count = int(lib().ei_model_program_count(handle.pointer))
    if count == 1:
        return []
    from edgeinfer.sequence_session import are_lengths

    handles = [handle.of_program(i) for i in range(count)]
    return handles if are_lengths(handles) else []


def _read_source(source: Source) -> tuple[str | bytes, str]:
    """The path or the bytes of an .edge file, converted if it was none, and its name."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        raw = bytes(source)
        return _convert(raw) if source_format(raw[:HEAD_BYTES]) is not None else raw, "<bytes>"
    path = _checked_path(source)
    name = os.path.basename(path)
    is_source = source_format(_head_of(path), os.path.splitext(name)[1].lower()) is not None
    return _convert(path) if is_source else path, name


def _open_handle(contents: str | bytes, name: str) -> ModelHandle:
    return ModelHandle(contents if isinstance(contents, str) else _aligned(contents), name)


def checked_options(
    ram_budget: int | str | None,
    threads: int,
    tier: str | None,
    cpus: Sequence[int] | None,
    performance_cores: bool,
) -> SessionOptions:
    """How sessions are made, of arguments as `load` takes them; raises what it raises for them."""
    return SessionOptions(
        None if ram_budget is None else parse_bytes(ram_budget),
        _checked_threads(threads),
        _checked_tier(tier),
        _checked_cpus(cpus),
        bool(performance_cores),
    )


def _require_engine(engine: str) -> None:
    if engine != "numba":
        raise InputError(f"engine is {engine!r}; it must be 'numba', or None for the C core")


def _refuse_what_numba_lacks(
    options: SessionOptions, program: str | None, is_governed: bool
) -> None:
    asked = {
        "power_budget": is_governed,
        "program": program is not None,
        "ram_budget": options.ram_budget is not None,
        "threads": options.threads != 1,
        "tier": options.tier is not None,
        "cpus": bool(options.cpus),
        "performance_cores": options.performance_cores,
    }
    wrong = [name for name, given in asked.items() if given]
    if wrong:
        raise UnsupportedError(
            f"engine='numba' has no {', '.join(wrong)}: it runs the first program on one thread, "
            "with one version of each kernel and no limit of memory; leave that out, or load with "
            "the C core"
        )


def _checked_threads(threads: int) -> int:
    try:
        count = operator.index(threads)
    except TypeError:
        raise InputError(f"threads is {threads!r}; it must be an int") from None
    if isinstance(threads, bool) or not 1 <= count <= MAX_THREADS:
        raise InputError(f"threads is {threads}; it must be 1 to {MAX_THREADS}")
    return count


def _checked_cpus(cpus: Sequence[int] | None) -> tuple[int, ...]:
    if cpus is None:
        return ()
    try:
        numbers = tuple(operator.index(cpu) for cpu in cpus)
    except TypeError:
        numbers = ()
    if not numbers or not all(0 <= cpu <= _MAX_UINT32 for cpu in numbers):
        raise InputError(f"cpus is {cpus!r}; it must list numbers of CPUs, or be None")
    return numbers


def _checked_tier(tier: str | None) -> str | None:
    if tier is not None and (not isinstance(tier, str) or "\0" in tier):
        raise InputError(f"tier is {tier!r}; it must be a name as text, such as 'scalar', or None")
    return tier


def _checked_path(source: str | os.PathLike[str]) -> str:
    try:
        path = os.fspath(source)
    except TypeError:
        path = None
    if not isinstance(path, str):
        raise InputError(f"a model is a path or bytes, not {type(source).__name__}")
    try:
        os.stat(path)
    except (FileNotFoundError, ValueError):  # ValueError: a zero byte, which no path can hold
        raise ModelNotFoundError(f"no such model file: {path!r}") from None
    except OSError:
        pass  # it is out of reach: the C core says why when it opens it
    return path


def _head_of(path: str) -> bytes:
    """The first bytes of a regular file; none where it cannot be read, which the C core reports."""
    if not os.path.isfile(path):  # opening a pipe would wait for somebody to write to it
        return b""
    try:
        with open(path, "rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""


def _convert(source: str | bytes) -> bytes:
    from edgeinfer.convert import convert

    return convert(source).data


def _require_unique(tensors: Sequence[TensorInfo], what: str) -> None:
    """Inputs and outputs go by name, so that two of one name could not be told apart."""
    seen: set[str] = set()
    for info in tensors:
        if info.name in seen:
            raise ModelFileError(f"{what}: more than one is called {info.name!r}")
        seen.add(info.name)


def _aligned(raw: bytes) -> Array:
    memory = np.empty(len(raw) + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    aligned = memory[start:][: len(raw)]  # an empty slice is at the start of what it is one of
    aligned[:] = np.frombuffer(raw, np.uint8)
    return aligned


def _planned_buffers(program: FileProgram) -> list[PlannedBuffer]:
    from edgeinfer.plan_info import PlannedBuffer

    names: list[list[str]] = [[] for _ in program.buffers]
    for tensor in program.tensors:
        if tensor.buffer is not None:
            names[tensor.buffer].append(tensor.name)
    return [
        PlannedBuffer(b.offset, b.bytes, b.first_step, b.last_step, tuple(names[i]))
        for i, b in enumerate(program.buffers)
    ]
