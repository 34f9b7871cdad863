"""An `.edge` file as Python objects: a reader of its own, sharing no code with writer or C core.

`inspect` and `plan` show what it finds, and tests hold the three against each other. It needs NumPy
and the standard library only, so it works on the device. It trusts nothing: any bytes give a
`ModelFile` whose every index, range and size has been checked, or a `ModelFileError`. What only an
operator knows, whether its operands fit each other, is left to the C core.

Source: docs/format.md.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.model_file import (
    FileBuffer,
    FileNode,
    FileProgram,
    FileSection,
    FileStep,
    FileTensor,
    ModelFile,
)
from edgeinfer.errors import ModelFileError, ModelVersionError
from edgeinfer.operators import operators_by_id

_MAGIC = b"EDGEINF\x1a"
_MAJOR = 1
_ABSENT = 0xFFFFFFFF
_MAX_RANK = 6
_MAX_BUFFERS = 4096
_MAX_TENSOR_BYTES = 0x7FFFFFFF
_OPTIONAL = 0x8000
_DTYPES = {
    1: "int8",
    2: "uint8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float32",
    7: "bool",
}
_SECTIONS = {
    1: "programs",
    2: "buffers",
    3: "tensors",
    4: "nodes",
    5: "operands",
    6: "steps",
    7: "params",
    8: "constants",
    9: "strings",
    10: "metadata",
}


def _record(*groups: tuple[str, str]) -> np.dtype[Any]:
    """A record of fields, given as (format, names) in order."""
    return np.dtype([(name, form) for form, names in groups for name in names.split()])


_RECORDS = {
    "programs": _record(
        ("<u4", "name first_buffer buffer_count first_tensor tensor_count first_node node_count"),
        ("<u4", "first_step step_count first_input input_count first_output output_count"),
        ("<u4", "peak_step"),
        ("(2,)<u4", "reserved"),
        ("<u8", "arena_bytes state_bytes scratch_bytes session_bytes weights_bytes"),
        ("(24,)u1", "reserved2"),
    ),
    "buffers": _record(
        ("<u8", "offset bytes"),
        ("<u4", "first_step last_step"),
        ("u1", "region flags"),
        ("(6,)u1", "reserved"),
    ),
    "tensors": _record(
        ("<u4", "name buffer"),
        ("<u8", "offset"),
        ("u1", "dtype rank"),
        ("<u2", "flags"),
        ("(6,)<i4", "dims"),
        ("<u4", "rows ring_rows row_bytes"),
        ("<f4", "scale"),
        ("<i4", "zero_point"),
    ),
    "nodes": _record(
        ("<u2", "op input_count output_count reserved"),
        ("<u4", "first_operand params_offset params_bytes name"),
        ("(2,)<u4", "reserved2"),
    ),
    "operands": np.dtype("<u4"),
    "steps": _record(("<u4", "node row_begin row_end reserved")),
}


def read_model(data: bytes | bytearray | memoryview) -> ModelFile:
    """Decode and check a whole file.

    Parameters
    ----------
    data : the file's bytes. Constants of the result are read-only views of them.

    Raises
    ------
    ModelVersionError
        The file is of another major version.
    ModelFileError
        The bytes are not an .edge file, are damaged or cut short, or break a rule of the format.
    """
    return _Reader(memoryview(data).toreadonly().cast("B")).read()


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ModelFileError(message)


class _Reader:
    def __init__(self, data: memoryview) -> None:
        self.data = data

    def read(self) -> ModelFile:
        version = self.read_header()
        records = {name: self.records(name) for name in _RECORDS}
        self.records_of = records
        self.constants = self.section("constants")
        self.strings = bytes(self.section("strings"))
        self.params = bytes(self.section("params"))
        _require(self.strings[:1] == b"\0", "strings: the first byte is not zero")
        _require(self.strings[-1:] == b"\0", "strings: the last byte is not zero")
        self.tensors: dict[int, FileTensor] = {}
        for index in range(len(records["tensors"])):
            self.tensors[index] = self.tensor(index)
        programs = tuple(self.program(index) for index in range(len(records["programs"])))
        _require(len(programs) > 0, "the file holds no program")
        return ModelFile(
            version=version,
            file_bytes=len(self.data),
            sections=tuple(
                FileSection(name, offset, size)
                for name, (offset, size, _) in sorted(self.places.items(), key=lambda i: i[1])
            ),
            programs=programs,
            metadata=self.metadata(),
        )

    # --- header and sections

    def read_header(self) -> tuple[int, int]:
        data = self.data
        _require(
            bytes(data[: len(_MAGIC)]) == _MAGIC,
            "not an .edge file: it does not start with EDGEINF",
        )
        _require(len(data) >= 64, f"the file has {len(data)} bytes, the header alone 64")
        major, minor, count, file_bytes, checksum, flags = struct.unpack_from("<HHIQII", data, 8)
        if major != _MAJOR:
            raise ModelVersionError(
                f"the file has format version {major}.{minor}; this reader knows {_MAJOR}.x"
            )
        _require(
            file_bytes == len(data),
            f"the header says {file_bytes} bytes, the file has {len(data)}: it was cut or extended",
        )
        table_end = 64 + 32 * count
        _require(table_end <= len(data), f"{count} sections do not fit in {len(data)} bytes")
        front = bytearray(data[:table_end])
        front[24:28] = bytes(4)
        _require(zlib.crc32(front) == checksum, "header: the checksum does not match")
        _require(flags == 0, f"header: unknown flags {flags:#x}")
        self.places: dict[str, tuple[int, int, int]] = {}
        ranges = [(0, table_end, "header")]
        for index in range(count):
            kind, checksum, offset, size, records, record_bytes = struct.unpack_from(
                "<IIQQII", data, 64 + 32 * index
            )
            _require(
                kind in _SECTIONS or kind >= _OPTIONAL,
                f"section {index} has type {kind}, which this reader does not know",
            )
            name = _SECTIONS.get(kind, f"optional {kind}")
            _require(name not in self.places, f"two sections hold {name}")
            _require(
                offset % 64 == 0 and offset + size <= len(data),
                f"section {name}: {size} bytes at {offset} are misaligned or leave the file",
            )
            _require(
                zlib.crc32(data[offset : offset + size]) == checksum,
                f"section {name}: the checksum does not match",
            )
            expected = _RECORDS[name].itemsize if name in _RECORDS else 0
            if kind in _SECTIONS:
                _require(
                    record_bytes == expected and size == records * record_bytes
                    if expected
                    else records == 0 and record_bytes == 0,
                    f"section {name}: {records} records of {record_bytes} bytes in {size} bytes",
                )
            self.places[name] = (offset, size, records)
            ranges.append((offset, offset + size, name))
        ranges.sort()
        for (_, end, name), (start, _, other) in pairwise(ranges):
            _require(end <= start, f"sections {name} and {other} overlap")
        for name in _SECTIONS.values():
            _require(name in self.places, f"section {name} is missing")
        return major, minor

    def section(self, name: str) -> memoryview:
        offset, size, _ = self.places[name]
        return self.data[offset : offset + size]

    def records(self, name: str) -> npt.NDArray[Any]:
        array = np.frombuffer(self.section(name), _RECORDS[name])
        for reserved in [f for f in array.dtype.names or () if f.startswith("reserved")]:
            _require(not np.any(array[reserved]), f"section {name}: a reserved field is not zero")
        return array

    def string(self, offset: int, where: str) -> str:
        _require(offset < len(self.strings), f"{where}: name at {offset} leaves the strings")
        end = self.strings.index(b"\0", offset)
        try:
            return self.strings[offset:end].decode()
        except UnicodeDecodeError as error:
            raise ModelFileError(f"{where}: the name is not UTF-8") from error

    def metadata(self) -> dict[str, Any]:
        try:
            found = json.loads(bytes(self.section("metadata")).decode())
        except (UnicodeDecodeError, ValueError, RecursionError) as error:
            raise ModelFileError(f"metadata is not JSON: {error}") from error
        _require(isinstance(found, dict), "metadata is not a JSON object")
        result: dict[str, Any] = found
        return result

    # --- tensors

    def tensor(self, index: int) -> FileTensor:
        record = self.records_of["tensors"][index]
        where = f"tensor {index}"
        name = self.string(int(record["name"]), where)
        where = f"tensor {index} {name!r}"
        rank = int(record["rank"])
        _require(rank <= _MAX_RANK, f"{where}: rank {rank}")
        dims = [int(dim) for dim in record["dims"]]
        _require(
            all(dim >= 1 for dim in dims) and all(dim == 1 for dim in dims[rank:]),
            f"{where}: dims {dims} for rank {rank}",
        )
        _require(int(record["dtype"]) in _DTYPES, f"{where}: unknown dtype {record['dtype']}")
        _require(int(record["flags"]) == 0, f"{where}: unknown flags")
        dtype = np.dtype(_DTYPES[int(record["dtype"])])
        in_row = 2 if rank >= 4 else min(rank, 1)
        elements_of_row = rows = 1
        for axis, dim in enumerate(dims[:rank]):
            if axis < rank - in_row:
                rows *= dim
            else:
                elements_of_row *= dim
        row_bytes = elements_of_row * dtype.itemsize
        _require(rows * row_bytes <= _MAX_TENSOR_BYTES, f"{where}: more than 2^31 - 1 bytes")
        _require(
            (int(record["rows"]), int(record["row_bytes"])) == (rows, row_bytes),
            f"{where}: {record['rows']} rows of {record['row_bytes']} bytes for shape {dims}",
        )
        ring_rows = int(record["ring_rows"])
        _require(1 <= ring_rows <= rows, f"{where}: a ring of {ring_rows} of {rows} rows")
        scale = float(record["scale"])
        _require(np.isfinite(scale) and scale >= 0, f"{where}: scale {scale}")
        buffer: int | None = int(record["buffer"])
        offset = int(record["offset"])
        contents: npt.NDArray[Any] | None = None
        if buffer == _ABSENT:
            buffer = None
            _require(ring_rows == rows, f"{where}: a constant cannot be a ring")
            _require(
                offset % 64 == 0 and offset + rows * row_bytes <= len(self.constants),
                f"{where}: offset {offset} is misaligned or leaves the constants",
            )
            flat = np.frombuffer(self.constants, np.uint8, rows * row_bytes, offset)
            contents = flat.view(dtype.newbyteorder("<")).reshape(dims[:rank])
        return FileTensor(
            name=name,
            dtype=dtype.name,
            shape=tuple(dims[:rank]),
            buffer=buffer,
            offset=offset,
            rows=rows,
            ring_rows=ring_rows,
            row_bytes=row_bytes,
            scale=scale,
            zero_point=int(record["zero_point"]),
            data=contents,
        )

    # --- programs

    def span(self, record: Any, what: str, section: str, where: str) -> range:
        first, count = int(record[f"first_{what}"]), int(record[f"{what}_count"])
        total = len(self.records_of[section])
        _require(
            first + count <= total, f"{where}: {section} {first} to {first + count} of {total}"
        )
        return range(first, first + count)

    def program(self, index: int) -> FileProgram:
        record = self.records_of["programs"][index]
        name = self.string(int(record["name"]), f"program {index}")
        where = f"program {name!r}"
        own = self.span(record, "tensor", "tensors", where)
        step_count = int(record["step_count"])
        _require(step_count >= 1, f"{where}: no steps")
        _require(int(record["peak_step"]) < step_count, f"{where}: peak step {record['peak_step']}")
        sizes = {
            region: int(record[f"{region}_bytes"])
            for region in ("arena", "state", "scratch", "session", "weights")
        }
        buffers = tuple(
            self.buffer(i, sizes, step_count, where)
            for i in self.span(record, "buffer", "buffers", where)
        )
        _require(len(buffers) <= _MAX_BUFFERS, f"{where}: {len(buffers)} buffers")
        _check_overlap(buffers, where)
        for i in own:
            self.check_placement(i, buffers, where)
        nodes = tuple(self.node(i, own, where) for i in self.span(record, "node", "nodes", where))
        steps = tuple(self.step(i, nodes, where) for i in self.span(record, "step", "steps", where))
        inputs = self.listed(self.span(record, "input", "operands", where), own, where)
        outputs = self.listed(self.span(record, "output", "operands", where), own, where)
        _check_io(inputs, outputs, buffers, where)
        return FileProgram(
            name=name,
            inputs=inputs,
            outputs=outputs,
            tensors=tuple(self.tensors[i] for i in own),
            buffers=buffers,
            nodes=nodes,
            steps=steps,
            peak_step=int(record["peak_step"]),
            **{f"{region}_bytes": size for region, size in sizes.items()},
        )

    def buffer(self, index: int, sizes: dict[str, int], step_count: int, where: str) -> FileBuffer:
        record = self.records_of["buffers"][index]
        offset, size = int(record["offset"]), int(record["bytes"])
        first, last = int(record["first_step"]), int(record["last_step"])
        _require(int(record["region"]) <= 1, f"{where}: buffer {index} in an unknown region")
        _require(int(record["flags"]) <= 3, f"{where}: buffer {index} has unknown flags")
        region = ("arena", "state")[int(record["region"])]
        _require(
            size >= 1 and offset % 16 == 0 and offset + size <= sizes[region],
            f"{where}: buffer {index}, {size} bytes at {offset}, is misaligned or leaves the "
            f"{region} of {sizes[region]} bytes",
        )
        _require(
            first <= last < step_count, f"{where}: buffer {index} lives from step {first} to {last}"
        )
        flags = int(record["flags"])
        return FileBuffer(region, offset, size, first, last, bool(flags & 1), bool(flags & 2))

    def check_placement(self, index: int, buffers: Sequence[FileBuffer], where: str) -> None:
        tensor = self.tensors[index]
        where = f"{where}: tensor {index} {tensor.name!r}"
        if tensor.buffer is None:
            raise ModelFileError(f"{where} is a constant among the activations")
        _require(tensor.buffer < len(buffers), f"{where} lies in buffer {tensor.buffer}")
        buffer = buffers[tensor.buffer]
        _require(
            tensor.offset % np.dtype(tensor.dtype).itemsize == 0
            and tensor.offset + tensor.ring_rows * tensor.row_bytes <= buffer.bytes,
            f"{where} at {tensor.offset} is misaligned or leaves its buffer",
        )

    def operand(self, index: int, own: range, where: str) -> FileTensor:
        _require(index in self.tensors, f"{where}: there is no tensor {index}")
        tensor = self.tensors[index]
        _require(
            tensor.buffer is None or index in own,
            f"{where}: tensor {index} {tensor.name!r} belongs to another program",
        )
        return tensor

    def listed(self, span: range, own: range, where: str) -> tuple[FileTensor, ...]:
        indices = [int(self.records_of["operands"][i]) for i in span]
        return tuple(self.operand(index, own, where) for index in indices)

    def node(self, index: int, own: range, where: str) -> FileNode:
        record = self.records_of["nodes"][index]
        name = self.string(int(record["name"]), f"node {index}")
        where = f"{where}: node {index} {name!r}"
        operator = operators_by_id().get(int(record["op"]))
        if operator is None:
            raise ModelFileError(f"{where}: unknown operator {record['op']}")
        where = f"{where} ({operator.name})"
        inputs, outputs = int(record["input_count"]), int(record["output_count"])
        _require(
            operator.min_inputs <= inputs <= operator.max_inputs and outputs == operator.outputs,
            f"{where}: {inputs} inputs and {outputs} outputs",
        )
        first = int(record["first_operand"])
        operands = self.records_of["operands"][first : first + inputs + outputs].tolist()
        _require(len(operands) == inputs + outputs, f"{where}: operands leave their section")
        start, size = int(record["params_offset"]), int(record["params_bytes"])
        _require(
            size == operator.params_bytes and start % 4 == 0 and start + size <= len(self.params),
            f"{where}: {size} bytes of parameters at {start}",
        )
        made = tuple(self.operand(i, own, where) for i in operands[inputs:])
        _require(all(t.buffer is not None for t in made), f"{where}: an output is a constant")
        return FileNode(
            operator=operator.name,
            inputs=tuple(
                None if i == _ABSENT else self.operand(i, own, where) for i in operands[:inputs]
            ),
            outputs=made,
            params=operator.unpack(self.params[start : start + size]),
            name=name,
        )

    def step(self, index: int, nodes: Sequence[FileNode], where: str) -> FileStep:
        record = self.records_of["steps"][index]
        step = FileStep(int(record["node"]), int(record["row_begin"]), int(record["row_end"]))
        _require(step.node < len(nodes), f"{where}: step {index} runs node {step.node}")
        _require(
            step.row_begin < step.row_end <= nodes[step.node].outputs[0].rows,
            f"{where}: step {index} runs rows {step.row_begin} to {step.row_end}",
        )
        return step


def _check_overlap(buffers: Sequence[FileBuffer], where: str) -> None:
    for i, a in enumerate(buffers):
        for j, b in enumerate(buffers[:i]):
            _require(
                a.region != b.region
                or a.offset + a.bytes <= b.offset
                or b.offset + b.bytes <= a.offset
                or a.last_step < b.first_step
                or b.last_step < a.first_step,
                f"{where}: buffers {j} and {i} overlap",
            )


def _check_io(
    inputs: Sequence[FileTensor],
    outputs: Sequence[FileTensor],
    buffers: Sequence[FileBuffer],
    where: str,
) -> None:
    """The runtime puts the caller's memory in the place of these buffers."""
    used: set[int] = set()
    for kind, tensors in (("input", inputs), ("output", outputs)):
        for tensor in tensors:
            if tensor.buffer is None:
                raise ModelFileError(f"{where}: {kind} {tensor.name!r} is a constant")
            buffer = buffers[tensor.buffer]
            _require(
                tensor.buffer not in used
                and (tensor.offset, tensor.nbytes) == (0, buffer.bytes)
                and tensor.ring_rows == tensor.rows
                and (buffer.is_input, buffer.is_output) == (kind == "input", kind == "output"),
                f"{where}: {kind} {tensor.name!r} has no buffer of its own that it fills",
            )
            used.add(tensor.buffer)
    _require(
        sum(buffer.is_input or buffer.is_output for buffer in buffers) == len(used),
        f"{where}: a buffer is marked as input or output without being one",
    )
