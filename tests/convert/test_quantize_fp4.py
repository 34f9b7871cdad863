"""MXFP4 and NVFP4: every code and every rounding against ml_dtypes and ONNX's own node tests."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import numpy_helper

from edgeinfer.convert.quantize.block_weights import BLOCK, BlockWeights
from edgeinfer.convert.quantize.mxfp4 import quantize_mxfp4
from edgeinfer.convert.quantize.nvfp4 import quantize_nvfp4
from edgeinfer.convert.quantize.small_floats import (
    decode_e2m1,
    decode_e4m3,
    decode_e8m0,
    encode_e2m1,
    encode_e4m3,
    encode_e8m0,
)
from tests.oracle.four_bits import Blocks
from tools.onnx_node_scope import cases_of

HALVES = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)
"""All float16 values: among them are all of E2M1 and E4M3 and what lies in the middle of two."""


def around(values: np.ndarray) -> np.ndarray:
    """The values and their neighbours in float32."""
    x = values[~np.isnan(values)].astype(np.float32)
    return np.concatenate(
        [x, np.nextafter(x, np.float32(-3e38)), np.nextafter(x, np.float32(3e38))]
    )


@pytest.mark.parametrize(
    ("decode", "reference", "codes"),
    [
        (decode_e2m1, ml_dtypes.float4_e2m1fn, 16),
        (decode_e4m3, ml_dtypes.float8_e4m3fn, 256),
        (decode_e8m0, ml_dtypes.float8_e8m0fnu, 256),
    ],
)
def test_every_code_decodes_as_in_ml_dtypes(decode: Any, reference: Any, codes: int) -> None:
    all_codes = np.arange(codes, dtype=np.uint8)
    expected = all_codes.view(reference).astype(np.float32)
    np.testing.assert_array_equal(decode(all_codes), expected)
    np.testing.assert_array_equal(np.signbit(decode(all_codes)), np.signbit(expected))


def test_the_oracle_decodes_as_ml_dtypes() -> None:
    codes = np.arange(16, dtype=np.uint8)[None]
    scales = np.arange(256, dtype=np.uint8)[None]
    elements = codes.view(ml_dtypes.float4_e2m1fn).astype(np.float32)
    np.testing.assert_array_equal(Blocks("mxfp4", codes, scales).doubled(), 2 * elements)
    powers = scales.view(ml_dtypes.float8_e8m0fnu).astype(np.float32)
    np.testing.assert_array_equal(Blocks("mxfp4", codes, scales).factors(), powers)
    small = scales.view(ml_dtypes.float8_e4m3fn).astype(np.float32) * np.float32(2.0**-8)
    np.testing.assert_array_equal(Blocks("nvfp4", codes, scales).factors(), small)


def test_decode_e2m1_refuses_what_is_no_code() -> None:
    with pytest.raises(ValueError, match="code 16 is none of E2M1"):
        decode_e2m1([3, 16])


def test_e2m1_rounds_as_ml_dtypes_does() -> None:
    x = around(HALVES)
    expected = x.astype(ml_dtypes.float4_e2m1fn).view(np.uint8)
    np.testing.assert_array_equal(encode_e2m1(x), expected)
    assert encode_e2m1(np.nan) == 8


def test_e4m3_rounds_as_ml_dtypes_does_and_saturates() -> None:
    x = around(HALVES)
    expected = x.astype(ml_dtypes.float8_e4m3fn).view(np.uint8)
    saturated = np.where(np.signbit(x), 0xFE, 0x7E)
    too_large = (expected & 0x7F == 0x7F) & ~np.isnan(x)
    assert too_large.any()
    np.testing.assert_array_equal(encode_e4m3(x), np.where(too_large, saturated, expected))
    np.testing.assert_array_equal(encode_e4m3([np.nan, -np.nan]), [0x7F, 0xFF])


def test_e8m0_rounds_as_ml_dtypes_does_and_saturates() -> None:
    powers = np.exp2(np.arange(-149, 128)).astype(np.float32)
    x = np.concatenate([around(powers), around(powers[:-1] * np.float32(1.5)), HALVES])
    # ml_dtypes makes NaN of 0 and 2^-126 of what is nearer to 2^-127: rounding there is its own.
    x = x[(x < 0) | (x == 2.0**-127) | (x >= 2.0**-126) | np.isnan(x)]
    expected = x.astype(ml_dtypes.float8_e8m0fnu).view(np.uint8)
    too_large = (expected == 0xFF) & (x > 0)
    assert too_large.any()
    np.testing.assert_array_equal(encode_e8m0(x), np.where(too_large, 0xFE, expected))
    np.testing.assert_array_equal(encode_e8m0([0.0, 1.4e-45, 2.0**-127 * 1.49]), [0, 0, 0])


def test_e8m0_rounds_down_and_up() -> None:
    x = around(np.exp2(np.arange(-126, 127)))
    down, up = decode_e8m0(encode_e8m0(x, "down")), decode_e8m0(encode_e8m0(x, "up"))
    assert np.all((down <= x) | (down == 2.0**-127))
    assert np.all((x < 2 * down) & (x <= up) & ((up < 2 * x) | (up == 2.0**-127)))


SMALL = {"FLOAT4E2M1": encode_e2m1, "FLOAT8E4M3FN": encode_e4m3}


def test_casts_of_onnx_node_tests_have_these_codes() -> None:
    """The runtime has no tensors of these types; its codes are those of ONNX's casts."""
    held = set()
    for case in cases_of("cast"):
        given_arrays, results = case.data_sets[0]
        source, _, target = str(case.name).removeprefix("test_cast_").partition("_to_")
        if "no_saturate" in target or source.removeprefix("e8m0_") not in ("FLOAT", "FLOAT16"):
            continue
        x, expected = _array(given_arrays[0]).astype(np.float32), _array(results[0])
        if target == "FLOAT8E8M0":
            mode = next(a.s for a in case.model.graph.node[0].attribute if a.name == "round_mode")
            codes = encode_e8m0(x, mode.decode())
        elif target in SMALL:
            codes = SMALL[target](x)
        else:
            continue
        np.testing.assert_array_equal(codes, expected.view(np.uint8).reshape(x.shape), case.name)
        held.add(target)
    assert held == {*SMALL, "FLOAT8E8M0"}


def _array(value: Any) -> np.ndarray:
    return numpy_helper.to_array(value) if hasattr(value, "dims") else value


MATRICES = arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(1, 70)),
    elements=st.one_of(
        st.floats(-(2.0**100), 2.0**100, width=32),
        st.sampled_from([0.0, -0.0, 6.0, 5.0, 7.99, 2.5, 1e-30, 3e38, 1e-45]),
    ),
)


def check_blocks(weights: np.ndarray, packed: BlockWeights, block: int) -> None:
    n, k = weights.shape
    assert packed.codes.shape == (n, -(-k // block) * block)
    assert packed.scales.shape == (n, -(-k // block))
    assert not packed.codes[:, k:].any()
    assert packed.values().shape == weights.shape


@settings(max_examples=40)
@given(MATRICES)
def test_mxfp4_blocks_are_those_of_the_specification(weights: np.ndarray) -> None:
    packed = quantize_mxfp4(weights)
    check_blocks(weights, packed, 32)
    for n, b in np.ndindex(*packed.scales.shape):
        block = weights[n, 32 * b : 32 * b + 32].astype(np.float64)
        largest = np.abs(block).max()
        power = -127 if largest == 0 else max(np.frexp(largest)[1] - 1 - 2, -127)
        scale = 2.0**power
        assert packed.block_scales()[n, b] == np.float32(scale)
        ratio = block / scale
        elements = ratio.astype(np.float32).astype(ml_dtypes.float4_e2m1fn).astype(np.float64)
        with np.errstate(over="ignore"):
            expected = (elements * scale).astype(np.float32)
        np.testing.assert_array_equal(packed.values()[n, 32 * b : 32 * b + 32], expected)


@settings(max_examples=40)
@given(MATRICES)
def test_nvfp4_values_are_the_nearest_of_their_blocks(weights: np.ndarray) -> None:
    packed = quantize_nvfp4(weights)
    check_blocks(weights, packed, 16)
    assert np.all(packed.scales <= 0x7E)
    largest = np.abs(weights).max()
    expected = max(np.float32(largest / np.float32(2688)), np.float32(2.0**-100))
    assert np.all(packed.factors == expected)
    for n, b in np.ndindex(*packed.scales.shape):
        block = weights[n, 16 * b : 16 * b + 16].astype(np.float64)
        scale = np.abs(block).max() / (6 * np.float64(expected))
        code = np.float32(scale).astype(ml_dtypes.float8_e4m3fn).view(np.uint8)
        unit = packed.block_scales()[n, b].astype(np.float64) * np.float64(expected)
        assert abs(int(code) - int(packed.scales[n, b])) <= 1  # float32 may sit on the other side
        grid = decode_e2m1(np.arange(16)).astype(np.float64) * unit
        nearest = np.abs(block[:, None] - grid).min(axis=1)
        got = decode_e2m1(packed.codes[n, 16 * b : 16 * b + block.size]) * unit
        np.testing.assert_array_equal(np.abs(block - got), nearest)


@pytest.mark.parametrize("quantize", [quantize_mxfp4, quantize_nvfp4])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(quantize: Any, value: float) -> None:
    with pytest.raises(ValueError, match="infinite or no numbers"):
        quantize(np.array([[1, value]], np.float32))


@pytest.mark.parametrize("quantize", [quantize_mxfp4, quantize_nvfp4])
def test_weights_must_be_a_matrix(quantize: Any) -> None:
    with pytest.raises(ValueError, match=r"must be \[N, K\]"):
        quantize(np.zeros(3, np.float32))


@pytest.mark.parametrize("quantize", [quantize_mxfp4, quantize_nvfp4])
def test_a_nan_scale_gives_nan_weights(quantize: Any) -> None:
    packed = quantize(np.ones((2, 40), np.float32))
    scales = packed.scales.copy()
    scales[1, 0] = 0xFF
    values = BlockWeights(packed.scheme, packed.codes, scales, packed.factors, 40).values()
    block = BLOCK[packed.scheme]
    assert np.isnan(values[1, :block]).all() and np.isfinite(values[0]).all()
    assert np.isfinite(values[1, block:]).all()
