"""A text encoder in small, as exporters write one out."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

WIDTH, WORDS = 8, 23


def encoder(ids: list[int | str], mask: list[int | str] | None = None) -> bytes:
    """One head of attention over embedded tokens: hidden [b, s, width] and their mean, pooled.

    input_ids and attention_mask are int64, of the shapes given; s stands for the open length.
    """
    rng = np.random.default_rng(3)
    weights = {
        "table": rng.normal(size=(WORDS, WIDTH)),
        "wq": rng.normal(size=(WIDTH, WIDTH)),
        "one": np.asarray(1.0),
        "low": np.asarray(-1e9),
    }
    make = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["x"]),
        helper.make_node("Cast", ["attention_mask"], ["m"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["one", "m"], ["hidden_m"]),
        helper.make_node("Mul", ["hidden_m", "low"], ["bias2"]),
        helper.make_node("Unsqueeze", ["bias2", "axis1"], ["bias"]),
        helper.make_node("MatMul", ["x", "wq"], ["q"]),
        helper.make_node("Transpose", ["x"], ["k"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "k"], ["scores"]),
        helper.make_node("Add", ["scores", "bias"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["p"], axis=-1),
        helper.make_node("MatMul", ["p", "x"], ["hidden"]),
        helper.make_node("Unsqueeze", ["m", "axis2"], ["m3"]),
        helper.make_node("Mul", ["hidden", "m3"], ["counted"]),
        helper.make_node("ReduceSum", ["counted", "axis1"], ["total"], keepdims=0),
        helper.make_node("ReduceSum", ["m", "axis1"], ["count"], keepdims=1),
        helper.make_node("Div", ["total", "count"], ["pooled"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [
            make("input_ids", TensorProto.INT64, ids),
            make("attention_mask", TensorProto.INT64, mask or ids),
        ],
        [
            make("hidden", TensorProto.FLOAT, ["b", "s", WIDTH]),
            make("pooled", TensorProto.FLOAT, ["b", WIDTH]),
        ],
        [numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()]
        + [numpy_helper.from_array(np.array([i]), f"axis{i}") for i in (1, 2)],
    )
    opsets = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
