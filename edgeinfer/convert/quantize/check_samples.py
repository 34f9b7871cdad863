"""Whether calibration samples can say anything about what a model will see.

Always an error: no samples, and numbers that are not finite. An error unless thin calibration is
allowed, since ranges from such data are wrong in ways that no later step shows:

- fewer than `MIN_SAMPLES` samples, or so few different ones;
- more than one in ten samples of one value throughout (blank images, zeros);
- numbers beyond `FARTHEST`, which no normalised input has.

Whole numbers up to 255 are not refused here: some models take them. They are suspicious, and
whether the model's first layer makes something sensible of them is checked when it is run
(`refuse_unnormalised`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from edgeinfer.convert.graph import Graph, Tensor
from edgeinfer.convert.quantize.observe import Extremes
from edgeinfer.convert.quantize.precision import first_reader_that_computes
from edgeinfer.convert.quantize.run_graph import Sample
from edgeinfer.errors import InputError

MIN_SAMPLES = 32
"""Fewer do not show the range of activations: with 32, one value in 33 is expected to be beyond."""
MAX_CONSTANT = 0.1
FARTHEST = 1e4
LARGEST_NORMALISED = 20.0
"""Normalised inputs stay below: 20 standard deviations."""
LARGEST_RESPONSE = 200.0
"""Of a first layer that is fed what it was trained on; larger ones come of inputs 0 to 255."""

WAY_PAST = "if this is meant, pass --allow-thin-calibration (allow_thin_calibration=True)"


def check_samples(
    samples: Sequence[Sample], inputs: Sequence[Tensor], name: str, *, allow_thin: bool
) -> None:
    """Raise InputError on samples that must not, or should not, calibrate a model."""
    if not samples:
        raise InputError(f"{name} holds no sample")
    floats = [tensor for tensor in inputs if tensor.dtype == "float32"]
    for tensor in floats:
        for number, sample in enumerate(samples):
            if not np.all(np.isfinite(sample[tensor.name])):
                raise InputError(
                    f"{name}: sample {number} of input {tensor.name!r} has NaN or infinite values"
                )
    if allow_thin:
        return
    _check_count(samples, name)
    for tensor in floats:
        _check_values(samples, tensor, name)


def is_suspicious(samples: Sequence[Sample], tensor: Tensor) -> bool:
    """Whether a float32 input was fed whole numbers only, some of them large: raw pixels."""
    if tensor.dtype != "float32":
        return False
    arrays = [sample[tensor.name] for sample in samples]
    largest = max(float(np.abs(array).max()) for array in arrays)
    return largest > LARGEST_NORMALISED and all(bool(np.all(a == np.rint(a))) for a in arrays)


def refuse_unnormalised(
    graph: Graph, samples: Sequence[Sample], extremes: Mapping[str, Extremes], name: str
) -> None:
    """Raise InputError where raw pixels go into a model that was trained on normalised ones.

    A layer's weights fit its input: fed what it was trained on, the first layer answers with
    numbers of moderate size, whether that was 0 to 1 or 0 to 255.
    """
    for tensor in graph.inputs:
        if not is_suspicious(samples, tensor):
            continue
        reader = first_reader_that_computes(graph, tensor)
        made = None if reader is None else extremes.get(reader.outputs[0].name)
        response = 0.0 if made is None else max(map(abs, made.span))
        if response <= LARGEST_RESPONSE:
            continue
        low, high = extremes[tensor.name].span
        raise InputError(
            f"{name} does not look normalised: input {tensor.name!r} is whole numbers from "
            f"{low:g} to {high:g}, and the first layer answers with {response:.4g}; "
            f"scale it as in training (--scale, --mean, --std); {WAY_PAST}"
        )


def _check_count(samples: Sequence[Sample], name: str) -> None:
    if len(samples) < MIN_SAMPLES:
        raise InputError(
            f"{name} holds {len(samples)} sample{'s' if len(samples) > 1 else ''}; calibration "
            f"needs at least {MIN_SAMPLES}, 100 to 500 are good; {WAY_PAST}"
        )
    distinct = len({_digest(sample) for sample in samples})
    if distinct == 1:
        raise InputError(f"{name}: all {len(samples)} samples are identical; {WAY_PAST}")
    if distinct < MIN_SAMPLES:
        raise InputError(
            f"{name}: of {len(samples)} samples only {distinct} are different; calibration needs "
            f"at least {MIN_SAMPLES}; {WAY_PAST}"
        )


def _digest(sample: Sample) -> bytes:
    digest = hashlib.sha256()
    for key in sorted(sample):
        digest.update(np.ascontiguousarray(sample[key]).tobytes())
    return digest.digest()


def _check_values(samples: Sequence[Sample], tensor: Tensor, name: str) -> None:
    spans = [(float(a.min()), float(a.max())) for a in (s[tensor.name] for s in samples)]
    size = int(np.prod(tensor.shape, dtype=np.int64))
    constant = sum(low == high for low, high in spans)
    if size > 1 and constant > MAX_CONSTANT * len(samples):
        raise InputError(
            f"{name}: {constant} of {len(samples)} samples of input {tensor.name!r} are constant "
            f"(one value throughout); {WAY_PAST}"
        )
    if min(low for low, _ in spans) == max(high for _, high in spans):
        raise InputError(f"{name}: input {tensor.name!r} never changes; {WAY_PAST}")
    largest = max(max(-low, high) for low, high in spans)
    if largest > FARTHEST:
        raise InputError(
            f"{name}: input {tensor.name!r} reaches {largest:.4g}; inputs of neural networks stay "
            f"below {FARTHEST:g}; scale it as in training (--scale, --mean, --std); {WAY_PAST}"
        )
