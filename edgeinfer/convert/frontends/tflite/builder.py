"""From stored operators to a `Graph`: tensors, order, constants, and the list of problems.

1. Operators that no output depends on are dropped; after the patterns, there may be some that were
   needed before. Operators without outputs change state and stay, to be refused.
2. Each operator, in the file's order, goes to the handler of its code. Its nodes join the graph
   unless their inputs are constants, when they are evaluated instead (`fold`): the shape
   arithmetic of exported models disappears here.
3. An operator that cannot be expressed becomes a problem and an "unsupported" node, whose outputs
   are as the file declares them, so that the rest is still looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import prod

import numpy as np

from edgeinfer.convert.graph import Graph, Node, Problem, Quantization, Tensor
from edgeinfer.custom import find

from .custom import read_custom
from .fold import Folder, folding_of
from .model_file import ModelFile, StoredOperator, StoredQuantization, StoredTensor
from .operation import (
    MAX_BYTES,
    MAX_RANK,
    DilatedWindow,
    Handling,
    Operation,
    Unsupported,
)
from .refusals import refusal

_GRAPH_DTYPES = {
    "INT4": "int8",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FLOAT16": "float32",
    "FLOAT32": "float32",
    "BOOL": "bool",
}
_ONLY_CONSTANT = ("INT4", "FLOAT16")  # widened when they are read
_QUANTIZABLE = ("int8", "uint8", "int16", "int32", "int64")
_STAND_IN = "float32"  # dtype of a tensor whose own the graph does not have; it has a fault too


class GraphBuilder:
    """Collects the graph of one model."""

    def __init__(
        self,
        file: ModelFile,
        operators: Sequence[StoredOperator],
        dilated: Mapping[int, DilatedWindow],
        handlers: Mapping[str, Handling],
        given: Collection[int] = (),
    ) -> None:
        self._file = file
        self._operators = live_operators(operators, file.outputs)
        self._dilated = dilated
        self._handlers = handlers
        self._given = given  # inputs whose shapes somebody gave
        self._tensors: dict[int, Tensor] = {}
        self._faults: dict[Tensor, Unsupported] = {}
        self._names: set[str] = set()
        self._made: set[int] = set()
        self._folder = Folder()
        self._graph = Graph(file.name, [], [], [], "tflite")

    def build(self) -> Graph:
        """The whole graph, with every problem in it."""
        graph = self._graph
        if self._file.subgraph_count > 1:
            count = self._file.subgraph_count
            self._refuse(
                graph.name,
                "SUBGRAPH",
                f"the model has {count} subgraphs; only the first was looked at",
                "export one signature, without control flow",
            )
        graph.inputs = [self._graph_input(index) for index in self._file.inputs]
        for operator in self._operators:
            self._translate(operator)
        if not self._file.outputs:
            raise self._file.damaged("it has no outputs")
        graph.outputs = [self._graph_output(index) for index in self._file.outputs]
        return graph

    # --- tensors

    def _graph_input(self, index: int) -> Tensor:
        stored = self._file.tensor(index)
        if index in self._made:
            raise self._file.damaged(f"tensor {index} ({stored.name!r}) is an input twice")
        if stored.has_buffer:
            raise self._file.damaged(f"input {stored.name!r} is a constant")
        self._made.add(index)
        tensor = self._tensor(index)
        if any(n < 0 for n in stored.signature[1:]) and index not in self._given:
            shape = ",".join(map(str, stored.shape))
            self._refuse(
                tensor.name,
                "input",
                f"its shape {list(stored.signature)} is not fixed",
                "export the model with fixed shapes; only the first axis, the batch, may be open. "
                f"If {list(stored.shape)}, for which the file is laid out, is what you want, say "
                f"so: edgeinfer convert with --shape {stored.name}={shape}",
            )
        elif tensor in self._faults or tensor.shape != stored.shape:
            fault = self._faults.get(tensor)
            reason = fault.reason if fault else f"its shape is {list(stored.shape)}"
            self._refuse(tensor.name, "input", reason, fault.advice if fault else "")
        return tensor

    def _graph_output(self, index: int) -> Tensor:
        tensor = self._readable(index, "an output")
        if index not in self._made and not tensor.is_constant:
            fault = self._faults[tensor]
            self._refuse(tensor.name, "output", fault.reason, fault.advice)
            self._graph.nodes.append(Node("unsupported", [], [tensor], name=tensor.name))
            self._made.add(index)
        return tensor

    def _readable(self, index: int, what: str) -> Tensor:
        """A tensor that is an input, a constant, or made by an operator before."""
        stored = self._file.tensor(index)
        is_constant = stored.has_buffer or 0 in stored.shape or stored.is_variable
        if index not in self._made and not is_constant:
            raise self._file.damaged(
                f"tensor {index} ({stored.name!r}) is used by {what} before anything computes it"
            )
        return self._tensor(index)

    def _tensor(self, index: int) -> Tensor:
        if index not in self._tensors:
            stored = self._file.tensor(index)
            tensor = self._convert(stored)
            tensor.name = self._unique(stored)
            self._tensors[index] = tensor
        return self._tensors[index]

    def _unique(self, stored: StoredTensor) -> str:
        name = stored.name or f"tensor_{stored.index}"
        if name in self._names:
            name = f"{name}#{stored.index}"
        while name in self._names:
            name += "'"
        self._names.add(name)
        return name

    def _convert(self, stored: StoredTensor) -> Tensor:
        fault = _fault(stored)
        dtype = _GRAPH_DTYPES.get(stored.type, _STAND_IN)
        data = stored.data
        if data is None and 0 in stored.shape and stored.index not in self._made:
            data = np.zeros(stored.shape, dtype)  # an empty constant has no buffer
        if data is not None and stored.type in _GRAPH_DTYPES:
            shape = stored.shape
            data = data.astype(dtype, copy=False)
        else:
            data = None
            shape = tuple(max(n, 1) for n in stored.shape)
        quantization = None
        if fault is None and stored.quantization is not None and dtype in _QUANTIZABLE:
            try:
                quantization = _quantization(stored.name, stored.quantization, dtype)
            except Unsupported as error:
                fault = error
        tensor = Tensor(stored.name, shape, dtype, quantization, data)
        if fault is not None:
            self._faults[tensor] = fault
        return tensor

    # --- operators

    def _translate(self, operator: StoredOperator) -> None:
        what = f"operator {operator.position} ({operator.code})"
        inputs = [None if i < 0 else self._readable(i, what) for i in operator.inputs]
        for index in operator.outputs:
            stored = self._file.tensor(index)
            if index in self._made or stored.has_buffer:
                raise self._file.damaged(f"{what} writes {stored.name!r}, which has a value")
            self._made.add(index)
        outputs = [self._tensor(index) for index in operator.outputs]
        declared = [tensor.shape for tensor in outputs]
        try:
            self._graph.nodes += self._nodes_of(operator, inputs, outputs)
        except Unsupported as error:
            name = outputs[0].name if outputs else operator.code
            source = operator.custom_code or operator.code
            self._refuse(name, source, error.reason, error.advice)
            for tensor, shape in zip(outputs, declared, strict=True):
                tensor.shape, tensor.data = shape, None
            # A constant that has no graph dtype has no data, and nothing makes it.
            readable: list[Tensor | None] = [
                tensor
                for index, tensor in zip(operator.inputs, inputs, strict=True)
                if tensor is not None and (index in self._made or tensor.is_constant)
            ]
            self._graph.nodes.append(
                Node("unsupported", readable, outputs, name=name, source=source)
            )

    def _nodes_of(
        self, operator: StoredOperator, inputs: list[Tensor | None], outputs: list[Tensor]
    ) -> list[Node]:
        handling = self._handlers.get(operator.code)
        folding = folding_of(operator.code, inputs)
        if handling is None and folding is None:
            return self._custom_nodes_of(operator, inputs, outputs)
        table = folding.options if folding else handling.options if handling else ""
        operation = Operation(
            operator.code,
            inputs,
            outputs,
            self._file.options(operator, table) if table else {},
            self._faults,
            self._dilated.get(operator.position),
        )
        if folding is not None:
            self._folder.fold_operator(operation, folding)
        elif handling is not None:
            handling.handler(operation)
        return self._folder.fold_nodes(operation.nodes)

    def _custom_nodes_of(
        self, operator: StoredOperator, inputs: list[Tensor | None], outputs: list[Tensor]
    ) -> list[Node]:
        custom = find(operator.custom_code if operator.code == "CUSTOM" else operator.code)
        if custom is None:
            raise refusal(operator)
        operation = Operation(operator.code, inputs, outputs, {}, self._faults)
        read_custom(operation, custom, self._file.custom_options(operator))
        return operation.nodes

    def _refuse(self, node: str, operator: str, reason: str, advice: str) -> None:
        self._graph.problems.append(Problem(node, operator, reason, advice))


def live_operators(
    operators: Iterable[StoredOperator], outputs: Iterable[int]
) -> list[StoredOperator]:
    """The operators that an output depends on, or that have no output, in order."""
    needed = set(outputs)
    live = []
    for operator in reversed(list(operators)):
        if not operator.outputs or not needed.isdisjoint(operator.outputs):
            needed.update(operator.inputs)
            live.append(operator)
    return live[::-1]


def _fault(stored: StoredTensor) -> Unsupported | None:
    """Why a tensor cannot be used whatever reads it, if so."""
    if stored.is_variable:
        return Unsupported(
            f"{stored.name!r} is a variable: it keeps its value between runs",
            "make the state an input and an output of the model",
        )
    if stored.is_sparse:
        return Unsupported(f"{stored.name!r} is stored sparse", "export it as a dense tensor")
    if stored.type not in _GRAPH_DTYPES or (
        stored.type in _ONLY_CONSTANT and not stored.has_buffer
    ):
        return Unsupported(f"{stored.name!r} has element type {stored.type}")
    if len(stored.shape) > MAX_RANK:
        return Unsupported(f"{stored.name!r} has {len(stored.shape)} axes; {MAX_RANK} are the most")
    item = np.dtype(_GRAPH_DTYPES[stored.type]).itemsize
    if prod(stored.shape) * item > MAX_BYTES:
        return Unsupported(f"{stored.name!r} of shape {list(stored.shape)} is above 2 GiB")
    return None


def _quantization(name: str, stored: StoredQuantization, dtype: str) -> Quantization:
    scale, zero_point = stored.scale, stored.zero_point
    if stored.is_custom:
        raise Unsupported(f"{name!r} has a custom quantisation")
    if not np.all(np.isfinite(scale)) or np.any(scale <= 0):
        bad = float(scale[~(np.isfinite(scale) & (scale > 0))][0])
        raise Unsupported(f"{name!r} has scale {bad}; scales are finite and above zero")
    if zero_point.size == 0:
        zero_point = np.zeros(scale.shape, np.int64)
    elif zero_point.size == 1:
        zero_point = np.repeat(zero_point, scale.size)
    elif zero_point.size != scale.size:
        raise Unsupported(f"{name!r} has {scale.size} scales and {zero_point.size} zero points")
    limits = np.iinfo(dtype)
    if np.any(zero_point < limits.min) or np.any(zero_point > limits.max):
        raise Unsupported(f"{name!r} has a zero point that is not {dtype}")
    return Quantization(scale, zero_point, max(stored.axis, 0))
