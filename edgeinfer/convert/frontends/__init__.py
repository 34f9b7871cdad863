"""Readers of source models, one module per format: bytes in, `graph.Graph` out.

A reader module has `read(data, name, shapes=None) -> Graph`, and is imported only when a model
of its format is read: each needs packages of its own. Where the format can say that the length of
a sequence is open, `read` takes `sequence_length` too, and where it can keep constants in other
files, `folder`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from edgeinfer.convert.graph import Graph
from edgeinfer.errors import InputError


@dataclass(frozen=True)
class Format:
    """A source format: what its files are called, and the module that reads them.

    has_open_lengths tells whether its files can leave the length of a sequence open,
    has_external_data whether they can keep constants in files beside them.
    """

    suffix: str
    module: str
    has_open_lengths: bool = False
    has_external_data: bool = False


FORMATS = {
    "onnx": Format(
        ".onnx",
        "edgeinfer.convert.frontends.onnx",
        has_open_lengths=True,
        has_external_data=True,
    ),
    "tflite": Format(".tflite", "edgeinfer.convert.frontends.tflite"),
}
"""Every source format by its name, the one in `Graph.source_format`."""


def read(
    source_format: str,
    data: bytes,
    name: str,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    sequence_length: int | None = None,
    folder: Path | None = None,
) -> Graph:
    """Read a model of a format in FORMATS.

    Parameters
    ----------
    shapes : for inputs whose shapes the file leaves open, by name; "" is the only input of a model
        that has one.
    sequence_length : of inputs [batch, sequence, ...] that are open otherwise, with a batch of 1.
    folder : where the file lies, with others that it may name; None for bytes.

    Raises
    ------
    InputError
        `shapes` names no input of the model, or contradicts the file. There is no sequence whose
        length could be given.
    ConversionError
        `data` is not a model of that format, or is damaged. A model that merely uses what cannot be
        converted is read; its `problems` say what.
    MissingExtraError
        The package that reads the format is not installed.
    """
    described = FORMATS[source_format]
    options: dict[str, Any] = {}
    if sequence_length is not None:
        if not described.has_open_lengths:
            raise InputError(
                f"{name}: a {described.suffix} file has one length of its sequences, that of its "
                "export; leave sequence lengths out, or convert the .onnx file"
            )
        options["sequence_length"] = sequence_length
    if described.has_external_data:
        options["folder"] = folder
    graph: Graph = import_module(described.module).read(data, name, shapes, **options)
    return graph
