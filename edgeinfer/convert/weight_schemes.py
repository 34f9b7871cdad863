"""What `weights`, `int8` and `weights_budget` ask of a model without calibration data."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from edgeinfer.budget import format_bytes, parse_bytes
from edgeinfer.convert.graph import Graph
from edgeinfer.convert.lower.lower_graph import lower
from edgeinfer.convert.passes import run_passes
from edgeinfer.convert.program import Program, constant_bytes
from edgeinfer.errors import BudgetError, InputError

if TYPE_CHECKING:
    from edgeinfer.convert.quantize.choose_blocks import WeightScheme
    from edgeinfer.convert.quantize.dynamic_schemes import DynamicSchemes
    from edgeinfer.convert.quantize.fit_dynamic import Fitted


def weight_schemes(
    graph: Graph,
    weights: WeightScheme | None,
    float_weights: str,
    *,
    tables: bool = False,
    int8: Collection[str] = (),
    budget: int | str | None = None,
    others: Callable[[], Sequence[Graph]] = list,
    progress: Callable[[str], None] | None = None,
) -> DynamicSchemes | None:
    """How weights of layers on float32 are stored; None for as they are.

    Parameters
    ----------
    graph : the passes are run on it.
    tables : whether large embedding tables are stored so too, and not in int8.
    others : the same model at the other lengths that the file gets.

    Raises
    ------
    InputError
        There is no such scheme; `int8` without one, or with a layer that there is not.
    BudgetError
        The weights do not fit the budget.
    """
    if weights is None and budget is not None:
        weights = "nvfp4"
    if weights is None:
        if int8 or tables:
            what = "int8: layers are int8 beside" if int8 else "four_bit_tables: tables are beside"
            raise InputError(f"{what} weights of four bits, weights='mxfp4'")
        return None
    from edgeinfer.convert.quantize.choose_blocks import WEIGHT_SCHEMES
    from edgeinfer.convert.quantize.dynamic_schemes import DynamicSchemes, dynamic_schemes

    if weights not in WEIGHT_SCHEMES:
        raise InputError(f"weights is {weights!r}; it must be one of {WEIGHT_SCHEMES}")
    if graph.problems:  # which is what conversion ends with
        return DynamicSchemes(weights)
    run_passes(graph)
    shorter = [] if budget is None else list(others())
    for other in shorter:
        run_passes(other)
    return dynamic_schemes(
        graph,
        weights,
        tables=tables,
        int8=int8,
        budget=None if budget is None else parse_bytes(budget),
        others=shorter,
        sized=lambda graphs: constant_bytes(
            lower(made, float_weights=float_weights).program for made in graphs
        ),
        progress=progress,
    )


def use_schemes(graph: Graph, schemes: DynamicSchemes, fitted: Fitted | None = None) -> None:
    """Give a float graph these weights, or refuse one that has no layer for them.

    fitted : what samples made of the weights; others are rounded without.
    """
    if fitted is not None:
        fitted.use(graph)
    if not schemes.apply(graph):
        raise InputError(
            f"weights={schemes.scheme!r}: {graph.name} has no fully connected layer on float32 "
            "that they fit, with finite weights of which blocks are smaller than int8, and no "
            "large table that is looked up; convolutions are quantised when there is calibration "
            "data, calibration=..."
        )


def require_budget(name: str, programs: Sequence[Program], budget: int | None) -> None:
    """Hold constants against the budget once more, now that they are there."""
    if budget is not None and (size := constant_bytes(programs)) > budget:
        raise BudgetError(
            f"{name}: constants take {format_bytes(size)}; weights_budget is {format_bytes(budget)}"
        )
