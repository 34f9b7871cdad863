"""Weights of four bits against this machine's limits, and against what else is installed.

    python tools/bench_fp4.py
    python tools/bench_fp4.py --threads 1 --seconds 1 --json fp4.json

A float32 activation [batch, K] meets a constant matrix in MXFP4 or NVFP4, as a whole model that
Python calls (`fully_connected_dynamic`: rounding every vector to int8 is part of the time):

    cache    batch 1, a matrix of K inputs that fills half of the last-level cache: GB/s, GMAC/s
    DRAM     batch 1, distinct matrices of more than 256 MB, one after the other: GB/s
    32, 128  batches of vectors on a matrix of K x K: GMAC/s

Bytes are those of the packed weights. Shares are of what the machine does in the same seconds:
bytes read from as much memory (tools/read_bandwidth.c, as many threads), and multiplications of its
int8 instructions on registers (tools/peak_int8.c, times the threads; for AVX2 that is vpmaddwd, and
packed_gemm_s8_f4_avx2.c says how four bits can pass it). Times are of the processor, divided by
the threads, so that what else runs counts little; each figure is the median of rounds in which
everything is measured in turn. So ratios can be trusted on a busy machine, where figures cannot.

Other runtimes are held against it where they are installed, and left out with a line that says so
where they are not:

    llama.cpp    ggml's MXFP4, NVFP4, Q4_0 and Q4_K, repacked where llama.cpp does it;
                 `pip install llama-cpp-python`, or --ggml FOLDER of another build
    OpenVINO     MXFP4, and INT4 in blocks of 32
    onnxruntime  FP4 of its own (MatMulBnb4), and INT4 in blocks of 32 (MatMulNBits), with int8
                 activations where it has kernels for that
    LiteRT       INT4 in blocks of 32, through XNNPACK
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import math
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import edgeinfer  # noqa: E402
from edgeinfer.cli.arguments import positive_int, positive_seconds  # noqa: E402
from edgeinfer.convert.lower.pack_fp4 import scale_lines, tile_bytes  # noqa: E402
from edgeinfer.convert.plan import plan_program  # noqa: E402
from edgeinfer.convert.program import Operation, Program, Value  # noqa: E402
from edgeinfer.convert.quantize.block_weights import BLOCK, Scheme  # noqa: E402
from edgeinfer.convert.write import write_model  # noqa: E402
from edgeinfer.printing import format_table, json_text  # noqa: E402
from edgeinfer.system.caches import last_level_cache_bytes  # noqa: E402
from tools.bench_peers import build_peak  # noqa: E402
from tools.peers_fp4 import Builder, Size, fp4_peers  # noqa: E402

SCHEMES: tuple[Scheme, ...] = ("mxfp4", "nvfp4")
DRAM_BYTES = 256 << 20
_ONE = {"mxfp4": 127, "nvfp4": 0x38}
"""Codes of the scale 1."""
TURN_SECONDS = 0.05
SETTLE_SECONDS = 0.005


@dataclass
class Figure:
    """One cell of the table."""

    name: str
    case: str
    threads: int
    gigabytes: float
    gmacs: float
    share: float | None  # of the limit that the case has
    limit: float | None  # GB/s or GMAC/s, of all threads
    ratios: dict[str, float] = field(default_factory=dict)  # by scheme: how often ours is as fast


@dataclass(frozen=True)
class Limits:
    """What the machine can do: functions that measure it."""

    read: Callable[[np.ndarray, int], float] | None  # GB/s of threads over an array
    peak: Callable[[], float] | None  # GMAC/s of a core


def random_weights(rng: np.random.Generator, n: int, k: int, scheme: Scheme) -> np.ndarray:
    """Packed blocks of any codes, with scales of 1."""
    packed = rng.integers(0, 256, (-(-n // 16), tile_bytes(k, scheme)), np.uint8)
    for line in scale_lines(packed, scheme, k):
        line[:] = _ONE[scheme]
    return packed


def model_of(batch: int, k: int, n: int, scheme: Scheme, layers: int) -> bytes:
    """x [batch, k] through matrices of n outputs; those behind the first are square."""
    rng = np.random.default_rng(0)
    operations: list[Operation] = []
    x = current = Value("x", (batch, k), "float32")
    for layer in range(layers):
        depth = current.shape[1]
        packed = random_weights(rng, n, depth, scheme)
        weights = Value("weights", packed.shape, "uint8", data=packed, scheme=scheme)
        # Outputs as large as inputs: elements are some 2.6 from 0, sums of twice as much.
        factor = (256.0 if scheme == "nvfp4" else 1.0) / (5.2 * math.sqrt(depth))
        padded = -(-n // 16) * 16
        multiplier = np.full(padded, factor, np.float32)
        bias = np.zeros(padded, np.float32)
        made = Value(f"y{layer}", (batch, n), "float32")
        operations.append(
            Operation(
                "fully_connected_dynamic",
                [
                    current,
                    weights,
                    Value("bias", bias.shape, "float32", data=bias),
                    Value("multiplier", multiplier.shape, "float32", data=multiplier),
                ],
                [made],
                {"clamp_min": -math.inf, "clamp_max": math.inf},
            )
        )
        current = made
    program = Program("main", [x], [current], operations)
    return write_model([(program, plan_program(program))], {})


def find_limits(folder: Path) -> Limits:
    """Built from C; what cannot be is left out."""
    peaks, compiler = build_peak(folder), shutil.which("cc")
    if compiler is None:
        return Limits(None, None)
    library = folder / "read.so"
    command = [compiler, "-O3", "-march=native", "-shared", "-fPIC", "-Wno-psabi"]
    subprocess.run([*command, str(ROOT / "tools" / "read_bandwidth.c"), "-o", library], check=True)
    function = ctypes.CDLL(str(library)).read_gigabytes
    function.restype = ctypes.c_double
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

    def read(array: np.ndarray, threads: int) -> float:
        part = array.nbytes // threads // 4096 * 4096
        rounds = max(3, (16 << 20) // part)
        found = [0.0] * threads

        def run(i: int) -> None:
            found[i] = float(function(array.ctypes.data + i * part, part, rounds))

        workers = [threading.Thread(target=run, args=(i,)) for i in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return sum(found)

    return Limits(read, None if peaks is None else peaks.of_integers)


def in_turn(
    runs: Sequence[Callable[[], object]],
    limit: Callable[[], float] | None,
    threads: int,
    seconds: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of the processor of each one's fastest call [rounds, runs]; the limits [rounds]."""
    for run in runs:
        run()
    times: list[list[float]] = []
    limits: list[float] = []
    turn = min(TURN_SECONDS, seconds)
    end = time.perf_counter() + seconds * len(runs)
    while time.perf_counter() < end or len(times) < 3:
        limits.append(limit() if limit is not None else math.nan)
        times.append([_fastest(run, turn) / threads for run in runs])
    return np.array(times), np.array(limits)


def _fastest(run: Callable[[], object], turn: float) -> float:
    time.sleep(SETTLE_SECONDS)  # threads of the one before may still be looking for work
    clocks = _clocks_of_threads()
    fastest, stop = math.inf, time.perf_counter() + turn
    while fastest == math.inf or time.perf_counter() < stop:
        start = processor_seconds(clocks)
        run()
        fastest = min(fastest, processor_seconds(clocks) - start)
    return fastest


def _clocks_of_threads() -> list[int]:
    tasks = Path("/proc/self/task")
    # What pthread_getcpuclockid makes of a thread's number.
    return [~int(task.name) << 3 | 6 for task in tasks.iterdir()] if tasks.exists() else []


def processor_seconds(clocks: Sequence[int]) -> float:
    """Of all threads of this process.

    The kernel adds what a thread on another core has spent when its timer ticks, every few
    milliseconds, or when the thread's own clock is read: without that, the fastest of many short
    calls would be one whose other threads were not counted.
    """
    for clock in clocks:
        with contextlib.suppress(OSError):  # the thread has ended; its time is in the sum
            time.clock_gettime(clock)
    return time.process_time()


@dataclass(frozen=True)
class Case:
    """A column of the table."""

    name: str
    batch: int
    k: int
    n: int
    layers: int
    of_memory: bool  # whether its limit is the memory's


def cases_of(k: int, cache_bytes: int, batches: Sequence[int], dram_bytes: int) -> list[Case]:
    """The columns; matrices are sized by MXFP4's bytes."""
    by_channel = tile_bytes(k, "mxfp4") / 16
    in_cache = max(int(cache_bytes / 2 / by_channel) // 32 * 32, 32)
    layers = math.ceil(dram_bytes / (by_channel * k)) + 1
    cases = [
        Case(f"batch 1, cache ({k}x{in_cache})", 1, k, in_cache, 1, True),
        Case(f"batch 1, DRAM ({layers} of {k}x{k})", 1, k, k, layers, True),
    ]
    return [*cases, *(Case(f"batch {m}", m, k, k, 1, False) for m in batches)]


@dataclass
class Runner:
    """What is timed."""

    name: str
    run: Callable[[], object]
    weight_bytes: int


def measure(
    case: Case, threads: int, limits: Limits, seconds: float, peers: dict[str, Builder]
) -> list[Figure]:
    """Run one case of edgeinfer, and of the peers; those that cannot are taken out of `peers`."""
    with contextlib.ExitStack() as open_ones:
        runners = [_ours(case, scheme, threads, open_ones) for scheme in SCHEMES]
        for name, build in list(peers.items()):
            try:
                peer = build(Size(case.batch, case.k, case.n, case.layers, threads))
            except Exception as error:  # the peer's own, of any class
                print(f"{name} is left out: {error}", file=sys.stderr)
                del peers[name]
                continue
            open_ones.callback(peer.close)
            runners.append(Runner(name, peer.run, peer.weight_bytes))
        limit = _limit_of(case, runners[0].weight_bytes, threads, limits)
        times, reached = in_turn([runner.run for runner in runners], limit, threads, seconds)
    macs = case.batch * case.k * case.n * case.layers
    figures = []
    for i, runner in enumerate(runners):
        fastest = float(np.median(times[:, i]))
        figure = Figure(
            runner.name,
            case.name,
            threads,
            1e-9 * runner.weight_bytes / fastest,
            1e-9 * macs / fastest,
            None,
            None,
        )
        if i >= len(SCHEMES):
            figure.ratios = {
                scheme: float(np.median(times[:, i] / times[:, own]))
                for own, scheme in enumerate(SCHEMES)
            }
        elif limit is not None:
            work = runner.weight_bytes if case.of_memory else macs
            figure.share = float(np.median(1e-9 * work / times[:, i] / reached))
            figure.limit = float(np.median(reached))
        figures.append(figure)
    return figures


def _ours(case: Case, scheme: Scheme, threads: int, open_ones: contextlib.ExitStack) -> Runner:
    data = model_of(case.batch, case.k, case.n, scheme, case.layers)
    x = np.random.default_rng(1).standard_normal((case.batch, case.k)).astype(np.float32)
    y = np.empty((case.batch, case.n), np.float32)
    model = open_ones.enter_context(edgeinfer.load(data, threads=threads))
    model.run_into(y, x)
    assert np.isfinite(y).all()
    weights = case.layers * -(-case.n // 16) * tile_bytes(case.k, scheme)
    return Runner(scheme, lambda: model.run_into(y, x), weights)


def _limit_of(
    case: Case, weight_bytes: int, threads: int, limits: Limits
) -> Callable[[], float] | None:
    """What measures the case's limit once: reading as many bytes, or multiplying."""
    if case.of_memory:
        if limits.read is None:
            return None
        read, memory = limits.read, np.ones(weight_bytes // 4096 * 4096, np.uint8)
        return lambda: read(memory, threads)
    if limits.peak is None:
        return None
    peak = limits.peak
    return lambda: threads * peak()


def print_table(figures: Sequence[Figure], cases: Sequence[Case]) -> None:
    """A row for each of ours and the peers', and one for the limits."""
    rows = []
    for threads in sorted({figure.threads for figure in figures}):
        mine = [figure for figure in figures if figure.threads == threads]
        for name in dict.fromkeys(figure.name for figure in mine):
            found = {figure.case: figure for figure in mine if figure.name == name}
            cells = [_cell(found.get(case.name), case) for case in cases]
            rows.append([name, str(threads), *cells])
        limits = [
            next((f.limit for f in mine if f.case == case.name and f.limit), None) for case in cases
        ]
        cells = [
            "-" if limit is None else f"{limit:.1f} {'GB/s' if case.of_memory else 'GMAC/s'}"
            for limit, case in zip(limits, cases, strict=True)
        ]
        rows.append(["limit", str(threads), *cells])
    print(format_table(["weights", "threads", *(case.name for case in cases)], rows))


def _cell(figure: Figure | None, case: Case) -> str:
    if figure is None:
        return "-"
    text = f"{figure.gigabytes:.1f} GB/s, {figure.gmacs:.1f}" if case.of_memory else ""
    text = text or f"{figure.gmacs:.1f} GMAC/s"
    return text if figure.share is None else f"{text} ({100 * figure.share:.0f} %)"


def print_ratios(figures: Sequence[Figure], cases: Sequence[Case]) -> None:
    """How many times as fast ours are, of both schemes, for each peer."""
    peers = list(dict.fromkeys((f.threads, f.name) for f in figures if f.ratios))
    if not peers:
        return
    rows = []
    for threads, name in peers:
        cells = ["-"] * len(cases)
        for i, case in enumerate(cases):
            for figure in figures:
                if (figure.threads, figure.name, figure.case) == (threads, name, case.name):
                    cells[i] = ", ".join(f"{ratio:.2f}" for ratio in figure.ratios.values())
        rows.append([name, str(threads), *cells])
    print(f"\nspeed of {' and '.join(SCHEMES)} over that of others:")
    print(format_table(["others", "threads", *(case.name for case in cases)], rows))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=positive_int, nargs="+", default=[1, 2])
    parser.add_argument("--k", type=positive_int, default=4096, help="inputs (default 4096)")
    parser.add_argument("--batches", type=positive_int, nargs="*", default=[32, 128])
    parser.add_argument("--seconds", type=positive_seconds, default=2.0, help="for each figure")
    parser.add_argument("--dram-bytes", type=positive_int, default=DRAM_BYTES, help="of matrices")
    parser.add_argument(
        "--peers",
        nargs="*",
        metavar="NAME",
        help='those whose names begin so, such as "llama.cpp"; without a name none (default: all)',
    )
    parser.add_argument("--ggml", type=Path, metavar="FOLDER", help="with llama.cpp's libggml.so")
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    options = parser.parse_args(arguments)
    if options.k % (2 * max(BLOCK.values())):
        parser.error(f"--k {options.k}: must be a multiple of {2 * max(BLOCK.values())}")
    cases = cases_of(
        options.k, last_level_cache_bytes() or 8 << 20, options.batches, options.dram_bytes
    )
    figures: list[Figure] = []
    peers = {
        name: build
        for name, build in fp4_peers(options.ggml).items()
        if options.peers is None or name.startswith(tuple(options.peers))
    }
    with tempfile.TemporaryDirectory() as folder:
        limits = find_limits(Path(folder))
        for threads in options.threads:
            for case in cases:
                figures += measure(case, threads, limits, options.seconds, peers)
    print_table(figures, cases)
    print_ratios(figures, cases)
    if options.json:
        Path(options.json).write_text("")
        Path(options.json).write_text(json_text([asdict(figure) for figure in figures]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
