"""edgeinfer bench: where the time goes, as a table and as a trace."""

from __future__ import annotations

import json
import re
import time
from itertools import count, pairwise, takewhile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import edgeinfer
from edgeinfer._ffi import lib, text
from edgeinfer.cli import main
from edgeinfer.convert import convert
from edgeinfer.convert.model_file import FileNode, FileProgram, FileTensor
from edgeinfer.convert.plan import plan_program
from edgeinfer.convert.program import Operation, Program, Value
from edgeinfer.convert.read import read_model
from edgeinfer.convert.write import write_model
from edgeinfer.operators import operators
from edgeinfer.step_costs import count_macs, kernels_of, step_costs
from edgeinfer.system import watch as watch_module
from edgeinfer.system.kernel_files import KernelFiles
from tests.core.programs import chain
from tests.requirements import require_module
from tests.system.recorded import MACHINES, cooling, write_tree

DTYPES = {"int8": 1, "uint8": 1, "int16": 2, "int32": 4, "float32": 4}


@pytest.fixture
def chain_file(tmp_path: Path) -> Path:
    path = tmp_path / "chain.edge"
    path.write_bytes(chain().write())
    return path


def bench(path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> Any:
    assert main(["bench", str(path), "--runs", "20", *options]) == 0
    out = capsys.readouterr().out
    return json.loads(out) if "--json" in options else out


def test_indices_are_drawn_so_that_every_table_has_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = Value("ids", (1, 3), "int64")
    table = Value("table", (9, 4), "float32", data=np.ones((9, 4), np.float32))
    rows = Value("rows", (1, 3, 4), "float32")
    gather = Operation("gather", [table, ids], [rows], {"axis": 0}, "embedding")
    program = Program("main", [ids], [rows], [gather])
    path = tmp_path / "embedding.edge"
    path.write_bytes(write_model([(program, plan_program(program))], {}))
    assert bench(path, capsys, "--json")["runs"] == 20
    (step,) = bench(path, capsys, "--json", "--profile")["steps"]
    assert step["bytes"] == 3 * 8 + 2 * rows.nbytes  # three rows of the table, not all nine


def test_profile_names_every_step_its_kernel_and_where_the_time_went(
    chain_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = bench(chain_file, capsys, "--profile", "--json")
    (program,) = read_model(chain_file.read_bytes()).programs
    steps = result["steps"]
    assert [row["step"] for row in steps] == list(range(len(program.steps)))
    assert [row["operator"] for row in steps] == [
        program.nodes[s.node].operator for s in program.steps
    ]
    for row in steps:
        kernel, tier = row["kernel"].split()
        assert kernel in ("lut8_b1", "maximum_s8")
        assert lib().ei_tier_supported(tier.encode())
        assert row["us"] >= 0 and row["gb_per_s"] > 0
        assert row["weight_bytes"] < row["bytes"]
        if result["read_bandwidth"]["memory"]:
            share = row["gb_per_s"] / result["read_bandwidth"]["memory"]
            assert row["share_of_memory"] == share
    assert [row["weight_bytes"] > 0 for row in steps] == [
        row["kernel"][:4] == "lut8" for row in steps
    ]
    assert sum(row["share"] for row in steps) == pytest.approx(1)
    assert 0 < sum(row["us"] for row in steps) <= result["profiled_p50_us"] * 1.5
    assert result["runs"] == 20
    assert result["profiled_runs"] >= 3


def test_profile_at_a_lower_tier_names_that_tiers_kernels(
    chain_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = bench(chain_file, capsys, "--profile", "--json", "--tier", "scalar")
    assert {row["kernel"].split()[1] for row in result["steps"]} == {"scalar"}


def test_the_table_shows_percent_of_peak_when_the_peak_is_given(
    chain_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = bench(chain_file, capsys, "--profile")
    assert "% of peak" not in plain and "% of memory" in plain
    assert re.search(r"1 thread reads .* here", plain)
    assert re.search(r"\d+ steps, [\d.]+ µs .* profiled runs, which took -?[\d.]+ % longer", plain)
    assert "% of peak" in bench(chain_file, capsys, "--profile", "--peak", "100")
    steps = bench(chain_file, capsys, "--profile", "--peak", "100", "--json")["steps"]
    assert [row["share_of_peak"] for row in steps] == [row["gmacs"] / 100 for row in steps]


@pytest.mark.parametrize("peak", ["0", "-1", "nan", "inf", "fast"])
def test_a_peak_that_is_none_is_refused(chain_file: Path, peak: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["bench", str(chain_file), "--profile", "--peak", peak])
    assert caught.value.code == 2


def test_without_profile_no_step_is_timed(
    chain_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not {"steps", "profiled_runs"} & set(bench(chain_file, capsys, "--json"))


def test_the_trace_holds_every_step_inside_its_run(
    chain_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "trace.json"
    result = bench(chain_file, capsys, "--trace", str(target), "--json")
    events = json.loads(target.read_text())["traceEvents"]
    runs = [e for e in events if e.get("cat") == "run"]
    steps = [e for e in events if e["ph"] == "X" and e["cat"] != "run"]
    (program,) = read_model(chain_file.read_bytes()).programs
    assert len(runs) == min(200, result["profiled_runs"])  # the first ones
    assert len(steps) == len(runs) * len(program.steps)
    for number, run in enumerate(runs):
        mine = steps[number * len(program.steps) :][: len(program.steps)]
        assert [e["args"]["step"] for e in mine] == list(range(len(mine)))
        assert sum(e["dur"] for e in mine) == pytest.approx(run["dur"], abs=1e-4)
        assert mine[0]["ts"] == run["ts"]
    assert all(a["ts"] + a["dur"] <= b["ts"] for a, b in pairwise(runs))


def test_the_trace_does_not_replace_the_model(chain_file: Path) -> None:
    before = chain_file.read_bytes()
    assert main(["bench", str(chain_file), "--trace", str(chain_file)]) == 1
    assert chain_file.read_bytes() == before


def test_a_band_costs_its_share_of_the_rows() -> None:
    x = FileTensor("x", "int8", (1, 8, 4, 16), 0, 0, 8, 8, 64, 0.1, 0)
    y = FileTensor("y", "int8", (1, 8, 4, 32), 1, 0, 8, 8, 128, 0.1, 0)
    weights = np.zeros((2, 4, 16, 4), np.int8)
    w = FileTensor("w", "int8", weights.shape, None, 0, 8, 8, 64, 0.0, 0, weights)
    node = FileNode("conv2d", (x, w), (y,), {"kernel_h": 1, "kernel_w": 1, "groups": 1}, "c")
    bands = [SimpleNamespace(node=0, row_begin=a, row_end=b) for a, b in ((0, 2), (2, 8))]
    program: Any = SimpleNamespace(nodes=(node,), steps=tuple(bands))
    first, rest = step_costs(program, "scalar")
    assert first.macs + rest.macs == count_macs(program) == 8 * 4 * 32 * 16
    assert first.macs * 3 == rest.macs
    assert first.bytes == 2 * 64 + 2 * 128 + weights.nbytes
    assert first.kernel == "conv2d_s8_s8c scalar"


@pytest.mark.parametrize(
    ("operator", "x", "y", "params", "macs"),
    [
        ("depthwise_conv2d", (1, 8, 8, 4), (1, 4, 4, 8), {"kernel_h": 3, "kernel_w": 5}, 128 * 15),
        ("conv2d", (1, 8, 8, 4), (1, 8, 8, 6), {"kernel_h": 3, "kernel_w": 3, "groups": 2},
         64 * 6 * 9 * 2),
        ("transpose_conv2d", (1, 4, 4, 3), (1, 8, 8, 5),
         {"kernel_h": 2, "kernel_w": 2, "groups": 1}, 16 * 3 * 4 * 5),
        ("fully_connected", (7, 20), (7, 30), {}, 7 * 20 * 30),
        ("batch_matmul", (2, 3, 20), (2, 3, 5), {}, 2 * 3 * 20 * 5),
        ("add", (2, 3), (2, 3), {}, 0),
    ],
)  # fmt: skip
def test_multiplications_of_an_operator(
    operator: str, x: tuple[int, ...], y: tuple[int, ...], params: dict[str, int | float], macs: int
) -> None:
    tensors = [FileTensor("", "int8", shape, 0, 0, 1, 1, 1, 0.0, 0) for shape in (x, y)]
    node = FileNode(operator, (tensors[0],), (tensors[1],), params, "")
    program: Any = SimpleNamespace(nodes=(node, node))
    assert count_macs(program) == 2 * macs


def kernel_names() -> list[str]:
    return list(takewhile(bool, (text(lib().ei_kernel_name(i)) for i in count())))


def entries_in_source(repo_root: Path, operator: str) -> set[str]:
    """Entries of the kernel table that csrc/ops/<operator>.c or a selector it calls mentions."""
    ops = repo_root / "csrc" / "ops"
    source = (ops / f"{operator}.c").read_text()
    selectors = (ops / "convert.h").read_text()
    for name in re.findall(r"\b(ei_\w+_kernel)\(", source):
        start = selectors.index(f"{name}(")
        source += selectors[start : selectors.index("\n}\n", start)]
    return set(re.findall(r"\bkernels->(\w+)", source))


@pytest.mark.parametrize("operator", list(operators()))
def test_a_node_is_said_to_run_the_kernels_that_its_operator_calls(
    operator: str, repo_root: Path
) -> None:
    names = kernel_names()
    said = set()
    for x in DTYPES:
        for y in (*DTYPES, "int64"):
            width = DTYPES.get(y, 8)
            tensors = [FileTensor("", dtype, (3,), 0, 0, 1, 1, 3 * w, 0.0, 0)
                       for dtype, w in ((x, DTYPES[x]), (y, width))]  # fmt: skip
            half = FileTensor("", "float16", (3,), 0, 0, 1, 1, 6, 0.0, 0)
            four_bits = FileTensor("", "uint8", (3,), 0, 0, 1, 1, 3, 0.0, 0, scheme="mxfp4")
            for inputs in ((tensors[0],), (tensors[0], half), (tensors[0], four_bits)):
                node = FileNode(operator, inputs, (tensors[1],), {}, "")
                said |= set(kernels_of(node, names))
    # Combinations of dtypes that the operator refuses give names that do not exist.
    assert said & set(names) == entries_in_source(repo_root, operator)


def test_every_step_of_a_real_model_has_a_kernel(
    repo_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require_module("onnx")
    path = tmp_path / "digits.edge"
    convert(repo_root / "examples" / "digits" / "digits_int8.onnx").save(path)
    steps = bench(path, capsys, "--profile", "--json")["steps"]
    assert {row["operator"] for row in steps} >= {"conv2d", "fully_connected"}
    assert all(row["kernel"].split()[1:] for row in steps if row["operator"] != "copy")
    program: FileProgram = read_model(path.read_bytes()).programs[0]
    assert sum(row["macs"] for row in steps) == count_macs(program) > 10_000
    with edgeinfer.load(path) as model:
        assert all(row["gmacs"] > 0 for row in steps if row["macs"]), model.name


def watched(monkeypatch: pytest.MonkeyPatch, root: str) -> None:
    monkeypatch.setattr(watch_module, "KernelFiles", lambda: KernelFiles(root))
    monkeypatch.setattr(watch_module, "allowed_cpus", lambda: (0, 1))


def test_a_throttled_run_is_told_in_text_and_json(
    chain_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tree = MACHINES["rk3588"]() | cooling(0, "thermal-cpufreq-0", 4, 9)
    watched(monkeypatch, write_tree(tmp_path / "hot", tree))
    machine = bench(chain_file, capsys, "--json")["machine"]
    assert machine["throttled"] is True
    assert [sign["kind"] for sign in machine["signs"]] == ["cooling"]
    assert machine["before"]["cooling_devices"][0]["state"] == 4
    assert machine["after"]["policies"][0]["governor"] == "schedutil"
    assert main(["bench", str(chain_file), "--runs", "20"]) == 0
    done = capsys.readouterr()
    assert "THROTTLED" in done.out and "thermal-cpufreq-0 slowed the CPU" in done.out
    assert "warning: the governor of CPUs 0-3 is schedutil" in done.err


def test_a_calm_run_is_told_as_such(
    chain_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    watched(monkeypatch, write_tree(tmp_path / "calm", MACHINES["rk3588"]()))
    printed = bench(chain_file, capsys)
    assert "78 °C before, 78 °C after, not throttled" in printed
    watched(monkeypatch, write_tree(tmp_path / "vm", MACHINES["virtual_machine"]()))
    assert bench(chain_file, capsys, "--json")["machine"]["throttled"] is None


def test_samples_are_taken_between_runs_and_not_timed(
    chain_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = []

    def slow_sample(self: watch_module.RunWatch) -> None:
        time.sleep(0.01)
        taken.append(1)

    monkeypatch.setattr(watch_module.RunWatch, "is_due", True)
    monkeypatch.setattr(watch_module.RunWatch, "sample", slow_sample)
    result = bench(chain_file, capsys, "--json")
    assert len(taken) == result["runs"] == 20
    assert result["p50_us"] < 5_000
