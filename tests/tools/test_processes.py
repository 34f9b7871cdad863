"""tools/processes.py: nothing outlives what started it; a lock is free when its holder is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.requirements import require_program
from tools import processes

SECONDS = 60.0  # far beyond what it takes, for machines that are busy

STARTER = """
import sys
from pathlib import Path
from tools import processes
with processes.exclusive(Path(sys.argv[1])):
    processes.run(sys.argv[2:])
"""


def start(repo_root: Path, lock: Path, *command: str | Path) -> subprocess.Popen[str]:
    """A process that holds a lock and runs a command under a guard."""
    return subprocess.Popen(
        [sys.executable, "-c", STARTER, str(lock), *map(str, command)],
        env={**os.environ, "PYTHONPATH": str(repo_root)},
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(what: str, happened: object) -> None:
    """Wait until a function gives something true."""
    assert callable(happened)
    end = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < end, f"{what} did not happen in {SECONDS:.0f} s"
        time.sleep(0.02)


def written_pid(path: Path) -> int:
    """The process that says its number in a file."""
    wait_for(f"{path.name}", lambda: path.exists() and path.read_text().endswith("\n"))
    return int(path.read_text())


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_a_program_ends_when_its_starter_is_killed(repo_root: Path, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    # The shell waits for a program of its own, as cmake does for ninja.
    script = f"sleep 600 & echo $! > {pid_file}; wait"
    starter = start(repo_root, tmp_path / "lock", "sh", "-c", script)
    pid = written_pid(pid_file)
    assert is_running(pid)
    kill(starter)
    wait_for("the end of the program", lambda: not is_running(pid))


def test_compilers_that_ninja_started_end_too(repo_root: Path, tmp_path: Path) -> None:
    ninja = require_program("ninja")
    pid_file = tmp_path / "pid"
    # ninja makes a process group of its own for each command.
    (tmp_path / "build.ninja").write_text(
        f"rule compile\n  command = sleep 600 & echo $$! > {pid_file}; wait\nbuild out: compile\n"
    )
    starter = start(repo_root, tmp_path / "lock", ninja, "-C", tmp_path, "out")
    pid = written_pid(pid_file)
    assert os.getpgid(pid) != starter.pid
    kill(starter)
    wait_for("the end of the compiler", lambda: not is_running(pid))


def test_what_ignores_the_signal_is_killed(repo_root: Path, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = f"trap '' TERM; echo $$ > {pid_file}; while :; do sleep 600; done"
    starter = start(repo_root, tmp_path / "lock", "sh", "-c", script)
    pid = written_pid(pid_file)
    kill(starter)
    wait_for("the end of the program", lambda: not is_running(pid))


def test_the_lock_of_a_killed_process_is_free(repo_root: Path, tmp_path: Path) -> None:
    pid_file, lock = tmp_path / "pid", tmp_path / "lock"
    starter = start(repo_root, lock, "sh", "-c", f"echo $$ > {pid_file}; sleep 600")
    written_pid(pid_file)
    kill(starter)
    begin = time.monotonic()
    with processes.exclusive(lock):
        assert time.monotonic() - begin < SECONDS / 2
        assert lock.read_text() == f"{os.getpid()}\n"


def test_who_waits_for_a_lock_says_for_whom(repo_root: Path, tmp_path: Path) -> None:
    lock, done = tmp_path / "lock", tmp_path / "done"
    with processes.exclusive(lock):
        waiting = start(repo_root, lock, "touch", done)
        assert waiting.stderr is not None
        assert waiting.stderr.readline() == (
            f"waiting for process {os.getpid()}, which holds {lock}\n"
        )
        assert not done.exists()
    waiting.communicate(timeout=SECONDS)
    assert (waiting.returncode, done.exists()) == (0, True)


@pytest.mark.parametrize(
    ("script", "code", "printed"),
    [
        ("echo out; echo err >&2", 0, "out\nerr\n"),
        ("exit 77", 77, ""),
        ("kill -9 $$", 128 + signal.SIGKILL, ""),
    ],
)
def test_a_guard_hands_on_output_and_exit_code(script: str, code: int, printed: str) -> None:
    assert processes.run(["sh", "-c", script]) == (code, printed)


def test_a_program_reads_what_it_is_given() -> None:
    assert processes.run(["cat"], given="line\n") == (0, "line\n")
    assert processes.run(["cat"]) == (0, "")


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    code, printed = processes.run([absent])
    assert code == 127
    assert str(absent) in printed
