"""An .onnx file, checked by the `onnx` package and taken apart into plain nodes and constants.

`onnx.checker` and strict shape inference come first: what contradicts itself is refused here as a
whole. What is left are operators, which may still be of any kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Problem
from edgeinfer.errors import ConversionError, MissingExtraError

from .external_data import load_external_data
from .fix_shapes import advise_shape, describe_dimensions, fix_shapes
from .widen_halves import widen_halves

Array: TypeAlias = npt.NDArray[Any]

DEFAULT, MICROSOFT = "", "com.microsoft"
_DEFAULT_DOMAINS = ("", "ai.onnx")

OLDEST_OPSET = 7
"""The first in which binary operators broadcast as NumPy does."""

_MAX_DESCRIPTION = 1000  # characters kept of the model's own description


@dataclass(frozen=True, eq=False)
class SourceNode:
    """A node of the file, or one that a node of the file was rewritten to.

    An absent optional input is "". `version` is that of the operator set in which the operator is
    to be read.
    """

    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any]
    version: int
    name: str  # for people: the node's name, or its first output's
    source: str  # for people: the file's operator

    @property
    def key(self) -> str:
        """The operator with its domain, where that is not ONNX's own."""
        return f"{self.domain}:{self.op}" if self.domain else self.op

    def rewritten(
        self, op: str, inputs: Sequence[str], output: str, attrs: Mapping[str, Any], version: int
    ) -> SourceNode:
        """Another operator of ONNX's own, under the name of this node."""
        return replace(
            self,
            op=op,
            domain=DEFAULT,
            inputs=tuple(inputs),
            outputs=(output,),
            attrs=attrs,
            version=version,
        )


@dataclass(frozen=True)
class ValueType:
    """Element type (a number of TensorProto.DataType) and shape; None where the shape is open."""

    elements: int
    shape: tuple[int, ...] | None


def load_onnx() -> ModuleType:
    """The `onnx` package with the parts that are used here."""
    try:
        import onnx
        import onnx.checker
        import onnx.external_data_helper
        import onnx.inliner
        import onnx.reference
        import onnx.shape_inference
    except ImportError as error:
        missing = error.name or "onnx"
        raise MissingExtraError("reading an .onnx model", missing, "convert") from error
    module: ModuleType = onnx
    return module


class ModelFile:
    """The main graph of a model, and what the file says about itself.

    Raises
    ------
    ConversionError
        The bytes are not a whole, consistent ONNX model of fixed shapes.
    InputError
        `shapes` and `sequence_length`, which fix those that are open, do not fit the model.
    MissingExtraError
        The `onnx` package is not installed.
    """

    def __init__(
        self,
        data: bytes,
        name: str,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
        sequence_length: int | None = None,
        folder: Path | None = None,
    ) -> None:
        self.name = name
        self._onnx = load_onnx()
        model = self._parse(data)
        external = load_external_data(self._onnx, model, folder, name)
        if shapes or sequence_length is not None:
            fix_shapes(model, shapes or {}, name, sequence_length)
        model = self._checked(model)
        self._refuse_broken_text(model)
        graph = model.graph
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        self.opsets = {
            DEFAULT if entry.domain in _DEFAULT_DOMAINS else entry.domain: int(entry.version)
            for entry in model.opset_import
        }
        opset = self.opsets.get(DEFAULT, OLDEST_OPSET)
        if opset < OLDEST_OPSET:
            raise ConversionError(
                f"{name} uses operator set {opset}; {OLDEST_OPSET} is the oldest that can be read. "
                "Bring it up with onnx.version_converter.convert_version"
            )
        self.inputs = {
            info.name: self._type(info) for info in graph.input if info.name not in self._tensors
        }
        self.outputs = [info.name for info in graph.output]
        self._refuse_open_shapes(graph)
        self.declared = {info.name: self._type(info) for info in [*graph.value_info, *graph.output]}
        self.constants: dict[str, Array] = {}
        for tensor in graph.initializer:
            self.constants[tensor.name] = self._array(tensor)
        self.nodes = list(self._read_nodes(graph.node))
        self.metadata = self._describe(model)
        if external:
            self.metadata["external_data"] = external

    def _parse(self, data: bytes) -> Any:
        from google.protobuf.message import DecodeError

        try:
            return self._onnx.load_model_from_string(data)
        except DecodeError as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, reason: str) -> ConversionError:
        # The checker's messages go on with a dump of the node.
        first = next((line.strip() for line in reason.splitlines() if line.strip()), "")
        return ConversionError(f"{self.name} is not a whole ONNX model: {first}")

    def _checked(self, model: Any) -> Any:
        onnx = self._onnx
        try:
            onnx.checker.check_model(model)
            if model.functions:
                model = onnx.inliner.inline_local_functions(model)
            model = widen_halves(onnx, model)
            # Without data_prop, which computes a ConstantOfShape of any size: `evaluate` tells the
            # shapes that depend on values, node by node.
            return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
        except (
            onnx.checker.ValidationError,
            onnx.shape_inference.InferenceError,
            RuntimeError,
            ValueError,
        ) as error:
            raise self._damaged(str(error)) from error

    def _refuse_broken_text(self, model: Any) -> None:
        # Protobuf gives a string that is not UTF-8 as bytes, which nothing behind expects.
        graph = model.graph
        texts = [info.name for info in (*graph.input, *graph.output, *graph.initializer)]
        for node in graph.node:
            texts += [node.op_type, node.domain, node.name, *node.input, *node.output]
            texts += [attribute.name for attribute in node.attribute]
        if not all(isinstance(text, str) for text in texts):
            raise self._damaged("a name in it is not UTF-8")

    def _refuse_open_shapes(self, graph: Any) -> None:
        problems = []
        for info in graph.input:
            if info.name in self._tensors:
                continue
            kind = info.type.WhichOneof("value")
            if kind != "tensor_type":
                reason = f"it is a {kind or 'value of no type'}, not a tensor"
                problems.append(Problem(info.name, "input", reason))
            elif self.inputs[info.name].shape is None:
                problems.append(
                    Problem(
                        info.name,
                        "input",
                        f"its shape {describe_dimensions(info)} is not fixed",
                        advise_shape(info),
                    )
                )
        if problems:
            raise ConversionError(f"{self.name} has inputs that cannot be converted:", problems)

    def _type(self, info: Any) -> ValueType:
        if info.type.WhichOneof("value") != "tensor_type":
            return ValueType(0, None)
        tensor = info.type.tensor_type
        shape = None
        if tensor.HasField("shape"):
            dims = [d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim]
            shape = None if any(n < 1 for n in dims) else tuple(int(n) for n in dims)
        return ValueType(int(tensor.elem_type), shape)

    def _array(self, tensor: Any) -> Array:
        try:
            values: Array = self._onnx.numpy_helper.to_array(tensor)
        except (KeyError, ValueError, TypeError) as error:
            raise self._damaged(f"constant {tensor.name!r} cannot be read ({error})") from error
        return values

    def _read_nodes(self, nodes: Sequence[Any]) -> Iterator[SourceNode]:
        for node in nodes:
            domain = DEFAULT if node.domain in _DEFAULT_DOMAINS else node.domain
            attrs = {
                attribute.name: self._attribute(attribute)
                for attribute in node.attribute
                if not attribute.ref_attr_name
            }
            name = node.name or next((output for output in node.output if output), node.op_type)
            if node.op_type == "Constant" and domain == DEFAULT:
                value = self._constant(attrs)
                if value is not None:
                    self.constants[node.output[0]] = value
                    continue
            yield SourceNode(
                node.op_type,
                domain,
                tuple(node.input),
                tuple(node.output),
                attrs,
                self.opsets.get(domain, 1),
                name,
                node.op_type,
            )

    def _attribute(self, attribute: Any) -> Any:
        value = self._onnx.helper.get_attribute_value(attribute)
        if isinstance(value, self._onnx.TensorProto):
            return self._array(value)
        if isinstance(value, bytes):
            return value.decode("utf-8", errors="replace")
        if isinstance(value, (int, float)):
            return value
        return list(value) if attribute.type in _list_types(self._onnx) else value

    def _constant(self, attrs: Mapping[str, Any]) -> Array | None:
        for name, dtype in (("value_int", np.int64), ("value_ints", np.int64)):
            if name in attrs:
                return np.asarray(attrs[name], dtype)
        for name in ("value_float", "value_floats"):
            if name in attrs:
                return np.asarray(attrs[name], np.float32)
        value = attrs.get("value")
        return value if isinstance(value, np.ndarray) else None

    def _describe(self, model: Any) -> dict[str, Any]:
        return {
            "producer": f"{model.producer_name} {model.producer_version}".strip(),
            "ir_version": int(model.ir_version),
            "opset": {domain or "ai.onnx": version for domain, version in self.opsets.items()},
            "description": model.doc_string.strip()[:_MAX_DESCRIPTION],
        }


def _list_types(onnx: ModuleType) -> tuple[int, ...]:
    proto = onnx.AttributeProto
    return proto.INTS, proto.FLOATS, proto.STRINGS
