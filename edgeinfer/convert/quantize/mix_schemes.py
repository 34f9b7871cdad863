"""Weights of four bits where they hold, int8 where they must: under a size, or under a drop.

What four bits cost a layer is measured: it alone is quantised, all others are float32, once with
its weights in four bits and once in int8, and the difference of the noise at the outputs counts
(`output_error`, on a few calibration samples). Of more than `MAX_GROUPS` such layers, neighbours
are taken together.

Under a size (`fit_weights`), `choose_schemes` says which layers are int8. Sizes are those of the
lowered program, so that what is promised is what `inspect` shows. Then weights are rounded anew:
error feedback has to know what layers are fed.

Under a drop (`least_int8`), layers get int8 weights in the order of their losses, as few as hold.
`limit_drop` calls it before it raises activations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgeinfer.budget import format_bytes
from edgeinfer.convert.graph import Graph, Node
from edgeinfer.convert.lower.pack import pack_conv2d, pack_fully_connected
from edgeinfer.convert.lower.pack_fp4 import pack_blocks
from edgeinfer.convert.passes.pipeline import finish_quantized
from edgeinfer.convert.quantize.at_precision import at_precision, error_alone, judge_of
from edgeinfer.convert.quantize.choose_blocks import ChosenBlocks
from edgeinfer.convert.quantize.choose_schemes import Candidate, in_int8
from edgeinfer.convert.quantize.observe import Progress
from edgeinfer.convert.quantize.post_training import Quantized, with_int8_weights
from edgeinfer.convert.quantize.prepare_graph import layer_name
from edgeinfer.errors import BudgetError

MAX_GROUPS = 128
"""Layers, or groups of neighbouring layers, whose loss is measured."""

Sized = Callable[[Graph], int]
"""Bytes of the constants of a finished graph's program."""


def layers_in_four_bits(quantized: Quantized) -> list[str]:
    """Layers whose weights are in blocks, in order."""
    weights = quantized.result.weights
    return [name for name, chosen in weights.items() if isinstance(chosen, ChosenBlocks)]


def candidates_of(quantized: Quantized, progress: Progress | None = None) -> list[Candidate]:
    """Every layer in four bits, or group of them, with its bytes and its measured loss."""
    names = layers_in_four_bits(quantized)
    size = max(1, -(-len(names) // MAX_GROUPS))
    groups = [tuple(names[i : i + size]) for i in range(0, len(names), size)]
    nodes = {layer_name(node): node for node in quantized.teacher.graph.nodes}
    judge = judge_of(quantized)
    found = []
    for number, group in enumerate(groups):
        if progress is not None:
            progress(f"measuring four bits: layer {number + 1} of {len(groups)}")
        loss = error_alone(quantized, judge, group) - error_alone(
            quantized, judge, group, int8=group
        )
        sizes = [_sizes(nodes[name], quantized.result.weights[name]) for name in group]
        small, large = (sum(column) for column in zip(*sizes, strict=True))
        found.append(Candidate(group, max(loss, 0.0), small, large))
    return found


def reasons_of(chosen: Sequence[Candidate], scheme: str, option: str) -> dict[str, str]:
    """Why layers are int8, by name."""
    what = scheme.upper()
    return {
        name: f"{option}: {what} here alone adds noise of {candidate.loss:.3%} to the outputs"
        for candidate in chosen
        for name in candidate.names
    }


def refuse_size(name: str, least: int, budget: int, scheme: str) -> BudgetError:
    """The error for a model whose weights do not fit even in four bits."""
    advice = {
        "int8": "; weights='mxfp4' takes half of that or a little more",
        "nvfp4": "; weights='mxfp4' takes 4.25 bits a weight, nvfp4 4.5",
    }.get(scheme, "")
    return BudgetError(
        f"{name}: constants take at least {format_bytes(least)}, with {scheme} weights wherever "
        f"there are kernels for them; weights_budget is {format_bytes(budget)}{advice}"
    )


def fit_weights(quantized: Quantized, sized: Sized, progress: Progress | None = None) -> Quantized:
    """The most accurate weights that fit `weights_budget` of the options, as int8 or four bits.

    Raises
    ------
    BudgetError
        Four bits everywhere do not fit either; it names the bytes that they take.
    """
    options = quantized.options
    budget = options.weights_budget
    assert isinstance(budget, int)
    least = sized(quantized.graph)
    if least > budget:
        raise refuse_size(quantized.teacher.graph.name, least, budget, options.weights)
    candidates = candidates_of(quantized, progress)
    room = budget - least + sum(candidate.small for candidate in candidates)
    chosen = in_int8(candidates, room)
    while chosen:
        excess = sized(_mixed(quantized, chosen)) - budget
        if excess <= 0:
            break
        room -= excess  # layers that share constants, or zeros that they read
        chosen = in_int8(candidates, room)
    if not chosen:
        return quantized
    reasons = reasons_of(chosen, options.weights, "weights budget")
    return with_int8_weights(quantized, reasons, progress)


def _mixed(quantized: Quantized, chosen: Sequence[Candidate]) -> Graph:
    options = quantized.options
    names = [name for candidate in chosen for name in candidate.names]
    result = at_precision(quantized, options.keep_float, options.int16, names)
    finish_quantized(result.graph)
    return result.graph


def _sizes(node: Node, chosen: object) -> tuple[int, int]:
    """Bytes of packed weights in blocks and in int8."""
    assert isinstance(chosen, ChosenBlocks)
    groups = int(node.attrs["groups"]) if node.op == "conv2d" else 1
    if node.op == "conv2d":
        plain = pack_conv2d(chosen.values, groups, int(node.attrs["dilations"][1]))
    else:
        plain = pack_fully_connected(chosen.values)
    return pack_blocks(chosen.blocks, groups).nbytes, plain.nbytes
