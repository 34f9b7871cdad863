"""Ranges by every method against NumPy oracles, and the integers that stand for a range."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgeinfer.convert import convert
from edgeinfer.convert.graph import Tensor
from edgeinfer.convert.lower.quantized import dequantized, quantized
from edgeinfer.convert.quantize.observe import BINS, Extremes, Histogram
from edgeinfer.convert.quantize.range_entropy import divergence, entropy_range
from edgeinfer.convert.quantize.range_minmax import minmax_range
from edgeinfer.convert.quantize.range_mse import mse_range, squared_errors
from edgeinfer.convert.quantize.range_percentile import percentile_range
from edgeinfer.convert.quantize.ranges import Range, int8_quantization, int16_quantization
from tests.convert.float_networks import small_network

REALS = st.floats(-1e6, 1e6, width=32)
VALUES = arrays.arrays(np.float32, st.integers(2, 400), elements=REALS)


def histogram_of(values: np.ndarray, bins: int = BINS) -> Histogram:
    found = Histogram(float(values.min()), float(values.max()), np.zeros(bins, np.int64))
    found.add(values)
    return found


@given(VALUES)
def test_a_histogram_counts_every_value_in_its_bin(values: np.ndarray) -> None:
    found = histogram_of(values)
    assert found.counts.sum() == values.size
    if found.low == found.high:
        return
    # float32 may put a value that lies on an edge on either side of it
    width = (found.high - found.low) / BINS
    slack = 0.5 * width + 1e-6 * max(abs(found.low), abs(found.high))
    edges = found.edges
    for at in np.flatnonzero(found.counts):
        inside = (values >= edges[at] - slack) & (values <= edges[at + 1] + slack)
        assert inside.sum() >= 1


@given(VALUES)
def test_minmax_is_everything_and_zero(values: np.ndarray) -> None:
    found = minmax_range(Extremes.of(values))
    assert (found.low, found.high) == (min(values.min(), 0), max(values.max(), 0))


@given(arrays.arrays(np.float32, (5, 3, 4), elements=REALS))
def test_extremes_are_by_channel_of_the_last_axis(values: np.ndarray) -> None:
    found = Extremes.of(values[0])
    for part in values[1:]:
        found.include(part)
    np.testing.assert_array_equal(found.low, values.min(axis=(0, 1)))
    np.testing.assert_array_equal(found.high, values.max(axis=(0, 1)))
    assert found.span == (values.min(), values.max())


@settings(deadline=None)
@given(
    st.integers(0, 1000),
    st.sampled_from([99.0, 99.9, 90.0, 75.0, 100.0]),
    st.sampled_from(["normal", "exponential", "uniform"]),
)
def test_percentiles_are_numpys_to_a_bin(seed: int, percentile: float, law: str) -> None:
    rng = np.random.default_rng(seed)
    values = getattr(rng, law)(size=20000).astype(np.float32)
    histogram = histogram_of(values)
    found = percentile_range(histogram, percentile)
    width = (histogram.high - histogram.low) / BINS
    spacing = 3 * float(np.diff(np.sort(values)).max()) if percentile > 99.8 else width
    expected = np.percentile(values, [100 - percentile, percentile])
    assert found.low == pytest.approx(min(expected[0], 0), abs=2 * width + spacing)
    assert found.high == pytest.approx(max(expected[1], 0), abs=2 * width + spacing)


def error_of(values: np.ndarray, span: Range) -> float:
    """What storing in int8 costs, by the converter's own arithmetic."""
    tensor = Tensor("t", values.shape, "int8", int8_quantization(span))
    return float(((dequantized(tensor, quantized(values, tensor, "onnx")) - values) ** 2).sum())


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 1000), st.floats(0, 30), st.booleans())
def test_mse_beats_every_range_of_a_coarse_grid(seed: int, outlier: float, relu: bool) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(4000).astype(np.float32)
    if relu:
        values = np.maximum(values, 0)
    values[0] += np.float32(outlier)
    found = error_of(values, mse_range(histogram_of(values)))
    whole = minmax_range(Extremes.of(values))
    for low in np.linspace(0.1, 1, 7):
        for high in np.linspace(0.1, 1, 7):
            other = Range.of(whole.low * low, whole.high * high)
            assert found <= error_of(values, other) * 1.05  # bins round what the search sees


@given(VALUES, st.floats(-100, 0), st.floats(0.01, 100))
def test_squared_errors_are_those_of_int8(values: np.ndarray, low: float, high: float) -> None:
    values = np.clip(values, -200, 200)
    span = Range.of(low, high)
    (found,) = squared_errors(
        values.astype(np.float64), np.ones(values.size), np.array([low]), np.array([high])
    )
    assert found == pytest.approx(error_of(values, span), rel=0.02, abs=1e-3 * span.width)


def naive_divergence(counts: np.ndarray, first: int, last: int) -> float:
    """The definition, bin by bin."""
    inside = [float(c) for c in counts[first:last]]
    p = list(inside)
    p[0] += float(counts[:first].sum())
    p[-1] += float(counts[last:].sum())
    levels: dict[int, list[int]] = {}
    for i in range(len(inside)):
        levels.setdefault(min(i * 256 // len(inside), 255), []).append(i)
    q = [0.0] * len(inside)
    for members in levels.values():
        occupied = [i for i in members if p[i] > 0]
        for i in occupied:
            q[i] = sum(inside[j] for j in members) / len(occupied) or 1e-4
    total_p, total_q = sum(p), sum(q)
    return sum(
        a / total_p * np.log((a / total_p) / (b / total_q)) for a, b in zip(p, q, strict=True) if a
    )


@given(
    arrays.arrays(np.int64, 600, elements=st.integers(0, 50)),
    st.integers(0, 150),
    st.integers(450, 600),
)
def test_divergence_is_its_definition(counts: np.ndarray, first: int, last: int) -> None:
    counts[first + 10] = 5
    found = divergence(counts.astype(np.float64), first, last)
    assert found == pytest.approx(naive_divergence(counts, first, last), rel=1e-9, abs=1e-12)


def test_entropy_cuts_outliers_and_keeps_what_is_dense() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal(100_000).astype(np.float32)
    values[:3] = [30, 35, 40]
    found = entropy_range(histogram_of(values))
    assert -20 < found.low < -1.5 and 2.0 < found.high < 20
    dense = rng.uniform(-1, 1, 100_000).astype(np.float32)
    found = entropy_range(histogram_of(dense))
    assert found.low < -0.95 and found.high > 0.95


@pytest.mark.parametrize("method", [mse_range, percentile_range, entropy_range])
@pytest.mark.parametrize("value", [0.0, 3.0, -2.0])
def test_a_constant_tensor_has_a_range(method: object, value: float) -> None:
    assert callable(method)
    found = method(histogram_of(np.full(10, value, np.float32)))
    assert found.low <= value <= found.high or np.isclose(found.low + found.high, value)


@given(st.floats(-1e30, 0), st.floats(0, 1e30), st.floats(0, 1))
def test_zero_is_exact_and_every_number_inside_near(low: float, high: float, at: float) -> None:
    span = Range(low, high)
    tensor = Tensor("t", (2,), "int8", int8_quantization(span))
    q = tensor.quantization
    assert q is not None
    scale = float(q.scale[0])
    values = np.array([0.0, low + (high - low) * at], np.float32)
    back = dequantized(tensor, quantized(values, tensor, "onnx"))
    assert back[0] == 0.0
    # half a step of rounding, half of the zero point's, and float32's own
    assert abs(float(back[1]) - float(values[1])) <= scale * 1.001 + 1e-6 * abs(float(values[1]))


@given(st.floats(-1e30, 0), st.floats(0, 1e30))
def test_int16_is_symmetric_and_holds_both_ends(low: float, high: float) -> None:
    q = int16_quantization(Range(low, high))
    assert q.zero_point[0] == 0
    assert float(q.scale[0]) * 32767 >= max(-low, high) * (1 - 1e-6)


@pytest.mark.parametrize(("low", "high"), [(1.0, 2.0), (-1.0, -0.5), (-np.inf, 0), (0, np.nan)])
def test_what_is_no_range(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="no range that holds zero"):
        Range(low, high)


@pytest.mark.parametrize("method", ["mse", "percentile", "entropy", "auto"])
def test_pixels_are_stored_exactly(method: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3)) / np.float32(255)
    pixels[0, 0, 0, 0], pixels[0, 0, 0, 1] = 0, 1
    converted = convert(small_network(), calibration=pixels, method=method, held_out=0.0)
    (node,) = [n for n in converted.graph.nodes if n.op == "quantize"]
    quantization = node.output.quantization
    assert quantization is not None
    assert (
        float(quantization.scale[0]) == pytest.approx(1 / 255) and quantization.zero_point == -128
    )
