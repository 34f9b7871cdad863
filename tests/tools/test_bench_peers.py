"""tools/bench_peers.py on a small model, and what it measures loading with."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeinfer
from edgeinfer.convert import convert
from tests.builders import tflite_elementwise_ops
from tests.builders.spec import Quant, Spec
from tests.requirements import require_c_compiler, require_module
from tools import bench_peers, load_cost, peers
from tools.plot_peers import plot_results


@pytest.fixture
def rectified(tmp_path: Path) -> Path:
    spec = Spec((1, 16, 3), np.int8, Quant(0.05, 3))
    path = tmp_path / "rectified.tflite"
    path.write_bytes(tflite_elementwise_ops.unary("RELU", spec, spec))
    return path


def bench(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *options: object
) -> tuple[str, str]:
    monkeypatch.setattr(sys, "argv", ["bench_peers", *map(str, options)])
    monkeypatch.setattr(bench_peers, "_SINGLE_RUN_SECONDS", 0.01)
    affinity = os.sched_getaffinity(0)
    try:
        bench_peers.main()
    finally:
        os.sched_setaffinity(0, affinity)  # this process has other tests to run
    return capsys.readouterr()


def test_a_model_is_timed_against_litert_and_results_are_compared(
    rectified: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    require_module("ai_edge_litert")
    results = tmp_path / "results.json"
    out, _ = bench(monkeypatch, capsys, rectified, "--seconds", "0.05", "--json", results)
    assert "rectified against LiteRT: 0 of 192 values differ" in out
    (model,) = json.loads(results.read_text())["models"]
    assert model["p50_us"] > 0 and model["p99_us"] > 0
    assert model["mmac"] == 0 and not model["share_of_peak"]
    assert model["peers_us"]["LiteRT"] > 0 and model["ratios"]["LiteRT"] > 0
    ours = model["loads"]["edgeinfer"]
    assert 0 < ours["load_ms"] < model["loads"]["LiteRT"]["load_ms"]
    conversion = convert(rectified)
    with edgeinfer.load(conversion.data) as loaded:
        expected = len(conversion.data) + loaded.plan.session_bytes + (1 << 20)
    assert ours["bound_bytes"] == expected >= ours["rss_bytes"] > 0


def test_a_peer_that_is_missing_or_refuses_is_left_out_and_named(
    rectified: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Missing:
        def __init__(self, model: Path, *, threads: int) -> None:
            raise ImportError("no such module")

    class Refusing:
        def __init__(self, model: Path, *, threads: int) -> None:
            raise RuntimeError("an operator is unknown")

    found = {"Absent": (Missing, ""), "Picky": (Refusing, ""), "Other": (Refusing, ".onnx")}
    monkeypatch.setattr(bench_peers, "PEERS", found)
    out, err = bench(monkeypatch, capsys, rectified, "--seconds", "0.01", "--no-load")
    assert "Absent is not installed" in err
    assert "Picky cannot run it: an operator is unknown" in err
    assert "Other" not in err, "there is no .onnx file beside the model"
    assert "rectified" in out and "loading" not in out


def test_the_peak_is_measured_on_this_core(tmp_path: Path) -> None:
    require_c_compiler()
    if platform.machine() != "x86_64":
        pytest.skip("the loop is one for x86")
    peaks = bench_peers.build_peak(tmp_path)
    assert peaks is not None
    assert 1 < peaks.of_floats() < 5000 and 1 < peaks.of_integers() < 5000


def test_a_wrong_model_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.tflite"
    path.write_bytes(b"nothing")
    with pytest.raises(SystemExit, match=r"broken\.tflite"):
        bench(monkeypatch, capsys, path)


@pytest.mark.parametrize(
    ("kind", "module"), [(peers.LiteRT, "ai_edge_litert"), (peers.OpenVino, "openvino")]
)
def test_a_peer_invokes_what_it_ran(kind: Any, module: str, rectified: Path) -> None:
    pytest.importorskip(module)  # OpenVINO is no part of the dev extra
    peer = kind(rectified, threads=1)
    x = np.arange(-24, 24, dtype=np.int8).reshape(1, 16, 3)
    (first,) = peer.run([x])
    np.testing.assert_array_equal(first, np.maximum(x, 3))
    peer.invoke()


def test_onnxruntime_invokes_on_the_inputs_of_the_last_run(repo_root: Path) -> None:
    require_module("onnxruntime")
    peer = peers.OnnxRuntime(repo_root / "examples" / "digits" / "digits_int8.onnx")
    model = edgeinfer.load(repo_root / "examples" / "digits" / "digits_int8.onnx")
    (x,) = (np.random.default_rng(0).random(i.shape).astype(i.dtype) for i in model.inputs)
    (expected,) = peer.run([x])
    peer.invoke()
    bound = peer._binding.copy_outputs_to_cpu()
    np.testing.assert_array_equal(bound[0], expected)


def test_load_cost_prints_what_one_process_measured(rectified: Path, tmp_path: Path) -> None:
    edge = tmp_path / "rectified.edge"
    convert(rectified).save(edge)
    command = [sys.executable, load_cost.__file__, "edgeinfer", str(edge)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert 0 < found["load_ms"] < 50
    assert 0 <= found["own_bytes"] <= found["rss_bytes"] <= found["peak_bytes"] < 8 << 20


def drawn(content: dict[str, Any], target: Path) -> str:
    plot_results(content, target)
    return target.read_text()


def test_the_plot_has_a_bar_for_every_runtime_that_ran(tmp_path: Path) -> None:
    require_module("matplotlib")
    models: list[dict[str, Any]] = [
        {
            "model": "a_int8",
            "p50_us": 10.0,
            "peers_us": {"LiteRT": 25.0},
            "ratios": {"LiteRT": 0.4},
        },
        {"model": "b", "p50_us": 2e4, "peers_us": {"ncnn": 1e4}, "ratios": {"ncnn": 2.0}},
    ]
    text = drawn({"models": models}, tmp_path / "plot.svg")
    ElementTree.fromstring(text)
    for word in ("edgeinfer", "LiteRT", "ncnn", "10 µs", "25 µs", "20 ms", "10 ms"):
        assert f"<!-- {word} -->" in text
    assert "OpenVINO" not in text
    plot_results({"models": models}, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_ncnn_gets_the_network_that_onnxruntime_runs(tmp_path: Path) -> None:
    pytest.importorskip("ncnn")  # no part of the dev extra
    require_module("onnxruntime")
    onnx = require_module("onnx")
    from tools.ncnn_model import write_ncnn_int8

    rng = np.random.default_rng(3)
    helper, tensor = onnx.helper, onnx.TensorProto.FLOAT

    def weight(name: str, *shape: int) -> Any:
        fan_in = max(1, int(np.prod(shape[1:])))
        value = rng.normal(0, (2 / fan_in) ** 0.5, shape).astype(np.float32)
        return onnx.numpy_helper.from_array(value, name)

    shapes = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (8, 1, 3, 3), "b2": (8,), "w3": (8, 8, 1, 1),
              "b3": (8,), "w4": (5, 8), "b4": (5,)}  # fmt: skip
    limits = [onnx.numpy_helper.from_array(np.float32(v), n) for n, v in (("lo", 0), ("hi", 6))]
    conv = {"strides": [1, 1], "pads": [1, 1, 1, 1], "kernel_shape": [3, 3], "group": 1}
    pointwise = {"strides": [1, 1], "pads": [0, 0, 0, 0], "kernel_shape": [1, 1], "group": 1}
    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["c1"], **conv),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], **{**conv, "group": 8}),
        helper.make_node("Clip", ["c2", "lo", "hi"], ["r2"]),
        helper.make_node("Conv", ["r2", "w3", "b3"], ["c3"], **pointwise),
        helper.make_node("Add", ["c3", "r1"], ["s"]),
        helper.make_node("MaxPool", ["s"], ["m"], kernel_shape=[3, 3], strides=[2, 2],
                         pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["m"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "w4", "b4"], ["y"], transB=1),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", tensor, (1, 3, 10, 10))],
        [helper.make_tensor_value_info("y", tensor, (1, 5))],
        [*(weight(name, *shape) for name, shape in shapes.items()), *limits],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    images = [rng.standard_normal((1, 3, 10, 10)).astype(np.float32) for _ in range(6)]
    write_ncnn_int8(model, images, tmp_path / "net.param")
    ours = peers.Ncnn(tmp_path / "net.param")
    theirs = peers.OnnxRuntime(model.SerializeToString())
    for image in images:
        (quantised,), (exact,) = ours.run([image]), theirs.run([image])
        assert np.abs(quantised - exact).max() < 0.05 * np.abs(exact).max()
