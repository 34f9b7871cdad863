"""Cycles that the energy model reckons, against those that runs take."""

from __future__ import annotations

from pathlib import Path

import pytest

import edgeinfer
from edgeinfer.power import PROFILES
from tests.core.programs import chain
from tools import modelled_cycles


def test_it_prints_both_and_their_ratio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "chain.edge"
    path.write_bytes(chain().write())
    profile = PROFILES["n100"]
    joules = profile.of_run(edgeinfer.load(path).step_costs)
    cycles = joules / (10.0 / (4 * 2.9e9))  # 10 W more with four cores busy at 2.9 GHz
    monkeypatch.setattr(modelled_cycles, "cycles_of", lambda *_: cycles / 2)
    assert modelled_cycles.main([str(path), "--ghz", "2", "--profile", "n100"]) == 0
    name, _, modelled, ratio = capsys.readouterr().out.splitlines()[-1].split()
    assert (name, ratio) == ("chain", "2.00")
    assert float(modelled.replace(",", "")) == pytest.approx(cycles / 1e3, abs=0.5)


def test_cycles_are_of_this_machine(tmp_path: Path) -> None:
    model = edgeinfer.load(chain().write())
    assert modelled_cycles.cycles_of(model, 2.0, 0.01) > 100
