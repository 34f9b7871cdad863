"""Which nodes are lowered in float32, and what surrounds them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeinfer.convert.graph import Graph, Node
from edgeinfer.convert.lower import lower_graph
from edgeinfer.convert.lower.float_nodes import is_float
from edgeinfer.convert.lower.lower_graph import lower
from edgeinfer.convert.lower.lowering import Lowering
from tests.convert.graphs import GraphBuilder, Q

SEEN = "minimum"
"""An operator of the runtime that the handler below emits: nothing here runs."""


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> list[Node]:
    """The nodes that a float handler of `mul` got."""
    seen: list[Node] = []

    def handler(node: Node, lowering: Lowering) -> None:
        seen.append(node)
        operands = [lowering.value(node.input(i)) for i in range(len(node.inputs))]
        lowering.emit(node, SEEN, operands, lowering.value(node.output), {"reserved": 0})

    monkeypatch.setattr(lower_graph, "FLOAT_HANDLERS", {"mul": handler})
    return seen


def operators(graph: Graph) -> list[str]:
    lowered = lower(graph)
    assert lowered.problems == []
    return [operation.operator for operation in lowered.program.operations]


def test_a_float_node_goes_to_its_float_handler(nodes: list[Node]) -> None:
    b = GraphBuilder()
    x = b.input((2, 3), None)
    assert operators(b.build(b.node("mul", [x, x], (2, 3), None))) == [SEEN]
    assert nodes[0].inputs == [x, x]


def test_quantised_operands_become_float_once(nodes: list[Node]) -> None:
    b = GraphBuilder()
    x, w = b.input((2, 3)), b.weights(0, (2, 3))
    y = b.node("mul", [x, w], (2, 3), None)
    z = b.node("mul", [y, x], (2, 3), None)
    assert operators(b.build(z)) == ["dequantize", SEEN, SEEN]
    assert nodes[0].input(0) is nodes[1].input(1)
    assert nodes[0].input(0).dtype == "float32"
    assert w.data is not None
    expected = w.data.astype(np.float32) * np.float32(0.02)
    np.testing.assert_array_equal(nodes[0].input(1).data, expected)


def test_a_quantised_result_of_float_arithmetic_is_quantised_behind_it(nodes: list[Node]) -> None:
    b = GraphBuilder()
    x = b.input((2, 3), None)
    y = b.node("mul", [x, x], (2, 3), activation="relu")
    assert operators(b.build(y)) == [SEEN, "quantize"]
    assert nodes[0].activation == "relu" and nodes[0].output.dtype == "float32"


def test_integer_arithmetic_stays_with_its_handlers(nodes: list[Node]) -> None:
    b = GraphBuilder()
    x = b.input((2, 3))
    y = b.node("mul", [x, x], (2, 3), Q)
    z = b.node("softmax", [y], (2, 3), None, axis=1, beta=1.0)
    assert operators(b.build(z, b.node("tanh", [y], (2, 3), None))) == ["mul", "softmax", "lut8"]
    assert nodes == []


@pytest.mark.parametrize(
    ("op", "read", "made", "expected"),
    [
        ("conv2d", "float32", "float32", True),
        ("conv2d", "int8", "float32", True),
        ("conv2d", "float32", "int8", True),
        ("conv2d", "int8", "int8", False),
        ("softmax", "int8", "float32", False),
        ("softmax", "float32", "float32", True),
        ("relu", "float32", "int8", False),
        ("relu", "float32", "float32", True),
        ("sigmoid", "float32", "int8", True),
        ("reshape", "float32", "float32", False),
        ("argmax", "float32", "int32", False),
        ("quantize", "float32", "int8", False),
        ("dequantize", "int8", "float32", False),
        ("cast", "int32", "float32", True),
        ("less", "float32", "bool", True),
        ("less", "int32", "bool", False),
    ],
)
def test_is_float(op: str, read: str, made: str, expected: bool) -> None:
    b = GraphBuilder()
    types: dict[str, Any] = {"int8": (Q, "int8")}
    x = b.input((2, 3), *types.get(read, (None, read)))
    b.node(op, [x], (2, 3), *types.get(made, (None, made)))
    assert is_float(b.graph.nodes[0]) is expected
