"""A second engine: `.edge` files run by kernels that numba compiles from the specification.

`edgeinfer.load(..., engine="numba")` comes here. The engine gives the bits of the C core and needs
no built library; it shares no code with the C kernels, so each can be held against the other.
docs/internals/engine_numba.md says how it works.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeinfer.errors import MissingExtraError

if TYPE_CHECKING:
    from edgeinfer.model import Model


def load_model(source: str | bytes, name: str) -> Model:
    """A model from the path or the bytes of an .edge file.

    Raises
    ------
    MissingExtraError
        numba is not installed.
    """
    try:
        import numba  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("engine='numba'", "numba", "jit") from error
    from edgeinfer.engine_numba.model import NumbaHandle, NumbaModel

    return NumbaModel(NumbaHandle(source, name))
