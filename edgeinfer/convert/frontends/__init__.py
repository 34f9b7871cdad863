"""Readers of source models, one module per format: bytes in, `graph.Graph` out.

A reader module has `read(data: bytes, name: str) -> Graph`, and is imported only when a model of
its format is read: each needs packages of its own.
"""

from __future__ import annotations

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


def read(source_format: str, data: bytes, name: str) -> Graph:
    """Read a model of a format in FORMATS.

    Raises
    ------
    ConversionError
        `data` is not a model of that format, or is damaged. A model that merely uses what cannot be
        converted is read; its `problems` say what.
    MissingExtraError
        The package that reads the format is not installed.
    """
    graph: Graph = import_module(FORMATS[source_format].module).read(data, name)
    return graph
