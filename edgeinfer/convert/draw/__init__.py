"""A memory plan as a table, in words, and as a picture of memory over time.

Everything works from the file alone, so `edgeinfer plan` needs no source model. The SVG is plain
text; a PNG needs the `plot` extra. `edgeinfer.convert.page` makes a page for a browser.
"""

from __future__ import annotations

from edgeinfer.convert.draw.buffers import short_name
from edgeinfer.convert.draw.peak import explain_peak, peak_sentence
from edgeinfer.convert.draw.png import plan_png
from edgeinfer.convert.draw.svg import plan_svg
from edgeinfer.convert.draw.table import plan_table

__all__ = [
    "explain_peak",
    "peak_sentence",
    "plan_png",
    "plan_svg",
    "plan_table",
    "short_name",
]
