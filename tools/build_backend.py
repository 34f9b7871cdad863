"""setuptools as pip calls it, asking for a C compiler where the machine has none.

`ziglang` is a compiler in a Python package, of 100 MB: it is wanted only where there is no other.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403 - the hooks of a build backend

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools import wheel_targets


def _compiler() -> list[str]:
    return [] if wheel_targets.has_c_compiler() else ["ziglang>=0.13"]


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """What building the wheel needs."""
    return [*build_meta.get_requires_for_build_wheel(config_settings), *_compiler()]


def get_requires_for_build_editable(config_settings: Any = None) -> list[str]:
    """What an editable install needs."""
    return [*build_meta.get_requires_for_build_editable(config_settings), *_compiler()]
