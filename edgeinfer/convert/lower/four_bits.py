"""Products with weights of four bits in blocks, or of int8 that meet float32: bias and multipliers.

With the factors f of channels that `kernel_factors` gives, weights are f times what kernels sum, so
int8 activations need

    bias        b / (s_x f) - z_x * (sum over K of scale times twice the element)
    multiplier  (s_x f) / s_y

both formed in float64 and rounded to float32 once. Activations in float32 need the bias as it is
and f as multiplier; what scales a vector is found when it runs. Of int8 weights, f is their scale.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Node
from edgeinfer.convert.lower.activations import float_bounds
from edgeinfer.convert.lower.lowering import (
    Lowering,
    Refused,
    finite,
    require,
    scale_of,
    zero_point_of,
)
from edgeinfer.convert.lower.pack import pack_channels, pack_fully_connected
from edgeinfer.convert.lower.pack_fp4 import (
    doubled_values,
    kernel_factors,
    kernel_scales,
    pack_blocks,
)
from edgeinfer.convert.program import Value
from edgeinfer.convert.quantize.block_weights import BLOCK, BlockWeights
from edgeinfer.convert.quantize.channel_weights import ChannelWeights

Reals = npt.NDArray[np.float64]


def has_blocks(node: Node) -> bool:
    """Whether the node's weights are in blocks."""
    return len(node.inputs) > 1 and node.inputs[1] is not None and node.input(1).blocks is not None


def integer_operands(node: Node, lowering: Lowering, groups: int) -> list[Value | None]:
    """Weights, bias and multiplier of a conv2d or fully_connected on int8."""
    x, y, blocks = node.input(0), node.output, _blocks(node)
    require(x, "input", "int8")
    require(y, "output", "int8")
    scale = float(scale_of(x)) * kernel_factors(blocks).astype(np.float64)
    start = _bias(node, blocks) / scale - zero_point_of(x) * _row_sums(blocks)
    return _operands(node, lowering, groups, start, scale / float(scale_of(y)))


def lower_dynamic(node: Node, lowering: Lowering) -> None:
    """One fully_connected_dynamic on float32."""
    x, weights = node.input(0), node.input(1).blocks
    assert weights is not None
    if x.dtype != "float32" or node.output.dtype != "float32":
        raise Refused(f"input {x.name!r} is {x.dtype} with weights in blocks, must be float32")
    if x.shape[-1:] != (weights.k,):
        raise Refused(f"weights of {weights.k} inputs do not fit the input {list(x.shape)}")
    if isinstance(weights, ChannelWeights):
        factors = weights.scales.astype(np.float64)
    else:
        factors = kernel_factors(weights).astype(np.float64)
    lowering.emit(
        node,
        "fully_connected_dynamic",
        [lowering.value(x), *_operands(node, lowering, 1, _bias(node, weights), factors)],
        lowering.value(node.output),
        float_bounds(node.activation),
    )


def _blocks(node: Node) -> BlockWeights:
    blocks = node.input(1).blocks
    assert isinstance(blocks, BlockWeights)
    return blocks


def _row_sums(blocks: BlockWeights) -> Reals:
    scales = np.repeat(kernel_scales(blocks).astype(np.float64), BLOCK[blocks.scheme], axis=1)
    return np.asarray((doubled_values(blocks) * scales).sum(axis=1))


def _bias(node: Node, blocks: BlockWeights | ChannelWeights) -> Reals:
    channels = blocks.codes.shape[0]
    tensor = node.inputs[2] if len(node.inputs) > 2 else None
    if tensor is None:
        return np.zeros(channels)
    if tensor.data is None:
        raise Refused(f"bias {tensor.name!r} is not constant", "store the bias in the model")
    if tensor.dtype != "float32":
        raise Refused(f"bias {tensor.name!r} is {tensor.dtype} beside weights in blocks")
    bias = tensor.data.reshape(-1)
    if bias.size != channels:
        raise Refused(f"bias {tensor.name!r} has {bias.size} values for {channels} channels")
    if not np.all(np.isfinite(bias)):
        raise Refused(f"bias {tensor.name!r} has values that are infinite or no numbers")
    return bias.astype(np.float64)


def _operands(
    node: Node, lowering: Lowering, groups: int, start: Reals, multiplier: Reals
) -> list[Value | None]:
    name, stored_as = node.output.name, node.input(1).blocks

    def by_channel(role: str, values: Reals) -> Value:
        stored: npt.NDArray[Any] = values.astype(np.float32)
        finite(stored, f"the {role}")
        return lowering.constant(f"{name}/{role}", pack_channels(stored, groups))

    if isinstance(stored_as, ChannelWeights):
        packed: npt.NDArray[Any] = pack_fully_connected(stored_as.codes)
        weights = lowering.constant(f"{name}/weights", packed)
    else:
        blocks = _blocks(node)
        weights = lowering.constant(f"{name}/weights", pack_blocks(blocks, groups))
        weights.scheme = blocks.scheme
    return [weights, by_channel("bias", start), by_channel("multiplier", multiplier)]
