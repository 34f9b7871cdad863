"""Why every operation of a program runs at the precision it does, and which fall back to float.

Reasons are sentences for people, made where it is still known what the source, quantisation and
lowering did. They are kept in the file (`metadata["reasons"]`) and shown by `edgeinfer explain`.

A *fallback* is a node that computes in float32 in a model that is quantised otherwise: its operands
are converted there and its result back, which costs time that nobody asked for. A model without any
quantised tensor has no fallbacks; it is a float model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from edgeinfer.convert.graph import Graph, Node, Problem, Tensor
from edgeinfer.convert.lower.float_nodes import CONVERSIONS, MOVES, is_float
from edgeinfer.convert.lower.lower_graph import Lowered
from edgeinfer.convert.program import Operation
from edgeinfer.convert.quantize.precision import float_reason
from edgeinfer.errors import ConversionError

QUANTIZED_HERE = "quantised with the calibration data"
QUANTIZED_IN_SOURCE = "quantised in the source"
FLOAT_SOURCE = "float32 in the source, which is not quantised"
FLOAT_BETWEEN = "float32 in the source, though other parts of it are quantised"
PLAIN = "plain numbers in the source, which are not quantised"
MOVES_FLOAT = "moves float32 values"
CUSTOM = "a custom operator, which computes on what it is declared on"
_LEFT = "left in float32"


def precision_reasons(
    graph: Graph, lowered: Lowered, *, by_calibration: bool
) -> dict[Operation, str]:
    """Why each operation of a lowered program runs at its precision.

    Parameters
    ----------
    graph : what was lowered.
    by_calibration : whether post-training quantisation made its integers, and not the source.
    """
    explain = _Explainer(graph, by_calibration)
    return {
        operation: explain.operation(operation, lowered.origins.get(operation))
        for operation in lowered.program.operations
    }


def in_order(reasons: Mapping[Operation, str]) -> list[str]:
    """Every reason once, the most frequent first, so that most operations can leave it out."""
    return [reason for reason, _ in Counter(reasons.values()).most_common()]


def is_fallback(reason: str) -> bool:
    """Whether an operation with this reason computes in float32 in a model that is quantised."""
    return reason == FLOAT_BETWEEN or reason.startswith(_LEFT)


def refuse_float(graph: Graph, lowered: Lowered, *, by_calibration: bool) -> None:
    """Refuse a program in which anything computes in float32.

    Raises
    ------
    ConversionError
        Its problems are the fallbacks; of a model that is not quantised at all there is one.
    """
    nodes = _float_nodes(lowered)
    if not nodes:
        return
    if not _is_quantized(graph):
        raise ConversionError(
            f"{graph.name} is not quantised: {_count(len(nodes))} in float32, and strict allows "
            "none. Quantise it, with calibration data (docs/quantise.md) or before conversion, or "
            "convert it without strict"
        )
    explain = _Explainer(graph, by_calibration)
    problems = [
        Problem(node.name, node.source or node.op, explain.float_node(node), explain.advice(node))
        for node in nodes
    ]
    raise ConversionError(
        f"{graph.name} is quantised, but {_count(len(nodes))} in float32, and strict allows none",
        problems,
    )


def _count(nodes: int) -> str:
    return "one node computes" if nodes == 1 else f"{nodes} nodes compute"


def _float_nodes(lowered: Lowered) -> list[Node]:
    """Nodes that compute in float32 at run time, each once, in order."""
    found: dict[tuple[str, str], Node] = {}
    for operation in lowered.program.operations:
        node = lowered.origins.get(operation)
        if node is not None and is_float(node) and not _only_moves(operation):
            found.setdefault((node.name, node.source or node.op), node)
    return list(found.values())


def _only_moves(operation: Operation) -> bool:
    return operation.operator in (*MOVES, *CONVERSIONS, "copy")


def _is_quantized(graph: Graph) -> bool:
    return any(
        tensor is not None and tensor.quantization is not None
        for node in graph.nodes
        for tensor in (*node.inputs, *node.outputs)
    )


class _Explainer:
    def __init__(self, graph: Graph, by_calibration: bool) -> None:
        self._nodes = set(graph.nodes)
        self._inputs, self._outputs = set(graph.inputs), set(graph.outputs)
        self._readers, self._producers = graph.consumers(), graph.producers()
        self._is_quantized = _is_quantized(graph)
        self._by_calibration = by_calibration
        self._source_format = graph.source_format

    def operation(self, operation: Operation, node: Node | None) -> str:
        """Why an operation that does (part of) the work of a node runs as it does."""
        dtypes = {v.dtype for v in (*operation.inputs, *operation.outputs) if v and v.data is None}
        if node is None:
            return PLAIN
        if node.op == "custom" and operation.operator == "custom":
            return CUSTOM
        if node.op in CONVERSIONS:
            return self._conversion(node)
        if "float32" in dtypes:
            if is_float(node):
                return self.float_node(node)
            if dtypes == {"float32"}:
                return MOVES_FLOAT
            return f"{self._quantized()}, with a float32 result"
        tensors = [t for t in (*node.inputs, *node.outputs) if t is not None]
        if not any(t.quantization is not None and not t.is_constant for t in tensors):
            return PLAIN
        if node.int16_reason and "int16" in dtypes:
            return f"{self._quantized()}, on int16: {node.int16_reason}"
        return self._quantized()

    def float_node(self, node: Node) -> str:
        """Why a node computes in float32."""
        if node.float_reason:
            return f"{_LEFT}: {node.float_reason}"
        if self._by_calibration:
            return f"{_LEFT}, as what it reads is"
        return FLOAT_BETWEEN if self._is_quantized else FLOAT_SOURCE

    def advice(self, node: Node) -> str:
        """What to do about a node that computes in float32."""
        missing = float_reason(node)
        if missing:
            why = "" if node.float_reason == missing else f"{missing}; "
            return f"{why}replace it, or convert without strict"
        if self._by_calibration:
            return "take it off the list of layers to keep in float32, or convert without strict"
        if self._source_format == "onnx":
            return (
                f"have the quantiser take {node.source or node.op} too (op_types_to_quantize, "
                "nodes_to_exclude), or convert without strict"
            )
        return (
            "convert the source to full integers (TFLITE_BUILTINS_INT8, a representative dataset), "
            "or convert without strict"
        )

    def _quantized(self) -> str:
        return QUANTIZED_HERE if self._by_calibration else QUANTIZED_IN_SOURCE

    def _conversion(self, node: Node) -> str:
        if node not in self._nodes:  # lowering put it around a float node
            called = f"{node.source or node.op} {node.name!r}"
            before = node.op == "dequantize"
            return f"{called} {'reads' if before else 'computes in'} float32"
        x, y = node.input(0), node.output
        if node.op == "requantize":
            return "two quantisations meet"
        if node.op == "dequantize":
            if y in self._outputs:
                return f"output {y.name!r} is float32"
            return _listed(self._readers.get(y, []), y, "read as float32 by {}")
        if x in self._inputs:
            return f"input {x.name!r} arrives as float32"
        maker = self._producers.get(x)
        return _listed([] if maker is None else [maker], x, "made in float32 by {}")


def _listed(nodes: list[Node], tensor: Tensor, sentence: str) -> str:
    if not nodes:
        return f"{tensor.name!r} is float32"
    first = f"{nodes[0].source or nodes[0].op} {nodes[0].name!r}"
    more = f" and {len(nodes) - 1} more" if len(nodes) > 1 else ""
    return sentence.format(first + more)
