"""From a sum to what is stored: the one rounding of quantised operators, the bounds of float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeinfer.engine_numba.compile import inline
from edgeinfer.engine_numba.exact import NAN_BITS, bits_of, from_bits, rint


@inline
def requantized(scaled: Any, low: Any, high: Any, zero_point: Any) -> Any:
    """clamp(rne(scaled) + zero_point).

    `low` and `high` are float32 and have the zero point taken off; it is added after the clamp, so
    that no value is too large for an int32. The bounds are integers: to clamp before the rounding
    is to clamp after it.
    """
    if scaled < low:
        scaled = low
    if scaled > high:
        scaled = high
    return np.int32(rint(scaled)) + zero_point


@inline
def bounded(value: Any, low: Any, high: Any) -> Any:
    """A float32 within bounds, which a NaN passes to become 0x7fc00000."""
    if low > value:
        value = low
    if high < value:
        value = high
    return from_bits(NAN_BITS if value != value else bits_of(value))
