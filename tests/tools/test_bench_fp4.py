"""tools/bench_fp4.py: its tables, figures that belong together, and peers that are missing."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.requirements import require_c_compiler, require_module
from tools import bench_fp4, ggml, peers_fp4

SMALL = ["--k", "128", "--batches", "3", "--dram-bytes", "20000", "--seconds", "0.01"]


def test_the_table_has_ours_the_peers_and_the_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench_fp4, "last_level_cache_bytes", lambda: 1 << 17)
    require_c_compiler()
    require_module("onnxruntime")
    path = tmp_path / "fp4.json"
    words = [*SMALL, "--threads", "1", "--json", str(path), "--peers", "onnxruntime"]
    assert bench_fp4.main(words) == 0
    table, ratios = capsys.readouterr().out.split("\n\n")
    title, _, *rows = table.splitlines()
    assert "DRAM (4 of 128x128)" in title and "batch 3" in title
    assert [row.split()[0] for row in rows[:2]] == ["mxfp4", "nvfp4"]
    assert rows[-1].split()[0] == "limit"
    assert any("MatMulNBits" in row for row in rows) and "MatMulNBits" in ratios
    figures = json.loads(path.read_text())
    for figure in figures:
        assert figure["gigabytes"] > 0 and figure["gmacs"] > 0
    mine = [f for f in figures if f["name"] == "mxfp4"]
    assert [f["case"].split(" (")[0] for f in mine] == [
        "batch 1, cache",
        "batch 1, DRAM",
        "batch 3",
    ]
    # 128 x 128 weights in 8 tiles of 1,088 bytes, three vectors to each.
    assert mine[2]["gmacs"] / mine[2]["gigabytes"] == pytest.approx(3 * 128 * 128 / 8704)
    assert all(f["share"] is None or f["share"] > 0 for f in mine)
    theirs = [f for f in figures if f["name"] == "onnxruntime MatMulNBits"]
    assert len(theirs) == 3 and all(f["ratios"].keys() == {"mxfp4", "nvfp4"} for f in theirs)
    # INT4 in blocks of 32 with float32 scales: 5 bits a weight, one or four matrices.
    assert theirs[1]["gmacs"] / theirs[1]["gigabytes"] == pytest.approx(8 / 5)


def test_ratios_are_of_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    times = np.array([[1.0, 2.0, 4.0], [1.0, 2.0, 4.0], [8.0, 16.0, 16.0]])
    monkeypatch.setattr(bench_fp4, "in_turn", lambda *_: (times, np.full(3, np.nan)))

    class Nothing:
        weight_bytes = 1

        def run(self) -> None: ...
        def close(self) -> None: ...

    case = bench_fp4.Case("a case", 1, 64, 32, 1, True)
    none = bench_fp4.Limits(None, None)
    *_, theirs = bench_fp4.measure(case, 1, none, 0.01, {"them": lambda size: Nothing()})
    assert theirs.ratios == {"mxfp4": 4.0, "nvfp4": 2.0}
    assert theirs.gmacs == pytest.approx(1e-9 * 64 * 32 / 4)


def test_a_peer_that_is_missing_is_left_out_and_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ggml, "find_spec", lambda name: None)
    case = bench_fp4.Case("a case", 1, 64, 32, 1, True)
    kept = {"llama.cpp mxfp4": peers_fp4.fp4_peers()["llama.cpp mxfp4"]}
    figures = bench_fp4.measure(case, 1, bench_fp4.Limits(None, None), 0.01, kept)
    assert not kept and [figure.name for figure in figures] == ["mxfp4", "nvfp4"]
    bench_fp4.print_ratios(figures, [case])
    out, err = capsys.readouterr()
    assert not out
    assert "llama.cpp mxfp4 is left out: no ggml: pip install llama-cpp-python" in err


@pytest.mark.parametrize("kind", ["q4_0", "q4_K", "mxfp4", "nvfp4"])
def test_ggml_computes_the_product(kind: str) -> None:
    try:
        folder = ggml.installed_folder()
    except ImportError as error:
        pytest.skip(str(error))  # no part of the dev extra
    library = ggml.Ggml(folder)
    if not library.has(kind):
        pytest.skip(f"ggml {library.version} has no {kind}")
    # Held against NumPy when it is made.
    made = ggml.Product(library, kind, batch=3, k=512, n=512, layers=2, threads=2)
    bits = {"q4_0": 4.5, "q4_K": 4.5, "mxfp4": 4.25, "nvfp4": 4.5}[kind]
    assert made.weight_bytes == 2 * 512 * 512 * bits / 8
    made.run()
    made.close()


def test_openvino_computes_the_product() -> None:
    pytest.importorskip("openvino")  # no part of the dev extra
    for kind, bits in (("MXFP4", 4.25), ("INT4", 4.5)):
        made = peers_fp4.OpenVinoProduct(kind, peers_fp4.Size(1, 128, 128, 2, 1))
        assert made.weight_bytes == 2 * 128 * 128 * bits / 8
        found = made._request.get_output_tensor(0).data.copy()
        assert 0.1 < np.abs(found).mean() < 10
        made.close()


def test_litert_computes_the_product() -> None:
    require_module("ai_edge_litert")
    made = peers_fp4.LiteRtProduct(peers_fp4.Size(3, 128, 128, 2, 1))
    assert made.weight_bytes == 2 * 128 * 128 * 4.5 / 8
    (y,) = made._interpreter.get_output_details()
    assert 0.1 < np.abs(made._interpreter.get_tensor(y["index"])).mean() < 10
    made.close()


def test_time_of_other_threads_counts_at_once() -> None:
    data, ended = bytes(1 << 26), threading.Event()

    def work() -> None:
        while not ended.is_set():
            hashlib.sha256(data).digest()  # without Python's lock

    other = threading.Thread(target=work)
    other.start()
    shares: list[float] = []
    try:
        clocks = bench_fp4._clocks_of_threads()
        clock = time.pthread_getcpuclockid(other.ident or 0)
        assert clock in clocks
        give_up = time.perf_counter() + 1
        while len(shares) < 9 and time.perf_counter() < give_up:
            theirs, mine, began = time.clock_gettime(clock), time.thread_time(), time.perf_counter()
            start = bench_fp4.processor_seconds(clocks)
            while time.perf_counter() < began + 0.001:
                pass
            spent, took = bench_fp4.processor_seconds(clocks) - start, time.perf_counter() - began
            mine, theirs = time.thread_time() - mine, time.clock_gettime(clock) - theirs
            if mine > 0.9 * took and theirs > 0.5 * took:  # both, each on a core
                shares.append((spent - mine) / theirs)
    finally:
        ended.set()
        other.join()
    if len(shares) < 9:
        pytest.skip("the other thread got no core of its own")
    assert float(np.median(shares)) > 0.8


def test_k_must_be_whole_blocks(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench_fp4.main(["--k", "100"])
    assert "must be a multiple of 64" in capsys.readouterr().err
