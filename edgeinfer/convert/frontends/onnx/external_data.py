"""Constants of an .onnx file that lie in files beside it ("external data").

torch.onnx.export and Optimum write them for all but small models. The `onnx` package reads them,
and refuses names that lead out of the folder, links, and pieces that lie outside of their file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from edgeinfer.errors import ConversionError

_MAX_BYTES = 2**31 - 1  # of a protobuf message, which the checker makes of the whole model


def load_external_data(
    onnx: ModuleType, model: Any, folder: Path | None, name: str
) -> dict[str, str]:
    """Bring them into the model.

    Parameters
    ----------
    model : onnx.ModelProto
        Has all of its constants inside afterwards.
    folder : Path or None
        Where the .onnx file lies; None where that is not known.

    Returns
    -------
    dict of str to str
        The SHA-256 of each file in hexadecimal, by its name.

    Raises
    ------
    ConversionError
        A file is not there, is shorter than the model says or lies elsewhere, or there is no
        folder.
    """
    outside = [
        tensor for tensor in _tensors(model) if tensor.data_location == onnx.TensorProto.EXTERNAL
    ]
    if not outside:
        return {}
    if folder is None:
        raise ConversionError(
            f"{name} keeps {outside[0].name!r} in another file, {_location(outside[0])!r}, which "
            "bytes alone do not lead to; give the path of the .onnx file"
        )
    locations = sorted({_location(tensor) for tensor in outside})
    try:
        for tensor in outside:
            onnx.external_data_helper.load_external_data_for_tensor(tensor, str(folder))
        digests = {location: _digest(folder / location) for location in locations}
    except (onnx.checker.ValidationError, OSError, ValueError) as error:
        raise ConversionError(
            f"{name} keeps {tensor.name!r} in {_location(tensor)!r}, which cannot be read: {error}"
        ) from error
    size = sum(len(tensor.raw_data) for tensor in outside)
    if size > _MAX_BYTES:
        raise ConversionError(
            f"{name} has {size:,} bytes of constants; an .onnx model can be checked, and so "
            f"converted, up to {_MAX_BYTES:,}"
        )
    return digests


def _tensors(model: Any) -> Iterator[Any]:
    # Those of graphs inside of nodes are not among them: control flow is refused as a whole.
    nodes = [*model.graph.node, *(node for f in model.functions for node in f.node)]
    yield from model.graph.initializer
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t


def _location(tensor: Any) -> str:
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), "")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
