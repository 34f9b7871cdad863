"""Embedding tables in int8 with a scale for each row, or in blocks of four bits, in a float model.

A row of int8 that is looked up becomes float32 again: `gather` of the integers and of the scales, a
cast and a product. That is a quarter of the bytes, for four passes over the few rows that are read.
A row in blocks of four bits, with a factor of its own, is decoded as it is looked up: an eighth.
Tables of less than 64 KiB stay as they are.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Graph, Node, Tensor
from edgeinfer.convert.quantize.block_weights import Scheme
from edgeinfer.convert.quantize.channel_weights import round_channels
from edgeinfer.convert.quantize.choose_blocks import WeightScheme, block_tensor, saves_bytes
from edgeinfer.convert.quantize.search_block_scales import search_block_scales

_LEAST_BYTES = 64 * 1024


def large_tables(graph: Graph) -> list[Node]:
    """Every lookup in a large constant table of float32."""
    return [node for node in graph.nodes if _is_lookup(node)]


def round_tables(graph: Graph, scheme: WeightScheme = "int8", int8: Collection[Tensor] = ()) -> int:
    """Rewrite every lookup in a large constant table of float32; returns how many.

    scheme : of the tables, but for those in `int8`.
    """
    rows: dict[Tensor, tuple[Tensor, Tensor]] = {}
    blocks: dict[Tensor, Tensor] = {}
    lookups = large_tables(graph)
    for node in lookups:
        table = node.input(0)
        data = table.data
        assert data is not None
        if scheme != "int8" and table not in int8 and saves_bytes(data, scheme):
            if table not in blocks:
                blocks[table] = _in_blocks(table, data, scheme)
            node.inputs[0] = blocks[table]
            continue
        if table not in rows:
            rows[table] = _rounded(table, data)
        _rewrite(graph, node, *rows[table])
    return len(lookups)


def _is_lookup(node: Node) -> bool:
    if node.op != "gather" or node.attrs.get("axis") != 0 or node.activation is not None:
        return False
    table, data = node.input(0), node.input(0).data
    if data is None or table.dtype != "float32" or len(table.shape) != 2:
        return False
    large = data.nbytes >= _LEAST_BYTES and table.blocks is None
    return large and not node.input(1).is_constant and bool(np.all(np.isfinite(data)))


def _in_blocks(table: Tensor, data: npt.NDArray[np.float32], scheme: Scheme) -> Tensor:
    return block_tensor(table, search_block_scales(data, scheme))


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
