"""Shapes of inputs that somebody asked for, held against what the file was laid out for.

A .tflite file stores a shape for every tensor, computed by the exporter with some number (1,
mostly) in the place of each open dimension. Other numbers would need all of them, and constants of
reshapes, computed anew; that is the exporter's work.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgeinfer.errors import InputError

from .model_file import ModelFile, StoredTensor


def given_shapes(file: ModelFile, shapes: Mapping[str, tuple[int, ...]]) -> set[int]:
    """The inputs, by index of tensor, whose shapes were confirmed.

    Parameters
    ----------
    shapes : by name of input; "" is the only input of a model that has one.

    Raises
    ------
    InputError
        There is no such input, or the file is laid out for another shape.
    """
    inputs = {file.tensor(index).name: file.tensor(index) for index in file.inputs}
    given = set()
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
        if shape != stored.shape:
            raise InputError(
                f"{file.name}: input {stored.name!r} is {_open(stored)}, and every tensor of the "
                f"file is laid out for {list(stored.shape)}, not for {list(shape)} as was asked "
                "for; export the model with this shape: tf.function with an input_signature, or "
                "tf.keras.Input(batch_shape=...)"
            )
        given.add(stored.index)
    return given


def _open(tensor: StoredTensor) -> str:
    """The shape with -1 where the file leaves it open."""
    return str(list(tensor.signature or tensor.shape))
