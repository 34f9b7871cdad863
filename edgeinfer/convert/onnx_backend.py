"""ONNX's backend interface: `onnx.backend.base.Backend` over conversion and the runtime.

    import edgeinfer.onnx_backend as backend
    outputs = backend.prepare(onnx.load("model.onnx")).run([x])

A file has fixed shapes, and its weights are in it. A model is therefore converted when inputs are
given for the first time, for their shapes; inputs that an operator needs at conversion
(`PARAMETERS`: weights, target shapes, axes, scales) are taken as constants, and so are inputs
without elements. The converted models are kept, so that running again with the same shapes and
constants converts nothing.

What is float16 or bfloat16 in the model is float32 in the file; inputs and outputs are converted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, numpy_helper
from onnx.backend.base import Backend, BackendRep, namedtupledict

from edgeinfer.convert.api import convert
from edgeinfer.errors import ConversionError, InputError
from edgeinfer.model import Model, load

Array = npt.NDArray[Any]

PARAMETERS: dict[str, tuple[int, ...]] = {
    "BatchNormalization": (1, 2, 3, 4),
    "CausalConvWithState": (1, 2),
    "CenterCropPad": (1,),
    "Compress": (1,),
    "ConstantOfShape": (0,),
    "Conv": (1, 2),
    "ConvInteger": (1, 3),
    "ConvTranspose": (1, 2),
    "CumProd": (1,),
    "CumSum": (1,),
    "DequantizeLinear": (1, 2),
    "Dropout": (1, 2),
    "Expand": (1,),
    "GatherElements": (1,),
    "GatherND": (1,),
    "OneHot": (1,),
    "Pad": (1, 2, 3),
    "QLinearConv": (1, 2, 3, 4, 5, 6, 7, 8),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "QuantizeLinear": (1, 2),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "ReverseSequence": (1,),
    "Scatter": (1,),
    "ScatterElements": (1,),
    "ScatterND": (1,),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "TensorScatter": (2,),
    "Tile": (1,),
    "TopK": (1,),
    "Trilu": (1,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
}
"""Operands that must be known when a model is converted, by operator; and axes of Reduce*."""


def fix_inputs(
    model: onnx.ModelProto, inputs: Mapping[str, Array]
) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """A copy of the model for inputs of these shapes, with those that are parameters in it.

    Returns
    -------
    The copy, and the inputs that are left.
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    parameters = _parameters(fixed)
    left: dict[str, Array] = {}
    kept = []
    for info in fixed.graph.input:
        if info.name not in inputs:
            kept.append(info)
            continue
        value = inputs[info.name]
        if info.name in parameters or value.size == 0:
            fixed.graph.initializer.append(numpy_helper.from_array(value, info.name))
            continue
        if info.type.WhichOneof("value") == "tensor_type":
            shape = info.type.tensor_type.shape
            del shape.dim[:]
            for n in value.shape:
                shape.dim.add().dim_value = n
        kept.append(info)
        left[info.name] = value
    del fixed.graph.input[:]
    fixed.graph.input.extend(kept)
    if left.keys() != inputs.keys():
        fixed.ir_version = max(fixed.ir_version, 4)  # before, constants had to be inputs as well
    del fixed.graph.value_info[:]  # what is inferred now says more
    return fixed, left


def _parameters(model: onnx.ModelProto) -> set[str]:
    names: set[str] = set()
    for node in model.graph.node:
        places = PARAMETERS.get(node.op_type, (1,) if node.op_type.startswith("Reduce") else ())
        names.update(node.input[i] for i in places if i < len(node.input))
    return names


_HALVES = tuple(
    onnx.helper.tensor_dtype_to_np_dtype(kind)
    for kind in (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
)


def _as(elements: int, result: Array) -> Array:
    """A float32 result in the half precision that the model declares."""
    dtype = onnx.helper.tensor_dtype_to_np_dtype(elements) if elements else result.dtype
    if dtype not in _HALVES:
        return result
    with np.errstate(over="ignore"):  # beyond its range it is infinite
        return np.asarray(result.astype(dtype))


def _refuse_other_values(model: onnx.ModelProto) -> None:
    for info in (*model.graph.input, *model.graph.output):
        kind = info.type.WhichOneof("value")
        if kind != "tensor_type":
            raise ConversionError(f"{info.name!r} is a {kind or 'value of no type'}, not a tensor")


class EdgeInferBackendRep(BackendRep):  # type: ignore[misc]
    """A model that is converted once its inputs are seen."""

    def __init__(self, model: onnx.ModelProto, threads: int = 1) -> None:
        _refuse_other_values(model)
        self._model = model
        self._threads = threads
        constants = {tensor.name for tensor in model.graph.initializer}
        self._inputs = [info.name for info in model.graph.input if info.name not in constants]
        self._outputs = [info.name for info in model.graph.output]
        self._dtypes = [info.type.tensor_type.elem_type for info in model.graph.output]
        self._loaded: dict[bytes, Model] = {}

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Array, ...]:
        """Run once.

        Parameters
        ----------
        inputs : arrays in the order of the graph's inputs, or by name.

        Returns
        -------
        tuple of arrays
            The outputs in the order of the graph, also by name.

        Raises
        ------
        ConversionError
            Something in the model cannot be run.
        InputError
            Inputs are missing, or not of the types that the model declares.
        """
        given = self._by_name(inputs)
        fixed, left = fix_inputs(self._model, given)
        key = fixed.SerializeToString(deterministic=True)
        model = self._loaded.get(key)
        if model is None:
            name = self._model.graph.name or "model"
            model = load(convert(key, name=name).data, threads=self._threads)
            self._loaded[key] = model
        feed = {
            info.name: value.astype(np.float32) if value.dtype in _HALVES else value
            for info, value in zip(model.inputs, left.values(), strict=True)
        }
        results = model.run(feed)
        made = results.values() if isinstance(results, dict) else (results,)
        declared = [_as(dtype, y) for dtype, y in zip(self._dtypes, made, strict=True)]
        outputs: tuple[Array, ...] = namedtupledict("Outputs", self._outputs)(*declared)
        return outputs

    def _by_name(self, inputs: Any) -> dict[str, Array]:
        if isinstance(inputs, Mapping):
            found = {name: np.asarray(value) for name, value in inputs.items()}
        else:
            values = inputs if isinstance(inputs, (tuple, list)) else [inputs]
            if len(values) > len(self._inputs):
                raise InputError(f"{len(values)} inputs for a model of {len(self._inputs)}")
            found = {
                name: np.asarray(value) for name, value in zip(self._inputs, values, strict=False)
            }
        missing = [name for name in self._inputs if name not in found]
        if missing:
            raise InputError(f"inputs are missing: {', '.join(missing)}")
        return {name: found[name] for name in self._inputs}


class EdgeInferBackend(Backend):  # type: ignore[misc]
    """Runs ONNX models by converting them to .edge files in memory."""

    @classmethod
    def prepare(
        cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any
    ) -> EdgeInferBackendRep:
        """Check a model.

        Parameters
        ----------
        device : "CPU".
        kwargs : `threads`, how many share a run.
        """
        super().prepare(model, device, **kwargs)
        return EdgeInferBackendRep(model, **kwargs)

    @classmethod
    def run_node(
        cls,
        node: NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[Any, tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[Array, ...]:
        """Run one node of the newest operator set, or of `opset_version`."""
        opset = int(kwargs.pop("opset_version", onnx.defs.onnx_opset_version()))
        super().run_node(node, inputs, device, outputs_info, opset_version=opset)
        values = inputs if isinstance(inputs, (tuple, list)) else [inputs]
        arrays = [np.asarray(value) for value in values]
        names = [name for name in node.input if name]
        infos = [
            onnx.helper.make_tensor_value_info(
                name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for name, array in zip(names, arrays, strict=True)
        ]
        outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in node.output if name]
        graph = onnx.helper.make_graph([node], node.op_type, infos, outputs)
        model = onnx.helper.make_model(
            graph, opset_imports=[onnx.helper.make_opsetid(node.domain, opset)]
        )
        return cls.prepare(onnx.shape_inference.infer_shapes(model), device, **kwargs).run(arrays)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether models run there: the CPU, which is where everything runs."""
        return device.split(":")[0] == "CPU"


is_compatible = EdgeInferBackend.is_compatible
prepare = EdgeInferBackend.prepare
run_model = EdgeInferBackend.run_model
run_node = EdgeInferBackend.run_node
supports_device = EdgeInferBackend.supports_device
