"""Calibration samples from a folder of images, by Pillow.

Files are taken in the order of their names, sub-folders included; more than are wanted are thinned
by the seed. An image is brought to the input's channels (grey for one, RGB for three, RGBA for
four), resized so that it covers the input's height and width with its own proportions, and cropped
to the middle. Pixels 0 to 255 are divided by 255 unless `scale` says otherwise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeinfer.convert.graph import Tensor
from edgeinfer.convert.quantize.preprocessing import Preprocessing
from edgeinfer.convert.quantize.run_graph import Sample
from edgeinfer.errors import InputError, MissingExtraError

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def read_images(
    folder: Path, inputs: Sequence[Tensor], seed: int, limit: int, preprocessing: Preprocessing
) -> list[Sample]:
    """One sample per image, at most `limit`.

    Raises
    ------
    InputError
        The model has not one float32 image as its input, there are no images, or one is damaged.
    MissingExtraError
        Pillow is not installed.
    """
    try:
        import PIL.Image
    except ImportError:
        raise MissingExtraError("calibration with images", "Pillow", "images") from None
    tensor, axis = _image_input(inputs, preprocessing)
    if preprocessing.scale is None:
        preprocessing = dataclasses.replace(preprocessing, scale=1 / 255)
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not files:
        raise InputError(f"{folder} holds no images ({', '.join(sorted(SUFFIXES))})")
    if len(files) > limit:
        chosen = np.random.default_rng(seed).choice(len(files), limit, replace=False)
        files = [files[i] for i in np.sort(chosen)]
    size = tuple(n for i, n in enumerate(tensor.shape) if i not in (0, axis))
    samples: list[Sample] = []
    for file in files:
        try:
            with PIL.Image.open(file) as image:
                pixels = _covering(image.convert(_MODES[tensor.shape[axis]]), *size)
        except Exception as error:  # Pillow raises many kinds on damaged files
            raise InputError(f"{file}: not a readable image: {error}") from error
        placed = pixels if axis == 3 else pixels.transpose(2, 0, 1)
        samples.append({tensor.name: preprocessing.applied(placed[None], tensor)})
    return samples


def _image_input(inputs: Sequence[Tensor], preprocessing: Preprocessing) -> tuple[Tensor, int]:
    """The only input, and the axis of its channels."""
    tensor = inputs[0]
    if len(inputs) != 1 or tensor.dtype != "float32" or len(tensor.shape) != 4:
        listed = ", ".join(f"{t.name!r} {t.dtype}{list(t.shape)}" for t in inputs)
        raise InputError(
            f"images suit a model of one float32 image as input, this one has {listed}"
        )
    axis = preprocessing.channel_axis(tensor)
    if tensor.shape[0] != 1 or tensor.shape[axis] not in _MODES:
        raise InputError(
            f"input {tensor.name!r} {list(tensor.shape)} is not one image of 1, 3 or 4 channels"
        )
    return tensor, axis


def _covering(image: Any, height: int, width: int) -> npt.NDArray[np.uint8]:
    """The middle of the image at the smallest size that covers height and width."""
    import PIL.Image

    ratio = max(height / image.height, width / image.width)
    rows, columns = max(height, round(image.height * ratio)), max(width, round(image.width * ratio))
    resized = image.resize((columns, rows), PIL.Image.Resampling.BILINEAR)
    top, left = (rows - height) // 2, (columns - width) // 2
    cropped = np.asarray(resized.crop((left, top, left + width, top + height)), np.uint8)
    return cropped.reshape(height, width, -1)
