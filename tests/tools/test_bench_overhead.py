"""tools/bench_overhead.py: both of its tables, on a model of one operator."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.device.programs import one_in_one_out

ROOT = Path(__file__).resolve().parents[2]


def test_runs_and_loads_are_measured(tmp_path: Path) -> None:
    model = tmp_path / "double.edge"
    model.write_bytes(one_in_one_out())
    command = [sys.executable, str(ROOT / "tools" / "bench_overhead.py"), str(model)]
    done = subprocess.run(
        [*command, "--seconds", "0.05", "--repeats", "1"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    runs, loads = done.stdout.split("\n\n")
    name, in_c, *through_python = runs.splitlines()[-1].split()
    assert name == "double"
    assert all(float(microseconds) > 0 for microseconds in through_python[:3])
    assert (in_c != "-") == (shutil.which("cc") is not None)
    assert loads.splitlines()[-1].startswith("double ")
