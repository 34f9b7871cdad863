"""Progress: on a terminal, and only there."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeinfer.cli.progress import Progress
from edgeinfer.convert import convert
from tests.device.programs import one_in_one_out


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_silent_where_nobody_watches() -> None:
    stream = io.StringIO()
    with Progress(stream) as progress:
        progress.stage("reading")
        progress.count("1 of 2")
    assert stream.getvalue() == ""


def test_what_is_counted_has_a_bar() -> None:
    stream = Terminal()
    with Progress(stream) as progress:
        progress.show("reading")
        progress._next = 0.0
        progress.show("observing ranges: sample 5 of 10")
    shown = stream.getvalue().split("\r\x1b[K")
    assert shown == [
        "",
        "reading ...",
        "[############............] observing ranges: sample 5 of 10 ...",
        "",
    ]


def test_progress_replaces_its_line_and_leaves_none() -> None:
    stream = Terminal()
    with Progress(stream) as progress:
        progress.stage("reading")
        progress.stage("passes")
    assert stream.getvalue() == "\r\x1b[Kreading ...\r\x1b[Kpasses ...\r\x1b[K"


def test_counts_that_follow_quickly_are_not_all_written() -> None:
    stream = Terminal()
    with Progress(stream) as progress:
        for number in range(100_000):
            progress.count(f"{number}")
    written = stream.getvalue().count("...")
    assert 1 <= written < 1000
    assert stream.getvalue().startswith("\r\x1b[K0 ...")


def test_the_line_goes_away_when_work_fails() -> None:
    stream = Terminal()
    with pytest.raises(RuntimeError), Progress(stream) as progress:
        progress.stage("reading")
        raise RuntimeError
    assert stream.getvalue().endswith("\r\x1b[K")


def test_convert_tells_its_stages_in_order(digits_dir: Path) -> None:
    stages: list[str] = []
    convert(digits_dir / "digits_int8.onnx", progress=stages.append)
    assert stages == ["reading", "passes", "planning", "writing"]


def on_a_terminal(*arguments: str) -> tuple[str, str]:
    """Standard output, and what came to the terminal that standard error is."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "edgeinfer", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, text=True, check=False)
    os.close(theirs)
    shown = b""
    while True:
        try:
            more = os.read(ours, 4096)
        except OSError:  # Linux says so that the other end is closed
            break
        if not more:
            break
        shown += more
    os.close(ours)
    assert done.returncode == 0, shown
    return done.stdout, shown.decode()


def test_commands_show_progress_on_standard_error(tmp_path: Path, digits_dir: Path) -> None:
    out = tmp_path / "digits.edge"
    source = str(digits_dir / "digits_int8.onnx")
    printed, shown = on_a_terminal("convert", source, "-o", str(out))
    assert all(f"{stage} ..." in shown for stage in ("reading", "passes", "planning", "writing"))
    assert "\x1b" not in printed

    model = tmp_path / "double.edge"
    model.write_bytes(one_in_one_out())
    np.save(tmp_path / "x.npy", np.zeros((3, 1, 4, 3), np.int8))
    printed, shown = on_a_terminal("run", str(model), "-i", str(tmp_path / "x.npy"))
    assert "running 1 of 3" in shown and "running" not in printed

    printed, shown = on_a_terminal("bench", str(model), "--seconds", "0.3")
    assert "measuring 0.3 s: 0." in shown and "measuring" not in printed
