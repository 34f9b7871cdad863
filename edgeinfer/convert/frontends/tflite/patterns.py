"""Groups of stored operators that mean one operator, found before the graph is built.

Dilated convolutions. Before the format had dilations, converters wrote SPACE_TO_BATCH_ND, a
convolution with stride 1, BATCH_TO_SPACE_ND. With one block for both, this is a convolution of
dilation = block. Its pads are the paddings less the crops; where the inner convolution pads (SAME),
its pads count once per row of the block.

Float islands. A quantiser that lacks an integer version of an operator leaves it in float32, with
DEQUANTIZE in front and QUANTIZE behind. What it computes is the operator on the quantised tensors
themselves, so it is read as that.

In both, what the operator in the middle makes must have no other reader. The patterns cannot
overlap: each is held together by tensors that only its own operators touch, or by a DEQUANTIZE that
stays for others to use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .model_file import ModelFile, StoredOperator, StoredQuantization, StoredTensor
from .operation import DilatedWindow
from .window import SAME, VALID, same_pads

_CONVOLUTIONS = {"CONV_2D": "Conv2DOptions", "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions"}

_ISLANDS = frozenset(
    {
        *("ABS", "ADD", "AVERAGE_POOL_2D", "BATCH_MATMUL", "ELU", "EXP", "GELU", "HARD_SWISH"),
        *("LEAKY_RELU", "LOG", "LOGISTIC", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM", "MUL"),
        *("NEG", "REDUCE_MAX", "REDUCE_MIN", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1"),
        *("RESIZE_BILINEAR", "RSQRT", "SOFTMAX", "SQRT", "SQUARE", "SUB", "SUM", "TANH"),
    }
)
"""Operators that are the same on quantised tensors; those with weights would have to quantise."""


class Patterns:
    """The given operators of a model after the patterns are applied."""

    def __init__(self, file: ModelFile, operators: Sequence[StoredOperator]) -> None:
        self.dilated: dict[int, DilatedWindow] = {}
        self._file = file
        self._producer = {i: op for op in operators for i in op.outputs}
        self._readers: dict[int, list[StoredOperator]] = {}
        for op in operators:
            for i in op.inputs:
                self._readers.setdefault(i, []).append(op)
        self._rewritten: dict[int, StoredOperator | None] = {}
        for op in operators:
            if op.code in _CONVOLUTIONS:
                self._absorb_blocks(op)
            elif op.code in _ISLANDS:
                self._absorb_conversions(op)
        after = (self._rewritten.get(op.position, op) for op in operators)
        self.operators = [op for op in after if op is not None]

    def _only_reader(self, index: int) -> StoredOperator | None:
        readers = self._readers.get(index, [])
        if len(readers) != 1 or index in self._file.outputs:
            return None
        return readers[0]

    # --- dilated convolutions

    def _absorb_blocks(self, conv: StoredOperator) -> None:
        if len(conv.inputs) < 2 or len(conv.outputs) != 1:
            return
        before = self._producer.get(conv.inputs[0])
        after = self._only_reader(conv.outputs[0])
        if before is None or after is None:
            return
        if (before.code, after.code) != ("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"):
            return
        if len(before.inputs) != 3 or len(after.inputs) != 3 or len(after.outputs) != 1:
            return
        if after.inputs[0] != conv.outputs[0] or self._only_reader(conv.inputs[0]) is not conv:
            return
        window = self._dilated_window(before, conv, after)
        if window is None:
            return
        self.dilated[conv.position] = window
        self._rewritten[before.position] = self._rewritten[after.position] = None
        self._rewritten[conv.position] = replace(
            conv, inputs=(before.inputs[0], *conv.inputs[1:]), outputs=after.outputs
        )

    def _dilated_window(
        self, before: StoredOperator, conv: StoredOperator, after: StoredOperator
    ) -> DilatedWindow | None:
        tensor = self._file.tensor
        block = _integers(tensor(before.inputs[1]), 2)
        paddings = _integers(tensor(before.inputs[2]), 4)
        crops = _integers(tensor(after.inputs[2]), 4)
        if block is None or paddings is None or crops is None or min(block) < 1:
            return None
        if _integers(tensor(after.inputs[1]), 2) != block:
            return None
        if not _same_quantization(tensor(before.inputs[0]), tensor(conv.inputs[0])):
            return None
        if not _same_quantization(tensor(conv.outputs[0]), tensor(after.outputs[0])):
            return None
        x, kernel = tensor(before.inputs[0]).shape, tensor(conv.inputs[1]).shape
        if len(x) != 4 or len(kernel) != 4 or 0 in kernel:
            return None
        options = self._file.options(conv, _CONVOLUTIONS[conv.code])
        names = ("StrideH", "StrideW", "DilationHFactor", "DilationWFactor")
        if any(options[name] != 1 for name in names) or options["Padding"] not in (SAME, VALID):
            return None
        pads = [0, 0, 0, 0]
        for axis in (0, 1):
            inner = (0, 0)
            size = x[1 + axis] + paddings[2 * axis] + paddings[2 * axis + 1]
            if size % block[axis]:
                return None
            if options["Padding"] == SAME:
                inner = same_pads(size // block[axis], kernel[1 + axis], 1)
            for end in (0, 1):
                pads[axis + 2 * end] = (
                    paddings[2 * axis + end] + block[axis] * inner[end] - crops[2 * axis + end]
                )
        if min(pads) < 0 or min(crops) < 0 or min(paddings) < 0:
            return None
        return DilatedWindow((block[0], block[1]), (pads[0], pads[1], pads[2], pads[3]))

    # --- float islands

    def _absorb_conversions(self, island: StoredOperator) -> None:
        tensor = self._file.tensor
        if len(island.outputs) != 1 or tensor(island.outputs[0]).type != "FLOAT32":
            return
        after = self._only_reader(island.outputs[0])
        if after is None or after.code != "QUANTIZE" or len(after.outputs) != 1:
            after = None
            if island.code != "SOFTMAX":  # which alone can give float32
                return
        inputs = list(island.inputs)
        for position, index in enumerate(inputs):
            if index < 0 or tensor(index).type != "FLOAT32":
                continue
            before = self._producer.get(index)
            if before is None or before.code != "DEQUANTIZE" or len(before.inputs) != 1:
                return
            inputs[position] = before.inputs[0]
        if inputs == list(island.inputs):
            return
        outputs: tuple[int, ...] = island.outputs
        if after is not None:
            self._rewritten[after.position] = None
            outputs = after.outputs
        self._rewritten[island.position] = replace(island, inputs=tuple(inputs), outputs=outputs)


def _integers(tensor: StoredTensor, count: int) -> tuple[int, ...] | None:
    if tensor.data is None or tensor.type not in ("INT32", "INT64") or tensor.data.size != count:
        return None
    return tuple(int(n) for n in tensor.data.reshape(-1))


def _same_quantization(a: StoredTensor, b: StoredTensor) -> bool:
    def values(q: StoredQuantization | None) -> list[float]:
        return [] if q is None else [*q.scale.tolist(), *q.zero_point.tolist()]

    return a.type == b.type and values(a.quantization) == values(b.quantization)
