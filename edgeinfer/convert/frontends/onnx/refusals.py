"""Why operators without a handler cannot be converted, and what their owner can do instead."""

from __future__ import annotations

from .model_file import DEFAULT, MICROSOFT, SourceNode
from .qlinear import is_rewritable
from .values import Unsupported

_DYNAMIC = (
    "it quantises at run time (dynamic quantisation)",
    "quantise statically: onnxruntime.quantization.quantize_static",
)
_CONTROL_FLOW = (
    "control flow is not available",
    "export the model without loops and conditions: unrolled, or one branch only",
)
_RANDOM = ("its result is random", "draw random numbers outside of the model")
_RECURRENT = ("recurrent operators are not available", "")
_OPTIMISED = (
    "it is an operator that onnxruntime's optimiser made",
    "convert the model as it was before onnxruntime optimised it",
)

_REASONS: dict[str, tuple[str, str]] = {
    "GRU": _RECURRENT,
    "If": _CONTROL_FLOW,
    "LSTM": _RECURRENT,
    "Loop": _CONTROL_FLOW,
    "Multinomial": _RANDOM,
    "RNN": _RECURRENT,
    "RandomNormal": _RANDOM,
    "RandomNormalLike": _RANDOM,
    "RandomUniform": _RANDOM,
    "RandomUniformLike": _RANDOM,
    "Scan": _CONTROL_FLOW,
    f"{MICROSOFT}:DynamicQuantizeLSTM": _DYNAMIC,
    f"{MICROSOFT}:DynamicQuantizeMatMul": _DYNAMIC,
    f"{MICROSOFT}:FusedConv": _OPTIMISED,
    f"{MICROSOFT}:FusedGemm": _OPTIMISED,
    f"{MICROSOFT}:FusedMatMul": _OPTIMISED,
    f"{MICROSOFT}:MatMulIntegerToFloat": _DYNAMIC,
    f"{MICROSOFT}:NhwcMaxPool": _OPTIMISED,
    f"{MICROSOFT}:QLinearWhere": (
        "selecting elements by a condition is not available",
        "compute this part before or after the model",
    ),
}


def refusal(node: SourceNode) -> Unsupported:
    """The refusal of an operator that no handler reads."""
    if is_rewritable(node):
        if node.attrs.get("channels_last", 0):
            return Unsupported("its layout is channels-last: " + _OPTIMISED[0], _OPTIMISED[1])
        return Unsupported(
            "its scales are no constants, or not one per tensor or per output channel",
            "quantise statically, per tensor or weights per channel",
        )
    if node.key in _REASONS:
        return Unsupported(*_REASONS[node.key])
    if node.domain not in (DEFAULT, MICROSOFT):
        return Unsupported(
            f"it is of domain {node.domain!r}, which is not known here",
            "replace it by operators of ONNX itself, or register it as a custom operator "
            "(edgeinfer.custom_op, --custom-ops)",
        )
    return Unsupported(
        "this operator is not available",
        "replace it in the model, compute this part before or after it, or register it as a custom "
        "operator (edgeinfer.custom_op, --custom-ops)",
    )
