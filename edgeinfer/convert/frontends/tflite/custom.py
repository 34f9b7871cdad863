"""CUSTOM operators that the process has registered, by the code that the file calls them by.

Their options are a flexbuffer map as a rule: numbers, text and lists of numbers become attributes.
Options of any other make go into the attribute "custom_options", a list of bytes.
"""

from __future__ import annotations

from typing import Any

from edgeinfer.custom import CustomOp

from .operation import Operation, Unsupported

_MOST = 64  # attributes of a node
_LONGEST = 1 << 16  # numbers in a list


class OptionError(ValueError):
    """Options that can be read, and cannot be attributes."""


def read_custom(op: Operation, operator: CustomOp, options: bytes) -> None:
    """Emit a custom node."""
    if len(op.outputs) != 1:
        raise Unsupported(
            f"it has {len(op.outputs)} outputs; custom operators have one",
            "let one output hold all results, and take it apart with SLICE or SPLIT",
        )
    inputs = [op.input(i) for i in range(op.input_count)]
    # What the file says of the shape is its writer's belief, and is taken where nothing else tells.
    declared = op.output().shape if operator.shape is not None else None
    try:
        attributes = operator.fill(attributes_of(options))
        if callable(operator.shape):
            declared = None
        shape = operator.output_shape([t.shape for t in inputs], attributes, declared)
    except ValueError as error:
        raise Unsupported(str(error)) from error
    op.emit("custom", inputs, shape, name=operator.name, attributes=attributes)


def attributes_of(options: bytes) -> dict[str, Any]:
    """What the options of an operator say."""
    if not options:
        return {}
    from flatbuffers import flexbuffers

    try:
        root = flexbuffers.GetRoot(bytearray(options))
        if root.IsMap:
            fields = root.AsMap
            if len(fields) > _MOST:
                raise OptionError(f"it has {len(fields)} options; {_MOST} are the most")
            keys = [fields.Keys[i].AsKey for i in range(len(fields))]
            return {key: _plain(key, fields[key]) for key in keys}
    except OptionError:
        raise
    except Exception:  # whatever the accessors raise on bytes that are no flexbuffer
        pass
    return {"custom_options": list(options)}


def _plain(name: str, value: Any) -> Any:
    if value.IsBool:
        return int(value.AsBool)
    if value.IsInt:
        return value.AsInt
    if value.IsFloat:
        return value.AsFloat
    if value.IsString:
        return value.AsString
    is_list = value.IsVector and not value.IsMap
    if is_list or value.IsTypedVector or value.IsFixedTypedVector:
        items = value.AsTypedVector if value.IsTypedVector else value.AsVector
        if len(items) > _LONGEST:
            raise OptionError(
                f"its option {name!r} has {len(items)} values; {_LONGEST} are the most"
            )
        return [_plain(name, items[i]) for i in range(len(items)) if _is_number(name, items[i])]
    raise OptionError(f"its option {name!r} is neither a number, text nor a list of numbers")


def _is_number(name: str, value: Any) -> bool:
    if not (value.IsBool or value.IsInt or value.IsFloat):
        raise OptionError(f"its option {name!r} has an element that is not a number")
    return True
