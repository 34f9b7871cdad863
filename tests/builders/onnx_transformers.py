"""Blocks of transformers as exporters write them out."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

LENGTH, WIDTH, HEADS, SHARED, DEPTH, WORDS = 12, 32, 4, 2, 8, 50


class Writer:
    """Nodes and constants of a graph, in the order they are written."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def weights(self, *shape: int) -> str:
        return self.constant(self.rng.normal(size=shape) / np.sqrt(shape[0]))

    def __call__(self, op: str, *inputs: Any, **attrs: Any) -> str:
        names = [x if isinstance(x, str) else self.constant(x) for x in inputs]
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, names, [name], **attrs))
        return name

    def axes(self, *axes: int) -> str:
        return self.constant(axes, np.int64)

    def reshape(self, x: str, *shape: int) -> str:
        return self("Reshape", x, self.constant(shape, np.int64))

    def cut(self, x: str, start: int, end: int, axis: int = -1) -> str:
        return self("Slice", x, self.axes(start), self.axes(end), self.axes(axis))

    def build(self, y: str, inputs: list[str], width: int) -> bytes:
        make = helper.make_tensor_value_info
        self.nodes.append(helper.make_node("Identity", [y], ["y"]))
        graph = helper.make_graph(
            self.nodes,
            "g",
            [make(name, TensorProto.INT64, ["b", "s"]) for name in inputs],
            [make("y", TensorProto.FLOAT, ["b", "s", width])],
            self.constants,
        )
        opsets = [helper.make_opsetid("", 17)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        return bytes(model.SerializeToString())


def llama() -> bytes:
    """A decoder layer and its head: RMS norm, rotary embedding, repeated keys, SiLU gates."""
    w = Writer()

    def rms_norm(x: str) -> str:
        mean = w("ReduceMean", w("Pow", x, 2.0), axes=[-1], keepdims=1)
        root = w("Sqrt", w("Add", mean, 1e-5))
        return w("Mul", w.weights(WIDTH), w("Mul", x, w("Div", 1.0, root)))

    def heads(x: str, count: int) -> str:
        split = w.reshape(w("MatMul", x, w.weights(WIDTH, count * DEPTH)), 0, -1, count, DEPTH)
        return w("Transpose", split, perm=[0, 2, 1, 3])

    angles = np.outer(np.arange(LENGTH), 1e4 ** (-np.arange(0, DEPTH, 2) / DEPTH))
    angles = np.concatenate([angles, angles], -1)[None, None]
    cosine, sine = w.constant(np.cos(angles)), w.constant(np.sin(angles))

    def turned(x: str) -> str:
        half = w("Concat", w("Neg", w.cut(x, DEPTH // 2, DEPTH)), w.cut(x, 0, DEPTH // 2), axis=-1)
        return w("Add", w("Mul", x, cosine), w("Mul", half, sine))

    def repeated(x: str) -> str:
        apart = w("Unsqueeze", x, w.axes(2))
        shape = w.constant([1, SHARED, HEADS // SHARED, LENGTH, DEPTH], np.int64)
        return w.reshape(w("Expand", apart, shape), 1, HEADS, LENGTH, DEPTH)

    x = w("Gather", w.weights(WORDS, WIDTH), "ids")
    normal = rms_norm(x)
    q, k, v = turned(heads(normal, HEADS)), turned(heads(normal, SHARED)), heads(normal, SHARED)
    keys = w("Transpose", repeated(k), perm=[0, 1, 3, 2])
    scores = w("Mul", w("MatMul", q, keys), DEPTH**-0.5)
    hidden = w.constant(np.triu(np.full((LENGTH, LENGTH), np.finfo(np.float32).min), 1)[None, None])
    seen = w("Softmax", w("Add", scores, hidden), axis=-1)
    joined = w("Transpose", w("MatMul", seen, repeated(v)), perm=[0, 2, 1, 3])
    merged = w.reshape(joined, 0, -1, HEADS * DEPTH)
    x = w("Add", x, w("MatMul", merged, w.weights(HEADS * DEPTH, WIDTH)))
    normal = rms_norm(x)
    gate = w("MatMul", normal, w.weights(WIDTH, 64))
    gated = w("Mul", w("Mul", gate, w("Sigmoid", gate)), w("MatMul", normal, w.weights(WIDTH, 64)))
    x = w("Add", x, w("MatMul", gated, w.weights(64, WIDTH)))
    return w.build(w("MatMul", rms_norm(x), w.weights(WIDTH, WORDS)), ["ids"], WORDS)


def bert(ids: str = "ids", mask: str = "mask") -> bytes:
    """An encoder layer of operator set 13's time: nothing but simple operators.

    ids, mask : what its inputs are called.
    """
    w = Writer()

    def layer_norm(x: str) -> str:
        centred = w("Sub", x, w("ReduceMean", x, axes=[-1], keepdims=1))
        variance = w("ReduceMean", w("Pow", centred, 2.0), axes=[-1], keepdims=1)
        normal = w("Div", centred, w("Sqrt", w("Add", variance, 1e-12)))
        return w("Add", w("Mul", normal, w.weights(WIDTH)), w.weights(WIDTH))

    def dense(x: str, n: int, k: int = WIDTH) -> str:
        return w("Add", w("MatMul", x, w.weights(k, n)), w.weights(n))

    def heads(x: str, perm: list[int]) -> str:
        return w("Transpose", w.reshape(x, 0, -1, HEADS, DEPTH), perm=perm)

    counts = w("Cast", w("Unsqueeze", mask, w.axes(1, 2)), to=TensorProto.FLOAT)
    bias = w("Mul", w("Sub", 1.0, counts), float(np.finfo(np.float32).min))
    x = layer_norm(w("Gather", w.weights(WORDS, WIDTH), ids))
    q = heads(dense(x, WIDTH), [0, 2, 1, 3])
    k = heads(dense(x, WIDTH), [0, 2, 3, 1])
    v = heads(dense(x, WIDTH), [0, 2, 1, 3])
    scores = w("Add", w("Div", w("MatMul", q, k), DEPTH**0.5), bias)
    seen = w("MatMul", w("Softmax", scores, axis=-1), v)
    merged = w.reshape(w("Transpose", seen, perm=[0, 2, 1, 3]), 0, -1, WIDTH)
    x = layer_norm(w("Add", dense(merged, WIDTH), x))
    inner = dense(x, 64)
    bent = w("Add", w("Erf", w("Div", inner, 2**0.5)), 1.0)
    gelu = w("Mul", w("Mul", inner, bent), 0.5)
    return w.build(layer_norm(w("Add", dense(gelu, WIDTH, 64), x)), [ids, mask], WIDTH)
