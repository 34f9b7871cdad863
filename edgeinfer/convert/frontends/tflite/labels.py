"""What a .tflite file says about itself, besides the network: description, signatures, labels.

TFLite's metadata tools append files to a model as a zip archive, the class labels among them: text
files with a label per line.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from typing import Any

from .model_file import ModelFile

_MAX_LABEL_BYTES = 1 << 20
_MAX_FILES = 64
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, struct.error),
    *(EOFError, OSError, RuntimeError, ValueError),
)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def describe(file: ModelFile, data: bytes) -> dict[str, Any]:
    """The metadata of a graph; only what the file has."""
    found: dict[str, Any] = {"schema_version": file.version}
    if file.description:
        found["description"] = file.description
    runtime = file.metadata("min_runtime_version").rstrip(b"\0")
    if runtime:
        found["min_runtime_version"] = runtime.decode("ascii", errors="replace")
    signatures = file.signatures()
    if signatures:
        found["signatures"] = signatures
    labels = read_labels(data)
    if labels:
        found["labels"] = labels
    return found


def read_labels(data: bytes) -> dict[str, list[str]]:
    """The lines of every text file appended to the model, by file name.

    A damaged archive has no labels: the network does not depend on it.
    """
    found: dict[str, list[str]] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist()[:_MAX_FILES]:
                if not entry.filename.endswith(".txt") or entry.compress_type not in _METHODS:
                    continue
                with archive.open(entry) as text:
                    raw = text.read(_MAX_LABEL_BYTES + 1)
                if len(raw) <= _MAX_LABEL_BYTES:
                    found[entry.filename] = raw.decode("utf-8").splitlines()
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        OSError,
        EOFError,
        ValueError,
        RuntimeError,
    ):
        return {}
    return found
