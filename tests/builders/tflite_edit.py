"""Change a built TFLite model: what no converter writes, and readers must still cope with."""

from __future__ import annotations

from collections.abc import Callable

import flatbuffers
from ai_edge_litert import schema_py_generated as schema


def edited(model: bytes, change: Callable[[schema.ModelT], None]) -> bytes:
    """The model after `change` was applied to its object form."""
    objects = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(model), 0))
    change(objects)
    builder = flatbuffers.Builder(1024)
    builder.Finish(objects.Pack(builder), b"TFL3")
    return bytes(builder.Output())
