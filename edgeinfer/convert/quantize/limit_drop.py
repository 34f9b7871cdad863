"""Keep what is most sensitive at higher precision, until a metric has dropped by no more than this.

1. The INT8 model is scored on the held-out samples. If it holds, nothing more is done.
2. Where weights are of four bits, layers get int8 weights first: those that lose most by four bits,
   as few as hold, found as in step 4 (`mix_schemes`). If int8 everywhere does not hold, the rest
   goes on from there. A budget of weights has decided this already, and is kept: only what fits it
   is raised.
3. Sensitivity is measured: each layer alone is INT8, all others float32, and what it costs at the
   outputs (`output_error`) is taken on a few calibration samples. Of networks with more than
   `MAX_GROUPS` layers, neighbours are taken together.
4. In the order of sensitivity, layers are raised: to int16 activations, if that takes away most of
   what the layer costs (its weights stay int8), else to float32. How many is found by doubling and
   bisection; each attempt is scored on the held-out samples. Where all that may be raised is not
   enough, those of int16 go to float32, in the same manner.
5. Those that turn out not to be needed are put back.

Not guaranteed: the fewest layers. Errors of layers do not add up exactly, and a metric of few
samples moves in steps. Work is bounded by counts, not by time, so that the same command gives the
same bytes: a measurement for every group, one more for each that is raised, and 4 log2(groups) +
MAX_PRUNED scores; for weights of four bits as much again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgeinfer.convert.graph import Graph
from edgeinfer.convert.passes.pipeline import finish_quantized
from edgeinfer.convert.quantize.at_precision import at_precision, error_alone, judge_of
from edgeinfer.convert.quantize.choose_schemes import Candidate
from edgeinfer.convert.quantize.measure_layers import run_outputs
from edgeinfer.convert.quantize.metrics import Score, score_of
from edgeinfer.convert.quantize.mix_schemes import (
    Sized,
    candidates_of,
    layers_in_four_bits,
    reasons_of,
)
from edgeinfer.convert.quantize.observe import Progress
from edgeinfer.convert.quantize.post_training import Quantized, with_int8_weights
from edgeinfer.convert.quantize.precision import NOT_INT16, is_numeric
from edgeinfer.convert.quantize.prepare_graph import layer_name
from edgeinfer.convert.quantize.share_ranges import moves
from edgeinfer.errors import AccuracyError

MAX_GROUPS = 128
"""Layers, or groups of neighbouring layers, whose sensitivity is measured."""
INT16_GAIN = 4.0
"""Int16 activations are enough for a layer where they cut its error to a quarter, or less."""
MAX_PRUNED = 8
"""Raised groups that are tried without, at the end."""
NAMED = 5
"""Layers that an error names."""


@dataclass(frozen=True)
class Sensitivity:
    """What a group of layers costs at the outputs, as a share of their energy.

    `precision` is what it would be raised to; "" until that is needed and measured.
    """

    layers: tuple[str, ...]
    error: float
    precision: str = ""

    @property
    def reason(self) -> str:
        """Why it is raised."""
        what = "INT8 here alone" if len(self.layers) == 1 else "INT8 in this group alone"
        return f"max drop: {what} adds noise of {self.error:.3%} to the outputs"


def limit_drop(
    quantized: Quantized,
    *,
    allow_float: bool = True,
    sized: Sized | None = None,
    progress: Progress | None = None,
) -> Quantized:
    """Raise layers until the metric has dropped by at most `max_drop` of the options.

    Parameters
    ----------
    allow_float : whether layers may stay in float32; without it only int16 activations help.
    sized : says what `weights_budget` of the options counts, where there is one: only as much is
        raised as still fits.

    Returns
    -------
    Quantized
        One that holds; `drop` says how it came to that.

    Raises
    ------
    AccuracyError
        The drop is larger even so; it says what was reached, and which layers matter.
    InputError
        The metric is none, or failed.
    """
    return _Limiter(quantized, allow_float, sized, progress).run()


def least_that_holds(most: int, holds: Callable[[int], bool]) -> int | None:
    """The least count from 1 to `most` for which it holds, if it does for all greater ones.

    By doubling, then bisection; None where `most` does not hold.
    """
    low, high = 0, min(1, most)
    while 0 < high and not holds(high):
        if high == most:
            return None
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high or None


def _cost(raised: Sequence[Sensitivity]) -> tuple[int, int]:
    """How much is raised: layers, then those of them in float32."""
    in_float = [group for group in raised if group.precision == "float32"]
    return sum(len(g.layers) for g in raised), sum(len(g.layers) for g in in_float)


class _Limiter:
    def __init__(
        self,
        quantized: Quantized,
        allow_float: bool,
        sized: Sized | None,
        progress: Progress | None,
    ) -> None:
        options = quantized.options
        assert options.max_drop is not None
        self.quantized = quantized
        self.limit = options.max_drop
        self.allow_float = allow_float
        self.budget = options.weights_budget
        self.sized = sized
        self.scheme = options.weights
        self.int8: list[Candidate] = []  # all that were of four bits, where that is what it took
        self.progress = progress
        self.data = quantized.data
        graph = quantized.teacher.graph
        self.names = [tensor.name for tensor in graph.outputs]
        self.kept = _reasons(options.keep_float)
        self.wide = _reasons(options.int16)
        self.nodes = {
            layer_name(node): node
            for node in graph.nodes
            if is_numeric(node)
            and not moves(node)
            and layer_name(node) not in quantized.result.float_layers
            and layer_name(node) not in self.wide
        }
        self.most = max(1, int(options.max_raised * len(self.nodes))) if options.max_raised else 0
        held_out = self.data.held_out
        original = quantized.original.graph
        reference = run_outputs(original, self.names, held_out, "the float model", progress)
        self.score: Score = score_of(options.metric, graph, reference, held_out)
        self.float_score = self.score.of(reference)
        self.judge = judge_of(quantized)

    def run(self) -> Quantized:
        first = self.drop_of(self.quantized.graph, "at INT8")
        if first <= self.limit:
            return replace(self.quantized, drop=self.described(first, first, (), ()))
        if layers_in_four_bits(self.quantized) and self.budget is None:
            found = self.with_int8(first)
            if found is not None:
                return found
        groups = self.sensitivities()
        raised, reached = self.search(groups)
        if reached > self.limit:
            raise self.failure(first, reached, raised, groups)
        raised, reached = self.pruned(raised, reached)
        drop = self.described(first, reached, raised, groups)
        return replace(self.built(raised), drop=drop)

    # --- weights of four bits

    def with_int8(self, first: float) -> Quantized | None:
        """As few layers with int8 weights as hold; None, with all of them so, where none do."""
        before = self.quantized
        order = sorted(candidates_of(before, self.progress), key=lambda c: (-c.loss, c.names))
        losses = [Sensitivity(candidate.names, candidate.loss) for candidate in order]
        tried: dict[tuple[Candidate, ...], Quantized] = {}

        def drop(chosen: Sequence[Candidate]) -> float:
            made = self.in_int8(before, chosen)
            reached = self.drop_of(made.graph, f"with int8 weights in {len(chosen)} layers")
            described = self.described(first, reached, (), losses)
            described["raised"] = self.listed(chosen)
            tried[tuple(chosen)] = replace(made, drop=described)
            return reached

        count = least_that_holds(len(order), lambda count: drop(order[:count]) <= self.limit)
        if count is None:
            everywhere = reasons_of(order, self.scheme, "max drop")
            self.quantized = with_int8_weights(before, everywhere, self.progress)
            self.int8 = order
            reached = self.drop_of(self.quantized.graph, "with int8 weights")
            if reached > self.limit:
                return None
            return replace(self.quantized, drop=self.described(first, reached, (), losses))
        chosen = order[:count]
        for candidate in chosen[::-1][:MAX_PRUNED] if len(chosen) > 1 else []:
            fewer = [other for other in chosen if other is not candidate]
            if drop(fewer) <= self.limit:
                chosen = fewer
        return tried[tuple(chosen)]

    def listed(self, chosen: Sequence[Candidate]) -> list[dict[str, str]]:
        """Layers with int8 weights in place of four bits, as `described` has them."""
        reasons = reasons_of(chosen, self.scheme, "max drop")
        return [{"name": n, "precision": "int8", "reason": reason} for n, reason in reasons.items()]

    def in_int8(self, quantized: Quantized, chosen: Sequence[Candidate]) -> Quantized:
        """The model with int8 weights in these layers, the others as they are."""
        options = quantized.options
        reasons = reasons_of(chosen, self.scheme, "max drop")
        result = at_precision(quantized, options.keep_float, options.int16, reasons)
        finish_quantized(result.graph)
        mixed = replace(options, int8={**reasons, **_reasons(options.int8)})
        return replace(quantized, graph=result.graph, result=result, options=mixed)

    # --- sensitivity

    def sensitivities(self) -> list[Sensitivity]:
        """Every group's, most sensitive first."""
        names = list(self.nodes)
        size = -(-len(names) // MAX_GROUPS)
        groups = [tuple(names[i : i + size]) for i in range(0, len(names), size)]
        found = []
        for number, group in enumerate(groups):
            self.say(f"measuring sensitivity: layer {number + 1} of {len(groups)}")
            found.append(Sensitivity(group, self.error_alone(group, ())))
        return sorted(found, key=lambda group: -group.error)

    def error_alone(self, group: Sequence[str], int16: Collection[str]) -> float:
        """What the group costs at the outputs with everything else in float32."""
        return error_alone(self.quantized, self.judge, group, int16)

    def raised(self, group: Sensitivity) -> Sensitivity:
        """The group with the precision that it is raised to."""
        if not self.allow_float:
            return replace(group, precision="int16")
        self.say(f"measuring int16 activations in {group.layers[0]}")
        if (
            self.has_int16(group)
            and self.error_alone(group.layers, group.layers) * INT16_GAIN <= group.error
        ):
            return replace(group, precision="int16")
        return replace(group, precision="float32")

    def has_int16(self, group: Sensitivity) -> bool:
        return all(self.nodes[name].op not in NOT_INT16 for name in group.layers)

    # --- search

    def search(self, groups: Sequence[Sensitivity]) -> tuple[list[Sensitivity], float]:
        """The most sensitive groups, as few as hold, and the drop; the best try where none do."""
        groups = self.allowed(groups)
        decided: list[Sensitivity] = []
        tried: list[tuple[float, list[Sensitivity]]] = [(float("inf"), [])]

        def holds(raised: list[Sensitivity]) -> bool:
            count = sum(len(group.layers) for group in raised)
            drop = self.drop_of(self.built(raised).graph, f"with {count} layers raised")
            tried.append((drop, raised))
            return drop <= self.limit

        def first(count: int) -> list[Sensitivity]:
            decided.extend(self.raised(group) for group in groups[len(decided) : count])
            return decided[:count]

        def in_float(count: int) -> list[Sensitivity]:
            wide = [group for group in decided if group.precision == "int16"][:count]
            return [replace(g, precision="float32") if g in wide else g for g in decided]

        if least_that_holds(len(groups), lambda count: holds(first(count))) is None:
            wide = sum(group.precision == "int16" for group in decided)
            if self.allow_float and wide:
                least_that_holds(wide, lambda count: holds(in_float(count)))
        held = [attempt for attempt in tried if attempt[0] <= self.limit]
        if held:
            drop, raised = min(held, key=lambda attempt: _cost(attempt[1]))
        else:
            drop, raised = min(tried, key=lambda attempt: attempt[0])
        return raised, drop

    def allowed(self, groups: Sequence[Sensitivity]) -> list[Sensitivity]:
        """The groups that may be raised: no more layers than `max_raised` says, within the budget.

        A layer in float32 takes more bytes than one on int16.
        """
        found: list[Sensitivity] = []
        precision = "float32" if self.allow_float else "int16"
        left = self.most
        for group in groups:
            if not (self.allow_float or self.has_int16(group)):
                continue
            if len(group.layers) > left:
                break
            if not self.fits([replace(g, precision=precision) for g in [*found, group]]):
                continue
            found.append(group)
            left -= len(group.layers)
        return found

    def fits(self, raised: Sequence[Sensitivity]) -> bool:
        """Whether the weights are within the budget, if there is one."""
        if self.budget is None or self.sized is None:
            return True
        assert isinstance(self.budget, int)
        return self.sized(self.built(raised).graph) <= self.budget

    def pruned(self, raised: list[Sensitivity], reached: float) -> tuple[list[Sensitivity], float]:
        """Without the groups that are not needed, least sensitive ones first."""
        for group in raised[::-1][:MAX_PRUNED] if len(raised) > 1 else []:
            fewer = [other for other in raised if other is not group]
            drop = self.drop_of(self.built(fewer).graph, f"without {group.layers[0]}")
            if drop <= self.limit:
                raised, reached = fewer, drop
        return raised, reached

    # --- models

    def built(self, raised: Sequence[Sensitivity]) -> Quantized:
        """The model with these groups raised."""
        kept, wide = dict(self.kept), dict(self.wide)
        for group in raised:
            reasons = dict.fromkeys(group.layers, group.reason)
            (wide if group.precision == "int16" else kept).update(reasons)
        result = at_precision(self.quantized, kept, wide)
        finish_quantized(result.graph)
        options = replace(self.quantized.options, keep_float=kept, int16=wide)
        return replace(self.quantized, graph=result.graph, result=result, options=options)

    def drop_of(self, graph: Graph, what: str) -> float:
        outputs = run_outputs(graph, self.names, self.data.held_out, what, self.progress)
        return self.float_score - self.score.of(outputs)

    # --- what is said

    def described(
        self,
        first: float,
        reached: float,
        raised: Sequence[Sensitivity],
        measured: Sequence[Sensitivity],
    ) -> dict[str, Any]:
        """As reports and metadata have it."""
        return {
            "metric": self.score.name,
            "limit": self.limit,
            "float_score": self.float_score,
            "int8_drop": first,
            "reached": reached,
            "resolution": self.score.resolution,
            "raised": [
                {"name": name, "precision": group.precision, "reason": group.reason}
                for group in raised
                for name in group.layers
            ]
            + [
                entry
                for entry in self.listed(self.int8)
                if not any(entry["name"] in group.layers for group in raised)
            ],
            "sensitivity": [
                {"layers": list(group.layers), "noise_share": group.error}
                for group in measured[: 2 * NAMED]
            ],
        }

    def failure(
        self,
        first: float,
        reached: float,
        raised: Sequence[Sensitivity],
        groups: Sequence[Sensitivity],
    ) -> AccuracyError:
        count = sum(len(group.layers) for group in raised)
        named = "".join(
            f"\n  {', '.join(group.layers)}: {group.error:.3%} of the outputs' energy"
            for group in groups[:NAMED]
        )
        tried = (
            f"by {reached:.3%} with {count} of {len(self.nodes)} layers at higher precision"
            if raised
            else "and no layer may be raised"
        )
        less = "" if self.quantized.pruned is None else ", or prune less"
        if self.budget is not None:
            less += "; what may be raised is within weights_budget, so a larger one may help too"
        return AccuracyError(
            f"{self.quantized.teacher.graph.name}: {self.score.name} drops by {first:.3%} at "
            f"{'INT8' if self.scheme == 'int8' else self.scheme}, "
            f"{tried}; at most {self.limit:.3%} was asked for. Let more layers be raised "
            f"(max_raised; {self.most} were allowed), allow a larger drop, or calibrate with more "
            f"samples{less}. Most is lost in:{named}",
            limit=self.limit,
            reached=min(first, reached),
            layers=[name for group in groups[:NAMED] for name in group.layers],
        )

    def say(self, text: str) -> None:
        if self.progress is not None:
            self.progress(text)


def _reasons(given: Collection[str] | Mapping[str, str]) -> dict[str, str]:
    return dict(given) if isinstance(given, Mapping) else dict.fromkeys(given, "asked for")
