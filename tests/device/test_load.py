"""Loading: what is accepted, what is refused and how, and what a model says of itself."""

from __future__ import annotations

import builtins
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import edgeinfer
from edgeinfer._ffi import lib
from tests.device.programs import one_in_one_out, two_in_two_out


@pytest.fixture
def edge_file(tmp_path: Path) -> Path:
    path = tmp_path / "double.edge"
    path.write_bytes(one_in_one_out())
    return path


@pytest.mark.parametrize("kind", [str, Path, bytes, bytearray, memoryview])
def test_load_takes_paths_and_bytes(edge_file: Path, kind: type) -> None:
    source = kind(edge_file if kind in (str, Path) else edge_file.read_bytes())
    with edgeinfer.load(source) as model:
        assert model.run(np.full((1, 4, 3), 10, np.int8)).tolist() == [[[17] * 3] * 4]


def test_inputs_and_outputs_say_what_they_are(edge_file: Path) -> None:
    model = edgeinfer.load(edge_file)
    (x,) = model.inputs
    assert (x.name, x.shape, x.dtype.name, x.zero_point) == ("x", (1, 4, 3), "int8", 3)
    assert x.scale == 0.5
    assert [info.name for info in edgeinfer.load(two_in_two_out()).outputs] == [
        "largest",
        "negated",
    ]


def test_repr_shows_name_memory_inputs_and_outputs(edge_file: Path) -> None:
    model = edgeinfer.load(edge_file)
    shown = repr(model)
    assert "double.edge" in shown and f"{model.plan.session_bytes:,} bytes" in shown
    assert "input  'x' int8[1, 4, 3], scale 0.5, zero point 3" in shown
    assert "'double.edge'" in repr(model.session())
    model.close()
    assert "closed" in repr(model)


def test_plan_tells_exact_bytes_and_the_peak(edge_file: Path) -> None:
    plan = edgeinfer.load(edge_file).plan
    assert plan.arena_bytes == 64 + 12  # the second buffer starts at the next 64 bytes
    assert plan.state_bytes == 0 and plan.weights_bytes == 0
    # 256 + one node of 32 + two operands of 32, to 384; and the arena, to 128
    assert plan.session_bytes == 384 + 128
    assert plan.peak_step.node == "double" and plan.peak_step.operator == "requantize"
    assert {name for buffer in plan.buffers for name in buffer.tensors} == {"x", "y"}
    assert sum(buffer.nbytes for buffer in plan.buffers) == 24


def test_metadata_is_what_the_converter_wrote(edge_file: Path) -> None:
    assert edgeinfer.load(edge_file).metadata["labels"] == ["a", "b"]


@pytest.mark.parametrize("budget", [512, "512", "0.5KiB", "1KiB"])
def test_ram_budget_that_fits_is_accepted(edge_file: Path, budget: int | str) -> None:
    assert edgeinfer.load(edge_file, ram_budget=budget).plan.session_bytes == 512


def test_ram_budget_that_does_not_fit_names_the_peak_and_the_shortfall(edge_file: Path) -> None:
    with pytest.raises(edgeinfer.BudgetError, match=r"double.*112|112.*double") as caught:
        edgeinfer.load(edge_file, ram_budget=400)
    assert isinstance(caught.value, MemoryError)


@pytest.mark.parametrize("budget", ["lots", "-5", "12 parsecs"])
def test_ram_budget_that_is_no_amount_is_refused(edge_file: Path, budget: str) -> None:
    with pytest.raises(ValueError, match=r"bytes|amount|budget"):
        edgeinfer.load(edge_file, ram_budget=budget)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.edge"):
        edgeinfer.load(tmp_path / "nowhere.edge")


def test_directory_and_empty_file(tmp_path: Path) -> None:
    with pytest.raises(edgeinfer.EdgeInferError):
        edgeinfer.load(tmp_path)
    empty = tmp_path / "empty.edge"
    empty.touch()
    with pytest.raises(edgeinfer.ModelFileError):
        edgeinfer.load(empty)


@pytest.mark.parametrize("data", [b"", b"x", b"not a model" * 20, b"EDGEINF\x1a"])
def test_bytes_that_are_no_model(data: bytes) -> None:
    with pytest.raises(edgeinfer.ModelFileError):
        edgeinfer.load(data)


def test_every_truncation_of_a_file_is_refused(edge_file: Path) -> None:
    data = edge_file.read_bytes()
    for length in range(0, len(data), 7):
        with pytest.raises(edgeinfer.ModelFileError):
            edgeinfer.load(data[:length])


def test_a_flipped_bit_anywhere_is_noticed(edge_file: Path) -> None:
    data = edge_file.read_bytes()
    original = edgeinfer.load(data).run(np.arange(12, dtype=np.int8).reshape(1, 4, 3))
    for at in range(0, len(data), 5):
        damaged = bytearray(data)
        damaged[at] ^= 0x10
        try:
            model = edgeinfer.load(bytes(damaged))
        except edgeinfer.ModelFileError:
            continue
        # What no checksum covers is padding between sections: it must not matter.
        again = model.run(np.arange(12, dtype=np.int8).reshape(1, 4, 3))
        np.testing.assert_array_equal(again, original)


def test_file_that_grew_or_shrank_is_refused(edge_file: Path) -> None:
    data = edge_file.read_bytes()
    edge_file.write_bytes(data + b"\0" * 64)
    with pytest.raises(edgeinfer.ModelFileError, match="bytes"):
        edgeinfer.load(edge_file)
    edge_file.write_bytes(data[:-64])
    with pytest.raises(edgeinfer.ModelFileError, match="bytes"):
        edgeinfer.load(edge_file)


def test_file_may_be_replaced_by_renaming_while_it_is_open(edge_file: Path) -> None:
    model = edgeinfer.load(edge_file)
    other = edge_file.with_name("other")
    other.write_bytes(two_in_two_out())
    other.replace(edge_file)
    assert model.run(np.full((1, 4, 3), 10, np.int8)).max() == 17


def test_unknown_tier_is_refused_by_name(edge_file: Path) -> None:
    with pytest.raises(edgeinfer.TierError, match="warp9"):
        edgeinfer.load(edge_file, tier="warp9")


def test_tier_from_the_environment(edge_file: Path) -> None:
    code = f"import edgeinfer; print(edgeinfer.load({str(edge_file)!r}).tier)"
    for tier, expected in (("scalar", "scalar\n"), ("warp9", "")):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "EDGEINFER_TIER": tier},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == expected
        assert ("warp9" in done.stderr) == (tier == "warp9")


@pytest.mark.parametrize("threads", [0, -1, 2])
def test_thread_counts_that_are_not_there_are_refused(edge_file: Path, threads: int) -> None:
    with pytest.raises((ValueError, edgeinfer.UnsupportedError), match="threads"):
        edgeinfer.load(edge_file, threads=threads)


def test_source_model_without_the_extra_names_the_extra(
    tmp_path: Path, digits_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_import = builtins.__import__

    def without_onnx(name: str, *args: object, **kwargs: object) -> object:
        if name.partition(".")[0] == "onnx":
            raise ImportError("No module named 'onnx'")
        return real_import(name, *args, **kwargs)  # type: ignore[arg-type]

    for module in [m for m in sys.modules if m.partition(".")[0] == "onnx"]:
        monkeypatch.delitem(sys.modules, module)
    for module in [m for m in sys.modules if m.startswith("edgeinfer.convert.frontends.onnx")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(builtins, "__import__", without_onnx)
    with pytest.raises(edgeinfer.MissingExtraError, match=r"edgeinfer\[convert\]"):
        edgeinfer.load(digits_dir / "digits_int8.onnx")


def test_source_model_is_converted_in_memory(digits_dir: Path) -> None:
    path = digits_dir / "digits_int8.onnx"
    from_path, from_bytes = edgeinfer.load(path), edgeinfer.load(path.read_bytes())
    x = np.random.default_rng(0).random(from_path.inputs[0].shape, np.float32)
    np.testing.assert_array_equal(from_path.run(x), from_bytes.run(x))


def test_close_ends_the_model_and_its_session_but_no_other(edge_file: Path) -> None:
    model = edgeinfer.load(edge_file)
    other = model.session()
    model.close()
    model.close()
    with pytest.raises(edgeinfer.EdgeInferError, match="closed"):
        model.run(np.zeros((1, 4, 3), np.int8))
    with pytest.raises(edgeinfer.EdgeInferError, match="closed"):
        model.session()
    assert other.run(np.full((1, 4, 3), 10, np.int8)).max() == 17
    with other:
        pass
    with pytest.raises(edgeinfer.EdgeInferError, match="closed"):
        other.run(np.zeros((1, 4, 3), np.int8))


def test_version_is_the_library_s() -> None:
    assert edgeinfer.__version__.count(".") == 2
    with pytest.raises(AttributeError):
        _ = edgeinfer.no_such_name
    assert lib() is lib()


def test_missing_library_says_what_to_do(tmp_path: Path) -> None:
    for path, words in (
        (tmp_path / "gone.so", "is missing; reinstall"),
        (Path(__file__), "cannot be loaded"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", "import edgeinfer; edgeinfer.load(b'')"],
            env={**os.environ, "EDGEINFER_LIBRARY": str(path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "LibraryError" in done.stderr and words in done.stderr
