"""Which layers get weights of four bits in blocks, and the blocks of each.

Layers are those whose kernels take blocks, `conv2d` and `fully_connected`, where blocks are smaller
than int8 would be: blocks are padded along K, so a layer with few values of K may not be. Depthwise
convolutions, with a handful of values per channel, stay int8.

A model with dynamic activations keeps them in float32; its fully connected layers round each vector
to int8 at run time (`fully_connected_dynamic`), and have weights in blocks, or in int8 with a scale
for each channel. Convolutions stay float32 there. Scales of these blocks are searched
(`search_block_scales`), unless samples were there to fit weights to (`fit_dynamic`). With static
activations blocks begin as the formats' conversions make them, and `round_weights` makes them anew
for what the layers read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Graph, Node, Tensor
from edgeinfer.convert.lower.pack import TILE_CHANNELS, TILE_K
from edgeinfer.convert.lower.pack_fp4 import tile_bytes
from edgeinfer.convert.quantize.block_weights import BlockWeights, Scheme
from edgeinfer.convert.quantize.channel_weights import MOST_K, ChannelWeights, round_channels
from edgeinfer.convert.quantize.mxfp4 import quantize_mxfp4
from edgeinfer.convert.quantize.nvfp4 import quantize_nvfp4
from edgeinfer.convert.quantize.quantize_weights import ChosenWeights, Floats, choose_weights
from edgeinfer.convert.quantize.search_block_scales import search_block_scales

WeightScheme = Literal["int8", "mxfp4", "nvfp4"]
WEIGHT_SCHEMES: tuple[WeightScheme, ...] = get_args(WeightScheme)

TAKES_BLOCKS = ("conv2d", "fully_connected")


@dataclass(frozen=True, eq=False)
class ChosenBlocks(ChosenWeights):
    """Weights of a layer in blocks; `values` and `scales` are int8's, for other precisions."""

    blocks: BlockWeights

    def real(self, axis: int) -> npt.NDArray[np.float64]:
        """The weights that the blocks stand for."""
        return self.blocks.values().astype(np.float64).reshape(self.values.shape)

    def in_int8(self) -> ChosenWeights:
        """The int8 weights in their place."""
        return ChosenWeights(self.values, self.scales)


def round_blocks(weights: Floats, scheme: Scheme) -> BlockWeights:
    """Plainly rounded blocks of weights [N, ...], the axes behind the first being K, in order."""
    matrix = weights.reshape(weights.shape[0], -1)
    return quantize_mxfp4(matrix) if scheme == "mxfp4" else quantize_nvfp4(matrix)


def choose_blocks(
    weights: Floats, bias: Floats | None, input_scale: float, scheme: Scheme
) -> ChosenBlocks:
    """Blocks rounded to nearest, with the int8 weights that would be in their place."""
    plain = choose_weights(weights, bias, input_scale, 0)
    return ChosenBlocks(plain.values, plain.scales, round_blocks(weights, scheme))


def saves_bytes(weights: npt.NDArray[np.float32], scheme: Scheme) -> bool:
    """Whether a tile of blocks is smaller than one of int8."""
    k = int(weights[0].size)
    return tile_bytes(k, scheme) < -(-k // TILE_K) * TILE_K * TILE_CHANNELS


def block_tensor(tensor: Tensor, blocks: BlockWeights | ChannelWeights) -> Tensor:
    """A constant with the values that blocks stand for, and the blocks."""
    data = blocks.values().reshape(tensor.shape)
    return Tensor(tensor.name, tensor.shape, "float32", None, data, blocks)


def use_blocks(graph: Graph, scheme: WeightScheme) -> int:
    """Give the fully connected layers of a float graph such weights, but for those that have some.

    Returns
    -------
    int
        How many layers have such weights then.
    """
    made: dict[Tensor, Tensor] = {}
    layers = layers_for(graph, scheme)
    for node in layers:
        w = node.input(1)
        if w.blocks is not None:
            continue
        if w not in made:
            assert w.data is not None
            made[w] = block_tensor(w, _rounded(w.data.reshape(w.shape[0], -1), scheme))
        node.inputs[1] = made[w]
    return len(layers)


def layers_for(graph: Graph, scheme: WeightScheme) -> list[Node]:
    """The fully connected layers on float32 whose weights such ones can, and should, stand for."""
    return [node for node in graph.nodes if _takes(node, scheme)]


def _takes(node: Node, scheme: WeightScheme) -> bool:
    if node.op != "fully_connected" or node.output.dtype != "float32":
        return False
    x, w = node.input(0), node.input(1)
    if x.is_constant or x.dtype != "float32" or w.data is None or w.dtype != "float32":
        return False
    return bool(np.all(np.isfinite(w.data))) and _is_worth_it(w.data, scheme)


def _is_worth_it(weights: npt.NDArray[np.float32], scheme: WeightScheme) -> bool:
    if scheme == "int8":
        return bool(weights.shape[1] <= MOST_K)
    return saves_bytes(weights, scheme)


def _rounded(
    weights: npt.NDArray[np.float32], scheme: WeightScheme
) -> BlockWeights | ChannelWeights:
    return round_channels(weights) if scheme == "int8" else search_block_scales(weights, scheme)
