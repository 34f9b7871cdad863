"""tools/fp4_error.py: shares of the right base, and llama.cpp's rounding beside our plain one."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.convert.quantize.choose_blocks import round_blocks
from tools.fp4_error import PEER, PLAIN, SEARCHED, Errors, lines_of, rounded_by_llama_cpp


def test_errors_are_shares_of_plain_rounding_and_of_llama_cpp() -> None:
    lines = lines_of(
        {
            ("mxfp4", PLAIN): Errors([6.0, 2.0], [1.0, 4.0]),
            ("mxfp4", PEER): Errors([8.0, 2.0], [2.0, 4.0]),
            ("mxfp4", SEARCHED): Errors([3.0, 1.0], [0.5, 3.0]),
            ("nvfp4", PLAIN): Errors([1.0, 1.0]),
        }
    )
    assert lines[2] == ["mxfp4", "searched", "0.500", "0.400", "0.625", "0.750", "0.500", "0.750"]
    assert lines[3] == ["nvfp4", "plain", "1.000", "-", "-", "-", "-", "-"]


def test_llama_cpp_rounds_as_the_specification_does() -> None:
    pytest.importorskip("gguf")  # no part of the dev extra
    weights = np.random.default_rng(0).standard_normal((8, 72)).astype(np.float32)
    theirs = rounded_by_llama_cpp(weights, "mxfp4")
    assert theirs is not None  # ties, of which there are none here, it rounds towards zero
    np.testing.assert_array_equal(theirs, round_blocks(weights, "mxfp4").values())
