"""Give a model's inputs the shapes that somebody asked for, before anything else looks at it.

A .tflite file stores a shape for every tensor, computed by the exporter with 1 in the place of each
open dimension, and a signature with -1 there. Where the batch (axis 0) is all that is open, a batch
of n is n times the stored extent in every tensor whose signature is open there. Each operator has
to carry this on: one that reads such a tensor and makes one of a fixed shape, by a constant of a
reshape say, or a sum over the batch, is refused. What other open axes would make of the shapes
behind them only the exporter can tell; for them the stored shape can be confirmed.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgeinfer.errors import InputError

from .model_file import ModelFile, StoredTensor

_READ_SHAPES = ("SHAPE", "RANK")
"""What such operators make of an open tensor is as large for every batch."""


def fix_shapes(file: ModelFile, shapes: Mapping[str, tuple[int, ...]]) -> set[int]:
    """Lay the file out for these shapes.

    Parameters
    ----------
    shapes : by name of input; "" is the only input of a model that has one. Other inputs with an
        open batch get the same one.

    Returns
    -------
    set of int
        The inputs, by index of tensor, whose shapes were given.

    Raises
    ------
    InputError
        There is no such input, its shape is another in the file, or the model does not carry the
        batch from operator to operator.
    """
    inputs = {file.tensor(index).name: file.tensor(index) for index in file.inputs}
    given: dict[int, int] = {}
    for called, shape in shapes.items():
        if not called and len(inputs) == 1:
            (stored,) = inputs.values()
        elif called in inputs:
            stored = inputs[called]
        else:
            listed = ", ".join(f"{name!r} {_open(tensor)}" for name, tensor in inputs.items())
            what = (
                f"no input {called!r}" if called else f"{len(inputs)} inputs, so a name is needed"
            )
            raise InputError(f"{file.name} has {what}; its inputs: {listed or 'none'}")
        given[stored.index] = _batch_of(file, stored, shape)
    batches = {batch for index, batch in given.items() if _has_open_batch(file.tensor(index))}
    if len(batches) > 1:
        raise InputError(
            f"{file.name}: inputs would have batches of {' and '.join(map(str, sorted(batches)))}; "
            "a model has one"
        )
    if batches and batches != {1}:
        _lay_out_for(file, batches.pop())
    return set(given)


def _batch_of(file: ModelFile, stored: StoredTensor, shape: tuple[int, ...]) -> int:
    """How many times the stored batch is asked for."""
    if shape == stored.shape:
        return 1
    if shape[1:] == stored.shape[1:] and len(shape) and _has_open_batch(stored):
        return shape[0]
    axes = "only the batch" if _has_open_batch(stored) else "no axis of it"
    raise InputError(
        f"{file.name}: the shape {list(shape)} that was asked for does not fit input "
        f"{stored.name!r}, which is {_open(stored)}, laid out for {list(stored.shape)}; {axes} can "
        "be changed here. Export the model with this shape: tf.function with an input_signature, "
        "or tf.keras.Input(batch_shape=...)"
    )


def _has_open_batch(tensor: StoredTensor) -> bool:
    signature = tensor.signature
    return len(signature) == len(tensor.shape) > 0 and signature[0] == -1 and tensor.shape[0] == 1


def _lay_out_for(file: ModelFile, batch: int) -> None:
    used = {*file.inputs, *file.outputs}
    for operator in file.operators:
        used.update(i for i in (*operator.inputs, *operator.outputs) if i >= 0)
    scaled = set()
    for index in sorted(used):
        tensor = file.tensor(index)
        if tensor.has_buffer or len(tensor.signature) != len(tensor.shape) or not tensor.shape:
            continue
        if any(n < 0 for n in tensor.signature[1:]):
            raise InputError(
                f"{file.name}: a batch of {batch} cannot be set, since tensor {tensor.name!r} is "
                f"open in other axes too: {_open(tensor)}. Export the model with fixed shapes"
            )
        if tensor.signature[0] == -1:
            file.reshape_tensor(index, (tensor.shape[0] * batch, *tensor.shape[1:]))
            scaled.add(index)
    for operator in file.operators:
        if operator.code in _READ_SHAPES or scaled.isdisjoint(operator.inputs):
            continue
        for index in operator.outputs:
            if index not in scaled:
                raise InputError(
                    f"{file.name}: a batch of {batch} cannot be set, since {operator.code} makes "
                    f"{file.tensor(index).name!r} of the fixed shape "
                    f"{list(file.tensor(index).shape)}. Export the model with this batch"
                )


def _open(tensor: StoredTensor) -> str:
    """The shape with -1 where the file leaves it open."""
    return str(list(tensor.signature or tensor.shape))
