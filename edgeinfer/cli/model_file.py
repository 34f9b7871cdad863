"""The model that a subcommand shows, read or converted; errors name the file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeinfer.cli.progress import Progress
from edgeinfer.errors import InputError, ModelFileError
from edgeinfer.source_format import source_format

if TYPE_CHECKING:
    from edgeinfer.convert.model_file import ModelFile


def read_edge_file(path: Path) -> ModelFile:
    """The contents of an .edge file."""
    return _decoded(path.read_bytes(), path)


def read_or_convert(path: Path, **wanted: Any) -> ModelFile:
    """The same; a .tflite or .onnx file is converted first, as arguments of `convert` want it.

    Raises
    ------
    InputError
        There are such arguments, and the file is converted already.
    """
    data = path.read_bytes()
    if source_format(data, path.suffix.lower()) is None:
        if wanted:
            options = ", ".join(f"--{name.replace('_', '-')}" for name in wanted)
            raise InputError(f"{path} is converted already: give {options} to convert")
        return _decoded(data, path)
    from edgeinfer.convert import convert

    with Progress() as progress:
        converted = convert(data, name=path.name, progress=progress.stage, **wanted)
    return _decoded(converted.data, path)


def _decoded(data: bytes, path: Path) -> ModelFile:
    from edgeinfer.convert.read import read_model

    try:
        return read_model(data)
    except ModelFileError as error:
        raise type(error)(f"{path}: {error}") from error
