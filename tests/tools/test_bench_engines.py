"""tools/bench_engines.py: its table, and that it finds engines that differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeinfer
from tests.device.programs import one_in_one_out
from tests.requirements import require_module
from tools import bench_engines


@pytest.fixture
def model(tmp_path: Path) -> Path:
    require_module("numba")
    path = tmp_path / "double.edge"
    path.write_bytes(one_in_one_out())
    return path


def test_a_model_is_measured(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_engines.main([str(model), "--seconds", "0.05"]) == 0
    name, *figures = capsys.readouterr().out.splitlines()[-1].split()
    assert name == "double" and len(figures) == 5
    assert float(figures[2]) > 0


def test_other_bits_are_an_error(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load = edgeinfer.load

    def load_changed(file: bytes, **how: Any) -> edgeinfer.Model:
        loaded = load(file, **how)
        if "engine" in how:
            run_into = loaded.run_into

            def run_wrong(out: dict[str, np.ndarray], x: dict[str, np.ndarray]) -> None:
                run_into(out, x)
                next(iter(out.values())).reshape(-1)[-1] ^= 1

            monkeypatch.setattr(loaded, "run_into", run_wrong)
        return loaded

    monkeypatch.setattr(edgeinfer, "load", load_changed)
    assert bench_engines.main([str(model), "--seconds", "0.05"]) == 1
    assert "the engines differ" in capsys.readouterr().err
