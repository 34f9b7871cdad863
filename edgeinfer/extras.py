"""Parts of the package that have wheels of their own, imported where they are installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edgeinfer.errors import MissingExtraError


@contextmanager
def extra(what: str, module: str, name: str) -> Iterator[None]:
    """Imports that `what` needs, of a package that the extra `name` installs.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(what, module, name) from error
