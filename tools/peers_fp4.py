"""Products of float32 vectors and four-bit matrices in other runtimes, to be timed.

Each is built for one size and then computes the same product again at every `run`. Weights are
packed as the runtime wants them, any codes with scales that keep values in bounds, and distinct in
memory where there are several matrices. A package that is missing raises ImportError, what a
runtime cannot do whatever that raises.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tools.ggml import TYPES, Ggml, Product, installed_folder


@dataclass(frozen=True)
class Size:
    """Vectors [batch, k] through `layers` matrices of n outputs; several are square."""

    batch: int
    k: int
    n: int
    layers: int
    threads: int


class FourBitProduct(Protocol):
    """A product that a runtime computes."""

    weight_bytes: int

    def run(self) -> object:
        """Compute it."""
        ...

    def close(self) -> None:
        """Give its memory back."""
        ...


class OnnxRuntimeProduct:
    """onnxruntime's own operators: INT4 in blocks of 32, or FP4 in blocks of 64."""

    def __init__(self, operator: str, size: Size) -> None:
        import onnxruntime

        data, self.weight_bytes = _onnx_model(operator, size)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = size.threads
        options.log_severity_level = 3
        providers = ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(data, options, providers=providers)
        self._feed = {"x": _vectors(size)}
        self.run()

    def run(self) -> None:
        """Compute it."""
        self._session.run(None, self._feed)

    def close(self) -> None:
        """Give its memory back."""
        del self._session


def _onnx_model(operator: str, size: Size) -> tuple[bytes, int]:
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    k, n = size.k, size.n
    block = 32 if operator == "MatMulNBits" else 64
    attributes: dict[str, Any] = {"K": k, "N": n, "block_size": block}
    packed_shape: tuple[int, ...]
    if operator == "MatMulNBits":
        # int8 activations where it has kernels for that
        attributes.update(bits=4, accuracy_level=4)
        packed_shape, scale = (n, k // block, block // 2), 1 / (4.6 * np.sqrt(k))
    else:
        attributes.update(quant_type=0)  # FP4
        packed_shape, scale = (n * k // 2,), 2 / np.sqrt(k)
    packed = rng.integers(0, 256, packed_shape).astype(np.uint8)
    scales = np.full(n * k // block, scale, np.float32)
    nodes, constants, current = [], [], "x"
    for layer in range(size.layers):
        made = "y" if layer == size.layers - 1 else f"y{layer}"
        inputs = [current, f"packed{layer}", f"scales{layer}"]
        constants += [numpy_helper.from_array(packed, inputs[1])]
        constants += [numpy_helper.from_array(scales, inputs[2])]
        nodes.append(
            helper.make_node(operator, inputs, [made], domain="com.microsoft", **attributes)
        )
        current = made
    graph = helper.make_graph(
        nodes,
        "peer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["m", k])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["m", n])],
        constants,
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    return model.SerializeToString(), size.layers * (packed.nbytes + scales.nbytes)


class OpenVinoProduct:
    """OpenVINO's CPU plugin on MXFP4, or on INT4 in blocks of 32 with float16 scales."""

    def __init__(self, kind: str, size: Size) -> None:
        import openvino

        self._constants: list[Any] = []  # it reads them where they are
        model = self._model(kind, size)
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": size.threads,
            "NUM_STREAMS": "1",
        }
        compiled = openvino.Core().compile_model(model, "CPU", settings)
        self._request = compiled.create_infer_request()
        self._request.set_input_tensor(0, openvino.Tensor(_vectors(size)))
        self.run()

    def run(self) -> None:
        """Compute it."""
        self._request.infer()

    def close(self) -> None:
        """Give its memory back."""
        del self._request
        self._constants.clear()

    def _model(self, kind: str, size: Size) -> Any:
        import openvino
        import openvino.opset13 as operators

        rng = np.random.default_rng(0)
        k, n, blocks = size.k, size.n, size.k // 32
        codes = rng.integers(0, 256, n * k // 2, np.uint8)
        self.weight_bytes = 0
        current = x = operators.parameter([size.batch, k], np.float32, name="x")
        for _ in range(size.layers):
            element = openvino.Type.f4e2m1 if kind == "MXFP4" else openvino.Type.i4
            weights = self._constant(codes, [n, blocks, 32], element)
            if kind == "MXFP4":  # elements are some 2.6 from 0
                exponent = 127 - round(float(np.log2(2.6 * np.sqrt(k))))
                powers = np.full(n * blocks, exponent, np.uint8)
                scales = self._constant(powers, [n, blocks, 1], openvino.Type.f8e8m0)
            else:
                halves = np.full(n * blocks, 1 / (4.6 * np.sqrt(k)), np.float16)
                scales = self._constant(halves, [n, blocks, 1], openvino.Type.f16)
            real = operators.multiply(
                operators.convert(weights, "f32"), operators.convert(scales, "f32")
            )
            matrix = operators.reshape(real, np.array([n, k]), False)
            current = operators.matmul(current, matrix, False, True)
        return openvino.Model([current], [x], "peer")

    def _constant(self, data: np.ndarray, shape: list[int], element: Any) -> Any:
        import openvino
        import openvino.opset13 as operators

        held = data.copy()
        tensor = openvino.Tensor(held, openvino.Shape(shape), element)
        self._constants += [held, tensor]
        self.weight_bytes += held.nbytes
        return operators.constant(tensor)


class LiteRtProduct:
    """LiteRT through XNNPACK: INT4 in blocks of 32 with float16 scales, vectors rounded to int8."""

    def __init__(self, size: Size) -> None:
        from ai_edge_litert.interpreter import Interpreter

        model, self.weight_bytes = _litert_model(size)
        self._interpreter = Interpreter(model_content=model, num_threads=size.threads)
        self._interpreter.allocate_tensors()
        (x,) = self._interpreter.get_input_details()
        self._interpreter.set_tensor(x["index"], _vectors(size))
        self.run()

    def run(self) -> None:
        """Compute it."""
        self._interpreter.invoke()

    def close(self) -> None:
        """Give its memory back."""
        del self._interpreter


def _litert_model(size: Size) -> tuple[bytes, int]:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    rng = np.random.default_rng(0)
    k, n = size.k, size.n
    codes = rng.integers(0, 256, n * k // 2, np.uint8)
    scales = np.full(n * k // 32, 1 / (4.6 * np.sqrt(k)), np.float16)
    code = schema.OperatorCodeT()
    code.deprecatedBuiltinCode = code.builtinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = 12
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = [], []
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [schema.BufferT()]

    def add_tensor(
        shape: list[int], kind: Any, data: np.ndarray | None = None, details: Any = None
    ) -> int:
        tensor = schema.TensorT()
        tensor.name = f"t{len(graph.tensors)}"
        tensor.shape, tensor.type, tensor.buffer = shape, kind, 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = data.view(np.uint8)
            tensor.buffer = len(model.buffers)
            model.buffers.append(buffer)
        if details is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.detailsType = schema.QuantizationDetails.BlockwiseQuantization
            tensor.quantization.details = details
        graph.tensors.append(tensor)
        return len(graph.tensors) - 1

    kinds = schema.TensorType
    current = add_tensor([size.batch, k], kinds.FLOAT32)
    graph.inputs = [current]
    for _ in range(size.layers):
        blocks = schema.BlockwiseQuantizationT()
        blocks.scales = add_tensor([n, k // 32], kinds.FLOAT16, scales)
        blocks.zeroPoints, blocks.blockSize = -1, 32
        weights = add_tensor([n, k], kinds.INT4, codes, blocks)
        operator = schema.OperatorT()
        operator.opcodeIndex = 0
        operator.inputs = [current, weights, -1]
        operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
        operator.builtinOptions = schema.FullyConnectedOptionsT()
        current = add_tensor([size.batch, n], kinds.FLOAT32)
        operator.outputs = [current]
        graph.operators.append(operator)
    graph.outputs = [current]
    weight_bytes = size.layers * (codes.nbytes + scales.nbytes)
    builder = flatbuffers.Builder(weight_bytes + (1 << 20))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output()), weight_bytes


def _vectors(size: Size) -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.standard_normal((size.batch, size.k)).astype(np.float32)


Builder = Callable[[Size], FourBitProduct]


def fp4_peers(ggml_folder: Path | None = None) -> Mapping[str, Builder]:
    """What builds each peer's product, by the name that tables give it."""
    loaded: list[Ggml] = []

    def of_ggml(kind: str, size: Size) -> Product:
        if not loaded:
            loaded.append(Ggml(ggml_folder or installed_folder()))
        return Product(
            loaded[0],
            kind,
            batch=size.batch,
            k=size.k,
            n=size.n,
            layers=size.layers,
            threads=size.threads,
        )

    kinds = sorted(TYPES.keys() - {"f32"}, key=lambda kind: ("fp4" not in kind, kind))
    found: dict[str, Builder] = {f"llama.cpp {kind}": partial(of_ggml, kind) for kind in kinds}
    for kind in ("MXFP4", "INT4"):
        found[f"OpenVINO {kind}"] = partial(OpenVinoProduct, kind)
    for operator in ("MatMulBnb4", "MatMulNBits"):
        found[f"onnxruntime {operator}"] = partial(OnnxRuntimeProduct, operator)
    found["LiteRT INT4"] = LiteRtProduct
    return found
