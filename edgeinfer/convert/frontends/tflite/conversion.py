"""QUANTIZE, DEQUANTIZE and CAST: where element types change."""

from __future__ import annotations

from edgeinfer.convert.graph import Tensor

from .operands import moved, quantised
from .operation import Handling, Operation, Unsupported


def _need_scale(x: Tensor) -> None:
    """An integer input may be int32 as well, which nothing else computes with."""
    if x.dtype != "int32":
        quantised(x)
    elif x.quantization is None or not x.quantization.is_per_tensor:
        raise Unsupported(f"{x.name!r} is int32 and has no single scale")


def quantize(op: Operation) -> None:
    """From float32, or from one integer quantisation to another."""
    x = op.input(0)
    quantised(op.output())
    if x.dtype != "float32":
        _need_scale(x)
    op.emit("quantize" if x.dtype == "float32" else "requantize", [x], x.shape)


def dequantize(op: Operation) -> None:
    """To float32."""
    x = op.input(0)
    if op.output().dtype != "float32":
        raise Unsupported(f"its result is {op.output().dtype}; float32 is needed")
    _need_scale(x)
    op.emit("dequantize", [x], x.shape)


def cast(op: Operation) -> None:
    """Between plain numbers; quantised ones change their type by QUANTIZE and DEQUANTIZE alone."""
    x, y = op.input(0), op.output()
    if y.dtype == x.dtype:
        moved(op, x)
        op.emit("reshape", [x], x.shape)
        return
    for tensor in (x, y):
        if tensor.quantization is not None:
            raise Unsupported(
                f"it casts {x.dtype} to {y.dtype}, and {tensor.name!r} is quantised",
                "take or give this tensor in the other type",
            )
    op.emit("cast", [x], x.shape)


HANDLERS = {
    "CAST": Handling(cast),
    "DEQUANTIZE": Handling(dequantize),
    "QUANTIZE": Handling(quantize),
}
