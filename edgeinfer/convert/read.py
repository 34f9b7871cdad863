"""An `.edge` file as Python objects: a reader of its own, sharing no code with writer or C core.

`inspect` and `plan` show what it finds, and tests hold the three against each other. It needs NumPy
and the standard library only, so it works on the device. It trusts nothing: any bytes give a
`ModelFile` whose every index, range and size has been checked, or a `ModelFileError`.

Source: docs/format.md. Left to the C core are the rules that need an operator's own knowledge or a
walk through what the arena holds (26 to 28, 33, 35 to 37), and the size of the scratch memory.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer.budget import session_bytes_of
from edgeinfer.convert.model_file import (
    FileBuffer,
    FileNode,
    FileProgram,
    FileStep,
    FileTensor,
    ModelFile,
)
from edgeinfer.convert.read_sections import Sections, require
from edgeinfer.errors import ModelFileError
from edgeinfer.operators import operators_by_id

_ABSENT = 0xFFFFFFFF
_MAX_RANK = 6
_MAX_PROGRAMS = 64
_MAX_BUFFERS = 4096
_MAX_TENSOR_BYTES = 0x7FFFFFFF
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
_SCHEMES = {0: "", 1: "mxfp4", 2: "nvfp4"}


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
    return _Reader(Sections(memoryview(data).toreadonly().cast("B"))).read()


class _Reader:
    def __init__(self, sections: Sections) -> None:
        self.sections = sections
        self.records = sections.records
        self.tensors = [self.tensor(index) for index in range(len(self.records["tensors"]))]

    def read(self) -> ModelFile:
        count = len(self.records["programs"])
        require(1 <= count <= _MAX_PROGRAMS, f"{count} programs; 1 to {_MAX_PROGRAMS} may be")
        owned = self.check_ranges()
        last = self.sections.places[-1]
        return ModelFile(
            version=self.sections.version,
            file_bytes=last.offset + last.bytes,
            sections=self.sections.places,
            programs=tuple(self.program(index, owned[index]) for index in range(count)),
            metadata=self.metadata(),
        )

    def metadata(self) -> dict[str, Any]:
        try:
            found = json.loads(self.sections.metadata.decode())
        except (ValueError, RecursionError) as error:
            raise ModelFileError(f"metadata is not JSON: {error}") from error
        require(isinstance(found, dict), "metadata is not a JSON object")
        result: dict[str, Any] = found
        return result

    # --- tensors

    def tensor(self, index: int) -> FileTensor:
        record = self.records["tensors"][index]
        where = f"tensor {index}"
        name = self.sections.name(int(record["name"]), where)
        where = f"tensor {index} {name!r}"
        rank = int(record["rank"])
        dims = [int(dim) for dim in record["dims"]]
        require(
            rank <= _MAX_RANK and min(dims) >= 1 and all(dim == 1 for dim in dims[rank:]),
            f"{where}: dims {dims} for rank {rank}",
        )
        require(int(record["dtype"]) in _DTYPES, f"{where}: unknown dtype {record['dtype']}")
        flags = int(record["flags"])
        require(flags in _SCHEMES, f"{where}: flags {flags}, which is no scheme of weights")
        dtype = np.dtype(_DTYPES[int(record["dtype"])])
        in_row = 2 if rank >= 4 else min(rank, 1)
        row_bytes, rows = dtype.itemsize, 1
        for axis, dim in enumerate(dims[:rank]):
            if axis < rank - in_row:
                rows *= dim
            else:
                row_bytes *= dim
        require(rows * row_bytes <= _MAX_TENSOR_BYTES, f"{where}: more than 2^31 - 1 bytes")
        require(
            (int(record["rows"]), int(record["row_bytes"])) == (rows, row_bytes),
            f"{where}: {record['rows']} rows of {record['row_bytes']} bytes for shape {dims}",
        )
        ring_rows = int(record["ring_rows"])
        require(1 <= ring_rows <= rows, f"{where}: a ring of {ring_rows} of {rows} rows")
        scale = float(record["scale"])
        require(np.isfinite(scale) and scale >= 0, f"{where}: scale {scale}")
        offset = int(record["offset"])
        is_constant = int(record["buffer"]) == _ABSENT
        require(
            flags == 0 or (is_constant and dtype == np.uint8),
            f"{where}: flags {flags} for what is no constant of uint8",
        )
        contents: npt.NDArray[Any] | None = None
        if is_constant:
            constants = self.sections.constants
            require(ring_rows == rows, f"{where}: a constant cannot be a ring")
            require(
                offset % 64 == 0 and offset + rows * row_bytes <= len(constants),
                f"{where}: offset {offset} is misaligned or leaves the constants",
            )
            flat = np.frombuffer(constants, np.uint8, rows * row_bytes, offset)
            contents = flat.view(dtype.newbyteorder("<")).reshape(dims[:rank])
        return FileTensor(
            name=name,
            dtype=dtype.name,
            shape=tuple(dims[:rank]),
            buffer=None if is_constant else int(record["buffer"]),
            offset=offset,
            rows=rows,
            ring_rows=ring_rows,
            row_bytes=row_bytes,
            scale=scale,
            zero_point=int(record["zero_point"]),
            data=contents,
            scheme=_SCHEMES[flags],
        )

    # --- programs

    def span(self, record: Any, what: str, section: str, where: str) -> range:
        first, count = int(record[f"first_{what}"]), int(record[f"{what}_count"])
        total = len(self.records[section])
        require(first + count <= total, f"{where}: {section} {first} to {first + count} of {total}")
        return range(first, first + count)

    def check_ranges(self) -> list[range]:
        """The tensors of each program, once it is known how programs share out the records."""
        ends = {"buffer": 0, "node": 0, "step": 0}
        owned = []
        tensors_end = 0
        for index, record in enumerate(self.records["programs"]):
            where = f"program {index}"
            for what, end in ends.items():
                span = self.span(record, what, f"{what}s", where)
                require(span.start == end, f"{where}: first_{what} is not {end}")
                ends[what] = span.stop
            span = self.span(record, "tensor", "tensors", where)
            require(span.start >= tensors_end, f"{where}: tensors of the program before")
            owned.append(span)
            self.check_constants(range(tensors_end, span.start))
            tensors_end = span.stop
        self.check_constants(range(tensors_end, len(self.tensors)))
        for what, end in ends.items():
            total = len(self.records[f"{what}s"])
            require(end == total, f"programs have {end} {what}s together, the file {total}")
        return owned

    def check_constants(self, indices: range) -> None:
        for index in indices:
            tensor = self.tensors[index]
            require(tensor.data is not None, f"tensor {index} {tensor.name!r} is of no program")

    def program(self, index: int, own: range) -> FileProgram:
        record = self.records["programs"][index]
        name = self.sections.name(int(record["name"]), f"program {index}")
        where = f"program {name!r}"
        step_count = int(record["step_count"])
        for what in ("node", "step", "output"):
            require(int(record[f"{what}_count"]) >= 1, f"{where}: no {what}s")
        require(int(record["peak_step"]) < step_count, f"{where}: peak step {record['peak_step']}")
        sizes = {
            part: int(record[f"{part}_bytes"])
            for part in ("arena", "state", "scratch", "session", "weights")
        }
        spans = self.span(record, "buffer", "buffers", where)
        require(len(spans) <= _MAX_BUFFERS, f"{where}: {len(spans)} buffers")
        buffers = tuple(self.buffer(i, sizes, step_count, where) for i in spans)
        _check_overlap(buffers, where)
        for i in own:
            self.check_placement(i, buffers, where)
        inputs = self.listed(self.span(record, "input", "operands", where), own, where)
        outputs = self.listed(self.span(record, "output", "operands", where), own, where)
        activations = tuple(self.tensors[i] for i in own if self.tensors[i].data is None)
        _check_io(inputs, outputs, activations, buffers, where)
        nodes = tuple(
            self.node(i, own, buffers, where) for i in self.span(record, "node", "nodes", where)
        )
        steps = tuple(self.step(i, nodes, where) for i in self.span(record, "step", "steps", where))
        program = FileProgram(
            name=name,
            inputs=inputs,
            outputs=outputs,
            tensors=activations,
            buffers=buffers,
            nodes=nodes,
            steps=steps,
            peak_step=int(record["peak_step"]),
            **{f"{part}_bytes": size for part, size in sizes.items()},
        )
        _check_promises(program, where)
        _check_steps(program, where)
        return program

    def buffer(self, index: int, sizes: dict[str, int], step_count: int, where: str) -> FileBuffer:
        record = self.records["buffers"][index]
        where = f"{where}: buffer {index}"
        offset, size = int(record["offset"]), int(record["bytes"])
        first, last = int(record["first_step"]), int(record["last_step"])
        flags = int(record["flags"])
        require(int(record["region"]) <= 1, f"{where} lies in an unknown region")
        region = ("arena", "state")[int(record["region"])]
        require(flags in ((0, 1, 2) if region == "arena" else (0,)), f"{where} has flags {flags}")
        require(
            size >= 1 and offset % 16 == 0 and offset + size <= sizes[region],
            f"{where}, {size} bytes at {offset}, is misaligned or leaves the {region}",
        )
        require(
            first <= last < step_count
            and (first == 0 or (region == "arena" and flags != 1))
            and (last == step_count - 1 or (region == "arena" and flags != 2)),
            f"{where} lives from step {first} to {last}",
        )
        return FileBuffer(region, offset, size, first, last, flags == 1, flags == 2)

    def check_placement(self, index: int, buffers: Sequence[FileBuffer], where: str) -> None:
        tensor = self.tensors[index]
        where = f"{where}: tensor {index} {tensor.name!r}"
        if tensor.buffer is None:
            return
        require(tensor.buffer < len(buffers), f"{where} lies in buffer {tensor.buffer}")
        require(
            tensor.offset % np.dtype(tensor.dtype).itemsize == 0
            and tensor.offset + tensor.held_bytes <= buffers[tensor.buffer].bytes,
            f"{where} at {tensor.offset} is misaligned or leaves its buffer",
        )

    def operand(self, index: int, own: range, where: str) -> FileTensor:
        require(index < len(self.tensors), f"{where}: there is no tensor {index}")
        tensor = self.tensors[index]
        require(
            tensor.data is not None or index in own,
            f"{where}: tensor {index} {tensor.name!r} belongs to another program",
        )
        return tensor

    def listed(self, span: range, own: range, where: str) -> tuple[FileTensor, ...]:
        indices = self.records["operands"][span.start : span.stop].tolist()
        return tuple(self.operand(index, own, where) for index in indices)

    def node(self, index: int, own: range, buffers: Sequence[FileBuffer], where: str) -> FileNode:
        record = self.records["nodes"][index]
        name = self.sections.name(int(record["name"]), f"node {index}")
        where = f"{where}: node {index} {name!r}"
        operator = operators_by_id().get(int(record["op"]))
        if operator is None:
            raise ModelFileError(f"{where}: unknown operator {record['op']}")
        where = f"{where} ({operator.name})"
        inputs, outputs = int(record["input_count"]), int(record["output_count"])
        require(
            operator.min_inputs <= inputs <= operator.max_inputs and outputs == operator.outputs,
            f"{where}: {inputs} inputs and {outputs} outputs",
        )
        first = int(record["first_operand"])
        operands = self.records["operands"][first : first + inputs + outputs].tolist()
        require(len(operands) == inputs + outputs, f"{where}: operands leave their section")
        start, size = int(record["params_offset"]), int(record["params_bytes"])
        params = self.sections.params[start : start + size]
        require(
            size == len(params) == operator.params_bytes and start % 4 == 0,
            f"{where}: {size} bytes of parameters at {start}",
        )
        made = tuple(self.operand(i, own, where) for i in operands[inputs:])
        require(
            all(t.buffer is not None and not buffers[t.buffer].is_input for t in made),
            f"{where}: an output is a constant or lies in the buffer of a graph input",
        )
        require(len({t.rows for t in made}) <= 1, f"{where}: outputs of different rows")
        return FileNode(
            operator=operator.name,
            inputs=tuple(
                None if i == _ABSENT else self.operand(i, own, where) for i in operands[:inputs]
            ),
            outputs=made,
            params=operator.unpack(params),
            name=name,
        )

    def step(self, index: int, nodes: Sequence[FileNode], where: str) -> FileStep:
        record = self.records["steps"][index]
        step = FileStep(int(record["node"]), int(record["row_begin"]), int(record["row_end"]))
        require(step.node < len(nodes), f"{where}: step {index} runs node {step.node}")
        return step


def _check_overlap(buffers: Sequence[FileBuffer], where: str) -> None:
    """Only in the bytes of graph inputs may others lie: rows decide, which the C core follows."""
    fields = ("offset", "bytes", "first_step", "last_step")
    offset, size, first, last = (
        np.array([getattr(buffer, name) for buffer in buffers], np.uint64) for name in fields
    )
    region = np.array([buffer.region for buffer in buffers])
    is_input = np.array([buffer.is_input for buffer in buffers])
    end = offset + size  # inside the region, so without overflow
    for i in range(len(buffers)):
        meets = (region[:i] == region[i]) & (offset[:i] < end[i]) & (offset[i] < end[:i])
        meets &= (first[:i] <= last[i]) & (first[i] <= last[:i]) & (is_input[:i] == is_input[i])
        require(not meets.any(), f"{where}: buffer {i} overlaps another one")


def _check_io(
    inputs: Sequence[FileTensor],
    outputs: Sequence[FileTensor],
    activations: Sequence[FileTensor],
    buffers: Sequence[FileBuffer],
    where: str,
) -> None:
    """The runtime puts the caller's memory in the place of these buffers."""
    element: dict[int, int] = {}
    for kind, tensors in (("input", inputs), ("output", outputs)):
        for tensor in tensors:
            if tensor.buffer is None:
                raise ModelFileError(f"{where}: {kind} {tensor.name!r} is a constant")
            buffer = buffers[tensor.buffer]
            require(
                tensor.buffer not in element
                and (tensor.offset, tensor.held_bytes) == (0, buffer.bytes)
                and (kind == "input" or tensor.ring_rows == tensor.rows)
                and (buffer.is_input, buffer.is_output) == (kind == "input", kind == "output"),
                f"{where}: {kind} {tensor.name!r} has no buffer of its own that it fills",
            )
            element[tensor.buffer] = np.dtype(tensor.dtype).itemsize
    require(
        sum(buffer.is_input or buffer.is_output for buffer in buffers) == len(element),
        f"{where}: a buffer is marked as input or output without being one",
    )
    for tensor in activations:
        require(
            tensor.buffer not in element
            or np.dtype(tensor.dtype).itemsize <= element[tensor.buffer],
            f"{where}: {tensor.name!r} has larger elements than the graph input or output it is in",
        )


def _check_promises(program: FileProgram, where: str) -> None:
    for region, size in (("arena", program.arena_bytes), ("state", program.state_bytes)):
        end = max((b.offset + b.bytes for b in program.buffers if b.region == region), default=0)
        require(size <= -(-end // 64) * 64, f"{where}: {region} of {size} bytes, {end} in use")
    constants = {
        (tensor.offset, tensor.nbytes)
        for node in program.nodes
        for tensor in node.inputs
        if tensor is not None and tensor.data is not None
    }
    weights = sum(size for _, size in constants)
    require(
        program.weights_bytes == weights,
        f"{where}: weights_bytes is {program.weights_bytes}, its nodes read {weights}",
    )
    needed = session_bytes_of(
        nodes=len(program.nodes),
        operands=sum(len(node.inputs) + len(node.outputs) for node in program.nodes),
        scratch_bytes=program.scratch_bytes,
        arena_bytes=program.arena_bytes,
        state_bytes=program.state_bytes,
    )
    require(
        program.session_bytes == needed,
        f"{where}: session_bytes is {program.session_bytes}, its parts make {needed}",
    )


def _check_steps(program: FileProgram, where: str) -> None:
    """Every row of every output is produced once, in order, while its buffers are alive."""
    made: set[FileTensor] = set(program.inputs)
    for node in program.nodes:
        for tensor in node.outputs:
            require(tensor not in made, f"{where}: {tensor.name!r} has two producers")
            made.add(tensor)
    done = [0] * len(program.nodes)
    for index, step in enumerate(program.steps):
        node = program.nodes[step.node]
        rows, ring = node.outputs[0].rows, min(tensor.ring_rows for tensor in node.outputs)
        require(
            done[step.node] == step.row_begin < step.row_end <= rows
            and step.row_end - step.row_begin <= ring,
            f"{where}: step {index} runs rows {step.row_begin} to {step.row_end} of {node.name!r}",
        )
        done[step.node] = step.row_end
        for operand in (*node.inputs, *node.outputs):
            if operand is not None and operand.buffer is not None:
                buffer = program.buffers[operand.buffer]
                require(
                    buffer.first_step <= index <= buffer.last_step,
                    f"{where}: step {index} uses {operand.name!r}, whose buffer is not alive",
                )
    for node, rows in zip(program.nodes, done, strict=True):
        require(rows == node.outputs[0].rows, f"{where}: {node.name!r} is run for {rows} rows only")
