"""What a step of a program does: multiplications, bytes, and the kernels that it calls."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeinfer._ffi import lib, text
from edgeinfer.operators import operators

if TYPE_CHECKING:
    from edgeinfer.convert.model_file import FileNode, FileProgram, FileStep, FileTensor

_TOKENS = {
    "int8": "s8", "uint8": "u8", "int16": "s16", "int32": "s32", "float32": "f32",
    "int64": "s64", "bool": "u8", "float16": "f16",
}  # fmt: skip

# Operators that share the kernels of others; those with () copy memory and call none. All others
# have an entry of their own name. tests/cli holds this against csrc/ops.
_SHARED_KERNELS = {
    "concat": ("copy2d",),
    "copy": (),
    "custom": (),
    "embedding": (),
    "gather": (),
    "pad": ("copy2d", "fill"),
    "requantize": ("dequantize_{x}", "quantize_{y}"),
    "resize_nearest": ("take",),
    "slice": ("copy2d",),
    "transpose": ("copy2d",),
}

_TAKE_FOUR_BITS = frozenset({"conv2d", "fully_connected", "fully_connected_dynamic"})


@dataclass(frozen=True)
class StepCost:
    """One step: what it is, and what it has to do at least."""

    node: str
    operator: str
    kernel: str  # with the tier that it is of, "conv2d_s8_s8c avx2"
    macs: int  # multiplications of convolutions and matrix products
    bytes: int  # of operands: read once and written once, weights included
    weight_bytes: int  # of them, those of constants
    is_float: bool  # its multiplications are of float32


def step_costs(program: FileProgram, tier: str) -> list[StepCost]:
    """The costs of a program's steps when kernel tier `tier` runs them."""
    tiers = kernel_tiers(tier)
    return [_cost(program.nodes[step.node], step, tiers) for step in program.steps]


def count_macs(program: FileProgram) -> int:
    """Multiplications of convolutions and matrix products in one run."""
    return sum(count_node_macs(node) for node in program.nodes)


def kernels_of(node: FileNode, names: list[str]) -> list[str]:
    """Which of the kernel table's entries the node's operator calls."""
    data = [t for t in node.inputs if t is not None and t.data is None]
    x = _TOKENS[(data[0] if data else node.outputs[0]).dtype]
    y = _TOKENS[node.outputs[0].dtype]
    weights = node.inputs[1] if len(node.inputs) > 1 else None
    rounded = ["fully_connected_f32_f4"] if node.operator == "fully_connected_dynamic" else []
    if weights is not None and weights.scheme and node.operator in _TAKE_FOUR_BITS:
        return [*rounded, "packed_gemm_s8_f4"]
    if rounded:
        return [*rounded, "packed_gemm_s8_s8c"]
    if node.operator in _SHARED_KERNELS:
        return [name.format(x=x, y=y) for name in _SHARED_KERNELS[node.operator]]
    if node.operator in names:  # the operators on float32
        return [node.operator]
    width = math.prod((node.outputs[0].row_bytes, node.outputs[0].rows)) // max(
        1, math.prod(node.outputs[0].shape)
    )
    if weights is not None and weights.dtype == "float16":
        return [f"{node.operator}_f16"]
    for suffix in (x, y, f"b{width}"):
        own = f"{node.operator}_{suffix}"
        if own in operators():
            continue  # conv2d refuses float32, and conv2d_f32's kernels begin with its name
        found = [name for name in names if name == own or name.startswith(f"{own}_")]
        if found:
            return found
    return []


def tier_names() -> list[str]:
    """The kernel tiers that this library has and this CPU can run, the lowest first."""
    names: list[str] = []
    index = 0
    while name := text(lib().ei_tier_name(index)):
        names += [name] if lib().ei_tier_supported(name.encode()) else []
        index += 1
    return names


def kernel_tiers(tier: str) -> dict[str, str]:
    """For every kernel the tier whose version sessions of `tier` run."""
    found: dict[str, str] = {}
    while name := text(lib().ei_kernel_name(len(found))):
        found[name] = text(lib().ei_kernel_tier(tier.encode(), len(found)))
    return found


def _cost(node: FileNode, step: FileStep, tiers: dict[str, str]) -> StepCost:
    y = node.outputs[0]
    kernels = [f"{name} {tiers[name]}" for name in kernels_of(node, list(tiers))]
    # A band does its share of the rows, and reads constants whole, but for a table's other rows.
    part = (step.row_end - step.row_begin) / y.rows
    moved = sum(t.nbytes for t in _activations(node)) * part
    constants = sum(t.data.nbytes for t in node.inputs if t is not None and t.data is not None)
    if node.operator in ("embedding", "gather"):
        constants = min(constants, round(y.nbytes * part))
    return StepCost(
        node.name,
        node.operator,
        " + ".join(kernels) or "memcpy",
        round(count_node_macs(node) * part),
        round(moved) + constants,
        constants,
        y.dtype == "float32",
    )


def _activations(node: FileNode) -> list[FileTensor]:
    return [t for t in (*node.inputs, *node.outputs) if t is not None and t.data is None]


def count_node_macs(node: FileNode) -> int:
    """Multiplications of one node, if it is a convolution or matrix product."""
    x, y, params = node.inputs[0], node.outputs[0], node.params
    outputs = math.prod(y.shape)
    if x is None:
        return 0
    operator = node.operator.removesuffix("_f32").removesuffix("_dynamic")
    if operator in ("fully_connected", "batch_matmul"):
        return outputs * x.shape[-1]
    if not operator.endswith("conv2d"):
        return 0
    taps = int(params["kernel_h"]) * int(params["kernel_w"])
    if operator == "depthwise_conv2d":
        return outputs * taps
    if operator == "transpose_conv2d":  # every input value meets every tap
        return math.prod(x.shape) * taps * y.shape[3] // int(params["groups"])
    return outputs * taps * x.shape[3] // int(params["groups"])
