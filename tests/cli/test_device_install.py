"""The command line where the device's wheel alone is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import edgeinfer
from edgeinfer._ffi import library_path
from edgeinfer.cli import SUBCOMMANDS
from tests.device.programs import one_in_one_out
from tools.wheel_parts import make_device_tree

NEEDS_CONVERTER = {
    "convert": ["--weights", "mxfp4", "source.onnx", "-o", "model.edge", "--json"],
    "check": ["source.onnx"],
    "compare": ["model.edge", "model.edge", "--data", "x.npy", "--scale", "2"],
}
WORKS = {
    "inspect": ["model.edge"],
    "explain": ["model.edge"],
    "plan": ["model.edge"],
    "run": ["model.edge", "-i", "x.npy"],
    "bench": ["model.edge", "--runs", "3"],
    "doctor": [],
}
NEEDS_POWER: dict[str, list[str]] = {"power": []}


@pytest.fixture(scope="module")
def device(repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with what the device's wheel has, and files for the commands."""
    tree = tmp_path_factory.mktemp("device")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(edgeinfer.__file__).parent, tree / "edgeinfer", ignore=ignored)
    shutil.copy(repo_root / "pyproject.toml", tree)
    make_device_tree(tree)
    assert not (tree / "edgeinfer" / "convert" / "api.py").exists()
    (tree / "model.edge").write_bytes(one_in_one_out())
    (tree / "source.onnx").write_bytes(b"\x08\x08")
    np.save(tree / "x.npy", np.ones((1, 4, 3), np.int8))
    return tree


def call(device: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = {
        **os.environ,
        "PYTHONPATH": str(device),
        "PYTHONSAFEPATH": "",
        "EDGEINFER_LIBRARY": str(library_path()),
    }
    return subprocess.run(
        [sys.executable, "-m", "edgeinfer", *arguments],
        cwd=device, env=variables, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_every_subcommand_is_tried() -> None:
    assert {*NEEDS_CONVERTER, *NEEDS_POWER, *WORKS} == set(SUBCOMMANDS)


@pytest.mark.parametrize("command", sorted(WORKS))
def test_commands_of_a_device_work(device: Path, command: str) -> None:
    done = call(device, command, *WORKS[command])
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", sorted(NEEDS_CONVERTER))
def test_commands_of_the_converter_say_what_to_install(device: Path, command: str) -> None:
    done = call(device, command, *NEEDS_CONVERTER[command])
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "pip install 'edgeinfer[convert]'" in done.stderr


def test_help_tells_which_commands_need_the_converter(device: Path) -> None:
    done = call(device, "--help")
    assert done.returncode == 0
    for command in NEEDS_CONVERTER:
        assert re.search(rf"^ +{command} +needs edgeinfer\[convert\]$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("command", ["explain", "plan", "run", "bench"])
def test_source_models_say_what_to_install(device: Path, command: str) -> None:
    done = call(device, command, "source.onnx", *WORKS[command][1:])
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "pip install 'edgeinfer[convert]'" in done.stderr


def test_the_engine_of_numba_says_what_to_install(device: Path) -> None:
    done = call(device, "run", "model.edge", "-i", "x.npy", "--engine", "numba")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "pip install 'edgeinfer[convert,jit]'" in done.stderr


def test_what_measures_power_says_what_to_install(device: Path) -> None:
    bench = ["bench", "model.edge", "--runs", "3", "--energy"]
    for command in (["power"], bench):
        done = call(device, *command)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert "pip install 'edgeinfer[power]'" in done.stderr
