"""Convert source models to `.edge` files: `convert`, `check`.

>>> from edgeinfer.convert import convert
>>> convert("model.tflite", ram_budget="96KiB").save("model.edge")

Importing this package is cheap; what reads a source format is imported when one is read.
"""

from __future__ import annotations

from edgeinfer.convert.api import Conversion, check, convert
from edgeinfer.convert.graph import Problem

__all__ = ["Conversion", "Problem", "check", "convert"]
