"""Operators that only move bytes: LiteRT does what NumPy does."""

from __future__ import annotations

import numpy as np
import pytest

from tests.builders import tflite_pool_ops as pool_models
from tests.builders import tflite_shape_ops as shape_models
from tests.builders.spec import Spec
from tests.oracle.litert_checks import check, spec
from tests.oracle.strategies import (
    integers,
)


def _q(shape) -> Spec:
    return spec(shape, 0.5, 3)


X = integers(5, (1, 4, 6, 8))
PADS = [[0, 0], [1, 2], [3, 1], [0, 0]]
MOVEMENTS = {
    "CONCATENATION": (
        lambda: shape_models.concatenation([_q(X.shape)] * 2, _q((1, 4, 6, 16)), 3),
        lambda: np.concatenate([X, X], 3),
        True,
    ),
    "SPLIT": (
        lambda: shape_models.split(_q(X.shape), [_q((1, 4, 6, 4))] * 2, 3),
        lambda: X[..., :4],
        True,
    ),
    "SPLIT_V": (
        lambda: shape_models.split_v(_q(X.shape), [_q((1, 4, 6, 3)), _q((1, 4, 6, 5))], 3),
        lambda: X[..., :3],
        False,
    ),
    "SLICE": (
        lambda: shape_models.slice_(_q(X.shape), _q((1, 2, 6, 5)), [0, 1, 0, 3], [1, 2, 6, 5]),
        lambda: X[:, 1:3, :, 3:],
        True,
    ),
    "STRIDED_SLICE": (
        lambda: shape_models.strided_slice(
            _q(X.shape), _q((1, 2, 6, 8)), [0, 3, 0, 0], [1, 0, 6, 8], [1, -2, 1, 1]
        ),
        lambda: X[:, 3:0:-2],
        False,
    ),
    "PAD": (
        lambda: shape_models.pad(_q(X.shape), _q((1, 7, 10, 8)), PADS),
        lambda: np.pad(X, PADS, constant_values=3),
        True,
    ),
    "PADV2": (
        lambda: shape_models.pad_v2(_q(X.shape), _q((1, 7, 10, 8)), PADS, -128),
        lambda: np.pad(X, PADS, constant_values=-128),
        False,
    ),
    "MIRROR_PAD": (
        lambda: shape_models.mirror_pad(_q(X.shape), _q((1, 7, 10, 8)), PADS, "REFLECT"),
        lambda: np.pad(X, PADS, mode="reflect"),
        False,
    ),
    "TRANSPOSE": (
        lambda: shape_models.transpose(_q(X.shape), _q((1, 8, 4, 6)), [0, 3, 1, 2]),
        lambda: X.transpose(0, 3, 1, 2),
        True,
    ),
    "RESHAPE": (
        lambda: shape_models.reshape(_q(X.shape), _q((2, 96))),
        lambda: X.reshape(2, 96),
        True,
    ),
    "SQUEEZE": (
        lambda: shape_models.squeeze(_q(X.shape), _q(X.shape[1:]), [0]),
        lambda: X[0],
        False,
    ),
    "EXPAND_DIMS": (
        lambda: shape_models.expand_dims(_q(X.shape), _q((1, 4, 1, 6, 8)), 2),
        lambda: X[:, :, None],
        False,
    ),
    "GATHER": (
        lambda: shape_models.gather(_q(X.shape), _q((1, 3, 6, 8)), np.array([2, 0, 2]), 1),
        lambda: X[:, [2, 0, 2]],
        False,
    ),
    "PACK": (
        lambda: shape_models.pack([_q(X.shape)] * 2, _q((1, 2, 4, 6, 8)), 1),
        lambda: np.stack([X, X], 1),
        False,
    ),
    "UNPACK": (
        lambda: shape_models.unpack(_q((4, 6, 8)), [_q((6, 8))] * 4, 0),
        lambda: X[0, 0],
        False,
    ),
    "SPACE_TO_DEPTH": (
        lambda: shape_models.space_depth("SPACE_TO_DEPTH", _q(X.shape), _q((1, 2, 3, 32)), 2),
        lambda: X.reshape(1, 2, 2, 3, 2, 8).transpose(0, 1, 3, 2, 4, 5).reshape(1, 2, 3, 32),
        True,
    ),
    "DEPTH_TO_SPACE": (
        lambda: shape_models.space_depth("DEPTH_TO_SPACE", _q(X.shape), _q((1, 8, 12, 2)), 2),
        lambda: X.reshape(1, 4, 6, 2, 2, 2).transpose(0, 1, 3, 2, 4, 5).reshape(1, 8, 12, 2),
        True,
    ),
    "REDUCE_MAX": (
        lambda: pool_models.reduce("REDUCE_MAX", _q(X.shape), _q((1, 8)), [1, 2]),
        lambda: X.max((1, 2)),
        True,
    ),
    "ARG_MAX": (
        lambda: pool_models.arg_max(_q(X.shape), Spec((1, 4, 6), np.int32), 3),
        lambda: X.argmax(3).astype(np.int32),
        False,
    ),
}


@pytest.mark.parametrize("code", list(MOVEMENTS))
def test_movement_is_what_numpy_does(code) -> None:
    make, expected, expect_delegated = MOVEMENTS[code]
    inputs = {"CONCATENATION": [X, X], "PACK": [X, X], "UNPACK": [X[0]]}.get(code, [X])
    check(make(), inputs, expected(), expect_delegated=expect_delegated)
