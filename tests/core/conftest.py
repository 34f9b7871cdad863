"""What the tests of the C core need besides Python."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from edgeinfer._ffi import library_path
from tests.requirements import require_c_compiler

Compile = Callable[..., Path]
Calls = tuple[int, ...]
CountAllocations = Callable[..., dict[str, Calls]]


@pytest.fixture(scope="session")
def compile_c(repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """compile_c(name, *arguments): a program or library from C sources; include paths are set."""
    compiler = require_c_compiler()
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


@pytest.fixture
def count_allocations(compile_c: Compile, repo_root: Path, tmp_path: Path) -> CountAllocations:
    """count_allocations(files, threads=1): run .edge files so many times each.

    Gives the numbers of calls to open, to bind, to run, and to close, by name.
    """
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("counts the GNU C library's calls")
    library = library_path()
    program = compile_c(
        "count_allocations",
        repo_root / "tests" / "core" / "count_allocations.c",
        library,
        f"-Wl,-rpath,{library.parent}",
    )

    def count(files: Mapping[str, tuple[int, bytes]], threads: int = 1) -> dict[str, Calls]:
        command: list[str | Path] = [program, str(threads)]
        for name, (runs, data) in files.items():
            path = tmp_path / f"{name}.edge"
            path.write_bytes(data)
            command += [str(runs), path]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        return dict(zip(files, (tuple(map(int, line.split())) for line in lines), strict=True))

    return count
