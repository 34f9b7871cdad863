"""tools/bench_fp4.py: its table, and figures that belong together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.requirements import require_c_compiler, require_module
from tools import bench_fp4


def test_the_table_has_ours_the_peers_and_the_limits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require_c_compiler()
    require_module("onnxruntime")
    path = tmp_path / "fp4.json"
    small = ["--k", "128", "--batches", "3", "--dram-bytes", "20000", "--seconds", "0.05"]
    assert bench_fp4.main([*small, "--threads", "1", "--json", str(path)]) == 0
    title, _, *rows = capsys.readouterr().out.splitlines()
    assert "DRAM (4 of 128x128)" in title and "batch 3" in title
    assert [row.split()[0] for row in rows[:2]] == ["mxfp4", "nvfp4"]
    assert rows[-1].split()[0] == "limit"
    assert any("MatMulNBits" in row for row in rows)
    figures = json.loads(path.read_text())
    for figure in figures:
        assert figure["gigabytes"] > 0 and figure["gmacs"] > 0
    mine = [f for f in figures if f["name"] == "mxfp4"]
    assert [f["case"].split(" (")[0] for f in mine] == [
        "batch 1, cache",
        "batch 1, DRAM",
        "batch 3",
    ]
    # 128 x 128 weights in 8 tiles of 1,088 bytes, three vectors to each.
    assert mine[2]["gmacs"] / mine[2]["gigabytes"] == pytest.approx(3 * 128 * 128 / 8704)
    assert all(f["share"] is None or f["share"] > 0 for f in mine)


def test_k_must_be_whole_blocks(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench_fp4.main(["--k", "100"])
    assert "must be a multiple of 64" in capsys.readouterr().err
