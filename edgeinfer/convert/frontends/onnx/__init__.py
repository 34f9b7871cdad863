"""Read .onnx models: QDQ, and operators on integers (QLinearConv and its kind).

`model_file` checks the bytes and takes them apart. `qlinear` rewrites operators on integers as QDQ.
`builder` translates node by node, with one handler for each operator; the handlers stand in a file
for each family, beside what they share: `operands` (weights, biases), `window` (pads), `evaluate`
(constants and shapes). `values` says how QDQ is resolved.

Spatial operators get a transpose from NCHW to NHWC before and one back after; a pass cancels them.
Everything else stays in the file's order of axes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgeinfer.convert.graph import Graph

from . import (
    attention,
    convolution,
    einsum,
    elementwise,
    float_pooling,
    functions,
    indexing,
    logic,
    matmul,
    movement,
    normalization,
    pooling,
    reduction,
    run_time_quantization,
)
from .builder import GraphBuilder
from .model_file import ModelFile
from .operation import Handler

HANDLERS: dict[str, Handler] = {
    **attention.HANDLERS,
    **convolution.HANDLERS,
    **einsum.HANDLERS,
    **elementwise.HANDLERS,
    **float_pooling.HANDLERS,
    **functions.HANDLERS,
    **indexing.HANDLERS,
    **logic.HANDLERS,
    **matmul.HANDLERS,
    **movement.HANDLERS,
    **normalization.HANDLERS,
    **pooling.HANDLERS,
    **reduction.HANDLERS,
    **run_time_quantization.HANDLERS,
}
"""How each operator is read, by name; those of other domains as "domain:name"."""


def read(
    data: bytes,
    name: str,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    sequence_length: int | None = None,
    folder: Path | None = None,
) -> Graph:
    """Read an ONNX model.

    Parameters
    ----------
    data : bytes
        A whole .onnx file.
    name : str
        What messages call the model.
    shapes : mapping of str to tuple of int, optional
        Shapes of inputs that the file leaves open; "" is the only input of a model that has one.
    sequence_length : int, optional
        The second axis of inputs [batch, sequence, ...] that are open otherwise; their batch is 1.
    folder : Path, optional
        Where the file lies, and the files of its external data with it.

    Returns
    -------
    Graph
        Its `problems` are the nodes that cannot be converted.

    Raises
    ------
    InputError
        `shapes` names no input, or contradicts the file. There is no sequence to give a length.
    ConversionError
        `data` is not a whole, consistent ONNX model, or an input's shape is not fixed.
    MissingExtraError
        The `onnx` package is not installed.
    """
    file = ModelFile(data, name, shapes, sequence_length, folder)
    graph = GraphBuilder(file, HANDLERS).build()
    graph.metadata = file.metadata
    return graph
