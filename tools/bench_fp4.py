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
both are measured.

onnxruntime, where it is installed, multiplies by FP4 of its own (MatMulBnb4) and by INT4 in blocks
of 32 (MatMulNBits), with int8 activations where it has kernels for that.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

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

SCHEMES: tuple[Scheme, ...] = ("mxfp4", "nvfp4")
DRAM_BYTES = 256 << 20
_ONE = {"mxfp4": 127, "nvfp4": 0x38}
"""Codes of the scale 1."""


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


def rounds_of(
    run: Callable[[], object], limit: Callable[[], float] | None, threads: int, seconds: float
) -> list[tuple[float, float]]:
    """(fastest call in seconds of the processor, limit) of each round, in turn."""
    run()
    pairs: list[tuple[float, float]] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(pairs) < 3:
        reached = limit() if limit is not None else math.nan
        fastest, stop = math.inf, time.perf_counter() + 0.05
        while fastest == math.inf or time.perf_counter() < stop:
            start = time.process_time()
            run()
            fastest = min(fastest, (time.process_time() - start) / threads)
        pairs.append((fastest, reached))
    return pairs


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


def measure(case: Case, scheme: Scheme, threads: int, limits: Limits, seconds: float) -> Figure:
    """Run one case of edgeinfer."""
    weights = case.layers * -(-case.n // 16) * tile_bytes(case.k, scheme)
    data = model_of(case.batch, case.k, case.n, scheme, case.layers)
    x = np.random.default_rng(1).standard_normal((case.batch, case.k)).astype(np.float32)
    limit: Callable[[], float] | None = None
    if case.of_memory and limits.read is not None:
        read, memory = limits.read, np.ones(weights // 4096 * 4096, np.uint8)

        def limit() -> float:
            return read(memory, threads)

    elif limits.peak is not None:
        peak = limits.peak

        def limit() -> float:
            return threads * peak()

    with edgeinfer.load(data, threads=threads) as model:
        y = np.empty((case.batch, case.n), np.float32)
        pairs = rounds_of(lambda: model.run_into(y, x), limit, threads, seconds)
    assert np.isfinite(y).all()
    macs = case.batch * case.k * case.n * case.layers
    work = weights if case.of_memory else macs
    fastest = float(np.median([taken for taken, _ in pairs]))
    reached = float(np.median([limit for _, limit in pairs]))
    share = float(np.median([1e-9 * work / taken / limit for taken, limit in pairs]))
    known = math.isfinite(reached)
    return Figure(
        scheme,
        case.name,
        threads,
        1e-9 * weights / fastest,
        1e-9 * macs / fastest,
        share if known else None,
        reached if known else None,
    )


def peer_model(operator: str, k: int, n: int) -> tuple[bytes, int]:
    """An onnxruntime operator with constant weights of four bits, and the bytes of these."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    block = 32 if operator == "MatMulNBits" else 64
    attributes: dict[str, Any] = {"K": k, "N": n, "block_size": block}
    if operator == "MatMulNBits":
        packed = rng.integers(0, 256, (n, k // block, block // 2)).astype(np.uint8)
        scales = np.full(n * k // block, 0.01, np.float32)
        attributes.update(bits=4, accuracy_level=4)
    else:
        packed = rng.integers(0, 256, n * k // 2).astype(np.uint8)
        scales = np.full(n * k // block, 0.01, np.float32)
        attributes.update(quant_type=0)  # FP4
    node = helper.make_node(
        operator, ["x", "packed", "scales"], ["y"], domain="com.microsoft", **attributes
    )
    graph = helper.make_graph(
        [node],
        "peer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["m", k])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["m", n])],
        [numpy_helper.from_array(packed, "packed"), numpy_helper.from_array(scales, "scales")],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    return model.SerializeToString(), packed.nbytes + scales.nbytes


def measure_peer(operator: str, case: Case, threads: int, seconds: float) -> Figure | None:
    """onnxruntime on one matrix; None where it cannot."""
    try:
        import onnxruntime
    except ImportError:
        return None
    data, weights = peer_model(operator, case.k, case.n)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        x = np.random.default_rng(1).standard_normal((case.batch, case.k)).astype(np.float32)
        pairs = rounds_of(lambda: session.run(None, {"x": x}), None, threads, seconds)
    except Exception as error:  # the peer's own, of any class
        print(f"onnxruntime {operator}: {error}", file=sys.stderr)
        return None
    fastest = float(np.median([taken for taken, _ in pairs]))
    macs = case.batch * case.k * case.n
    return Figure(f"onnxruntime {operator}", case.name, threads, 1e-9 * weights / fastest,
                  1e-9 * macs / fastest, None, None)  # fmt: skip


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
    parser.add_argument("--no-peers", action="store_true", help="edgeinfer only")
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    options = parser.parse_args(arguments)
    if options.k % (2 * max(BLOCK.values())):
        parser.error(f"--k {options.k}: must be a multiple of {2 * max(BLOCK.values())}")
    cases = cases_of(
        options.k, last_level_cache_bytes() or 8 << 20, options.batches, options.dram_bytes
    )
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        limits = find_limits(Path(folder))
        for threads in options.threads:
            for scheme in SCHEMES:
                figures += [measure(c, scheme, threads, limits, options.seconds) for c in cases]
            for operator in () if options.no_peers else ("MatMulBnb4", "MatMulNBits"):
                for case in cases:
                    if case.layers == 1:
                        found = measure_peer(operator, case, threads, options.seconds)
                        figures += [] if found is None else [found]
    print_table(figures, cases)
    if options.json:
        Path(options.json).write_text("")
        Path(options.json).write_text(json_text([asdict(figure) for figure in figures]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
