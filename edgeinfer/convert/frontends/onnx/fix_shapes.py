"""Give a model's inputs the shapes that somebody asked for, before anything else looks at it.

A symbolic dimension that stands in several places gets its size in all of them: of other inputs
too, which then need not be given, and of declared outputs and intermediate values. Sizes that are
numbers in the file stay what they are: constants of the model may depend on them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgeinfer.errors import InputError


def fix_shapes(
    model: Any,
    shapes: Mapping[str, tuple[int, ...]],
    name: str,
    sequence_length: int | None = None,
) -> None:
    """Fix shapes of inputs in a ModelProto, in place.

    Parameters
    ----------
    shapes : by name of input; "" is the only input of a model that has one.
    name : what messages call the model.
    sequence_length : of inputs [batch, sequence, ...] that `shapes` does not tell the shape of: an
        open first axis is 1, an open second one has this size.

    Raises
    ------
    InputError
        There is no such input, its shape has another rank or another number there, or a symbolic
        dimension would have two sizes. There is no sequence to give a length, or an axis that is
        neither batch nor sequence is open.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = {info.name: info for info in model.graph.input if info.name not in constants}
    sizes: dict[str, tuple[int, str]] = {}
    for called, shape in shapes.items():
        if not called and len(inputs) == 1:
            (info,) = inputs.values()
        elif called in inputs:
            info = inputs[called]
        else:
            listed = ", ".join(f"{i.name!r} {describe_dimensions(i)}" for i in inputs.values())
            what = (
                f"no input {called!r}" if called else f"{len(inputs)} inputs, so a name is needed"
            )
            raise InputError(f"{name} has {what}; its inputs: {listed or 'none'}")
        _fix(info, shape, sizes, name)
    if sequence_length is not None:
        _fix_sequences(list(inputs.values()), sequence_length, sizes, name)
    for info in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dim in _dimensions(info):
            if dim.HasField("dim_param") and dim.dim_param in sizes:
                dim.dim_value = sizes[dim.dim_param][0]
            elif dim.HasField("dim_value") and dim.dim_value < 0:
                dim.ClearField("dim_value")  # -1 for open, which inference takes for a size


def describe_dimensions(info: Any) -> str:
    """The shape as the file says it: "[batch, 3, ?, ?]"."""
    if info.type.WhichOneof("value") != "tensor_type" or not info.type.tensor_type.HasField(
        "shape"
    ):
        return "of unknown rank"
    return f"[{', '.join(map(_described, _dimensions(info)))}]"


def advise_shape(info: Any) -> str:
    """How to fix the shape of an input that is open."""
    if not info.type.tensor_type.HasField("shape"):
        return (
            f"use edgeinfer convert with the whole shape, --shape {info.name}=1,3,224,224, "
            f"or in Python shapes={{{info.name!r}: (1, 3, 224, 224)}}"
        )
    dims = [_described(dim) for dim in _dimensions(info)]
    opened = ", ".join(dict.fromkeys(d for d in dims if not d.isdecimal()))
    advice = (
        f"use edgeinfer convert with --shape {info.name}={','.join(dims)}, a number in the "
        f"place of {opened}; in Python with shapes={{{info.name!r}: ...}}"
    )
    if len(dims) == 2 and not dims[1].isdecimal():  # token ids, as a rule
        advice += f"; where {dims[1]} is the length of a sequence, with --sequence-lengths 32,128"
    return advice


def _fix(info: Any, shape: tuple[int, ...], sizes: dict[str, tuple[int, str]], model: str) -> None:
    if info.type.WhichOneof("value") != "tensor_type":
        return  # refused with the other inputs that are no tensors
    stored = info.type.tensor_type
    asked = f"{model}: the shape {list(shape)} that was asked for does not fit input {info.name!r}"
    if not stored.HasField("shape"):
        for n in shape:
            stored.shape.dim.add().dim_value = n
        return
    if len(shape) != len(stored.shape.dim):
        rank = len(stored.shape.dim)
        raise InputError(f"{asked}: its shape {describe_dimensions(info)} has rank {rank}")
    for axis, (dim, n) in enumerate(zip(stored.shape.dim, shape, strict=True)):
        if _is_fixed(dim):
            if dim.dim_value != n:
                raise InputError(
                    f"{asked}: dimension {axis} is {dim.dim_value} in the file, whose shape is "
                    f"{describe_dimensions(info)}"
                )
            continue
        if dim.HasField("dim_param") and dim.dim_param:
            size, where = sizes.setdefault(dim.dim_param, (n, info.name))
            if size != n:
                raise InputError(f"{asked}: {dim.dim_param!r} is {size} already, by {where!r}")
        else:
            dim.dim_value = n


def _fix_sequences(
    inputs: list[Any], length: int, sizes: dict[str, tuple[int, str]], model: str
) -> None:
    """Fix what is open of inputs [batch, sequence, ...]."""
    asked = False
    for info in inputs:
        shape = []
        for axis, dim in enumerate(_dimensions(info)):
            if _is_fixed(dim):
                shape.append(dim.dim_value)
            elif dim.dim_param in sizes:
                shape.append(sizes[dim.dim_param][0])
                asked |= shape[-1] == length
            elif axis <= 1:
                shape.append((1, length)[axis])
                asked |= axis == 1
            else:
                raise InputError(
                    f"{model}: axis {axis} of input {info.name!r} {describe_dimensions(info)} is "
                    f"open, besides batch and sequence; give --shape {info.name}=... too"
                )
        if shape:
            _fix(info, tuple(shape), sizes, model)
    if not asked:
        listed = ", ".join(f"{info.name!r} {describe_dimensions(info)}" for info in inputs)
        raise InputError(
            f"{model} has no input [batch, sequence, ...] whose second axis is open, so that it "
            f"takes one length only; its inputs: {listed or 'none'}"
        )


def _is_fixed(dim: Any) -> bool:
    return bool(dim.HasField("dim_value") and dim.dim_value >= 1)  # exporters write -1 for open


def _described(dim: Any) -> str:
    return str(dim.dim_value) if _is_fixed(dim) else dim.dim_param or "?"


def _dimensions(info: Any) -> Iterator[Any]:
    if info.type.WhichOneof("value") == "tensor_type":
        yield from info.type.tensor_type.shape.dim
