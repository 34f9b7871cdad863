"""Embedding tables in int8 with a scale for each row, in a float model.

A row that is looked up becomes float32 again: `gather` of the integers and of the scales, a cast
and a product. That is a quarter of the bytes, for four passes over the few rows that are read.
Tables of less than 64 KiB stay as they are.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Graph, Node, Tensor
from edgeinfer.convert.quantize.channel_weights import round_channels

_LEAST_BYTES = 64 * 1024


def round_tables(graph: Graph) -> int:
    """Rewrite every lookup in a large constant table of float32; returns how many."""
    tables: dict[Tensor, tuple[Tensor, Tensor]] = {}
    count = 0
    for node in list(graph.nodes):
        if node.op != "gather" or node.attrs.get("axis") != 0 or node.activation is not None:
            continue
        table, indices = node.input(0), node.input(1)
        data = table.data
        if data is None or table.dtype != "float32" or len(table.shape) != 2:
            continue
        if indices.is_constant or data.nbytes < _LEAST_BYTES or not np.all(np.isfinite(data)):
            continue
        if table not in tables:
            tables[table] = _rounded(table, data)
        _rewrite(graph, node, *tables[table])
        count += 1
    return count


def _rounded(table: Tensor, data: npt.NDArray[np.float32]) -> tuple[Tensor, Tensor]:
    rows = round_channels(data)
    scales = rows.scales[:, None]
    return (
        Tensor(f"{table.name}/int8", table.shape, "int8", None, rows.codes),
        Tensor(f"{table.name}/scales", scales.shape, "float32", None, scales),
    )


def _rewrite(graph: Graph, node: Node, codes: Tensor, scales: Tensor) -> None:
    indices, y = node.input(1), node.output

    def made(role: str, shape: tuple[int, ...], dtype: str) -> Tensor:
        return Tensor(f"{y.name}/{role}", shape, dtype)

    def step(op: str, inputs: list[Tensor | None], output: Tensor, **attrs: int) -> Node:
        return Node(op, inputs, [output], attrs, None, node.name, node.source, node.absorbed)

    integers = made("int8", y.shape, "int8")
    scale = made("scale", (*indices.shape, 1), "float32")
    real = made("cast", y.shape, "float32")
    at = graph.nodes.index(node)
    graph.nodes[at : at + 1] = [
        step("gather", [codes, indices], integers, axis=0),
        step("gather", [scales, indices], scale, axis=0),
        step("cast", [integers], real),
        step("mul", [real, scale], y),
    ]
