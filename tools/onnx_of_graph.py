"""A float graph of the converter as an ONNX model, so that other quantisers can have it.

Takes what the float MLPerf Tiny models are made of: convolutions, fully connected layers,
additions, pools, means, softmax and reshapes. Images become NCHW inside, as onnxruntime wants them,
between transposes at the operators that it cancels; inputs and outputs keep their layout.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgeinfer.convert.graph import Graph, Node, Tensor
from edgeinfer.convert.lower.activations import activation_bounds

_TO_NCHW, _TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]


class _Exporter:
    """Collects nodes and initialisers."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self._count = 0

    def constant(self, data: np.ndarray) -> str:
        import onnx

        name = f"constant_{len(self.constants)}"
        self.constants[name] = onnx.numpy_helper.from_array(np.ascontiguousarray(data), name)
        return name

    def node(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        import onnx

        self._count += 1
        output = f"{operator.lower()}_{self._count}"
        self.nodes.append(onnx.helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    def activated(self, x: str, node: Node) -> str:
        low, high = activation_bounds(node.activation)
        if (low, high) == (None, None):
            return x
        if (low, high) == (0.0, None):
            return self.node("Relu", [x])
        bounds = ["" if v is None else self.constant(np.float32(v)) for v in (low, high)]
        return self.node("Clip", [x, *bounds])


def onnx_of_graph(graph: Graph) -> Any:
    """The ModelProto of a float graph on which the passes have run.

    Raises
    ------
    ValueError
        The graph has an operator that this module does not write.
    """
    import onnx

    exporter = _Exporter()
    names: dict[Tensor, str] = {}
    images: dict[Tensor, str] = {}  # the same values as NCHW
    for i, tensor in enumerate(graph.inputs):
        names[tensor] = f"input_{i}"

    def plain(tensor: Tensor) -> str:
        if tensor not in names:
            if tensor.data is not None:
                names[tensor] = exporter.constant(tensor.data)
            else:
                names[tensor] = exporter.node("Transpose", [images[tensor]], perm=_TO_NHWC)
        return names[tensor]

    def image(tensor: Tensor) -> str:
        if tensor not in images:
            images[tensor] = exporter.node("Transpose", [plain(tensor)], perm=_TO_NCHW)
        return images[tensor]

    for node in graph.nodes:
        is_image = len(node.output.shape) == 4 and node.op not in ("reshape", "softmax")
        writer = _WRITERS.get(node.op)
        if writer is None:
            raise ValueError(f"{node.op} cannot be written")
        read = image if is_image else plain
        made = exporter.activated(writer(exporter, node, read), node)
        (images if is_image else names)[node.output] = made
    outputs = [plain(tensor) for tensor in graph.outputs]
    inputs = [
        onnx.helper.make_tensor_value_info(names[t], onnx.TensorProto.FLOAT, t.shape)
        for t in graph.inputs
    ]
    results = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, t.shape)
        for name, t in zip(outputs, graph.outputs, strict=True)
    ]
    made_graph = onnx.helper.make_graph(
        exporter.nodes, graph.name, inputs, results, list(exporter.constants.values())
    )
    model = onnx.helper.make_model(made_graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model


Reader = Callable[[Tensor], str]


def _convolution(exporter: _Exporter, node: Node, read: Reader) -> str:
    w = node.input(1).data
    assert w is not None
    depthwise = node.op == "depthwise_conv2d"
    weights = w.transpose(2, 0, 1)[:, None] if depthwise else w.transpose(0, 3, 1, 2)
    inputs = [read(node.input(0)), exporter.constant(weights)]
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        inputs.append(exporter.constant(np.asarray(node.input(2).data)))
    return exporter.node(
        "Conv",
        inputs,
        kernel_shape=list(weights.shape[2:]),
        strides=list(node.attrs["strides"]),
        dilations=list(node.attrs["dilations"]),
        pads=list(node.attrs["pads"]),
        group=node.input(0).shape[3] if depthwise else node.attrs["groups"],
    )


def _fully_connected(exporter: _Exporter, node: Node, read: Reader) -> str:
    inputs = [read(node.input(0)), read(node.input(1))]
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        inputs.append(read(node.input(2)))
    return exporter.node("Gemm", inputs, transB=1)


def _average(exporter: _Exporter, node: Node, read: Reader) -> str:
    return exporter.node(
        "AveragePool",
        [read(node.input(0))],
        kernel_shape=list(node.attrs["kernel"]),
        strides=list(node.attrs["strides"]),
        pads=list(node.attrs["pads"]),
        count_include_pad=int(bool(node.attrs["count_include_pad"])),
    )


def _add(exporter: _Exporter, node: Node, read: Reader) -> str:
    return exporter.node("Add", [read(node.input(0)), read(node.input(1))])


def _mean(exporter: _Exporter, node: Node, read: Reader) -> str:
    axes = list(node.attrs["axes"])
    if len(node.output.shape) == 4:  # the reader hands out NCHW
        axes = [_TO_NHWC[axis] for axis in axes]
    keep = int(bool(node.attrs["keep_dims"]))
    return exporter.node("ReduceMean", [read(node.input(0))], axes=axes, keepdims=keep)


def _reshape(exporter: _Exporter, node: Node, read: Reader) -> str:
    shape = exporter.constant(np.asarray(node.output.shape, np.int64))
    return exporter.node("Reshape", [read(node.input(0)), shape])


def _softmax(exporter: _Exporter, node: Node, read: Reader) -> str:
    return exporter.node("Softmax", [read(node.input(0))], axis=node.attrs["axis"])


_WRITERS: dict[str, Callable[[_Exporter, Node, Reader], str]] = {
    "conv2d": _convolution,
    "depthwise_conv2d": _convolution,
    "fully_connected": _fully_connected,
    "avg_pool2d": _average,
    "add": _add,
    "mean": _mean,
    "reshape": _reshape,
    "softmax": _softmax,
}
