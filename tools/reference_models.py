"""Well-known networks to measure with, built here and never downloaded.

Speed depends on shapes and quantisation, not on what a network has learnt. So the architectures are
written out, given random weights from a seed, and quantised by onnxruntime the usual way: static,
QDQ, weights int8 symmetric per channel, activation ranges calibrated on random images. Activations
are uint8: on x86 onnxruntime runs these twice as fast as int8 ones, other runtimes as fast. Weights
are He-initialised (variance 2 / fan-in before a ReLU), which keeps the activations of every layer
spread over their range: with dead or saturated ones, comparing results would compare nothing.

    build_reference_model("resnet50", folder)    # folder/resnet50.onnx, a few seconds

Needs onnx and onnxruntime.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

_IMAGE = (1, 3, 224, 224)
_CLASSES = 1000
_CALIBRATION_IMAGES = 8
_OPSET = 17


class _Network:
    """A chain of ONNX nodes with random weights. Batch norms are folded, as exporters do."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self._rng = np.random.default_rng(seed)

    def node(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        import onnx

        output = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    def conv(
        self, x: str, channels: tuple[int, int], kernel: int, stride: int, gain: float,
        groups: int = 1,
    ) -> str:  # fmt: skip
        """Padded as SAME is for an odd kernel; weights have variance gain² / fan-in."""
        into, out = channels
        shape = (out, into // groups, kernel, kernel)
        inputs = [x, self._random(shape, gain / math.sqrt(math.prod(shape[1:])))]
        return self.node(
            "Conv",
            [*inputs, self._random((out,), 0.05)],
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[kernel // 2] * 4,
            group=groups,
        )

    def classify(self, x: str, channels: int) -> str:
        pooled = self.node("Flatten", [self.node("GlobalAveragePool", [x])])
        weights = self._random((_CLASSES, channels), 1 / math.sqrt(channels))
        return self.node("Gemm", [pooled, weights, self._random((_CLASSES,), 0.05)], transB=1)

    def constant(self, value: np.ndarray) -> str:
        import onnx

        name = f"constant_{len(self.weights)}"
        self.weights.append(onnx.numpy_helper.from_array(value.astype(np.float32), name))
        return name

    def _random(self, shape: tuple[int, ...], deviation: float) -> str:
        return self.constant(self._rng.normal(0, deviation, shape))


_HE = math.sqrt(2)  # makes up for the half that a ReLU takes away
_LINEAR = 1.0


def resnet50(seed: int) -> tuple[_Network, str]:
    """ResNet-50 v1.5: the stride of a block is in its 3x3 (He et al. 2015; NVIDIA's variant)."""
    network = _Network(seed)
    x = network.node("Relu", [network.conv("image", (3, 64), 7, 2, _HE)])
    x = network.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width = 64 << stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            shortcut = x
            if not block:
                shortcut = network.conv(x, (channels, 4 * width), 1, stride, _LINEAR)
            y = network.node("Relu", [network.conv(x, (channels, width), 1, 1, _HE)])
            y = network.node("Relu", [network.conv(y, (width, width), 3, stride, _HE)])
            y = network.conv(y, (width, 4 * width), 1, 1, _LINEAR)
            x = network.node("Relu", [network.node("Add", [y, shortcut])])
            channels = 4 * width
    return network, network.classify(x, channels)


def mobilenet_v2(seed: int) -> tuple[_Network, str]:
    """MobileNet v2 1.0 224 (Sandler et al. 2018, table 2)."""
    network = _Network(seed)
    low, high = network.constant(np.float32(0)), network.constant(np.float32(6))

    def relu6(x: str) -> str:
        return network.node("Clip", [x, low, high])

    x = relu6(network.conv("image", (3, 32), 3, 2, _HE))
    channels = 32
    for expansion, out, repeats, first_stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):  # fmt: skip
        for repeat in range(repeats):
            stride = 1 if repeat else first_stride
            wide = channels * expansion
            y = relu6(network.conv(x, (channels, wide), 1, 1, _HE)) if expansion > 1 else x
            y = relu6(network.conv(y, (wide, wide), 3, stride, _HE, wide))
            y = network.conv(y, (wide, out), 1, 1, _LINEAR)
            x = network.node("Add", [x, y]) if stride == 1 and channels == out else y
            channels = out
    x = relu6(network.conv(x, (channels, 1280), 1, 1, _HE))
    return network, network.classify(x, 1280)


REFERENCE_MODELS = {"resnet50": resnet50, "mobilenet_v2_onnx": mobilenet_v2}
FLOAT_MODELS = {f"{name}_float": name for name in REFERENCE_MODELS}
"""The same in float32."""


def random_images(count: int, seed: int) -> Iterator[np.ndarray]:
    """Images normalised as ImageNet's are: about zero, coarse and fine structure."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        image = rng.standard_normal(_IMAGE) * 0.5
        for size in (8, 32):
            coarse = rng.standard_normal((*_IMAGE[:2], 224 // size, 224 // size))
            image += np.kron(coarse, np.ones((size, size))) * 0.6
        yield image.astype(np.float32)


class _Calibration:
    """Hands images to the quantiser one at a time."""

    def __init__(self, seed: int) -> None:
        self._images = random_images(_CALIBRATION_IMAGES, seed)

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self._images, None)
        return None if image is None else {"image": image}


def build_float_model(name: str, seed: int = 0) -> Any:
    """The ModelProto before quantisation."""
    import onnx

    network, logits = REFERENCE_MODELS[name](seed)
    graph = onnx.helper.make_graph(
        network.nodes,
        name,
        [onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, _IMAGE)],
        [onnx.helper.make_tensor_value_info(logits, onnx.TensorProto.FLOAT, (1, _CLASSES))],
        network.weights,
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", _OPSET)])
    model.ir_version = 8  # read by every onnxruntime of the last years
    onnx.checker.check_model(model)
    return model


def build_reference_model(name: str, folder: Path, seed: int = 0) -> Path:
    """The quantised model as folder/<name>.onnx; made where it is not there yet."""
    import onnx
    from onnxruntime import quantization

    target = folder / f"{name}.onnx"
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    model = build_float_model(name, seed)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        unquantised = Path(work) / "float.onnx"
        made = Path(work) / target.name
        onnx.save(model, unquantised)
        quantization.quantize_static(
            str(unquantised),
            str(made),
            _Calibration(seed + 1),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            extra_options={"WeightSymmetric": True},
        )
        os.replace(made, target)
    return target


def build_float_file(name: str, folder: Path, seed: int = 0) -> Path:
    """One of `FLOAT_MODELS` as folder/<name>.onnx; made where it is not there yet."""
    import onnx

    target = folder / f"{name}.onnx"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as work:
            made = Path(work) / target.name
            onnx.save(build_float_model(FLOAT_MODELS[name], seed), made)
            os.replace(made, target)
    return target


def build_ncnn_model(name: str, folder: Path, seed: int = 0) -> Path:
    """The same network, quantised on the same images, as folder/<name>.param and .bin for ncnn."""
    from tools.ncnn_model import write_ncnn_int8

    target = folder / f"{name}.param"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        images = random_images(_CALIBRATION_IMAGES, seed + 1)
        with tempfile.TemporaryDirectory(dir=folder) as work:
            made = Path(work) / target.name
            write_ncnn_int8(build_float_model(name, seed), images, made)
            os.replace(made.with_suffix(".bin"), target.with_suffix(".bin"))
            os.replace(made, target)
    return target
