"""TensorFlow Lite models (.tflite).

How it is divided: `model_file` reads the flatbuffer and trusts nothing; `patterns` joins stored
operators that mean one; `builder` walks the operators and hands each to its handler in HANDLERS;
`operands` holds the rules that all handlers share; `fold` evaluates what is constant.

A new operator is a handler in the module of its family and one line in that module's HANDLERS.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgeinfer.convert.graph import Graph

from . import (
    arithmetic,
    batch_blocks,
    conversion,
    convolution,
    elementwise,
    logic,
    matmul,
    movement,
    pooling,
    slicing,
)
from .builder import GraphBuilder, live_operators
from .labels import describe
from .model_file import ModelFile
from .operation import Handling
from .patterns import Patterns
from .shapes import fix_shapes

HANDLERS: dict[str, Handling] = {
    **arithmetic.HANDLERS,
    **batch_blocks.HANDLERS,
    **conversion.HANDLERS,
    **convolution.HANDLERS,
    **elementwise.HANDLERS,
    **logic.HANDLERS,
    **matmul.HANDLERS,
    **movement.HANDLERS,
    **pooling.HANDLERS,
    **slicing.HANDLERS,
}
"""How each operator is read, by its name in the schema."""


def read(data: bytes, name: str, shapes: Mapping[str, tuple[int, ...]] | None = None) -> Graph:
    """Read a model: its first subgraph, with every problem that stands in the way of converting it.

    Parameters
    ----------
    data : the bytes of the file.
    name : what messages and the graph call the model.
    shapes : of inputs that the file leaves open; "" is the only input of a model that has one. They
        must be those that the file was laid out for, but for the batch.

    Returns
    -------
    Graph
        Names of tensors are the file's; a node is called as its output. The metadata has, where the
        file has them: description, min_runtime_version, signatures, labels.

    Raises
    ------
    InputError
        `shapes` names no input, or is not what the file was made for.
    ConversionError
        `data` is not a TFLite model, or contradicts itself.
    MissingExtraError
        The `tflite` package is not installed.
    """
    file = ModelFile(data, name)
    given = fix_shapes(file, shapes) if shapes else set()
    patterns = Patterns(file, live_operators(file.operators, file.outputs))
    graph = GraphBuilder(file, patterns.operators, patterns.dilated, HANDLERS, given).build()
    graph.metadata = describe(file, data)
    return graph
