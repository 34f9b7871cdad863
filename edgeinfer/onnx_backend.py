"""ONNX's backend interface; see `edgeinfer.convert.onnx_backend`. Needs the `convert` extra."""

from edgeinfer.convert.onnx_backend import (
    EdgeInferBackend,
    EdgeInferBackendRep,
    is_compatible,
    prepare,
    run_model,
    run_node,
    supports_device,
)

__all__ = [
    "EdgeInferBackend",
    "EdgeInferBackendRep",
    "is_compatible",
    "prepare",
    "run_model",
    "run_node",
    "supports_device",
]
