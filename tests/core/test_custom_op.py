"""Custom operators through the C API: the registry, what callbacks are given, how they fail."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeinfer
from edgeinfer._ffi import ffi, lib, library_path
from tests.builders.custom_op import file_of, scale_operation
from tests.core.c_api import NULL, OpenModel, ok, pointer, pointers, refused, run
from tests.core.conftest import Compile, CountAllocations
from tests.core.edge_file import aligned

CALLBACK = "ei_status(ei_custom_call const *)"
FILE = file_of(scale_operation())


def custom_op(check: Any, run: Any) -> Any:
    op = ffi.new("ei_custom_op *")
    op.struct_bytes = ffi.sizeof("ei_custom_op")
    op.check, op.run = check, run
    return op


@pytest.fixture(autouse=True)
def nothing_stays_registered() -> Iterator[None]:
    yield
    for name in (b"Scale", b"Other"):
        if lib().ei_custom_op_registered(name):
            ok(lib().ei_custom_op_unregister(name))


@pytest.fixture
def register() -> Iterator[Callable[..., None]]:
    """register(check, run): Python functions as the operator Scale."""
    kept = []

    def register_(check: Callable[[Any], int], run: Callable[[Any], int]) -> None:
        made = [ffi.callback(CALLBACK, check), ffi.callback(CALLBACK, run)]
        kept.append(made)
        ok(lib().ei_custom_op_register(b"Scale", custom_op(*made)))

    yield register_
    kept.clear()


@pytest.fixture
def scale_library(compile_c: Compile, repo_root: Path, tmp_path: Path) -> Any:
    """The operator of tools/scale_op.h, compiled."""
    source = tmp_path / "scale_op.c"
    source.write_text(
        f'#include "{repo_root}/tools/scale_op.h"\n'
        "void *scale_check(void) { return (void *)scale_op_check; }\n"
        "void *scale_run(void) { return (void *)scale_op_run; }\n"
    )
    return compile_c("libscale_op.so", "-shared", "-fPIC", source, library_path())


def test_the_registry_refuses_what_is_no_operator() -> None:
    good = ffi.callback(CALLBACK, lambda call: 0)
    op = custom_op(good, good)
    argument = "EI_ERROR_ARGUMENT"
    refused(lib().ei_custom_op_register(NULL, op), argument, "name is NULL")
    for name in (b"", b"a b", b"a\t", b"\xc3\xa9", b"x" * 64):
        refused(lib().ei_custom_op_register(name, op), argument, "1 to 63 printable ASCII")
        assert lib().ei_custom_op_registered(name) == 0
    refused(lib().ei_custom_op_register(b"Scale", NULL), argument, "op is NULL")
    refused(lib().ei_custom_op_register(b"Scale", custom_op(NULL, good)), argument, "check is NULL")
    refused(lib().ei_custom_op_register(b"Scale", custom_op(good, NULL)), argument, "run is NULL")
    op.struct_bytes -= 1
    refused(lib().ei_custom_op_register(b"Scale", op), argument, "struct_bytes")
    refused(lib().ei_custom_op_unregister(b"Scale"), argument, "no custom operator 'Scale'")
    refused(lib().ei_custom_op_unregister(NULL), argument, "name is NULL")
    assert lib().ei_custom_op_registered(NULL) == 0


def test_a_name_is_registered_once() -> None:
    good = ffi.callback(CALLBACK, lambda call: 0)
    op = custom_op(good, good)
    for _ in range(3):
        ok(lib().ei_custom_op_register(b"Scale", op))
        ok(lib().ei_custom_op_register(b"Other", op))
        assert lib().ei_custom_op_registered(b"Scale") == 1
        refused(
            lib().ei_custom_op_register(b"Scale", op), "EI_ERROR_ARGUMENT", "registered already"
        )
        ok(lib().ei_custom_op_unregister(b"Scale"))
        assert lib().ei_custom_op_registered(b"Scale") == 0
        assert lib().ei_custom_op_registered(b"Other") == 1
        ok(lib().ei_custom_op_unregister(b"Other"))


def attribute(call: Any, name: bytes) -> Any:
    count = ffi.new("size_t *")
    for getter in (lib().ei_custom_ints, lib().ei_custom_floats):
        found = getter(call, name, count)
        if found:
            return [found[i] for i in range(count[0])]
    found = lib().ei_custom_text(call, name)
    return ffi.string(found) if found else None


def test_callbacks_are_given_the_node(register: Callable[..., None]) -> None:
    seen: dict[str, Any] = {}

    def look(call: Any) -> dict[str, Any]:
        x, y = call.inputs[0], call.outputs[0]
        return {
            "counts": (call.input_count, call.output_count),
            "x": (x.dtype, x.rank, list(x.shape), x.scale, x.zero_point),
            "y": (y.dtype, y.rank, list(y.shape), y.scale, y.zero_point),
            "scratch_bytes": call.scratch_bytes,
            "attributes": [attribute(call, n) for n in (b"scale", b"offsets", b"mode", b"none")],
        }

    def check(call: Any) -> int:
        seen["check"] = look(call)
        seen["pointers"] = (call.inputs[0].data, call.outputs[0].data, call.scratch)
        seen["node"] = ffi.string(call.node)
        return 0

    def compute(call: Any) -> int:
        seen["run"] = look(call)
        assert int(ffi.cast("uintptr_t", call.scratch)) % 64 == 0
        ffi.buffer(call.scratch, call.scratch_bytes)[:] = b"\xff" * call.scratch_bytes
        y = ffi.cast("float *", call.outputs[0].data)
        x = ffi.cast("float *", call.inputs[0].data)
        for i in range(15):
            y[i] = 2 * x[i]
        return 0

    register(check, compute)
    with edgeinfer.load(FILE) as model:
        x = np.arange(15, dtype=np.float32).reshape(3, 5)
        np.testing.assert_array_equal(model.run(x), 2 * x)
    expected = {
        "counts": (1, 1),
        "x": (6, 2, [3, 5, 1, 1, 1, 1], 0.0, 0),
        "y": (6, 2, [3, 5, 1, 1, 1, 1], 0.0, 0),
        "scratch_bytes": 60,
        "attributes": [[1.5], [1, -2], b"linear", None],
    }
    assert seen["check"] == seen["run"] == expected
    assert seen["pointers"] == (NULL, NULL, NULL)
    assert seen["node"] == b"node"


def test_attributes_are_of_one_kind_and_need_no_count(register: Callable[..., None]) -> None:
    def check(call: Any) -> int:
        assert not lib().ei_custom_ints(call, b"scale", NULL)
        assert not lib().ei_custom_floats(call, b"offsets", NULL)
        assert not lib().ei_custom_text(call, b"scale")
        assert not lib().ei_custom_text(call, NULL)
        assert lib().ei_custom_ints(call, b"offsets", NULL)[1] == -2
        return 0

    register(check, lambda call: 0)
    edgeinfer.load(FILE).close()
    assert not lib().ei_custom_ints(NULL, b"scale", NULL)


def say(call: Any, words: bytes) -> None:
    ffi.memmove(call.message, words + b"\0", len(words) + 1)


@pytest.mark.parametrize(
    ("code", "words", "error", "message"),
    [
        (12, b"no", edgeinfer.CustomOperatorError, "'node' .custom.: custom operator 'Scale': no$"),
        (12, b"", edgeinfer.CustomOperatorError, "'Scale': a custom operator is not regi"),
        (10, b"", edgeinfer.InputError, "'Scale': input data is outside"),
        (99, b"odd", edgeinfer.CustomOperatorError, "'Scale' returned 99: odd$"),
        (12, b"x" * 255, edgeinfer.CustomOperatorError, "x{255}$"),
    ],
)  # fmt: skip
def test_a_check_that_fails_makes_no_session(
    register: Callable[..., None], code: int, words: bytes, error: type[Exception], message: str
) -> None:
    def check(call: Any) -> int:
        say(call, words)
        return code

    register(check, lambda call: 0)
    with pytest.raises(error, match=message):
        edgeinfer.load(FILE)


def test_a_run_that_fails_says_why(register: Callable[..., None]) -> None:
    def fail(call: Any) -> int:
        say(call, b"the sensor is off")
        return 10

    register(lambda call: 0, fail)
    with (
        edgeinfer.load(FILE) as model,
        pytest.raises(
            edgeinfer.InputError,
            match=r"step 0, node 'node' \(custom\): custom operator 'Scale': the sensor is off$",
        ),
    ):
        model.run(np.zeros((3, 5), np.float32))


def test_sessions_keep_the_functions_that_they_found(register: Callable[..., None]) -> None:
    def give(value: float) -> Callable[[Any], int]:
        def compute(call: Any) -> int:
            y = ffi.cast("float *", call.outputs[0].data)
            for i in range(15):
                y[i] = value
            return 0

        return compute

    x = np.zeros((3, 5), np.float32)
    register(lambda call: 0, give(1.0))
    with edgeinfer.load(FILE) as old:
        ok(lib().ei_custom_op_unregister(b"Scale"))
        assert np.all(old.run(x) == 1.0)
        register(lambda call: 0, give(2.0))
        with edgeinfer.load(FILE) as new:
            assert np.all(new.run(x) == 2.0)
            assert np.all(old.run(x) == 1.0)


def test_the_callers_memory_is_what_it_works_on(register: Callable[..., None]) -> None:
    seen = []

    def compute(call: Any) -> int:
        seen.append((int(ffi.cast("intptr_t", call.inputs[0].data)),
                     int(ffi.cast("intptr_t", call.outputs[0].data))))  # fmt: skip
        return 0

    register(lambda call: 0, compute)
    model = OpenModel(FILE)
    session = model.session(aligned(bytes(model.session_bytes())))
    x, y = np.zeros(15, np.float32), np.zeros(15, np.float32)
    ok(run(session, pointers(x), pointers(y)))
    ok(run(session))
    assert seen[0] == (x.ctypes.data, y.ctypes.data)
    own = lib().ei_session_input(session, 0), lib().ei_session_output(session, 0)
    assert seen[1] == tuple(int(ffi.cast("intptr_t", address)) for address in own)
    assert pointer(x) != own[0]


def test_c_code_gives_the_same_bits_at_any_number_of_threads(scale_library: Path) -> None:
    library = ctypes.CDLL(str(scale_library))
    found = []
    for symbol in ("scale_check", "scale_run"):
        getter = getattr(library, symbol)
        getter.restype = ctypes.c_void_p
        found.append(ffi.cast("ei_status(*)(ei_custom_call const *)", getter()))
    ok(lib().ei_custom_op_register(b"Scale", custom_op(*found)))
    x = np.random.default_rng(0).normal(0, 3, (3, 5)).astype(np.float32)
    expected = x * np.float32(1.5) + np.resize(np.array([1, -2], np.float32), 15).reshape(3, 5)
    for threads in (1, 4):
        with edgeinfer.load(FILE, threads=threads) as model:
            np.testing.assert_array_equal(model.run(x), expected)
    short = scale_operation()
    short.params["scratch_bytes"] = 56
    with pytest.raises(edgeinfer.CustomOperatorError, match="scratch_bytes is 56, too few"):
        edgeinfer.load(file_of(short))


def test_runs_allocate_nothing(count_allocations: CountAllocations) -> None:
    assert count_allocations({"custom": (1_000, FILE)}) == {"custom": (1, 0, 0, 1)}
    assert count_allocations({"custom": (100, FILE)}, threads=3) == {"custom": (1, 0, 0, 1)}


def test_threads_register_and_make_sessions_at_once(register: Callable[..., None]) -> None:
    """Names come and go while sessions are made; every one finds an operator whole, or none."""
    register(lambda call: 0, lambda call: 0)
    good = ffi.callback(CALLBACK, lambda call: 0)
    stop = threading.Event()
    failures: list[BaseException] = []

    def come_and_go() -> None:
        while not stop.is_set():
            ok(lib().ei_custom_op_register(b"Other", custom_op(good, good)))
            ok(lib().ei_custom_op_unregister(b"Other"))

    def make_sessions() -> None:
        try:
            for _ in range(200):
                edgeinfer.load(FILE).close()
        except BaseException as error:
            failures.append(error)

    churn = threading.Thread(target=come_and_go)
    makers = [threading.Thread(target=make_sessions) for _ in range(3)]
    churn.start()
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    stop.set()
    churn.join()
    assert failures == []
