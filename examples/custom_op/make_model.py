"""Write heatmap.onnx: a convolution, a sigmoid, and the operator PeakFilter of domain "example"."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE = 32


def make_model() -> onnx.ModelProto:
    """Blobs of a 32x32 picture become peaks of a heat map."""
    row = np.arange(-2, 3) ** 2
    blob = np.exp(-(row[:, None] + row[None, :]) / 2.0).astype(np.float32)
    weights = numpy_helper.from_array((blob - blob.mean())[None, None], "weights")
    bias = numpy_helper.from_array(np.array([-1.0], np.float32), "bias")
    nodes = [
        helper.make_node("Conv", ["picture", "weights", "bias"], ["response"], pads=[2, 2, 2, 2]),
        helper.make_node("Sigmoid", ["response"], ["heat"]),
        helper.make_node(
            "PeakFilter", ["heat"], ["peaks"], domain="example", threshold=0.4, radius=2
        ),
    ]
    shape = [1, 1, SIZE, SIZE]
    graph = helper.make_graph(
        nodes,
        "heatmap",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("peaks", TensorProto.FLOAT, shape)],
        [weights, bias],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("example", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "heatmap.onnx")
    onnx.save(make_model(), target)
    print(target)
