"""The C library: found, loaded, and its failures made exceptions. Nothing else loads it."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

from edgeinfer.errors import (
    BudgetError,
    EdgeInferError,
    InputError,
    LibraryError,
    ModelFileError,
    ModelReadError,
    ModelVersionError,
    TierError,
    UnsupportedError,
)

try:
    from edgeinfer._cdefs import ffi as ffi
except ImportError as error:
    raise LibraryError(
        "edgeinfer was not built: edgeinfer/_cdefs.py is missing. "
        "Install it with pip: `pip install .` in a clone builds it"
    ) from error

_LIBRARY_NAME = "libedgeinfer.so"


def library_path() -> Path:
    """Where the C library is looked for: EDGEINFER_LIBRARY, or beside this file."""
    override = os.environ.get("EDGEINFER_LIBRARY")
    return Path(override) if override else Path(__file__).with_name(_LIBRARY_NAME)


@cache
def lib() -> Any:
    """The loaded C library.

    Raises
    ------
    LibraryError
        It is missing or cannot be loaded.
    """
    path = library_path()
    if not path.is_file():
        raise LibraryError(
            f"the C library {path} is missing; reinstall edgeinfer, or set EDGEINFER_LIBRARY to a "
            f"{_LIBRARY_NAME} of the same version"
        )
    try:
        return ffi.dlopen(str(path))
    except OSError as error:
        raise LibraryError(f"the C library {path} cannot be loaded: {error}") from error


_EXCEPTIONS: dict[str, type[Exception]] = {
    "EI_ERROR_ARGUMENT": InputError,
    "EI_ERROR_FILE": ModelReadError,
    "EI_ERROR_FORMAT": ModelFileError,
    "EI_ERROR_VERSION": ModelVersionError,
    "EI_ERROR_CHECKSUM": ModelFileError,
    "EI_ERROR_OPERATOR": ModelFileError,
    "EI_ERROR_MEMORY": BudgetError,
    "EI_ERROR_BUDGET": BudgetError,
    "EI_ERROR_TIER": TierError,
    "EI_ERROR_DATA": InputError,
    "EI_ERROR_UNSUPPORTED": UnsupportedError,
}


def raise_status(status: int) -> None:
    """Raise the exception that stands for a status other than EI_OK, with the C core's message."""
    library = lib()
    message = text(library.ei_last_error())
    name = ffi.string(ffi.cast("ei_status", status))
    raise _EXCEPTIONS.get(name, EdgeInferError)(message or text(library.ei_status_text(status)))


def check(status: int) -> None:
    """Raise unless the status is EI_OK."""
    if status:
        raise_status(status)


def text(pointer: Any) -> str:
    """A C string as str; "" for NULL."""
    return ffi.string(pointer).decode("utf-8", "replace") if pointer else ""
