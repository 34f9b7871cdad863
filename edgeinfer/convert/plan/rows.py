"""Which rows of an operand a band of output rows reads, for the operators that can run by bands.

The rules are those of `input_rows` in csrc/ops (docs/internals/numerics.md); the device checks
every step of a file against its own. Operators that are not listed read all rows of every operand,
whatever the band.
"""

from __future__ import annotations

from edgeinfer.convert.program import Operation, Value

_WINDOWED = frozenset(
    {
        "conv2d",
        "depthwise_conv2d",
        "avg_pool2d",
        "max_pool2d",
        "conv2d_f32",
        "depthwise_conv2d_f32",
        "pool2d_f32",
    }
)
_ROW_BY_ROW = frozenset(
    {
        "lut8",
        "lut16",
        "requantize",
        "quantize",
        "dequantize",
        "softmax",
        "fully_connected",
        "fully_connected_f32",
        "fully_connected_dynamic",
        "unary_f32",
        "softmax_f32",
        "layer_norm_f32",
        "cast",
        "unary_int",
        "classify_f32",
        "cumsum",
        "top_k",
        "gather_elements",
        "accumulate_rows",
    }
)
_BROADCAST = frozenset(
    {"add", "mul", "maximum", "minimum", "binary_f32", "binary_int", "compare", "select"}
)
WHOLE = frozenset({"custom"})
"""Operators that compute all of their rows in one step."""


def rows_read(operation: Operation, value: Value, begin: int, end: int) -> tuple[int, int]:
    """First row and one past the last row of `value` that output rows [begin, end) need."""
    output = operation.outputs[0]
    if operation.operator in _WINDOWED and len(value.shape) == 4:
        return _window(operation, value, begin, end)
    if operation.operator in _ROW_BY_ROW and value.rows == output.rows:
        return begin, end
    if operation.operator == "rescale_sums":
        height = value.shape[1]  # the last running sum of each image
        return (begin + 1) * height - 1, end * height
    if operation.operator in _BROADCAST and _follows(value, output):
        return begin, end
    if operation.operator == "concat" and int(operation.params["axis"]) >= _outer_axes(output):
        return begin, end
    if operation.operator == "pad" and len(value.shape) == 4 and value.shape[0] == 1:
        return _padded(operation, value, begin, end)
    return 0, value.rows


def own_rows_read(operation: Operation, begin: int) -> tuple[int, int]:
    """Rows of its own output that a step from row `begin` on needs, as `rows_read`; often none."""
    if operation.operator == "accumulate_rows" and begin % operation.output.shape[1]:
        return begin - 1, begin
    return begin, begin


def _outer_axes(value: Value) -> int:
    """How many axes count rows."""
    return max(len(value.shape) - (2 if len(value.shape) >= 4 else 1), 0)


def _follows(value: Value, output: Value) -> bool:
    """Whether the operand has a row for each of the output's, and repeats none."""
    outer = _outer_axes(output)
    aligned = (1,) * (len(output.shape) - len(value.shape)) + value.shape
    return aligned[:outer] == output.shape[:outer] and value.rows == output.rows


def _padded(operation: Operation, value: Value, begin: int, end: int) -> tuple[int, int]:
    height, before = value.shape[1], int(operation.params["before_1"])
    is_mirrored = int(operation.params["mode"]) != 0 and height != operation.output.shape[1]
    if operation.output.shape[0] != 1 or is_mirrored:
        return 0, value.rows
    first = min(max(begin - before, 0), height)
    return first, max(min(end - before, height), first)


def _window(operation: Operation, value: Value, begin: int, end: int) -> tuple[int, int]:
    params = operation.params
    height, out_height = value.shape[1], operation.outputs[0].shape[1]
    stride, top = int(params["stride_h"]), int(params["pad_top"])
    reach = (int(params["kernel_h"]) - 1) * int(params.get("dilation_h", 1)) + 1
    image, y = divmod(begin, out_height)
    last_image, last_y = divmod(end - 1, out_height)
    first = min(max(y * stride - top, 0), height)
    last = min(max(last_y * stride - top + reach, 0), height)
    if image == last_image:
        return image * height + first, image * height + max(first, last)
    return image * height + first, last_image * height + last
