"""Run two models on the same samples and say, tensor by tensor, how far apart they are.

The first model is the reference. Every pair of corresponding tensors is measured on all samples;
the first one, in the order of execution, that breaks a limit is where things go wrong: what it is
made from still agreed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgeinfer.convert.compare.match_tensors import match_inputs, match_tensors
from edgeinfer.convert.compare.observed_model import (
    ModelSource,
    ObservedModel,
    ObservedTensor,
    observe_model,
)
from edgeinfer.convert.compare.samples import PairedSamples
from edgeinfer.convert.input_layout import InputLayout
from edgeinfer.convert.quantize.calibration_data import CalibrationSource
from edgeinfer.convert.quantize.measure import (
    Agreement,
    TopOne,
    looks_like_classes,
)
from edgeinfer.convert.quantize.preprocessing import Preprocessing
from edgeinfer.errors import InputError

MAX_SAMPLES = 32
"""Compared when nothing else is said: a broken layer shows on the first."""
MIN_SQNR = 10.0
"""In decibels. INT8 layers that work have 20 to 45; below 10 a tenth of the energy is noise."""


@dataclass(frozen=True)
class Limits:
    """What a pair of tensors must keep to; None for no such limit.

    Attributes
    ----------
    min_sqnr : in decibels.
    min_cosine : from -1 to 1.
    max_error : the largest difference of two numbers.
    """

    min_sqnr: float | None = MIN_SQNR
    min_cosine: float | None = None
    max_error: float | None = None

    def broken_by(self, agreement: Agreement) -> str:
        """Which limits are broken, in words; "" if none is."""
        found = []
        if self.min_sqnr is not None and agreement.sqnr < self.min_sqnr:
            found.append(f"SQNR {agreement.sqnr:.1f} dB is below {self.min_sqnr:g}")
        if self.min_cosine is not None and not agreement.cosine >= self.min_cosine:
            found.append(f"cosine {agreement.cosine:.6f} is below {self.min_cosine:g}")
        if self.max_error is not None and agreement.largest_error > self.max_error:
            found.append(f"largest error {agreement.largest_error:.6g} is above {self.max_error:g}")
        return ", ".join(found)


@dataclass(frozen=True, eq=False)
class Pair:
    """Two tensors that correspond, and how far apart they are.

    `fall` is how much lower the SQNR is than the worst of what the tensor is made from, in
    decibels; None where that is not known (the first layers, and partners that were not found).
    """

    reference: ObservedTensor
    judged: ObservedTensor
    agreement: Agreement
    top_one: float | None
    broken: str
    fall: float | None
    is_output: bool


@dataclass(frozen=True, eq=False)
class Comparison:
    """What was found. `pairs` are in the order in which the first model computes them."""

    first: ObservedModel
    second: ObservedModel
    pairs: tuple[Pair, ...]
    samples: int

    @property
    def first_broken(self) -> Pair | None:
        """Where the models come apart."""
        return next((pair for pair in self.pairs if pair.broken), None)

    @property
    def largest_fall(self) -> Pair | None:
        """The layer that loses most of what its inputs still had."""
        known = [pair for pair in self.pairs if pair.fall is not None and pair.fall > 0]
        return max(known, key=lambda pair: pair.fall or 0.0, default=None)

    @property
    def unmatched(self) -> tuple[int, int]:
        """How many tensors of either model have no partner."""
        count = len(self.pairs)
        return len(self.first.tensors) - count, len(self.second.tensors) - count


def compare(
    first: ModelSource | ObservedModel,
    second: ModelSource | ObservedModel,
    data: CalibrationSource,
    *,
    limits: Limits | None = None,
    max_samples: int = MAX_SAMPLES,
    seed: int = 0,
    preprocessing: Preprocessing | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    input_layout: InputLayout = "source",
    progress: Callable[[str], None] | None = None,
) -> Comparison:
    """Compare two models, or files, layer by layer.

    Parameters
    ----------
    first, second : paths of `.edge`, `.onnx` or `.tflite` files, bytes, graphs. The first is the
        reference.
    data : samples, as `convert` takes them for calibration. Integers are stored numbers where an
        input is quantised to their type.
    limits : `Limits()` when None.
    max_samples : of the data; `seed` chooses them.
    shapes : of inputs that source models leave open, as `convert` takes them; for both models.
    input_layout : of the inputs of source models, as `convert` takes it: what an `.edge` file was
        converted with.
    progress : called with how far it has come.

    Raises
    ------
    InputError
        The inputs of the models do not correspond, or the data does not fit them.
    """
    a, b = (
        model
        if isinstance(model, ObservedModel)
        else observe_model(model, shapes=shapes, input_layout=input_layout)
        for model in (first, second)
    )
    inputs = match_inputs(a, b)
    if inputs is None:
        raise InputError(
            f"the inputs of {a.name} ({_listed(a.inputs)}) and {b.name} ({_listed(b.inputs)}) do "
            "not correspond; compare models of the same inputs, a file that was converted with "
            "--input-layout with the same option"
        )
    matched = match_tensors(a, b)
    if not matched:
        raise InputError(
            f"no tensor of {a.name} corresponds to one of {b.name}: neither names nor outputs do"
        )
    samples = PairedSamples(
        data, inputs, max_samples=max_samples, seed=seed, preprocessing=preprocessing
    )
    ours = a.runner([x.name for x, _ in matched])
    theirs = b.runner([y.name for _, y in matched])
    agreements = [Agreement() for _ in matched]
    tops = [
        TopOne() if x in a.outputs and looks_like_classes(x.shape, [i.shape for i in a.inputs])
        else None
        for x, _ in matched
    ]  # fmt: skip
    for index in range(len(samples)):
        if progress is not None:
            progress(f"comparing: sample {index + 1} of {len(samples)}")
        feed_a, feed_b = samples.feeds(index)
        found_a, found_b = ours.run(feed_a), theirs.run(feed_b)
        for (x, y), agreement, top in zip(matched, agreements, tops, strict=True):
            reference = x.real(found_a[x.name])
            judged = y.real(found_b[y.name]).reshape(reference.shape)
            agreement.include(reference, judged)
            if top is not None:
                top.include(reference, judged)
    chosen = limits or Limits()
    sqnr = {x.name: agreement.sqnr for (x, _), agreement in zip(matched, agreements, strict=True)}
    sqnr.update({x.name: math.inf for x, _ in inputs if x.name not in sqnr})
    pairs = tuple(
        Pair(
            x, y, agreement, None if top is None else top.share, chosen.broken_by(agreement),
            _fall(x, sqnr), x in a.outputs,
        )
        for (x, y), agreement, top in zip(matched, agreements, tops, strict=True)
    )  # fmt: skip
    return Comparison(a, b, pairs, len(samples))


def _fall(tensor: ObservedTensor, sqnr: dict[str, float]) -> float | None:
    known = [sqnr[name] for name in tensor.operands if name in sqnr]
    worst = min(known, default=math.inf)
    if not np.isfinite(worst) or not np.isfinite(sqnr[tensor.name]):
        return None
    return worst - sqnr[tensor.name]


def _listed(tensors: tuple[ObservedTensor, ...]) -> str:
    return ", ".join(f"{t.name!r} {t.dtype}{list(t.shape)}" for t in tensors)
