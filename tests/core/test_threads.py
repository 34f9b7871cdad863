"""Threads inside a session: the same bits, memory to the byte, silence between runs, an end."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import edgeinfer
from edgeinfer._ffi import ffi, lib
from edgeinfer.budget import SESSION_THREAD_BYTES
from edgeinfer.convert import convert
from edgeinfer.convert.plan import plan_program
from edgeinfer.convert.program import Operation, Program, Value
from edgeinfer.convert.write import write_model
from tests.core.c_api import NULL, OpenModel, ok, pointer, refused, threads_options
from tests.core.conftest import CountAllocations
from tests.core.edge_file import aligned
from tests.core.guarded import checksums
from tests.core.programs import chain
from tests.device.programs import requantize
from tests.kernels.run_operation import supported_tiers
from tests.requirements import require_c_compiler
from tools.fuzz import operator_seeds

COUNTS = [2, 3, 4, 5]
linux = pytest.mark.skipif(platform.system() != "Linux", reason="reads /proc")


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads share every step, however small."""
    monkeypatch.setenv("EDGEINFER_PART_WORK", "1")


@pytest.fixture(scope="module")
def operators() -> dict[str, bytes]:
    """A file of one node for every operator of the runtime."""
    return {f"operator_{i}": data for i, data in enumerate(operator_seeds())}


@pytest.fixture(scope="module")
def digits(digits_dir: Path) -> bytes:
    return convert(digits_dir / "digits_int8.onnx").data


def random_feed(model: edgeinfer.Model, seed: int) -> dict[str, np.ndarray]:
    """Values that are in range as indices too."""
    rng = np.random.default_rng(seed)
    feed = {}
    for info in model.inputs:
        low, high = (-128, 128) if info.dtype == np.int8 else (0, 2)
        feed[info.name] = rng.integers(low, high, info.shape).astype(info.dtype)
    return feed


def outputs_of(model: edgeinfer.Model, feed: dict[str, np.ndarray]) -> list[bytes]:
    found = model.run(feed)
    return [y.tobytes() for y in (found.values() if isinstance(found, dict) else [found])]


def threads_alive() -> set[int]:
    return {int(name) for name in os.listdir("/proc/self/task")}


def nanoseconds_on_cpu(threads: set[int]) -> int:
    return sum(
        int(Path(f"/proc/self/task/{thread}/schedstat").read_text().split()[0])
        for thread in threads
    )


# --- the same bits


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("threads", COUNTS)
def test_every_operator_gives_one_threads_bits(threads: int, operators: dict[str, bytes]) -> None:
    for name, data in operators.items():
        with edgeinfer.load(data) as one, edgeinfer.load(data, threads=threads) as many:
            for seed in range(3):
                feed = random_feed(one, seed)
                assert outputs_of(many, feed) == outputs_of(one, feed), name


@pytest.mark.usefixtures("shared")
def test_sessions_side_by_side_give_one_threads_bits(digits: bytes) -> None:
    with edgeinfer.load(digits) as one:
        feeds = [random_feed(one, seed) for seed in range(8)]
        expected = [outputs_of(one, feed) for feed in feeds]
    found: dict[tuple[int, int], list[bytes]] = {}

    def work(worker: int) -> None:
        with edgeinfer.load(digits, threads=2 + worker % 3) as model:
            for i in range(100):
                found[worker, i] = outputs_of(model, feeds[i % len(feeds)])

    workers = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 400
    assert all(y == expected[i % len(feeds)] for (_, i), y in found.items())


@pytest.mark.usefixtures("shared")
def test_a_failing_run_says_the_same_as_with_one_thread() -> None:
    x, rows = Value("x", (64, 8), "int8"), Value("rows", (64,), "int32")
    doubled, y = Value("doubled", (64, 8), "int8"), Value("y", (64, 8), "int8")
    gather = Operation("gather", [doubled, rows], [y], {"axis": 0}, "pick")
    operations = [requantize(x, doubled, 2.0), gather]
    program = Program("main", [x, rows], [y], operations)
    data = write_model([(program, plan_program(program))], {})
    picks = np.arange(64, dtype=np.int32)
    picks[[9, 60]] = 64
    values = np.zeros((64, 8), np.int8)
    for threads in (1, 4):
        with edgeinfer.load(data, threads=threads) as model:
            with pytest.raises(edgeinfer.InputError, match=r"step 1.*indices: entry 9 is 64, must"):
                model.run({"x": values, "rows": picks})
            assert model.run({"x": values, "rows": np.zeros(64, np.int32)}) is not None


# --- memory


@pytest.mark.parametrize("threads", [1, *COUNTS, 32])
def test_the_size_is_the_files_and_a_fixed_number_per_further_thread(threads: int) -> None:
    model = OpenModel(chain().write())
    needed = model.session_bytes() + (threads - 1) * SESSION_THREAD_BYTES
    assert model.session_bytes(threads=threads) == needed
    memory = aligned(bytes(needed))
    options = threads_options(threads)
    made = ffi.new("ei_session **")
    code = lib().ei_session_init(model.model, 0, options, pointer(memory), needed - 1, made)
    refused(code, "EI_ERROR_MEMORY", f"needs {needed}")
    ok(lib().ei_session_init(model.model, 0, options, pointer(memory), needed, made))
    lib().ei_session_close(made[0])


def test_the_budget_counts_the_threads() -> None:
    data = chain().write()
    alone = OpenModel(data).session_bytes()
    needed = alone + SESSION_THREAD_BYTES
    with edgeinfer.load(data, threads=2, ram_budget=needed) as model:
        assert model.session_bytes == needed
        assert model.plan.session_bytes == alone
        assert model.plan.thread_bytes == SESSION_THREAD_BYTES
    with pytest.raises(edgeinfer.BudgetError, match=r"with 2 threads .* 1 too few; each thread"):
        edgeinfer.load(data, threads=2, ram_budget=needed - 1)
    with pytest.raises(edgeinfer.BudgetError, match="memory peaks in step"):
        edgeinfer.load(data, threads=2, ram_budget=alone - 1)


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("edge", ["begin", "end"])
def test_no_byte_beside_its_memory_is_touched(
    edge: str, operators: dict[str, bytes], digits: bytes, tmp_path: Path
) -> None:
    files = {**operators, "digits": digits}
    assert checksums(edge, files, tmp_path, threads=3) == checksums(edge, files, tmp_path)


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("tier", supported_tiers())
def test_stacks_are_far_from_full(
    tier: str, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies deepest in the threads' memory is as it was: a quarter of each is never reached."""
    monkeypatch.setenv("EDGEINFER_TIER", tier)
    threads = 3
    for name in ("ad01", "kws", "vww", "resnet8", "mobilenet_v2"):
        model = OpenModel(convert(models_dir / f"{name}_int8.tflite").data)
        memory = aligned(b"\xa5" * model.session_bytes(threads=threads))
        session = model.session(memory, threads=threads)
        for _ in range(5 if tier != "scalar" else 1):
            ok(lib().ei_session_run(session, NULL, NULL))
        lib().ei_session_close(session)
        stacks = memory[model.session_bytes() :].reshape(threads - 1, SESSION_THREAD_BYTES)
        for stack in stacks:
            touched = np.flatnonzero(stack[1024:] != 0xA5)  # behind the thread's record
            assert touched.size
            assert touched[0] > SESSION_THREAD_BYTES // 4, name


@pytest.mark.usefixtures("shared")
def test_runs_allocate_nothing(digits: bytes, count_allocations: CountAllocations) -> None:
    for threads in (2, 5):
        opened, _bound, ran, closed = count_allocations({"digits": (500, digits)}, threads)[
            "digits"
        ]
        # What starting a thread takes is the C library's own, and given back by then.
        assert (opened, ran) == (1, 0)
        assert closed >= 1


# --- silence


@linux
@pytest.mark.usefixtures("shared")
def test_threads_sleep_between_runs(digits: bytes) -> None:
    before = threads_alive()
    with edgeinfer.load(digits, threads=4) as model:
        own = threads_alive() - before
        assert len(own) == 3
        feed = random_feed(model, 1)
        for _ in range(200):
            model.run(feed)
        ran = nanoseconds_on_cpu(own)
        assert ran > 0
        time.sleep(0.05)
        start, asleep = time.monotonic(), nanoseconds_on_cpu(own)
        time.sleep(0.4)
        share = (nanoseconds_on_cpu(own) - asleep) / (time.monotonic() - start) / 1e9
        assert share < 0.01
    assert threads_alive() == before


@linux
def test_a_model_too_small_for_threads_starts_none(digits: bytes) -> None:
    before = threads_alive()
    with edgeinfer.load(digits, threads=4) as model:
        model.run(random_feed(model, 1))
        assert threads_alive() == before


# --- an end


@linux
@pytest.mark.usefixtures("shared")
def test_sessions_end_their_threads(digits: bytes) -> None:
    before = threads_alive()
    model = edgeinfer.load(digits, threads=3)
    other = model.session()
    assert len(threads_alive() - before) == 4
    model.close()
    model.close()
    assert len(threads_alive() - before) == 2
    assert other.run(random_feed(model, 1)) is not None
    del other, model
    assert threads_alive() == before


def script(code: str, repo_root: Path, digits: bytes, tmp_path: Path) -> str:
    """Output of a Python program with `model`, of three threads, and `x`; it must end well."""
    path = tmp_path / "digits.edge"
    path.write_bytes(digits)
    program = f"""
import os, sys, threading
import numpy as np
import edgeinfer
model_path = {str(path)!r}
model = edgeinfer.load(model_path, threads=3)
x = np.ones(model.inputs[0].shape, model.inputs[0].dtype)
expected = model.run(x)
{code}
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=repo_root,
        env={**os.environ, "EDGEINFER_PART_WORK": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(
    "code",
    [
        "",
        "session = model.session(); session.keep = session",
        "run = lambda: all(model.run(x) is not None for _ in iter(int, 1))\n"
        "threading.Thread(target=run, daemon=True).start()",
    ],
    ids=["nobody closes", "a cycle", "a run under way"],
)
def test_the_interpreter_exits(code: str, repo_root: Path, digits: bytes, tmp_path: Path) -> None:
    assert script(code + "\nprint('end')", repo_root, digits, tmp_path) == "end\n"


def test_a_forked_child_runs_on_its_own_thread(
    repo_root: Path, digits: bytes, tmp_path: Path
) -> None:
    code = """
child = os.fork()
if child == 0:
    same = (model.run(x) == expected).all()
    model.close()
    os._exit(0 if same else 7)
status = os.waitpid(child, 0)[1]
print(status, (model.run(x) == expected).all())
"""
    assert script(code, repo_root, digits, tmp_path) == "0 True\n"


def test_a_child_runs_that_was_forked_while_another_thread_ran(
    repo_root: Path, digits: bytes, tmp_path: Path
) -> None:
    code = """
stop = threading.Event()
def run():
    while not stop.is_set():
        model.run(x)
thread = threading.Thread(target=run)
thread.start()
results = []
for _ in range(10):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os._exit(0 if (model.run(x) == expected).all() else 7)
    results.append(os.waitpid(child, 0)[1])
stop.set()
thread.join()
print(results)
"""
    assert script("import signal\n" + code, repo_root, digits, tmp_path) == f"{[0] * 10}\n"


def test_loading_that_is_interrupted_ends_its_threads(
    repo_root: Path, digits: bytes, tmp_path: Path
) -> None:
    code = """
from edgeinfer import session as module
real = module.Turn
def interrupted():
    raise KeyboardInterrupt
module.Turn = interrupted  # right after the threads have started
for _ in range(20):
    try:
        edgeinfer.load(model_path, threads=4)
    except KeyboardInterrupt:
        pass
module.Turn = real
print((model.run(x) == expected).all(), len(os.listdir("/proc/self/task")))
"""
    assert script(code, repo_root, digits, tmp_path).startswith("True ")


# --- where threads run


def allowed_cpus(thread: int) -> str:
    status = Path(f"/proc/self/task/{thread}/status").read_text()
    found = re.search(r"^Cpus_allowed_list:\s*(\S+)$", status, re.MULTILINE)
    assert found
    return found[1]


@linux
@pytest.mark.usefixtures("shared")
def test_threads_run_where_they_are_put(digits: bytes) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    before = threads_alive()
    asked = [cpus[-1], cpus[0]]
    with edgeinfer.load(digits, threads=4, cpus=asked) as model:
        own = sorted(threads_alive() - before)
        assert [allowed_cpus(thread) for thread in own] == [str(asked[i % 2]) for i in (1, 2, 3)]
        assert model.run(random_feed(model, 1)) is not None
    assert os.sched_getaffinity(0) == set(cpus)


@linux
@pytest.mark.usefixtures("shared")
def test_cpus_that_are_not_there_are_refused(digits: bytes) -> None:
    for cpu in (1023, 1024, 2**32 - 1):
        with pytest.raises(edgeinfer.InputError, match=f"CPU {cpu} is not available"):
            edgeinfer.load(digits, threads=2, cpus=[cpu])
    with pytest.raises(edgeinfer.InputError, match="give one of them"):
        edgeinfer.load(digits, threads=2, cpus=[0], performance_cores=True)


@pytest.mark.parametrize("cpus", [[], "ab", [0.5], [-1], [2**32], 7])
def test_lists_that_are_none_are_refused(cpus: object, digits: bytes) -> None:
    with pytest.raises(edgeinfer.InputError, match="cpus is"):
        edgeinfer.load(digits, threads=2, cpus=cpus)  # type: ignore[arg-type]


@linux
@pytest.mark.usefixtures("shared")
def test_performance_cores_are_some_of_those_allowed(digits: bytes) -> None:
    before = threads_alive()
    with edgeinfer.load(digits, threads=2, performance_cores=True) as model:
        (own,) = threads_alive() - before
        assert allowed_cpus(own)
        assert model.run(random_feed(model, 1)) is not None


# --- what sanitizers see


def instrumented(kind: str, repo_root: Path, folder: Path) -> Path:
    """The stress program with the core, of the scalar tier, built with a sanitizer."""
    compiler = require_c_compiler()
    result = folder / "stress"
    csrc = repo_root / "csrc"
    tiers = re.compile(r"_(avx\w+|neon|dotprod|i8mm)\.c$")
    command: list[str | Path] = [compiler, "-std=c11", "-O1", "-pthread"]
    command += [f"-fsanitize={kind}", "-fno-sanitize-recover=all"]
    command += ["-D_POSIX_C_SOURCE=200809L", '-DEI_VERSION="0"']
    command += ["-DEI_SESSION_THREAD_BYTES=(2<<20)", "-I", csrc, "-I", csrc / "include"]
    command += ["-o", result, repo_root / "tests" / "core" / "stress_threads.c"]
    command += [path for path in sorted(csrc.rglob("*.c")) if not tiers.search(path.name)]
    done = subprocess.run([*command, "-lm"], capture_output=True, text=True, check=False)
    if done.returncode != 0 and re.search(r"lib[tal]*san|unsupported|unrecognized", done.stderr):
        pytest.skip(f"the compiler has no -fsanitize={kind}")
    assert done.returncode == 0, done.stderr
    return result


@pytest.fixture(params=["thread", "address"])
def stress(request: pytest.FixtureRequest, repo_root: Path, tmp_path: Path) -> Iterator[Path]:
    yield instrumented(request.param, repo_root, tmp_path)


@pytest.mark.slow
def test_sanitizers_find_nothing_under_stress(
    stress: Path, operators: dict[str, bytes], digits: bytes, tmp_path: Path
) -> None:
    paths = []
    for name, data in {"digits": digits, **operators}.items():
        paths.append(tmp_path / f"{name}.edge")
        paths[-1].write_bytes(data)
    done = subprocess.run(
        [stress, "6", "60", *paths],
        # The one tier that it has, whichever the tests run on.
        env={**os.environ, "EDGEINFER_PART_WORK": "1", "EDGEINFER_TIER": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr[:4000]
