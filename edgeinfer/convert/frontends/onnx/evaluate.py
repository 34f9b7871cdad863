"""Shapes of single nodes, and the value of nodes whose inputs are constants.

Exporters leave shape arithmetic in a model (Shape, Gather, Concat, then Reshape). It is evaluated
here with onnx.reference, node by node as the graph is built, and so are weights that are reshaped
or scaled on their way to an operator. Which operators may be evaluated is listed, and what results
grow to is limited before they are computed: a few bytes of Expand can ask for any amount.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from types import ModuleType
from typing import Any

import numpy as np

from .model_file import DEFAULT, SourceNode, ValueType
from .values import Array, Unsupported, Value

MAX_EVALUATED_BYTES = 256 << 20
"""What evaluated constants of a model may take together."""

_MAX_SHAPE_INPUT = 4096  # elements; larger constants do not say what shape a result has

_SHAPES = ("Shape", "Size")

EVALUATED = frozenset(
    {
        "Abs",
        "Add",
        "And",
        "Cast",
        "CastLike",
        "Ceil",
        "Clip",
        "Concat",
        "ConstantOfShape",
        "CumSum",
        "Div",
        "Equal",
        "Exp",
        "Expand",
        "Flatten",
        "Floor",
        "Gather",
        "GatherElements",
        "GatherND",
        "Greater",
        "GreaterOrEqual",
        "Identity",
        "Less",
        "LessOrEqual",
        "Log",
        "Max",
        "Min",
        "Mod",
        "Mul",
        "Neg",
        "NonZero",
        "Not",
        "OneHot",
        "Or",
        "Pad",
        "Pow",
        "Range",
        "Reciprocal",
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "ReduceSumSquare",
        "Reshape",
        "Round",
        "ScatterElements",
        "ScatterND",
        "Shape",
        "Sign",
        "Size",
        "Slice",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Sum",
        "Tile",
        "Transpose",
        "Trilu",
        "Unsqueeze",
        "Where",
        "Xor",
    }
)

_BOUNDED_BY_INPUT = ("NonZero",)  # whose shape depends on values


class Evaluator:
    """Infers and evaluates single nodes with the `onnx` package."""

    def __init__(self, onnx: ModuleType, opsets: Mapping[str, int]) -> None:
        self._onnx = onnx
        self._opsets = opsets
        self._remaining = MAX_EVALUATED_BYTES

    def can_evaluate(self, node: SourceNode, inputs: Sequence[Value | None]) -> bool:
        """Whether the node's value can be told without running the model."""
        if node.domain != DEFAULT or node.op not in EVALUATED:
            return False
        if node.op in _SHAPES:
            return inputs[0] is not None and inputs[0].shape is not None
        if node.op == "CastLike" and inputs[1] is not None and inputs[1].narrow:
            return False  # the wider type has other bounds
        return all(value is None or value.constant_data is not None for value in inputs)

    def evaluate(
        self, node: SourceNode, inputs: Sequence[Value | None], data: Sequence[Array | None]
    ) -> list[tuple[Array, int]]:
        """Value and element type of every output of a node that reads `data`."""
        onnx = self._onnx
        if node.op in _SHAPES and inputs[0] is not None:
            return [(self._shape(node, inputs[0]), int(onnx.TensorProto.INT64))]
        types = self.infer(node, inputs)
        for kind in types:
            self._spend(node, kind, data)
        names = [name for name in dict.fromkeys(node.inputs) if name]
        by_name = {
            name: array
            for name, array in zip(node.inputs, data, strict=True)
            if name and array is not None
        }
        untyped = onnx.helper.make_tensor_type_proto
        elements = {
            name: int(onnx.helper.np_dtype_to_tensor_dtype(by_name[name].dtype)) for name in names
        }
        outputs = [name or f"unread_{i}" for i, name in enumerate(node.outputs)]
        graph = onnx.helper.make_graph(
            [self._proto(node, outputs)],
            "constant",
            [onnx.helper.make_value_info(n, untyped(elements[n], None)) for n in names],
            [
                onnx.helper.make_value_info(n, untyped(kind.elements, None))
                for n, kind in zip(outputs, types, strict=True)
            ],
        )
        imports = [onnx.helper.make_opsetid(DEFAULT, node.version)]
        model = onnx.helper.make_model(graph, opset_imports=imports)
        try:
            with np.errstate(all="ignore"):
                found = onnx.reference.ReferenceEvaluator(model).run(None, by_name)
        except Exception as error:  # whatever numpy and onnx.reference raise on odd operands
            raise Unsupported(f"its value cannot be computed at conversion ({error})") from error
        return [
            (np.asarray(array), kind.elements) for array, kind in zip(found, types, strict=True)
        ]

    def infer(self, node: SourceNode, inputs: Sequence[Value | None]) -> list[ValueType]:
        """Element types and shapes of the outputs, as far as ONNX's own rules tell."""
        onnx = self._onnx
        types, data = {}, {}
        for name, value in zip(node.inputs, inputs, strict=True):
            if value is None:
                continue
            shape = value.known_shape
            elements = onnx.TensorProto.DataType.Value(value.elements)
            types[name] = onnx.helper.make_tensor_type_proto(elements, shape)
            if value.data is not None and value.data.size <= _MAX_SHAPE_INPUT:
                data[name] = onnx.numpy_helper.from_array(value.data)
        try:
            schema = onnx.defs.get_schema(node.op, node.version, node.domain)
            inferred = onnx.shape_inference.infer_node_outputs(
                schema,
                self._proto(node, node.outputs),
                types,
                input_data=data,
                opset_imports=[onnx.helper.make_opsetid(node.domain, node.version)],
            )
        except (
            onnx.defs.SchemaError,
            onnx.checker.ValidationError,
            onnx.shape_inference.InferenceError,
        ) as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else "no reason given"
            raise Unsupported(f"the shape of its result cannot be told ({first})") from error
        return [self._type(inferred.get(name)) for name in node.outputs]

    def _type(self, kind: Any) -> ValueType:
        if kind is None or kind.WhichOneof("value") != "tensor_type":
            return ValueType(0, None)
        tensor = kind.tensor_type
        if not tensor.HasField("shape"):
            return ValueType(int(tensor.elem_type), None)
        dims = [int(d.dim_value) if d.HasField("dim_value") else -1 for d in tensor.shape.dim]
        shape = None if any(n < 0 for n in dims) else tuple(dims)
        return ValueType(int(tensor.elem_type), shape)

    def _shape(self, node: SourceNode, value: Value) -> Array:
        shape = value.known_shape
        if node.op == "Size":
            return np.asarray(prod(shape), np.int64)
        return np.asarray(shape[node.attrs.get("start", 0) : node.attrs.get("end")], np.int64)

    def _spend(self, node: SourceNode, kind: ValueType, data: Sequence[Array | None]) -> None:
        if kind.shape is not None:
            count = prod(kind.shape)
        elif node.op in _BOUNDED_BY_INPUT:
            count = sum(array.size * max(array.ndim, 1) for array in data if array is not None)
        else:
            raise Unsupported("the shape of its result depends on values")
        self._remaining -= count * 8
        if self._remaining < 0:
            raise Unsupported(f"its constants would take more than {MAX_EVALUATED_BYTES >> 20} MiB")

    def _proto(self, node: SourceNode, outputs: Sequence[str]) -> Any:
        onnx = self._onnx
        attrs = {
            name: onnx.numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
            for name, value in node.attrs.items()
            if not (isinstance(value, list) and not value)  # says nothing, and has no type
        }
        return onnx.helper.make_node(
            node.op, list(node.inputs), list(outputs), domain=node.domain, **attrs
        )
