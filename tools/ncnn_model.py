"""Write a float ONNX network as an int8 model of ncnn: a .param file, a .bin file.

ncnn's own tools for this (ncnnoptimize, ncnn2table, ncnn2int8) are programs in C++ that no Python
package brings, so their result is written here, the way they make it: activations symmetric, one
scale per tensor, 127 / largest absolute value seen in calibration; weights symmetric, one scale per
output channel (per group where depthwise); the activation function fused into the layer before it;
and where the output of a convolution goes into just one other, the first requantises for the
second (int8_scale_term + 100), so that no float tensor lies between them. Layers other than
convolutions and inner products stay float, as they do there.

For chains of Conv, Relu, Clip, Add, MaxPool, GlobalAveragePool, Flatten and Gemm, which is what
tools/reference_models.py writes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

_MAGIC = 7767517
_INT8_TAG = 0x000D4B38
_RELU, _CLIP = 1, 3
_WEIGHTED = ("Conv", "Gemm")


def write_ncnn_int8(model: Any, images: Iterable[np.ndarray], param: Path) -> None:
    """Write `model`, a ModelProto, to `param` and the .bin beside it, calibrated on `images`."""
    writer = _Writer(model, _largest_inputs(model, list(images)))
    writer.write()
    param.with_suffix(".bin").write_bytes(writer.weights)
    lines = [str(_MAGIC), f"{len(writer.layers)} {writer.blobs}", *writer.layers]
    param.write_text("\n".join(lines) + "\n")


def _largest_inputs(model: Any, images: list[np.ndarray]) -> dict[str, float]:
    """The largest absolute value of every tensor that a convolution or inner product reads."""
    import onnx
    import onnxruntime

    (image,) = (i.name for i in model.graph.input)
    names = {node.input[0] for node in model.graph.node if node.op_type in _WEIGHTED} - {image}
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    del exposed.graph.output[:]
    exposed.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    session = onnxruntime.InferenceSession(
        exposed.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    largest = {image: max(float(np.abs(x).max()) for x in images)}
    for x in images:
        for name, value in zip(names, session.run(list(names), {image: x}), strict=True):
            largest[name] = max(largest.get(name, 0.0), float(np.abs(value).max()))
    return largest


class _Writer:
    def __init__(self, model: Any, largest: dict[str, float]) -> None:
        import onnx

        graph = model.graph
        self.layers: list[str] = []
        self.weights = b""
        self.blobs = 0
        self._nodes = list(graph.node)
        self._scales = {name: 127.0 / value for name, value in largest.items()}
        self._constants = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
        self._readers = Counter(name for node in self._nodes for name in node.input)
        self._left: dict[str, list[str]] = {}  # names of a blob's copies that nothing reads yet
        self._image = graph.input[0]

    def write(self) -> None:
        dims = [d.dim_value for d in self._image.type.tensor_type.shape.dim]
        self._layer("Input", [], self._image.name, f"0={dims[3]} 1={dims[2]} 2={dims[1]}")
        skipped = set()
        for i, node in enumerate(self._nodes):
            if i in skipped:
                continue
            output, function = node.output[0], ""
            after = self._nodes[i + 1] if i + 1 < len(self._nodes) else None
            if node.op_type in _WEIGHTED and after is not None and after.input[0] == output:
                function = self._activation(after)
            if function and after is not None:
                output = after.output[0]
                skipped.add(i + 1)
            self._write_node(node, output, function)

    def _activation(self, node: Any) -> str:
        if node.op_type == "Relu":
            return f"9={_RELU}"
        if node.op_type == "Clip":
            low, high = (float(self._constants[name]) for name in node.input[1:])
            return f"9={_CLIP} -23310=2,{low:e},{high:e}"
        return ""

    def _write_node(self, node: Any, output: str, function: str) -> None:
        x = node.input[0]
        attributes = {a.name: a.ints[0] if a.ints else a.i for a in node.attribute}
        if node.op_type == "Conv":
            self._write_conv(node, output, attributes, function)
        elif node.op_type == "Gemm":
            w = self._constants[node.input[1]]
            self._layer(
                "InnerProduct", [x], output, f"0={w.shape[0]} 1=1 2={w.size} 8=2 {function}"
            )
            self._write_weights(node, len(w), None)
        elif node.op_type == "Add":
            self._layer("BinaryOp", list(node.input), output, "0=0")
        elif node.op_type == "Relu":
            self._layer("ReLU", [x], output, "")
        elif node.op_type == "MaxPool":
            kernel, stride, pad = (attributes[n] for n in ("kernel_shape", "strides", "pads"))
            self._layer("Pooling", [x], output, f"0=0 1={kernel} 2={stride} 3={pad} 5=1")
        elif node.op_type == "GlobalAveragePool":
            self._layer("Pooling", [x], output, "0=1 4=1")
        elif node.op_type == "Flatten":
            self._layer("Flatten", [x], output, "")
        else:
            raise ValueError(f"{node.op_type} has no translation to ncnn here")

    def _write_conv(self, node: Any, output: str, a: dict[str, int], function: str) -> None:
        w = self._constants[node.input[1]]
        depthwise = a["group"] > 1
        readers = [n for n in self._nodes if output in n.input]
        requantises = len(readers) == 1 and readers[0].op_type == "Conv"
        term = (1 if depthwise else 2) + (100 if requantises else 0)
        params = f"0={w.shape[0]} 1={w.shape[3]} 11={w.shape[2]} 3={a['strides']} 4={a['pads']} "
        params += f"5=1 6={w.size} 8={term} {function}"
        kind = "ConvolutionDepthWise" if depthwise else "Convolution"
        params += f" 7={a['group']}" if depthwise else ""
        self._layer(kind, [node.input[0]], output, params)
        self._write_weights(node, len(w), self._scales[output] if requantises else None)

    def _write_weights(self, node: Any, channels: int, top_scale: float | None) -> None:
        w, bias = (self._constants[name] for name in node.input[1:])
        scales = 127.0 / np.abs(w).reshape(channels, -1).max(axis=1)
        steps = np.rint(w * scales.reshape(-1, *[1] * (w.ndim - 1))).clip(-127, 127)
        data = steps.astype(np.int8).tobytes()
        self.weights += np.uint32(_INT8_TAG).tobytes() + data + bytes(-len(data) % 4)
        scales_of_layer = [*scales, self._scales[node.input[0]]]
        scales_of_layer += [] if top_scale is None else [top_scale]
        self.weights += bias.astype(np.float32).tobytes()
        self.weights += np.array(scales_of_layer, np.float32).tobytes()

    def _layer(self, kind: str, inputs: list[str], output: str, params: str) -> None:
        names = [self._left[x].pop() if x in self._left else x for x in inputs]
        number = len(self.layers)
        heading = f"{kind} {kind.lower()}_{number} {len(inputs)} 1"
        self.layers.append(" ".join([heading, *names, output, params]).rstrip())
        self.blobs += 1
        count = self._readers[output]
        if count > 1:  # a blob has one reader: ncnn has a layer for those that have more
            copies = [f"{output}_split_{i}" for i in range(count)]
            self._left[output] = copies.copy()
            heading = f"Split split_{number} 1 {count} {output}"
            self.layers.append(" ".join([heading, *copies]))
            self.blobs += count
