"""The bytes of a model that a caller gives as a path or as bytes."""

from __future__ import annotations

import os
from pathlib import Path

from edgeinfer.errors import unreadable_model


def source_bytes(
    source: str | os.PathLike[str] | bytes, name: str | None
) -> tuple[bytes, str, str]:
    """The bytes, what messages call the model, and the suffix in lower case ("" for bytes).

    Raises
    ------
    ModelNotFoundError, ModelReadError
        The file is not there, or cannot be read.
    """
    if isinstance(source, bytes):
        return source, name or "model", ""
    path = Path(source)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise unreadable_model(path, error) from error
    return data, name or path.name, path.suffix.lower()


def source_folder(source: str | os.PathLike[str] | bytes) -> Path | None:
    """Where a source model lies, with files that it may name; None for bytes."""
    return None if isinstance(source, bytes) else Path(source).parent
