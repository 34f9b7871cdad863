"""The C library: found, loaded, and its failures made exceptions. Nothing else loads it."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from edgeinfer.errors import (
    BudgetError,
    CustomOperatorError,
    EdgeInferError,
    InputError,
    LibraryError,
    ModelFileError,
    ModelReadError,
    ModelVersionError,
    TierError,
    UnsupportedError,
)

if TYPE_CHECKING:
    from pathlib import Path


class _NotBuilt:
    """In the place of cffi's declarations where they are missing: says so when one is used.

    Importing edgeinfer works without them, so that `edgeinfer doctor` can tell what is wrong.
    """

    def __init__(self, reason: ImportError) -> None:
        self._reason = reason

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self._reason.name == "edgeinfer._cdefs":
            problem = "edgeinfer was not built: edgeinfer/_cdefs.py is missing"
        else:
            problem = f"edgeinfer's C declarations cannot be used: {self._reason}"
        raise LibraryError(
            f"{problem}. Install it with pip: `pip install .` in a clone builds it"
        ) from self._reason


def _declarations() -> Any:
    try:
        from edgeinfer._cdefs import ffi
    except ImportError as error:
        return _NotBuilt(error)
    return ffi


ffi = _declarations()

_LIBRARY_NAME = "libedgeinfer.so"


def library_path() -> Path:
    """Where the C library is looked for: EDGEINFER_LIBRARY, or beside this file."""
    from pathlib import Path

    return Path(_library_file())


def _library_file() -> str:
    override = os.environ.get("EDGEINFER_LIBRARY")
    return override or os.path.join(os.path.dirname(__file__), _LIBRARY_NAME)


@cache
def lib() -> Any:
    """The loaded C library.

    Raises
    ------
    LibraryError
        It is missing or cannot be loaded, or edgeinfer was not built.
    """
    path = _library_file()
    if not os.path.isfile(path):
        raise LibraryError(
            f"the C library {path} is missing; reinstall edgeinfer, or set EDGEINFER_LIBRARY to a "
            f"{_LIBRARY_NAME} of the same version"
        )
    try:
        return ffi.dlopen(path)
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
    "EI_ERROR_CUSTOM": CustomOperatorError,
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
