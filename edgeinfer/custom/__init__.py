"""Custom operators: code of the process that a model can name.

>>> @edgeinfer.custom_op("Clamp", "void(float32[:], float32[:], float64)", attributes={"top": 6.0})
... def clamp(x, y, top):
...     for i in range(x.size):
...         y[i] = min(max(x[i], 0.0), top)

docs/custom_ops.md is the manual. Whoever converts a model and whoever runs it registers the same
operators; the file holds their names and attributes only.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeinfer._ffi import check as check_status
from edgeinfer._ffi import ffi, lib
from edgeinfer.custom.declaration import ANY_SHAPE, CustomOp, Scratch, Shape
from edgeinfer.custom.operands import MAX_INPUTS, declare_attributes, parse_type
from edgeinfer.errors import EdgeInferError, InputError

__all__ = [
    "ANY_SHAPE",
    "CustomOp",
    "custom_op",
    "find",
    "load_custom_ops",
    "register_custom_op",
    "unregister_custom_op",
]

_operators: dict[str, CustomOp] = {}
_kept: list[Any] = []
"""What the C core holds addresses of. Sessions outlive a registration, so it stays for good."""
_loaded: set[str] = set()
_CALLBACK = "ei_status(*)(ei_custom_call const *)"  # the order that cffi reads
_MAX_NAME = 63  # EI_CUSTOM_NAME_BYTES, without the zero
_ERROR_CUSTOM = 12  # EI_ERROR_CUSTOM


def custom_op(
    name: str,
    signature: Any,
    *,
    attributes: Mapping[str, Any] | None = None,
    shape: Shape | str | None = None,
    scratch: Scratch | None = None,
    allocates: bool = False,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a Python function an operator, compiled by numba.

    The function is given its inputs and its output as C-contiguous arrays, in this order, and
    fills the output. It runs inside the C core, without Python and without the GIL.

    Parameters
    ----------
    name : of the operator: ONNX's op_type, or TFLite's custom code.
    signature : numba's, as text or object: "void(float32[:, :], float32[:, :], float64)". In any
        order: arrays, inputs first and the output last among them; attributes by their names
        (int64, float64, or int64[:], float64[:] for lists); `x_scale` (float32) and `x_zero_point`
        (int32) of an array `x`; `scratch`, an array of one axis.
    attributes : what nodes may say, {"alpha": 0.1, "axes": list[int]}: a default, or the type of
        one that each node must have.
    shape : (input shapes, attributes) -> shape of the output; called at conversion, and again when
        a session is made, so that no file can have the function write beside its output. None: that
        of the first input. "any": what the source model says; the function must then look at the
        shapes itself.
    scratch : (input shapes, attributes) -> elements of the array `scratch`, which is not cleared.

    allocates : True lets a function through that may allocate memory when it runs. Then the promise
        that a run allocates nothing does not hold for models with this operator.

    Returns
    -------
    decorator
        It registers the function for the whole process and returns it compiled.

    Raises
    ------
    MissingExtraError
        numba is not installed (the `jit` extra).
    InputError
        The signature does not fit, numba cannot compile the function, it allocates memory, or the
        name is taken.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        from edgeinfer.custom import jit

        declared = declare_attributes(attributes)
        plan = jit.plan_call(name, function, signature, declared, with_scratch=scratch is not None)
        compiled = jit.compile_call(plan, function, allocates=allocates)
        operator = CustomOp(
            name,
            plan.inputs,
            plan.output,
            declared,
            shape,
            _in_bytes(scratch, plan.scratch_item),
            compiled.function,
            plan,
        )
        _register(operator, ffi.cast("void *", compiled.address), None)
        _kept.append(compiled)
        return compiled.function

    return decorate


def register_custom_op(
    name: str,
    run: Any = None,
    *,
    inputs: Sequence[str],
    output: str,
    attributes: Mapping[str, Any] | None = None,
    shape: Shape | str | None = None,
    scratch: Scratch | None = None,
    check: Any = None,
) -> None:
    """Register an operator whose code is a C function, or declare one for conversion only.

    Parameters
    ----------
    name, attributes, shape : as for `custom_op`.
    run : address (int, ctypes or cffi pointer) of `ei_status run(const ei_custom_call *)`, see
        edgeinfer.h. It must stay loaded. None: the operator can be converted, and runs where it is
        registered.
    inputs, output : types, such as "float32[:, :]"; "int8[...]" for any number of axes.
    scratch : (input shapes, attributes) -> bytes of `scratch`.
    check : address of a C function that looks at each node when a session is made, after the types,
        shapes and attributes given here were compared with the node's. None: these are enough.

    Raises
    ------
    InputError
        A type or a name is none, or the name is taken.
    """
    if not inputs or len(inputs) > MAX_INPUTS:
        raise InputError(f"{name!r} has {len(inputs)} inputs; 1 to {MAX_INPUTS} may be")
    operator = CustomOp(
        name,
        tuple(parse_type(text) for text in inputs),
        parse_type(output),
        declare_attributes(attributes),
        shape,
        scratch,
        None,
    )
    address = None if run is None else _pointer(run, "run")
    _register(operator, address, None if check is None else _pointer(check, "check"))


def unregister_custom_op(name: str) -> None:
    """Take an operator out of the registry. Sessions that exist go on with it.

    Raises
    ------
    InputError
        No operator of this name is registered.
    """
    operator = _operators.get(name)
    if operator is None:
        raise InputError(f"no custom operator {name!r} is registered")
    if operator.runs:
        check_status(lib().ei_custom_op_unregister(name.encode()))
    del _operators[name]


def find(name: str) -> CustomOp | None:
    """The operator of this name that this process registered from Python."""
    return _operators.get(name)


def load_custom_ops(path: str | os.PathLike[str]) -> None:
    """Run a Python file that registers operators; nothing happens for one that was run before.

    Raises
    ------
    InputError
        The file cannot be read, or fails.
    """
    real = os.path.realpath(path)
    if real in _loaded:
        return
    if not os.path.isfile(real):
        raise InputError(f"no such file of custom operators: {os.fspath(path)!r}")
    spec = importlib.util.spec_from_file_location(f"custom_ops_{Path(real).stem}", real)
    if spec is None or spec.loader is None:
        raise InputError(f"{os.fspath(path)!r} is not a Python file (.py)")
    try:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    except EdgeInferError:
        raise
    except (Exception, SystemExit) as error:  # the user's code may also end the process
        raise InputError(f"{os.fspath(path)!r}: {type(error).__name__}: {error}") from error
    _loaded.add(real)


def _in_bytes(scratch: Scratch | None, item: int) -> Scratch | None:
    if scratch is None:
        return None
    elements = scratch
    return lambda shapes, attributes: elements(shapes, attributes) * item


def _pointer(address: Any, what: str) -> Any:
    """An address from an int, a cffi pointer, or a ctypes function or pointer."""
    if isinstance(address, ffi.CData):
        return ffi.cast("void *", address)
    if isinstance(address, (str, bytes)):
        raise InputError(f"{what} is {address!r}, must be the address of a function")
    if not isinstance(address, int):
        try:
            import ctypes

            address = ctypes.cast(address, ctypes.c_void_p).value
        except (TypeError, ctypes.ArgumentError):
            raise InputError(f"{what} is {address!r}, must be the address of a function") from None
    if not address:
        raise InputError(f"{what} is a null pointer")
    return ffi.cast("void *", address)


def _register(operator: CustomOp, run: Any, check: Any) -> None:
    _require_name(operator.name)
    if operator.name in _operators:
        raise InputError(
            f"custom operator {operator.name!r} is registered already; "
            "edgeinfer.unregister_custom_op() takes it out"
        )
    if run is not None:
        then = None if check is None else ffi.cast(_CALLBACK, check)
        checked = ffi.callback(
            _CALLBACK,
            lambda call: _check(operator, call, then),
            error=_ERROR_CUSTOM,
        )
        record = ffi.new("ei_custom_op *")
        record.struct_bytes = ffi.sizeof("ei_custom_op")
        record.check = checked
        record.run = ffi.cast(_CALLBACK, run)
        check_status(lib().ei_custom_op_register(operator.name.encode(), record))
        operator.runs = True
        _kept.append((checked, then))
    _operators[operator.name] = operator


def _require_name(name: str) -> None:
    is_text = isinstance(name, str) and 1 <= len(name) <= _MAX_NAME
    if not is_text or not all("!" <= c <= "~" for c in name):
        raise InputError(
            f"{name!r} is no operator's name: 1 to {_MAX_NAME} printable ASCII characters without "
            "a space"
        )


def _check(operator: CustomOp, call: Any, then: Any) -> int:
    """Called by the C core for each node when a session is made."""
    try:
        operator.require(_Call(call))
    except Exception as error:
        said = str(error).encode("utf-8", "replace")[: ffi.sizeof("char[256]") - 1]
        ffi.memmove(call.message, said + b"\0", len(said) + 1)
        return _ERROR_CUSTOM
    return int(then(call)) if then is not None else 0


class _Call:
    """A node as the C core shows it to a check."""

    def __init__(self, call: Any) -> None:
        self.inputs = [self._tensor(call.inputs[i]) for i in range(call.input_count)]
        self.output = self._tensor(call.outputs[0])
        self.scratch_bytes = int(call.scratch_bytes)
        self._attributes = ffi.cast("const char *", call.attributes)

    @staticmethod
    def _tensor(tensor: Any) -> tuple[int, tuple[int, ...]]:
        shape = tuple(tensor.shape[axis] for axis in range(tensor.rank))
        return int(tensor.dtype), shape

    def read(self, offset: int, count: int) -> bytes:
        """Bytes of the attributes, which the C core has checked."""
        return bytes(ffi.buffer(self._attributes + offset, count))
