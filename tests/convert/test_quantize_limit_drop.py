"""max_drop: exactly the layers that cost accuracy are kept at higher precision, or an error."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.convert import Conversion, convert
from edgeinfer.convert.graph import Graph
from edgeinfer.convert.quantize.limit_drop import least_that_holds
from edgeinfer.convert.quantize.metrics import score_of
from edgeinfer.convert.quantize.report_html import page
from edgeinfer.convert.quantize.report_text import terminal_text
from edgeinfer.convert.read import read_model
from edgeinfer.errors import AccuracyError, InputError
from tests.convert.graphs import GraphBuilder
from tests.convert.test_quantize_graph import numbers, outputs

SAMPLES = numbers(0, 80, 1, 12)
LAYERS = 5
WIDTH = 16


def chain(sensitive: int | None = None, loud: int | None = None) -> Graph:
    """Products with relu in between, the last one of 6 classes.

    Channel 0 of what each layer reads is always 0. The sensitive layer has weights of 400 for it:
    they change nothing, but leave no steps for the others. The loud layer makes one channel of 1000
    times the range, which the next one does not read.
    """
    b = GraphBuilder()
    x = b.input((1, 12), None)
    for layer in range(LAYERS):
        last = layer == LAYERS - 1
        w = numbers(10 + layer, 6 if last else WIDTH, x.shape[-1]) * np.float32(0.4)
        bias = numbers(110 + layer, len(w)) * np.float32(0.1)
        if layer:
            w[:, 0] = 0
        if layer == sensitive:
            w[:, 0] = 400
        if layer == loud:
            w[1] *= 1000
        if loud is not None and layer == loud + 1:
            w[:, 1] = 0
        if not last:
            w[0], bias[0] = 0, -1
        x = b.node(
            "fully_connected",
            [x, b.constant(w), b.constant(bias)],
            (1, len(w)),
            None,
            activation=None if last else "relu",
        )
    return b.build(x)


def names(graph: Graph) -> list[str]:
    return [node.output.name for node in graph.nodes]


def raised(converted: Conversion) -> dict[str, str]:
    """Layers that max_drop raised, and to what."""
    assert converted.accuracy is not None and converted.accuracy.drop is not None
    return {layer["name"]: layer["precision"] for layer in converted.accuracy.drop["raised"]}


def converted_with(graph: Graph, max_drop: float, **options: Any) -> Conversion:
    return convert(graph, calibration=SAMPLES, equalize=False, max_drop=max_drop, **options)


@pytest.mark.parametrize("layer", range(1, LAYERS))
def test_exactly_the_sensitive_layer_is_kept_in_float32(layer: int) -> None:
    name = names(chain())[layer]
    plain = convert(chain(layer), calibration=SAMPLES, equalize=False).accuracy
    assert plain is not None and plain.outputs[0].sqnr < 15
    converted = converted_with(chain(layer), 0.01, metric="sqnr")
    assert raised(converted) == {name: "float32"}
    report = converted.accuracy
    assert report is not None and report.drop is not None
    assert report.drop["int8_drop"] > 0.01 >= report.drop["reached"]
    assert report.outputs[0].sqnr > 20
    assert [x.name for x in report.layers if x.precision == "float32"] == [name]
    assert "INT8 here alone" in report.layers[layer].reason
    assert converted.quantized is not None
    assert list(converted.quantized.result.float_layers) == [name]


def test_a_model_that_holds_is_left_alone() -> None:
    plain = convert(chain(), calibration=SAMPLES, equalize=False)
    converted = converted_with(chain(), 0.02, metric="sqnr")
    assert raised(converted) == {}
    assert converted.graph.nodes[0].op == plain.graph.nodes[0].op
    assert outputs(converted.data, SAMPLES).tobytes() == outputs(plain.data, SAMPLES).tobytes()


@pytest.mark.parametrize("layer", [0, 2])
def test_coarse_activations_are_stored_as_int16(layer: int) -> None:
    """What the layer makes has one channel of 1000 times the range, which nothing depends on."""
    both = names(chain())[layer : layer + 2]
    converted = converted_with(chain(loud=layer), 0.01, metric="sqnr")
    assert raised(converted) == dict.fromkeys(both, "int16")
    report = converted.accuracy
    assert report is not None and report.drop is not None
    assert report.drop["int8_drop"] > 0.1
    assert report.precisions == {"int16": 2, "int8": LAYERS - 2}
    assert all("INT8 here alone" in x.reason for x in report.layers if x.precision == "int16")
    explained = [
        reason for reason in converted.metadata["reasons"] if "on int16: max drop" in reason
    ]
    assert len(explained) == 2


def test_strict_raises_to_int16_only() -> None:
    both = names(chain())[2:4]
    converted = converted_with(chain(loud=2), 0.01, metric="sqnr", strict=True, io="int8")
    assert raised(converted) == dict.fromkeys(both, "int16")
    with pytest.raises(AccuracyError):
        converted_with(chain(sensitive=2), 0.01, metric="sqnr", strict=True, io="int8")


def test_too_much_to_ask_is_an_error_that_names_the_layers() -> None:
    with pytest.raises(AccuracyError) as caught:
        converted_with(chain(2), 0.0, metric="sqnr", max_raised=0.4)
    error = caught.value
    assert error.layers[0] == names(chain())[2]
    assert 0 < error.reached < 0.01 and error.limit == 0.0
    text = str(error)
    assert "sqnr drops by" in text and "2 of 5 layers at higher precision" in text
    assert f"{names(chain())[2]}: " in text and "max_raised; 2 were allowed" in text
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.limit, again.reached, again.layers) == (
        text, error.limit, error.reached, error.layers,
    )  # fmt: skip


def test_no_layer_may_be_raised() -> None:
    with pytest.raises(AccuracyError, match="and no layer may be raised"):
        converted_with(chain(2), 0.01, metric="sqnr", max_raised=0.0)


def test_all_layers_raised_are_the_float_model() -> None:
    converted = converted_with(chain(2), 0.0, metric="sqnr", max_raised=1.0)
    assert converted.accuracy is not None
    assert converted.accuracy.outputs[0].sqnr == math.inf
    assert set(raised(converted).values()) == {"float32"}


def test_what_was_asked_for_stays_beside_what_is_raised() -> None:
    first, *_, last = names(chain())
    converted = converted_with(
        chain(2), 0.01, metric="sqnr", keep_float={first: "mine"}, int16=[last]
    )
    assert raised(converted) == {names(chain())[2]: "float32"}
    report = converted.accuracy
    assert report is not None
    assert (report.layers[0].precision, report.layers[0].reason) == ("float32", "mine")
    assert report.layers[-1].precision == "int16"


def test_corrected_biases_belong_to_rounded_weights_only() -> None:
    """A layer that goes back to float32 has the float model's bias, not one made for INT8."""
    converted = converted_with(chain(2), 0.01, metric="sqnr")
    assert converted.quantized is not None and converted.quantized.bias_corrected
    (node,) = [node for node in converted.graph.nodes if node.float_reason]
    source = chain(2).nodes[2]
    np.testing.assert_array_equal(node.input(2).data, source.input(2).data)
    np.testing.assert_array_equal(node.input(1).data, source.input(1).data)


def test_the_same_gives_the_same_bytes() -> None:
    first, second = (converted_with(chain(1), 0.01, metric="sqnr") for _ in range(2))
    assert first.data == second.data


def test_the_report_and_the_file_tell() -> None:
    converted = converted_with(chain(2), 0.01, metric="sqnr")
    report = converted.accuracy
    assert report is not None
    assert "max drop 1.000% of sqnr: reached" in terminal_text(report)
    assert "1 layer at higher precision" in terminal_text(report)
    assert "Kept at higher precision" in page(report)
    stored = read_model(converted.data).metadata["quantization"]["report"]["max_drop"]
    assert stored["raised"][0]["name"] == names(chain())[2]
    assert stored["limit"] == 0.01 and stored["reached"] <= 0.01


@given(st.integers(0, 60), st.integers(1, 70))
def test_the_least_count_is_found_in_few_tries(most: int, needed: int) -> None:
    tried = []

    def holds(count: int) -> bool:
        assert 1 <= count <= most and count not in tried
        tried.append(count)
        return count >= needed

    assert least_that_holds(most, holds) == (needed if needed <= most else None)
    assert len(tried) <= 2 * math.log2(max(most, 1)) + 2


# --- metrics

OUTPUTS = {"y": np.array([[[0.1, 0.9]], [[0.8, 0.2]], [[0.3, 0.7]], [[0.4, 0.6]]])}


def score(metric: Any, outputs: Any, **columns: Any) -> float:
    samples = [{key: values[i] for key, values in columns.items()} for i in range(4)]
    return score_of(metric, small(), OUTPUTS, samples).of(outputs)


def small() -> Graph:
    b = GraphBuilder()
    return b.build(b.node("softmax", [b.input((1, 2), None)], (1, 2), None, axis=1))


def test_built_in_metrics() -> None:
    x = np.zeros((4, 1, 2))
    other = {"y": OUTPUTS["y"][:, :, ::-1].copy()}
    mixed = {"y": np.concatenate([OUTPUTS["y"][:3], other["y"][3:]])}
    assert score("top1", OUTPUTS, x=x) == 1.0
    assert score("top1", other, x=x) == 0.0
    assert score("top1", mixed, x=x) == 0.75
    assert score("accuracy", mixed, x=x, labels=np.array([1, 0, 1, 0])) == 1.0
    assert score("accuracy", mixed, x=x, labels=np.array([[1], [0], [0], [0]])) == 0.75
    assert score("accuracy", mixed, x=x, labels=np.eye(2)[[1, 0, 1, 1]]) == 0.75
    halved = {"y": OUTPUTS["y"] / 2}
    assert score("cosine", halved, x=x) == pytest.approx(1.0)
    assert score("sqnr", halved, x=x) == pytest.approx(0.75)


def test_a_function_gets_outputs_and_samples() -> None:
    def metric(outputs: Any, samples: Any) -> float:
        assert samples["labels"].shape == (4,) and samples["x"].shape == (4, 1, 2)
        return float(outputs["y"].sum())

    x, labels = np.zeros((4, 1, 2)), np.arange(4)
    assert score(metric, OUTPUTS, x=x, labels=labels) == pytest.approx(4.0)


def test_a_function_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def first(outputs, samples):\n    return outputs['y'][0, 0, 0]\n")
    assert score(f"{path}:first", OUTPUTS, x=np.zeros(4)) == pytest.approx(0.1)
    with pytest.raises(InputError, match="has no function 'second'"):
        score(f"{path}:second", OUTPUTS, x=np.zeros(4))
    with pytest.raises(InputError, match="cannot import"):
        score(f"{tmp_path}/none.py:first", OUTPUTS, x=np.zeros(4))


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("top5", "there is no metric 'top5'; built in are top1, cosine, sqnr, accuracy"),
        ("accuracy", "needs an array 'labels'"),
        (lambda outputs, samples: math.nan, "is nan on the held-out samples"),
        (lambda outputs, samples: 1 / 0, "failed: ZeroDivisionError"),
    ],
)
def test_metrics_that_are_none_are_refused(metric: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        score(metric, OUTPUTS, x=np.zeros(4))


def test_a_metric_file_that_ends_the_process_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("raise SystemExit(0)")
    with pytest.raises(InputError, match=r"cannot import .*mine\.py: SystemExit: 0"):
        score(f"{path}:right", OUTPUTS, x=np.zeros(4))


def test_labels_of_another_number_are_refused() -> None:
    with pytest.raises(InputError, match="8 labels for 4 rows"):
        score("accuracy", OUTPUTS, labels=np.zeros((4, 2, 1), int))


def test_classes_are_judged_by_top1_and_others_by_sqnr() -> None:
    samples = [{"x": np.zeros(2)}] * 4
    b = GraphBuilder()
    wide = b.build(b.node("relu", [b.input((4, 2), None)], (4, 2), None))
    assert score_of(None, small(), OUTPUTS, samples).name == "sqnr"  # as long as the input
    assert score_of(None, chain(), OUTPUTS, samples).name == "top1"
    assert score_of(None, wide, OUTPUTS, samples).name == "sqnr"
    assert score_of("top1", wide, OUTPUTS, samples).resolution == 0.25


def test_labels_reach_the_metric_of_a_conversion() -> None:
    labels = outputs(chain(), SAMPLES).argmax(-1)
    data = {"input_1": SAMPLES, "labels": labels}
    converted = convert(chain(2), calibration=data, equalize=False, max_drop=0.1, metric="accuracy")
    report = converted.accuracy
    assert report is not None and report.drop is not None
    assert report.drop["metric"] == "accuracy"
    assert raised(converted) == {names(chain())[2]: "float32"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_drop": -0.1}, "max_drop is -0.1"),
        ({"max_drop": math.nan}, "max_drop is nan"),
        ({"metric": "top1"}, "a metric is for max_drop"),
        ({"max_drop": 0.1, "max_raised": 2}, "max_raised is 2"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        convert(chain(), calibration=SAMPLES, **options)


def test_max_drop_needs_samples() -> None:
    with pytest.raises(InputError, match="max_drop: quantising needs calibration data"):
        convert(chain(), max_drop=0.01)
