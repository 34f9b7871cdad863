"""From the graph to operators of the runtime: parameters, tables, packed constants."""

from __future__ import annotations
