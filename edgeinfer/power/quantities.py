"""How people write power, energy and time: "1.5W", "20mJ", "10s"."""

from __future__ import annotations

import math
import re

from edgeinfer.errors import InputError

_NUMBER = r"\s*([0-9]{1,20}(?:\.[0-9]{0,20})?(?:[eE]-?[0-9]{1,2})?)\s*([a-zA-Zµμ]*)\s*"
_PREFIXES = {"u": 1e-6, "µ": 1e-6, "μ": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3}
_SECONDS = {"us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_SECONDS[""] = 1.0


def parse_watts(amount: float | str, what: str = "power_budget") -> float:
    """Watts, of a number or of text such as "1.5W" or "800mW"."""
    return _parse(amount, what, _prefixed("W"), "watts, or text such as '1.5W' or '800mW'")


def parse_joules(amount: float | str, what: str = "energy_budget") -> float:
    """Joules, of a number or of text such as "20mJ"."""
    return _parse(amount, what, _prefixed("J"), "joules, or text such as '20mJ'")


def parse_seconds(amount: float | str, what: str = "window") -> float:
    """Seconds, of a number or of text such as "10s", "500ms" or "5min"."""
    return _parse(amount, what, _SECONDS, "seconds, or text such as '10s' or '500ms'")


def _prefixed(unit: str) -> dict[str, float]:
    return {"": 1.0, **{prefix + unit: scale for prefix, scale in _PREFIXES.items()}}


def _parse(amount: float | str, what: str, units: dict[str, float], wanted: str) -> float:
    value = math.nan
    if isinstance(amount, str):
        match = re.fullmatch(_NUMBER, amount)
        if match is not None and match[2] in units:
            value = float(match[1]) * units[match[2]]
    elif not isinstance(amount, bool):
        try:
            value = float(amount)
        except (TypeError, ValueError, OverflowError):
            value = math.nan
    if not 0 < value < math.inf:
        raise InputError(f"{what} is {amount!r}; it must be above 0: {wanted}")
    return value
