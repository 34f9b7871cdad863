"""The errors that the package raises. Each is also the built-in kind that a caller would expect."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any


class EdgeInferError(Exception):
    """Base of every error that edgeinfer raises on purpose."""


class ModelFileError(EdgeInferError, ValueError):
    """A file is not an .edge file, is damaged, or breaks the format's rules."""


class ModelReadError(EdgeInferError, OSError):
    """A model file cannot be opened, read or mapped."""


class ModelNotFoundError(ModelReadError, FileNotFoundError):
    """There is no file at the path of a model."""


def cannot_open(path: str | os.PathLike[str], error: OSError) -> str:
    """What is said of a file that cannot be opened or read, in the words of the C core."""
    return f"{os.fspath(path)!r}: cannot be opened: {error.strerror or error}"


def unreadable_model(path: str | os.PathLike[str], error: OSError) -> ModelReadError:
    """The error for a model file that cannot be opened or read."""
    kind = ModelNotFoundError if isinstance(error, FileNotFoundError) else ModelReadError
    return kind(cannot_open(path, error))


class ModelVersionError(ModelFileError):
    """A file's format version is one that this library does not read."""


class InputError(EdgeInferError, ValueError):
    """What was given to `load` or `run` is not what it takes: kind, name, dtype, shape or value."""


class BudgetError(EdgeInferError, MemoryError):
    """A session or a model's weights take more bytes than the budget allows, or than there are."""


class PowerBudgetError(EdgeInferError, RuntimeError):
    """A run cannot be had under the power or energy budget, or not before its deadline."""


class TierError(EdgeInferError, RuntimeError):
    """The kernel tier asked for is one that this CPU or this build lacks."""


class UnsupportedError(EdgeInferError, NotImplementedError):
    """This version does not do what was asked for."""


class CustomOperatorError(EdgeInferError, RuntimeError):
    """A custom operator is not registered, or refuses what a model gives it."""


class LibraryError(EdgeInferError, ImportError):
    """The C library is missing or is not the one that belongs to this package."""


class MissingExtraError(EdgeInferError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, module: str, extra: str) -> None:
        super().__init__(
            f"{what} needs the Python package {module!r}; "
            f"install it with: pip install 'edgeinfer[{extra}]'"
        )
        self.what = what
        self.module = module
        self.extra = extra

    def __reduce__(self) -> tuple[Callable[..., Exception], tuple[Any, ...]]:
        return type(self), (self.what, self.module, self.extra)


class ConversionError(EdgeInferError, ValueError):
    """A source model cannot be converted. `problems` lists every reason that was found.

    Its items are `edgeinfer.convert.graph.Problem`s: node, operator, reason, advice.
    """

    def __init__(self, message: str, problems: Sequence[Any] = ()) -> None:
        listed = "".join(f"\n  {problem}" for problem in problems)
        super().__init__(message + listed)
        self._message = message
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[Callable[..., Exception], tuple[Any, ...]]:
        return type(self), (self._message, self.problems)


class AccuracyError(EdgeInferError, ValueError):
    """Quantisation costs more accuracy than allowed, whatever layers were raised.

    Attributes
    ----------
    limit, reached : drops of the metric: the largest that was allowed, the least that was reached.
    layers : names of the most sensitive layers.
    """

    def __init__(
        self, message: str, *, limit: float, reached: float, layers: Sequence[str]
    ) -> None:
        super().__init__(message)
        self.limit = limit
        self.reached = reached
        self.layers = tuple(layers)

    def __reduce__(self) -> tuple[Callable[..., Exception], tuple[Any, ...]]:
        return _accuracy_error, (str(self), self.limit, self.reached, self.layers)


def _accuracy_error(
    message: str, limit: float, reached: float, layers: tuple[str, ...]
) -> AccuracyError:
    """Remake an AccuracyError from a pickle."""
    return AccuracyError(message, limit=limit, reached=reached, layers=layers)
