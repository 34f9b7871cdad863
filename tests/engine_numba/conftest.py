"""Compiled kernels of these tests live under build/, by what the engine's sources say.

Numba knows that a file changed, but not that a file changed whose functions were compiled into its
kernels. So another state of the sources has another folder.
"""

from __future__ import annotations

import hashlib
import os

from tests.conftest import ROOT
from tests.requirements import require_module


def _cache_folder() -> str:
    contents = hashlib.sha256()
    for path in sorted((ROOT / "edgeinfer" / "engine_numba").glob("*.py")):
        contents.update(path.name.encode() + path.read_bytes())
    return str(ROOT / "build" / "numba-cache" / contents.hexdigest()[:16])


numba = require_module("numba")
if "NUMBA_CACHE_DIR" not in os.environ:
    os.environ["NUMBA_CACHE_DIR"] = numba.config.CACHE_DIR = _cache_folder()
