"""`Session.feed`: rows in any shape and number, by name, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import edgeinfer
from edgeinfer.convert.program import Operation, Value
from edgeinfer.convert.write import write_model
from tests.convert.random_programs import evaluate, random_inputs
from tests.core.fed_programs import pooled, two_inputs
from tests.kernels.run_operation import constant, plan_whole
from tests.requirements import require_module

ENGINES = [None, "numba"]


def load(draft, engine: str | None = None, **options) -> edgeinfer.Model:
    if engine is not None:
        require_module(engine)
    return edgeinfer.load(draft.write(), engine=engine, **options)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("whole", [False, True])
def test_rows_come_in_any_number_and_with_any_axes_in_front(engine: str, whole: bool) -> None:
    draft = pooled(8, whole=whole)
    with load(draft, engine) as model:
        for seed in range(2):
            (x,) = random_inputs(draft.program, seed)
            assert model.rows_wanted == {"x": 8 if seed == 0 else 0}
            assert model.feed(x[0, 0]) is None  # one line
            assert model.rows_wanted == {"x": 7}
            assert model.feed(x[:, 1:4]) is None
            assert model.feed(x[0, :0]) is None
            assert model.feed(x[0, 4:7, ::-1, ::-1][:, ::-1, ::-1]) is None  # not contiguous
            assert model.rows_wanted == {"x": 1}
            result = model.feed(x[0, 7:])
            np.testing.assert_array_equal(result, evaluate(draft.program, [x])[0])
            np.testing.assert_array_equal(result, model.run(x))
            model.feed(x)


def test_real_numbers_go_in_and_out() -> None:
    draft = pooled(8)
    (x,) = random_inputs(draft.program)
    with load(draft) as model:
        real = model.inputs[0].dequantize(x)
        assert model.feed(real[0, :5], quantize=True) is None
        result = model.feed(real[0, 5:], quantize=True, dequantize=True)
        np.testing.assert_array_equal(result, model.run(real, quantize=True, dequantize=True))
        with pytest.raises(edgeinfer.InputError, match="pass quantize=True to quantise it"):
            model.feed(real[0, :5])


@pytest.mark.parametrize("engine", ENGINES)
@given(orders=st.lists(st.tuples(st.integers(0, 1), st.integers(1, 4)), min_size=20))
def test_inputs_come_in_any_order(engine: str, orders: list[tuple[int, int]]) -> None:
    """Rows that have to wait are kept; the caller's array may change after the call."""
    draft = two_inputs(ahead=2)
    data = random_inputs(draft.program)
    names = [value.name for value in draft.program.inputs]
    rows, begin = [x.reshape(8, -1) for x in data], [0, 0]
    orders = [*orders, *((index, 8) for index in (0, 1))]
    with load(draft, engine) as model:
        expected = model.run(dict(zip(names, data, strict=True)))
        result = None
        for index, count in orders:
            chunk = data[index][0, begin[index] : begin[index] + count].copy()
            begin[index] += len(chunk)
            if len(chunk):
                assert result is None
                result = model.feed(chunk, names[index])
                assert list(model.rows_wanted.values()) == [8 - n for n in begin]
                chunk[:] = 0
        assert len(rows[0]) == begin[0]
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("by", ["reset", "run", "run_into"])
def test_a_run_by_rows_is_abandoned(engine: str, by: str) -> None:
    draft = two_inputs(ahead=2)
    data = dict(zip("ab", random_inputs(draft.program), strict=True))
    with load(draft, engine) as model:
        model.feed(data["b"][:, :3], "b")  # kept: the first steps need rows of a
        assert model.rows_wanted == {"a": 8, "b": 5}
        if by == "reset":
            model.reset()
        elif by == "run":
            model.run(data)
        else:
            model.run_into(np.zeros((1, 8, 4, 16), np.int8), data)
        assert model.rows_wanted == {"a": 8, "b": 8}
        assert model.feed(data["a"], "a") is None
        np.testing.assert_array_equal(model.feed(data["b"], "b"), model.run(data))


@pytest.mark.parametrize("engine", ENGINES)
def test_what_does_not_fit_is_refused(engine: str) -> None:
    draft = pooled(8)
    (x,) = random_inputs(draft.program)
    with load(draft, engine) as model:
        model.feed(x[0, :6])
        with pytest.raises(edgeinfer.InputError, match="3 rows are given, 2 are still to come"):
            model.feed(x[0, :3])
        with pytest.raises(
            edgeinfer.InputError, match=r"fed by arrays \[rows, 4, 5\], got \[3, 4\]"
        ):
            model.feed(x[0, :3, :, 0])
        with pytest.raises(edgeinfer.InputError, match="takes int8, got int16"):
            model.feed(x[0, :2].astype(np.int16))
        with pytest.raises(edgeinfer.InputError, match="no input is called 'z'"):
            model.feed(x[0, :2], "z")
        assert model.rows_wanted == {"x": 2}
        np.testing.assert_array_equal(model.feed(x[0, 6:], "x"), model.run(x))
    with load(two_inputs(), engine) as model:
        with pytest.raises(edgeinfer.InputError, match=r"the model has 2 inputs.* say by name"):
            model.feed(x[0, :2])
        model.feed(np.zeros((6, 4, 16), np.int8), "b")
        with pytest.raises(edgeinfer.InputError, match="3 rows are given, 2 are still to come"):
            model.feed(np.zeros((3, 4, 16), np.int8), "b")
    with pytest.raises(edgeinfer.EdgeInferError, match="closed"):
        model.feed(np.zeros((1, 4, 16), np.int8), "b")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_step_that_fails_abandons_the_run(engine: str) -> None:
    if engine is not None:
        require_module(engine)
    x, y = Value("x", (3,), "int32"), Value("y", (3,), "int8")
    table = constant("table", np.array([5, 6, 7], np.int8))
    gather = Operation("gather", [table, x], [y], {"axis": 0}, "look up")
    with edgeinfer.load(write_model([plan_whole(gather)], {}), engine=engine) as model:
        with pytest.raises(edgeinfer.InputError):
            model.feed(np.array([0, 9, 1], np.int32))
        assert model.rows_wanted == {"x": 1}
        np.testing.assert_array_equal(model.feed(np.array([2, 0, 1], np.int32)), [7, 5, 6])


@pytest.mark.parametrize("engine", ENGINES)
def test_an_input_that_no_step_reads_wants_nothing(engine: str) -> None:
    draft = pooled(8)
    unread = Value("unread", (2, 3), "int8")
    draft.program.inputs.append(unread)
    draft.place(unread, is_input=True)
    x = random_inputs(draft.program)[0]
    with load(draft, engine) as model:
        assert model.rows_wanted == {"x": 8, "unread": 0}
        assert model.feed(np.zeros((2, 3), np.int8), "unread") is None
        np.testing.assert_array_equal(
            model.feed(x, "x"), evaluate(draft.program, [x, np.zeros((2, 3), np.int8)])[0]
        )


def test_shapes_of_other_ranks() -> None:
    for shape in ((), (5,), (3, 5), (2, 3, 5), (2, 2, 2, 3, 4)):
        x, y = Value("x", shape, "int8"), Value("y", shape, "int8")
        other = Value("z", shape, "int8")
        operation = Operation("maximum", [x, other], [y], {"reserved": 0}, "larger")
        data = np.arange(x.nbytes, dtype=np.int8).reshape(shape)
        with edgeinfer.load(write_model([plan_whole(operation)], {})) as model:
            expected = model.run({"x": data, "z": -data})
            inside = shape[-2:] if len(shape) > 3 else shape[-1:]
            rows = data.reshape(-1, *inside)
            model.feed(-data, "z")
            for row in rows[:-1]:
                assert model.feed(row, "x") is None
            np.testing.assert_array_equal(model.feed(rows[-1], "x"), expected)


def test_sessions_are_fed_from_threads() -> None:
    """Calls of one session follow each other; results come from the threads' session too."""
    from concurrent.futures import ThreadPoolExecutor

    draft = pooled(8)
    with load(draft, threads=2) as model:

        def one(seed: int) -> None:
            (x,) = random_inputs(draft.program, seed)
            with model.session() as session:
                for _ in range(20):
                    for row in x[0, :-1]:
                        assert session.feed(row) is None
                    np.testing.assert_array_equal(
                        session.feed(x[0, -1]), evaluate(draft.program, [x])[0]
                    )

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(one, range(4)))
