"""A Python function as the `run` of a custom operator, by numba.

The C core calls `int32 run(const ei_custom_call *)`. What is generated here reads that struct (its
layout comes from the C header, by cffi), makes arrays over the operands, takes attributes out of
the file's bytes by their position (a check compared them with the declaration when the session was
made), and calls the compiled function:

    ei_custom_call -> inputs, outputs: 72 bytes each (data, int64 shape[6], dtype, rank, scale, zp)
                   -> attributes: 72 bytes, then 48 per attribute (name[32], kind, count, offset)

An exception that the function raises becomes EI_ERROR_DATA: nothing is thrown through C.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer._ffi import ffi
from edgeinfer.custom.operands import DTYPES, HEAD, MAX_INPUTS, RECORD, Attribute, TensorType, Value
from edgeinfer.errors import InputError, MissingExtraError

_FAILED = 10  # EI_ERROR_DATA
_RAISED = b"the function raised an exception; call it from Python to see which\0"
_TENSOR_BYTES = 72
_ALLOCATORS = ("NRT_MemInfo_alloc", "NRT_Allocate", "NRT_Reallocate")
_NUMBA_TYPES = {"int": "int64", "float": "float64", "ints": "int64[:]", "floats": "float64[:]"}
_LIST_DTYPES = {"ints": "int64", "floats": "float64"}


@dataclass(frozen=True)
class CallPlan:
    """How a function's parameters are made of a call: one line of source for each."""

    name: str
    inputs: tuple[TensorType, ...]
    output: TensorType
    types: tuple[Any, ...]  # numba's, arrays C-contiguous
    arguments: tuple[str, ...]  # expressions, see _SOURCE
    parameters: tuple[str, ...]  # names of the function's parameters
    operands: tuple[str, ...]  # those that are inputs and output
    list_dtypes: Mapping[str, str]  # of the attributes that are lists, by name
    scratch_dtype: str = "uint8"

    @property
    def scratch_item(self) -> int:
        """Bytes of an element of `scratch`."""
        return int(np.dtype(self.scratch_dtype).itemsize)

    def arguments_for(
        self,
        arrays: Sequence[npt.NDArray[Any]],
        attributes: Mapping[str, Value],
        quantization: Sequence[tuple[float, int]],
        scratch_bytes: int,
    ) -> list[Any]:
        """The function's arguments for arrays of Python: what another engine calls it with.

        Parameters
        ----------
        arrays, quantization : of the inputs and the output; (scale, zero_point), 0.0 and 0 where
            one is not quantised.
        attributes : as `operands.match_attributes` gives them.
        """
        given: dict[str, Any] = dict(zip(self.operands, arrays, strict=True))
        for name, (scale, zero_point) in zip(self.operands, quantization, strict=True):
            given[f"{name}_scale"] = np.float32(scale)
            given[f"{name}_zero_point"] = np.int32(zero_point)
        for name, value in attributes.items():
            if isinstance(value, list):  # its numbers do not tell the type: there may be none
                given[name] = np.array(value, self.list_dtypes[name])
            else:
                given[name] = value
        given["scratch"] = np.empty(scratch_bytes // self.scratch_item, self.scratch_dtype)
        return [given[name] for name in self.parameters]


@dataclass(frozen=True, eq=False)
class Compiled:
    """A compiled function, and the address that the C core calls."""

    function: Callable[..., None]
    address: int
    callback: Any


def load_numba() -> Any:
    """numba, or an error that says how to get it."""
    try:
        import numba
    except ImportError as error:
        raise MissingExtraError("a custom operator in Python", "numba", "jit") from error
    return numba


def plan_call(
    name: str,
    function: Callable[..., None],
    signature: Any,
    attributes: Sequence[Attribute],
    *,
    with_scratch: bool,
) -> CallPlan:
    """Find what each parameter of the function is.

    Raises
    ------
    InputError
        The signature is none, or does not fit the function's parameters.
    """
    numba = load_numba()
    parameters = list(inspect.signature(function).parameters)
    types = _types_of(numba, name, signature)
    if len(types) != len(parameters):
        raise InputError(
            f"{name!r}: the signature has {len(types)} types, the function {len(parameters)} "
            f"parameters ({', '.join(parameters)})"
        )
    places = {attribute.name: i for i, attribute in enumerate(attributes)}
    for attribute in attributes:
        if attribute.name not in parameters:
            raise InputError(f"{name!r}: attribute {attribute.name!r} is no parameter")
    special = {*places, *(["scratch"] if with_scratch else [])}
    operands = [p for p in parameters if p not in special and _owner(p, parameters) is None]
    if not 2 <= len(operands) <= MAX_INPUTS + 1:
        raise InputError(
            f"{name!r} needs arrays for 1 to {MAX_INPUTS} inputs and one output, and has "
            f"{operands}; other parameters are attributes, which attributes= declares"
        )
    found: list[TensorType] = []
    arguments: list[str] = []
    scratch_dtype = "uint8"
    for parameter, kind in zip(parameters, types, strict=True):
        if parameter in operands:
            found.append(_tensor_type(numba, name, parameter, kind))
            arguments.append(_array(operands.index(parameter), found[-1]))
        elif parameter in places:
            attribute = attributes[places[parameter]]
            _require_attribute_type(numba, name, attribute, kind)
            arguments.append(_attribute(places[parameter], attribute))
        elif parameter == "scratch" and with_scratch:
            item = _tensor_type(numba, name, parameter, kind)
            if item.rank != 1:
                raise InputError(f"{name!r}: scratch is {item}, must have one axis")
            scratch_dtype = item.dtype
            size = np.dtype(item.dtype).itemsize
            arguments.append(f"scratch(call, types.{_scalar(item.dtype)}, {size})")
        else:
            owner = operands.index(str(_owner(parameter, parameters)))
            arguments.append(_quantisation(numba, name, parameter, kind, owner))
    return CallPlan(
        name,
        tuple(found[:-1]),
        found[-1],
        types,
        tuple(arguments),
        tuple(parameters),
        tuple(operands),
        {a.name: _LIST_DTYPES[a.kind] for a in attributes if a.kind in _LIST_DTYPES},
        scratch_dtype,
    )


def _types_of(numba: Any, name: str, signature: Any) -> tuple[Any, ...]:
    try:
        arguments, result = numba.core.sigutils.normalize_signature(signature)
    except Exception as error:
        raise InputError(
            f"{name!r}: {signature!r} is not a signature of numba, such as "
            f"'void(float32[:], float32[:])': {error}"
        ) from error
    if result not in (None, numba.types.void):
        raise InputError(f"{name!r}: {signature!r} must give void: the output is a parameter")
    is_array = numba.types.Array
    return tuple(
        kind.copy(layout="C") if isinstance(kind, is_array) else kind for kind in arguments
    )


def _owner(parameter: str, parameters: Sequence[str]) -> str | None:
    """The array whose scale or zero point a parameter is."""
    for suffix in ("_scale", "_zero_point"):
        owner = parameter.removesuffix(suffix)
        if owner != parameter and owner in parameters:
            return owner
    return None


def _scalar(dtype: str) -> str:
    return "boolean" if dtype == "bool" else dtype


def _tensor_type(numba: Any, name: str, parameter: str, kind: Any) -> TensorType:
    if not isinstance(kind, numba.types.Array):
        raise InputError(
            f"{name!r}: parameter {parameter!r} is {kind}; it must be an array, or an attribute "
            "that attributes= declares"
        )
    dtype = "bool" if kind.dtype == numba.types.boolean else str(kind.dtype)
    if dtype not in DTYPES.values():
        raise InputError(
            f"{name!r}: parameter {parameter!r} has elements of {dtype}; tensors have "
            f"{', '.join(DTYPES.values())}"
        )
    return TensorType(dtype, kind.ndim)


def _require_attribute_type(numba: Any, name: str, attribute: Attribute, kind: Any) -> None:
    wanted = _NUMBA_TYPES.get(attribute.kind)
    if wanted is None:
        raise InputError(
            f"{name!r}: attribute {attribute.name!r} is text, which compiled functions cannot take"
        )
    (made,), _ = numba.core.sigutils.normalize_signature(f"void({wanted})")
    if getattr(kind, "dtype", kind) != getattr(made, "dtype", made) or getattr(
        kind, "ndim", 0
    ) != getattr(made, "ndim", 0):
        raise InputError(
            f"{name!r}: attribute {attribute.name!r} is {kind} in the signature, must be {wanted}"
        )


def _array(index: int, kind: TensorType) -> str:
    rank = kind.rank or 0
    shape = "".join(f"shape_{index}[{axis}], " for axis in range(rank))
    return f"array(data_{index}, ({shape}), types.{_scalar(kind.dtype)})"


def _attribute(index: int, attribute: Attribute) -> str:
    element = "types.int64" if attribute.kind in ("int", "ints") else "types.float64"
    made = f"attribute(call, {index}, {element})"
    return made if attribute.kind in ("ints", "floats") else f"{made}[0]"


def _quantisation(numba: Any, name: str, parameter: str, kind: Any, owner: int) -> str:
    wanted = "float32" if parameter.endswith("_scale") else "int32"
    if kind != getattr(numba.types, wanted):
        raise InputError(f"{name!r}: parameter {parameter!r} is {kind}, must be {wanted}")
    offset = _TENSOR_BYTES - (8 if wanted == "float32" else 4)
    return f"array(tensor_{owner} + {offset}, (1,), types.{wanted})[0]"


# --- the code around the function


def _source(plan: CallPlan) -> str:
    """The function that the C core calls, as Python that numba compiles."""
    lines = ["def run(pointer):", "    call = address_of(pointer)"]
    for index in range(len(plan.inputs) + 1):
        is_output = index == len(plan.inputs)
        offset = ffi.offsetof("ei_custom_call", "outputs" if is_output else "inputs")
        first = 0 if is_output else index * _TENSOR_BYTES
        lines += [
            f"    tensor_{index} = word(call + {offset}) + {first}",
            f"    data_{index} = word(tensor_{index})",
            f"    shape_{index} = array(tensor_{index} + 8, (6,), types.int64)",
        ]
    lines += ["    try:", "        function("]
    lines += [f"            {argument}," for argument in plan.arguments]
    lines += ["        )", "    except Exception:", "        tell(call)"]
    lines += [f"        return {_FAILED}", "    return 0"]
    return "\n".join(lines)


@cache
def _readers() -> dict[str, Any]:
    """Functions by which compiled code reads memory: names of `_source`. Compiled once."""
    numba = load_numba()
    types, carray = numba.types, numba.carray

    @numba.extending.intrinsic  # type: ignore[untyped-decorator]
    def pointer_at(_: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

        return types.voidptr(types.intp), generate

    @numba.extending.intrinsic  # type: ignore[untyped-decorator]
    def address_of(_: Any, pointer: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.ptrtoint(arguments[0], context.get_value_type(types.intp))

        return types.intp(types.voidptr), generate

    @numba.njit  # type: ignore[untyped-decorator]
    def array(address: Any, shape: Any, dtype: Any) -> Any:
        return carray(pointer_at(address), shape, dtype)

    @numba.njit  # type: ignore[untyped-decorator]
    def word(address: Any) -> Any:
        return carray(pointer_at(address), (1,), types.intp)[0]

    attributes_at = ffi.offsetof("ei_custom_call", "attributes")
    scratch_at = ffi.offsetof("ei_custom_call", "scratch")
    scratch_bytes_at = ffi.offsetof("ei_custom_call", "scratch_bytes")
    head, record, count_at, offset_at = HEAD.size, RECORD.size, 36, 40

    @numba.njit  # type: ignore[untyped-decorator]
    def attribute(call: Any, index: Any, dtype: Any) -> Any:
        blob = word(call + attributes_at)
        at = blob + head + index * record
        count = types.intp(carray(pointer_at(at + count_at), (1,), types.uint32)[0])
        offset = types.intp(carray(pointer_at(at + offset_at), (1,), types.uint32)[0])
        return carray(pointer_at(blob + offset), (count,), dtype)

    @numba.njit  # type: ignore[untyped-decorator]
    def scratch(call: Any, dtype: Any, item: Any) -> Any:
        count = word(call + scratch_bytes_at) // item
        return carray(pointer_at(word(call + scratch_at)), (count,), dtype)

    said = np.frombuffer(_RAISED, np.uint8)
    message_at = ffi.offsetof("ei_custom_call", "message")

    @numba.njit  # type: ignore[untyped-decorator]
    def tell(call: Any) -> None:
        message = array(word(call + message_at), (said.size,), types.uint8)
        for i in range(said.size):
            message[i] = said[i]

    return {
        "address_of": address_of,
        "array": array,
        "attribute": attribute,
        "scratch": scratch,
        "tell": tell,
        "types": types,
        "word": word,
    }


def compile_call(plan: CallPlan, function: Callable[..., None], *, allocates: bool) -> Compiled:
    """Compile the function and what calls it.

    Raises
    ------
    InputError
        numba cannot compile it, or it allocates memory and `allocates` is not set.
    """
    numba = load_numba()
    try:
        # As numpy has it: 1 / 0.0 is an infinity and raises nothing.
        made = numba.njit(plan.types, nogil=True, error_model="numpy")(function)
    except numba.core.errors.NumbaError as error:
        raise InputError(f"{plan.name!r}: numba cannot compile the function: {error}") from error
    code = made.inspect_llvm(plan.types)
    if not allocates and any(allocator in code for allocator in _ALLOCATORS):
        raise InputError(
            f"{plan.name!r} allocates memory when it runs, which a run of a model should not: "
            "expressions of whole arrays do, so loop over elements and write into the output or "
            "into scratch memory (scratch=); or say allocates=True"
        )
    names = {**_readers(), "function": made}
    exec(compile(_source(plan), f"<custom operator {plan.name}>", "exec"), names)
    callback = numba.cfunc(numba.types.int32(numba.types.voidptr))(names["run"])
    return Compiled(made, int(callback.address), callback)
