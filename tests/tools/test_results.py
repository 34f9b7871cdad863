"""tools/results.py: the table of README, here of one small model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgeinfer
from edgeinfer.convert import convert
from tests.builders import tflite_elementwise_ops
from tests.builders.spec import Quant, Spec
from tests.requirements import require_module
from tools import results


def test_a_row_for_every_model_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    require_module("ai_edge_litert")
    spec = Spec((1, 2, 3), np.int8, Quant(0.05, 3))
    source = tmp_path / "rectified_int8.tflite"
    source.write_bytes(tflite_elementwise_ops.unary("RELU", spec, spec))
    (tmp_path / "other_fp32.tflite").write_bytes(b"is not of the table")
    monkeypatch.setattr(results, "ROOT", tmp_path)  # where it writes
    monkeypatch.setattr(results, "_RUN_SECONDS", 0.01)
    assert results.main(["--models", str(tmp_path), "--count", "7"]) == 0
    header, rule, row, _, machine = capsys.readouterr().out.splitlines()
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert len(cells) == header.count("|") - 1 == rule.count("|") - 1
    conversion = convert(source)
    with edgeinfer.load(conversion.data) as model:
        assert cells[:4] == [
            "rectified",
            f"{model.plan.arena_bytes:,}",
            f"{model.plan.session_bytes:,}",
            f"{len(conversion.data):,}",
        ]
        assert f"tier {model.tier}" in machine
    assert cells[4] == "0 of 42"
    assert all(float(cell) > 0 for cell in cells[6:])


def test_a_folder_without_models_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert results.main(["--models", str(tmp_path)]) == 1
    assert str(tmp_path) in capsys.readouterr().err
