"""Trained float models: LiteRT's numbers in float32, up to the last bits.

Bound: 2e-6 times the largest absolute value of the output. Sums are made in another order than
LiteRT's, and a network of 30 layers hands its last bits on.

The keyword model's file has int8 weights beside float32 activations ("dynamic range"). LiteRT
quantises the activations of such layers at every run. Here they compute in float32, so its peer is
LiteRT on the same file with these weights written out as float32.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import edgeinfer
from edgeinfer.convert import convert
from tests.builders.tflite_edit import edited
from tests.builders.tflite_run import run

BOUND = 2e-6
HYBRID = {"kws": 5}  # layers with int8 weights
MODELS = ("ad01", "kws", "resnet8", "vww")


def with_float_weights(model: bytes) -> tuple[bytes, int]:
    """The model with all int8 constants written out as float32, and how many there were."""
    count = 0

    def change(objects: schema.ModelT) -> None:
        nonlocal count
        for tensor in objects.subgraphs[0].tensors:
            buffer = objects.buffers[tensor.buffer]
            if tensor.type != schema.TensorType.INT8 or buffer.data is None:
                continue
            q = tensor.quantization
            stored = np.asarray(buffer.data, np.uint8).view(np.int8).reshape(tensor.shape)
            along = [1] * stored.ndim
            along[q.quantizedDimension] = -1
            scale = np.asarray(q.scale, np.float32).reshape(along)
            real = (stored.astype(np.float32) * scale).astype(np.float32)
            objects.buffers.append(schema.BufferT(data=np.frombuffer(real.tobytes(), np.uint8)))
            tensor.buffer, tensor.quantization = len(objects.buffers) - 1, None
            tensor.type = schema.TensorType.FLOAT32
            count += 1

    return edited(model, change), count


@pytest.mark.parametrize("name", MODELS)
def test_every_value_is_litert_s_up_to_rounding(name: str, models_dir: Path) -> None:
    data = (models_dir / f"{name}_fp32.tflite").read_bytes()
    reference, count = with_float_weights(data)
    assert count == HYBRID.get(name, 0)
    rng = np.random.default_rng(5)
    with edgeinfer.load(convert(data, name=name).data) as model:
        (info,) = model.inputs
        assert info.dtype == np.float32
        for _ in range(20):
            x = rng.uniform(-3, 3, info.shape).astype(np.float32)
            (expected,) = run(reference, x)
            bound = BOUND * float(np.abs(expected).max())
            np.testing.assert_allclose(model.run(x), expected, rtol=0, atol=bound)


def with_weights_in_half_precision(model: bytes) -> bytes:
    """The model with the float32 weights of its layers rounded to the nearest float16."""

    def change(objects: schema.ModelT) -> None:
        for tensor in objects.subgraphs[0].tensors:
            buffer = objects.buffers[tensor.buffer]
            is_weights = tensor.type == schema.TensorType.FLOAT32 and len(tensor.shape) in (2, 4)
            if is_weights and buffer.data is not None:
                real = np.asarray(buffer.data, np.uint8).view(np.float32)
                rounded = real.astype(np.float16).astype(np.float32)
                assert (rounded != real).any()
                buffer.data = np.frombuffer(rounded.tobytes(), np.uint8)

    return edited(model, change)


def test_half_precision_weights_take_half_the_file_and_are_rounded_once(models_dir: Path) -> None:
    data = (models_dir / "resnet8_fp32.tflite").read_bytes()
    whole, half = convert(data), convert(data, float_weights="float16")
    assert len(half.data) < 0.6 * len(whole.data)
    rounded = convert(with_weights_in_half_precision(data))
    rng = np.random.default_rng(6)
    with edgeinfer.load(rounded.data) as one, edgeinfer.load(half.data) as other:
        for _ in range(5):
            x = rng.uniform(0, 255, (1, 32, 32, 3)).astype(np.float32)
            np.testing.assert_array_equal(one.run(x), other.run(x))
