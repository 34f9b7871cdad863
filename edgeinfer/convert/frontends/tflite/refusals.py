"""Why operators without a handler cannot be converted, and what their owner can do instead."""

from __future__ import annotations

from .model_file import StoredOperator
from .operation import Unsupported

_STATE = (
    "it keeps state between runs",
    "make the state an input and an output of the model",
)
_CONTROL_FLOW = (
    "control flow is not available",
    "export the model without loops and conditions: unrolled, or one branch only",
)
_RANDOM = ("its result is random", "draw random numbers outside of the model")

_REASONS = {
    "ASSIGN_VARIABLE": _STATE,
    "BIDIRECTIONAL_SEQUENCE_LSTM": _STATE,
    "BIDIRECTIONAL_SEQUENCE_RNN": _STATE,
    "CALL": _CONTROL_FLOW,
    "CALL_ONCE": _STATE,
    "DELEGATE": (
        "it was prepared for one accelerator and holds no operators any more",
        "take the model from before that step",
    ),
    "DENSIFY": ("sparse weights are not available", "export the weights as dense tensors"),
    "HASHTABLE": _STATE,
    "IF": _CONTROL_FLOW,
    "LSTM": _STATE,
    "MULTINOMIAL": _RANDOM,
    "RANDOM_STANDARD_NORMAL": _RANDOM,
    "RANDOM_UNIFORM": _RANDOM,
    "READ_VARIABLE": _STATE,
    "RNN": _STATE,
    "STABLEHLO_WHILE": _CONTROL_FLOW,
    "SVDF": _STATE,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _STATE,
    "UNIDIRECTIONAL_SEQUENCE_RNN": _STATE,
    "VAR_HANDLE": _STATE,
    "WHILE": _CONTROL_FLOW,
}


def refusal(operator: StoredOperator) -> Unsupported:
    """The refusal of an operator that no handler reads."""
    if operator.code == "CUSTOM":
        return Unsupported(
            f"it is the custom operator {operator.custom_code!r}, which this file does not define",
            "replace it by built-in operators, or register it as a custom operator "
            "(edgeinfer.custom_op, --custom-ops)",
        )
    if operator.code in _REASONS:
        return Unsupported(*_REASONS[operator.code])
    return Unsupported(
        "this operator is not available",
        "replace it in the model, compute this part before or after it, or register it as a custom "
        "operator (edgeinfer.custom_op, --custom-ops)",
    )
