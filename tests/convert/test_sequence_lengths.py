"""One model at several sequence lengths: converted, stored once, and the shortest that fits run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import edgeinfer
from edgeinfer.cli import main
from edgeinfer.convert import Conversion, convert
from edgeinfer.convert.plan import plan_program
from edgeinfer.convert.program import Program, Value
from edgeinfer.convert.read import read_model
from edgeinfer.convert.write import write_model
from edgeinfer.errors import BudgetError, ConversionError, InputError, UnsupportedError
from tests.builders.onnx_encoder import WIDTH, WORDS, encoder
from tests.builders.onnx_run import run
from tests.device.programs import requantize

LENGTHS = (4, 16, 7)


OPEN = encoder(["b", "s"])


@pytest.fixture(scope="module")
def conversion() -> Conversion:
    return convert(OPEN, sequence_lengths=LENGTHS)


@pytest.fixture
def model(conversion: Conversion) -> edgeinfer.Model:
    return edgeinfer.load(conversion.data)


def tokens(length: int, seen: int | None = None, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed + length)
    mask = np.zeros((1, length), np.int64)
    mask[:, :seen] = 1
    return {"input_ids": rng.integers(0, WORDS, (1, length)), "attention_mask": mask}


@pytest.mark.parametrize("length", [1, 3, 4, 5, 7, 8, 15, 16])
def test_every_length_gives_what_the_source_model_gives(
    model: edgeinfer.Model, length: int
) -> None:
    for seen in (length, (length + 1) // 2):
        x = tokens(length, seen)
        found = model.run(x)
        for name, expected in zip(("hidden", "pooled"), run(OPEN, *x.values()), strict=True):
            assert found[name].shape == expected.shape
            np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-5)


def test_the_shortest_program_that_has_room_is_run(
    model: edgeinfer.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[int] = []
    run_one = edgeinfer.Session.run

    def counted(session: edgeinfer.Session, x: Any, **how: Any) -> Any:
        ran.append(x["input_ids"].shape[1])
        return run_one(session, x, **how)

    monkeypatch.setattr(edgeinfer.Session, "run", counted)
    for length in (16, 1, 4, 5, 7, 8, 4):
        model.run(tokens(length))
    assert ran == [16, 4, 4, 7, 7, 16, 4]


def test_weights_lie_in_the_file_once(conversion: Conversion) -> None:
    single = convert(OPEN, shapes={"input_ids": (1, 16)})
    file, alone = read_model(conversion.data), read_model(single.data)
    assert [program.name for program in file.programs] == ["length_16", "length_7", "length_4"]

    def constants(found: Any) -> int:
        return next(s.bytes for s in found.sections if s.name == "constants")

    assert constants(file) < constants(alone) + 4 * 64
    tables = {
        id(operation.inputs[0].data)
        for program in conversion.programs
        for operation in program.operations
        if operation.operator == "gather"
    }
    assert len(tables) == 1


def test_memory_is_that_of_the_longest(conversion: Conversion, model: edgeinfer.Model) -> None:
    single = convert(OPEN, shapes={"input_ids": (1, 16)})
    assert conversion.session_bytes == single.session_bytes
    assert model.session_bytes == model.plan.session_bytes == single.session_bytes
    for length in (4, 16, 7):
        model.run(tokens(length))
        assert model.session_bytes == single.session_bytes
    with pytest.raises(BudgetError):
        edgeinfer.load(conversion.data, ram_budget=single.session_bytes - 1)
    edgeinfer.load(conversion.data, ram_budget=single.session_bytes).run(tokens(5))


def test_one_program_can_be_chosen(conversion: Conversion) -> None:
    with edgeinfer.load(conversion.data, program="length_7") as model:
        assert model.inputs[0].shape == (1, 7)
        assert model.session_bytes < conversion.session_bytes
        with pytest.raises(InputError, match="takes shape"):
            model.run(tokens(4))
    with pytest.raises(InputError, match=r"no program 'main'; its programs: \['length_16'"):
        edgeinfer.load(conversion.data, program="main")


def test_run_into_takes_the_shapes_of_any_program(model: edgeinfer.Model) -> None:
    for length in (7, 16):
        out = {
            "hidden": np.empty((1, length, WIDTH), np.float32),
            "pooled": np.empty((1, WIDTH), np.float32),
        }
        model.run_into(out, tokens(length))
        for name, expected in model.run(tokens(length)).items():
            np.testing.assert_array_equal(out[name], expected)
    with pytest.raises(InputError, match="fills nothing up"):
        model.run_into(out, tokens(5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {
                "input_ids": np.zeros((1, 17), np.int64),
                "attention_mask": np.ones((1, 17), np.int64),
            },
            "at most shape",
        ),
        (
            {"input_ids": np.zeros((2, 4), np.int64), "attention_mask": np.ones((2, 4), np.int64)},
            "at most shape",
        ),
        (
            {"input_ids": np.zeros((1, 0), np.int64), "attention_mask": np.ones((1, 0), np.int64)},
            "at most shape",
        ),
        ({"attention_mask": np.ones((1, 3), np.int64)}, "must be of one length"),
        ({"input_ids": np.zeros(4, np.int64)}, "or less"),
        ({"input_ids": np.zeros((1, 4), np.int32)}, "takes int64"),
        ({"input_ids": np.full((1, 4), WORDS)}, "indices"),
        ({"words": np.zeros((1, 4), np.int64)}, "no input is called 'words'"),
    ],
)
def test_what_fits_no_program_is_refused(
    model: edgeinfer.Model, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        model.run({**tokens(4), **change})
    model.run(tokens(4))  # and the next one runs


def test_sessions_of_several_lengths_are_run_from_several_threads(model: edgeinfer.Model) -> None:
    expected = {n: model.run(tokens(n))["pooled"] for n in (3, 6, 16)}
    wrong: list[int] = []

    def work(start: int) -> None:
        for i in range(60):
            n = (3, 6, 16)[(start + i) % 3]
            if not np.array_equal(model.run(tokens(n))["pooled"], expected[n]):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_closed_session_says_so(conversion: Conversion) -> None:
    model = edgeinfer.load(conversion.data, threads=2)
    session = model.session()
    model.run(tokens(4))
    model.close()
    session.run(tokens(5))
    for closed in (session.close, session.close):
        closed()
    with pytest.raises(edgeinfer.EdgeInferError, match="closed"):
        session.run(tokens(4))
    assert "closed" in repr(session)


def test_rows_cannot_be_fed(model: edgeinfer.Model) -> None:
    with pytest.raises(UnsupportedError, match="program="):
        model.feed(np.zeros(4, np.int64), "input_ids")


def test_programs_that_are_not_lengths_of_one_model_are_not_mixed() -> None:
    programs = []
    for name, size in (("prefill", 4), ("decode", 1)):
        x = Value(f"{name}_x", (1, size), "int8", scale=0.5)
        y = Value("y", (1, size), "int8", scale=0.5)
        program = Program(name, [x], [y], [requantize(x, y, 2.0)])
        programs.append((program, plan_program(program)))
    file = write_model(programs, {})
    model = edgeinfer.load(file)
    np.testing.assert_array_equal(model.run(np.full((1, 4), 3, np.int8)), np.full((1, 4), 6))
    with pytest.raises(InputError, match="takes shape"):
        model.run(np.zeros((1, 1), np.int8))
    one = edgeinfer.load(file, program="decode")
    np.testing.assert_array_equal(one.run(np.full((1, 1), 3, np.int8)), [[6]])


@pytest.mark.parametrize(
    ("convert_it", "error", "message"),
    [
        (lambda: convert(OPEN, sequence_lengths=[4, 4]), InputError, "each length once"),
        (lambda: convert(OPEN, sequence_lengths=[0]), InputError, "from 1 on"),
        (lambda: convert(OPEN, sequence_lengths=range(1, 66)), InputError, "64 programs"),
        (
            lambda: convert(encoder([1, 4]), sequence_lengths=[4]),
            InputError,
            "takes one length only",
        ),
        (lambda: convert(OPEN), ConversionError, "not fixed"),
    ],
)
def test_lengths_that_cannot_be_are_refused(
    convert_it: Callable[[], Conversion], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        convert_it()


def test_the_batch_is_1_unless_it_is_given() -> None:
    open_batch = convert(OPEN, sequence_lengths=[4, 6])
    assert [p.inputs[0].shape for p in open_batch.programs] == [(1, 6), (1, 4)]
    fixed = convert(encoder([3, "s"]), sequence_lengths=[4, 6])
    assert [p.inputs[0].shape for p in fixed.programs] == [(3, 6), (3, 4)]


def test_the_command_line_lists_the_lengths(
    tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(OPEN)
    assert main(["convert", str(path), "--sequence-lengths", "4,16"]) == 0
    assert "lengths  4, 16" in capsys.readouterr().out
    assert main(["bench", str(path.with_suffix(".edge")), "--runs", "3", "--profile"]) == 0
