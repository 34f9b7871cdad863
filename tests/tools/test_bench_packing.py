"""tools/bench_packing.py: its table."""

from __future__ import annotations

import pytest

from tools import bench_packing


def test_the_table_has_a_line_for_each_instance(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_packing.main(["--pieces", "12", "20", "--trimmed", "0"]) == 0
    title, *rows, total = capsys.readouterr().out.splitlines()
    assert title.split()[0] == "buffers"
    assert [row.split()[0] for row in rows] == ["12", "20"]
    assert all(float(row.split()[2]) == 1 for row in rows)
    assert total == "2 of 2 at the bound"
