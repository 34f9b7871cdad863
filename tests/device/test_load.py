"""Loading: what is accepted, what is refused and how, and what a model says of itself."""

from __future__ import annotations

import builtins
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import edgeinfer
from edgeinfer._ffi import lib
from edgeinfer.model import _ALIGNMENT, _aligned
from edgeinfer.source_format import SOURCE_SUFFIXES, source_format
from tests.core.edge_file import EdgeFile
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


@pytest.mark.parametrize("budget", [0, "0", "0 KiB", np.int64(0)])
def test_ram_budget_of_nothing_is_met_by_no_model(edge_file: Path, budget: int | str) -> None:
    with pytest.raises(edgeinfer.BudgetError, match="needs 512 bytes and ram_budget is 0"):
        edgeinfer.load(edge_file, ram_budget=budget)


@pytest.mark.parametrize("budget", [np.int64(512), 2**64 - 1, 2**64, "99999999999999GiB"])
def test_ram_budget_of_any_integer_type_and_size(edge_file: Path, budget: int | str) -> None:
    assert edgeinfer.load(edge_file, ram_budget=budget).plan.session_bytes == 512


@pytest.mark.parametrize("budget", ["lots", "-5", "12 parsecs", -1, 1e6, True, b"1KiB", []])
def test_ram_budget_that_is_no_amount_is_refused(edge_file: Path, budget: object) -> None:
    with pytest.raises(edgeinfer.InputError, match="amount of memory"):
        edgeinfer.load(edge_file, ram_budget=budget)  # type: ignore[arg-type]


@pytest.mark.parametrize("tier", [3, b"scalar", "scalar\0x"])
def test_tier_that_is_no_name_is_refused(edge_file: Path, tier: object) -> None:
    with pytest.raises(edgeinfer.InputError, match="tier is"):
        edgeinfer.load(edge_file, tier=tier)  # type: ignore[arg-type]


def test_tier_name_that_is_not_unicode_is_refused(edge_file: Path) -> None:
    with pytest.raises(edgeinfer.TierError, match="udcff"):
        edgeinfer.load(edge_file, tier="\udcff")


@pytest.mark.parametrize("name", ["nowhere.edge", "nowhere.onnx", "dangling.edge", "a\0b", ""])
def test_missing_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "dangling.edge").symlink_to(tmp_path / "gone")
    path = str(tmp_path / name) if name else ""
    with pytest.raises(FileNotFoundError, match=r"no such model file") as caught:
        edgeinfer.load(path)
    assert isinstance(caught.value, edgeinfer.ModelReadError)


@pytest.mark.parametrize("source", [None, 3, ["m.edge"]])
def test_source_that_is_neither_path_nor_bytes(source: object) -> None:
    with pytest.raises(edgeinfer.InputError, match="a model is a path or bytes, not"):
        edgeinfer.load(source)  # type: ignore[arg-type]


def test_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.edge")
    with pytest.raises(edgeinfer.ModelReadError, match="not a regular file"):
        edgeinfer.load(tmp_path / "pipe.edge")


def edited(data: bytes, section: int, old: bytes, new: bytes) -> bytes:
    file = EdgeFile(data)
    assert old in file.sections[section]
    file.sections[section] = file.sections[section].replace(old, new)
    return file.build()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"negated\0", b"largest\0", "outputs: more than one is called 'largest'"),
        (b"\0b\0", b"\0a\0", "inputs: more than one is called 'a'"),
    ],
)
def test_names_that_several_share_are_refused(old: bytes, new: bytes, words: str) -> None:
    with pytest.raises(edgeinfer.ModelFileError, match=words):
        edgeinfer.load(edited(two_in_two_out(), 9, old, new))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"{'a'}", "is not JSON"),
        (b'{"\xff": 1}', "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[1, 2]", "is not a JSON object"),
    ],
)
def test_metadata_that_is_no_json_object_is_a_damaged_file(text: bytes, words: str) -> None:
    file = EdgeFile(one_in_one_out())
    file.sections[10] = bytearray(text)
    model = edgeinfer.load(file.build())
    assert model.run(np.full((1, 4, 3), 10, np.int8)).max() == 17
    with pytest.raises(edgeinfer.ModelFileError, match=words):
        _ = model.metadata


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


def test_memory_is_aligned_even_for_nothing() -> None:
    held = [_aligned(b"x" * (i % 3)) for i in range(200)]  # they lie wherever malloc has room
    assert all(array.ctypes.data % _ALIGNMENT == 0 for array in held)


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
    assert {name for buffer in model.plan.buffers for name in buffer.tensors} == {"x", "y"}
    assert model.plan.session_bytes == 512
    edge_file.unlink()
    assert edgeinfer.load(one_in_one_out()).plan == model.plan


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


@pytest.mark.parametrize("threads", ["1", 1.0, True, 2**32, 0, -1])
def test_thread_counts_that_are_none_are_refused(edge_file: Path, threads: object) -> None:
    with pytest.raises(edgeinfer.InputError, match="threads is"):
        edgeinfer.load(edge_file, threads=threads)  # type: ignore[arg-type]
    assert edgeinfer.load(edge_file, threads=np.int32(1)).tier


@pytest.mark.parametrize("threads", [33, 2**32 - 1])
def test_thread_counts_beyond_32_are_refused(edge_file: Path, threads: int) -> None:
    with pytest.raises(edgeinfer.InputError, match=f"threads is {threads}; it must be 1 to 32"):
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


@pytest.mark.parametrize(
    ("head", "suffix", "expected"),
    [
        (b"EDGEINF\x1a", ".onnx", None),
        (b"\x1c\0\0\0TFL3", "", "tflite"),
        (b"\x1c\0\0\0TFL3", ".onnx", "tflite"),
        (b"\x08\x08", "", "onnx"),
        (b"\x08\x08", ".bin", "onnx"),
        (b"\x08\x08", ".edge", None),
        (b"garbage", ".tflite", "tflite"),
        (b"garbage", ".edge", None),
        (b"", "", None),
    ],
)
def test_the_format_is_told_by_contents_then_by_name(
    head: bytes, suffix: str, expected: str | None
) -> None:
    assert source_format(head, suffix) == expected


def test_the_suffixes_are_those_of_the_converter() -> None:
    from edgeinfer.convert.frontends import FORMATS

    assert {fmt.suffix: name for name, fmt in FORMATS.items()} == SOURCE_SUFFIXES


def test_source_model_of_another_name_is_converted(digits_dir: Path, tmp_path: Path) -> None:
    shutil.copy(digits_dir / "digits_int8.onnx", tmp_path / "model.bin")
    assert edgeinfer.load(tmp_path / "model.bin").inputs


def test_edge_file_of_a_source_s_name_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(one_in_one_out())
    assert edgeinfer.load(tmp_path / "model.onnx").inputs[0].name == "x"


def test_a_closed_model_is_of_no_more_use(edge_file: Path) -> None:
    for looked_at in (False, True):  # what was asked for before does not outlive the model either
        model = edgeinfer.load(edge_file)
        if looked_at:
            assert model.plan and model.metadata
        model.close()
        for use in (
            lambda model=model: model.plan,
            lambda model=model: model.metadata,
            lambda model=model: model.__enter__(),
        ):
            with pytest.raises(edgeinfer.EdgeInferError, match="is closed"):
                use()
    session = edgeinfer.load(edge_file).session()
    session.close()
    with pytest.raises(edgeinfer.EdgeInferError, match="is closed"), session:
        pass


def test_errors_survive_another_process() -> None:
    for error in (
        edgeinfer.MissingExtraError("reading .onnx", "onnx", "convert"),
        edgeinfer.ConversionError("no", ["first", "second"]),
        edgeinfer.ModelNotFoundError("gone"),
        edgeinfer.BudgetError("too much"),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


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
    assert str(edgeinfer.__version__).count(".") == 2
    with pytest.raises(AttributeError):
        _ = edgeinfer.no_such_name
    assert lib() is lib()


def test_without_the_declarations_only_using_them_fails() -> None:
    code = (
        "import sys; sys.modules['edgeinfer._cdefs'] = None\n"  # importing it fails
        "import edgeinfer\n"
        "for use in (lambda: edgeinfer.load(b''), lambda: edgeinfer.__version__):\n"
        "    try: use()\n"
        "    except edgeinfer.LibraryError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("_cdefs.py is missing") == 2


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
