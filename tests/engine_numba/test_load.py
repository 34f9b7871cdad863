"""The engine as users meet it: how it is asked for, what it needs, and what it does not have."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeinfer
from edgeinfer.cli import main
from tests.core.programs import in_place
from tests.device.programs import one_in_one_out, two_in_two_out


@pytest.fixture
def edge_file(tmp_path: Path) -> Path:
    path = tmp_path / "double.edge"
    path.write_bytes(one_in_one_out())
    return path


@pytest.fixture
def model(edge_file: Path) -> edgeinfer.Model:
    return edgeinfer.load(edge_file, engine="numba")


def run_python(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_model_is_a_model(model: edgeinfer.Model, edge_file: Path) -> None:
    core = edgeinfer.load(edge_file)
    assert isinstance(model, edgeinfer.Model)
    assert (model.name, model.inputs, model.outputs) == (core.name, core.inputs, core.outputs)
    assert (model.plan, model.metadata) == (core.plan, core.metadata)
    assert (model.tier, model.threads) == ("numba", 1)
    assert model.session_bytes >= 24
    assert "double.edge" in repr(model) and "numba" in repr(model.session())
    assert model.run(np.full((1, 4, 3), 10, np.int8)).tolist() == [[[17] * 3] * 4]
    real = model.run(np.full((1, 4, 3), 3.5), quantize=True, dequantize=True)
    np.testing.assert_array_equal(
        real, core.run(np.full((1, 4, 3), 3.5), quantize=True, dequantize=True)
    )


def test_bytes_of_any_kind_are_taken() -> None:
    for kind in (bytes, bytearray, memoryview):
        assert edgeinfer.load(kind(one_in_one_out()), engine="numba").name == "<bytes>"


def test_run_into_writes_the_caller_s_memory(model: edgeinfer.Model) -> None:
    out = np.zeros((1, 4, 3), np.int8)
    model.run_into(out, np.full((1, 4, 3), 10, np.int8))
    assert (out == 17).all()


def test_several_inputs_and_outputs_go_by_name() -> None:
    model = edgeinfer.load(two_in_two_out(), engine="numba")
    core = edgeinfer.load(two_in_two_out())
    rng = np.random.default_rng(3)
    feed = {
        info.name: rng.integers(-128, 128, info.shape).astype(info.dtype) for info in model.inputs
    }
    results, expected = model.run(feed), core.run(feed)
    assert list(results) == list(expected)
    for name in results:
        np.testing.assert_array_equal(results[name], expected[name])
    with pytest.raises(edgeinfer.InputError, match="give a dict"):
        model.run(next(iter(feed.values())))


def test_what_does_not_fit_is_refused(model: edgeinfer.Model) -> None:
    with pytest.raises(edgeinfer.InputError, match="takes shape"):
        model.run(np.zeros((1, 4), np.int8))
    with pytest.raises(edgeinfer.InputError, match="takes int8"):
        model.run(np.zeros((1, 4, 3), np.int16))
    same = np.zeros((1, 4, 3), np.int8)
    with pytest.raises(edgeinfer.InputError, match="overlaps"):
        model.run_into(same, same)


def test_a_closed_model_is_of_no_more_use(model: edgeinfer.Model) -> None:
    other = model.session()
    x = np.zeros((1, 4, 3), np.int8)
    with model:
        model.run(x)
    model.close()
    with pytest.raises(edgeinfer.EdgeInferError, match="closed"):
        model.run(x)
    with pytest.raises(edgeinfer.EdgeInferError, match="closed"):
        model.session()
    assert other.run(x).shape == x.shape
    other.close()
    with pytest.raises(edgeinfer.EdgeInferError, match="closed"):
        other.run(x)


def test_one_session_used_from_many_threads_gives_each_its_own_result() -> None:
    model, core = (
        edgeinfer.load(in_place().write(), engine="numba"),
        edgeinfer.load(in_place().write()),
    )
    shape = model.inputs[0].shape
    wrong: list[int] = []

    def work(value: int) -> None:
        x = np.full(shape, value, np.int8)
        expected = core.session().run(x)
        for _ in range(30):
            if not np.array_equal(model.run(x), expected):
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(value,)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("ram_budget", "1MiB"),
        ("threads", 2),
        ("tier", "scalar"),
        ("cpus", [0]),
        ("performance_cores", True),
    ],
)
def test_what_the_engine_does_not_have_is_refused(
    edge_file: Path, argument: str, value: Any
) -> None:
    with pytest.raises(edgeinfer.UnsupportedError, match=f"engine='numba' has no {argument}"):
        edgeinfer.load(edge_file, engine="numba", **{argument: value})


@pytest.mark.parametrize("engine", ["c", "", "NUMBA", 3])
def test_engines_that_there_are_not_are_refused(edge_file: Path, engine: str) -> None:
    with pytest.raises(edgeinfer.InputError, match="it must be 'numba', or None"):
        edgeinfer.load(edge_file, engine=engine)


def test_files_that_are_none_are_refused_as_by_the_core(tmp_path: Path, edge_file: Path) -> None:
    data = edge_file.read_bytes()
    for damaged in (b"", b"EDGEINF", data[:-1], data + b"x", bytes([data[0] ^ 1]) + data[1:]):
        with pytest.raises(edgeinfer.ModelFileError):
            edgeinfer.load(damaged, engine="numba")
    with pytest.raises(edgeinfer.ModelVersionError):
        edgeinfer.load(data[:8] + b"\x07" + data[9:], engine="numba")
    with pytest.raises(edgeinfer.ModelNotFoundError):
        edgeinfer.load(tmp_path / "nowhere.edge", engine="numba")
    with pytest.raises(edgeinfer.ModelReadError):
        edgeinfer.load(tmp_path, engine="numba")


def test_it_runs_without_the_library_and_its_declarations(edge_file: Path) -> None:
    program = (
        "import sys; sys.modules['edgeinfer._cdefs'] = None\n"
        "import numpy, edgeinfer\n"
        f"model = edgeinfer.load({str(edge_file)!r}, engine='numba')\n"
        "print(model.run(numpy.full((1, 4, 3), 10, numpy.int8)).sum(), model.plan.arena_bytes)\n"
        f"edgeinfer.load({str(edge_file)!r})\n"
    )
    result = run_python(program, EDGEINFER_LIBRARY="/nowhere/libedgeinfer.so")
    assert result.stdout.split() == [str(17 * 12), "76"]
    assert "LibraryError" in result.stderr


def test_without_numba_the_error_names_the_extra(edge_file: Path) -> None:
    program = (
        "import sys; sys.modules['numba'] = None\n"
        "import edgeinfer\n"
        "try:\n"
        f"    edgeinfer.load({str(edge_file)!r}, engine='numba')\n"
        "except edgeinfer.MissingExtraError as error:\n"
        "    print(error.extra, error)\n"
        f"print(edgeinfer.load({str(edge_file)!r}).tier)\n"
    )
    result = run_python(program)
    assert result.stdout.startswith("jit engine='numba' needs the Python package 'numba'")
    assert "edgeinfer[jit]" in result.stdout and not result.stderr


def test_kernels_are_the_same_without_fused_multiply_add() -> None:
    """LLVM calls the C library's fmaf where the CPU has no instruction: as exact."""
    program = (
        "import numpy\n"
        "from edgeinfer.engine_numba.compile import kernel\n"
        "from edgeinfer.engine_numba.exact import fma\n"
        "@kernel\n"
        "def chain(a, b, c):\n"
        "    for i in range(a.size):\n"
        "        c[i] = fma(a[i], b[i], c[i])\n"
        "rng = numpy.random.default_rng(1)\n"
        "a, b, c = rng.standard_normal((3, 4096)).astype(numpy.float32)\n"
        "c *= numpy.exp2(rng.integers(-150, 30, 4096)).astype(numpy.float32)\n"
        "chain(a, b, c)\n"
        "print('vfmadd' in '\\n'.join(chain.inspect_asm().values()), c.tobytes().hex())\n"
    )
    plain = run_python(program).stdout.split()
    generic = run_python(
        program, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="", NUMBA_CACHE_DIR=""
    ).stdout.split()
    assert generic[0] == "False" and len(plain) == 2
    assert generic[1] == plain[1]


def test_the_command_line_runs_and_measures_it(
    edge_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", str(edge_file), "--engine", "numba", "--runs", "3"]) == 0
    assert "tier numba" in capsys.readouterr().out
    assert main(["bench", str(edge_file), "--engine", "numba", "--profile"]) != 0
    assert "--profile and --trace" in capsys.readouterr().err
