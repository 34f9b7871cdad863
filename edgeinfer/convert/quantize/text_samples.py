"""Calibration samples of a text model from sentences: lines of a file, or strings.

A tokenizer makes tokens of them (`edgeinfer.text`, the extra `text`); what is beyond the longest
sequence is cut off. Empty lines of a file are left out.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from edgeinfer.convert.graph import Tensor
from edgeinfer.convert.quantize.run_graph import Sample
from edgeinfer.errors import InputError, cannot_open

if TYPE_CHECKING:
    from edgeinfer.text import Tokenizer

SUFFIX = ".txt"


def is_text(source: Any) -> TypeGuard[str | os.PathLike[str] | Sequence[str]]:
    """Whether calibration data is sentences: a file *.txt, or a sequence of strings."""
    if isinstance(source, (str, os.PathLike)):
        return Path(source).suffix.lower() == SUFFIX
    return isinstance(source, Sequence) and bool(source) and all(isinstance(s, str) for s in source)


def text_samples(
    source: str | os.PathLike[str] | Sequence[str],
    inputs: Sequence[Tensor],
    tokenizer: str | os.PathLike[str] | Tokenizer,
) -> list[Sample]:
    """A sample for each sentence, as long as the sentence is.

    Parameters
    ----------
    source : for which `is_text` holds.
    inputs : the model's.
    tokenizer : tokenizer.json, the folder that holds it, or one that is loaded.

    Raises
    ------
    InputError
        The file cannot be read, or holds no sentence; the model takes what no text gives; or it has
        no `attention_mask` and another length than a sentence.
    MissingExtraError
        The package `tokenizers` is not installed.
    ModelNotFoundError
        There is no such tokenizer.
    """
    from edgeinfer.text import Tokenizer, model_inputs

    sentences = _lines(source) if isinstance(source, (str, os.PathLike)) else source
    wrong = [t for t in inputs if len(t.shape) != 2 or t.shape[0] != 1]
    if wrong:
        raise InputError(
            f"calibration by text: input {wrong[0].name!r} is {list(wrong[0].shape)}; [1, tokens] "
            "is needed"
        )
    made = tokenizer if isinstance(tokenizer, Tokenizer) else Tokenizer(tokenizer)
    dtypes = {tensor.name: np.dtype(tensor.dtype) for tensor in inputs}
    longest = min(tensor.shape[1] for tensor in inputs)
    return [model_inputs(made, sentence, dtypes, longest) for sentence in sentences]


def _lines(source: str | os.PathLike[str]) -> list[str]:
    path = Path(source)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(cannot_open(path, error)) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not text in UTF-8: {error}") from error
    sentences = [line for line in lines if line.strip()]
    if not sentences:
        raise InputError(f"{path} holds no line of text")
    return sentences
