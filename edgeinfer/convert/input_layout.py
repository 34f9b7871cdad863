"""Graph inputs in another order of axes than the source has: NHWC, as cameras give pixels.

An image input of a model from PyTorch is NCHW, plane by plane. As NHWC its lines come one after the
other with all of their channels, so that nothing is rearranged before the first convolution, and
the input can be fed by rows.

Algorithm. The input is replaced by one of the new shape, and a transpose behind it makes what the
model read before. Passes sink that transpose until it meets the one in front of the first
convolution, and both vanish.

Which inputs are NCHW is read off the graph: those that come, through operators that keep axes where
they are, to a transpose from NCHW to NHWC, which frontends put in front of convolutions and pools.
A rank of four alone says little: masks of attention have it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from edgeinfer.convert.graph import Graph, Node, Tensor
from edgeinfer.convert.lower.functions import BINARY, UNARY
from edgeinfer.errors import InputError

Layout = Literal["source", "nhwc"]
"""Axes in the order of the source, or batch, height, width, channels."""

InputLayout = Layout | Mapping[str, Layout]
"""For all inputs, or by name; "" is the only input of a model that has one."""

_TO_NHWC = (0, 2, 3, 1)
_TO_NCHW = (0, 3, 1, 2)
_KEEPING = {*UNARY, *BINARY, "div", "cast", "quantize", "dequantize", "requantize", "prelu", "pad"}
_SPATIAL = {
    "conv2d",
    "depthwise_conv2d",
    "transpose_conv2d",
    "avg_pool2d",
    "max_pool2d",
    "resize",
}


def set_input_layout(graph: Graph, layout: InputLayout) -> None:
    """Change the inputs of a graph on which no pass has run.

    "nhwc" for all inputs changes those that are NCHW images, and leaves the others. By name it is
    for NCHW images only.

    Raises
    ------
    InputError
        There is no such layout or input, an input is no NCHW image, or none of them is.
    """
    if isinstance(layout, Mapping):
        chosen = [_named(graph, name) for name, wanted in layout.items() if _is_nhwc(wanted)]
        for tensor in chosen:
            if not _is_nchw(graph, tensor):
                raise InputError(f"{graph.name}: {_why_not(graph, tensor)}; leave it as it is")
    elif _is_nhwc(layout):
        chosen = _nchw_inputs(graph)
        if not chosen:
            reasons = "; ".join(_why_not(graph, tensor) for tensor in graph.inputs)
            raise InputError(
                f"{graph.name} has no NCHW image among its inputs: {reasons}; leave the layout of "
                "inputs as it is"
            )
    else:
        return
    for tensor in chosen:
        _turn(graph, tensor)


def set_input_layout_where_it_applies(graph: Graph, layout: InputLayout) -> None:
    """The same, for one of several models: what does not apply to this one is passed over."""
    named = layout if isinstance(layout, Mapping) else {"": layout}
    for tensor in _nchw_inputs(graph):
        if _is_nhwc(named.get(tensor.name, named.get("", "source"))):
            _turn(graph, tensor)


def _nchw_inputs(graph: Graph) -> list[Tensor]:
    return [tensor for tensor in graph.inputs if _is_nchw(graph, tensor)]


def _is_nhwc(layout: str) -> bool:
    if layout not in ("source", "nhwc"):
        raise InputError(f"the layout of an input is {layout!r}, must be source or nhwc")
    return layout == "nhwc"


def _named(graph: Graph, name: str) -> Tensor:
    if not name and len(graph.inputs) == 1:
        return graph.inputs[0]
    for tensor in graph.inputs:
        if tensor.name == name:
            return tensor
    listed = ", ".join(f"{t.name!r} {list(t.shape)}" for t in graph.inputs)
    what = f"no input {name!r}" if name else f"{len(graph.inputs)} inputs, so a name is needed"
    raise InputError(f"{graph.name} has {what}; its inputs: {listed or 'none'}")


def _is_nchw(graph: Graph, tensor: Tensor) -> bool:
    return len(tensor.shape) == 4 and any(_turns(r, _TO_NHWC) for r in _looking(graph, tensor))


def _why_not(graph: Graph, tensor: Tensor) -> str:
    shape = f"input {tensor.name!r} {list(tensor.shape)}"
    if len(tensor.shape) != 4:
        return f"{shape} has rank {len(tensor.shape)}, images have 4"
    readers = _looking(graph, tensor)
    if any(reader.op in _SPATIAL or _turns(reader, _TO_NCHW) for reader in readers):
        return f"{shape} is NHWC already"
    return f"{shape} comes to no convolution or pooling as it is, so its axes have no names"


def _turns(node: Node, perm: tuple[int, ...]) -> bool:
    return node.op == "transpose" and tuple(node.attrs["perm"]) == perm


def _looking(graph: Graph, tensor: Tensor) -> list[Node]:
    """What first looks at the axes of an input, in the order of execution."""
    reached = {tensor}
    found = []
    for node in graph.nodes:
        if reached.isdisjoint(t for t in node.inputs if t is not None):
            continue
        if node.op in _KEEPING:
            reached.update(t for t in node.outputs if len(t.shape) == len(tensor.shape))
        else:
            found.append(node)
    return found


def _turn(graph: Graph, tensor: Tensor) -> None:
    """Give the place and the name of an NCHW input to an NHWC one."""
    shape = tuple(tensor.shape[axis] for axis in _TO_NHWC)
    fed = Tensor(tensor.name, shape, tensor.dtype, tensor.quantization)
    tensor.name = f"{tensor.name} (NCHW)"
    graph.inputs = [fed if t is tensor else t for t in graph.inputs]
    node = Node("transpose", [fed], [tensor], {"perm": _TO_NCHW}, name=tensor.name)
    graph.nodes.insert(0, node)
