"""What polling costs: the tool that measures it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeinfer.power import find_meters
from tools import meter_cost


def test_the_boards_it_writes_have_a_meter_each(tmp_path: Path) -> None:
    meter_cost.write_boards(tmp_path)
    for board in tmp_path.iterdir():
        reading = find_meters(str(board))[0].read()
        assert reading.fault is None, (board, reading.detail)


def test_it_prints_a_share_for_every_meter(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(
        meter_cost, "share_of_core", lambda meter, _: 0.0 if meter is None else 0.004
    )
    assert meter_cost.main(["--root", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[2:]] == [
        ["agx_orin", "ina3221"], ["orin_nano", "ina3221"], ["pi_5", "pmic"], ["x86", "rapl"],
    ]  # fmt: skip
    assert all(" 0.400 " in line for line in lines[2:])
    monkeypatch.setattr(
        meter_cost, "share_of_core", lambda meter, _: 0.0 if meter is None else 0.006
    )
    assert meter_cost.main(["--root", str(tmp_path)]) == 1
