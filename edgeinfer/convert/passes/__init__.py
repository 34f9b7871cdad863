"""Rewriting a graph until every operator in it is one that lowering knows, in NHWC, quantised."""

from __future__ import annotations

from edgeinfer.convert.passes.pipeline import STAGES, run_passes

__all__ = ["STAGES", "run_passes"]
