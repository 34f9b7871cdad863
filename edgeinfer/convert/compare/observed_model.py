"""A model of any kind with all of its tensors to be seen: source models, graphs, `.edge` files.

Source models go through the frontend and the passes, so that batch norms are folded and layouts are
the runtime's, and are not quantised. Of an `.edge` file the operations are read back
(`unplanned_program`). Both then run in the C core with the tensors that are asked for as outputs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

import edgeinfer
from edgeinfer.convert.compare.unplanned_program import UnplannedProgram, unplanned
from edgeinfer.convert.frontends import read
from edgeinfer.convert.graph import Graph, Quantization, Tensor
from edgeinfer.convert.input_layout import InputLayout, set_input_layout_where_it_applies
from edgeinfer.convert.model_file import ModelFile
from edgeinfer.convert.passes import run_passes
from edgeinfer.convert.plan import plan_program
from edgeinfer.convert.program import Operation, Program, Value
from edgeinfer.convert.quantize.channel_scales import decoded_scales
from edgeinfer.convert.quantize.measure import Reals, real_values
from edgeinfer.convert.quantize.prepare_graph import name_uniquely
from edgeinfer.convert.quantize.run_graph import MAX_BYTES, MAX_THREADS, Array, GraphRunner, Sample
from edgeinfer.convert.read import read_model
from edgeinfer.convert.source_bytes import source_bytes, source_folder
from edgeinfer.convert.write import write_model
from edgeinfer.errors import ConversionError
from edgeinfer.source_format import source_format

ModelSource = str | os.PathLike[str] | bytes | Graph
"""A path, the bytes of a file, or a graph on which the passes have not run."""


@dataclass(frozen=True, eq=False)
class ObservedTensor:
    """A tensor that a run can hand out.

    Attributes
    ----------
    name : unique in the model.
    quantization : None where the numbers stand for themselves.
    operator : what makes it, in the model's own words; "input" of inputs.
    nodes : names of the source model's nodes that it is the result of.
    operands : names of the tensors that it is made from; constants are none.
    channel_scales : what quantisation divided the channels (last axis) by; None if it did not.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    quantization: Quantization | None
    operator: str
    nodes: tuple[str, ...] = ()
    operands: tuple[str, ...] = ()
    base: str = ""  # the name in the file, where others have it too
    channel_scales: npt.NDArray[np.float64] | None = None

    def real(self, stored: Array) -> Reals:
        """What stored numbers stand for in the model's own terms: of channels that were equalised,
        those of the model before.
        """
        values = real_values(stored, self.quantization)
        scales = self.channel_scales
        return values if scales is None else values * scales


class Runner(Protocol):
    """Hands out chosen tensors of one sample, by name."""

    def run(self, sample: Sample) -> dict[str, Array]: ...


@dataclass(frozen=True, eq=False)
class ObservedModel:
    """What both sides of a comparison are.

    Attributes
    ----------
    tensors : all that are computed, in the order of execution, after the inputs.
    metadata : of an `.edge` file; {} of others.
    """

    name: str
    inputs: tuple[ObservedTensor, ...]
    outputs: tuple[ObservedTensor, ...]
    tensors: tuple[ObservedTensor, ...]
    metadata: Mapping[str, object]
    _origin: Graph | UnplannedProgram = field(repr=False)
    _values: Mapping[str, Value] = field(repr=False, default_factory=dict)

    def runner(self, names: Sequence[str]) -> Runner:
        """Runs that hand out these tensors.

        Raises
        ------
        ConversionError
            The runtime cannot run the model.
        """
        if isinstance(self._origin, Graph):
            return GraphRunner(self._origin, names)
        return _ProgramRunner(self._origin.program, self._values, names)


def observe_model(
    source: ModelSource,
    name: str | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    input_layout: InputLayout = "source",
) -> ObservedModel:
    """Open a model to look into it.

    Parameters
    ----------
    source : path of an `.edge`, `.onnx` or `.tflite` file, its bytes, or a graph, which the passes
        rewrite.
    name : in messages; the file's name by default.
    shapes : of inputs whose shapes a source model leaves open, as `convert` takes them.
    input_layout : of a source model's inputs, as `convert` takes it, where it applies.

    Raises
    ------
    ModelReadError, ModelFileError, ConversionError
        As `convert` and `edgeinfer.load`.
    """
    if isinstance(source, Graph):
        return _of_graph(source, name or source.name)
    data, called, suffix = source_bytes(source, name)
    found = source_format(data, suffix)
    if found is None:
        return _of_file(read_model(data), called)
    fixed = {key: tuple(map(int, shape)) for key, shape in (shapes or {}).items()}
    graph = read(found, data, called, fixed, folder=source_folder(source))
    set_input_layout_where_it_applies(graph, input_layout)
    return _of_graph(graph, called)


def _of_graph(graph: Graph, name: str) -> ObservedModel:
    if graph.problems:
        raise ConversionError(f"{name} cannot be run", graph.problems)
    run_passes(graph)
    name_uniquely(graph)
    inputs = tuple(_of_tensor(tensor, "input") for tensor in graph.inputs)
    made = {
        tensor: _of_tensor(
            tensor,
            node.source or node.op,
            tuple(dict.fromkeys([node.name, *node.absorbed])),
            tuple(t.name for t in node.inputs if t is not None and not t.is_constant),
        )
        for node in graph.nodes
        for tensor in node.outputs
    }
    known = {**dict(zip(graph.inputs, inputs, strict=True)), **made}
    outputs = tuple(known[t] for t in graph.outputs if t in known)
    return ObservedModel(name, inputs, outputs, tuple(made.values()), {}, graph)


def _of_tensor(
    tensor: Tensor,
    operator: str,
    nodes: tuple[str, ...] = (),
    operands: tuple[str, ...] = (),
) -> ObservedTensor:
    return ObservedTensor(
        tensor.name, tensor.shape, tensor.dtype, tensor.quantization, operator, nodes, operands
    )


def _of_file(model: ModelFile, name: str) -> ObservedModel:
    found = unplanned(model.programs[0])
    program = found.program
    shown = set(found.values.values())
    taken = {value.name for value in [*program.inputs, *program.outputs]}
    known: dict[Value, ObservedTensor] = {}
    values: dict[str, Value] = {}
    behind: dict[Value, tuple[str, ...]] = {}  # the shown tensors that a value is made of
    described = _described_nodes(model)
    scales = decoded_scales(model.metadata)

    def show(value: Value, operator: str, nodes: tuple[str, ...], operands: Sequence[str]) -> None:
        called = value.name
        if value not in program.inputs and value not in program.outputs:
            called = _unused(called, taken)
            taken.add(called)
        quantization = (
            Quantization.per_tensor(value.scale, value.zero_point) if value.scale else None
        )
        divided = scales.get(value.name)
        if divided is not None and (not value.shape or divided.size != value.shape[-1]):
            divided = None
        known[value] = ObservedTensor(
            called, value.shape, value.dtype, quantization, operator, nodes, tuple(operands),
            value.name, divided,
        )  # fmt: skip
        values[called] = value
        behind[value] = (called,)

    for value in program.inputs:
        show(value, "input", (), ())
    for operation in program.operations:
        operands = dict.fromkeys(
            called
            for operand in operation.inputs
            if operand is not None
            for called in behind.get(operand, ())
        )
        for value in operation.outputs:
            if value not in shown:
                behind[value] = tuple(operands)
            elif value in found.makers:
                show(value, *described[found.makers[value]], tuple(operands))
            else:
                show(value, "view", (), tuple(operands))
    return ObservedModel(
        name,
        tuple(known[value] for value in program.inputs),
        tuple(known[value] for value in program.outputs),
        tuple(tensor for value, tensor in known.items() if value not in program.inputs),
        model.metadata,
        found,
        values,
    )


def _unused(name: str, taken: set[str]) -> str:
    unique, number = name, 0
    while unique in taken:
        number += 1
        unique = f"{name}_{number}"
    return unique


def _described_nodes(model: ModelFile) -> list[tuple[str, tuple[str, ...]]]:
    """Operator and source nodes of each node of the first program; metadata may say anything."""
    nodes = model.programs[0].nodes
    listed = model.metadata.get("nodes")
    entries = (
        listed if isinstance(listed, list) and len(listed) == len(nodes) else [{}] * len(nodes)
    )
    found = []
    for node, entry in zip(nodes, entries, strict=True):
        absorbed = entry.get("absorbed") if isinstance(entry, dict) else None
        names = [node.name, *(absorbed if isinstance(absorbed, list) else [])]
        found.append((node.operator, tuple(dict.fromkeys(str(name) for name in names if name))))
    return found


class _ProgramRunner:
    """As `run_graph.GraphRunner`, of a program."""

    def __init__(self, program: Program, values: Mapping[str, Value], names: Sequence[str]) -> None:
        self.inputs = [value.name for value in program.inputs]
        wanted = {name: values[name] for name in names}
        self.fed = {name: v.name for name, v in wanted.items() if v in program.inputs}
        computed = {name: v for name, v in wanted.items() if name not in self.fed}
        self.models = [_load(program, part) for part in _in_parts(computed)]

    def run(self, sample: Sample) -> dict[str, Array]:
        found = {name: sample[fed] for name, fed in self.fed.items()}
        for names, model in self.models:
            feed = {
                info.name: sample[name]
                for info, name in zip(model.inputs, self.inputs, strict=True)
            }
            result = model.run(feed)
            made = result if isinstance(result, dict) else {model.outputs[0].name: result}
            for name, info in zip(names, model.outputs, strict=True):
                found[name] = made[info.name]
        return found


def _in_parts(values: Mapping[str, Value]) -> list[dict[str, Value]]:
    """The values in groups of at most MAX_BYTES each."""
    parts: list[dict[str, Value]] = []
    size = MAX_BYTES
    for name, value in values.items():
        if size + value.nbytes > MAX_BYTES:
            parts.append({})
            size = 0
        parts[-1][name] = value
        size += value.nbytes
    return parts


def _load(program: Program, part: Mapping[str, Value]) -> tuple[list[str], edgeinfer.Model]:
    """The program with these outputs under these names, without what they do not need."""
    wanted = set(part.values())
    kept: list[Operation] = []
    for operation in reversed(program.operations):
        if any(value in wanted for value in operation.outputs):
            kept.append(operation)
            wanted.update(value for value in operation.inputs if value is not None)
    renamed = {value: replace(value, name=name) for name, value in part.items()}

    def new(value: Value | None) -> Value | None:
        return None if value is None else renamed.get(value, value)

    operations = [
        replace(
            operation,
            inputs=[new(value) for value in operation.inputs],
            outputs=[renamed.get(value, value) for value in operation.outputs],
        )
        for operation in reversed(kept)
    ]
    shown = Program(
        program.name, program.inputs, list(renamed.values()), operations, program.scratch_bytes
    )
    data = write_model([(shown, plan_program(shown))], {})
    threads = max(1, min(len(os.sched_getaffinity(0)), MAX_THREADS))
    return list(part), edgeinfer.load(data, threads=threads)
