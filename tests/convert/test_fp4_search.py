"""Quantisers of FP4 weights beyond plain rounding: what they promise, and how much they gain."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgeinfer.convert.quantize.block_weights import BLOCK, BlockWeights, Scheme
from edgeinfer.convert.quantize.feed_back_errors import feed_back_errors
from edgeinfer.convert.quantize.mxfp4 import quantize_mxfp4
from edgeinfer.convert.quantize.nvfp4 import quantize_nvfp4
from edgeinfer.convert.quantize.search_block_scales import round_e2m1, search_block_scales
from edgeinfer.convert.quantize.small_floats import decode_e2m1, encode_e2m1

Matrix = np.ndarray[Any, np.dtype[Any]]
PLAIN = {"mxfp4": quantize_mxfp4, "nvfp4": quantize_nvfp4}
schemes = pytest.mark.parametrize("scheme", ["mxfp4", "nvfp4"])

MATRICES = arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(1, 70)),
    elements=st.one_of(
        st.floats(-(2.0**60), 2.0**60, width=32),
        st.sampled_from([0.0, -0.0, 6.0, 5.0, 7.99, 2.5, 1e-30]),
    ),
)


def error_of_channels(packed: BlockWeights, weights: Matrix, importance: Matrix) -> Matrix:
    difference = packed.values().astype(np.float64) - weights.astype(np.float64)
    return np.asarray((importance * difference**2).sum(axis=1))


def test_rounding_is_that_of_the_encoder() -> None:
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    x = halves[np.isfinite(halves)].astype(np.float64)
    np.testing.assert_array_equal(round_e2m1(x), decode_e2m1(encode_e2m1(x)))


@schemes
@settings(max_examples=30)
@given(weights=MATRICES, data=st.data())
def test_no_channel_is_worse_than_with_plain_rounding(
    scheme: Scheme, weights: Matrix, data: st.DataObject
) -> None:
    k = weights.shape[1]
    importance = data.draw(arrays(np.float64, k, elements=st.floats(0, 100)))
    searched = search_block_scales(weights, scheme, importance)
    assert not searched.codes[:, k:].any()
    plain = error_of_channels(PLAIN[scheme](weights), weights, importance)
    found = error_of_channels(searched, weights, importance)
    # Channel's factors are float32, and values are rounded to it: nothing beyond that.
    slack = (importance * (weights.astype(np.float64) * 2.0**-22) ** 2).sum(axis=1)
    assert np.all(found <= plain * (1 + 1e-6) + slack)


@schemes
def test_what_has_codes_is_kept(scheme: Scheme) -> None:
    rng = np.random.default_rng(1)
    block = BLOCK[scheme]
    elements = rng.choice([0, 0.5, -1, 1.5, 2, -3, 4, 6, -6], (5, 3, block))
    elements[:, :, 0] = 6
    scales = 2.0 ** rng.integers(-6, 1, (5, 3, 1))
    scales[0, 0] = 448 if scheme == "nvfp4" else 1  # the tensor's scale is 1 then
    weights = (elements * scales).reshape(5, -1).astype(np.float32)
    np.testing.assert_array_equal(search_block_scales(weights, scheme).values(), weights)
    moments = np.eye(weights.shape[1])
    np.testing.assert_array_equal(feed_back_errors(weights, scheme, moments).values(), weights)


@schemes
def test_importance_decides_which_weights_are_near(scheme: Scheme) -> None:
    weights = np.random.default_rng(2).normal(size=(8, 64)).astype(np.float32)
    importance = np.where(np.arange(64) % 4 == 0, 100.0, 0.0)
    weighted = search_block_scales(weights, scheme, importance)
    alike = search_block_scales(weights, scheme)
    found = error_of_channels(weighted, weights, importance)
    assert found.sum() < 0.8 * error_of_channels(alike, weights, importance).sum()


@schemes
def test_a_search_gains_on_weights_of_a_normal_distribution(scheme: Scheme) -> None:
    weights = np.random.default_rng(3).normal(0, 0.04, (64, 384)).astype(np.float32)
    plain = error_of_channels(PLAIN[scheme](weights), weights, np.ones(384)).sum()
    found = error_of_channels(search_block_scales(weights, scheme), weights, np.ones(384)).sum()
    assert found < {"mxfp4": 0.9, "nvfp4": 0.8}[scheme] * plain


def correlated(rows: int, k: int, seed: int) -> Matrix:
    """Inputs that vary along few directions, as activations do."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(7).normal(size=(k // 4, k))
    return np.asarray(rng.normal(size=(rows, k // 4)) @ mixing + 0.3 * rng.normal(size=(rows, k)))


@schemes
@pytest.mark.parametrize("k", [96, 75])
def test_feedback_gains_on_inputs_it_has_not_seen(scheme: Scheme, k: int) -> None:
    weights = np.random.default_rng(4).normal(size=(32, k)).astype(np.float32)
    seen, new = correlated(2000, k, 5), correlated(500, k, 6)
    fed = feed_back_errors(weights, scheme, seen.T @ seen / len(seen))
    assert fed.values().shape == weights.shape and not fed.codes[:, k:].any()

    def output_error(packed: BlockWeights) -> float:
        return float(((new @ (packed.values() - weights).T) ** 2).sum())

    assert output_error(fed) < 0.6 * output_error(PLAIN[scheme](weights))
    assert output_error(fed) < 0.7 * output_error(search_block_scales(weights, scheme))


@schemes
def test_inputs_that_are_always_zero_tell_nothing(scheme: Scheme) -> None:
    weights = np.random.default_rng(8).normal(size=(4, 40)).astype(np.float32)
    fed = feed_back_errors(weights, scheme, np.zeros((40, 40)))
    np.testing.assert_array_equal(fed.values(), search_block_scales(weights, scheme).values())
    one = np.zeros((40, 40))
    one[3, 3] = 1.0
    assert np.all(np.isfinite(feed_back_errors(weights, scheme, one).values()))


@schemes
def test_refusals(scheme: Scheme) -> None:
    weights = np.ones((2, 40), np.float32)
    with pytest.raises(ValueError, match=r"moments are \[39, 40\], must be \[40, 40\]"):
        feed_back_errors(weights, scheme, np.ones((39, 40)))
    with pytest.raises(ValueError, match="importance is"):
        search_block_scales(weights, scheme, np.full(40, -1.0))
    with pytest.raises(ValueError, match="infinite or no numbers"):
        search_block_scales(np.full((2, 40), np.nan, np.float32), scheme)
