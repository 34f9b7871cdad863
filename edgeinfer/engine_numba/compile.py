"""How the engine's kernels are compiled: one decorator, with the rules that keep bits the same.

No fast-math: LLVM may then neither reorder nor contract floating-point operations, so that each
line of a kernel is the roundings that stand there. Divisions by zero are IEEE 754's. Compiled code
is kept on disk, beside the source or, where that cannot be written to, in the user's cache
directory (numba's NUMBA_CACHE_DIR moves it); where neither exists it is compiled each time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function when it is first called with arguments of new types."""
    options = {"error_model": "numpy", "fastmath": False, "nogil": True}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no place for a cache
        return numba.njit(**options)(function)


def inline(function: Callable[..., Any]) -> Any:
    """Compile a function into every kernel that calls it."""
    options = {"error_model": "numpy", "fastmath": False, "nogil": True, "forceinline": True}
    return numba.njit(**options)(function)
