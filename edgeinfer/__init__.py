"""edgeinfer: run quantised and float32 models inside a RAM budget known beforehand.

>>> model = edgeinfer.load("model.edge", ram_budget="96KiB")
>>> model.run(x)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeinfer.errors import (
    AccuracyError,
    BudgetError,
    ConversionError,
    CustomOperatorError,
    EdgeInferError,
    InputError,
    LibraryError,
    MissingExtraError,
    ModelFileError,
    ModelNotFoundError,
    ModelReadError,
    ModelVersionError,
    PowerBudgetError,
    TierError,
    UnsupportedError,
)
from edgeinfer.model import Model, load
from edgeinfer.session import Session, TensorInfo

if TYPE_CHECKING:
    from edgeinfer.custom import (
        custom_op,
        load_custom_ops,
        register_custom_op,
        unregister_custom_op,
    )
    from edgeinfer.plan_info import PlanInfo

__all__ = [
    "AccuracyError",
    "BudgetError",
    "ConversionError",
    "CustomOperatorError",
    "EdgeInferError",
    "InputError",
    "LibraryError",
    "MissingExtraError",
    "Model",
    "ModelFileError",
    "ModelNotFoundError",
    "ModelReadError",
    "ModelVersionError",
    "PlanInfo",
    "PowerBudgetError",
    "Session",
    "TensorInfo",
    "TierError",
    "UnsupportedError",
    "custom_op",
    "load",
    "load_custom_ops",
    "register_custom_op",
    "unregister_custom_op",
]


def __getattr__(name: str) -> object:
    if name == "__version__":  # the C core was built with the package's version; ask it
        from edgeinfer._ffi import lib, text

        return text(lib().ei_version())
    if name == "PlanInfo":  # who only runs models does not pay for it
        from edgeinfer.plan_info import PlanInfo

        return PlanInfo
    if name in ("custom_op", "load_custom_ops", "register_custom_op", "unregister_custom_op"):
        from edgeinfer import custom

        return getattr(custom, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
