"""What the tests of the C core need besides Python."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Compile = Callable[..., Path]


@pytest.fixture(scope="session")
def compile_c(repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """compile_c(name, *arguments): a program or library from C sources; include paths are set."""
    compiler = shutil.which(os.environ.get("CC", "cc")) or ""
    if not compiler:
        pytest.skip("no C compiler (cc, or CC in the environment)")
    folder = tmp_path_factory.mktemp("compiled")

    def compile_(name: str, *arguments: str | Path) -> Path:
        result = folder / name
        csrc = repo_root / "csrc"
        command: list[str | Path] = [
            compiler,
            "-std=c11",
            "-O2",
            "-D_POSIX_C_SOURCE=200809L",
            "-Wall",
            "-Werror",
        ]
        command += ["-I", csrc, "-I", csrc / "include", "-o", result, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return result

    return compile_
