"""Running: inputs and outputs, quantising on request, copies avoided, threads."""

from __future__ import annotations

import contextlib
import itertools
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import edgeinfer
from edgeinfer.convert.plan import plan_program
from edgeinfer.convert.program import Operation, Program, Value
from edgeinfer.convert.write import write_model
from edgeinfer.session import TensorInfo
from tests.device.programs import one_in_one_out, two_in_two_out

SHAPE = (1, 4, 3)


@pytest.fixture
def model() -> edgeinfer.Model:
    return edgeinfer.load(one_in_one_out())


@pytest.fixture
def pair() -> edgeinfer.Model:
    return edgeinfer.load(two_in_two_out())


def test_run_takes_one_array_or_a_dict(model: edgeinfer.Model) -> None:
    x = np.arange(12, dtype=np.int8).reshape(SHAPE)
    expected = 2 * (x - 3) + 3
    np.testing.assert_array_equal(model.run(x), expected)
    np.testing.assert_array_equal(model.run({"x": x}), expected)
    assert model.run(x).dtype == np.int8


def test_run_of_several_inputs_and_outputs_goes_by_name(pair: edgeinfer.Model) -> None:
    a = np.array([1, -2, 3, -4, 5, 127], np.int8)
    b = np.array([0, 0, 9, -9, 5, -128], np.int8)
    result = pair.run({"b": b, "a": a})
    assert set(result) == {"largest", "negated"}
    np.testing.assert_array_equal(result["largest"], np.maximum(a, b))
    np.testing.assert_array_equal(result["negated"], -a)


def test_results_are_new_arrays(model: edgeinfer.Model) -> None:
    first = model.run(np.zeros(SHAPE, np.int8))
    kept = first.copy()
    model.run(np.full(SHAPE, 9, np.int8))
    np.testing.assert_array_equal(first, kept)


def test_run_copies_what_is_not_contiguous(model: edgeinfer.Model) -> None:
    wide = np.arange(24, dtype=np.int8).reshape(1, 4, 6)
    np.testing.assert_array_equal(model.run(wide[:, :, ::2]), model.run(wide[:, :, ::2].copy()))


def int16_in_int16_out() -> bytes:
    """x int16 [4] -> y = x."""
    x, y = Value("x", (4,), "int16"), Value("y", (4,), "int16")
    params = {
        "in_zero_point": 0,
        "multiplier": 1.0,
        "out_zero_point": 0,
        "clamp_min": -32768,
        "clamp_max": 32767,
    }
    program = Program("main", [x], [y], [Operation("requantize", [x], [y], params, "same")])
    return write_model([(program, plan_program(program))], {})


def test_run_copies_what_is_misaligned_and_run_into_refuses_it() -> None:
    model = edgeinfer.load(int16_in_int16_out())
    x = np.zeros(9, np.uint8)[1:].view(np.int16)
    x[:] = [1, -2, 300, -32768]
    out = np.zeros(4, np.int16)
    assert not x.flags.aligned
    assert model.run(x).tolist() == x.tolist()
    with pytest.raises(edgeinfer.InputError, match="input 'x' must be aligned to its int16"):
        model.run_into(out, x)
    with pytest.raises(edgeinfer.InputError, match="output 'y' must be aligned"):
        model.run_into(x, out)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.zeros((1, 4, 4), np.int8), r"takes shape \(1, 4, 3\), got \(1, 4, 4\)"),
        (np.zeros((4, 3), np.int8), r"leading 1 is the batch"),
        (np.zeros(SHAPE, np.float32), r"takes int8, got float32; pass quantize=True.*0\.5"),
        (np.zeros(SHAPE, np.uint8), r"takes int8, got uint8$"),
        ({"y": np.zeros(SHAPE, np.int8)}, r"no input is called 'y'; input 'x' is missing"),
        ({}, r"input 'x' is missing"),
        ([[1], [2, 3]], r"input 'x': not an array of numbers"),
    ],
)
def test_run_refuses_what_does_not_fit(model: edgeinfer.Model, x: object, words: str) -> None:
    with pytest.raises(edgeinfer.InputError, match=words) as caught:
        model.run(x)  # type: ignore[arg-type]
    assert isinstance(caught.value, ValueError)


def test_several_inputs_need_names(pair: edgeinfer.Model) -> None:
    with pytest.raises(edgeinfer.InputError, match="2 inputs"):
        pair.run(np.zeros(6, np.int8))


def test_float_input_is_quantised_when_asked_and_output_given_back(model: edgeinfer.Model) -> None:
    real = np.linspace(-80, 80, 12, dtype=np.float32).reshape(SHAPE)
    stored = model.inputs[0].quantize(real)
    np.testing.assert_array_equal(model.run(real, quantize=True), model.run(stored))
    back = model.run(real, quantize=True, dequantize=True)
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, (model.run(stored).astype(np.float32) - 3) * 0.5)


@given(
    st.lists(st.floats(width=32, allow_nan=True), min_size=1, max_size=20),
    st.floats(2**-20, 1024, width=32),
    st.integers(-128, 127),
)
def test_quantize_rounds_to_even_and_saturates(
    values: list[float], scale: float, zero_point: int
) -> None:
    info = TensorInfo("x", (len(values),), np.dtype(np.int8), scale, zero_point)
    with np.errstate(over="ignore", invalid="ignore"):
        steps = [np.float32(v) / np.float32(scale) for v in values]
    expected = [
        zero_point if np.isnan(s) else int(np.clip(np.rint(s), -1e6, 1e6)) + zero_point
        for s in steps
    ]
    expected = [min(max(e, -128), 127) for e in expected]
    assert info.quantize(values).tolist() == expected
    assert info.dequantize(info.quantize(values)).dtype == np.float32


def test_quantize_and_dequantize_reach_the_ends_of_int32() -> None:
    info = TensorInfo("x", (2,), np.dtype(np.int32), 1.0, -5)
    with np.errstate(all="raise"):
        assert info.quantize([3e9, -3e9]).tolist() == [2**31 - 1, -(2**31)]
        assert info.quantize(np.array([1e300, -1e300])).tolist() == [2**31 - 1, -(2**31)]
        assert info.dequantize([2**31 - 1]).tolist() == [float(np.float32(2**31 + 4))]
    above = TensorInfo("x", (1,), np.dtype(np.int32), 1.0, 7)
    assert above.dequantize([-(2**31)]).tolist() == [float(np.float32(-(2**31) - 7))]


@pytest.mark.filterwarnings("error")
def test_quantize_of_numbers_past_float32_saturates_silently() -> None:
    info = TensorInfo("x", (3,), np.dtype(np.int8), 0.5, 3)
    assert info.quantize(np.array([1e300, -1e300, np.nan])).tolist() == [127, -128, 3]


def test_tensor_without_a_scale_is_neither_quantised_nor_dequantised() -> None:
    info = TensorInfo("n", (1,), np.dtype(np.int32), 0.0, 0)
    for call in (info.quantize, info.dequantize):
        with pytest.raises(edgeinfer.InputError, match="'n' is not quantised"):
            call([1.0])


def test_run_into_writes_the_caller_s_memory(model: edgeinfer.Model) -> None:
    x, out = np.full(SHAPE, 10, np.int8), np.zeros(SHAPE, np.int8)
    model.run_into(out, x)
    assert out.tolist() == [[[17] * 3] * 4]
    model.run_into({"y": out}, {"x": x})


def test_run_into_then_run_do_not_mix_buffers(model: edgeinfer.Model) -> None:
    out = np.zeros(SHAPE, np.int8)
    model.run_into(out, np.full(SHAPE, 10, np.int8))
    model.run(np.full(SHAPE, 4, np.int8))
    assert out.max() == 17


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("out", "x", "words"),
    [
        (np.zeros(SHAPE, np.int8), [[[0] * 3] * 4], "must be a numpy array, got list"),
        (np.zeros(SHAPE, np.int16), np.zeros(SHAPE, np.int8), "output 'y' takes int8, got int16"),
        (np.zeros(SHAPE, np.int8), np.zeros((1, 3, 4), np.int8), "takes shape"),
        (np.zeros(SHAPE, np.int8), np.zeros((1, 3, 4), np.int8).transpose(0, 2, 1), "contiguous"),
        (_read_only(np.zeros(SHAPE, np.int8)), np.zeros(SHAPE, np.int8), "'y' is read-only"),
    ],
)
def test_run_into_refuses_what_would_need_a_copy(
    model: edgeinfer.Model, out: np.ndarray, x: np.ndarray, words: str
) -> None:
    with pytest.raises(edgeinfer.InputError, match=words):
        model.run_into(out, x)


def test_run_into_takes_a_read_only_input(model: edgeinfer.Model) -> None:
    out = np.zeros(SHAPE, np.int8)
    model.run_into(out, _read_only(np.full(SHAPE, 10, np.int8)))
    assert out.max() == 17


def test_run_into_refuses_input_and_output_in_the_same_memory(model: edgeinfer.Model) -> None:
    memory = np.zeros(SHAPE, np.int8)
    with pytest.raises(edgeinfer.InputError, match="overlap"):
        model.run_into(memory, memory)


def _shape_changed(array: np.ndarray) -> None:
    array.shape = (1, 3, 4)


def _dtype_changed(array: np.ndarray) -> None:
    array.dtype = np.dtype(np.uint8)  # type: ignore[misc]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of numpy, against such changes
@pytest.mark.parametrize("change", [_shape_changed, _dtype_changed])
@pytest.mark.parametrize("changed", ["input", "output"])
def test_run_into_sees_that_an_array_was_changed_in_place(
    model: edgeinfer.Model, changed: str, change: Callable[[np.ndarray], None]
) -> None:
    x, out = np.zeros(SHAPE, np.int8), np.zeros(SHAPE, np.int8)
    model.run_into(out, x)
    change(x if changed == "input" else out)
    with pytest.raises(edgeinfer.InputError, match=f"{changed} '[xy]' takes"):
        model.run_into(out, x)


def test_run_into_sees_that_an_output_became_read_only(model: edgeinfer.Model) -> None:
    x, out = np.zeros(SHAPE, np.int8), np.zeros(SHAPE, np.int8)
    model.run_into(out, x)
    with pytest.raises(edgeinfer.InputError, match="'y' is read-only"):
        model.run_into(_read_only(out), x)


def _give_memory_of(array: np.ndarray, other: np.ndarray) -> None:
    state: Any = other.__reduce__()[2]
    array.__setstate__(state)


def test_run_into_follows_arrays_whose_memory_moved(model: edgeinfer.Model) -> None:
    x, out = np.zeros(SHAPE, np.int8), np.zeros(SHAPE, np.int8)
    model.run_into(out, x)
    in_the_old_place = []
    for array in (x, out):
        before = array.ctypes.data
        _give_memory_of(array, np.zeros(5000, np.int8))
        in_the_old_place += [np.zeros(SHAPE, np.int8) for _ in range(100)]
        _give_memory_of(array, np.full(SHAPE, 10, np.int8))
        assert array.ctypes.data != before
    model.run_into(out, x)
    assert out.tolist() == [[[17] * 3] * 4]


def test_nothing_of_the_caller_s_is_kept_after_a_run(model: edgeinfer.Model) -> None:
    x, out = np.zeros(SHAPE, np.int8), np.zeros(SHAPE, np.int8)
    x_gone, out_gone = weakref.ref(x), weakref.ref(out)
    model.run_into(out, x)
    del x, out
    assert x_gone() is None
    assert out_gone() is None


def look_up() -> bytes:
    """i int32 [2] -> y = [10, 20, 30][i]."""
    table = Value("table", (3,), "int8", data=np.array([10, 20, 30], np.int8))
    i, y = Value("i", (2,), "int32"), Value("y", (2,), "int8")
    program = Program("main", [i], [y], [Operation("gather", [table, i], [y], {"axis": 0}, "pick")])
    return write_model([(program, plan_program(program))], {})


def test_values_that_the_model_refuses_are_named_and_change_nothing_later() -> None:
    model = edgeinfer.load(look_up())
    good, bad = np.array([2, 0], np.int32), np.array([1, 3], np.int32)
    out = np.zeros(2, np.int8)
    with pytest.raises(edgeinfer.InputError, match="'pick'"):
        model.run(bad)
    with pytest.raises(edgeinfer.InputError, match="'pick'"):
        model.run_into(out, bad)
    model.run_into(out, good)
    assert out.tolist() == [30, 10]
    assert model.run(good).tolist() == [30, 10]


class Interrupted(Exception):
    """What a signal handler raises, as KeyboardInterrupt is."""


@pytest.mark.parametrize("others", [0, 2])
def test_interrupted_runs_leave_the_session_usable(model: edgeinfer.Model, others: int) -> None:
    x, out = np.full(SHAPE, 10, np.int8), np.zeros(SHAPE, np.int8)
    results: list[np.ndarray] = []
    stop = threading.Event()

    def run_until_stopped() -> None:
        while not stop.is_set():
            results.append(model.run(x))

    threads = [threading.Thread(target=run_until_stopped, daemon=True) for _ in range(others)]
    for thread in threads:
        thread.start()

    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for i in range(1000):
            with contextlib.suppress(Interrupted):
                signal.setitimer(signal.ITIMER_REAL, 1e-4 + 2e-7 * i)
                while True:
                    model.run_into(out, x)
                    model.run({"x": x})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        stop.set()

    threads.append(threading.Thread(target=lambda: results.append(model.run(x)), daemon=True))
    threads[-1].start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive(), "a run waits for one that was interrupted"
    assert all((result == 17).all() for result in results)


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_threads_that_share_a_session_take_turns(model: edgeinfer.Model, threads: int) -> None:
    x = np.full(SHAPE, 10, np.int8)
    session: Any = model.session()
    run, turns, rounds = session._run, [], 20
    started: set[int] = set()
    finished: set[int] = set()

    def waits(thread: int) -> bool:
        frame = sys._current_frames().get(thread)
        return frame is not None and frame.f_code.co_name == "take"

    def run_once_all_others_wait(*arguments: object) -> int:
        own = threading.get_ident()
        while len(started) < threads or not all(map(waits, started - finished - {own})):
            time.sleep(1e-4)
        turns.append(own)
        return int(run(*arguments))

    def work() -> None:
        started.add(threading.get_ident())
        for _ in range(rounds):
            session.run(x)
        finished.add(threading.get_ident())

    session._run = run_once_all_others_wait
    before = sys.getswitchinterval()
    sys.setswitchinterval(10)  # a thread that is about to wait is not stopped before it does
    try:
        workers = [threading.Thread(target=work, daemon=True) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
            assert not worker.is_alive(), "a thread never had its turn"
    finally:
        sys.setswitchinterval(before)
    assert len(turns) == threads * rounds
    for thread in started:
        its = [-1, *(i for i, other in enumerate(turns) if other == thread)]
        between = max(b - a - 1 for a, b in itertools.pairwise(its))
        assert between <= threads, f"a thread waited for {between} turns of others"


def test_sessions_are_independent_and_run_side_by_side() -> None:
    model = edgeinfer.load(two_in_two_out())
    wrong: list[int] = []

    def work(seed: int) -> None:
        session = model.session()
        rng = np.random.default_rng(seed)
        for _ in range(300):
            a, b = rng.integers(-127, 128, (2, 6)).astype(np.int8)
            result = session.run({"a": a, "b": b})
            if (result["largest"] != np.maximum(a, b)).any() or (result["negated"] != -a).any():
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_one_session_used_from_many_threads_gives_each_its_own_result() -> None:
    model = edgeinfer.load(one_in_one_out())
    wrong: list[int] = []

    def work(value: int) -> None:
        for _ in range(300):
            if model.run(np.full(SHAPE, value, np.int8)).max() != 2 * (value - 3) + 3:
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(value,)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_session_holds_exactly_the_planned_bytes(model: edgeinfer.Model) -> None:
    assert model.session().nbytes == model.plan.session_bytes
