"""Post-training quantisation, from a float graph and samples to a quantised graph.

1. Prepare: unique names, divisions by constants as products (`prepare_graph`).
2. Remove channels, where that is asked for (`prune_channels`). The pruned model is the teacher from
   here on; reports hold the result against the model as it was.
3. Observe the float teacher's activations over the calibration samples: extremes and means
   (`observe`).
4. Equalise channels across layers (`equalize`). The equalised model is the teacher from here on.
5. Observe distributions, and choose a range for every activation (`choose_ranges`).
6. Round weights and build the quantised graph (`quantize_graph`).
7. Correct biases (`correct_bias`); or round weights to each other and correct biases with them
   (`round_weights`), where that is asked for.
8. Finish: tables for chains of elementwise operators (`passes`).

Each of these helps most models and harms a few. So the method "auto" builds what it cannot tell
beforehand, runs it on calibration samples and keeps the least error at the outputs
(`output_error`): equalised or not, one of three methods, corrected or not. A named method skips the
first two of these choices.

Everything is a function of the source, the samples and the options: the same give the same bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from edgeinfer.budget import parse_bytes
from edgeinfer.convert.graph import Graph
from edgeinfer.convert.passes.pipeline import finish_quantized
from edgeinfer.convert.quantize.calibration_data import (
    HELD_OUT,
    MAX_SAMPLES,
    CalibrationData,
    CalibrationSource,
    load_calibration,
)
from edgeinfer.convert.quantize.check_samples import refuse_unnormalised
from edgeinfer.convert.quantize.choose_blocks import (
    WEIGHT_SCHEMES,
    ChosenBlocks,
    WeightScheme,
)
from edgeinfer.convert.quantize.choose_ranges import choose_ranges
from edgeinfer.convert.quantize.correct_bias import corrected, layers_to_correct, observed_means
from edgeinfer.convert.quantize.equalize import equalize, scaled
from edgeinfer.convert.quantize.float_model import FloatModel
from edgeinfer.convert.quantize.metrics import Metric
from edgeinfer.convert.quantize.observe import Observed, Progress, observe_extremes
from edgeinfer.convert.quantize.output_error import OutputError
from edgeinfer.convert.quantize.prepare_graph import prepare
from edgeinfer.convert.quantize.preprocessing import Preprocessing
from edgeinfer.convert.quantize.prune_channels import Pruned, prune_channels, refuse_share
from edgeinfer.convert.quantize.quantize_graph import IO, QuantizedGraph, quantize_graph
from edgeinfer.convert.quantize.quantize_weights import ChosenWeights
from edgeinfer.convert.quantize.range_minmax import minmax_range
from edgeinfer.convert.quantize.range_percentile import PERCENTILE
from edgeinfer.convert.quantize.ranges import Ranges
from edgeinfer.convert.quantize.round_weights import round_weights
from edgeinfer.errors import InputError

MAX_RAISED = 0.5
"""The share of layers that `max_drop` may raise when nothing else is said."""

Method = Literal["auto", "minmax", "percentile", "entropy", "mse"]
Rounding = Literal["nearest", "adaptive"]


@dataclass(frozen=True)
class QuantizationOptions:
    """What post-training quantisation is to do; the defaults are the best overall.

    Attributes
    ----------
    method : how ranges of activations are chosen: "minmax", "percentile", "entropy", "mse"; "auto"
        takes the one of `choose_ranges.AUTOMATIC` with the least error at the outputs.
    percentile : of the method of that name.
    equalize : bring channels to like ranges across layers.
    rounding : "nearest", or "adaptive": weights go up or down so that layers answer like the float
        model's (`round_weights`), which takes as long as everything else. None is "nearest" for
        int8, where "adaptive" needs numba, and "adaptive" for weights of four bits.
    prune : the share of output channels that layers lose where they can (`prune_channels`): above 0
        and below 1. None for none.
    correct_bias : take out what rounding of weights adds to a layer's mean.
    weights : "int8"; or "mxfp4" or "nvfp4" for the convolutions and fully connected layers that
        take blocks of four bits (`choose_blocks`), int8 for the others.
    int8 : names of layers whose weights are int8 beside weights of four bits, or a mapping as for
        `keep_float`.
    weights_budget : the most bytes that constants of the file may take, or text such as "96KiB":
        layers that lose most in four bits get int8 as far as there is room (`mix_schemes`). None
        for no limit, and four bits wherever they fit.
    io : with "float32", inputs and outputs stay float32 and the program converts them; with "int8"
        they are integers, whose scales and zero points the file says.
    keep_float, int16 : names of layers (`prepare_graph.layer_name`) that stay float32, or get int16
        activations; a mapping to the reasons that reports give.
    seed : decides the choice of samples and their split.
    max_samples : used at most, of all that there are.
    held_out : the share of samples that calibration does not see, kept for reports.
    preprocessing : how the numbers of the samples become what the model takes.
    allow_thin_calibration : use data that would be refused as too little or degenerate.
    max_drop : the most that `metric` may drop by on held-out samples, on its own scale: 0.005 of
        top-1 agreement is half a point. The most sensitive layers get int16 activations or stay
        float32 until that holds (`limit_drop`). None for no limit.
    metric : "top1", "cosine", "sqnr", "accuracy" (with `labels` in the data), "file.py:function",
        or a function of outputs and samples (`metrics`); by the look of the outputs when None.
    max_raised : the share of layers that `max_drop` may raise.
    """

    method: Method = "auto"
    percentile: float = PERCENTILE
    equalize: bool = True
    correct_bias: bool = True
    rounding: Rounding | None = None
    prune: float | None = None
    weights: WeightScheme = "int8"
    io: IO = "float32"
    keep_float: Collection[str] | Mapping[str, str] = ()
    int16: Collection[str] = ()
    int8: Collection[str] | Mapping[str, str] = ()
    weights_budget: int | str | None = None
    seed: int = 0
    max_samples: int = MAX_SAMPLES
    held_out: float = HELD_OUT
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    allow_thin_calibration: bool = False
    max_drop: float | None = None
    metric: Metric | None = None
    max_raised: float = MAX_RAISED

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise InputError(f"method is {self.method!r}; it must be one of {get_args(Method)}")
        if not 50 < self.percentile <= 100:
            raise InputError(f"percentile is {self.percentile}; it must be above 50, at most 100")
        if self.rounding is not None and self.rounding not in get_args(Rounding):
            raise InputError(
                f"rounding is {self.rounding!r}; it must be one of {get_args(Rounding)}"
            )
        if self.prune is not None:
            refuse_share(self.prune)
        if self.weights not in WEIGHT_SCHEMES:
            raise InputError(f"weights is {self.weights!r}; it must be one of {WEIGHT_SCHEMES}")
        if self.io not in get_args(IO):
            raise InputError(f"io is {self.io!r}; it must be one of {get_args(IO)}")
        if self.max_drop is not None and not 0 <= self.max_drop < float("inf"):
            raise InputError(f"max_drop is {self.max_drop}; it must be 0 or more, such as 0.005")
        if self.weights_budget is not None:
            object.__setattr__(self, "weights_budget", parse_bytes(self.weights_budget))
        if self.max_drop is None and self.metric is not None:
            raise InputError("a metric is for max_drop, which is not given")
        if not 0 <= self.max_raised <= 1:
            raise InputError(f"max_raised is {self.max_raised}; it must be from 0 to 1")


@dataclass(frozen=True, eq=False)
class Quantized:
    """The result of post-training quantisation, and what it was made from.

    Attributes
    ----------
    graph : the quantised graph, ready to be lowered.
    result : how its tensors and layers correspond to the teacher's.
    original : the float model as it was given, which outputs are held against.
    teacher : the float model, pruned where that was asked for, and equalised: its tensors are those
        that the quantised ones approximate.
    pruned : which channels the teacher has no longer; None where it has all.
    ranges : of every activation of the teacher.
    scales : for each tensor that was equalised, what its channels were divided by.
    bias_corrected : whether biases were corrected.
    rounding : of the weights in use: "nearest" where adaptive ones were no better.
    means : of what layers with weights read, over the calibration samples, by tensor name.
    data : the samples, calibration and held-out.
    drop : what `max_drop` found and did, as `limit_drop.Outcome.described`; None without it.
    """

    graph: Graph
    result: QuantizedGraph
    original: FloatModel
    teacher: FloatModel
    pruned: Pruned | None
    ranges: Ranges
    scales: Mapping[str, npt.NDArray[np.float64]]
    bias_corrected: bool
    rounding: Rounding
    means: Mapping[str, npt.NDArray[np.float64]]
    data: CalibrationData
    options: QuantizationOptions
    drop: Mapping[str, Any] | None = None

    def described(self) -> dict[str, Any]:
        """What the file's metadata says of it."""
        pruned = {} if self.pruned is None else {"pruned": self.pruned.described()}
        return {
            **pruned,
            "scheme": "int8",
            "weights": self.options.weights,
            **self._mixed(),
            "method": self.ranges.method,
            "seed": self.options.seed,
            "samples": len(self.data.samples),
            "equalized_tensors": len(self.scales),
            "bias_corrected": self.bias_corrected,
            "rounding": self.rounding,
            "float_layers": dict(sorted(self.result.float_layers.items())),
        }

    def _mixed(self) -> dict[str, Any]:
        """Layers that are int8 though they could have four bits, and the budget."""
        mixed: dict[str, Any] = {}
        int8 = self.options.int8
        if int8 and self.options.weights != "int8":
            reasons = int8 if isinstance(int8, Mapping) else dict.fromkeys(int8, "asked for")
            mixed["int8_weights"] = dict(sorted(reasons.items()))
        if self.options.weights_budget is not None:
            mixed["weights_budget"] = self.options.weights_budget
        return mixed


def quantize_model(
    graph: Graph,
    calibration: CalibrationSource,
    options: QuantizationOptions | None = None,
    progress: Progress | None = None,
) -> Quantized:
    """Quantise a float graph on which the passes have run.

    Parameters
    ----------
    graph : prepared in place.
    calibration : as `calibration_data.load_calibration` takes it.
    options : the defaults when None.
    progress : called with what is being done, and how far it has come.

    Raises
    ------
    InputError
        Samples that do not look like what the model was trained on; tensors that are not finite; a
        layer that is asked for both in float32 and in int16.
    ConversionError
        The graph is quantised already.
    """
    chosen = options or QuantizationOptions()
    both = sorted({*chosen.keep_float} & {*chosen.int16})
    if both:  # asked here: `limit_drop` takes layers further than what the caller asked for
        raise InputError(
            f"{', '.join(map(repr, both))}: asked for both in float32 (keep_float) and with int16 "
            "activations (int16); leave one out"
        )
    prepare(graph)
    data = load_calibration(
        calibration,
        graph.inputs,
        seed=chosen.seed,
        max_samples=chosen.max_samples,
        held_out=chosen.held_out,
        preprocessing=chosen.preprocessing,
        allow_thin=chosen.allow_thin_calibration,
    )
    original = teacher = FloatModel(graph)
    pruned = None
    if chosen.prune is not None:
        if not chosen.allow_thin_calibration:
            names = [tensor.name for tensor in teacher.activations]
            extremes = observe_extremes(teacher.runner(names), data.samples).extremes
            refuse_unnormalised(graph, data.samples, extremes, "calibration data")
        pruned = prune_channels(
            graph, data.samples, chosen.prune, seed=chosen.seed, progress=progress
        )
        graph = pruned.graph
        teacher = FloatModel(graph)
    names = [tensor.name for tensor in teacher.activations]
    averaged = {node.input(0).name for node in layers_to_correct(graph)}
    observed = observe_extremes(teacher.runner(names), data.samples, averaged, progress)
    if not chosen.allow_thin_calibration and pruned is None:
        refuse_unnormalised(graph, data.samples, observed.extremes, "calibration data")
    variants = [_Variant(teacher, observed, {})]
    if chosen.equalize:
        equalization = equalize(graph, observed.extremes)
        if equalization.scales:
            seen = scaled(observed, equalization.scales)
            variants.append(_Variant(FloatModel(equalization.graph), seen, equalization.scales))
    return _Search(original, pruned, data, chosen, progress).best(variants)


def with_int8_weights(
    quantized: Quantized, reasons: Mapping[str, str], progress: Progress | None = None
) -> Quantized:
    """The same ranges with int8 weights in these layers too; the others are rounded anew for it.

    reasons : what reports give, by layer name.
    """
    own = quantized.options.int8
    asked = own if isinstance(own, Mapping) else dict.fromkeys(own, "asked for")
    options = replace(quantized.options, int8={**reasons, **asked})
    search = _Search(quantized.original, quantized.pruned, quantized.data, options, progress)
    return search.again(quantized)


@dataclass(frozen=True, eq=False)
class _Variant:
    """The float model with its channels as they are, or equalised."""

    teacher: FloatModel
    observed: Observed
    scales: Mapping[str, npt.NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A quantised graph and what it came from."""

    result: QuantizedGraph
    ranges: Ranges
    is_corrected: bool
    rounding: Rounding = "nearest"


@dataclass(eq=False)
class _Search:
    """Builds what the options allow, and keeps what is nearest to the teacher."""

    original: FloatModel
    pruned: Pruned | None
    data: CalibrationData
    options: QuantizationOptions
    progress: Progress | None

    def best(self, variants: list[_Variant]) -> Quantized:
        """Decide between the variants, then the methods, then with or without corrections."""
        self.judge = OutputError(variants[0].teacher, self.data.samples, self.progress)
        variant = self._better_variant(variants)
        candidates = []
        for ranges in choose_ranges(
            variant.teacher,
            variant.observed.extremes,
            self.data.samples,
            self.options,
            self.progress,
        ):
            plain = self._candidate(variant, ranges)
            candidates.append(self._corrected(variant, plain))
        best = self._least(candidates)
        if best.is_corrected:
            rest = [self._corrected_again(variant, best), self._candidate(variant, best.ranges)]
            best = self._least([best, *rest])
        return self._finished(variant, best)

    def again(self, made: Quantized) -> Quantized:
        """The same teacher and ranges with other options of weights."""
        self.judge = OutputError(made.teacher, self.data.samples, self.progress)
        variant = _Variant(made.teacher, Observed({}, dict(made.means)), made.scales)
        plain = self._candidate(variant, made.ranges)
        best = self._corrected(variant, plain)
        if best.is_corrected:
            best = self._least([best, self._corrected_again(variant, best), plain])
        return self._finished(variant, best)

    def _finished(self, variant: _Variant, best: _Candidate) -> Quantized:
        """Rounded by what layers read, where that is wanted, and ready to be lowered."""
        if self._rounds_adaptively(best):
            best = self._rounded(variant, best)
        finish_quantized(best.result.graph)
        return Quantized(
            best.result.graph,
            best.result,
            self.original,
            variant.teacher,
            self.pruned,
            best.ranges,
            variant.scales,
            best.is_corrected,
            best.rounding,
            variant.observed.means,
            self.data,
            self.options,
        )

    def _rounds_adaptively(self, best: _Candidate) -> bool:
        if self.options.rounding is None:  # of int8 alone it takes long, and numba
            weights = best.result.weights.values()
            return any(isinstance(chosen, ChosenBlocks) for chosen in weights)
        return self.options.rounding == "adaptive"

    def _better_variant(self, variants: list[_Variant]) -> _Variant:
        """By min-max ranges, which are there already; the last one of equals."""
        if len(variants) == 1 or self.options.method != "auto":
            return variants[-1]
        errors = []
        for variant in variants:
            found = {name: minmax_range(e) for name, e in variant.observed.extremes.items()}
            plain = self._candidate(variant, Ranges(found, "minmax"))
            errors.append(self.judge.of(self._corrected(variant, plain).result, "equalisation"))
        return variants[0] if errors[0] < errors[1] else variants[1]

    def _least(self, candidates: list[_Candidate]) -> _Candidate:
        """The candidate of the least error; the first of equals."""
        if len(candidates) == 1:
            return candidates[0]
        return min(candidates, key=lambda c: self.judge.of(c.result, c.ranges.method))

    def _candidate(self, variant: _Variant, ranges: Ranges) -> _Candidate:
        return _Candidate(self._quantized(variant.teacher.graph, ranges), ranges, False)

    def _corrected(self, variant: _Variant, plain: _Candidate) -> _Candidate:
        """The same weights with the biases that they need; `plain` where that is not wanted."""
        weights = plain.result.weights
        if not (self.options.correct_bias and weights):
            return plain
        graph = corrected(variant.teacher.graph, weights, variant.observed.means)
        return _Candidate(self._quantized(graph, plain.ranges, weights), plain.ranges, True)

    def _corrected_again(self, variant: _Variant, once: _Candidate) -> _Candidate:
        """Corrected by the means that the corrected model itself feeds its layers."""
        weights, means = once.result.weights, variant.observed.means
        seen = observed_means(once.result, self.data.samples, self.progress)
        graph = corrected(variant.teacher.graph, weights, means, seen)
        return _Candidate(self._quantized(graph, once.ranges, weights), once.ranges, True)

    def _rounded(self, variant: _Variant, best: _Candidate) -> _Candidate:
        """The candidate with its weights rounded by `round_weights`, where that helps.

        That is told by samples that rounding did not see: every fourth, where there are enough.
        """
        samples = self.data.samples
        judging = samples[3::4] if len(samples) >= 8 else samples
        fitting = [s for i, s in enumerate(samples) if i % 4 != 3] if len(samples) >= 8 else samples
        result = round_weights(
            variant.teacher,
            best.result,
            lambda graph, weights: self._quantized(graph, best.ranges, weights),
            fitting,
            seed=self.options.seed,
            progress=self.progress,
        )
        rounded = _Candidate(result, best.ranges, True, "adaptive")
        self.judge = OutputError(variant.teacher, judging, self.progress)
        return self._least([best, rounded])

    def _quantized(
        self, graph: Graph, ranges: Ranges, weights: Mapping[str, ChosenWeights] | None = None
    ) -> QuantizedGraph:
        options = self.options
        return quantize_graph(
            graph,
            ranges,
            keep_float=options.keep_float,
            int16=options.int16,
            weights=weights,
            io=options.io,
            scheme=options.weights,
            int8=options.int8,
        )
