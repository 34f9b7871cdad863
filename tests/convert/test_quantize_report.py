"""Reports of quantisation: every number against NumPy, and pages that hold together."""

from __future__ import annotations

import json
import math
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import edgeinfer
from edgeinfer.convert import convert
from edgeinfer.convert.graph import Graph, Quantization
from edgeinfer.convert.quantize.measure import (
    Agreement,
    Saturation,
    TopOne,
    looks_like_classes,
    real_values,
)
from edgeinfer.convert.quantize.report import QuantizationReport
from edgeinfer.convert.quantize.report_html import page
from edgeinfer.convert.quantize.report_text import terminal_text
from edgeinfer.convert.read import read_model
from edgeinfer.errors import InputError
from tests.convert.float_networks import SAMPLES, outputs, small_network


class Balanced(HTMLParser):
    """Fails on tags that do not close in the order in which they were opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.data: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)
        for _, value in attrs:
            assert value is None or not value.startswith(("http", "//")), "not self-contained"
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.data.append(data)


def parsed(text: str) -> Balanced:
    found = Balanced()
    found.feed(text)
    found.close()
    assert found.open == []
    return found


def report_of(graph: Graph, **options: Any) -> QuantizationReport:
    report = convert(graph, calibration=SAMPLES, **options).accuracy
    assert report is not None
    return report


# --- measures

floats = arrays.arrays(
    np.float32, st.integers(1, 40), elements=st.floats(-1e3, 1e3, width=32, allow_subnormal=False)
)


@given(floats, st.integers(0, 99))
def test_agreement_is_what_numpy_says_however_samples_are_split(x: np.ndarray, seed: int) -> None:
    y = x + np.random.default_rng(seed).standard_normal(x.size).astype(np.float32)
    found = Agreement()
    cut = seed % (x.size + 1)
    found.include(x[:cut], y[:cut])
    found.include(x[cut:], y[cut:])
    a, b = x.astype(np.float64), y.astype(np.float64)
    noise = ((a - b) ** 2).sum()
    assert found.count == x.size
    assert found.noise == pytest.approx(noise, rel=1e-9)
    assert found.largest_error == np.abs(a - b).max()
    assert (found.low, found.high) == (a.min(), a.max())
    if (a**2).sum() > 0:
        assert found.sqnr == pytest.approx(10 * np.log10((a**2).sum() / noise), abs=1e-6)
        cosine = (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())
        assert found.cosine == pytest.approx(cosine, abs=1e-9)


def test_agreement_at_its_ends() -> None:
    zeros, ones = np.zeros(3), np.ones(3)
    equal, lost, only_noise, broken = (Agreement() for _ in range(4))
    equal.include(ones, ones)
    assert (equal.sqnr, equal.cosine, equal.noise_share) == (math.inf, 1.0, 0.0)
    lost.include(ones, zeros)
    assert (lost.sqnr, lost.cosine, lost.noise_share) == (0.0, 0.0, 1.0)
    only_noise.include(zeros, ones)
    assert (only_noise.sqnr, only_noise.cosine) == (-math.inf, 0.0)
    broken.include(ones, np.array([1.0, np.nan, 1.0]))
    assert broken.sqnr == -math.inf and math.isnan(broken.cosine)
    assert broken.largest_error == math.inf


def test_equal_values_that_are_not_finite_are_no_error() -> None:
    x = np.array([np.nan, np.inf, -np.inf, 2.0])
    found = Agreement()
    found.include(x, x.copy())
    assert (found.sqnr, found.count, found.signal) == (math.inf, 4, 4.0)
    found.include(x, -x)
    assert found.sqnr == -math.inf


def test_saturation_counts_what_lies_beyond_the_integers() -> None:
    found = Saturation(Quantization.per_tensor(0.5, 10), "int8")
    assert found.bounds == (-69.0, 58.5)
    found.include(np.array([-69.6, -69.4, -70, 0, 58.5, 59.0, 59.1, 1000], np.float32))
    assert (found.beyond, found.count, found.share) == (4, 8, 0.5)


def test_top_one_looks_along_the_last_axis() -> None:
    found = TopOne()
    found.include(np.array([[1, 2, 3], [3, 2, 1]]), np.array([[0, 0, 1], [0, 1, 0]]))
    assert found.share == 0.5


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((1, 10), True), ((10,), True), ((1, 1, 1, 4), True), ((1, 1), False), ((2, 10), False),
     ((), False), ((1, 192), False)],
)  # fmt: skip
def test_outputs_that_look_like_classes(shape: tuple[int, ...], expected: bool) -> None:
    assert looks_like_classes(shape, [(1, 8, 8, 3)]) is expected


@given(st.integers(-128, 127), st.floats(1e-3, 10))
def test_real_values_are_those_of_the_format(zero_point: int, scale: float) -> None:
    stored = np.array([-128, 0, 127], np.int8)
    found = real_values(stored, Quantization.per_tensor(scale, zero_point))
    expected = (stored.astype(int) - zero_point) * float(np.float32(scale))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


# --- reports


def test_output_and_layer_numbers_are_those_of_the_models() -> None:
    converted = convert(small_network(), calibration=SAMPLES, equalize=False, seed=5)
    report, quantized = converted.accuracy, converted.quantized
    assert report is not None and quantized is not None
    held_out = np.stack([sample["input_1"] for sample in quantized.data.held_out])
    assert len(held_out) == report.held_out_samples == 13
    seen = np.stack([sample["input_1"] for sample in quantized.data.samples])
    assert not any((held == other).all() for held in held_out for other in seen)
    expected, found = outputs(small_network(), held_out), outputs(converted.data, held_out)
    noise = ((expected.astype(np.float64) - found) ** 2).sum()
    (output,) = report.outputs
    assert output.sqnr == pytest.approx(
        10 * np.log10((expected.astype(np.float64) ** 2).sum() / noise), abs=1e-6
    )
    assert output.largest_error == np.abs(expected.astype(np.float64) - found).max()
    assert output.top_one == (expected.argmax(-1) == found.argmax(-1)).mean()
    # The file's dequantize rounds to float32 once more.
    assert report.layers[-1].sqnr == pytest.approx(output.sqnr, abs=1e-4)


def test_every_layer_is_reported_in_order_with_its_precision_and_reason() -> None:
    names = [node.output.name for node in small_network().nodes]
    report = report_of(small_network(), keep_float={names[0]: "tried"}, int16=[names[3]])
    assert [layer.name for layer in report.layers] == names
    assert [layer.precision for layer in report.layers] == [
        "float32", "int8", "int8", "int16", "int8",
    ]  # fmt: skip
    assert report.precisions == {"float32": 1, "int16": 1, "int8": 3}
    assert report.layers[0].reason == "tried" and report.layers[3].reason == "asked for"
    assert report.layers[0].range is None and report.layers[0].saturated is None
    assert report.layers[1].range is not None and (report.layers[1].weights_sqnr or 0) > 35


def test_a_layer_that_clips_shows_it() -> None:
    report = report_of(small_network(), method="percentile", percentile=90.0, correct_bias=False)
    clipped = [layer for layer in report.layers if (layer.saturated or 0) > 0.01]
    assert clipped
    assert "of the values saturate in" in terminal_text(report)
    for layer in clipped:
        assert layer.seen is not None and layer.range is not None
        assert layer.seen[0] < layer.range[0] or layer.range[1] < layer.seen[1]
    calm = report_of(small_network(), method="minmax")
    assert max(layer.saturated or 0 for layer in calm.layers) < 0.01


def test_the_worst_layers_come_first() -> None:
    report = report_of(small_network())
    listed = [layer.sqnr or 0.0 for layer in report.worst()]
    assert listed == sorted(listed) and len(listed) == 5
    text = terminal_text(report, rows=2)
    assert report.worst(1)[0].name in text and report.worst()[-2].name not in text


def test_one_sample_is_said_to_be_seen_in_calibration() -> None:
    converted = convert(small_network(), calibration=SAMPLES[0], allow_thin_calibration=True)
    assert converted.accuracy is not None and converted.accuracy.seen_in_calibration
    assert "too few samples to hold any out" in terminal_text(converted.accuracy)
    assert not report_of(small_network()).seen_in_calibration


def test_the_file_holds_a_summary() -> None:
    converted = convert(small_network(), calibration=SAMPLES)
    stored = read_model(converted.data).metadata["quantization"]["report"]
    assert converted.accuracy is not None
    assert stored == json.loads(json.dumps(converted.accuracy.summary()))
    assert stored["layers"] == {"int8": 5}
    assert stored["outputs"][0]["sqnr_db"] == round(converted.accuracy.outputs[0].sqnr, 2)


def test_kernels_are_counted_with_their_reasons() -> None:
    report = report_of(small_network())
    assert sum(kernel.count for kernel in report.kernels) == 7
    found = {(kernel.operator, kernel.dtype) for kernel in report.kernels}
    assert ("conv2d", "int8") in found and ("quantize", "float32") in found
    assert all(kernel.reason for kernel in report.kernels)


def test_a_model_that_is_not_quantised_has_no_report() -> None:
    assert convert(small_network()).accuracy is None


def test_all_layers_in_float32_are_exact(tmp_path: Path) -> None:
    names = [node.output.name for node in small_network().nodes]
    report = report_of(small_network(), keep_float=names, equalize=False)
    assert {layer.sqnr for layer in report.layers} == {math.inf}
    assert report.summary()["outputs"][0]["sqnr_db"] is None
    assert "SQNR exact, cosine 1.00000" in terminal_text(report)
    stored = json.loads(report.save(tmp_path / "report.json").read_text())
    assert stored["outputs"][0]["sqnr"] == "Infinity"
    parsed(page(report))


def test_saved_reports_are_whole(tmp_path: Path) -> None:
    report = report_of(small_network())
    stored = json.loads(report.save(tmp_path / "report.json").read_text())
    assert [layer["name"] for layer in stored["layers"]] == [x.name for x in report.layers]
    found = parsed(report.save(tmp_path / "report.html").read_text())
    assert found.seen.count("svg") == 3
    assert found.seen.count("circle") == len(report.layers)
    assert "script" not in found.seen and "link" not in found.seen and "img" not in found.seen
    with pytest.raises(InputError, match=r"\.json or \.html, not 'report.pdf'"):
        report.save(tmp_path / "report.pdf")


def test_names_from_a_model_cannot_write_html() -> None:
    graph = small_network()
    graph.name = "<script>alert(1)</script>"
    graph.nodes[1].outputs[0].name = "</title><b onload='x'>\x1b[2J"
    graph.nodes[1].source = "<i>"
    text = page(report_of(graph))
    found = parsed(text)
    assert "script" not in found.seen and "i" not in found.seen
    assert "\x1b" not in text
    assert any("<script>alert(1)</script>" in data for data in found.data)


def test_labels_are_kept_beside_the_samples(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    labels = np.arange(len(SAMPLES))
    np.savez(path, images=SAMPLES, labels=labels)
    converted = convert(small_network(), calibration=str(path))
    assert converted.quantized is not None
    for sample in [*converted.quantized.data.samples, *converted.quantized.data.held_out]:
        np.testing.assert_array_equal(sample["input_1"], SAMPLES[sample["labels"]])
    np.savez(path, images=SAMPLES, labels=labels[1:])
    with pytest.raises(InputError, match="different numbers of samples"):
        convert(small_network(), calibration=str(path))


def test_the_file_runs_as_the_report_says() -> None:
    converted = convert(small_network(), calibration=SAMPLES, io="int8")
    assert converted.accuracy is not None and converted.quantized is not None
    held_out = [sample["input_1"] for sample in converted.quantized.data.held_out]
    with edgeinfer.load(converted.data) as model:
        found = np.stack([model.run(x, quantize=True, dequantize=True)[0] for x in held_out])
    error = np.abs(outputs(small_network(), np.stack(held_out)) - found).max()
    assert converted.accuracy.outputs[0].largest_error == pytest.approx(error, rel=1e-5)
