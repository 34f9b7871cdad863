"""Readers of source models, one module per format: bytes in, `graph.Graph` out.

A reader module has `read(data, name, shapes=None) -> Graph`, and is imported only when a model
of its format is read: each needs packages of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

from edgeinfer.convert.graph import Graph


@dataclass(frozen=True)
class Format:
    """A source format: what its files are called, and the module that reads them."""

    suffix: str
    module: str


FORMATS = {
    "onnx": Format(".onnx", "edgeinfer.convert.frontends.onnx"),
    "tflite": Format(".tflite", "edgeinfer.convert.frontends.tflite"),
}
"""Every source format by its name, the one in `Graph.source_format`."""


def read(
    source_format: str,
    data: bytes,
    name: str,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Graph:
    """Read a model of a format in FORMATS.

    Parameters
    ----------
    shapes : for inputs whose shapes the file leaves open, by name; "" is the only input of a model
        that has one.

    Raises
    ------
    InputError
        `shapes` names no input of the model, or contradicts the file.
    ConversionError
        `data` is not a model of that format, or is damaged. A model that merely uses what cannot be
        converted is read; its `problems` say what.
    MissingExtraError
        The package that reads the format is not installed.
    """
    graph: Graph = import_module(FORMATS[source_format].module).read(data, name, shapes)
    return graph
