"""Text into models: sentences to token ids and masks, and sentences to vectors.

Needs the package `tokenizers` (`pip install 'edgeinfer[text]'`), which reads the tokenizer.json
that comes with a model. It is imported when a tokenizer is loaded.

>>> model = edgeinfer.text.load("minilm.edge")  # and tokenizer.json beside it
>>> vectors = model.embed(["The cat sat on the mat.", "A feline rested on a rug."])
>>> vectors @ vectors.T
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeinfer.errors import InputError, MissingExtraError, ModelNotFoundError
from edgeinfer.model import Model
from edgeinfer.model import load as load_model

if TYPE_CHECKING:
    import numpy.typing as npt

TOKENIZER_FILE = "tokenizer.json"

# What exports call the inputs of a text model, and what an encoding says of them.
_FIELDS: dict[str, Callable[[Any], Sequence[int]]] = {
    "input_ids": lambda encoding: encoding.ids,
    "attention_mask": lambda encoding: encoding.attention_mask,
    "token_type_ids": lambda encoding: encoding.type_ids,
    "position_ids": lambda encoding: range(len(encoding.ids)),
}


class Tokenizer:
    """Text to token ids, by the rules in a tokenizer.json.

    Parameters
    ----------
    path : of the file, or of the folder that holds it.

    Raises
    ------
    MissingExtraError
        The package `tokenizers` is not installed.
    ModelNotFoundError
        There is no such file.
    InputError
        The file is not a tokenizer that this version of `tokenizers` reads.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        try:
            import tokenizers
        except ImportError as error:
            raise MissingExtraError("reading text", "tokenizers", "text") from error
        file = Path(path)
        if file.is_dir():
            file = file / TOKENIZER_FILE
        if not file.is_file():
            raise ModelNotFoundError(f"no such tokenizer file: {str(file)!r}")
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(file))
        except Exception as error:  # the package raises nothing narrower
            raise InputError(f"{file} is not a tokenizer: {error}") from error
        self._tokenizer.no_padding()  # the file may ask for some fixed length
        self._tokenizer.no_truncation()

    def encode(self, text: str, *, max_length: int | None = None) -> Any:
        """The `tokenizers.Encoding` of a text: its ids, attention_mask, type_ids, tokens.

        Parameters
        ----------
        max_length : the most tokens, those that the tokenizer adds itself included; what is beyond
            is cut off at the end.
        """
        if not isinstance(text, str):
            raise InputError(f"a text is a str, not {type(text).__name__}")
        if max_length is None:
            return self._tokenizer.encode(text)
        added = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        if max_length <= added:
            raise InputError(
                f"{max_length} tokens are too few: the tokenizer itself adds {added} to each text"
            )
        self._tokenizer.enable_truncation(max_length)
        try:
            return self._tokenizer.encode(text)
        finally:
            self._tokenizer.no_truncation()


def model_inputs(
    tokenizer: Tokenizer, text: str, dtypes: Mapping[str, npt.DTypeLike], max_length: int
) -> dict[str, npt.NDArray[Any]]:
    """What a text model is given for a text: arrays [1, tokens], as long as the text is.

    Parameters
    ----------
    dtypes : of the model's inputs, by name.
    max_length : the most tokens; what is beyond is cut off at the end.

    Raises
    ------
    InputError
        One of the inputs is made of no text.
    """
    unknown = [name for name in dtypes if name not in _FIELDS]
    if unknown or not dtypes:
        raise InputError(
            f"the model takes {unknown}, which no text gives; what text gives is called "
            f"{list(_FIELDS)}"
        )
    encoding = tokenizer.encode(text, max_length=max_length)
    return {name: np.array([_FIELDS[name](encoding)], dtype) for name, dtype in dtypes.items()}


class TextModel:
    """A model that takes token ids, with its tokenizer.

    Made by `edgeinfer.text.load`. `model` is the `edgeinfer.Model`, `max_tokens` the longest text
    that it takes; of longer ones the end is cut off.

    Raises
    ------
    InputError
        The model has inputs that are made of no text.
    """

    def __init__(self, model: Model, tokenizer: Tokenizer) -> None:
        unknown = [info.name for info in model.inputs if info.name not in _FIELDS]
        if unknown or not model.inputs:
            raise InputError(
                f"{model.name!r} takes {unknown}, which no text gives; what text gives is called "
                f"{list(_FIELDS)}"
            )
        wrong = [str(info) for info in model.inputs if len(info.shape) != 2 or info.shape[0] != 1]
        if wrong:
            raise InputError(f"{model.name!r} takes {', '.join(wrong)}; [1, tokens] is needed")
        self.model = model
        self.tokenizer = tokenizer
        self.max_tokens = min(info.shape[1] for info in model.inputs)

    def encode(self, text: str) -> dict[str, npt.NDArray[np.int64]]:
        """The model's inputs for a text, [1, tokens], as long as the text is."""
        dtypes = {info.name: info.dtype for info in self.model.inputs}
        return model_inputs(self.tokenizer, text, dtypes, self.max_tokens)

    def embed(self, texts: str | Iterable[str]) -> npt.NDArray[np.float32]:
        """A vector of length 1 for each text: cosine similarity is their product.

        Of a model whose output is a vector for each token, the mean over the text's tokens; else
        the output itself. Either way divided by its length.

        Returns
        -------
        float32 array [texts, width]; [width] for a single str.
        """
        if isinstance(texts, str):
            vector: npt.NDArray[np.float32] = self.embed([texts])[0]
            return vector
        encoded = [self.encode(text) for text in texts]
        vectors = np.zeros((len(encoded), self.model.outputs[0].shape[-1]), np.float32)
        # By length, so that the program changes as seldom as can be.
        for i in sorted(range(len(encoded)), key=lambda i: _tokens(encoded[i])):
            vectors[i] = self._vector(encoded[i])
        return vectors

    def close(self) -> None:
        """Let go of the model."""
        self.model.close()

    def __enter__(self) -> TextModel:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _vector(self, inputs: dict[str, npt.NDArray[np.int64]]) -> npt.NDArray[np.float32]:
        tokens = _tokens(inputs)
        result = self.model.run(self._filled(inputs))
        output = self.model.outputs[0]
        found = result[output.name] if isinstance(result, dict) else result
        if found.ndim == 3:
            found = found[:, :tokens].mean(1)
        if found.ndim != 2:
            raise InputError(
                f"output {output} of {self.model.name!r} is no vector for the text or each token"
            )
        vector = found[0].astype(np.float64)
        length = np.sqrt(np.sum(vector * vector))
        unit: npt.NDArray[np.float32] = (vector / max(length, 1e-12)).astype(np.float32)
        return unit

    def _filled(self, inputs: dict[str, npt.NDArray[np.int64]]) -> dict[str, npt.NDArray[np.int64]]:
        """With zeros up to the one length of a model that has one."""
        if self.model.has_lengths:
            return inputs
        filled = {}
        for info in self.model.inputs:
            filled[info.name] = np.zeros(info.shape, info.dtype)
            filled[info.name][:, : _tokens(inputs)] = inputs[info.name]
        return filled


def load(
    model: str | os.PathLike[str] | Model,
    tokenizer: str | os.PathLike[str] | Tokenizer | None = None,
    **options: Any,
) -> TextModel:
    """Load a text model with its tokenizer.

    Parameters
    ----------
    model : an .edge file, or a model that is loaded.
    tokenizer : tokenizer.json, or the folder that holds it. Default: beside the model file.
    **options : those of `edgeinfer.load`.

    Raises
    ------
    MissingExtraError, ModelNotFoundError, InputError
        As `Tokenizer` and `TextModel` raise them; otherwise what `edgeinfer.load` raises.
    """
    if tokenizer is None:
        if isinstance(model, Model):
            raise InputError("tokenizer= is missing: a loaded model does not tell where it lay")
        tokenizer = Path(model).parent
    if not isinstance(tokenizer, Tokenizer):
        tokenizer = Tokenizer(tokenizer)
    if isinstance(model, Model):
        if options:
            raise InputError(f"{', '.join(options)}: the model is loaded already")
        return TextModel(model, tokenizer)
    return TextModel(load_model(model, **options), tokenizer)


def _tokens(inputs: dict[str, npt.NDArray[np.int64]]) -> int:
    return int(next(iter(inputs.values())).shape[1])
