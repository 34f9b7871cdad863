"""What tests need besides the package: programs and modules that not every machine has.

A test whose requirement is missing is skipped, and says which; where CI is set in the environment
it fails, because a runner without its tools would pass by testing nothing.
"""

from __future__ import annotations

import os
import shutil
import sysconfig
from types import ModuleType
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skip the test; fail it in CI."""
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        pytest.fail(f"{what}; in CI this is a failure", pytrace=False)
    pytest.skip(what, allow_module_level=True)


def require_program(name: str) -> str:
    """The path of a program, from this Python's environment or from PATH."""
    found = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    if found is None:
        missing(f"{name} is not installed")
    return found


def require_c_compiler() -> str:
    """The path of CC, or of cc."""
    found = shutil.which(os.environ.get("CC", "cc"))
    if found is None:
        missing("no C compiler (cc, or CC in the environment)")
    return found


def require_module(name: str, minversion: str | None = None) -> ModuleType:
    """An importable module of at least this version."""
    try:
        found: ModuleType = pytest.importorskip(name, minversion, exc_type=ImportError)
    except pytest.skip.Exception as skipped:
        missing(str(skipped))
    return found
