"""Structured pruning: which channels go, what makes up for them, and what stays as it was."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import edgeinfer
from edgeinfer.convert import convert
from edgeinfer.convert.graph import Graph, Tensor, check_graph
from edgeinfer.convert.quantize.channel_groups import channel_groups, spread
from edgeinfer.convert.quantize.float_model import FloatModel
from edgeinfer.convert.quantize.prepare_graph import prepare
from edgeinfer.convert.quantize.prune_channels import Pruned, prune_channels
from edgeinfer.convert.quantize.report_html import page
from edgeinfer.convert.quantize.report_text import terminal_text
from edgeinfer.convert.read import read_model
from edgeinfer.errors import AccuracyError, ConversionError, InputError
from tests.convert.float_networks import numbers, small_network
from tests.convert.graphs import GraphBuilder, Q

POINT: dict[str, Any] = {"strides": (1, 1), "dilations": (1, 1), "pads": (0, 0, 0, 0)}
WINDOW: dict[str, Any] = {**POINT, "pads": (1, 1, 1, 1)}
INPUTS = numbers(0, 64, 1, 6, 6, 3)


def conv(b: GraphBuilder, x: Tensor, w: np.ndarray, activation: str | None = None) -> Tensor:
    """A convolution that keeps height and width, with a bias."""
    window: dict[str, Any] = WINDOW if w.shape[1] == 3 else POINT
    inputs = [x, b.constant(w), b.constant(numbers(w.shape[0], w.shape[0]) * np.float32(0.3))]
    shape = (*x.shape[:3], w.shape[0])
    return b.node("conv2d", inputs, shape, None, activation=activation, groups=1, **window)


def network(w: np.ndarray, taps: int = 1, activation: str | None = None) -> Graph:
    """Channels of `w` pass a relu, a depthwise layer and a pool on their way to a convolution."""
    b = GraphBuilder()
    x = conv(b, b.input((1, 6, 6, 3), None), w, activation=activation)
    channels = w.shape[0]
    depthwise = [x, b.constant(np.full((1, 1, channels), 0.5, np.float32))]
    x = b.node("depthwise_conv2d", depthwise, x.shape, None, **POINT)
    pool: dict[str, Any] = {
        "kernel": (2, 2),
        "strides": (1, 1),
        "pads": (0,) * 4,
        "count_include_pad": False,
    }
    x = b.node("avg_pool2d", [x], (1, 5, 5, channels), None, **pool)
    x = conv(b, x, numbers(9, 5, taps, taps, channels))
    return prepared(b.build(b.node("mean", [x], (1, 5), None, axes=(1, 2), keep_dims=False)))


def prepared(graph: Graph) -> Graph:
    prepare(graph)
    return graph


def samples(graph: Graph, inputs: np.ndarray = INPUTS) -> list[dict[str, np.ndarray]]:
    return [{graph.inputs[0].name: x} for x in inputs]


def pruned(graph: Graph, share: float, **options: Any) -> Pruned:
    found = prune_channels(graph, samples(graph), share, **options)
    check_graph(found.graph)
    assert [t.shape for t in found.graph.inputs] == [t.shape for t in graph.inputs]
    assert [t.shape for t in found.graph.outputs] == [t.shape for t in graph.outputs]
    return found


def results(graph: Graph, seed: int = 7) -> np.ndarray:
    """On inputs that pruning did not see."""
    model = FloatModel(graph).runner()
    fed = samples(graph, numbers(seed, 16, *INPUTS.shape[1:]))
    return np.stack([next(iter(model.run(sample).values())) for sample in fed])


def error(graph: Graph, found: Pruned) -> float:
    """Relative to the spread of the outputs."""
    expected = results(graph)
    return float(np.abs(results(found.graph) - expected).max() / expected.std())


@settings(deadline=None, max_examples=4)
@given(st.sets(st.integers(0, 11), min_size=1, max_size=9), st.sampled_from([1, 3]))
def test_dead_channels_go_and_nothing_changes(dead: set[int], taps: int) -> None:
    w = numbers(1, 12, 3, 3, 3)
    w[sorted(dead)] = 0
    graph = network(w, taps, "relu")
    bias = graph.nodes[0].input(2).data
    assert bias is not None
    bias[sorted(dead)] = -1  # below relu
    found = pruned(graph, len(dead) / 12)
    (kept,) = {tuple(k) for name, k in found.kept.items()}
    assert set(range(12)) - set(kept) == dead
    assert error(graph, found) < 1e-5
    expected = results(graph)
    plain = results(pruned(graph, len(dead) / 12, reconstruct=False).graph)
    np.testing.assert_allclose(plain, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("taps", [1, 3])
def test_channels_that_are_sums_of_others_are_made_up_for(taps: int) -> None:
    """Twelve channels that span six dimensions, and only reconstruction recovers the output."""
    base = numbers(2, 6, 3, 3, 3)
    b_first = numbers(12, 12) * np.float32(0.3)
    mix = numbers(3, 6, 6)
    w = np.concatenate([base, np.einsum("ij,jhwc->ihwc", mix, base)]).astype(np.float32)
    graph = network(w, taps)
    bias = graph.nodes[0].input(2).data
    assert bias is not None
    bias[6:] = mix @ b_first[:6]
    bias[:6] = b_first[:6]
    found = pruned(graph, 0.5)
    assert list(found.layers.values()) == [(12, 6)]
    assert error(graph, found) < 1e-3
    assert error(graph, pruned(graph, 0.5, reconstruct=False)) > 0.1


def test_of_twins_one_stays() -> None:
    """Each alone can be missed; both cannot."""
    w = numbers(4, 12, 3, 3, 3)
    w[7] = w[2]
    graph = network(w, 3, "relu")
    bias = graph.nodes[0].input(2).data
    assert bias is not None
    bias[7] = bias[2]
    found = pruned(graph, 1 / 12)
    (kept,) = {tuple(k) for k in found.kept.values()}
    assert len({2, 7} & set(kept)) == 1 and len(kept) == 11
    assert error(graph, found) < 1e-4


def test_reconstruction_is_nearer() -> None:
    graph = network(numbers(5, 24, 3, 3, 3), 3, "relu")
    assert 2 * error(graph, pruned(graph, 0.5)) < error(
        graph, pruned(graph, 0.5, reconstruct=False)
    )


def test_cuts_reach_a_multiple_of_sixteen() -> None:
    graph = network(numbers(6, 64, 3, 3, 3), 1, "relu")
    assert list(pruned(graph, 0.3).layers.values()) == [(64, 48)]  # 45 was asked for
    w = numbers(6, 64, 3, 3, 3)
    w[32:] = w[:32]
    twins = network(w, 1, "relu")
    bias = twins.nodes[0].input(2).data
    assert bias is not None
    bias[32:] = bias[:32]
    found = pruned(twins, 0.3)
    assert list(found.layers.values()) == [(64, 32)] and error(twins, found) < 1e-3
    small = network(numbers(6, 16, 3, 3, 3), 1, "relu")
    assert list(pruned(small, 0.3).layers.values()) == [(16, 11)]


def test_residual_streams_stay_and_what_lies_inside_goes() -> None:
    b = GraphBuilder()
    x = conv(b, b.input((1, 6, 6, 3), None), numbers(1, 8, 3, 3, 3), activation="relu")
    inner = conv(b, x, numbers(2, 8, 3, 3, 8) * np.float32(0.2), activation="relu")
    outer = conv(b, inner, numbers(3, 8, 3, 3, 8) * np.float32(0.2))
    y = b.node("add", [x, outer], x.shape, None, activation="relu")
    flat = b.node("reshape", [conv(b, y, numbers(4, 8, 1, 1, 8))], (1, 288), None)
    w = b.constant(numbers(5, 4, 288))
    graph = prepared(b.build(b.node("fully_connected", [flat, w], (1, 4), None)))
    found = pruned(graph, 0.25)
    assert found.layers == {inner.name: (8, 6), graph.nodes[4].output.name: (8, 6)}
    assert found.left.keys() == {x.name, outer.name, graph.outputs[0].name}
    assert "meet others in add" in found.left[outer.name]
    assert "output of the model" in found.left[graph.outputs[0].name]
    kept = found.kept[graph.nodes[4].output.name]
    np.testing.assert_array_equal(found.kept[flat.name], spread(kept, 8, 288))
    assert found.graph.nodes[-1].input(1).shape == (4, 216)


def test_several_readers_lose_the_same_channels() -> None:
    b = GraphBuilder()
    w = numbers(1, 8, 3, 3, 3)
    w[3] = 0
    x = conv(b, b.input((1, 6, 6, 3), None), w)
    left, right = conv(b, x, numbers(2, 4, 1, 1, 8)), conv(b, x, numbers(3, 4, 3, 3, 8))
    graph = prepared(b.build(b.node("concat", [left, right], (1, 6, 6, 8), None, axis=3)))
    (group,), reasons = channel_groups(graph)
    assert len(group.readers) == 2 and len(reasons) == 2
    assert 3 not in pruned(graph, 1 / 8).kept[x.name]


def test_grouped_convolutions_are_left_alone() -> None:
    b = GraphBuilder()
    x = conv(b, b.input((1, 6, 6, 3), None), numbers(1, 8, 1, 1, 3))
    inputs = [x, b.constant(numbers(2, 8, 1, 1, 4))]
    y = b.node("conv2d", inputs, (1, 6, 6, 8), None, groups=2, **POINT)
    graph = prepared(b.build(conv(b, y, numbers(3, 2, 1, 1, 8))))
    with pytest.raises(InputError, match=r"no layer whose output channels.*\n.*meet others"):
        prune_channels(graph, samples(graph), 0.5)


def test_a_model_without_layers_is_refused() -> None:
    b = GraphBuilder()
    graph = prepared(b.build(b.node("relu", [b.input((1, 6, 6, 3), None)], (1, 6, 6, 3), None)))
    with pytest.raises(InputError, match="no convolutions"):
        prune_channels(graph, samples(graph), 0.5)


def chain() -> Graph:
    return network(numbers(5, 24, 3, 3, 3), 3, "relu")


@pytest.mark.parametrize("share", [0, 1, -0.5, 30, math.nan])
def test_shares_that_are_none_are_refused(share: float) -> None:
    with pytest.raises(InputError, match="above 0 and below 1"):
        convert(chain(), calibration=INPUTS, prune=share)


def test_a_share_of_no_channel_is_refused() -> None:
    with pytest.raises(InputError, match="give a larger share"):
        convert(chain(), calibration=INPUTS, prune=0.01)


def test_pruning_needs_samples_and_a_float_model() -> None:
    with pytest.raises(InputError, match="prune"):
        convert(chain(), prune=0.3)
    b = GraphBuilder()
    quantized = b.build(b.node("relu", [b.input((1, 8), Q)], (1, 8), Q))
    with pytest.raises(ConversionError, match="quantised already"):
        convert(quantized, calibration=INPUTS, prune=0.3)


def test_the_same_gives_the_same_bytes() -> None:
    first, second = (convert(chain(), calibration=INPUTS, prune=0.3).data for _ in range(2))
    assert first == second


def test_the_report_is_against_the_model_as_it_was() -> None:
    """Outputs, and layers on the channels that are left."""
    whole = chain()
    conversion = convert(chain(), calibration=INPUTS, held_out=0.25, prune=0.3, equalize=False)
    report, quantized = conversion.accuracy, conversion.quantized
    assert report is not None and quantized is not None and quantized.pruned is not None
    held = quantized.data.held_out
    model = FloatModel(whole).runner()
    expected = np.stack([next(iter(model.run(s).values())) for s in held])
    with edgeinfer.load(conversion.data) as loaded:
        found = np.stack([np.asarray(loaded.run(next(iter(s.values())))) for s in held])
    noise = ((found - expected) ** 2).sum() / (expected.astype(np.float64) ** 2).sum()
    assert report.outputs[0].sqnr == pytest.approx(-10 * np.log10(noise), abs=0.05)
    first = report.layers[0]
    assert first.shape[-1] == 16 and first.sqnr is not None and first.sqnr > 25
    assert "8 of 24 channels, of 1 layers" in terminal_text(report)
    assert "8 of 24 channels" in page(report)
    stored = read_model(conversion.data).metadata["quantization"]["pruned"]
    assert stored["share"] == 0.3 and stored["layers"][0]["after"] == 16


def test_equalised_and_pruned_layers_are_measured_on_like_scales() -> None:
    conversion = convert(scaled_badly(), calibration=INPUTS, prune=1 / 3, method="minmax")
    assert conversion.quantized is not None and conversion.quantized.scales
    assert conversion.accuracy is not None
    assert min(layer.sqnr or math.inf for layer in conversion.accuracy.layers[:2]) > 25


def scaled_badly() -> Graph:
    """Channels a hundred apart, and four that are dead."""
    w = numbers(5, 12, 3, 3, 3)
    w *= np.logspace(-1, 1, 12, dtype=np.float32).reshape(-1, 1, 1, 1)
    w[8:] = 0
    return network(w, 3, "relu")


def test_max_drop_sees_what_pruning_lost() -> None:
    """Float layers do not bring channels back."""
    options: dict[str, Any] = {"max_raised": 1.0, "metric": "cosine", "equalize": False}
    assert convert(chain(), calibration=INPUTS, max_drop=1.0, prune=0.8, **options).quantized
    with pytest.raises(AccuracyError, match="or prune less"):
        convert(chain(), calibration=INPUTS, max_drop=1e-4, prune=0.8, **options)


def test_options_of_layers_still_find_them() -> None:
    graph = chain()
    name = graph.nodes[0].output.name
    conversion = convert(graph, calibration=INPUTS, prune=0.3, keep_float=[name])
    assert conversion.quantized is not None
    assert conversion.quantized.result.float_layers[name] == "asked for"


def test_small_network_of_residuals_only_is_refused() -> None:
    with pytest.raises(InputError, match="meet others in add"):
        convert(small_network(), calibration=numbers(0, 64, 1, 8, 8, 3), prune=0.3)


def test_the_command_line_prunes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from edgeinfer.cli import main

    model = Path(__file__).resolve().parents[2] / "examples" / "digits" / "digits_float.onnx"
    with np.load(model.with_name("heldout.npz")) as data:
        np.save(tmp_path / "digits.npy", data["images"][:80, None])
    target = tmp_path / "digits.edge"
    arguments = ["convert", str(model), "-o", str(target), "--scale", "0.0625", "--prune", "25%"]
    assert main([*arguments, "--calibrate", str(tmp_path / "digits.npy")]) == 0
    assert "  pruned   " in capsys.readouterr().out
    assert main(arguments) == 2 and "--calibrate" in capsys.readouterr().err
