"""The runtimes that edgeinfer is held against, each behind the same three calls.

`run` is for results: inputs in, outputs out. `invoke` is for time: it runs again on the inputs of
the last `run`, by the cheapest call that the runtime's Python package has, with inputs bound
beforehand and no output copied. A package that is not installed raises ImportError, a model that a
runtime cannot take whatever the runtime raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np


class Peer(Protocol):
    """A runtime that edgeinfer is held against."""

    name: str

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Outputs in the model's order."""
        ...

    def invoke(self) -> None:
        """Run again on the inputs of the last run."""
        ...


class LiteRT:
    """LiteRT's interpreter on a .tflite model."""

    def __init__(self, model: bytes | Path, *, delegate: bool = True, threads: int = 1) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        kind = OpResolverType.AUTO if delegate else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        self.name = "LiteRT (XNNPACK)" if delegate else "LiteRT (builtin)"
        source = (
            {"model_content": model} if isinstance(model, bytes) else {"model_path": str(model)}
        )
        self._interpreter = Interpreter(
            **source, num_threads=threads, experimental_op_resolver_type=kind
        )
        self._interpreter.allocate_tensors()
        self._inputs = [d["index"] for d in self._interpreter.get_input_details()]
        self._outputs = [d["index"] for d in self._interpreter.get_output_details()]

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Outputs in the model's order."""
        for index, array in zip(self._inputs, inputs, strict=True):
            self._interpreter.set_tensor(index, array)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]

    def invoke(self) -> None:
        """Run again on the inputs of the last run."""
        # What Interpreter.invoke calls after a check of references, which takes as long as a layer.
        self._interpreter._interpreter.Invoke()


class OnnxRuntime:
    """onnxruntime on the CPU, default optimisations, on an .onnx model.

    `exact` is for comparing values: by default it sums pairs of int8 products in int16 on x86 CPUs
    without VNNI, which saturates.
    """

    name = "onnxruntime"

    def __init__(self, model: bytes | Path, *, threads: int = 1, exact: bool = False) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        if exact:
            options.add_session_config_entry("session.x64quantprecision", "1")
        self._session = onnxruntime.InferenceSession(
            model if isinstance(model, bytes) else str(model),
            options,
            providers=["CPUExecutionProvider"],
        )
        self._names = [i.name for i in self._session.get_inputs()]
        self._binding: Any = None

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Outputs in the model's order."""
        import onnxruntime

        feed = dict(zip(self._names, inputs, strict=True))
        outputs = list(self._session.run(None, feed))
        self._binding = self._session.io_binding()
        for name, array in feed.items():
            self._binding.bind_ortvalue_input(
                name, onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
            )
        for info, array in zip(self._session.get_outputs(), outputs, strict=True):
            value = onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
            self._binding.bind_ortvalue_output(info.name, value)
        return outputs

    def invoke(self) -> None:
        """Run again on the inputs of the last run."""
        self._session.run_with_iobinding(self._binding)


class OpenVino:
    """OpenVINO's CPU plugin for latency, one stream, on an .onnx or .tflite model."""

    name = "OpenVINO"

    def __init__(self, model: Path, *, threads: int = 1) -> None:
        import openvino
        from openvino._pyopenvino import InferRequest

        core = openvino.Core()
        network = core.read_model(str(model))
        # A batch that a file leaves open is 1 for the other runtimes too; a known one is faster.
        shapes = {
            port: [1 if d.is_dynamic else d.get_length() for d in port.partial_shape]
            for port in network.inputs
        }
        network.reshape(shapes)
        compiled = core.compile_model(
            network,
            "CPU",
            {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": "1",
            },
        )
        self._tensor = openvino.Tensor
        self._request = compiled.create_infer_request()
        self._outputs = len(compiled.outputs)
        # What InferRequest.infer calls once it has looked through its arguments.
        self._infer = InferRequest.infer

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Outputs in the model's order."""
        for i, array in enumerate(inputs):
            self._request.set_input_tensor(i, self._tensor(np.ascontiguousarray(array)))
        self.invoke()
        return [self._request.get_output_tensor(i).data.copy() for i in range(self._outputs)]

    def invoke(self) -> None:
        """Run again on the inputs of the last run."""
        self._infer(self._request, {}, True, False)


class Ncnn:
    """ncnn on a .param file with its .bin beside it; one image in, one vector out."""

    name = "ncnn"

    def __init__(self, model: Path, *, threads: int = 1) -> None:
        import ncnn

        self._mat = ncnn.Mat
        self._net = ncnn.Net()
        self._net.opt.num_threads = threads
        if self._net.load_param(str(model)) or self._net.load_model(str(model.with_suffix(".bin"))):
            raise ValueError(f"ncnn cannot load {model.name}")
        (self._input,) = self._net.input_names()
        (self._output,) = self._net.output_names()

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Outputs in the model's order."""
        (image,) = inputs
        self._image = self._mat(np.ascontiguousarray(image[0])).clone()
        return [np.array(self._extract())[None]]

    def invoke(self) -> None:
        """Run again on the inputs of the last run."""
        self._extract()

    def _extract(self) -> Any:
        extractor = self._net.create_extractor()
        extractor.input(self._input, self._image)
        failed, output = extractor.extract(self._output)
        if failed:
            raise ValueError("ncnn's run failed")
        return output


PEERS: dict[str, tuple[type, str]] = {
    "LiteRT": (LiteRT, ".tflite"),
    "onnxruntime": (OnnxRuntime, ".onnx"),
    "OpenVINO": (OpenVino, ""),  # reads both
    "ncnn": (Ncnn, ".param"),
}
