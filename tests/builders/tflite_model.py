"""The TFLite file format, as far as the tests need it: tensors, constants, operators.

`ModelBuilder` collects tensors and operators and serialises them with the schema classes that
ship with ai-edge-litert. The modules `tflite_*_ops.py` beside it know one family of operators
each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from .spec import Quant, Spec

TENSOR_TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.uint8): schema.TensorType.UINT8,
    np.dtype(np.int16): schema.TensorType.INT16,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.int64): schema.TensorType.INT64,
    np.dtype(np.bool_): schema.TensorType.BOOL,
}


@dataclass
class ModelBuilder:
    """Collects tensors and operators of one subgraph; `build` returns the file's bytes."""

    _tensors: list[schema.TensorT] = field(default_factory=list)
    _buffers: list[schema.BufferT] = field(default_factory=lambda: [schema.BufferT(data=None)])
    _codes: list[int] = field(default_factory=list)
    _operators: list[schema.OperatorT] = field(default_factory=list)

    def tensor(self, spec: Spec, name: str = "") -> int:
        """Add a tensor without data and return its index."""
        return self._add(spec.shape, np.dtype(spec.dtype), spec.quant, name, buffer=0)

    def constant(self, values: np.ndarray, quant: Quant | None = None, name: str = "") -> int:
        """Add a tensor holding `values` and return its index."""
        values = np.asarray(values)
        raw = np.frombuffer(values.tobytes(), np.uint8)
        self._buffers.append(schema.BufferT(data=raw))
        return self._add(values.shape, values.dtype, quant, name, buffer=len(self._buffers) - 1)

    def operator(
        self,
        code: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: object | None = None,
    ) -> None:
        """Add an operator.

        Parameters
        ----------
        code : str
            A name of `BuiltinOperator`, for instance "CONV_2D".
        inputs, outputs : sequence of int
            Tensor indices; -1 stands for an absent optional input.
        options : object, optional
            The `<Name>OptionsT` object of the operator.
        """
        opcode = getattr(schema.BuiltinOperator, code)
        if opcode not in self._codes:
            self._codes.append(opcode)
        op = schema.OperatorT(
            opcodeIndex=self._codes.index(opcode), inputs=list(inputs), outputs=list(outputs)
        )
        if options is not None:
            name = type(options).__name__.removesuffix("T")
            op.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            op.builtinOptions = options
        self._operators.append(op)

    def build(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """Serialise the model with the given tensor indices as its inputs and outputs."""
        graph = schema.SubGraphT(
            tensors=self._tensors,
            inputs=list(inputs),
            outputs=list(outputs),
            operators=self._operators,
            name="main",
        )
        model = schema.ModelT(
            version=3,
            operatorCodes=[
                schema.OperatorCodeT(
                    deprecatedBuiltinCode=min(code, 127), builtinCode=code, version=1
                )
                for code in self._codes
            ],
            subgraphs=[graph],
            description="edgeinfer test model",
            buffers=self._buffers,
        )
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _add(
        self,
        shape: Sequence[int],
        dtype: np.dtype,
        quant: Quant | None,
        name: str,
        buffer: int,
    ) -> int:
        index = len(self._tensors)
        tensor = schema.TensorT(
            shape=[int(d) for d in shape],
            type=TENSOR_TYPES[dtype],
            buffer=buffer,
            name=name or f"t{index}",
        )
        if quant is not None:
            tensor.quantization = schema.QuantizationParametersT(
                scale=quant.scales,
                zeroPoint=quant.zero_points,
                quantizedDimension=quant.axis,
            )
        self._tensors.append(tensor)
        return index
