"""Adaptive rounding: what it minimises, and what that gains."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import edgeinfer
from edgeinfer.convert import convert
from edgeinfer.convert.graph import Graph, Node, Tensor
from edgeinfer.convert.quantize.descend import compiled_descend
from edgeinfer.convert.quantize.layer_patches import (
    grouped,
    grouped_shape,
    patches,
    positions,
    ungrouped,
)
from tests.convert.graphs import GraphBuilder
from tests.requirements import require_module

require_module("numba")


def numbers(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def sqnr(expected: np.ndarray, found: np.ndarray) -> float:
    noise = float(((expected.astype(np.float64) - found) ** 2).sum())
    return 10 * float(np.log10(float((expected.astype(np.float64) ** 2).sum()) / noise))


def outputs(data: bytes, samples: np.ndarray) -> np.ndarray:
    with edgeinfer.load(data) as model:
        return np.stack([model.run(x) for x in samples])


# --- the descent


def descended(seed: int, outs: int, k: int, rows: int) -> dict[str, Any]:
    """A layer with correlated inputs, its weights rounded to nearest, then again."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, max(1, k // 3))) @ rng.standard_normal((max(1, k // 3), k))
    x += 0.1 * rng.standard_normal((rows, k))
    w = rng.standard_normal((1, outs, k))
    s = np.abs(w).max(axis=2) / 7
    h = (x.T @ x / rows).astype(np.float32)[None]
    nearest = np.rint(w / s[:, :, None]).astype(np.int8)
    q = nearest.copy()
    low, high = (f(w / s[:, :, None]).astype(np.int8) for f in (np.floor, np.ceil))
    r = (w - nearest * s[:, :, None]) @ h.astype(np.float64)
    changes = compiled_descend()(q, low, high, h, r, s, 50)
    return {"w": w, "s": s, "h": h.astype(np.float64), "nearest": nearest, "q": q, "low": low,
            "high": high, "changes": changes}  # fmt: skip


def error_of(found: dict[str, Any], q: np.ndarray) -> np.ndarray:
    """The error of every output channel."""
    lost = found["w"] - q * found["s"][:, :, None]
    return np.einsum("gok,gkl,gol->go", lost, found["h"], lost)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 24), st.integers(1, 60))
def test_no_change_of_one_weight_would_lower_the_error(
    seed: int, outs: int, k: int, rows: int
) -> None:
    found = descended(seed, outs, k, rows)
    q, reached = found["q"], error_of(found, found["q"])
    assert np.all(found["low"] <= q) and np.all(q <= found["high"])
    assert np.all(reached <= error_of(found, found["nearest"]) * (1 + 1e-5) + 1e-9)
    assert (found["changes"] > 0) == bool(np.any(q != found["nearest"]))
    for i in range(k):
        for bound in ("low", "high"):
            other = q.copy()
            other[..., i] = found[bound][..., i]
            assert np.all(error_of(found, other) >= reached * (1 - 1e-4) - 1e-6)


def test_correlated_inputs_lose_most_of_the_error() -> None:
    found = descended(0, 16, 60, 400)
    assert error_of(found, found["q"]).sum() < 0.4 * error_of(found, found["nearest"]).sum()


# --- patches


LAYERS = [
    ("conv2d", (4, 3, 2, 6), 1, (2, 1), (1, 2), (1, 0, 1, 2)),
    ("conv2d", (6, 3, 3, 2), 3, (1, 1), (1, 1), (1, 1, 1, 1)),
    ("conv2d", (5, 1, 1, 6), 1, (2, 2), (1, 1), (0, 0, 0, 0)),
    ("depthwise_conv2d", (3, 2, 6), 1, (1, 2), (2, 1), (2, 1, 2, 0)),
    ("depthwise_conv2d", (3, 3, 12), 1, (2, 2), (1, 1), (0, 1, 1, 1)),
]


def layer(
    op: str, weights: tuple[int, ...], groups: int, strides: Any, dilations: Any, pads: Any
) -> tuple[Graph, Node]:
    b = GraphBuilder()
    x = b.input((2, 9, 8, 6), None)
    kernel = weights[:2] if op == "depthwise_conv2d" else weights[1:3]
    outs = weights[2] if op == "depthwise_conv2d" else weights[0]
    rows, columns = (
        (size + pads[i] + pads[i + 2] - (kernel[i] - 1) * dilations[i] - 1) // strides[i] + 1
        for i, size in enumerate((9, 8))
    )
    attrs = {"strides": strides, "dilations": dilations, "pads": pads}
    if op == "conv2d":
        attrs["groups"] = groups
    inputs: list[Tensor | None] = [x, b.constant(numbers(3, *weights))]
    graph = b.build(b.node(op, inputs, (2, rows, columns, outs), None, **attrs))
    return graph, graph.nodes[0]


@pytest.mark.parametrize("case", LAYERS)
def test_patches_times_grouped_weights_are_what_the_layer_computes(case: Any) -> None:
    graph, node = layer(*case)
    x = numbers(1, 2, 9, 8, 6)
    w = node.input(1).data
    assert w is not None
    chosen = np.arange(positions(node))
    rows, by_group = patches(node, x, chosen), grouped(node, w)
    assert by_group.shape == grouped_shape(node)
    np.testing.assert_array_equal(ungrouped(node, by_group), w)
    y = (rows.astype(np.float64) @ by_group.transpose(0, 2, 1)).transpose(1, 0, 2)
    expected = outputs(convert(graph).data, x[None])[0]
    np.testing.assert_allclose(y.reshape(expected.shape), expected, rtol=1e-4, atol=1e-4)
    some = np.array([3, 0, 5])
    np.testing.assert_array_equal(patches(node, x, some), rows[:, some])


# --- models


def network() -> Graph:
    """Coarse weights, since each channel has one far larger than the others: [1, 8, 8, 24]."""
    b = GraphBuilder()
    window: dict[str, Any] = {"strides": (1, 1), "dilations": (1, 1), "pads": (1, 1, 1, 1)}
    x = tensor = b.input((1, 8, 8, 24), None)
    for i in range(2):
        w = numbers(i, 24, 3, 3, 24) * 0.05
        w[:, 1, 1, i] = 3.0
        tensor = b.node(
            "conv2d", [tensor, b.constant(w), b.constant(numbers(9 + i, 24))], x.shape, None,
            activation="relu", groups=1, **window,
        )  # fmt: skip
    return b.build(tensor)


def correlated(seed: int, count: int) -> np.ndarray:
    """Images whose channels are mixtures of a few; the first of them hardly matters."""
    images = numbers(seed, count, 1, 8, 8, 4) @ numbers(99, 4, 24)
    images += 0.05 * numbers(seed + 1, count, 1, 8, 8, 24)
    images[..., 0] *= 0.05
    return images


def test_samples_that_nothing_has_seen_lose_less() -> None:
    held_out = correlated(50, 64)
    expected = outputs(convert(network()).data, held_out)
    found = {
        rounding: sqnr(
            expected,
            outputs(
                convert(network(), calibration=correlated(0, 80), rounding=rounding).data, held_out
            ),
        )
        for rounding in ("nearest", "adaptive")
    }
    assert found["adaptive"] > found["nearest"] + 1


def test_the_same_gives_the_same_bytes() -> None:
    first, second = (
        convert(network(), calibration=correlated(0, 40), rounding="adaptive", seed=3).data
        for _ in range(2)
    )
    assert first == second


def test_layers_with_too_little_data_keep_the_nearest_integers() -> None:
    """One row per sample, 400 weights per channel: rounding would learn the samples by heart."""
    b = GraphBuilder()
    x = b.input((1, 400), None)
    graph = b.build(b.node("fully_connected", [x, b.constant(numbers(1, 8, 400))], (1, 8), None))
    converted = convert(graph, calibration=numbers(0, 60, 1, 400), rounding="adaptive")
    assert converted.quantized is not None
    (weights,) = converted.quantized.result.weights.values()
    exact = numbers(1, 8, 400) / weights.scales[:, None]
    np.testing.assert_array_equal(weights.values, np.rint(exact))


def test_without_numba_the_error_names_the_extra() -> None:
    program = (
        "import sys; sys.modules['numba'] = None\n"
        "from edgeinfer.convert.quantize.descend import compiled_descend\n"
        "from edgeinfer.errors import MissingExtraError\n"
        "try:\n"
        "    compiled_descend()\n"
        "except MissingExtraError as error:\n"
        "    print(error.extra, error.module)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["jit", "numba"]


def test_an_unknown_rounding_is_refused() -> None:
    with pytest.raises(edgeinfer.InputError, match="rounding is 'up'"):
        convert(network(), calibration=correlated(0, 40), rounding="up")


@pytest.mark.slow
def test_keyword_spotting_gains(models_dir: Path, data_dir: Path) -> None:
    with edgeinfer.load(models_dir / "kws_int8.tflite") as model:
        (info,) = model.inputs
    stored = np.load(data_dir / "kws01_1000.npz")["inputs"].astype(np.float32)
    samples = ((stored - info.zero_point) * np.float32(info.scale)).reshape(-1, *info.shape)
    source = models_dir / "kws_fp32.tflite"
    expected = outputs(convert(source).data, samples[200:600])
    nearest, adaptive = (
        sqnr(
            expected,
            outputs(
                convert(source, calibration=samples[:200], rounding=rounding).data,
                samples[200:600],
            ),
        )
        for rounding in ("nearest", "adaptive")
    )
    assert adaptive > nearest + 0.5
