#!/usr/bin/env python3
"""Programs that end when what started them ends, however that ends; locks that say who has them.

A tool that is killed leaves what it started behind: a build goes on in a folder that the next one
takes for its own, an emulator waits for ever. `run` therefore starts a program under a guard, a
process of this file. The kernel signals the guard when its parent is gone, SIGKILL included; the
guard then ends its process group with SIGTERM, which ninja hands on to the compilers, and after
GRACE_SECONDS with SIGKILL.

Only the standard library is imported: tools/dev.py is started with nothing installed.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

GRACE_SECONDS = 5.0
_PR_SET_PDEATHSIG = 1


# --- programs -----------------------------------------------------------------------------------


def guarded(command: Sequence[str | Path]) -> list[str]:
    """The command that runs `command` under a guard, to be started by this process."""
    words = [sys.executable, "-I", "-S", str(Path(__file__).resolve()), str(os.getpid())]
    return [*words, *map(str, command)]


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    given: str = "",
) -> tuple[int, str]:
    """Run a program under a guard, `given` as its input.

    Returns
    -------
    tuple[int, str]
        Its exit code, and what it printed, errors included.
    """
    with subprocess.Popen(
        guarded(command),
        cwd=cwd,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        try:
            printed, _ = process.communicate(given)
        except BaseException:
            process.terminate()  # the guard ends the program; killed, it could not
            raise
    return process.returncode, printed


class _Stopped(BaseException):
    """The parent is gone, or wants the end."""


def guard(parent: int, command: Sequence[str]) -> int:
    """Run a command as the guard of it; its exit code, as a shell gives it."""
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    stopped = waiting = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True
        if waiting:
            raise _Stopped

    signal.signal(signal.SIGTERM, stop)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        return 1  # gone before the kernel was asked
    try:
        child = subprocess.Popen(command)
    except OSError as error:
        print(f"{command[0]} does not start: {error}", file=sys.stderr)
        return 127
    try:
        waiting = True
        if stopped:
            raise _Stopped
        code = child.wait()
        return 128 - code if code < 0 else code
    except _Stopped:
        _end_group(child)
        raise


def _end_group(child: subprocess.Popen[bytes]) -> None:
    """End the guard's process group, the guard last."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(GRACE_SECONDS)
    os.killpg(0, signal.SIGKILL)


# --- locks --------------------------------------------------------------------------------------


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a file's lock; where another process has it, say which one and wait.

    The kernel frees the lock when the process ends. Programs that it starts do not inherit it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.1)  # who has just got it may not have said so yet
            lock.seek(0)
            _wait(lock, lock.read().strip(), path)
        lock.seek(0)
        lock.truncate()
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def _wait(lock: IO[str], holder: str, path: Path) -> None:
    if holder != str(os.getpid()):  # a thread of this process is nothing to report
        print(f"waiting for process {holder}, which holds {path}", file=sys.stderr, flush=True)
    fcntl.flock(lock, fcntl.LOCK_EX)


if __name__ == "__main__":
    sys.exit(guard(int(sys.argv[1]), sys.argv[2:]))
