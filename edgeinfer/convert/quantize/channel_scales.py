"""What channels of equalised tensors were divided by, as a file's metadata holds it.

Channels of an equalised tensor (`equalize`) are those of the float model, each divided by a number
of its own; the next layer's weights make up for it. Whoever looks into the file needs these numbers
to compare such a tensor with the float model's. They are float32, little-endian, in base64: a
fifth of what decimal digits take.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt


def encoded_scales(scales: Mapping[str, npt.NDArray[Any]]) -> list[dict[str, Any]]:
    """Groups of tensors with the same numbers: their names ("tensors") and text ("scales")."""
    groups: dict[str, list[str]] = {}
    for name, values in sorted(scales.items()):
        text = base64.b64encode(values.astype("<f4").tobytes()).decode()
        groups.setdefault(text, []).append(name)
    return [{"tensors": names, "scales": text} for text, names in groups.items()]


def decoded_scales(metadata: Mapping[str, Any]) -> dict[str, npt.NDArray[np.float64]]:
    """The numbers that a file's metadata holds, by tensor; what has another form is left out."""
    quantization = metadata.get("quantization")
    stored = quantization.get("channel_scales") if isinstance(quantization, Mapping) else None
    found: dict[str, npt.NDArray[np.float64]] = {}
    for group in stored if isinstance(stored, list) else []:
        try:
            data = base64.b64decode(group["scales"], validate=True)
            values = np.frombuffer(data, "<f4").astype(np.float64)
            found.update({str(name): values for name in group["tensors"]})
        except (KeyError, TypeError, ValueError, binascii.Error):
            continue
    return found
