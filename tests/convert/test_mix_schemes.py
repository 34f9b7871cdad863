"""Weights of four bits beside int8, layer by layer: under a budget of bytes, under a drop."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.convert import Conversion, convert
from edgeinfer.convert.graph import Graph
from edgeinfer.convert.program import constant_bytes
from edgeinfer.convert.quantize.choose_schemes import Candidate, in_int8
from edgeinfer.convert.quantize.report_html import page
from edgeinfer.convert.quantize.report_text import terminal_text
from edgeinfer.convert.read import read_model
from edgeinfer.errors import AccuracyError, BudgetError, InputError
from tests.convert.float_networks import numbers
from tests.convert.graphs import GraphBuilder

SAMPLES = numbers(0, 48, 1, 32)
LAYERS, WIDTH = 4, 64


@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.integers(1, 90), st.integers(1, 90)), min_size=1, max_size=7
    ),
    st.integers(0, 1000),
)
def test_the_choice_fits_and_is_within_one_layer_of_the_best(rows: Any, room: int) -> None:
    candidates = [
        Candidate((str(i),), loss, small, small + saved)
        for i, (loss, small, saved) in enumerate(rows)
    ]
    chosen = in_int8(candidates, room)
    four = [c for c in candidates if c not in chosen]
    total = sum(c.large for c in chosen) + sum(c.small for c in four)
    if sum(c.small for c in candidates) > room:
        assert not chosen
        return
    assert total <= room
    assert all(total + c.saved > room for c in four)  # no layer is left in four bits for nothing
    best = min(
        sum(c.loss for c, small in zip(candidates, picked, strict=True) if small)
        for picked in itertools.product((False, True), repeat=len(candidates))
        if sum(c.small if small else c.large for c, small in zip(candidates, picked, strict=True))
        <= room
    )
    worst = max(c.loss for c in candidates)
    assert best <= sum(c.loss for c in four) + 1e-12 <= best + worst + 2e-12


def chain(coarse: int = 2) -> Graph:
    """Products with relu in between. Weights of the coarse layer have one large value in each
    block, for a channel that is always 0: int8 bears it, four bits have no steps left."""
    b = GraphBuilder()
    x = b.input((1, 32), None)
    for layer in range(LAYERS):
        w = numbers(10 + layer, WIDTH, x.shape[-1]) * np.float32(0.15)
        bias = numbers(110 + layer, WIDTH) * np.float32(0.1)
        if layer:
            w[:, ::16] = 4 if layer == coarse else 0
        if layer < LAYERS - 1:
            w[::16], bias[::16] = 0, -1
        x = b.node(
            "fully_connected",
            [x, b.constant(w), b.constant(bias)],
            (1, WIDTH),
            None,
            activation="relu" if layer < LAYERS - 1 else None,
        )
    return b.build(x)


NAMES = [node.output.name for node in chain().nodes]


def converted(**options: Any) -> Conversion:
    options = {"weights": "mxfp4", "equalize": False, "method": "minmax", **options}
    return convert(chain(), calibration=SAMPLES, **options)


def schemes(conversion: Conversion) -> list[str]:
    """How the weights of each layer lie in the file."""
    (program,) = read_model(conversion.data).programs
    layers = [node for node in program.nodes if node.operator == "fully_connected"]
    return [(node.inputs[1].scheme or "int8") if node.inputs[1] else "" for node in layers]


def stored(conversion: Conversion) -> int:
    (program,) = read_model(conversion.data).programs
    assert program.weights_bytes == constant_bytes(conversion.programs)
    return program.weights_bytes


@pytest.fixture(scope="module")
def in_four_bits() -> Conversion:
    return converted()


def test_a_budget_buys_int8_where_four_bits_cost_most(in_four_bits: Conversion) -> None:
    least = stored(in_four_bits)
    gained = WIDTH * WIDTH - WIDTH // 16 * (2 * 4 * 64 + 64)  # of one layer
    mixed = converted(weights_budget=least + gained + 100)
    assert schemes(in_four_bits) == ["mxfp4"] * LAYERS
    assert schemes(mixed) == ["mxfp4", "mxfp4", "int8", "mxfp4"]
    assert stored(mixed) == least + gained
    assert mixed.accuracy is not None and in_four_bits.accuracy is not None
    assert mixed.accuracy.outputs[0].sqnr > in_four_bits.accuracy.outputs[0].sqnr + 3
    described = mixed.metadata["quantization"]
    assert list(described["int8_weights"]) == [NAMES[2]]
    assert described["weights_budget"] == least + gained + 100
    assert described["report"]["weights"]["int8"] == {"layers": 1, "bytes": WIDTH * WIDTH}
    row = mixed.accuracy.layers[2]
    assert (row.weights, row.weights_bytes) == ("int8", WIDTH * WIDTH)
    assert row.reason.startswith("weights budget: MXFP4 here alone adds noise of ")
    assert "1 layer int8 (4,096 bytes), 3 layers mxfp4" in terminal_text(mixed.accuracy)
    assert row.reason in page(mixed.accuracy)


def test_a_budget_that_nothing_fits_names_the_least(in_four_bits: Conversion) -> None:
    least = stored(in_four_bits)
    assert schemes(converted(weights_budget=least)) == ["mxfp4"] * LAYERS
    with pytest.raises(BudgetError, match=f"at least {least:,} bytes.*budget is {least - 1:,}"):
        converted(weights_budget=least - 1)
    with pytest.raises(BudgetError, match=r"with int8 weights.*weights='mxfp4' takes half"):
        converted(weights_budget=least, weights="int8")


def test_without_a_scheme_a_budget_is_for_nvfp4() -> None:
    conversion = converted(weights=None, weights_budget="13KiB")
    assert set(schemes(conversion)) == {"int8", "nvfp4"}
    assert stored(conversion) <= 13 * 1024
    assert schemes(converted(weights=None, weights_budget="1MiB")) == ["int8"] * LAYERS


def test_a_drop_takes_int8_for_the_layers_that_need_it() -> None:
    limited = converted(max_drop=0.03, metric="sqnr")
    assert schemes(limited) == ["mxfp4", "mxfp4", "int8", "mxfp4"]
    assert limited.accuracy is not None
    drop = limited.accuracy.drop
    assert drop is not None and drop["int8_drop"] > 0.03 >= drop["reached"]
    assert [(x["name"], x["precision"]) for x in drop["raised"]] == [(NAMES[2], "int8")]
    assert limited.accuracy.outputs[0].sqnr == pytest.approx(-10 * np.log10(drop["reached"]))


def test_what_int8_everywhere_does_not_hold_is_raised_further() -> None:
    limited = converted(max_drop=1e-5, metric="sqnr", max_raised=1.0)
    assert limited.accuracy is not None and limited.accuracy.drop is not None
    raised = {x["name"]: x["precision"] for x in limited.accuracy.drop["raised"]}
    assert set(raised) == set(NAMES) and set(raised.values()) & {"float32", "int16"}
    assert "mxfp4" not in schemes(limited)


def test_a_budget_is_kept_where_a_drop_would_need_more(in_four_bits: Conversion) -> None:
    least = stored(in_four_bits)
    with pytest.raises(AccuracyError, match=r"drops by .* at mxfp4.*weights_budget"):
        converted(weights_budget=least + 100, max_drop=0.001, metric="sqnr", max_raised=1.0)
    roomy = converted(weights_budget="64KiB", max_drop=1e-5, metric="sqnr", max_raised=1.0)
    assert least < stored(roomy) <= 64 * 1024
    assert roomy.accuracy is not None and roomy.accuracy.drop is not None
    assert roomy.accuracy.drop["reached"] <= 1e-5


def test_layers_are_kept_int8_by_name() -> None:
    conversion = converted(int8=[NAMES[0]])
    assert schemes(conversion) == ["int8", "mxfp4", "mxfp4", "mxfp4"]
    assert conversion.accuracy is not None
    assert conversion.accuracy.layers[0].reason == "asked for"
    with pytest.raises(InputError, match="no layer that makes a tensor 'nothing'"):
        converted(int8=["nothing"])


@pytest.mark.parametrize("amount", ["much", -1, "4 parsecs"])
def test_a_budget_is_an_amount_of_memory(amount: Any) -> None:
    with pytest.raises(InputError, match="amount"):
        converted(weights_budget=amount)
