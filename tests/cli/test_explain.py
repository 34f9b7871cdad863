"""edgeinfer explain: kernels, work and reasons of every operation, whatever the file says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeinfer._ffi import lib
from edgeinfer.cli import main
from edgeinfer.convert import convert
from edgeinfer.convert.graph import Graph
from edgeinfer.convert.read import read_model
from edgeinfer.convert.write import write_model
from edgeinfer.step_costs import count_macs, tier_names
from tests.convert.graphs import GraphBuilder
from tests.requirements import require_module


def mixed_graph() -> Graph:
    b = GraphBuilder()
    x = b.conv2d(b.input((1, 6, 6, 2)), 3)
    middle = b.node("layer_norm", [x, None, None], x.shape, axis=3, epsilon=1e-5)
    return b.build(b.conv2d(middle, 2))


@pytest.fixture
def mixed_file(tmp_path: Path) -> Path:
    path = tmp_path / "mixed.edge"
    convert(mixed_graph()).save(path)
    return path


def explain(path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> Any:
    assert main(["explain", str(path), *options]) == 0
    out = capsys.readouterr().out
    return json.loads(out) if "--json" in options else out


def test_every_operation_is_explained(mixed_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = explain(mixed_file, capsys, "--json")
    (program,) = report["programs"]
    rows = program["operations"]
    file = read_model(mixed_file.read_bytes()).programs[0]
    assert [row["operator"] for row in rows] == [node.operator for node in file.nodes] == [
        "conv2d", "dequantize", "layer_norm_f32", "quantize", "conv2d",
    ]  # fmt: skip
    assert [(row["inputs"], row["outputs"]) for row in rows] == [
        (["int8"], ["int8"]),
        (["int8"], ["float32"]),
        (["float32"], ["float32"]),
        (["float32"], ["int8"]),
        (["int8"], ["int8"]),
    ]
    assert [row["weights"] for row in rows] == ["int8", None, None, None, "int8"]
    assert [row["source"] for row in rows[::2]] == ["conv2d", "layer_norm", "conv2d"]
    assert sum(row["macs"] for row in rows) == program["macs"] == count_macs(file) > 0
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert sum(row["steps"] for row in rows) == len(file.steps)
    assert rows[2]["reason"].startswith("float32 in the source")
    assert "reads float32" in rows[1]["reason"] and "computes in float32" in rows[3]["reason"]
    assert program["precisions"]["float32"] == {"operations": 1, "macs": 0}
    assert program["precisions"]["int8"]["macs"] == program["macs"]
    assert program["precisions"]["conversions"]["operations"] == 2


def test_kernels_of_every_tier_that_this_machine_has(
    mixed_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = explain(mixed_file, capsys, "--json")["programs"][0]["operations"]
    for row in rows:
        assert sorted(row["kernels"]) == sorted(tier_names())
        for tier, kernel in row["kernels"].items():
            name, of = kernel.split()
            assert lib().ei_tier_supported(of.encode())
            assert tier_names().index(of) <= tier_names().index(tier)
            assert row["kernels"]["scalar"] == f"{name} scalar"
    forced = explain(mixed_file, capsys, "--tier", "scalar", "--json")
    assert forced["tier"] == "scalar"
    assert all(row["kernel"].endswith("scalar") for row in forced["programs"][0]["operations"])


def test_a_tier_that_is_not_there_is_an_error(
    mixed_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", str(mixed_file), "--tier", "warp"]) == 1
    assert "no tier 'warp'" in capsys.readouterr().err


def test_the_text_numbers_the_reasons(mixed_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = explain(mixed_file, capsys)
    assert "int8 -> float32" in printed and "conv2d_s8_s8c" in printed
    assert "  1  quantised in the source\n" in printed
    assert "\n5 operations, " in printed and "int8: 2 (100.0 % of MAC)" in printed


def test_source_models_are_converted_first(
    repo_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require_module("onnx")
    path = repo_root / "examples" / "digits" / "digits_float.onnx"
    (program,) = explain(path, capsys, "--json")["programs"]
    reasons = {row["reason"] for row in program["operations"]}
    assert reasons == {"float32 in the source, which is not quantised"}
    assert {row["weights"] for row in program["operations"] if row["macs"]} == {"float32"}


def test_half_floats_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    b = GraphBuilder()
    x = b.input((2, 8), None)
    w = b.constant(np.ones((16, 8), np.float32))
    path = tmp_path / "half.edge"
    graph = b.build(b.node("fully_connected", [x, w, None], (2, 16), None))
    convert(graph, float_weights="float16").save(path)
    (row,) = explain(path, capsys, "--json")["programs"][0]["operations"]
    assert row["weights"] == "float16" and row["macs"] == 2 * 8 * 16


def with_metadata(path: Path, **changes: Any) -> Path:
    converted = convert(mixed_graph())
    metadata = {**converted.metadata, **changes}
    path.write_bytes(write_model([(converted.programs[0], converted.plans[0])], metadata))
    return path


CONV = {"operator": "conv2d"}
REST = [{"operator": op} for op in ("dequantize", "layer_norm_f32", "quantize", "conv2d")]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"nodes": None}, None),
        ({"nodes": []}, None),
        ({"nodes": "abcde"}, None),
        ({"nodes": [1, 2, 3, 4, 5]}, None),
        ({"nodes": [{"operator": "add"}, *REST]}, None),
        ({"nodes": [{**CONV, "reason": 99}, *REST]}, None),
        ({"nodes": [{**CONV, "reason": -1}, *REST]}, None),
        ({"nodes": [{**CONV, "reason": True}, *REST]}, None),
        ({"nodes": [{**CONV, "reason": "0"}, *REST]}, None),
        ({"reasons": None}, None),
        ({"reasons": {"0": "x"}}, None),
        ({"reasons": [7] * 9}, "7"),
        ({"reasons": ["\x1b[2J"] * 9}, "\x1b[2J"),
        ({"nodes": [{**CONV, "absorbed": 3, "source": [1]}, *REST]}, "quantised in the source"),
    ],
)
def test_metadata_may_hold_anything(
    changes: dict[str, Any],
    reason: str | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = with_metadata(tmp_path / "odd.edge", **changes)
    row = explain(path, capsys, "--json")["programs"][0]["operations"][0]
    assert row["reason"] == reason and row["operator"] == "conv2d"
    printed = explain(path, capsys)
    assert "\x1b" not in printed
    assert reason is not None or "not noted in the file" in printed
