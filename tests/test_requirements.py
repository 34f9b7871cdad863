"""A missing tool skips a test on a developer's machine, and fails it in CI."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import requirements

ABSENT: dict[str, Callable[[], object]] = {
    "a program": lambda: requirements.require_program("no-such-program"),
    "a module": lambda: requirements.require_module("no_such_module"),
    "a version": lambda: requirements.require_module("numpy", "1000.0"),
    "a compiler": requirements.require_c_compiler,
}


@pytest.fixture(params=ABSENT)
def needs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], object]:
    monkeypatch.setenv("CC", "no-such-compiler")
    return ABSENT[request.param]


@pytest.mark.parametrize("value", [None, "", "0", "false"])
def test_skips_outside_ci(
    needs: Callable[[], object], value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    if value is not None:
        monkeypatch.setenv("CI", value)
    with pytest.raises(pytest.skip.Exception):
        needs()


@pytest.mark.parametrize("value", ["true", "1"])
def test_fails_in_ci(
    needs: Callable[[], object], value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", value)
    with pytest.raises(pytest.fail.Exception):
        needs()


def test_what_is_there_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    assert requirements.require_module("numpy", "1.0").__name__ == "numpy"
    assert Path(requirements.require_program("python3")).exists()
