"""The intermediate representation: what a source model means, before any decision about kernels.

A `Graph` is a list of `Node`s in execution order over `Tensor`s. Frontends build it, passes rewrite
it, `lower` turns it into a `program.Program`. Conventions that every frontend and pass keeps:

- Shapes are static tuples of ints >= 1. Spatial operators are NHWC; a frontend for an NCHW source
  puts transposes around them, and a pass cancels these.
- A quantised tensor has an integer dtype and a `Quantization`; real = scale * (q - zero_point). A
  float32 tensor has none. uint8 weights and activations are allowed here; lowering makes them int8.
- Constants are tensors with `data`. Weights keep the layouts of the table below.
- In a QDQ model a frontend resolves QuantizeLinear/DequantizeLinear pairs, so that a node between
  them has quantised tensors on both sides. A node whose output the source leaves in float (Conv ->
  Relu -> Quantize) has a float32 output; fusing or propagation must remove it, and what remains
  float is reported, never computed some other way in silence.

Operators: inputs -> output; attributes. "?" marks an optional input (None when absent).

conv2d: x [N,H,W,C], w [OC,KH,KW,C/groups], bias? [OC] -> y; strides, dilations (h, w), pads (top,
    left, bottom, right), groups. The bias of a quantised node is int32 (int64 for int16 x) at scale
    s_x * s_w.
depthwise_conv2d: x [N,H,W,C], w [KH,KW,C*multiplier], bias? -> y; as conv2d, without groups.
transpose_conv2d: x, w [OC,KH,KW,C/groups], bias? -> y; strides, dilations, groups, and pads (top,
    left, bottom, right): what is cut from the full result of (KH - 1) * dilation +
    (H - 1) * stride + 1 rows.
fully_connected: x [..., K], w [N,K], bias? [N] -> y [..., N].
batch_matmul: a [..., M,K], b [..., K,N] -> y; transpose_a, transpose_b (bool).
add, sub, mul, maximum, minimum: a, b (NumPy broadcasting) -> y.
relu, relu6, sigmoid, tanh, hard_swish, hard_sigmoid, elu, gelu, silu, exp, log, sqrt, rsqrt, abs,
    neg, square, softplus, erf: x -> y, elementwise; gelu: approximate (bool); hard_sigmoid: alpha,
    beta;
    elu: alpha.
leaky_relu: x -> y; alpha.
prelu: x, slope (constant, broadcast) -> y.
clip: x -> y; min, max (real numbers, None for open).
softmax: x -> y; axis, beta (default 1.0).
avg_pool2d: x -> y; kernel, strides (h, w), pads, count_include_pad (bool); dilations ((1, 1) but
    of float32).
max_pool2d: x -> y; kernel, strides, dilations, pads.
mean, sum, reduce_max, reduce_min, reduce_prod: x -> y; axes (tuple, non-negative), keep_dims
    (bool).
concat: any number of x -> y; axis.
split: x -> several y; axis, sizes.
slice: x -> y; begin, strides (tuples over all axes; the shape of y gives the ends).
pad: x -> y; before, after (tuples over all axes), mode ("constant", "reflect", "symmetric",
    "edge"), value (real).
transpose: x -> y; perm.
reshape: x -> y (squeeze, flatten, expand_dims and so on are reshapes).
resize: x [N,H,W,C] -> y; mode ("nearest", "linear"; of float32 "cubic"), coordinates ("half_pixel",
    "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"), rounding (for
    nearest: "floor", "ceil", "round_half_up", "round_prefer_floor", "round_prefer_ceil"), scales
    (h, w), or None when the shapes decide. For cubic, and linear of float32: cubic_coeff_a,
    exclude_outside, antialias (ONNX's words).
gather: x, indices (int32 or int64) -> y; axis.
argmax, argmin: x -> y int32 or int64; axis, keep_dims, select_last (bool).
quantize, dequantize, requantize: x -> y; the tensors' own quantisation says everything.

On float32, and where they say so on others:

div, pow, atan2: a, b (broadcasting) -> y.
mod: a, b -> y; fmod (bool: the sign of a, as C's fmod has it; else that of b).
floor, ceil, round (half to even), sign, reciprocal, sin, cos, tan, asin, acos, atan, sinh, cosh,
    asinh, acosh, atanh, mish, softsign: x -> y, elementwise.
selu: x -> y; alpha, gamma. celu, thresholded_relu: x -> y; alpha.
shrink: x -> y; lambd, bias (x + bias below -lambd, x - bias above lambd, else 0).
is_nan: x -> y bool. is_inf: x -> y bool; positive, negative (bool: which ones count).
equal, less, less_or_equal, greater, greater_or_equal: a, b of one dtype (any plain one;
    broadcasting) -> y bool.
logical_and, logical_or, logical_xor: a, b bool (broadcasting) -> y bool. logical_not: x bool -> y.
where: condition bool, a, b of one dtype (any; all three broadcast) -> y of that dtype.
cast: x -> y, whose dtypes say everything; float to integer truncates, to bool is x != 0.
log_softmax: x -> y; axis.
layer_norm: x, scale?, bias? (shaped as the axes of x from `axis` on) -> y; axis, epsilon.
rms_norm: x, scale? -> y; axis, epsilon.
cumsum: x -> y; axis, exclusive, reverse (bool).
top_k: x -> values, indices (int64); axis, k, largest (bool). Sorted; of equal ones the first wins.
What can be said with these is: group and instance normalisation by layer_norm, lrn by avg_pool2d,
    one_hot and trilu by equal and where.

custom: any -> y; name, attributes (a dict): an operator that the process has registered
    (edgeinfer.custom), which says itself what it takes.

pointwise: x -> y; body (a tuple of nodes of one output each, in order, that make y of x and scalar
    constants). Made by passes only.

Any node may have `activation`: None, "relu", "relu6", "relu_n1_to_1" or ("clip", min, max) in real
numbers: applied to the result before it is stored (TFLite's fused activation; passes fuse others
into it).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from edgeinfer.convert.quantize.block_weights import BlockWeights
    from edgeinfer.convert.quantize.channel_weights import ChannelWeights

DTYPES = ("int8", "uint8", "int16", "int32", "int64", "float32", "bool")
"""Element types that a tensor may have."""


@dataclass(frozen=True, eq=False)
class Quantization:
    """Affine quantisation, per tensor (one scale) or per channel along `axis`.

    Parameters
    ----------
    scale : float32 array of shape [1] or [channels], finite, > 0.
    zero_point : int64 array of the same shape.
    axis : the channel axis; only meaningful when there are several scales.
    """

    scale: npt.NDArray[np.float32]
    zero_point: npt.NDArray[np.int64]
    axis: int = 0

    @staticmethod
    def per_tensor(scale: float, zero_point: int) -> Quantization:
        """One scale and zero point for the whole tensor."""
        return Quantization(np.array([scale], np.float32), np.array([zero_point], np.int64))

    @property
    def is_per_tensor(self) -> bool:
        """Whether one scale serves the whole tensor."""
        return self.scale.size == 1

    def same_as(self, other: Quantization | None) -> bool:
        """Whether both map integers to the same real numbers."""
        return (
            other is not None
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
            and (self.is_per_tensor or self.axis == other.axis)
        )


@dataclass(eq=False)
class Tensor:
    """A value of the graph. Identity matters: nodes share tensors by reference."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    quantization: Quantization | None = None
    data: npt.NDArray[Any] | None = None
    # Of weights: how they are stored, four bits or int8 whose values are `data`.
    blocks: BlockWeights | ChannelWeights | None = None

    @property
    def is_constant(self) -> bool:
        """Whether the value is known at conversion."""
        return self.data is not None

    def __repr__(self) -> str:
        kind = "constant" if self.is_constant else "tensor"
        return f"<{kind} {self.name!r} {self.dtype}{list(self.shape)}>"


@dataclass(eq=False)
class Node:
    """One operator application; `name` and `source` are the source model's words for it."""

    op: str
    inputs: list[Tensor | None]
    outputs: list[Tensor]
    attrs: dict[str, Any] = field(default_factory=dict)
    activation: str | tuple[str, float | None, float | None] | None = None
    name: str = ""
    source: str = ""  # the source format's operator, e.g. CONV_2D or QLinearConv
    absorbed: tuple[str, ...] = ()  # names of source nodes that passes fused into this one
    float_reason: str = ""  # why quantisation left it in float32
    int16_reason: str = ""  # why quantisation gave it int16 activations

    def input(self, index: int) -> Tensor:
        """Input `index`, which must be present."""
        tensor = self.inputs[index] if index < len(self.inputs) else None
        if tensor is None:
            raise ValueError(f"node {self.name!r} ({self.op}) has no input {index}")
        return tensor

    @property
    def output(self) -> Tensor:
        """The only output."""
        (tensor,) = self.outputs
        return tensor

    def __repr__(self) -> str:
        return f"<{self.op} {self.name!r} {self.inputs} -> {self.outputs} {self.attrs}>"


@dataclass(frozen=True)
class Problem:
    """Why a node cannot be converted, and what its owner can do."""

    node: str
    operator: str
    reason: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.node} ({self.operator}): {self.reason}" + (
            f"; {self.advice}" if self.advice else ""
        )


@dataclass(eq=False)
class Graph:
    """A model: nodes in execution order. `problems` are nodes that the frontend could not express.

    A frontend goes on after an unsupported node: it records the problem, and leaves a node with op
    "unsupported" whose outputs have the shapes that the source file tells, so that one run finds
    every problem.
    """

    name: str
    inputs: list[Tensor]
    outputs: list[Tensor]
    nodes: list[Node]
    source_format: str  # "tflite" or "onnx": some operators round differently
    metadata: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def producers(self) -> dict[Tensor, Node]:
        """The node that makes each tensor."""
        return {output: node for node in self.nodes for output in node.outputs}

    def consumers(self) -> dict[Tensor, list[Node]]:
        """The nodes that read each tensor, in order, a node once per operand."""
        found: dict[Tensor, list[Node]] = {}
        for node in self.nodes:
            for tensor in node.inputs:
                if tensor is not None:
                    found.setdefault(tensor, []).append(node)
        return found

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor once: inputs, then in order of first use."""
        seen: set[int] = set()
        for tensor in [*self.inputs, *(t for n in self.nodes for t in [*n.inputs, *n.outputs])]:
            if tensor is not None and id(tensor) not in seen:
                seen.add(id(tensor))
                yield tensor

    def replace_input(self, old: Tensor, new: Tensor) -> None:
        """Make every reader of `old` (nodes and graph outputs) read `new`."""
        for node in self.nodes:
            node.inputs = [new if tensor is old else tensor for tensor in node.inputs]
        self.outputs = [new if tensor is old else tensor for tensor in self.outputs]


class GraphError(ValueError):
    """A graph breaks its own rules: an error in a frontend or pass, not in the user's model."""


def check_graph(graph: Graph) -> None:
    """Raise GraphError unless the graph keeps the conventions: run after every frontend and pass.

    Every tensor read is a graph input, a constant or made earlier; made once; shapes and dtypes are
    legal; constants have the declared shape and dtype; quantised tensors have finite positive
    scales.
    """
    known = set(graph.inputs)
    for node in graph.nodes:
        for tensor in node.inputs:
            if tensor is not None and not tensor.is_constant and tensor not in known:
                raise GraphError(
                    f"{node.name!r} ({node.op}) reads {tensor.name!r} before it is made"
                )
        for tensor in node.outputs:
            if tensor in known or tensor.is_constant:
                raise GraphError(f"{node.name!r} ({node.op}) makes {tensor.name!r}, which exists")
            known.add(tensor)
    for tensor in graph.outputs:
        if tensor not in known and not tensor.is_constant:
            raise GraphError(f"graph output {tensor.name!r} is never made")
    for tensor in graph.tensors():
        _check_tensor(tensor)


def _check_tensor(tensor: Tensor) -> None:
    if tensor.dtype not in DTYPES:
        raise GraphError(f"{tensor.name!r} has unknown dtype {tensor.dtype!r}")
    if tensor.data is not None:
        if tensor.data.shape != tensor.shape or tensor.data.dtype != np.dtype(tensor.dtype):
            raise GraphError(
                f"constant {tensor.name!r} is {tensor.data.dtype}{tensor.data.shape}, "
                f"declared {tensor.dtype}{tensor.shape}"
            )
    elif any(not isinstance(n, int) or n < 1 for n in tensor.shape):
        raise GraphError(f"{tensor.name!r} has shape {tensor.shape}")
    quantization = tensor.quantization
    if quantization is not None:
        if tensor.dtype in ("float32", "bool"):
            raise GraphError(f"{tensor.name!r} is {tensor.dtype} and quantised")
        scale = quantization.scale
        if scale.dtype != np.float32 or not np.all(np.isfinite(scale)) or not np.all(scale > 0):
            raise GraphError(f"{tensor.name!r} has scale {scale}")
