"""What takes long to make, and is made once for all processes of a test run."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(name: str, factory: pytest.TempPathFactory, make: Callable[[Path], object]) -> Path:
    """The folder that `make` filled, in whichever process of pytest-xdist asked first.

    One that fails leaves nothing that counts as made: the next process tries, and fails as well.
    """
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # the run's; each process has a folder of its own there
    made = base / f"{name}.made"
    with open(base / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if made.exists():
            return Path(made.read_text())
        folder = factory.mktemp(name)
        make(folder)
        made.write_text(str(folder))
        return folder
