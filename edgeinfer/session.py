"""Running a program: the memory of one session, and what goes in and comes out."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edgeinfer._ffi import check, ffi, lib, raise_status, text
from edgeinfer.errors import BudgetError, EdgeInferError, InputError
from edgeinfer.turn import Turn

if TYPE_CHECKING:
    from typing import Protocol

    import numpy.typing as npt

    from edgeinfer.feed import Feed
    from edgeinfer.model import ModelHandle

    Array = npt.NDArray[Any]

    class HasTurn(Protocol):
        """A session, which one thread after the other runs."""

        _turn: Turn


_ALIGNMENT = 64
_MAX_BUDGET = 2**64 - 1  # what ei_session_options can say; no session needs more
_ERROR_ARGUMENT = 1  # EI_ERROR_ARGUMENT: refused before anything ran

# For a tiny model, finding these in numpy anew is a part of what a run costs.
_empty = np.empty
_ndarray = np.ndarray


# Tuples with names rather than dataclasses, which take longer to make than all else of importing
# edgeinfer.
class TensorInfo(NamedTuple):
    """A graph input or output.

    For a quantised tensor real = scale * (q - zero_point); scale is 0.0 where it is not quantised.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: float
    zero_point: int

    @property
    def is_quantized(self) -> bool:
        """Whether the integers stand for real numbers."""
        return self.scale != 0.0

    def quantize(self, x: npt.ArrayLike) -> Array:
        """Real numbers as this tensor stores them: rne(x / scale) + zero_point, saturated.

        Computed in float32; ties go to even; NaN becomes the zero point. `x` may have any shape.
        """
        if not self.is_quantized:
            raise InputError(f"{self.name!r} is not quantised: give it {self.dtype} as it is")
        limits = np.iinfo(self.dtype)
        with np.errstate(over="ignore"):  # an overflow to infinity saturates, as it should
            real = as_array(x, f"{self.name!r}", np.float32)
            steps = np.rint(real / np.float32(self.scale))
        steps = np.where(np.isnan(steps), np.float32(0), steps)
        low, high = limits.min - self.zero_point, limits.max - self.zero_point
        # float64 holds the limits of int32 exactly, which float32 does not
        whole: Array = np.clip(steps.astype(np.float64), low, high).astype(np.int64)
        return (whole + self.zero_point).astype(self.dtype)

    def dequantize(self, q: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Stored integers as float32 real numbers: scale * (q - zero_point)."""
        if not self.is_quantized:
            raise InputError(f"{self.name!r} is not quantised")
        stored = as_array(q, f"{self.name!r}")
        steps: Array = stored.astype(np.int64) - np.int64(self.zero_point)
        real: npt.NDArray[np.float32] = steps.astype(np.float32) * np.float32(self.scale)
        return real

    def __str__(self) -> str:
        scale = f", scale {self.scale:.6g}, zero point {self.zero_point}" if self.scale else ""
        return f"{self.name!r} {self.dtype}{list(self.shape)}{scale}"


class SessionOptions(NamedTuple):
    """How sessions of a model are made: the arguments of `load`, checked.

    RAM budget in bytes (None: no limit), threads, tier, and where the threads run: on these CPUs
    (none: wherever the system puts them), or on cores of the fastest kind.
    """

    ram_budget: int | None = None
    threads: int = 1
    tier: str | None = None
    cpus: tuple[int, ...] = ()
    performance_cores: bool = False

    def for_c(self) -> tuple[Any, list[Any]]:
        """An `ei_session_options *`, and what must live as long as it is used."""
        given = ffi.new("ei_session_options *")
        tier = ffi.NULL
        if self.tier is not None:
            tier = ffi.new("char[]", self.tier.encode(errors="backslashreplace"))
        cpus = ffi.new("uint32_t[]", self.cpus)
        given.struct_bytes = ffi.sizeof("ei_session_options")
        # 0 means "no budget" to the C core: needed_bytes refuses it.
        given.ram_budget = min(self.ram_budget or 0, _MAX_BUDGET)
        given.threads = self.threads
        given.tier = tier
        given.cpus = cpus
        given.cpu_count = len(self.cpus)
        given.performance_cores = self.performance_cores
        return given, [tier, cpus]


def needed_bytes(handle: ModelHandle, options: SessionOptions) -> int:
    """Bytes of memory that a session takes, its threads' included.

    Raises
    ------
    BudgetError
        They are more than the budget. Every session needs some, so a budget of 0 is refused.
    """
    given, _kept = options.for_c()
    size = ffi.new("size_t *")
    check(lib().ei_session_size(handle.pointer, handle.program, given, size))
    if options.ram_budget == 0:
        raise BudgetError(
            f"{handle.name}: a session needs {size[0]} bytes and ram_budget is 0; "
            "leave ram_budget out, or pass None, for no limit"
        )
    return int(size[0])


class Session:
    """One independent run-time state of a model: its own memory over shared weights.

    Made by `Model.session()`. A run is safe from any thread, but runs of one session follow each
    other; to run in parallel make a session for each thread. All memory is taken when the session
    is made; the C core allocates nothing while it runs.
    """

    def __init__(
        self,
        handle: ModelHandle,
        options: SessionOptions,
        memory: Array | None = None,
    ) -> None:
        self._handle: ModelHandle | None = handle
        self.inputs = handle.inputs
        self.outputs = handle.outputs
        given, _kept = options.for_c()
        size = needed_bytes(handle, options)
        self._memory = aligned_memory(size) if memory is None else memory[:size]
        address = ffi.cast("void *", self._memory.ctypes.data)
        made = ffi.new("ei_session **")
        # The threads' stacks lie in the memory: it outlives them, in whatever order things go, and
        # even when this method is interrupted right after they have started.
        self._end_threads: Callable[[], object] | None = None
        if options.threads > 1:
            self._end_threads = weakref.finalize(self, _end_threads, made, self._memory, handle)
        check(lib().ei_session_init(handle.pointer, handle.program, given, address, size, made))
        self._session = made[0]
        self._run = lib().ei_session_run
        self._turn = Turn()
        free_turn_after_fork(self)
        self._feed: Feed | None = None
        self._in_pointers = ffi.new("void *[]", max(1, len(self.inputs)))
        self._out_pointers = ffi.new("void *[]", max(1, len(self.outputs)))
        self._in_const = ffi.cast("const void *const *", self._in_pointers)
        self._from_buffer = ffi.from_buffer
        self._bytes = ffi.typeof("char[]")
        # What the short way of `run_into` takes. No array has a dtype of None: models with several
        # inputs or outputs go the general way.
        plain = len(self.inputs) == len(self.outputs) == 1
        self._x_dtype = self.inputs[0].dtype if plain else None
        self._x_shape = self.inputs[0].shape if plain else ()
        self._out_dtype = self.outputs[0].dtype if plain else None
        self._out_shape = self.outputs[0].shape if plain else ()

    @property
    def tier(self) -> str:
        """Name of the kernel tier in use."""
        self._alive()
        return text(lib().ei_session_tier(self._session))

    @property
    def threads(self) -> int:
        """Threads that a run uses: as many as were asked for, or 1 where sharing does not pay."""
        self._alive()
        return int(lib().ei_session_threads(self._session))

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the session holds.

        The plan's `session_bytes`, and its `thread_bytes` for each thread beyond the first.
        """
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
        """Run once.

        Parameters
        ----------
        x : array, or mapping from input name to array
            One array where the model has one input. Shapes and dtypes are exactly those of
            `inputs`; a non-contiguous or misaligned array is copied.
        quantize : bool
            Accept floating-point values for quantised inputs and quantise them with the model's
            own scale and zero point (`TensorInfo.quantize`). Without it such values are refused.
        dequantize : bool
            Return quantised outputs as float32 real numbers.
        deadline : seconds, or text such as "200ms"
            From now until the result is wanted. Needs a power budget (`load`): only a governor can
            promise a time, or refuse.
        priority : int
            Of runs that wait for the power budget, those with a higher one go first.
        on_late : "refuse" or "degrade"
            What becomes of a run that would miss its deadline: `PowerBudgetError` at once, or a
            smaller variant of the ladder with which it does not.

        Returns
        -------
        array, or dict from output name to array
            One new array where the model has one output.

        Raises
        ------
        InputError
            A name, shape or dtype does not fit, or a value is out of the model's range.
        PowerBudgetError
            The run cannot be had under the power budget, or not before the deadline.
        """
        if deadline is not None or priority != 0 or on_late != "refuse":
            raise InputError(
                "deadline, priority and on_late need a power budget: pass power_budget or "
                "energy_budget to load"
            )
        if (
            type(x) is _ndarray
            and x.dtype is self._x_dtype
            and x.shape == self._x_shape
            and not dequantize
        ):
            flags = x.flags
            if flags.c_contiguous and flags.aligned:
                out = _empty(self._out_shape, self._out_dtype)
                self.run_into(out, x)
                return out
        arrays = [
            self._as_input(info, value, quantize)
            for info, value in zip(self.inputs, ordered(x, self.inputs, "input"), strict=True)
        ]
        results = [np.empty(info.shape, info.dtype) for info in self.outputs]
        self._call(arrays, results)
        if dequantize:
            results = [
                info.dequantize(result) if info.is_quantized else result
                for info, result in zip(self.outputs, results, strict=True)
            ]
        if len(results) == 1:
            return results[0]
        return {info.name: result for info, result in zip(self.outputs, results, strict=True)}

    def run_into(self, out: Array | Mapping[str, Array], x: Array | Mapping[str, Array]) -> None:
        """Run once, reading `x` and writing `out` in place: no copies, no new arrays.

        Every array is C-contiguous and aligned, with exactly the shape and dtype of its input or
        output, `out` is writable, and no two overlap. Mappings by name where there are several.
        Nothing of the arrays is kept after the call.

        Raises
        ------
        InputError
            An array does not fit.
        """
        # The short way, for one input and one output; what it cannot do goes the general way, which
        # copies nothing either, but waits for other threads and says what is wrong.
        #
        # The addresses are asked for anew each time, in a third of a microsecond. Keeping them
        # would not be safe: resize(refcheck=False) and __setstate__ move the memory of an array
        # even while its buffer is exported. And so nothing of the caller's is kept after a run.
        if (
            type(x) is type(out) is _ndarray
            and x.dtype is self._x_dtype
            and out.dtype is self._out_dtype
            and x.shape == self._x_shape
            and out.shape == self._out_shape
        ):
            turn = self._turn
            run, from_buffer = self._run, self._from_buffer  # CPython calls locals faster
            try:  # the buffers hold the arrays' memory during the call
                x_buffer = from_buffer(x)
                out_buffer = from_buffer(self._bytes, out, True)
                del turn.free[0]
            except (ValueError, BufferError, IndexError):
                pass  # an array is not contiguous or read-only, or another thread runs
            else:
                try:
                    if self._handle is None:
                        self._alive()
                    self._in_pointers[0] = x_buffer
                    self._out_pointers[0] = out_buffer
                    status = run(self._session, self._in_const, self._out_pointers)
                finally:
                    turn.home.append(None)
                    if turn.waiting:
                        turn.ring()
                if not status:
                    return
                if status != _ERROR_ARGUMENT:
                    raise_status(status)
        inputs = ordered(x, self.inputs, "input")
        outputs = ordered(out, self.outputs, "output")
        for info, array in zip(self.inputs, inputs, strict=True):
            _require_exact(info, array, "input")
        for info, array in zip(self.outputs, outputs, strict=True):
            _require_exact(info, array, "output")
        self._call(inputs, outputs)

    def feed(
        self,
        rows: npt.ArrayLike,
        name: str | None = None,
        *,
        quantize: bool = False,
        dequantize: bool = False,
    ) -> Any:
        """Give the next rows of an input; the model runs as far as it can with them.

        The lines of a camera, say. Results have the bits of `run`. It works with every model; where
        the plan counts on it, no memory ever holds the whole input.

        Parameters
        ----------
        rows : array
            Any number of them. A row of an image [N, H, W, C] is a line, [W, C]; up to rank 3 it
            is the last axis of the input. Axes in front count rows, [1, lines, W, C] for one.
        name : str
            Of the input; not needed where the model has one. Rows that come too early for what
            another input has are copied and kept.
        quantize, dequantize : bool
            As `run` takes them.

        Returns
        -------
        None while rows are missing; with the last row of the last input, what `run` returns. The
        next call begins a new run.

        Raises
        ------
        InputError
            There is no such input, width or dtype do not fit, or the input has fewer rows left:
            nothing was taken. Or a value is out of the model's range: the run is abandoned.
        """
        from edgeinfer.feed import as_rows, input_index, results_of

        index = input_index(self.inputs, name)
        array = as_rows(self.inputs[index], rows, quantize)
        results = self._with_feed(lambda feed: feed.give(index, array))
        return None if results is None else results_of(self.outputs, results, dequantize)

    @property
    def rows_wanted(self) -> dict[str, int]:
        """Rows of each input that `feed` waits for: 0 when a run is complete, or none are read."""
        wanted: dict[str, int] = self._with_feed(lambda feed: feed.wanted())
        return wanted

    def reset(self) -> None:
        """Abandon the run that `feed` began: the next rows are the first. `run` does it too."""
        self._with_feed(lambda feed: feed.begin())

    def close(self) -> None:
        """End the session's threads and give the memory back.

        Using the session afterwards is an error; closing twice is not. A session that nobody closes
        is closed when it is collected, or when the interpreter exits.
        """
        if self._end_threads is not None:
            self._end_threads()  # does it once
        turn = self._turn
        taken: list[None] = []
        try:
            turn.take(taken)
            self._handle = None
            self._memory = self._memory[:0]
        finally:
            turn.home.extend(taken)
            if turn.waiting:
                turn.ring()

    def __enter__(self) -> Session:
        self._alive()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._handle is None:
            return "<edgeinfer.Session (closed)>"
        return f"<edgeinfer.Session {self._handle.name!r}: {self.nbytes:,} bytes, {self.tier}>"

    def _alive(self) -> None:
        if self._handle is None:
            raise EdgeInferError("this session is closed")

    def _call(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        # from_buffer's results hold the arrays' memory during the call
        in_buffers = [self._from_buffer(self._bytes, array) for array in inputs]
        out_buffers = [self._from_buffer(self._bytes, array, True) for array in outputs]
        turn = self._turn
        taken: list[None] = []
        try:
            try:
                del turn.free[0]
            except IndexError:
                turn.take(taken)
            else:
                taken.append(None)  # nothing can interrupt in between
            self._alive()
            for i, buffer in enumerate(in_buffers):
                self._in_pointers[i] = buffer
            for i, buffer in enumerate(out_buffers):
                self._out_pointers[i] = buffer
            status = self._run(self._session, self._in_const, self._out_pointers)
        finally:
            turn.home.extend(taken)
            if turn.waiting:
                turn.ring()
        check(status)

    def _with_feed(self, function: Callable[[Feed], Any]) -> Any:
        turn = self._turn
        taken: list[None] = []
        try:
            turn.take(taken)
            self._alive()
            if self._feed is None:
                self._feed = self._new_feed()
            return function(self._feed)
        finally:
            turn.home.extend(taken)
            if turn.waiting:
                turn.ring()

    def _new_feed(self) -> Feed:
        from edgeinfer.feed import feed_of

        return feed_of(self)

    @staticmethod
    def _as_input(info: TensorInfo, value: Any, quantize: bool) -> Array:
        array = as_array(value, f"input {info.name!r}")
        _require_shape(info, array, "input")
        return _as_dtype(info, array, quantize)


def aligned_memory(size: int) -> Array:
    """Memory that a session can lie in."""
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size]


def _end_threads(made: Any, *kept_until_then: object) -> None:
    # A run that is under way, as a daemon thread's may be when the process exits, goes on alone.
    # made[0] is NULL, which is allowed, when no session was made.
    lib().ei_session_close(made[0])


def _free_turns() -> None:
    # In the child of a fork, other threads that had a turn or waited for one do not exist.
    for session in tuple(_sessions):
        session._turn = Turn()


def free_turn_after_fork(session: HasTurn) -> None:
    """In the child of a fork nobody has the turn of this session."""
    _sessions.add(session)


_sessions: weakref.WeakSet[HasTurn] = weakref.WeakSet()
os.register_at_fork(after_in_child=_free_turns)


def ordered(given: Any, infos: Sequence[TensorInfo], kind: str) -> list[Any]:
    """The values in the order of the tensors, whichever way they are given."""
    if type(given) is dict and len(given) == len(infos):
        try:
            return [given[info.name] for info in infos]
        except KeyError:
            pass  # the general way says which name is wrong
    elif len(infos) == 1 and type(given) is _ndarray:
        return [given]
    names = [info.name for info in infos]
    if isinstance(given, Mapping):
        unknown = sorted(str(name) for name in given if name not in names)
        missing = [name for name in names if name not in given]
        if unknown or missing:
            wrong = [f"no {kind} is called {', '.join(map(repr, unknown))}"] if unknown else []
            wrong += [f"{kind} {', '.join(map(repr, missing))} is missing"] if missing else []
            raise InputError(f"{'; '.join(wrong)}; the model's {kind}s are {names}")
        return [given[name] for name in names]
    if len(infos) != 1:
        raise InputError(
            f"the model has {len(infos)} {kind}s, {names}: give a dict from name to array"
        )
    return [given]


def as_array(value: Any, what: str, dtype: Any = None) -> Array:
    """What was given for `what` as an array; an InputError where it is none."""
    try:
        return np.asarray(value, dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{what}: not an array of numbers: {error}") from error


def _as_dtype(info: TensorInfo, array: Array, quantize: bool) -> Array:
    """An array of the input's dtype, contiguous and aligned."""
    if array.dtype == info.dtype:
        flags = array.flags
        if flags.c_contiguous and flags.aligned:
            return array
        return np.require(array, info.dtype, ["C", "A"])
    if quantize and info.is_quantized and np.issubdtype(array.dtype, np.floating):
        return info.quantize(array)
    advice = ""
    if info.is_quantized and np.issubdtype(array.dtype, np.floating):
        advice = (
            f"; pass quantize=True to quantise it with scale {info.scale:.6g} and zero point "
            f"{info.zero_point}"
        )
    raise InputError(f"input {info.name!r} takes {info.dtype}, got {array.dtype}{advice}")


def _require_shape(info: TensorInfo, array: Array, kind: str) -> None:
    if array.shape != info.shape:
        advice = ""
        if (1, *array.shape) == info.shape:
            advice = "; the leading 1 is the batch: use x[None]"
        raise InputError(
            f"{kind} {info.name!r} takes shape {info.shape}, got {array.shape}{advice}"
        )


def _require_exact(info: TensorInfo, array: Any, kind: str) -> None:
    if (
        isinstance(array, np.ndarray)
        and array.shape == info.shape
        and array.dtype == info.dtype
        and array.flags.c_contiguous
        and array.flags.aligned
        and (kind == "input" or array.flags.writeable)
    ):
        return
    if not isinstance(array, np.ndarray):
        raise InputError(f"{kind} {info.name!r} must be a numpy array, got {type(array).__name__}")
    _require_shape(info, array, kind)
    if array.dtype != info.dtype:
        raise InputError(f"{kind} {info.name!r} takes {info.dtype}, got {array.dtype}")
    if not array.flags.c_contiguous:
        raise InputError(f"{kind} {info.name!r} must be C-contiguous: run_into makes no copies")
    if not array.flags.aligned:
        raise InputError(
            f"{kind} {info.name!r} must be aligned to its {info.dtype} elements: run_into makes no "
            "copies"
        )
    raise InputError(f"{kind} {info.name!r} is read-only")
