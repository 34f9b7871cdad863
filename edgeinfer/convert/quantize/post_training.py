"""Post-training quantisation, from a float graph and samples to a quantised graph.

1. Prepare: unique names, divisions by constants as products (`prepare_graph`).
2. Observe the float teacher's activations over the calibration samples (`observe`).
3. Choose a range for every activation by the method that was asked for.
4. Round weights and build the quantised graph (`quantize_graph`).
5. Finish: tables for chains of elementwise operators (`passes`).

Everything is a function of the source, the samples and the options: the same give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

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
from edgeinfer.convert.quantize.float_model import FloatModel
from edgeinfer.convert.quantize.observe import Extremes, observe_extremes
from edgeinfer.convert.quantize.prepare_graph import prepare
from edgeinfer.convert.quantize.preprocessing import Preprocessing
from edgeinfer.convert.quantize.quantize_graph import IO, QuantizedGraph, quantize_graph
from edgeinfer.convert.quantize.range_minmax import minmax_range
from edgeinfer.convert.quantize.ranges import Ranges
from edgeinfer.errors import InputError

Method = Literal["minmax"]


@dataclass(frozen=True)
class QuantizationOptions:
    """What post-training quantisation is to do; the defaults are the best overall.

    Attributes
    ----------
    method : how ranges of activations are chosen.
    io : with "float32", inputs and outputs stay float32 and the program converts them; with "int8"
        they are integers, whose scales and zero points the file says.
    keep_float, int16 : names of layers (`prepare_graph.layer_name`) that stay float32, or get int16
        activations; a mapping to the reasons that reports give.
    seed : decides the choice of samples and their split.
    max_samples : used at most, of all that there are.
    held_out : the share of samples that calibration does not see, kept for reports.
    preprocessing : how the numbers of the samples become what the model takes.
    allow_thin_calibration : use data that would be refused as too little or degenerate.
    """

    method: Method = "minmax"
    io: IO = "float32"
    keep_float: Collection[str] | Mapping[str, str] = ()
    int16: Collection[str] = ()
    seed: int = 0
    max_samples: int = MAX_SAMPLES
    held_out: float = HELD_OUT
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    allow_thin_calibration: bool = False

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise InputError(f"method is {self.method!r}; it must be one of {get_args(Method)}")
        if self.io not in get_args(IO):
            raise InputError(f"io is {self.io!r}; it must be one of {get_args(IO)}")


@dataclass(frozen=True, eq=False)
class Quantized:
    """The result of post-training quantisation, and what it was made from.

    Attributes
    ----------
    graph : the quantised graph, ready to be lowered.
    result : how its tensors and layers correspond to the teacher's.
    teacher : the float model; its graph is the prepared one.
    ranges : of every activation of the teacher.
    data : the samples, calibration and held-out.
    """

    graph: Graph
    result: QuantizedGraph
    teacher: FloatModel
    ranges: Ranges
    data: CalibrationData
    options: QuantizationOptions

    def described(self) -> dict[str, Any]:
        """What the file's metadata says of it."""
        return {
            "scheme": "int8",
            "method": self.ranges.method,
            "seed": self.options.seed,
            "samples": len(self.data.samples),
            "float_layers": dict(sorted(self.result.float_layers.items())),
        }


def quantize_model(
    graph: Graph,
    calibration: CalibrationSource,
    options: QuantizationOptions | None = None,
    progress: Callable[[str], None] | None = None,
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
        Samples that do not look like what the model was trained on; tensors that are not finite.
    ConversionError
        The graph is quantised already.
    """
    chosen = options or QuantizationOptions()
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
    teacher = FloatModel(graph)
    extremes = observe_extremes(
        teacher.runner([tensor.name for tensor in teacher.activations]), data.samples, progress
    )
    if not chosen.allow_thin_calibration:
        refuse_unnormalised(graph, data.samples, extremes, "calibration data")
    ranges = choose_ranges(extremes, chosen)
    result = quantize_graph(
        graph, ranges, keep_float=chosen.keep_float, int16=chosen.int16, io=chosen.io
    )
    finish_quantized(result.graph)
    return Quantized(result.graph, result, teacher, ranges, data, chosen)


def choose_ranges(extremes: Mapping[str, Extremes], options: QuantizationOptions) -> Ranges:
    """The range of every activation, by the method of the options."""
    found = {name: minmax_range(extreme) for name, extreme in extremes.items()}
    return Ranges(found, options.method)
