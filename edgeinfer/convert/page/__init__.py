"""A memory plan as a page for a browser, and RAM against time as a picture.

Needs nothing that is not in the package, but belongs to the converter: a device has the table and
the drawings of `edgeinfer.convert.draw`.
"""

from __future__ import annotations

from edgeinfer.convert.page.html import plan_html
from edgeinfer.convert.page.pareto import ParetoPoint, pareto_svg

__all__ = ["ParetoPoint", "pareto_svg", "plan_html"]
