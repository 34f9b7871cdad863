"""A .tflite file, read with suspicion: what leaves this module is whole and in range.

The generated accessors of the `tflite` package follow any offset. On a damaged file they raise
whatever struct and numpy raise, or return what happens to lie there. So every access goes through
here: indices are checked against what they index, constants against the shapes that claim them,
and the bytes read in total against a multiple of the file's size, since a hostile file can let
thousands of tables share one long vector.

Tensors are read when they are asked for: what no operator uses may be as odd as it likes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer.errors import ConversionError, MissingExtraError

MAX_RANK = 8  # of a tensor in the file; graphs may be narrower
_TABLE_COST = 256  # what a tensor or operator counts for, besides its vectors: it takes time

ELEMENTS = {
    "INT8": "<i1",
    "UINT8": "<u1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FLOAT16": "<f2",
    "FLOAT32": "<f4",
    "FLOAT64": "<f8",
    "BOOL": "?",
}
"""Element types whose constants are plain arrays. INT4 is packed and handled on its own."""

_EMPTY_TABLE = bytes([4, 0, 4, 0, 4, 0, 0, 0])  # a vtable without fields, then a table that uses it
_BUILTIN_CODE_SLOT = 10  # of OperatorCode.builtin_code in the vtable
_NOT_FIELDS = ("Init", "GetRootAs")
_NOT_FIELD_SUFFIXES = ("BufferHasIdentifier", "AsNumpy", "Length", "IsNone")


@dataclass(frozen=True, eq=False)
class StoredQuantization:
    """Quantisation as stored: nothing is checked but the reading itself."""

    scale: npt.NDArray[np.float32]
    zero_point: npt.NDArray[np.int64]
    axis: int
    is_custom: bool


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor as stored. `data` is present for constants of the types that are read."""

    index: int
    name: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]  # the shape with -1 where it is dynamic; empty when it is static
    type: str  # a name of TensorType
    quantization: StoredQuantization | None
    has_buffer: bool
    data: npt.NDArray[Any] | None
    is_variable: bool
    is_sparse: bool


@dataclass(frozen=True, eq=False)
class StoredOperator:
    """An operator as stored: indices in range, -1 for an absent input."""

    position: int
    code: str  # a name of BuiltinOperator
    custom_code: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    table: Any


def _load_schema() -> ModuleType:
    try:
        import tflite
    except ImportError as error:
        missing = error.name or "tflite"
        raise MissingExtraError("reading a .tflite model", missing, "convert") from error
    module: ModuleType = tflite
    return module


def _names(enumeration: Any) -> dict[int, str]:
    return {
        value: name
        for name, value in vars(enumeration).items()
        if not name.startswith("_") and isinstance(value, int)
    }


class ModelFile:
    """The first subgraph of a model, and what the file says about itself.

    Raises
    ------
    ConversionError
        Here and in every method: the bytes are not a whole, consistent TFLite model.
    MissingExtraError
        The `tflite` package is not installed.
    """

    def __init__(self, data: bytes, name: str) -> None:
        self.name = name
        self._schema = _load_schema()
        self._data = data
        self._allowance = 16 * len(data) + (1 << 20)
        self._tensors: dict[int, StoredTensor] = {}
        if len(data) < 8 or data[4:8] != b"TFL3":
            raise self.damaged("it does not begin as a TFLite model does")
        with self._reading("the model"):
            self._model = self._schema.Model.GetRootAs(data, 0)
            if self._model.Version() != 3:
                raise self.damaged(f"schema version {self._model.Version()}, which is not 3")
            self.version: int = self._model.Version()
            self.description = self._text(self._model.Description())
            self.subgraph_count: int = self._model.SubgraphsLength()
            if self.subgraph_count < 1:
                raise self.damaged("it has no subgraph")
            self._subgraph = self._model.Subgraphs(0)
            self._tensor_count: int = self._subgraph.TensorsLength()
            self._buffer_count: int = self._model.BuffersLength()
            self._types = _names(self._schema.TensorType)
            self.inputs = self._indices(self._subgraph, "Inputs", "the model's inputs")
            self.outputs = self._indices(self._subgraph, "Outputs", "the model's outputs")
        self.operators = self._read_operators()

    def damaged(self, reason: str) -> ConversionError:
        """The error for a file that contradicts itself."""
        return ConversionError(f"{self.name} is not a whole TFLite model: {reason}")

    def tensor(self, index: int) -> StoredTensor:
        """Tensor `index`, checked."""
        if index not in self._tensors:
            with self._reading(f"tensor {index}"):
                self._tensors[index] = self._read_tensor(index)
        return self._tensors[index]

    def reshape_tensor(self, index: int, shape: tuple[int, ...]) -> None:
        """From now on tensor `index`, which is no constant, has this shape."""
        self._tensors[index] = replace(self.tensor(index), shape=shape)

    def options(self, operator: StoredOperator, name: str) -> Mapping[str, Any]:
        """The fields of an operator's options by schema name ("StrideH"); vectors are tuples.

        An operator without options has the defaults of the schema.
        """
        kind = getattr(self._schema, name)
        options = kind()
        with self._reading(f"the options of operator {operator.position}"):
            stored = operator.table.BuiltinOptionsType()
            if stored == self._schema.BuiltinOptions.NONE:
                options.Init(_EMPTY_TABLE, 4)
            elif stored == getattr(self._schema.BuiltinOptions, name):
                union = operator.table.BuiltinOptions()
                if union is None:
                    raise self.damaged(f"operator {operator.position} has lost its options")
                options.Init(union.Bytes, union.Pos)
            else:
                raise self.damaged(
                    f"operator {operator.position} is {operator.code} "
                    "and has the options of another operator"
                )
            return self._fields(kind, options, operator)
        raise AssertionError("unreachable")

    def custom_options(self, operator: StoredOperator) -> bytes:
        """The options of a CUSTOM operator, which only its maker knows to read."""
        with self._reading(f"the options of operator {operator.position}"):
            if operator.table.CustomOptionsLength() == 0:
                return b""
            found = operator.table.CustomOptionsAsNumpy()
            self._spend(found.nbytes)
            return bytes(found)
        raise AssertionError("unreachable")

    def signatures(self) -> dict[str, dict[str, dict[str, str]]]:
        """Names that callers know inputs and outputs by, to tensor names, for each signature."""
        found = {}
        with self._reading("the signatures"):
            for i in range(self._model.SignatureDefsLength()):
                signature = self._model.SignatureDefs(i)
                if signature.SubgraphIndex() != 0:
                    continue
                key = self._text(signature.SignatureKey())
                found[key] = {
                    kind: self._tensor_map(signature, method)
                    for kind, method in (("inputs", "Inputs"), ("outputs", "Outputs"))
                }
        return found

    def metadata(self, name: str) -> bytes:
        """One of the named blobs that tools attach to a model; empty when it is absent."""
        with self._reading("the metadata"):
            for i in range(self._model.MetadataLength()):
                entry = self._model.Metadata(i)
                if self._text(entry.Name()) == name:
                    return bytes(self._buffer(entry.Buffer()))
        return b""

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """Turn what the accessors raise on a damaged file into our error."""
        try:
            yield
        except ConversionError:
            raise
        except (struct.error, IndexError, ValueError, TypeError, OverflowError) as error:
            raise self.damaged(f"{what} cannot be read ({error})") from error

    def _spend(self, count: int) -> None:
        self._allowance -= count + 16
        if self._allowance < 0:
            raise self.damaged("its parts add up to many times its size")

    def _text(self, raw: bytes | None) -> str:
        self._spend(len(raw or b""))
        return (raw or b"").decode("utf-8", errors="replace")

    def _vector(self, table: Any, field: str) -> npt.NDArray[Any]:
        length = getattr(table, field + "Length")()
        if not length:
            return np.zeros(0, np.int64)
        array: npt.NDArray[Any] = getattr(table, field + "AsNumpy")()
        self._spend(array.nbytes)
        return array

    def _indices(self, table: Any, field: str, what: str, lowest: int = 0) -> tuple[int, ...]:
        indices = tuple(int(i) for i in self._vector(table, field))
        for index in indices:
            if not lowest <= index < self._tensor_count:
                raise self.damaged(f"{what} name tensor {index} of {self._tensor_count}")
        return indices

    def _read_operators(self) -> list[StoredOperator]:
        operators = []
        with self._reading("the operators"):
            codes = [self._operator_code(i) for i in range(self._model.OperatorCodesLength())]
            for position in range(self._subgraph.OperatorsLength()):
                table = self._subgraph.Operators(position)
                self._spend(_TABLE_COST)
                index = table.OpcodeIndex()
                if not 0 <= index < len(codes):
                    raise self.damaged(
                        f"operator {position} has operator code {index} of {len(codes)}"
                    )
                what = f"operator {position}'s operands"
                inputs = self._indices(table, "Inputs", what, lowest=-1)
                outputs = self._indices(table, "Outputs", what)
                code, custom_code = codes[index]
                operators.append(
                    StoredOperator(position, code, custom_code, inputs, outputs, table)
                )
        return operators

    def _operator_code(self, index: int) -> tuple[str, str]:
        code = self._model.OperatorCodes(index)
        self._spend(0)
        # Files from before the 128th operator know the old field only; newer ones fill the old one
        # with at most 127. The package's BuiltinCode() looks at the old field first, so a file with
        # the new one alone needs it read here.
        number = code.DeprecatedBuiltinCode()
        slot = code._tab.Offset(_BUILTIN_CODE_SLOT)
        if slot != 0:
            number = max(number, *struct.unpack_from("<i", self._data, code._tab.Pos + slot))
        names = _names(self._schema.BuiltinOperator)
        return names.get(number, f"OPERATOR_{number}"), self._text(code.CustomCode())

    def _fields(self, kind: Any, options: Any, operator: StoredOperator) -> dict[str, Any]:
        found: dict[str, Any] = {}
        accessors = [
            name
            for name in vars(kind)
            if name[0].isupper()
            and not name.startswith(_NOT_FIELDS)
            and not name.endswith(_NOT_FIELD_SUFFIXES)
        ]
        for name in accessors:
            if name + "Length" in vars(kind):
                found[name] = tuple(self._vector(options, name).tolist())
                continue
            value = getattr(options, name)()
            if isinstance(value, float) and not np.isfinite(value):
                raise self.damaged(f"operator {operator.position} has {name} {value}")
            found[name] = value
        return found

    def _tensor_map(self, signature: Any, method: str) -> dict[str, str]:
        entries = [
            getattr(signature, method)(i) for i in range(getattr(signature, method + "Length")())
        ]
        names = {}
        for entry in entries:
            index = entry.TensorIndex()
            if not 0 <= index < self._tensor_count:
                raise self.damaged(f"a signature names tensor {index} of {self._tensor_count}")
            names[self._text(entry.Name())] = self.tensor(index).name
        return names

    def _buffer(self, index: int) -> memoryview:
        if not 0 <= index < self._buffer_count:
            raise self.damaged(f"buffer {index} of {self._buffer_count} is used")
        buffer = self._model.Buffers(index)
        self._spend(0)
        # Files above 2 GB keep the bytes behind the flatbuffer; an offset of 1 is a placeholder.
        if buffer.Offset() > 1:
            begin, count = buffer.Offset(), buffer.Size()
            if begin + count > len(self._data):
                raise self.damaged(f"buffer {index} ends behind the file's end")
            return memoryview(self._data)[begin : begin + count]
        if not buffer.DataLength():
            return memoryview(b"")
        return memoryview(buffer.DataAsNumpy())

    def _read_tensor(self, index: int) -> StoredTensor:
        table = self._subgraph.Tensors(index)
        self._spend(_TABLE_COST)
        name = self._text(table.Name())
        what = f"tensor {index} ({name!r})"
        shape = self._dimensions(table, "Shape", what)
        signature = self._dimensions(table, "ShapeSignature", what)
        if any(n < 0 for n in shape):
            raise self.damaged(f"{what} has shape {list(shape)}")
        kind = self._types.get(table.Type(), f"type {table.Type()}")
        is_sparse = table.Sparsity() is not None
        raw = self._buffer(table.Buffer())
        data = None if is_sparse else self._constant(raw, kind, shape, what)
        if data is not None:
            self._spend(data.nbytes)
        return StoredTensor(
            index,
            name,
            shape,
            signature,
            kind,
            self._quantization(table.Quantization()),
            len(raw) > 0,
            data,
            bool(table.IsVariable()),
            is_sparse,
        )

    def _dimensions(self, table: Any, field: str, what: str) -> tuple[int, ...]:
        rank = getattr(table, field + "Length")()
        if rank > MAX_RANK:
            raise self.damaged(f"{what} has {rank} axes")
        return tuple(self._vector(table, field).tolist())

    def _quantization(self, table: Any) -> StoredQuantization | None:
        if table is None:
            return None
        scale = self._vector(table, "Scale").astype(np.float32)
        if scale.size == 0 and table.DetailsType() == 0:
            return None
        zero_point = self._vector(table, "ZeroPoint").astype(np.int64)
        axis = table.QuantizedDimension()
        return StoredQuantization(scale, zero_point, axis, table.DetailsType() != 0)

    def _constant(
        self, raw: memoryview, kind: str, shape: tuple[int, ...], what: str
    ) -> npt.NDArray[Any] | None:
        if len(raw) == 0 or not (kind == "INT4" or kind in ELEMENTS):
            return None
        elements = 1
        for n in shape:
            elements *= n
        item = np.dtype(ELEMENTS.get(kind, "u1")).itemsize
        needed = (elements + 1) // 2 if kind == "INT4" else elements * item
        if needed != len(raw):
            raise self.damaged(
                f"{what} is {kind} {list(shape)}, {needed} bytes, and its buffer has {len(raw)}"
            )
        if kind == "INT4":
            # The first of two elements is in the low nibble; shifts in int8 extend the sign.
            packed = np.frombuffer(raw, np.int8)
            pairs = np.stack([packed << 4 >> 4, packed >> 4], axis=1)
            return pairs.reshape(-1)[:elements].reshape(shape)
        stored = np.frombuffer(raw, ELEMENTS[kind]).reshape(shape)
        native: npt.NDArray[Any] = stored.astype(stored.dtype.newbyteorder("="), copy=False)
        return native
