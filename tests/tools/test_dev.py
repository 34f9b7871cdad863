"""tools/dev.py: what becomes of a step's exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import arm_test, dev


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs shell commands as a step."""
    monkeypatch.setattr(dev, "BUILD", tmp_path)

    def run(*scripts: str) -> dev.Step:
        commands: list[list[str | Path]] = [["sh", "-c", script] for script in scripts]
        return dev.Step("a step", commands, seconds_allowed=20).run()

    return run


def test_a_step_passes_when_all_its_commands_do(shell) -> None:
    step = shell("true", "true")
    assert (step.ok, step.skipped) == (True, "")


def test_a_step_fails_with_its_first_failure(shell, tmp_path: Path) -> None:
    step = shell("exit 3", f"touch {tmp_path}/reached")
    assert (step.ok, step.skipped) == (False, "")
    assert not (tmp_path / "reached").exists()


def test_a_step_that_lacks_something_is_skipped_with_its_reason(shell) -> None:
    assert dev.SKIPPED == arm_test.SKIPPED
    step = shell(f"echo first; echo 'x.py: skipped: install qemu-user'; exit {dev.SKIPPED}")
    assert (step.ok, step.skipped) == (True, "install qemu-user")


def test_a_step_that_hangs_is_a_failure(shell, capsys: pytest.CaptureFixture[str]) -> None:
    step = dev.Step("slow", [["sleep", "30"]], seconds_allowed=0.1).run()
    assert not step.ok and step.seconds < 20
    assert "limit" in capsys.readouterr().out


def test_the_short_version_of_the_arm_test_is_a_step() -> None:
    assert [str(word) for word in dev.arm_step().commands[0][1:]] == [
        str(dev.ROOT / "tools" / "arm_test.py")
    ]
