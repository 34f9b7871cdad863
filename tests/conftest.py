"""Fixtures that every test may use, and the profiles of the property-based tests."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import settings

from tests.made_once import made_once
from tests.requirements import missing, require_program

ROOT = Path(__file__).resolve().parent.parent

# The same examples on every run, and no deadline: a slow machine is not a failure.
# `--hypothesis-profile=explore` looks for new ones.
settings.register_profile("ci", derandomize=True, deadline=None, database=None)
settings.register_profile("explore", deadline=None, max_examples=2000)
# Every operator a few times (tests/kernels/draw.py: three times as many), where a CPU is emulated:
# tools/arm_test.py.
settings.register_profile("quick", derandomize=True, deadline=None, database=None, max_examples=1)
settings.load_profile("ci")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--every-plan`: what takes minutes and finds what the shorter form finds."""
    parser.addoption(
        "--every-plan",
        action="store_true",
        help="run every memory plan of the large network's curves, not just three",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first: at the end, a process would wait for it alone."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def _outside_folder(variable: str, default: Path, what: str) -> Path:
    folder = Path(os.environ.get(variable, default)).resolve()
    if not folder.is_dir():
        pytest.skip(f"no {what} in {folder} (set {variable} to the folder that holds them)")
    return folder


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The folder that holds pyproject.toml."""
    return ROOT


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """Trained models of other projects; EDGEINFER_MODELS names another folder."""
    return _outside_folder("EDGEINFER_MODELS", ROOT.parent / "shared" / "models", "models")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Data sets of other projects; EDGEINFER_DATA names another folder."""
    return _outside_folder("EDGEINFER_DATA", ROOT.parent / "shared" / "data", "data sets")


@pytest.fixture(scope="session")
def digits_dir() -> Path:
    """The example in the repository: a model of its own, and images to try it on."""
    folder = ROOT / "examples" / "digits"
    if not folder.is_dir():
        missing(f"no example in {folder}")
    return folder


@pytest.fixture(scope="session")
def installed_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the C library is installed, static and shared; moved since: it may not matter where.

    Compiling takes a minute. So it is installed from what `tools/dev.py test` has just compiled,
    where that is there, and once for all processes of pytest.
    """
    cmake = require_program("cmake")
    require_program("ninja")

    def install(folder: Path) -> None:
        build = ROOT / "build" / "werror"
        if not (build / "CMakeCache.txt").is_file():
            build = folder / "build"
            _must(cmake, "-S", ROOT, "-B", build, "-G", "Ninja")
        _must(cmake, "--build", build)
        _must(cmake, "--install", build, "--prefix", folder / "first")
        (folder / "first").rename(folder / "second")

    return made_once("installed-library", tmp_path_factory, install) / "second"


def _must(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
