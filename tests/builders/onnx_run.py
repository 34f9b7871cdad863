"""Run an ONNX model with onnxruntime on the CPU."""

from __future__ import annotations

import numpy as np
import onnxruntime


def run(model: bytes, *inputs: np.ndarray, optimize: bool = True) -> list[np.ndarray]:
    """Run a model once; inputs and outputs in the order of the file.

    Parameters
    ----------
    optimize : bool
        True for onnxruntime's default, which fuses QDQ groups into operators on integers. False
        runs the graph as it is written, in float32 between DequantizeLinear and QuantizeLinear.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    # x86 CPUs without VNNI add two products in int16, which saturates; this makes weights unsigned.
    options.add_session_config_entry("session.x64quantprecision", "1")
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = {i.name: values for i, values in zip(session.get_inputs(), inputs, strict=True)}
    return session.run(None, feed)
