"""edgeinfer: run quantised models inside RAM and power budgets known beforehand.

>>> model = edgeinfer.load("model.edge", ram_budget="96KiB")
>>> model.run(x)
"""

from edgeinfer.errors import (
    BudgetError,
    ConversionError,
    EdgeInferError,
    InputError,
    LibraryError,
    MissingExtraError,
    ModelFileError,
    ModelReadError,
    ModelVersionError,
    TierError,
    UnsupportedError,
)
from edgeinfer.model import Model, PlanInfo, load
from edgeinfer.session import Session, TensorInfo

__all__ = [
    "BudgetError",
    "ConversionError",
    "EdgeInferError",
    "InputError",
    "LibraryError",
    "MissingExtraError",
    "Model",
    "ModelFileError",
    "ModelReadError",
    "ModelVersionError",
    "PlanInfo",
    "Session",
    "TensorInfo",
    "TierError",
    "UnsupportedError",
    "load",
]


def __getattr__(name: str) -> str:
    if name == "__version__":  # the C core was built with the package's version; ask it
        from edgeinfer._ffi import lib, text

        return text(lib().ei_version())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
