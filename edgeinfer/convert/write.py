"""Planned programs to the bytes of an `.edge` file, laid out as `csrc/model/format.h` says.

The same programs and metadata give the same bytes: nothing depends on time, machine or hashing
order. Constants of equal contents are stored once, whichever programs and nodes read them.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgeinfer.budget import align_up
from edgeinfer.convert.minor_version import minor_version
from edgeinfer.convert.plan import session_bytes
from edgeinfer.convert.program import DTYPE_CODES, SCHEME_CODES, Operation, Plan, Program, Value
from edgeinfer.errors import ConversionError
from edgeinfer.operators import operators

MAGIC = b"EDGEINF\x1a"
MAJOR = 1
SECTION_ALIGNMENT = 64
CONSTANT_ALIGNMENT = 64
MAX_RANK = 6
MAX_PROGRAMS = 64
MAX_BUFFERS = 4096
MAX_TENSOR_BYTES = 0x7FFFFFFF
NONE = 0xFFFFFFFF
"""EI_NO_TENSOR and EI_NO_BUFFER."""

PROGRAMS, BUFFERS, TENSORS, NODES, OPERANDS, STEPS, PARAMS, CONSTANTS, STRINGS, METADATA = range(
    1, 11
)
FLAG_INPUT = 1
FLAG_OUTPUT = 2

_HEADER = struct.Struct("<8sHHIQII32x")
_SECTION = struct.Struct("<IIQQII")
_PROGRAM = struct.Struct("<14I8xQQQQQ24x")
_BUFFER = struct.Struct("<QQIIBB6x")
_TENSOR = struct.Struct("<IIQBBH6iIIIfi")
_NODE = struct.Struct("<HHHHIIII8x")
_STEP = struct.Struct("<III4x")
_OPERAND = struct.Struct("<I")


def write_model(programs: Sequence[tuple[Program, Plan]], metadata: dict[str, Any]) -> bytes:
    """Encode planned programs as one file.

    Parameters
    ----------
    programs : programs with their plans; names must differ. The first is the one that runs by
        default. Constants are shared between them.
    metadata : anything that JSON can hold; keys are sorted.

    Raises
    ------
    ConversionError
        Something does not fit the format: a tensor of more than 2^31 - 1 bytes or rank 6, a program
        that does nothing or needs more than 4096 buffers, two programs, inputs or outputs of one
        name, metadata that is not JSON.
    """
    if not 1 <= len(programs) <= MAX_PROGRAMS:
        raise ConversionError(f"a file holds 1 to {MAX_PROGRAMS} programs, not {len(programs)}")
    names = [program.name for program, _ in programs]
    if len(set(names)) != len(names):
        raise ConversionError(f"two programs have one name: {names}")
    writer = _Writer()
    for program, plan in programs:
        writer.add_program(program, plan)
    try:
        text = json.dumps(metadata, sort_keys=True, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise ConversionError(f"metadata cannot be written as JSON: {error}") from error
    return writer.assemble(text.encode())


@dataclass
class _Records:
    """A section of records of one size."""

    record: struct.Struct
    data: bytearray = field(default_factory=bytearray)

    def add(self, *values: Any) -> int:
        index = self.count
        self.data += self.record.pack(*values)
        return index

    @property
    def count(self) -> int:
        return len(self.data) // self.record.size


class _Writer:
    def __init__(self) -> None:
        self.minor = 0
        self.programs = _Records(_PROGRAM)
        self.buffers = _Records(_BUFFER)
        self.tensors = _Records(_TENSOR)
        self.nodes = _Records(_NODE)
        self.operands = _Records(_OPERAND)
        self.steps = _Records(_STEP)
        self.params = bytearray()
        self.constants = bytearray()
        self.strings = bytearray(b"\0")
        self.string_offsets: dict[str, int] = {"": 0}
        self.constant_offsets: dict[bytes, int] = {}  # by SHA-256 of the contents
        self.constant_tensors: dict[bytes, int] = {}

    def string(self, text: str) -> int:
        """Offset of the text in the strings section."""
        text = _stored_name(text)
        if text not in self.string_offsets:
            self.string_offsets[text] = len(self.strings)
            self.strings += text.encode() + b"\0"
        return self.string_offsets[text]

    def constant(self, value: Value) -> tuple[int, int]:
        """Tensor index and offset of a constant; equal contents share their bytes."""
        assert value.data is not None
        data = np.ascontiguousarray(value.data).astype(
            np.dtype(value.dtype).newbyteorder("<"), copy=False
        )
        contents = data.tobytes()
        if len(contents) != value.nbytes or value.data.dtype != np.dtype(value.dtype):
            raise ConversionError(
                f"constant {value.name!r} is {value.data.dtype}{list(value.data.shape)}, "
                f"declared {value.dtype}{list(value.shape)}"
            )
        digest = hashlib.sha256(contents).digest()
        if digest not in self.constant_offsets:
            self.constants += bytes(-len(self.constants) % CONSTANT_ALIGNMENT)
            self.constant_offsets[digest] = len(self.constants)
            self.constants += contents
        offset = self.constant_offsets[digest]
        record = self.tensor_record(value, NONE, offset, value.rows)
        if record not in self.constant_tensors:
            self.constant_tensors[record] = self.tensors.count
            self.tensors.data += record
        return self.constant_tensors[record], offset

    def tensor_record(self, value: Value, buffer: int, offset: int, ring_rows: int) -> bytes:
        if len(value.shape) > MAX_RANK:
            raise ConversionError(
                f"{value.name!r} has rank {len(value.shape)}; the largest is {MAX_RANK}"
            )
        if any(dim < 1 for dim in value.shape):
            raise ConversionError(f"{value.name!r} has shape {list(value.shape)}: no elements")
        if value.nbytes > MAX_TENSOR_BYTES:
            raise ConversionError(
                f"{value.name!r} {list(value.shape)} takes {value.nbytes:,} bytes; "
                f"the largest tensor has {MAX_TENSOR_BYTES:,}"
            )
        dims = [*value.shape, *[1] * (MAX_RANK - len(value.shape))]
        try:
            return _TENSOR.pack(
                self.string(value.name),
                buffer,
                offset,
                DTYPE_CODES[value.dtype],
                len(value.shape),
                SCHEME_CODES[value.scheme],
                *dims,
                value.rows,
                ring_rows,
                value.row_bytes,
                value.scale,
                value.zero_point,
            )
        except (struct.error, OverflowError) as error:
            raise ConversionError(
                f"{value.name!r}: scale {value.scale} or zero point {value.zero_point} "
                f"does not fit the file: {error}"
            ) from error

    def add_program(self, program: Program, plan: Plan) -> None:
        if not (plan.steps and program.outputs):
            raise ConversionError(f"program {program.name!r} computes nothing")
        _require_distinct_names("input", program, program.inputs)
        _require_distinct_names("output", program, program.outputs)
        if len(plan.buffers) > MAX_BUFFERS:
            raise ConversionError(
                f"program {program.name!r} has {len(plan.buffers)} buffers; "
                f"the most is {MAX_BUFFERS}"
            )
        self.minor = max(self.minor, minor_version(program, plan))
        first_buffer = self.buffers.count
        for buffer in plan.buffers:
            flags = FLAG_INPUT * buffer.is_input | FLAG_OUTPUT * buffer.is_output
            self.buffers.add(
                buffer.offset, buffer.bytes, buffer.first_step, buffer.last_step, 0, flags
            )
        # Activations lie side by side in the file; constants follow, or were there before.
        tensors: dict[Value, int] = {}
        first_tensor = self.tensors.count
        for value in _activations(program, plan):
            placement = plan.placements[value]
            tensors[value] = self.tensors.count
            self.tensors.data += self.tensor_record(
                value, placement.buffer, placement.offset, placement.ring_rows
            )
        tensor_count = self.tensors.count - first_tensor
        weights: dict[tuple[int, int], int] = {}
        for operation in plan.operations:
            for operand in operation.inputs:
                if operand is not None and operand.data is not None and operand not in tensors:
                    tensors[operand], offset = self.constant(operand)
                    weights[offset, operand.nbytes] = operand.nbytes

        first_input = self.operands.count
        for value in program.inputs:
            self.operands.add(tensors[value])
        first_output = self.operands.count
        for value in program.outputs:
            self.operands.add(tensors[value])
        first_node = self.nodes.count
        for operation in plan.operations:
            self.add_node(operation, tensors)
        first_step = self.steps.count
        for step in plan.steps:
            self.steps.add(step.operation, step.row_begin, step.row_end)
        self.programs.add(
            self.string(program.name),
            first_buffer,
            len(plan.buffers),
            first_tensor,
            tensor_count,
            first_node,
            len(plan.operations),
            first_step,
            len(plan.steps),
            first_input,
            len(program.inputs),
            first_output,
            len(program.outputs),
            plan.peak_step,
            plan.arena_bytes,
            plan.state_bytes,
            program.scratch_bytes,
            session_bytes(program, plan),
            sum(weights.values()),
        )

    def add_node(self, operation: Operation, tensors: dict[Value, int]) -> None:
        operator = operators().get(operation.operator)
        if operator is None:
            raise ConversionError(
                f"{operation.name!r}: the runtime has no operator {operation.operator!r}"
            )
        inputs, outputs = operation.inputs, operation.outputs
        if not operator.min_inputs <= len(inputs) <= operator.max_inputs:
            raise ConversionError(f"{operation.name!r} ({operator.name}) has {len(inputs)} inputs")
        if len(outputs) != operator.outputs:
            raise ConversionError(
                f"{operation.name!r} ({operator.name}) has {len(outputs)} outputs"
            )
        try:
            params = operator.pack(operation.params)
        except ValueError as error:
            raise ConversionError(f"{operation.name!r}: {error}") from error
        first_operand = self.operands.count
        for value in [*inputs, *outputs]:
            self.operands.add(NONE if value is None else tensors[value])
        self.nodes.add(
            operator.id,
            len(inputs),
            len(outputs),
            0,
            first_operand,
            len(self.params),
            len(params),
            self.string(operation.name),
        )
        self.params += params

    def assemble(self, metadata: bytes) -> bytes:
        contents: list[tuple[int, bytes | bytearray, int, int]] = [
            (number, records.data, records.count, records.record.size)
            for number, records in (
                (PROGRAMS, self.programs),
                (BUFFERS, self.buffers),
                (TENSORS, self.tensors),
                (NODES, self.nodes),
                (OPERANDS, self.operands),
                (STEPS, self.steps),
            )
        ]
        contents += [
            (PARAMS, self.params, 0, 0),
            (CONSTANTS, self.constants, 0, 0),
            (STRINGS, self.strings, 0, 0),
            (METADATA, metadata, 0, 0),
        ]
        body = bytearray()
        sections = bytearray()
        start = align_up(_HEADER.size + len(contents) * _SECTION.size, SECTION_ALIGNMENT)
        for number, data, count, record_bytes in contents:
            body += bytes(-len(body) % SECTION_ALIGNMENT)
            sections += _SECTION.pack(
                number, zlib.crc32(data), start + len(body), len(data), count, record_bytes
            )
            body += data

        def header(checksum: int) -> bytes:
            return _HEADER.pack(
                MAGIC, MAJOR, self.minor, len(contents), start + len(body), checksum, 0
            )

        front = header(zlib.crc32(header(0) + sections)) + sections
        return bytes(front + bytes(start - len(front)) + body)


def _stored_name(text: str) -> str:
    """A name as UTF-8 without zeros, which end a string; people lose nothing by this."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def _require_distinct_names(kind: str, program: Program, values: Sequence[Value]) -> None:
    """Callers find inputs and outputs by name."""
    names = [_stored_name(value.name) for value in values]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ConversionError(f"program {program.name!r} has two {kind}s named {twice[0]!r}")


def _activations(program: Program, plan: Plan) -> list[Value]:
    """Values that the file names, each once: graph inputs, then in the order of first use."""
    found: dict[Value, None] = dict.fromkeys(program.inputs)
    for operation in plan.operations:
        for value in [*operation.inputs, *operation.outputs]:
            if value is not None and value.data is None:
                found[value] = None
    found.update(dict.fromkeys(program.outputs))
    return list(found)
