"""The passes in their order, with the graph's consistency checked after each.

Stages run one after another; the passes of a stage repeat until none of them changes the graph.
docs/internals/pipeline.md says why they stand in this order.
"""

from __future__ import annotations

from collections.abc import Callable

from edgeinfer.convert.graph import Graph, GraphError, check_graph
from edgeinfer.convert.passes.cancel_transposes import (
    cancel_transposes,
    raise_transposes,
    transposed_bytes,
)
from edgeinfer.convert.passes.canonicalize_products import canonicalize_products
from edgeinfer.convert.passes.convert_uint8 import convert_uint8
from edgeinfer.convert.passes.decompose_splits import decompose_splits
from edgeinfer.convert.passes.edit import copied
from edgeinfer.convert.passes.flatten_transposes import flatten_transposes
from edgeinfer.convert.passes.fold_constants import fold_constants
from edgeinfer.convert.passes.fold_pads import fold_pads
from edgeinfer.convert.passes.fold_scales import fold_scales
from edgeinfer.convert.passes.fold_softmax_scales import fold_softmax_scales
from edgeinfer.convert.passes.fuse_activations import fuse_activations
from edgeinfer.convert.passes.fuse_bias_adds import fuse_bias_adds
from edgeinfer.convert.passes.fuse_pointwise import fuse_pointwise
from edgeinfer.convert.passes.merge_duplicates import merge_duplicates
from edgeinfer.convert.passes.merge_reshapes import merge_reshapes
from edgeinfer.convert.passes.propagate_quantization import (
    propagate_quantization,
    split_conversions,
)
from edgeinfer.convert.passes.raise_scales import raise_scales
from edgeinfer.convert.passes.recognize_functions import recognize_functions
from edgeinfer.convert.passes.recognize_norms import recognize_norms
from edgeinfer.convert.passes.remove_dead_nodes import remove_dead_nodes
from edgeinfer.convert.passes.remove_identities import remove_identities
from edgeinfer.convert.passes.split_activations import split_activations
from edgeinfer.convert.passes.split_transposes import split_transposes

Pass = Callable[[Graph], bool]

TIDY: tuple[Pass, ...] = (
    remove_dead_nodes,
    fold_constants,
    remove_identities,
    merge_reshapes,
    merge_duplicates,
)

STAGES: tuple[tuple[str, tuple[Pass, ...]], ...] = (
    (
        "one way to say a thing",
        (
            decompose_splits,
            split_activations,
            convert_uint8,
            canonicalize_products,
            remove_dead_nodes,
            merge_duplicates,
            recognize_functions,
            recognize_norms,
            fold_softmax_scales,
        ),
    ),
    (
        "quantised from end to end",
        (
            propagate_quantization,
            split_conversions,
            raise_scales,
            fold_scales,
            fuse_bias_adds,
            fuse_activations,
            convert_uint8,
            canonicalize_products,
            *TIDY,
        ),
    ),
    ("one layout", (cancel_transposes, split_transposes, *TIDY)),
    (
        "less to run",
        (
            raise_transposes,
            fold_pads,
            fold_scales,
            fuse_bias_adds,
            fuse_activations,
            propagate_quantization,
            *TIDY,
        ),
    ),
    ("what is left of transposes", (flatten_transposes, *TIDY)),
    ("tables", (fuse_pointwise, remove_dead_nodes)),
)
"""Name and passes of every stage."""

FINISHING: tuple[tuple[str, tuple[Pass, ...]], ...] = (("what quantisation left", TIDY), STAGES[-1])
"""For a graph that was quantised after the stages above had run on it in float32."""

MAX_ROUNDS = 1000
"""No graph needs nearly as many; a pair of passes that undo each other would need more."""


def run_passes(graph: Graph) -> None:
    """Rewrite the graph in place until only operators with one meaning and one layout are left.

    Raises
    ------
    GraphError
        A frontend or pass broke a rule of the graph: an error in edgeinfer.
    """
    _check(graph, "the frontend")
    for name, passes in STAGES:
        kept = copied(graph) if cancel_transposes in passes else None
        _run_stage(graph, name, passes)
        if kept is not None and transposed_bytes(graph) > transposed_bytes(kept):
            graph.nodes, graph.outputs = kept.nodes, kept.outputs


def finish_quantized(graph: Graph) -> None:
    """Tidy a graph that `quantize` made of a float graph on which the passes had run."""
    _check(graph, "quantisation")
    for name, passes in FINISHING:
        _run_stage(graph, name, passes)


def _run_stage(graph: Graph, name: str, passes: tuple[Pass, ...]) -> None:
    for _ in range(MAX_ROUNDS):
        changed = False
        for rewrite in passes:
            if rewrite(graph):
                _check(graph, rewrite.__name__)
                changed = True
        if not changed or name == "tables":
            return
    raise GraphError(f"the passes of {name!r} do not come to rest on {graph.name!r}")


def _check(graph: Graph, after: str) -> None:
    try:
        check_graph(graph)
    except GraphError as error:
        raise GraphError(f"after {after}: {error}") from error
