"""Run a TFLite model with LiteRT, by its default path or by TFLite's builtin kernels."""

from __future__ import annotations

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType


def interpreter(model: bytes, delegate: bool = True) -> Interpreter:
    """An interpreter with its tensors allocated.

    Parameters
    ----------
    model : bytes
        A .tflite file.
    delegate : bool
        True for LiteRT's default (XNNPACK takes the operators that it can), False for the
        builtin kernels alone.
    """
    resolver = OpResolverType.AUTO if delegate else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    it = Interpreter(model_content=model, num_threads=1, experimental_op_resolver_type=resolver)
    it.allocate_tensors()
    return it


def run(model: bytes, *inputs: np.ndarray, delegate: bool = True) -> list[np.ndarray]:
    """Run a model once; inputs and outputs in the order of the file."""
    it = interpreter(model, delegate)
    for detail, values in zip(it.get_input_details(), inputs, strict=True):
        it.set_tensor(detail["index"], values)
    it.invoke()
    return [it.get_tensor(detail["index"]) for detail in it.get_output_details()]


def delegated(model: bytes) -> bool:
    """True if the XNNPACK delegate takes every operator of the model."""
    it = interpreter(model)
    names = [op["op_name"] for op in it._get_ops_details()]
    return "DELEGATE" in names
