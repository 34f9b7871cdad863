"""Convert source models to `.edge` files: `convert`, `check`.

>>> from edgeinfer.convert import convert
>>> convert("model.tflite", ram_budget="96KiB").save("model.edge")

Importing this package imports nothing of it: its names are looked up when they are used. So the
reader of `.edge` files (`edgeinfer.convert.read`) costs a device nothing of the converter.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from edgeinfer.errors import MissingExtraError

if TYPE_CHECKING:
    from edgeinfer.convert.api import Conversion, check, convert, pareto_plans
    from edgeinfer.convert.graph import Problem

__all__ = ["Conversion", "Problem", "check", "convert", "pareto_plans"]


def require_converter(what: str) -> None:
    """Make sure that the converter is installed, which the device's wheel does not have.

    Raises
    ------
    MissingExtraError
        It is not; the message says that `what` needs it.
    """
    if find_spec("edgeinfer.convert.api") is None:
        raise MissingExtraError(what, "edgeinfer-convert", "convert")


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require_converter("conversion")
    from edgeinfer.convert import api

    found: object = getattr(api, name)
    globals()[name] = found  # from now on found without this function
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
