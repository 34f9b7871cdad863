"""The public conversion functions: source model in, bytes of an `.edge` file out."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import edgeinfer
from edgeinfer.budget import format_bytes, parse_bytes
from edgeinfer.convert.calibration import is_dynamic, without_text
from edgeinfer.convert.frontends import FORMATS, read
from edgeinfer.convert.graph import Graph, Node, Problem, Tensor
from edgeinfer.convert.input_layout import InputLayout, set_input_layout
from edgeinfer.convert.lower.lower_graph import Lowered, lower
from edgeinfer.convert.passes import run_passes
from edgeinfer.convert.plan import plan_curve, plan_program, session_bytes
from edgeinfer.convert.plan.device_profile import DeviceProfileSource, load_device_profile
from edgeinfer.convert.precision_reasons import in_order, precision_reasons, refuse_float
from edgeinfer.convert.program import Operation, Plan, Program, Value, constant_bytes
from edgeinfer.convert.sequence_lengths import SharedConstants, checked_lengths, program_name
from edgeinfer.convert.source_bytes import source_bytes, source_folder
from edgeinfer.convert.weight_schemes import require_budget, use_schemes, weight_schemes
from edgeinfer.convert.write import write_model
from edgeinfer.custom import load_custom_ops
from edgeinfer.errors import ConversionError, InputError
from edgeinfer.source_format import source_format

if TYPE_CHECKING:
    from edgeinfer.convert.quantize.calibration_data import CalibrationSource
    from edgeinfer.convert.quantize.choose_blocks import WeightScheme
    from edgeinfer.convert.quantize.dynamic_schemes import DynamicSchemes
    from edgeinfer.convert.quantize.fit_dynamic import Fitted
    from edgeinfer.convert.quantize.post_training import Quantized
    from edgeinfer.convert.quantize.report import QuantizationReport
    from edgeinfer.text import Tokenizer

Source = str | os.PathLike[str] | bytes | Graph
"""A path, the bytes of a file, or a graph (which conversion rewrites)."""
CustomOps = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""One Python file that registers custom operators, or several."""


@dataclass(frozen=True, eq=False)
class Conversion:
    """A converted model.

    Attributes
    ----------
    data : the bytes of the `.edge` file.
    programs, plans : what was lowered, and where it will lie in memory.
    graph : the graph as the passes left it.
    metadata : what the file says about itself.
    quantized : what post-training quantisation did; None where there was none.
    accuracy : how near the quantised model is to the float one, layer by layer; None where nothing
        was quantised here.
    """

    data: bytes = field(repr=False)
    programs: tuple[Program, ...]
    plans: tuple[Plan, ...]
    graph: Graph
    metadata: dict[str, Any] = field(repr=False)
    quantized: Quantized | None = field(default=None, repr=False)
    accuracy: QuantizationReport | None = field(default=None, repr=False)

    @property
    def session_bytes(self) -> int:
        """All the memory, in bytes, that a session takes, whichever program it runs."""
        return max(map(session_bytes, self.programs, self.plans))

    @property
    def report(self) -> str:
        """A few lines for people: sizes, and the step at which memory peaks."""
        plan = self.plans[0]
        peak = plan.operations[plan.steps[plan.peak_step].operation]
        weights = {
            id(value): value.nbytes
            for operation in plan.operations
            for value in operation.inputs
            if value is not None and value.data is not None
        }
        return "\n".join(
            [
                f"{self.graph.name}: {len(plan.operations)} operations",
                f"  file     {format_bytes(len(self.data))}",
                f"  weights  {format_bytes(sum(weights.values()))}",
                f"  arena    {format_bytes(plan.arena_bytes)}",
                f"  session  {format_bytes(self.session_bytes)}",
                f"  peak     step {plan.peak_step}: {peak.operator} ({peak.name})",
            ]
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the file whole or not at all: beside its place first, then renamed over it.

        A model that is being run from the old file goes on with the old contents.

        Returns
        -------
        Path
            `path`, as a Path.
        """
        target = Path(path)
        descriptor, temporary = tempfile.mkstemp(
            prefix=f".{target.name}.", suffix=".tmp", dir=target.parent
        )
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(self.data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise
        return target


def convert(
    source: Source,
    *,
    ram_budget: int | str | None = None,
    name: str | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    sequence_lengths: Sequence[int] = (),
    input_layout: InputLayout = "source",
    float_weights: Literal["float32", "float16"] = "float32",
    optimize: Literal["latency", "balanced", "ram"] = "latency",
    feed_inputs: bool = False,
    device_profile: DeviceProfileSource | None = None,
    strict: bool = False,
    custom_ops: CustomOps = (),
    progress: Callable[[str], None] | None = None,
    calibration: CalibrationSource | None = None,
    quantize: Literal["int8"] | None = None,
    weights: WeightScheme | None = None,
    activations: Literal["static", "dynamic"] | None = None,
    tokenizer: str | os.PathLike[str] | Tokenizer | None = None,
    int8: Collection[str] = (),
    weights_budget: int | str | None = None,
    four_bit_tables: bool = False,
    **quantization: Any,
) -> Conversion:
    """Convert a source model; with calibration data, quantise it to INT8 first.

    Parameters
    ----------
    source : path of a .tflite or .onnx file, its bytes, or a `Graph`. A graph is rewritten.
    ram_budget : the most memory that a session may take, in bytes or as text ("96KiB"); None for
        no limit.
    name : what the file and messages call the model; the file's base name by default.
    shapes : of inputs whose shapes the source leaves open, by name; "" is the only input of a model
        that has one. A symbolic dimension of an .onnx file gets its size wherever it stands.
    sequence_lengths : of inputs [batch, sequence, ...] that the source leaves open: the file gets a
        program for each length, over the same weights, with a batch of 1 unless `shapes` gives
        another one. A run takes the shortest that has room (docs/text.md).
    input_layout : "nhwc" gives inputs that are NCHW images in the source another order of axes, in
        which lines of pixels follow each other; whatever is fed, calibration data too, has it then.
        A mapping says it input by input. "source" leaves them.
    float_weights : how convolutions and fully connected layers that compute in float32 store their
        weights. float16 is half the size; it rounds the weights, everything is computed in float32.
    optimize : what the memory plan is chosen for: "latency", the fastest one; "ram", the smallest;
        "balanced", the smallest that takes at most a quarter longer than the fastest. Where the
        budget does not allow that plan, the fastest that fits is taken.
    feed_inputs : let the plan hold only those rows of a graph input that are needed at a time: the
        caller hands rows over as they come (`Session.feed`), or whole arrays of its own.
    device_profile : whose times the plan is chosen by: the name of one that edgeinfer brings, a
        file that `tools/plan_times.py --fit --out` wrote, or None for a typical device.
    strict : refuse a model in which anything computes in float32 at run time, naming each such node
        with the reason and what to do.
    custom_ops : Python files that register operators of the model (`edgeinfer.load_custom_ops`).
        What the process has registered otherwise is found too.
    progress : called with the name of each stage as it begins: "reading", "passes", "planning",
        "writing"; while quantising, with how far it has come.
    calibration : samples of what a float model will be given: a path of a .npz or .npy file, of a
        folder of images or of a .txt file of sentences, arrays, an iterable of samples, or a list
        of sentences (docs/quantise.md).
    quantize : "int8", the default where there is calibration data.
    weights : "mxfp4" or "nvfp4" stores weights in four bits, in blocks: with calibration data those
        of convolutions and fully connected layers (depthwise ones stay int8), without it those of
        fully connected layers on float32, which then round each vector of their input to int8 when
        they run. "int8" is the default where there is calibration data; without it it is for the
        same layers, with a scale for each output channel. Without calibration data large embedding
        tables are int8 with a scale for each row, or of four bits by `four_bit_tables`.
    int8 : names of layers, by a tensor that they make, whose weights are int8 beside weights of
        four bits.
    weights_budget : the most bytes that the file's constants may take, as a number or text
        ("4MiB"). Weights that lose most in four bits are int8 as far as there is room; "nvfp4" is
        what the others are where `weights` does not say (docs/quantise.md).
    four_bit_tables : without static activations, store large embedding tables as `weights` says,
        and not in int8 only. A budget does so by itself where that loses least.
    activations : what samples are for. "static", the default where there are some: activations
        become int8 in ranges that samples tell. "dynamic", the default where there are none: they
        stay float32, layers with `weights` round each vector when they run, and samples decide how
        these weights are rounded (docs/quantise.md).
    tokenizer : of calibration data that is sentences: tokenizer.json, its folder, or a loaded one.
        Default: beside the model file.
    **quantization : the fields of `quantize.post_training.QuantizationOptions`: method, seed,
        max_drop, metric and so on. With dynamic activations: seed, max_samples, held_out,
        preprocessing, allow_thin_calibration.

    Returns
    -------
    Conversion
        The same source and version of edgeinfer give the same bytes.

    Raises
    ------
    ConversionError
        The file is damaged or of no known format, or nodes of it cannot be run; `problems` lists
        every one of them. Or it is quantised already, and there is calibration data. Or `strict`
        is broken.
    InputError
        The calibration data cannot be read, does not fit the model, or is too thin or degenerate
        to calibrate with. `shapes` names no input of the model, or contradicts the file.
        `input_layout` is for inputs that are no NCHW images. `sequence_lengths` is for a model
        without open sequences, or together with calibration data for static activations. There is
        no such device profile.
    AccuracyError
        `max_drop` does not hold, whatever layers are kept at higher precision.
    BudgetError
        No plan needs at most `ram_budget`; the message names the step at which the smallest peaks.
        Or weights do not fit `weights_budget`; it names the fewest bytes that they take.
    MissingExtraError
        The package that reads this format is not installed.
    ModelReadError
        The file cannot be read.
    """
    budget = None if ram_budget is None else parse_bytes(ram_budget)
    costs = load_device_profile(device_profile).costs
    _load_custom_ops(custom_ops)
    begin = progress or _silent
    begin("reading")
    lengths = checked_lengths(sequence_lengths)
    longest = lengths[0] if lengths else None
    dynamic = is_dynamic(activations, calibration, weights, lengths)
    graph, digest = _load(source, name, shapes, input_layout, longest)
    begin("passes")
    quantized = accuracy = fitted = small = None
    calibration = without_text(calibration, graph.inputs, source, tokenizer)
    if calibration is not None and not dynamic:
        if four_bit_tables:
            raise InputError("four_bit_tables: it is for models without static activations")
        if weights is None and weights_budget is not None:
            weights = "nvfp4"
        if weights is not None:
            quantization["weights"] = weights
        quantization.update(int8=int8, weights_budget=weights_budget)
        quantized = _quantize(graph, calibration, quantization, strict, float_weights, begin)
        graph = quantized.graph
        lowered = lower(graph, float_weights=float_weights)
    elif calibration is not None and weights is not None:
        if quantize is not None:
            raise InputError("quantize: it is for static activations, which are dynamic here")
        if int8 or weights_budget is not None:
            raise InputError(
                "int8 and weights_budget: with samples they are for static activations; for "
                "dynamic ones leave out the samples, or these"
            )
        others = [_load(source, name, shapes, input_layout, n)[0] for n in lengths[1:]]
        fitted = _fit([graph, *others], weights, calibration, quantization, begin)
        small = weight_schemes(graph, weights, float_weights, tables=four_bit_tables)
        lowered = _lower(graph, float_weights, program_name(longest), small, fitted)
    elif quantize is not None or quantization:
        asked = ", ".join(["quantize", *quantization] if quantize else quantization)
        raise InputError(f"{asked}: quantising needs calibration data, calibration=...")
    else:
        small = weight_schemes(
            graph,
            weights,
            float_weights,
            tables=four_bit_tables,
            int8=int8,
            budget=weights_budget,
            others=lambda: [_load(source, name, shapes, input_layout, n)[0] for n in lengths[1:]],
            progress=begin,
        )
        lowered = _lower(graph, float_weights, program_name(longest), small)
    _refuse(graph.name, lowered.problems)
    if strict:
        refuse_float(graph, lowered, by_calibration=quantized is not None)

    def planned(program: Program) -> Plan:
        begin("planning")
        return plan_program(
            program,
            ram_budget=budget,
            optimize=optimize,
            feed_inputs=feed_inputs,
            costs=costs,
        )

    plan = planned(lowered.program)
    reasons = precision_reasons(graph, lowered, by_calibration=quantized is not None)
    metadata = _metadata(graph, digest, lowered, plan, reasons)
    if quantized is not None:
        accuracy = _measure(quantized, plan, reasons, metadata, begin)
    if fitted is not None:
        metadata["calibration"] = fitted.described()
    plans = [plan]
    shared = SharedConstants()
    shared.share(lowered.program)
    for length in lengths[1:]:
        begin(f"length {length}")
        shorter, _ = _load(source, name, shapes, input_layout, length)
        again = _lower(shorter, float_weights, program_name(length), small, fitted)
        _refuse(f"{graph.name} at length {length}", again.problems)
        shared.share(again.program)
        plans.append(planned(again.program))
    begin("writing")
    programs = tuple(p.program for p in plans)
    if small is not None:
        require_budget(graph.name, programs, small.budget)
        metadata["weights"] = small.described()
    data = write_model(list(zip(programs, plans, strict=True)), metadata)
    return Conversion(data, programs, tuple(plans), graph, metadata, quantized, accuracy)


def check(
    source: Source,
    *,
    name: str | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    custom_ops: CustomOps = (),
) -> list[Problem]:
    """Every reason why a source model cannot be converted, in the order of its nodes.

    Parameters and errors are those of `convert`; problems are returned, not raised.
    """
    _load_custom_ops(custom_ops)
    graph, _ = _load(source, name, shapes)
    return _lower(graph).problems


def pareto_plans(
    source: Source,
    *,
    name: str | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    input_layout: InputLayout = "source",
    feed_inputs: bool = False,
    device_profile: DeviceProfileSource | None = None,
    custom_ops: CustomOps = (),
    progress: Callable[[str], None] | None = None,
) -> list[Plan]:
    """Memory plans of a source model, from the fastest to the smallest.

    Each takes less memory than the one before, and by the planner's estimate more time
    (`Plan.cost_ns`, nanoseconds). `convert` takes one of them: the first, or what `optimize` and
    `ram_budget` ask for. Parameters and errors are those of `convert`.
    """
    begin = progress or _silent
    costs = load_device_profile(device_profile).costs
    _load_custom_ops(custom_ops)
    begin("reading")
    graph, _ = _load(source, name, shapes, input_layout)
    begin("passes")
    lowered = _lower(graph)
    _refuse(graph.name, lowered.problems)
    begin("planning")
    return plan_curve(lowered.program, feed_inputs=feed_inputs, costs=costs)


def _quantize(
    graph: Graph,
    calibration: CalibrationSource,
    quantization: dict[str, Any],
    strict: bool,
    float_weights: str,
    progress: Callable[[str], None],
) -> Quantized:
    from edgeinfer.convert.quantize.limit_drop import limit_drop
    from edgeinfer.convert.quantize.mix_schemes import fit_weights
    from edgeinfer.convert.quantize.post_training import QuantizationOptions, quantize_model

    options = QuantizationOptions(**quantization)
    _refuse(graph.name, graph.problems)
    run_passes(graph)
    quantized = quantize_model(graph, calibration, options, progress)

    def sized(finished: Graph) -> int:
        return constant_bytes([lower(finished, float_weights=float_weights).program])

    if options.weights_budget is not None:
        quantized = fit_weights(quantized, sized, progress)
    if options.max_drop is None:
        return quantized
    return limit_drop(quantized, allow_float=not strict, sized=sized, progress=progress)


def _fit(
    graphs: Sequence[Graph],
    weights: WeightScheme,
    calibration: CalibrationSource,
    quantization: Mapping[str, Any],
    progress: Callable[[str], None],
) -> Fitted:
    """Weights of layers on float32, rounded by samples; the passes are run on the graphs."""
    from edgeinfer.convert.quantize.fit_dynamic import fit_source

    for graph in graphs:
        _refuse(graph.name, graph.problems)
        run_passes(graph)
    return fit_source(graphs, weights, calibration, quantization, progress)


def _measure(
    quantized: Quantized,
    plan: Plan,
    reasons: Mapping[Operation, str],
    metadata: dict[str, Any],
    progress: Callable[[str], None],
) -> QuantizationReport:
    """The report of a quantised model; what the file says of it goes into the metadata."""
    from edgeinfer.convert.quantize.channel_scales import encoded_scales
    from edgeinfer.convert.quantize.report import make_report

    run = {op: reasons.get(op, "a part of what reads it") for op in plan.operations}
    report = make_report(quantized, run, progress=progress)
    metadata["quantization"] = {
        **quantized.described(),
        "channel_scales": encoded_scales(quantized.scales),
        "report": report.summary(),
    }
    return report


def _refuse(name: str, problems: Sequence[Problem]) -> None:
    if problems:
        count = len(problems)
        raise ConversionError(
            f"{name} cannot be converted: {count} problem{'s' if count > 1 else ''}", problems
        )


def _load_custom_ops(paths: CustomOps) -> None:
    for path in [paths] if isinstance(paths, (str, os.PathLike)) else paths:
        load_custom_ops(path)


def _silent(_: str) -> None:
    """Progress that nobody watches."""


def _lower(
    graph: Graph,
    float_weights: str = "float32",
    name: str = "main",
    small: DynamicSchemes | None = None,
    fitted: Fitted | None = None,
) -> Lowered:
    found = list(graph.problems)
    run_passes(graph)
    if small is not None:
        use_schemes(graph, small, fitted)
    lowered = lower(graph, name=name, float_weights=float_weights)
    lowered.problems[:0] = found
    return lowered


def _load(
    source: Source,
    name: str | None,
    shapes: Mapping[str, Sequence[int]] | None,
    input_layout: InputLayout = "source",
    sequence_length: int | None = None,
) -> tuple[Graph, str]:
    """The graph, and the SHA-256 of the file in hexadecimal ("" for a graph)."""
    graph, digest = _read(source, name, shapes, sequence_length)
    if not graph.problems:  # they are what conversion ends with
        set_input_layout(graph, input_layout)
    return graph, digest


def _read(
    source: Source,
    name: str | None,
    shapes: Mapping[str, Sequence[int]] | None,
    sequence_length: int | None,
) -> tuple[Graph, str]:
    fixed = {called: tuple(map(int, shape)) for called, shape in (shapes or {}).items()}
    if isinstance(source, Graph):
        if fixed or sequence_length is not None:
            what = "shapes" if fixed else "sequence_lengths"
            raise InputError(f"{what}: a graph has fixed shapes already")
        if name is not None:
            source.name = name
        return source, ""
    data, called, suffix = source_bytes(source, name)
    found = _format_of(data, suffix, called)
    graph = read(found, data, called, fixed, sequence_length, source_folder(source))
    return graph, hashlib.sha256(data).hexdigest()


def _format_of(data: bytes, suffix: str, name: str) -> str:
    """The source format, or an error that names those that can be converted."""
    found = source_format(data, suffix)
    if found is None:
        known = ", ".join(description.suffix for description in FORMATS.values())
        raise ConversionError(f"{name} is of no format that can be converted ({known})")
    return found


def _metadata(
    graph: Graph, digest: str, lowered: Lowered, plan: Plan, reasons: Mapping[Operation, str]
) -> dict[str, Any]:
    listed = in_order(reasons)
    origin = _origins(lowered)
    metadata: dict[str, Any] = {
        "converter": f"edgeinfer {edgeinfer.__version__}",
        "name": graph.name,
        "source": {"format": graph.source_format, "sha256": digest, **_plain(graph.metadata)},
        "inputs": _boundary(graph.inputs, lowered.program.inputs),
        "outputs": _boundary(graph.outputs, lowered.program.outputs),
        "nodes": [
            _mapped(
                operation,
                lowered.origins.get(origin(operation)),
                listed.index(reasons.get(origin(operation), listed[0])),
            )
            for operation in plan.operations
        ],
        "reasons": listed,
    }
    labels = metadata["source"].pop("labels", None)
    if labels is not None:
        metadata["labels"] = labels
    return metadata


def _boundary(tensors: Sequence[Tensor], values: Sequence[Value]) -> list[dict[str, Any]]:
    """Graph inputs or outputs under the names that the file gives them."""
    return [_described(t, v.name) for t, v in zip(tensors, values, strict=True)]


def _described(tensor: Tensor, name: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": name,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
    }
    if tensor.quantization is not None and tensor.quantization.is_per_tensor:
        described["scale"] = float(tensor.quantization.scale[0])
        described["zero_point"] = int(tensor.quantization.zero_point[0])
    return described


def _origins(lowered: Lowered) -> Callable[[Operation], Operation]:
    """Which lowered operation one of the plan comes from: planning may cut one in two."""
    known = set(lowered.program.operations)
    by_name = {operation.name: operation for operation in lowered.program.operations}

    def origin(operation: Operation) -> Operation:
        return operation if operation in known else by_name.get(operation.name, operation)

    return origin


def _mapped(operation: Operation, node: Node | None, reason: int) -> dict[str, Any]:
    """Which nodes of the source an operation stands for, and which of the reasons it has."""
    mapped: dict[str, Any] = {"operator": operation.operator, "name": operation.name}
    if node is not None:
        mapped["source"] = node.source or node.op
        if node.absorbed:
            mapped["absorbed"] = list(dict.fromkeys(node.absorbed))
    if reason:  # the first one is the rule
        mapped["reason"] = reason
    return mapped


def _plain(value: Any) -> Any:
    """Metadata of a frontend as JSON can hold it."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
