"""What `max_drop` limits: a score of a model on samples, higher being better.

Built in, each against the float model, whose own score is 1 (but for `accuracy`):

- top1: how often the largest entry of the first output, along its last axis, is the same one.
- cosine: of the outputs, the lowest of all outputs.
- sqnr: 1 minus the energy of the outputs' noise as a share of their own, the lowest of all outputs.
  So a drop of 1 % is an SQNR of 20 dB, and 0.1 % one of 30 dB.
- accuracy: how often the largest entry of the first output is the label.

Or a function `f(outputs, samples)` of two dicts: arrays [N, *shape] by output name, dequantised,
and by input name, with "labels" where the data has them. It returns a number. On the command line
it is `file.py:function`, or `package.module:function`.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeinfer.convert.graph import Graph
from edgeinfer.convert.quantize.calibration_data import LABELS
from edgeinfer.convert.quantize.measure import Agreement, TopOne, looks_like_classes
from edgeinfer.convert.quantize.measure_layers import Outputs
from edgeinfer.convert.quantize.run_graph import Array, Sample
from edgeinfer.errors import InputError

MetricFunction = Callable[[Mapping[str, Array], Mapping[str, Array]], float]
Metric = str | MetricFunction
"""The name of a built-in metric, `file.py:function`, or a function."""


def _top1(outputs: Outputs, reference: Outputs, samples: Mapping[str, Array]) -> float:
    name = next(iter(reference))
    found = TopOne()
    found.include(reference[name], outputs[name])
    return found.share


def _cosine(outputs: Outputs, reference: Outputs, samples: Mapping[str, Array]) -> float:
    return min(_agreement(outputs, reference, name).cosine for name in reference)


def _sqnr(outputs: Outputs, reference: Outputs, samples: Mapping[str, Array]) -> float:
    return 1 - max(_agreement(outputs, reference, name).noise_share for name in reference)


def _accuracy(outputs: Outputs, reference: Outputs, samples: Mapping[str, Array]) -> float:
    if LABELS not in samples:
        raise InputError(
            "metric 'accuracy' needs an array 'labels' beside the inputs of the calibration data"
        )
    found = next(iter(outputs.values())).argmax(axis=-1).reshape(-1)
    labels = samples[LABELS]
    if labels.size != found.size and labels.shape[-1] > 1:  # one-hot
        labels = labels.argmax(axis=-1)
    if labels.size != found.size:
        raise InputError(
            f"metric 'accuracy': {labels.size} labels for {found.size} rows of the first output"
        )
    return float((labels.reshape(-1) == found).mean())


BUILT_IN = {"top1": _top1, "cosine": _cosine, "sqnr": _sqnr, "accuracy": _accuracy}


@dataclass(eq=False)
class Score:
    """A metric on given samples, held against the float model's outputs.

    Attributes
    ----------
    name : in messages.
    resolution : the smallest change that the samples can show; 0 where it is any.
    """

    name: str
    function: Callable[[Outputs, Outputs, Mapping[str, Array]], float]
    reference: Outputs
    samples: Mapping[str, Array]
    resolution: float = 0.0

    def of(self, outputs: Outputs) -> float:
        """The score of these outputs.

        Raises
        ------
        InputError
            The metric is not a number, or its function failed.
        """
        try:
            value = float(self.function(outputs, self.reference, self.samples))
        except InputError:
            raise
        except (Exception, SystemExit) as error:  # the user's code may also end the process
            raise InputError(
                f"metric {self.name!r} failed: {type(error).__name__}: {error}"
            ) from error
        if not math.isfinite(value):
            raise InputError(f"metric {self.name!r} is {value} on the held-out samples")
        return value


def score_of(
    metric: Metric | None, graph: Graph, reference: Outputs, samples: Sequence[Sample]
) -> Score:
    """The metric that was asked for; top1 or sqnr, as outputs look, where none was.

    Parameters
    ----------
    graph : the float model's.
    reference : the float model's outputs on the samples.

    Raises
    ------
    InputError
        There is no such metric, or function.
    """
    columns = {key: np.stack([sample[key] for sample in samples]) for key in samples[0]}
    if metric is None:
        shapes = [tensor.shape for tensor in graph.inputs]
        metric = "top1" if looks_like_classes(graph.outputs[0].shape, shapes) else "sqnr"
    if isinstance(metric, str) and metric in BUILT_IN:
        rows = next(iter(reference.values()))
        counted = metric in ("top1", "accuracy")
        resolution = rows.shape[-1] / rows.size if counted and rows.size else 0.0
        return Score(metric, BUILT_IN[metric], reference, columns, resolution)
    function = _loaded(metric) if isinstance(metric, str) else metric
    name = metric if isinstance(metric, str) else getattr(metric, "__name__", "metric")
    return Score(name, lambda outputs, _, given: function(outputs, given), reference, columns)


def _agreement(outputs: Outputs, reference: Outputs, name: str) -> Agreement:
    found = Agreement()
    found.include(reference[name], outputs[name])
    return found


def _loaded(text: str) -> MetricFunction:
    """The function that `file.py:function` or `package.module:function` names."""
    where, colon, name = text.rpartition(":")
    if not colon or not where or not name:
        raise InputError(
            f"there is no metric {text!r}; built in are {', '.join(BUILT_IN)}, or give "
            "file.py:function"
        )
    try:
        module = _module(where)
    except (Exception, SystemExit) as error:  # the user's code may also end the process
        raise InputError(
            f"metric {text!r}: cannot import {where}: {type(error).__name__}: {error}"
        ) from error
    function: Any = getattr(module, name, None)
    if not callable(function):
        raise InputError(f"metric {text!r}: {where} has no function {name!r}")
    loaded: MetricFunction = function
    return loaded


def _module(where: str) -> Any:
    if not where.endswith(".py"):
        return importlib.import_module(where)
    path = Path(where)
    specification = importlib.util.spec_from_file_location(path.stem, path)
    if specification is None or specification.loader is None or not path.is_file():
        raise FileNotFoundError(where)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
