"""The command line, as a user or a script calls it."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import edgeinfer
from edgeinfer.cli import SUBCOMMANDS, main
from edgeinfer.printing import format_table
from tests.core.fed_programs import pooled
from tests.device.programs import one_in_one_out, two_in_two_out
from tests.requirements import require_module


@pytest.fixture
def edge_file(tmp_path: Path) -> Path:
    path = tmp_path / "double.edge"
    path.write_bytes(one_in_one_out())
    return path


@pytest.fixture
def pair_file(tmp_path: Path) -> Path:
    path = tmp_path / "pair.edge"
    path.write_bytes(two_in_two_out())
    return path


def random_draws(path: Path, count: int) -> Path:
    """An ONNX model of as many nodes of an operator that never gives the same twice."""
    onnx = require_module("onnx")
    names = [f"x{i}" for i in range(count + 1)]
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, 3])
        for name in (names[0], names[-1])
    ]
    nodes = [
        onnx.helper.make_node("RandomNormalLike", [x], [y], name=f"draw {x}")
        for x, y in itertools.pairwise(names)
    ]
    graph = onnx.helper.make_graph(nodes, "draws", ends[:1], ends[1:])
    onnx.save(onnx.helper.make_model(graph), path)
    return path


def _json_of(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("command", SUBCOMMANDS)
def test_every_help_ends_in_an_example_of_itself(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.strip().startswith(f"edgeinfer {command}")


def test_no_command_prints_help_and_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "exit codes" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"edgeinfer {edgeinfer.__version__}\n"


def test_installed_command_and_module_are_the_same(edge_file: Path) -> None:
    command = [sys.executable, "-m", "edgeinfer", "inspect", str(edge_file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "requantize" in done.stdout


def test_wrong_option_is_wrong_usage() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["run", "--no-such-option"])
    assert caught.value.code == 2


def test_convert_writes_a_file_that_loads_and_tells_the_plan(
    tmp_path: Path, digits_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "digits.edge"
    assert main(["convert", str(digits_dir / "digits_int8.onnx"), "-o", str(out)]) == 0
    text = capsys.readouterr().out
    plan = edgeinfer.load(out).plan
    for size in (plan.arena_bytes, plan.session_bytes, plan.weights_bytes):
        assert f"{size:,} bytes" in text
    assert plan.peak_step.node in text
    arguments = ["convert", str(digits_dir / "digits_int8.onnx"), "-o", str(out), "--json"]
    assert main(arguments) == 0
    assert _json_of(capsys)["session_bytes"] == plan.session_bytes


def test_convert_is_deterministic(tmp_path: Path, digits_dir: Path) -> None:
    files = [tmp_path / "a.edge", tmp_path / "b.edge"]
    for path in files:
        assert main(["convert", str(digits_dir / "digits_int8.onnx"), "-o", str(path)]) == 0
    assert files[0].read_bytes() == files[1].read_bytes()


def test_convert_stores_float_weights_in_half_the_space(
    tmp_path: Path, digits_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = []
    for dtype in ("float32", "float16"):
        out = tmp_path / f"{dtype}.edge"
        arguments = ["convert", str(digits_dir / "digits_float.onnx"), "-o", str(out), "--json"]
        assert main([*arguments, "--float-weights", dtype]) == 0
        weights.append(_json_of(capsys)["weights_bytes"])
    assert 1.6 < weights[0] / weights[1] < 2  # those of depthwise layers, and biases, stay


def test_convert_over_budget_writes_nothing(
    tmp_path: Path, digits_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "digits.edge"
    arguments = ["convert", str(digits_dir / "digits_int8.onnx"), "-o", str(out)]
    assert main([*arguments, "--ram-budget", "1KiB"]) == 4
    assert re.search(r"[\d,]+ bytes", capsys.readouterr().err)
    assert not out.exists()


def test_a_model_is_refused_with_every_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(random_draws(tmp_path / "draws.onnx", 7))
    assert main(["convert", model, "-o", str(tmp_path / "x.edge")]) == 3
    refused = capsys.readouterr().err
    assert main(["check", model, "--json"]) == 3
    problems = _json_of(capsys)["problems"]
    assert len(problems) == 7
    assert all(problem["reason"] and problem["node"] in refused for problem in problems)
    assert main(["check", model]) == 3
    assert "why:" in capsys.readouterr().out


def test_check_of_a_good_model(digits_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(digits_dir / "digits_int8.onnx")]) == 0
    assert "every node can be converted" in capsys.readouterr().out


def test_inspect_shows_steps_and_sections(
    edge_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(edge_file), "--params"]) == 0
    text = capsys.readouterr().out
    assert "double" in text and "multiplier 2" in text and "constants" in text
    assert main(["inspect", str(edge_file), "--json"]) == 0
    (program,) = _json_of(capsys)["programs"]
    assert program["steps"][0]["params"]["multiplier"] == 2.0
    assert program["inputs"][0]["shape"] == [1, 4, 3]


def test_inspect_says_how_much_of_an_input_is_held(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.edge").write_bytes(pooled(8).write())
    assert main(["inspect", str(tmp_path / "m.edge")]) == 0
    shown = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert "input   'x' int8 1x8x4x5, scale 0.5, zero point 3, 3 of 8 rows held" in shown
    assert "output  'y' int8 1x8x4x5, scale 0.5, zero point 3" in shown


def test_plan_prints_a_table_and_draws(
    tmp_path: Path, edge_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawing = tmp_path / "plan.svg"
    assert main(["plan", str(edge_file), "--svg", str(drawing)]) == 0
    assert "76" in capsys.readouterr().out
    assert drawing.read_text().startswith("<svg") or "<svg" in drawing.read_text()
    assert main(["plan", str(edge_file), "--json"]) == 0
    (program,) = _json_of(capsys)["programs"]
    assert program["name"] == "main" and program["arena_bytes"] == 76


def test_plan_of_a_source_model(digits_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(digits_dir / "digits_int8.onnx"), "--json"]) == 0
    assert _json_of(capsys)["programs"][0]["arena_bytes"] > 0


def test_plan_shows_ram_against_time(
    tmp_path: Path, digits_dir: Path, edge_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, page = str(digits_dir / "digits_int8.onnx"), tmp_path / "plan.html"
    assert main(["plan", source, "--pareto", "--json", "--html", str(page)]) == 0
    curve = _json_of(capsys)["pareto"]
    assert len(curve) > 1 and curve[0]["time"] == 1.0
    for faster, smaller in itertools.pairwise(curve):
        assert faster["arena_bytes"] > smaller["arena_bytes"]
        assert faster["time"] <= smaller["time"]
    assert f"{curve[-1]['steps']} steps" in page.read_text()
    out = tmp_path / "small.edge"
    assert main(["convert", source, "-o", str(out), "--optimize", "ram", "--json"]) == 0
    assert _json_of(capsys)["arena_bytes"] <= curve[-1]["arena_bytes"]
    budget = str(curve[1]["session_bytes"])
    assert main(["convert", source, "-o", str(out), "--ram-budget", budget, "--json"]) == 0
    assert _json_of(capsys)["session_bytes"] <= int(budget)
    assert main(["plan", source, "--pareto"]) == 0
    assert "estimated" in capsys.readouterr().out
    assert main(["plan", str(edge_file), "--pareto"]) != 0
    assert "needs the model that it was converted from" in capsys.readouterr().err
    assert main(["plan", source, "--feed-inputs"]) != 0
    assert "give both" in capsys.readouterr().err


def test_run_prints_and_saves(
    tmp_path: Path, edge_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = np.full((1, 4, 3), 10, np.int8)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", x=x)
    np.savez(tmp_path / "other.npz", data=x)
    x.tofile(tmp_path / "x.bin")
    for given in ("x.npy", "x.npz", "other.npz", "x.bin"):
        assert main(["run", str(edge_file), "-i", str(tmp_path / given), "--json"]) == 0
        assert _json_of(capsys) == {"y": [[[17] * 3] * 4]}
    for saved in ("y.npy", "y.npz", "y.bin"):
        out = tmp_path / saved
        assert main(["run", str(edge_file), "-i", str(tmp_path / "x.npy"), "-o", str(out)]) == 0
    assert np.load(tmp_path / "y.npy").tolist() == [[[17] * 3] * 4]
    assert np.load(tmp_path / "y.npz")["y"].tolist() == [[[17] * 3] * 4]
    assert (tmp_path / "y.bin").read_bytes() == bytes([17] * 12)
    assert main(["run", str(edge_file), "-i", str(tmp_path / "x.npy")]) == 0
    assert "y: int8[1, 4, 3]" in capsys.readouterr().out


def test_run_of_a_stack_gives_a_stack(
    tmp_path: Path, edge_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = np.arange(24, dtype=np.int8).reshape(2, 4, 3)
    np.save(tmp_path / "batchless.npy", stack)
    np.save(tmp_path / "stack.npy", stack[:, None])
    stack.tofile(tmp_path / "stack.bin")
    expected = np.stack([edgeinfer.load(edge_file).run(x[None]) for x in stack]).tolist()
    for given in ("batchless.npy", "stack.npy", "stack.bin"):
        assert main(["run", str(edge_file), "-i", str(tmp_path / given), "--json"]) == 0
        assert _json_of(capsys)["y"] == expected


def test_run_quantises_on_request_only(
    tmp_path: Path, edge_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "x.npy", np.full((1, 4, 3), 3.5, np.float32))
    arguments = ["run", str(edge_file), "-i", str(tmp_path / "x.npy"), "--json"]
    assert main(arguments) == 1
    assert "quantize" in capsys.readouterr().err
    assert main([*arguments, "--quantize", "--dequantize"]) == 0
    assert _json_of(capsys)["y"] == [[[7.0] * 3] * 4]


def test_run_of_several_inputs(
    tmp_path: Path, pair_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = np.arange(6, dtype=np.int8), np.full(6, 3, np.int8)
    np.save(tmp_path / "a.npy", a)
    np.save(tmp_path / "b.npy", b)
    np.savez(tmp_path / "both.npz", a=a, b=b)
    named = ["-i", f"a={tmp_path / 'a.npy'}", "-i", f"b={tmp_path / 'b.npy'}"]
    expected = {"largest": [3, 3, 3, 3, 4, 5], "negated": (-a).tolist()}
    for given in (named, ["-i", str(tmp_path / "both.npz")]):
        assert main(["run", str(pair_file), *given, "--json"]) == 0
        assert _json_of(capsys) == expected
    assert main(["run", str(pair_file), *named, "-o", str(tmp_path / "y.npy")]) == 1
    assert ".npz" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-i", "gone.npy"], "gone.npy"),
        (["-i", "short.bin"], "11 bytes"),
        (["-i", "wrong.npz"], "holds"),
    ],
)
def test_run_explains_inputs_that_do_not_fit(
    tmp_path: Path,
    edge_file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("short.bin").write_bytes(bytes(11))
    np.savez("wrong.npz", p=np.zeros(3), q=np.zeros(3))
    assert main(["run", str(edge_file), *arguments]) == 1
    assert words in capsys.readouterr().err


def test_run_of_several_inputs_needs_names(
    tmp_path: Path, pair_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "a.npy", np.zeros(6, np.int8))
    assert main(["run", str(pair_file), "-i", str(tmp_path / "a.npy")]) == 1
    assert "NAME=" in capsys.readouterr().err
    assert main(["run", str(pair_file), "-i", f"a={tmp_path / 'a.npy'}"]) == 1
    assert "input b" in capsys.readouterr().err


def test_run_over_budget(
    tmp_path: Path, edge_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 4, 3), np.int8))
    arguments = ["run", str(edge_file), "-i", str(tmp_path / "x.npy"), "--ram-budget", "100"]
    assert main(arguments) == 4
    assert "double" in capsys.readouterr().err


def test_bench_reports_percentiles_in_order(
    edge_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", str(edge_file), "--runs", "50", "--json"]) == 0
    result = _json_of(capsys)
    assert result["runs"] == 50 and result["tier"] == edgeinfer.load(edge_file).tier
    assert 0 < result["p50_us"] <= result["p90_us"] <= result["p99_us"] <= result["max_us"]
    assert main(["bench", str(edge_file), "--seconds", "0.05"]) == 0
    assert "p99" in capsys.readouterr().out


def test_doctor_tells_tier_versions_and_extras(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    report = _json_of(capsys)
    assert report["tiers"]["scalar"] is True
    assert report["edgeinfer"] == edgeinfer.__version__
    assert set(report["extras"]) >= {"convert", "plot"}
    assert main(["doctor"]) == 0
    assert "scalar" in capsys.readouterr().out


def test_doctor_shows_a_tier_that_is_not_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEINFER_TIER", "warp9")
    assert main(["doctor", "--json"]) == 1
    assert "warp9" in _json_of(capsys)["tier"]


@pytest.mark.parametrize("command", ["inspect", "explain", "plan", "bench"])
def test_damaged_file_is_an_error_with_a_reason(
    tmp_path: Path, edge_file: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    broken = tmp_path / "broken.edge"
    broken.write_bytes(edge_file.read_bytes()[:100])
    assert main([command, str(broken)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("edgeinfer: ") and "broken.edge" in said


def test_missing_file_is_an_error_with_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["convert"], ["check"], ["inspect"], ["explain"], ["plan"], ["bench"]):
        assert main([*command, "no/such/file.tflite"]) == 1
        said = capsys.readouterr().err
        assert "no/such/file.tflite" in said and "Errno" not in said


def test_tables_align_numbers_right() -> None:
    lines = format_table(("name", "bytes"), [("a", 5), ("long", 1000)]).splitlines()
    assert lines == ["name  bytes", "----  -----", "a         5", "long   1000"]


def test_an_open_shape_is_fixed_by_convert_whatever_the_command(
    tmp_path: Path, digits_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx = require_module("onnx")
    model = onnx.load(digits_dir / "digits_float.onnx")
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    del model.graph.value_info[:]
    onnx.save(model, tmp_path / "open.onnx")
    for command in ("plan", "explain", "bench"):  # which have no --shape of their own
        assert main([command, str(tmp_path / "open.onnx")]) == 3
        assert "use edgeinfer convert with --shape" in capsys.readouterr().err
