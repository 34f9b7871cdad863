"""Coordinate descent over rounded weights, in numba: see round_weights.py for what it minimises."""

from __future__ import annotations

from functools import cache
from typing import Any

from edgeinfer.errors import MissingExtraError


@cache
def compiled_descend() -> Any:
    """descend(q, low, high, h, r, s, passes): changes q; r is the residual and is kept.

    Parameters of the result: q, low, high int8 [G, N, K]; h float32 [G, K, K]; r float64 [G, N, K];
    s float64 [G, N]. Gives the number of changes.

    Raises
    ------
    MissingExtraError
        numba is not installed.
    """
    try:
        import numba
    except ImportError as error:
        raise MissingExtraError("rounding weights adaptively", "numba", "jit") from error

    @numba.njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
    def descend(q: Any, low: Any, high: Any, h: Any, r: Any, s: Any, passes: Any) -> int:
        changes = 0
        for g in range(q.shape[0]):
            for n in range(q.shape[1]):
                scale = s[g, n]
                residual = r[g, n]
                for _ in range(passes):
                    changed = 0
                    for k in range(q.shape[2]):
                        curvature = scale * scale * h[g, k, k]
                        if curvature <= 0.0:
                            continue
                        slope = scale * residual[k]
                        want = q[g, n, k] + round(slope / curvature)
                        want = min(max(want, low[g, n, k]), high[g, n, k])
                        step = want - q[g, n, k]
                        # The error falls by 2 step slope - step^2 curvature.
                        if step == 0 or 2.0 * step * slope <= step * step * curvature * 1.000001:
                            continue
                        q[g, n, k] = want
                        moved = step * scale
                        for j in range(q.shape[2]):
                            residual[j] -= moved * h[g, k, j]
                        changed += 1
                    changes += changed
                    if changed == 0:
                        break
        return changes

    return descend
