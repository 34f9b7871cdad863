"""What calibration data is for, and what it is made of: asked before anything is quantised."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgeinfer.convert.graph import Tensor
from edgeinfer.errors import InputError

if TYPE_CHECKING:
    from edgeinfer.convert.quantize.calibration_data import CalibrationSource
    from edgeinfer.text import Tokenizer


def is_dynamic(
    activations: str | None,
    calibration: CalibrationSource | None,
    weights: str | None,
    lengths: Sequence[int],
) -> bool:
    """Whether activations stay float32 between layers that round them when they run.

    Raises
    ------
    InputError
        What was asked for does not go together.
    """
    if activations not in (None, "static", "dynamic"):
        raise InputError(f"activations is {activations!r}; it must be 'static' or 'dynamic'")
    if activations == "static" and calibration is None:
        raise InputError(
            "activations='static': their ranges need calibration data, calibration=..."
        )
    if activations == "dynamic" and weights is None:
        raise InputError(
            "activations='dynamic': say what weights they meet, weights='int8', 'mxfp4' or 'nvfp4'"
        )
    if lengths and calibration is not None and activations != "dynamic":
        raise InputError(
            "sequence_lengths: static activations are calibrated at one length; give it by shapes, "
            "or let activations be dynamic"
        )
    return activations == "dynamic" or (activations is None and calibration is None)


def without_text(
    calibration: CalibrationSource | None,
    inputs: Sequence[Tensor],
    model: object,
    tokenizer: str | os.PathLike[str] | Tokenizer | None,
) -> CalibrationSource | None:
    """Calibration data, with tokens in the place of sentences.

    Parameters
    ----------
    inputs : the model's.
    model : where it was read from: beside a file the tokenizer is looked for.

    Raises
    ------
    InputError
        There is a tokenizer for what is no text, or none for text; or as `text_samples`.
    """
    from edgeinfer.convert.quantize.text_samples import is_text, text_samples

    if not is_text(calibration):
        if tokenizer is not None:
            raise InputError(
                "tokenizer: it is for calibration data that is sentences: a .txt file, or a list"
            )
        return calibration
    if tokenizer is None:
        if not isinstance(model, (str, os.PathLike)):
            raise InputError("calibration data is sentences: give the tokenizer, tokenizer=...")
        tokenizer = Path(model).parent
    return text_samples(calibration, inputs, tokenizer)
