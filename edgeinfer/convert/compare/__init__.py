"""Two models layer by layer: which tensors correspond, and where they come apart.

`compare_models.compare` does it all: each side is opened as an `ObservedModel`, `match_tensors`
finds the pairs, and both run on the same samples.
"""

from __future__ import annotations

from edgeinfer.convert.compare.compare_models import Comparison, Limits, Pair, compare

__all__ = ["Comparison", "Limits", "Pair", "compare"]
