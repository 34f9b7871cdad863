"""The bars on trained models: RAM, the peer runtime's bits, accuracy, determinism."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgeinfer
from edgeinfer.convert import convert
from edgeinfer.errors import BudgetError
from tools.compare import Peer, compare, peer_for, random_feeds

ARENA_BYTES = {
    "ad01": 768,
    "kws": 16_000,
    "vww": 55_296,
    "resnet8": 49_152,
    "mobilenet_v2": 559_104,
}
SESSION_BYTES = {
    "ad01": 2_944,
    "kws": 18_560,
    "vww": 61_632,
    "resnet8": 52_160,
    "mobilenet_v2": 571_584,
}
RANDOM_INPUTS = dict.fromkeys(ARENA_BYTES, 40) | {"mobilenet_v2": 3}
KWS_ACCURACY = 0.901  # what TensorFlow Lite scores on the same samples


def unlike(model: edgeinfer.Model, peer: Peer, stack: np.ndarray) -> tuple[int, int]:
    """How many output values there are over a stack of inputs, and how many are not the peer's."""
    found = compare(model, peer, ([x] for x in stack))
    return sum(d.values for d in found), sum(d.differ for d in found)


def top1(model: edgeinfer.Model, stack: np.ndarray) -> np.ndarray:
    (info,) = model.outputs
    output = np.empty(info.shape, info.dtype)
    classes = np.empty(len(stack), np.int64)
    for i, x in enumerate(stack):
        model.run_into(output, x)
        classes[i] = output.argmax()
    return classes


@pytest.mark.parametrize("name", ARENA_BYTES)
def test_ram_is_pinned(name: str, models_dir: Path) -> None:
    data, bytes_ = convert(models_dir / f"{name}_int8.tflite").data, SESSION_BYTES[name]
    with edgeinfer.load(data, ram_budget=bytes_) as model:
        assert (model.plan.arena_bytes, model.plan.session_bytes) == (ARENA_BYTES[name], bytes_)
        (info,) = model.inputs
        model.run(np.zeros(info.shape, info.dtype))
    with pytest.raises(BudgetError):
        edgeinfer.load(data, ram_budget=bytes_ - 1)


@pytest.mark.parametrize("name", ARENA_BYTES)
def test_every_value_is_that_of_litert(name: str, models_dir: Path) -> None:
    """On LiteRT's default path, for uniform and for smooth inputs."""
    path = models_dir / f"{name}_int8.tflite"
    count = RANDOM_INPUTS[name]
    with edgeinfer.load(convert(path).data) as model:
        found = compare(model, peer_for(path), random_feeds(model.inputs, count, seed=28))
        assert [d.values for d in found] == [
            count * int(np.prod(info.shape)) for info in model.outputs
        ]
    assert [d.differ for d in found] == [0] * len(found)


def test_keyword_spotting_is_as_accurate_as_with_litert(models_dir: Path, data_dir: Path) -> None:
    path = models_dir / "kws_int8.tflite"
    with np.load(data_dir / "kws01_1000.npz") as archive:
        stack, labels = archive["inputs"], archive["labels"]
    assert len(labels) == 1000
    with edgeinfer.load(convert(path).data) as model:
        stack = stack.reshape(-1, *model.inputs[0].shape)
        assert np.mean(top1(model, stack) == labels) >= KWS_ACCURACY
        assert unlike(model, peer_for(path), stack) == (12_000, 0)


@pytest.mark.parametrize("name", ARENA_BYTES)
def test_converting_twice_gives_the_same_bytes(name: str, models_dir: Path) -> None:
    path = models_dir / f"{name}_int8.tflite"
    assert convert(path).data == convert(path).data


def test_the_example_is_accurate_and_gives_the_logits_of_onnxruntime(digits_dir: Path) -> None:
    path = digits_dir / "digits_int8.onnx"
    with np.load(digits_dir / "heldout.npz") as archive:
        images, labels = archive["images"], archive["labels"]
    converted = convert(path).data
    assert convert(path).data == converted
    with edgeinfer.load(converted) as model:
        stack = images.astype(np.float32).reshape(-1, *model.inputs[0].shape) / 16
        assert len(labels) == 450
        # 447 of the quantised network; a tie for the first place may fall either way.
        assert np.count_nonzero(top1(model, stack) == labels) in (447, 448)
        assert unlike(model, peer_for(path), stack) == (4_500, 0)
