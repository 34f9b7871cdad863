"""Samples that two models can be run on: one set of numbers, in the form that each side takes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeinfer.convert.compare.match_tensors import Pairs
from edgeinfer.convert.compare.observed_model import ObservedTensor
from edgeinfer.convert.graph import Tensor
from edgeinfer.convert.quantize.calibration_data import CalibrationSource, load_calibration
from edgeinfer.convert.quantize.measure import real_values
from edgeinfer.convert.quantize.preprocessing import Preprocessing
from edgeinfer.convert.quantize.run_graph import Array, Sample
from edgeinfer.errors import InputError


class PairedSamples:
    """Samples for two models whose inputs correspond.

    Integers count as stored numbers where an input is quantised to their type: the other side gets
    the real numbers that they stand for. All else is real numbers, which quantised inputs get
    rounded and clipped.
    """

    def __init__(
        self,
        source: CalibrationSource,
        inputs: Pairs,
        *,
        max_samples: int,
        seed: int = 0,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        self.inputs = inputs
        self.stored = {x.name: _stored(source, x, y) for x, y in inputs}
        read_as = [
            Tensor(x.name, x.shape, "float32" if _is_real(x, y) else x.dtype) for x, y in inputs
        ]
        if not isinstance(source, (str, os.PathLike, np.ndarray, Mapping)):
            source = list(source)
        self.samples = load_calibration(
            source,
            read_as,
            seed=seed,
            max_samples=max_samples,
            held_out=0,
            preprocessing=preprocessing,
            allow_thin=True,
        ).samples

    def __len__(self) -> int:
        return len(self.samples)

    def feeds(self, index: int) -> tuple[Sample, Sample]:
        """The sample for the first model, and for the second."""
        sample = self.samples[index]
        first, second = {}, {}
        for x, y in self.inputs:
            stored = self.stored[x.name]
            values = sample[x.name]
            if stored is not None:
                values = real_values(values, stored.quantization)
            first[x.name] = _fed(values, x)
            second[y.name] = _fed(values, y).reshape(y.shape)
        return first, second


def _is_real(x: ObservedTensor, y: ObservedTensor) -> bool:
    """Whether an input takes real numbers, on either side."""
    return any(t.dtype == "float32" or t.quantization is not None for t in (x, y))


def _stored(
    source: CalibrationSource, x: ObservedTensor, y: ObservedTensor
) -> ObservedTensor | None:
    """The input whose integers the data holds; None where they are real numbers."""
    dtype = _dtype_of(source, x.name)
    for tensor in (x, y):
        if tensor.quantization is not None and dtype == np.dtype(tensor.dtype):
            return tensor
    return None


def _dtype_of(source: CalibrationSource, name: str) -> np.dtype[Any] | None:
    """The dtype of an input's numbers as they are stored; None where that takes more reading."""
    if isinstance(source, np.ndarray):
        return source.dtype
    if isinstance(source, Mapping):
        return np.asarray(source[name]).dtype if name in source else None
    if not isinstance(source, (str, os.PathLike)) or not Path(source).is_file():
        return None
    try:
        loaded = np.load(source, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return np.dtype(loaded.dtype)
        with loaded:
            members = loaded.files
            key = name if name in members else members[0] if len(members) == 1 else ""
            return np.dtype(loaded[key].dtype) if key else None
    except Exception:  # of many kinds; load_calibration reads it again and says what is wrong
        return None


def _fed(values: Array, tensor: ObservedTensor) -> Array:
    """Real (or plain) numbers as the tensor stores them."""
    if tensor.quantization is None:
        return np.ascontiguousarray(values.astype(tensor.dtype))
    if not tensor.quantization.is_per_tensor:
        raise InputError(f"input {tensor.name!r} is quantised per channel")
    scale, zero = float(tensor.quantization.scale[0]), int(tensor.quantization.zero_point[0])
    info = np.iinfo(tensor.dtype)
    steps = np.rint(values.astype(np.float64) / scale) + zero
    return np.asarray(np.clip(steps, info.min, info.max).astype(tensor.dtype))
