"""Custom operators of the process, which a file names: those that are Python functions."""

from __future__ import annotations

import math
import struct
from typing import Any

from edgeinfer.convert.model_file import FileTensor
from edgeinfer.custom import CustomOp, find
from edgeinfer.custom.operands import DTYPES, HEAD, RECORD, decode_attributes, match_attributes
from edgeinfer.engine_numba.node import ANY, Node, Run
from edgeinfer.errors import CustomOperatorError, InputError, UnsupportedError

_MOST_BYTES = 2**31 - 1
_MOST_ATTRIBUTES = 64
_TEXT = 3
_KINDS = {1: 8, 2: 8, _TEXT: 1}  # int64, float64, text: bytes of a value
_NUMBERS = {name: number for number, name in DTYPES.items()}


class _Described:
    """The node as `CustomOp.require` looks at one."""

    def __init__(self, node: Node, tensors: list[FileTensor], blob: bytes) -> None:
        self.inputs = [(_NUMBERS[t.dtype], t.shape) for t in tensors]
        self.output = (_NUMBERS[node.y.dtype], node.y.shape)
        self.scratch_bytes = node.integer("scratch_bytes", 0, _MOST_BYTES)
        self._blob = blob

    def read(self, offset: int, count: int) -> bytes:
        """Bytes of the blob; ValueError where they leave it."""
        if not 0 <= offset <= offset + count <= len(self._blob):
            raise ValueError(f"blob: {count} bytes at {offset} of {len(self._blob)}")
        return self._blob[offset : offset + count]


def custom(node: Node) -> Run:
    """blob, x... -> y"""
    tensors = [node.present(i, "x", *ANY) for i in range(1, len(node.inputs))]
    node.dtype(node.y, "y", *ANY)
    for tensor, what in [*((t, "x") for t in tensors), (node.y, "y")]:
        node.whole(tensor, what)
    size = math.prod(node.present(0, "blob", "uint8").shape)
    described = _Described(node, tensors, node.constant(0, "blob", "uint8", size).tobytes())
    try:
        name = _checked_name(described)
        stored = decode_attributes(described.read)
    except (ValueError, struct.error) as error:
        raise node.fail(f"blob: {error}") from error
    operator = _registered(node, name)
    try:
        operator.require(described)
        attributes = match_attributes(operator.attributes, stored)
    except ValueError as error:
        raise CustomOperatorError(f"{node.where}: {operator.name!r}: {error}") from error
    function, plan = operator.function, operator.plan
    quantization = [(t.scale, t.zero_point) for t in (*tensors, node.y)]

    def run(inputs: Any, output: Any, begin: int, end: int) -> None:
        assert function is not None and plan is not None
        given = plan.arguments_for(
            [*inputs[1:], output], attributes, quantization, described.scratch_bytes
        )
        try:
            function(*given)
        except Exception as error:
            raise InputError(f"{node.where}: {operator.name!r}: {error!r}") from error

    return run


def _checked_name(described: _Described) -> str:
    """The operator's name; ValueError unless the blob is what csrc/ops/custom_blob.h describes."""
    raw, count, reserved = HEAD.unpack(described.read(0, HEAD.size))
    name = _padded(raw, "the operator's name")
    if not all(0x21 <= c <= 0x7E for c in name):
        raise ValueError("the operator's name must be printable ASCII without a space")
    if count > _MOST_ATTRIBUTES or reserved != 0:
        raise ValueError(f"{count} attributes, at most {_MOST_ATTRIBUTES}; reserved must be 0")
    for i in range(count):
        record = described.read(HEAD.size + i * RECORD.size, RECORD.size)
        raw, kind, values, offset, reserved = RECORD.unpack(record)
        _padded(raw, f"attribute {i}")
        if kind not in _KINDS or reserved != 0 or offset % 8 != 0:
            raise ValueError(f"attribute {i}: kind {kind}, offset {offset}, reserved {reserved}")
        contents = described.read(offset, values * _KINDS[kind])
        if kind == _TEXT and contents[-1:] != b"\0":
            raise ValueError(f"attribute {i}: its text must end in a zero byte")
    return name.decode("ascii")


def _padded(raw: bytes, what: str) -> bytes:
    """At least one character, and zeros behind them to the end, one or more."""
    text = raw.rstrip(b"\0")
    if not text or len(text) == len(raw) or b"\0" in text:
        raise ValueError(f"{what} must have 1 to {len(raw) - 1} characters, padded with zeros")
    return text


def _registered(node: Node, name: str) -> CustomOp:
    operator = find(name)
    if operator is None:
        raise CustomOperatorError(
            f"{node.where}: custom operator {name!r} is not registered; see docs/custom_ops.md"
        )
    if operator.function is None or operator.plan is None:
        raise UnsupportedError(
            f"{node.where}: engine='numba' runs custom operators that are Python functions, and "
            f"{name!r} is C code: load with the C core"
        )
    return operator
