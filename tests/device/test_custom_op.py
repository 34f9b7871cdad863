"""Custom operators written in Python, compiled by numba and run by the C core."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import edgeinfer
from edgeinfer.convert import convert
from edgeinfer.convert.graph import Graph, Node, Tensor
from edgeinfer.custom import find
from edgeinfer.custom.operands import decode_attributes, parse_type
from tests.builders.custom_op import custom_onnx
from tests.requirements import require_module

require_module("numba")
require_module("onnx")

SHAPE = (2, 3)


@pytest.fixture(autouse=True)
def nothing_stays_registered() -> Iterator[None]:
    yield
    for name in ("Op", "Other"):
        if find(name) is not None:
            edgeinfer.unregister_custom_op(name)


def load(*shapes: tuple[int, ...], output: tuple[int, ...] | None = None, **attrs: Any) -> Any:
    return edgeinfer.load(convert(custom_onnx("Op", shapes, output or shapes[0], **attrs)).data)


@pytest.fixture(scope="module")
def weighted() -> Iterator[None]:
    """An operator that takes all that one can: inputs, numbers, lists, scratch memory."""

    @edgeinfer.custom_op(
        "Weighted",
        "void(float32[:, :], float32[:], float32[:, :], float64, int64[:], float64[:], float32[:])",
        attributes={"alpha": 0.25, "columns": list[int], "table": [1.0, 2.0]},
        scratch=lambda shapes, attributes: shapes[0][1],
    )
    def weighted_sum(x, w, y, alpha, columns, table, scratch):
        for i in range(x.shape[0]):
            for j in range(x.shape[1]):
                scratch[j] = x[i, j] * w[j]
            for k in range(columns.size):
                scratch[columns[k]] = np.float32(table[k % table.size])
            for j in range(x.shape[1]):
                y[i, j] = np.float32(alpha) * scratch[j]

    yield
    edgeinfer.unregister_custom_op("Weighted")


def expected_weighted(
    x: np.ndarray, w: np.ndarray, alpha: float, columns: list[int], table: list[float]
) -> np.ndarray:
    scratch = x * w
    for k, column in enumerate(columns):
        scratch[:, column] = np.float32(table[k % len(table)])
    return np.float32(alpha) * scratch


finite = st.floats(-1e6, 1e6, width=32)


@pytest.mark.usefixtures("weighted")
@settings(max_examples=60, deadline=None)
@given(
    x=hnp.array_shapes(min_dims=2, max_dims=2, max_side=9).flatmap(
        lambda shape: hnp.arrays(np.float32, shape, elements=finite)
    ),
    data=st.data(),
)
def test_a_function_gives_numpys_bits(x: np.ndarray, data: st.DataObject) -> None:
    width = x.shape[1]
    w = data.draw(hnp.arrays(np.float32, width, elements=finite))
    columns = data.draw(st.lists(st.integers(0, width - 1), min_size=1, max_size=4))
    table = data.draw(st.lists(finite, min_size=1, max_size=3))
    alpha = data.draw(finite)
    attributes: dict[str, Any] = {"alpha": alpha, "columns": columns, "table": table}
    model = convert(custom_onnx("Weighted", [x.shape, w.shape], x.shape, **attributes))
    with edgeinfer.load(model.data) as loaded, np.errstate(over="ignore", invalid="ignore"):
        found = loaded.run({"x0": x, "x1": w})
        np.testing.assert_array_equal(found, expected_weighted(x, w, alpha, columns, table))


@pytest.mark.usefixtures("weighted")
def test_python_can_call_it_as_the_core_does() -> None:
    """What another engine does with the function of a file's node."""
    operator = find("Weighted")
    assert operator is not None and operator.plan is not None and operator.function is not None
    x, w = np.full(SHAPE, 2, np.float32), np.array([1, 2, 3], np.float32)
    y = np.empty(SHAPE, np.float32)
    attributes = operator.fill({"columns": [2]})
    scratch_bytes = operator.scratch_bytes([x.shape, w.shape], attributes)
    assert scratch_bytes == 12
    arguments = operator.plan.arguments_for([x, w, y], attributes, [(0.0, 0)] * 3, scratch_bytes)
    operator.function(*arguments)
    np.testing.assert_array_equal(y, expected_weighted(x, w, 0.25, [2], [1.0, 2.0]))


@pytest.mark.usefixtures("weighted")
def test_defaults_fill_what_a_node_leaves_out() -> None:
    model = convert(custom_onnx("Weighted", [SHAPE, (3,)], SHAPE, columns=[1]))
    x, w = np.ones(SHAPE, np.float32), np.full(3, 8, np.float32)
    with edgeinfer.load(model.data) as loaded:
        np.testing.assert_array_equal(
            loaded.run({"x0": x, "x1": w}), [[2.0, 0.25, 2.0], [2.0, 0.25, 2.0]]
        )


@pytest.mark.parametrize(
    ("dtype", "rank"),
    [*((dtype, 2) for dtype in ("int8", "uint8", "int16", "int32", "int64", "bool")),
     *(("float32", rank) for rank in range(7))],
)  # fmt: skip
def test_every_dtype_and_rank(dtype: str, rank: int) -> None:
    types = require_module("numba").types
    element = types.boolean if dtype == "bool" else getattr(types, dtype)
    array = types.Array(element, rank, "C")

    @edgeinfer.custom_op("Op", types.void(array, array))
    def flip(x, y):
        flat_x, flat_y = x.reshape(x.size), y.reshape(y.size)
        for i in range(flat_x.size):
            flat_y[i] = flat_x[flat_x.size - 1 - i]

    operator = find("Op")
    assert operator is not None and str(operator.output) == f"{dtype}[{', '.join([':'] * rank)}]"
    shape = (2, 1, 3, 2, 1, 2)[:rank]
    x, y = Tensor("x", shape, dtype), Tensor("y", shape, dtype)
    node = Node("custom", [x], [y], {"name": "Op", "attributes": {}}, name="node")
    data = convert(Graph("g", [x], [y], [node], "onnx")).data
    values = np.random.default_rng(rank).integers(0, 2, shape).astype(dtype)
    with edgeinfer.load(data) as model:
        np.testing.assert_array_equal(model.run(values), values.reshape(-1)[::-1].reshape(shape))


def test_no_numpy_and_no_gil_while_it_runs() -> None:
    """Another thread counts while the function is busy: it could not if the GIL were held."""

    @edgeinfer.custom_op("Op", "void(float32[:, :], float32[:, :])")
    def busy(x, y):
        total = x[0, 0]
        for _ in range(300_000_000):
            total = total * np.float32(0.999999) + np.float32(1.0)
        y[0, 0] = total

    counted = [0]
    done = threading.Event()

    def count() -> None:
        while not done.is_set():
            counted[0] += 1

    with load((1, 1)) as model:
        thread = threading.Thread(target=count)
        thread.start()
        before = counted[0]
        model.run(np.zeros((1, 1), np.float32))
        during = counted[0] - before
        done.set()
        thread.join()
    assert during > 1_000


def test_an_exception_ends_the_run() -> None:
    @edgeinfer.custom_op("Op", "void(float32[:, :], float32[:, :])")
    def picky(x, y):
        if x[0, 0] < 0:
            raise ValueError("negative")
        for i in range(x.size):
            y.flat[i] = x.flat[i]

    with load(SHAPE) as model:
        for _ in range(2):
            with pytest.raises(
                edgeinfer.InputError, match="'Op': the function raised an exception"
            ):
                model.run(-np.ones(SHAPE, np.float32))
            np.testing.assert_array_equal(model.run(np.ones(SHAPE, np.float32)), np.ones(SHAPE))


def test_division_by_zero_is_numpys() -> None:
    @edgeinfer.custom_op("Op", "void(float32[:, :], float32[:, :])")
    def reciprocal(x, y):
        for i in range(x.shape[0]):
            for j in range(x.shape[1]):
                y[i, j] = np.float32(1.0) / x[i, j]

    with load(SHAPE) as model:
        assert np.all(np.isposinf(model.run(np.zeros(SHAPE, np.float32))))


def test_the_decorated_function_can_be_called() -> None:
    @edgeinfer.custom_op("Op", "void(float32[:, :], float32[:, :])")
    def double(x, y):
        y[:] = 2 * x[0, 0]

    y = np.empty(SHAPE, np.float32)
    double(np.ones(SHAPE, np.float32), y)
    assert np.all(y == 2)
    operator = find("Op")
    assert operator is not None and operator.function is double


def nothing(*_: Any) -> None:
    """Never runs: what is wrong is found before."""


def two(x: Any, y: Any) -> None:
    """A function of two arrays."""


def three(x: Any, y: Any, alpha: Any) -> None:
    """One with an attribute."""


def scaled(x: Any, y: Any, x_scale: Any) -> None:
    """One that asks for a scale."""


@pytest.mark.parametrize(
    ("function", "signature", "options", "message"),
    [
        (two, "float32[:", {}, "is not a signature of numba"),
        (two, "float32(float32[:], float32[:])", {}, "must give void"),
        (two, "void(float32[:])", {}, "has 1 types, the function 2 parameters .x, y."),
        (two, "void(float32[:], float64[:])", {}, "'y' has elements of float64"),
        (two, "void(float32, float32[:])", {}, "'x' is float32; it must be an array, or an attr"),
        (three, "void(float32[:], float32[:], float32)", {"attributes": {"alpha": 1.0}},
         "'alpha' is float32 in the signature, must be float64"),
        (three, "void(float32[:], float32[:], float64)", {"attributes": {"alpha": 1}},
         "must be int64"),
        (three, "void(float32[:], float32[:], float64)", {"attributes": {"alpha": "a"}}, "is text"),
        (three, "void(float32[:], float32[:], float64)", {"attributes": {"beta": 1.0}},
         "'beta' is no parameter"),
        (three, "void(float32[:], float32[:], float64)", {}, "'alpha' is float64; it must be an"),
        (scaled, "void(float32[:], float32[:], float64)", {}, "'x_scale' is float64, must be flo"),
        (two, "void(float32[:], float32[:, :])", {}, "cannot have the shape of the first input"),
        (two, "void(float32[:], float32[:])", {"shape": "all"}, "shape is 'all', must be"),
        (two, "void(float32[:], float32[:])", {"attributes": {"a b": 1.0}}, "an identifier"),
        (two, "void(float32[:], float32[:])", {"attributes": {"a": object()}}, "neither a default"),
        (two, "void(float32[:], float32[:])", {"attributes": {"a": 2**70}}, "integer of 64 bits"),
        (two, "void(float32[:], float32[:])", {"attributes": {"a": [0, 2**70]}}, "list of integ"),
        (two, "void(float32[:], float32[:])", {"attributes": {"a": [0.5, 10**400]}}, "int too la"),
        (two, "void(float32[:], float32[:])", {"attributes": {"a": "\0"}}, "must be text"),
        (two, "void(float32[:], float32[:])", {"attributes": {"a" * 32: 1}}, "at most 31"),
    ],
)  # fmt: skip
def test_a_declaration_that_does_not_fit_is_refused(
    function: Callable[..., None], signature: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(edgeinfer.InputError, match=message):
        edgeinfer.custom_op("Op", signature, **options)(function)
    assert find("Op") is None


def test_code_that_numba_cannot_compile_is_refused() -> None:
    def uses_files(x: Any, y: Any) -> None:
        y[0] = open("file")  # noqa: SIM115

    with pytest.raises(edgeinfer.InputError, match="numba cannot compile"):
        edgeinfer.custom_op("Op", "void(float32[:], float32[:])")(uses_files)


def test_code_that_allocates_is_refused() -> None:
    def allocates(x: Any, y: Any) -> None:
        y[:] = x * 2

    signature = "void(float32[:, :], float32[:, :])"
    with pytest.raises(edgeinfer.InputError, match="allocates memory when it runs"):
        edgeinfer.custom_op("Op", signature)(allocates)
    edgeinfer.custom_op("Op", signature, allocates=True)(allocates)
    with load(SHAPE) as model:
        assert np.all(model.run(np.ones(SHAPE, np.float32)) == 2)


@pytest.mark.parametrize("name", ["", "a b", "x" * 64, "é", "\n", 3])
def test_names_are_printable_ascii(name: Any) -> None:
    with pytest.raises(edgeinfer.InputError, match="1 to 63 printable ASCII"):
        edgeinfer.register_custom_op(name, 1, inputs=["float32[:]"], output="float32[:]")
    with pytest.raises(edgeinfer.InputError, match="1 to 63 printable ASCII"):
        edgeinfer.register_custom_op(name, inputs=["float32[:]"], output="float32[:]")


def test_a_name_is_registered_once() -> None:
    for address in (None, 1):
        edgeinfer.register_custom_op("Op", inputs=["float32[:]"], output="float32[:]")
        with pytest.raises(edgeinfer.InputError, match="'Op' is registered already"):
            edgeinfer.register_custom_op("Op", address, inputs=["int8[:]"], output="int8[:]")
        edgeinfer.unregister_custom_op("Op")
    with pytest.raises(edgeinfer.InputError, match="no custom operator 'Op'"):
        edgeinfer.unregister_custom_op("Op")


@pytest.mark.parametrize("run", [0, "text", 1.5, object()])
def test_an_address_is_a_pointer(run: Any) -> None:
    with pytest.raises(edgeinfer.InputError, match="run is"):
        edgeinfer.register_custom_op("Op", run, inputs=["int8[:]"], output="int8[:]")


@pytest.mark.parametrize(
    ("text", "dtype", "rank"),
    [("float32[:, :]", "float32", 2), (" int8[ : ]", "int8", 1), ("bool[]", "bool", 0),
     ("int64[...]", "int64", None)],
)  # fmt: skip
def test_types_as_text(text: str, dtype: str, rank: int | None) -> None:
    kind = parse_type(text)
    assert (kind.dtype, kind.rank) == (dtype, rank)
    assert parse_type(str(kind)) == kind


@pytest.mark.parametrize(
    "text", ["float32", "float64[:]", "int8[:,]", "int8[:" + ",:" * 6 + "]", 3]
)
def test_types_that_are_none(text: Any) -> None:
    with pytest.raises(edgeinfer.InputError):
        parse_type(text)


# --- a file and an operator that do not fit


DECLARED: dict[str, Any] = {
    "inputs": ["float32[:, :]"],
    "output": "float32[:, :]",
    "attributes": {"alpha": 1.0, "axes": [1, 2]},
    "scratch": lambda shapes, attributes: 4 * shapes[0][1],
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": ["float32[:]"], "output": "float32[:]"}, "input 0 has shape .2, 3., must be f"),
        ({"inputs": ["int32[:, :]"]}, "input 0 is float32, must be int32"),
        ({"output": "int8[:, :]"}, "output is float32, must be int8"),
        ({"inputs": ["float32[:, :]"] * 2}, "it has 1 inputs, must have 2"),
        ({"attributes": {"alpha": 1.0}}, "the file has attributes .'alpha', 'axes'."),
        ({"attributes": {"axes": [1], "alpha": 1.0}}, "the file has attributes"),
        (
            {"attributes": {"alpha": 1, "axes": [1]}},
            "'alpha' is stored as floats, must be an integ",
        ),
        ({"attributes": {"alpha": 1.0, "axes": 1}}, "'axes' has 2 values, not 1"),
        ({"scratch": lambda shapes, attributes: 13}, "scratch_bytes is 12, it needs 13"),
        ({"scratch": lambda shapes, attributes: -1}, r"scratch\(\) gave -1"),
        ({"shape": lambda shapes, attributes: (2, 4)}, "shape .2, 3., must have .2, 4."),
        ({"shape": lambda shapes, attributes: (2, 0)}, r"shape\(\) gave \[2, 0\]"),
        ({"shape": lambda shapes, attributes: "?"}, r"shape\(\) gave '\?'"),
        ({"shape": lambda shapes, attributes: shapes[3]}, r"shape\(\) failed: IndexError"),
    ],
)
def test_a_session_is_refused_where_file_and_operator_differ(
    changes: dict[str, Any], message: str
) -> None:
    edgeinfer.register_custom_op("Op", **DECLARED)
    data = convert(custom_onnx("Op", [SHAPE], SHAPE)).data
    edgeinfer.unregister_custom_op("Op")
    edgeinfer.register_custom_op("Op", 1, **{**DECLARED, **changes})
    with pytest.raises(edgeinfer.CustomOperatorError, match=f"custom operator 'Op': .*{message}"):
        edgeinfer.load(data)


def test_a_declared_operator_converts_and_does_not_run() -> None:
    edgeinfer.register_custom_op("Op", **DECLARED)
    data = convert(custom_onnx("Op", [SHAPE], SHAPE)).data
    with pytest.raises(edgeinfer.CustomOperatorError, match="no custom operator 'Op'"):
        edgeinfer.load(data)


def test_a_ctypes_function_runs_and_its_own_check_is_asked_too() -> None:
    seen: list[str] = []
    prototype = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)

    def note(what: str) -> int:
        seen.append(what)
        return 0

    run, check = prototype(lambda call: note("run")), prototype(lambda call: note("check"))
    no = prototype(lambda call: 12)
    declared = {key: DECLARED[key] for key in ("inputs", "output")}
    edgeinfer.register_custom_op("Op", run, check=check, **declared)
    data = convert(custom_onnx("Op", [SHAPE], SHAPE)).data
    with edgeinfer.load(data) as model:
        model.run(np.zeros(SHAPE, np.float32))
    assert seen == ["check", "run"]
    edgeinfer.unregister_custom_op("Op")
    edgeinfer.register_custom_op("Op", run, check=no, **declared)
    with pytest.raises(edgeinfer.CustomOperatorError, match="'Op': a custom operator"):
        edgeinfer.load(data)


def test_without_numba_the_error_names_the_extra() -> None:
    program = (
        "import sys; sys.modules['numba'] = None\n"
        "import edgeinfer\n"
        "try:\n"
        "    edgeinfer.custom_op('Op', 'void(int8[:], int8[:])')(lambda x, y: None)\n"
        "except edgeinfer.MissingExtraError as error:\n"
        "    print(error.extra, error.module)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["jit", "numba"]


# --- files that register operators


def test_a_file_of_operators_is_run_once(tmp_path: Path) -> None:
    path = tmp_path / "ops.py"
    path.write_text(
        "import edgeinfer\n"
        "edgeinfer.register_custom_op('Op', inputs=['int8[:]'], output='int8[:]')\n"
    )
    edgeinfer.load_custom_ops(path)
    edgeinfer.load_custom_ops(str(path))
    assert find("Op") is not None


def test_a_file_of_operators_that_fails_says_so(tmp_path: Path) -> None:
    path = tmp_path / "ops.py"
    for text, message in (
        ("1 / 0", "ZeroDivisionError"),
        ("x ==", "SyntaxError"),
        ("exit(0)", "SystemExit: 0"),
    ):
        path.write_text(text)
        with pytest.raises(edgeinfer.InputError, match=f"ops.py': {message}"):
            edgeinfer.load_custom_ops(path)
    with pytest.raises(edgeinfer.InputError, match="no such file of custom operators"):
        edgeinfer.load_custom_ops(tmp_path / "none.py")
    (tmp_path / "ops.txt").write_text("")
    with pytest.raises(edgeinfer.InputError, match="not a Python file"):
        edgeinfer.load_custom_ops(tmp_path / "ops.txt")


def test_attributes_are_read_as_the_converter_wrote_them() -> None:
    """The device's reader against the converter's writer."""
    from tests.builders.custom_op import scale_operation

    blob = scale_operation().inputs[0]
    assert blob is not None and blob.data is not None
    raw = blob.data.tobytes()
    found = decode_attributes(lambda offset, count: raw[offset : offset + count])
    assert found == {
        "scale": ("floats", [1.5]),
        "offsets": ("ints", [1, -2]),
        "mode": ("text", "linear"),
    }
