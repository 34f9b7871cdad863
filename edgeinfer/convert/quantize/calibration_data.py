"""Calibration samples: from files or Python, checked, and split by a seed.

A sample is what one run of the model takes: an array per input, of the input's own shape. Sources:

- `.npz`: one array per input name, or a single array for a model of one input;
- `.npy`: one array;
- a folder of images (`image_folder.py`);
- a NumPy array, a dict of arrays by input name, or any iterable of samples (arrays, or dicts).

The first axis of an array counts samples: [N, *shape] where shape is the input's, or [N,
*shape[1:]] where the input's batch axis is 1. An array of the input's own shape is one sample.
Arrays of several inputs have one N. Where one of the inputs is called `attention_mask`, sequences
may be shorter than the model's: zeros are put behind them, which a mask reads as "nothing there".

Beside the inputs there may be `labels`, [N, ...]: what is right for each sample, for metrics that
compare with it. A sample then has it under that name.

Calibration data decides what accuracy is left, so data that cannot do that is refused, each time
saying why: see `check_samples`.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Tensor
from edgeinfer.convert.quantize.check_samples import check_samples
from edgeinfer.convert.quantize.preprocessing import Preprocessing
from edgeinfer.convert.quantize.run_graph import Sample
from edgeinfer.errors import InputError, cannot_open

Array = npt.NDArray[Any]
CalibrationSource = str | os.PathLike[str] | npt.NDArray[Any] | Mapping[str, Any] | Iterable[Any]
"""Anything that calibration data can come from."""

MAX_SAMPLES = 512
"""As many are used when nothing else is said: more change ranges little and take longer."""
LABELS = "labels"
"""The name of an array beside the inputs, unless an input is called so."""
MASK = "attention_mask"
"""How exporters call the input that tells words from filling, 1 from 0."""
HELD_OUT = 0.2
"""The part that calibration does not see, for reports."""


@dataclass(frozen=True, eq=False)
class CalibrationData:
    """Samples for calibration, and others that it does not see.

    `held_out` is never empty: where there is one sample, it is the same one.
    """

    samples: Sequence[Sample]
    held_out: Sequence[Sample]


def load_calibration(
    source: CalibrationSource,
    inputs: Sequence[Tensor],
    *,
    seed: int = 0,
    max_samples: int = MAX_SAMPLES,
    held_out: float = HELD_OUT,
    preprocessing: Preprocessing | None = None,
    allow_thin: bool = False,
) -> CalibrationData:
    """Read, check and split calibration data.

    Parameters
    ----------
    source : see the module.
    inputs : the model's inputs.
    seed : decides which samples are used where there are more than `max_samples`, and the split.
    max_samples : of them all, held-out ones included. Of an iterable, the first ones.
    held_out : the share of samples that calibration does not see, from 0 to below 1.
    preprocessing : how stored numbers become what the model takes.
    allow_thin : use data that `check_samples` would refuse as too little or degenerate.

    Raises
    ------
    InputError
        The data cannot be read, does not fit the inputs, is not finite, or is too thin.
    """
    if not 0 <= held_out < 1:
        raise InputError(f"held_out is {held_out}; it must be at least 0 and below 1")
    if max_samples < 1:
        raise InputError(f"max_samples is {max_samples}; it must be 1 or more")
    samples, name = _read(source, inputs, seed, max_samples, preprocessing or Preprocessing())
    check_samples(samples, inputs, name, allow_thin=allow_thin)
    order = np.random.default_rng(seed).permutation(len(samples))
    count = round(len(samples) * held_out)
    if held_out > 0 and len(samples) > 1:
        count = min(max(count, 1), len(samples) - 1)
    apart, used = sorted(order[:count]), sorted(order[count:])
    return CalibrationData([samples[i] for i in used], [samples[i] for i in apart or used])


def _read(
    source: CalibrationSource,
    inputs: Sequence[Tensor],
    seed: int,
    limit: int,
    preprocessing: Preprocessing,
) -> tuple[list[Sample], str]:
    """At most `limit` samples, and what messages call the source."""
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if path.is_dir():
            from edgeinfer.convert.quantize.image_folder import read_images

            return read_images(path, inputs, seed, limit, preprocessing), str(path)
        arrays = _of_file(path, inputs)
        return _of_arrays(arrays, inputs, seed, limit, preprocessing, str(path)), str(path)
    name = "calibration data"
    if isinstance(source, np.ndarray):
        single = {_only(inputs, name): source}
        return _of_arrays(single, inputs, seed, limit, preprocessing, name), name
    if isinstance(source, Mapping):
        arrays = {key: np.asarray(value) for key, value in source.items()}
        return _of_arrays(arrays, inputs, seed, limit, preprocessing, name), name
    if not isinstance(source, Iterable):
        raise InputError(
            f"calibration data is a {type(source).__name__}; give a path, arrays, or an iterable "
            "of samples"
        )
    samples = [
        _of_item(item, inputs, preprocessing, f"{name}, sample {number}")
        for number, item in enumerate(itertools.islice(source, limit))
    ]
    return samples, name


def _only(inputs: Sequence[Tensor], name: str) -> str:
    if len(inputs) != 1:
        names = [tensor.name for tensor in inputs]
        raise InputError(f"{name} is one array, and the model has inputs {names}; give one each")
    return inputs[0].name


def _of_file(path: Path, inputs: Sequence[Tensor]) -> dict[str, Array]:
    try:
        loaded = np.load(path, allow_pickle=False)
    except (FileNotFoundError, PermissionError) as error:
        raise InputError(cannot_open(path, error)) from error
    except Exception as error:  # NumPy and zipfile raise many kinds on damaged files
        raise InputError(f"{path}: not a readable .npy or .npz file: {error}") from error
    if isinstance(loaded, np.ndarray):
        return {_only(inputs, str(path)): loaded}
    with loaded:
        try:
            arrays = {key: loaded[key] for key in loaded.files}
        except Exception as error:
            raise InputError(f"{path}: not a readable .npz file: {error}") from error
    names = [tensor.name for tensor in inputs]
    known = {key: array for key, array in arrays.items() if key in names}
    others = {key: array for key, array in arrays.items() if key not in (*names, LABELS)}
    if not known and len(others) == 1 and len(inputs) == 1:  # whatever it is called
        known = {names[0]: next(iter(others.values()))}
    if not known:
        raise InputError(f"{path} holds {sorted(arrays)}; the model's inputs are {names}")
    return known | ({LABELS: arrays[LABELS]} if LABELS in arrays else {})


def _of_arrays(
    arrays: Mapping[str, Array],
    inputs: Sequence[Tensor],
    seed: int,
    limit: int,
    preprocessing: Preprocessing,
    name: str,
) -> list[Sample]:
    _require_names(arrays, inputs, name)
    filled = {t.name: filled_up(arrays[t.name], t, inputs) for t in inputs}
    stacks = {tensor.name: _stack(filled[tensor.name], tensor, name) for tensor in inputs}
    labels = _labels(arrays, inputs)
    if labels is not None:
        stacks[LABELS] = labels if labels.ndim else labels[None]
    lengths = {key: len(stack) for key, stack in stacks.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(f"{name}: inputs have different numbers of samples: {lengths}")
    count = next(iter(lengths.values()))
    chosen = np.arange(count)
    if count > limit:
        chosen = np.sort(np.random.default_rng(seed).choice(count, limit, replace=False))
    return [
        {
            tensor.name: _converted(stacks[tensor.name][i], tensor, preprocessing, name)
            for tensor in inputs
        }
        | ({} if labels is None else {LABELS: stacks[LABELS][i]})
        for i in chosen
    ]


def _of_item(
    item: Any, inputs: Sequence[Tensor], preprocessing: Preprocessing, name: str
) -> Sample:
    arrays = item if isinstance(item, Mapping) else {_only(inputs, name): item}
    _require_names(arrays, inputs, name)
    sample = {}
    for tensor in inputs:
        array = filled_up(np.asarray(arrays[tensor.name]), tensor, inputs)
        if array.shape == tensor.shape[1:] and tensor.shape[:1] == (1,):
            array = array[None]
        if array.shape != tensor.shape:
            raise _wrong_shape(array, tensor, name, "one sample is")
        sample[tensor.name] = _converted(array, tensor, preprocessing, name)
    labels = _labels(arrays, inputs)
    return sample if labels is None else {**sample, LABELS: labels}


def _labels(arrays: Mapping[str, Any], inputs: Sequence[Tensor]) -> Array | None:
    """The array beside the inputs, where there is one."""
    if LABELS not in arrays or any(tensor.name == LABELS for tensor in inputs):
        return None
    return np.asarray(arrays[LABELS])


def _require_names(arrays: Mapping[str, Any], inputs: Sequence[Tensor], name: str) -> None:
    missing = [tensor.name for tensor in inputs if tensor.name not in arrays]
    if missing:
        raise InputError(f"{name} has no array for input {', '.join(map(repr, missing))}")


def filled_up(array: Array, tensor: Tensor, inputs: Sequence[Tensor]) -> Array:
    """With zeros behind a sequence, the input's second axis, that is shorter than the model's."""
    behind = len(tensor.shape) - 1
    if behind < 1 or array.ndim < behind or all(other.name != MASK for other in inputs):
        return array
    axis = array.ndim - behind
    missing = tensor.shape[1] - array.shape[axis]
    if missing <= 0:
        return array
    return np.pad(array, [(0, missing if i == axis else 0) for i in range(array.ndim)])


def _stack(array: Array, tensor: Tensor, name: str) -> Array:
    """The array as [N, *shape of the input]."""
    if array.shape[1:] == tensor.shape:
        return array
    if array.shape == tensor.shape:
        return array[None]
    if tensor.shape[:1] == (1,) and array.ndim and array.shape[1:] == tensor.shape[1:]:
        return array[:, None]
    raise _wrong_shape(array, tensor, name, "samples are")


def _wrong_shape(array: Array, tensor: Tensor, name: str, what: str) -> InputError:
    wanted = list(tensor.shape)
    stacked = wanted[1:] if wanted[:1] == [1] else wanted  # an axis of 1 is the batch's
    return InputError(
        f"{name}: the array for input {tensor.name!r} has shape {list(array.shape)}; "
        f"{what} {wanted}"
        + (f", or [{', '.join(map(str, ['N', *stacked]))}]" if what == "samples are" else "")
    )


def _converted(array: Array, tensor: Tensor, preprocessing: Preprocessing, name: str) -> Array:
    """One sample in the input's dtype."""
    if tensor.dtype == "float32":
        if array.dtype.kind not in "fiub":
            raise InputError(
                f"{name}: the array for input {tensor.name!r} is {array.dtype}, must be numbers"
            )
        return preprocessing.applied(array, tensor)
    wanted = np.dtype(tensor.dtype)
    if array.dtype.kind not in "iub" or (wanted.kind == "b") != (array.dtype.kind == "b"):
        raise InputError(
            f"{name}: the array for input {tensor.name!r} is {array.dtype}, must be {wanted}"
        )
    converted = array.astype(wanted)
    if not np.array_equal(converted, array):
        raise InputError(
            f"{name}: the array for input {tensor.name!r} has values that {wanted} cannot hold"
        )
    return np.ascontiguousarray(converted)
