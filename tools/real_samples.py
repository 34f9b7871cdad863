"""Float models with real weights, and inputs of the kind that they were trained on.

    digits    the example's network, on the digits that it was not trained on
    kws       MLPerf Tiny keyword spotting, on its accuracy set
    vww       MLPerf Tiny visual wake words, on patches of scikit-image's pictures
    resnet8   MLPerf Tiny image classification, on such patches
    ad01      MLPerf Tiny anomaly detection, on spectrograms made up: no sounds are at hand

The MLPerf Tiny models and data are looked for in EDGEINFER_MODELS and EDGEINFER_DATA, else in
../shared/models and ../shared/data. Patches need scikit-image (and Pillow, which it brings).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
MODELS = Path(os.environ.get("EDGEINFER_MODELS", ROOT.parent / "shared" / "models"))
DATA = Path(os.environ.get("EDGEINFER_DATA", ROOT.parent / "shared" / "data"))

_SMALLEST_PICTURE = 128


def samples_of(name: str, count: int, seed: int = 0) -> np.ndarray:
    """Inputs [count, *shape] of one of `MODEL_FILES`, float32, the same each time.

    Another `seed` cuts other patches and makes up other spectrograms.
    """
    samples = _SAMPLES[name](count, seed)
    if len(samples) < count:
        raise ValueError(f"there are {len(samples)} samples for {name}, not {count}")
    return np.ascontiguousarray(samples[:count], np.float32)


def labels_of(name: str) -> np.ndarray | None:
    """The right class of each sample, where somebody has said it: of "digits" and "kws"."""
    labels: np.ndarray | None = None
    if name == "digits":
        with np.load(ROOT / "examples" / "digits" / "heldout.npz") as heldout:
            labels = heldout["labels"]
    elif name == "kws":
        with np.load(DATA / "kws01_1000.npz") as data:
            labels = data["labels"]
    return labels


def natural_patches(count: int, size: int, seed: int = 0) -> np.ndarray:
    """Square cuts of scikit-image's pictures at all scales, half of them mirrored: 0 to 255."""
    import skimage.data
    from PIL import Image

    folder = Path(skimage.data.__file__).parent
    pictures = []
    for path in sorted(folder.iterdir()):
        if path.suffix in (".png", ".jpg", ".jpeg"):
            with Image.open(path) as image:
                picture = np.asarray(image.convert("RGB"))
            if min(picture.shape[:2]) >= _SMALLEST_PICTURE:
                pictures.append(picture)
    rng = np.random.default_rng(seed)
    patches = np.empty((count, size, size, 3), np.float32)
    for i in range(count):
        picture = pictures[rng.integers(len(pictures))]
        side = int(rng.integers(size, min(picture.shape[:2]) + 1))
        top = rng.integers(picture.shape[0] - side + 1)
        left = rng.integers(picture.shape[1] - side + 1)
        cut = Image.fromarray(picture[top : top + side, left : left + side])
        patch = np.asarray(cut.resize((size, size), Image.Resampling.BILINEAR), np.float32)
        patches[i] = patch[:, ::-1] if rng.random() < 0.5 else patch
    return patches


def _digits(count: int, seed: int) -> np.ndarray:
    with np.load(ROOT / "examples" / "digits" / "heldout.npz") as heldout:
        images: np.ndarray = heldout["images"][:, None, None].astype(np.float32) / 16
    return images


def _keywords(count: int, seed: int) -> np.ndarray:
    import edgeinfer

    with np.load(DATA / "kws01_1000.npz") as data:
        stored = data["inputs"]
    with edgeinfer.load(MODELS / "kws_int8.tflite") as model:
        return model.inputs[0].dequantize(stored)[:, None]


def _spectrograms(count: int, seed: int) -> np.ndarray:
    """Five frames of 128 mel bands in dB: a level, a tilt, slow structure, noise."""
    rng = np.random.default_rng(seed)
    bands = np.linspace(-1, 1, 128)
    level = rng.normal(-30, 6, (count, 1, 1))
    tilt = rng.normal(-12, 4, (count, 1, 1)) * bands
    coarse = rng.normal(0, 5, (count, 1, 16)).repeat(8, axis=2)
    noise = rng.normal(0, 3, (count, 5, 128))
    return np.asarray(level + tilt + coarse + noise).reshape(count, 1, 640)


_SAMPLES: dict[str, Callable[[int, int], np.ndarray]] = {
    "digits": _digits,
    "kws": _keywords,
    "vww": lambda count, seed: natural_patches(count, 96, seed)[:, None] / np.float32(255),
    "resnet8": lambda count, seed: natural_patches(count, 32, seed)[:, None],
    "ad01": _spectrograms,
}
MODEL_FILES = {
    "digits": ROOT / "examples" / "digits" / "digits_float.onnx",
    **{name: MODELS / f"{name}_fp32.tflite" for name in ("kws", "vww", "resnet8", "ad01")},
}
"""Where each float model is."""
INT8_FILES = {
    "digits": ROOT / "examples" / "digits" / "digits_int8.onnx",
    **{name: MODELS / f"{name}_int8.tflite" for name in ("kws", "vww", "resnet8", "ad01")},
}
"""Where the INT8 model is that was published with it."""
