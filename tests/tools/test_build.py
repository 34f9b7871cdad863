"""setup.py and tools/dev.py: one library name, and declarations that are generated once."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from edgeinfer import _ffi
from tools import dev


def constant_of(path: Path, name: str) -> object:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)  # fails where the value depends on the platform
    raise AssertionError(f"{path}: no constant {name}")


def test_all_look_for_the_same_library(repo_root: Path) -> None:
    assert dev.LIBRARY == _ffi._LIBRARY_NAME
    assert constant_of(repo_root / "setup.py", "LIBRARY") == _ffi._LIBRARY_NAME
    assert constant_of(repo_root / "tools" / "dev.py", "LIBRARY") == _ffi._LIBRARY_NAME


def test_the_package_generates_its_declarations_once(repo_root: Path) -> None:
    tree = ast.parse((repo_root / "setup.py").read_text())
    calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert calls.count("build_ffi.write_module") == 1


def test_a_build_generates_declarations_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "build_ffi.py").write_text("")
    (tmp_path / "csrc" / "include").mkdir(parents=True)
    (tmp_path / "csrc" / "include" / "edgeinfer.h").write_text("")
    (tmp_path / "edgeinfer").mkdir()
    monkeypatch.setattr(dev, "ROOT", tmp_path)
    monkeypatch.setattr(dev, "BUILD", tmp_path / "build")

    def record(command: list[object], otherwise: str, **extra: str) -> None:
        commands.append([str(word) for word in command])
        library = tmp_path / "build" / "plain" / dev.LIBRARY
        library.parent.mkdir(parents=True, exist_ok=True)
        library.write_bytes(b"library")

    monkeypatch.setattr(dev, "must", record)
    dev.build_library("plain", [], in_place=True)
    assert sum(any("build_ffi.py" in word for word in command) for command in commands) == 1
    assert (tmp_path / "edgeinfer" / dev.LIBRARY).read_bytes() == b"library"
