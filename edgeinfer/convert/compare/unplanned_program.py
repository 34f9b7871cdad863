"""The program that a file was planned from, as far as the plan shows it: every tensor on its own.

A planned file has one arena, in which tensors overwrite each other, and operations that only move
bytes are gone: a reshape is its input under another shape, the parts of a concat were written into
their places. To look at every tensor, the operations are read from the file and the moves put back.

Algorithm. Nodes are taken in the file's order, which is a valid one for whole tensors. For each
buffer it is known which values were written where, the last writer of a byte last. A tensor that a
node reads was either made by a node (or fed) and is still what these bytes hold; or it is a view,
and is put together: a copy, where one value fills it; a slice, where it lies within one; a concat
of such pieces, where there are several. The operators of these moves copy bytes, so the program
computes what the file computes.

Not reproduced: bands. Steps run whole tensors, and give the same bits, as every plan does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from edgeinfer.convert.model_file import FileProgram, FileTensor
from edgeinfer.convert.program import Operation, Program, Value
from edgeinfer.errors import ModelFileError


@dataclass(eq=False)
class UnplannedProgram:
    """Operations of a file, and the value of each of its tensors.

    Attributes
    ----------
    program : its outputs are those of the file.
    values : what is computed, fed or viewed, in the order of the operations.
    makers : the node of the file that makes a value.
    """

    program: Program
    values: dict[FileTensor, Value] = field(default_factory=dict)
    makers: dict[Value, int] = field(default_factory=dict)


def unplanned(file: FileProgram) -> UnplannedProgram:
    """Undo a plan.

    Raises
    ------
    ModelFileError
        A node reads bytes that nothing has written.
    """
    return _Unplanner(file).run()


@dataclass(eq=False)
class _Written:
    """A run of bytes of a buffer, and the value that filled it from `start` on."""

    begin: int
    end: int
    value: Value
    start: int

    def within(self, begin: int, end: int) -> _Written:
        """The part of the run that lies in [begin, end)."""
        first = max(self.begin, begin)
        return _Written(first, min(self.end, end), self.value, self.start + first - self.begin)


@dataclass(eq=False)
class _Unplanner:
    file: FileProgram
    operations: list[Operation] = field(default_factory=list)
    values: dict[FileTensor, Value] = field(default_factory=dict)
    constants: dict[FileTensor, Value] = field(default_factory=dict)
    written: dict[int, list[_Written]] = field(default_factory=dict)
    makers: dict[Value, int] = field(default_factory=dict)
    views: dict[Value, list[tuple[Value, int, int, int]]] = field(default_factory=dict)

    def run(self) -> UnplannedProgram:
        inputs = [self.made(tensor) for tensor in self.file.inputs]
        for index, node in enumerate(self.file.nodes):
            operands = [None if t is None else self.operand(t) for t in node.inputs]
            results = [self.made(tensor) for tensor in node.outputs]
            self.makers.update(dict.fromkeys(results, index))
            self.operations.append(
                Operation(node.operator, operands, results, dict(node.params), node.name)
            )
        outputs = [self.operand(tensor) for tensor in self.file.outputs]
        program = Program(self.file.name, inputs, outputs, self.operations, self.file.scratch_bytes)
        return UnplannedProgram(program, self.values, self.makers)

    def made(self, tensor: FileTensor) -> Value:
        """The value of a tensor that was just written."""
        value = _value_of(tensor)
        self.values[tensor] = value
        assert tensor.buffer is not None
        begin, end = tensor.offset, tensor.offset + tensor.nbytes
        kept = []
        for run in self.written.get(tensor.buffer, []):
            if run.begin < begin:
                kept.append(run.within(0, begin))
            if end < run.end:
                kept.append(run.within(end, run.end))
        kept.append(_Written(begin, end, value, 0))
        self.written[tensor.buffer] = sorted(kept, key=lambda run: run.begin)
        return value

    def operand(self, tensor: FileTensor) -> Value:
        """The value that a node reads as `tensor`."""
        if tensor.data is not None:
            if tensor not in self.constants:
                self.constants[tensor] = _value_of(tensor)
            return self.constants[tensor]
        assert tensor.buffer is not None
        begin, end = tensor.offset, tensor.offset + tensor.nbytes
        runs = [
            run.within(begin, end)
            for run in self.written.get(tensor.buffer, [])
            if run.begin < end and begin < run.end
        ]
        found = self.values.get(tensor)
        contents = [(run.value, run.start, run.begin, run.end) for run in runs]
        if found is not None and contents in ([(found, 0, begin, end)], self.views.get(found)):
            return found
        if sum(run.end - run.begin for run in runs) != tensor.nbytes:
            raise ModelFileError(
                f"program {self.file.name!r}: tensor {tensor.name!r} is read before all of its "
                "bytes are written"
            )
        view = self.joined(runs, tensor)
        self.values[tensor] = view
        self.views[view] = contents
        return view

    def joined(self, runs: list[_Written], tensor: FileTensor) -> Value:
        """A value made of runs of others."""
        pieces = [self.piece(run, tensor) for run in runs]
        value = _value_of(tensor)
        if len(pieces) == 1:
            return self.copied(pieces[0], value)
        flat = Value(f"{tensor.name} (flat)", (value.nbytes // _itemsize(value),), value.dtype)
        self.emit("concat", list(pieces), flat, {"axis": 0})
        return self.copied(flat, value)

    def piece(self, run: _Written, tensor: FileTensor) -> Value:
        """A run as a value of rank 1, or the whole value where it is all in the run."""
        size = _itemsize(run.value)
        length = run.end - run.begin
        if run.value.dtype != tensor.dtype or run.start % size or length % size:
            raise ModelFileError(
                f"program {self.file.name!r}: tensor {tensor.name!r} reads bytes of "
                f"{run.value.name!r} as another type"
            )
        flat = Value(f"{run.value.name} (flat)", (run.value.nbytes // size,), run.value.dtype)
        self.copied(run.value, flat)
        if length == run.value.nbytes:
            return flat
        part = Value(f"{run.value.name} (part)", (length // size,), run.value.dtype)
        begin = {f"begin_{axis}": 0 for axis in range(6)} | {"begin_0": run.start // size}
        stride = {f"stride_{axis}": 1 for axis in range(6)}
        self.emit("slice", [flat], part, {**begin, **stride})
        return part

    def copied(self, source: Value, result: Value) -> Value:
        self.emit("copy", [source], result, {"reserved": 0})
        return result

    def emit(
        self,
        operator: str,
        inputs: list[Value],
        output: Value,
        params: dict[str, int | float],
    ) -> None:
        self.operations.append(Operation(operator, list(inputs), [output], params, output.name))


def _value_of(tensor: FileTensor) -> Value:
    data = tensor.data
    if data is not None:
        data = np.ascontiguousarray(data).astype(data.dtype.newbyteorder("="), copy=False)
    return Value(tensor.name, tensor.shape, tensor.dtype, tensor.scale, tensor.zero_point, data)


def _itemsize(value: Value) -> int:
    return np.dtype(value.dtype).itemsize
