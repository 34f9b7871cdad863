"""Which format a model file is of: the one place that decides."""

from __future__ import annotations

SOURCE_SUFFIXES = {".onnx": "onnx", ".tflite": "tflite"}
"""Names of the formats that can be converted, by the suffix of their files."""

HEAD_BYTES = 8
"""How much of a file's beginning tells its format."""

_EDGE_MAGIC = b"EDGEINF"
_TFLITE_IDENTIFIER = b"TFL3"  # at byte 4
_ONNX_FIRST_BYTE = b"\x08"  # the protobuf field ir_version, a small varint


def source_format(head: bytes, suffix: str = "") -> str | None:
    """The source format of a file; None where it is an `.edge` file, or nothing known.

    Contents go before the name. One byte that ONNX files share with much else is no evidence
    against a name that says `.edge`.

    Parameters
    ----------
    head : the file's first HEAD_BYTES bytes, or more.
    suffix : of its name, in lower case, with the dot; "" where it has none.
    """
    if head.startswith(_EDGE_MAGIC):
        return None
    if head[4:8] == _TFLITE_IDENTIFIER:
        return "tflite"
    if suffix in SOURCE_SUFFIXES:
        return SOURCE_SUFFIXES[suffix]
    return "onnx" if head[:1] == _ONNX_FIRST_BYTE and suffix != ".edge" else None
