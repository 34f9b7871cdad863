"""Hold a model that the TFLite frontend reads against LiteRT.

Every model is read, run as a graph in real numbers (`tests.oracle.graph`), converted and run in the
C library, and run by LiteRT. Moves of elements agree exactly. So does the C library's arithmetic,
but for the few operators that docs/internals/numerics.md lists with the share of values one step
off. The graph's is in real numbers, and may round to the next step now and then.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

import edgeinfer
from edgeinfer._ffi import library_path
from edgeinfer.convert import convert
from edgeinfer.convert.frontends import tflite
from edgeinfer.convert.graph import Graph, check_graph
from tests.builders.spec import Quant, Spec
from tests.builders.tflite_run import run
from tests.convert.tally import SHARE, tally
from tests.oracle.graph import run_graph
from tests.oracle.strategies import integers
from tests.requirements import missing

FEW = settings(max_examples=25)
small = st.integers(1, 3)
pairs = st.tuples(small, small)
paddings = st.sampled_from(["SAME", "VALID"])
fused = st.sampled_from(["NONE", "RELU", "RELU6", "RELU_N1_TO_1"])
moved_dtypes = st.sampled_from([np.int8, np.int32, np.float32])


def int8(shape: Sequence[int], scale: float = 0.05, zero_point: int = 3) -> Spec:
    return Spec(tuple(shape), np.int8, Quant(scale, zero_point))


def plain(shape: Sequence[int], dtype: type = np.int8) -> Spec:
    """A tensor to be moved: int8 has a scale, other types have none."""
    if dtype is np.int8:
        return int8(shape)
    return Spec(tuple(shape), dtype)


def fill(spec: Spec, seed: int = 0) -> np.ndarray:
    """Values all of which differ, as far as the type goes."""
    rng = np.random.default_rng(seed)
    count = int(np.prod(spec.shape))
    if np.dtype(spec.dtype).itemsize == 1:
        return integers(seed | 2, spec.shape, np.dtype(spec.dtype).name)
    return rng.permutation(count).astype(spec.dtype).reshape(spec.shape)


def read(model: bytes) -> Graph:
    graph = tflite.read(model, "model.tflite")
    assert graph.problems == []
    check_graph(graph)
    return graph


def check(
    model: bytes,
    *inputs: np.ndarray,
    steps: int = 0,
    share: float = 0.0,
    on_device: bool = True,
) -> Graph:
    """Read, run, compare with LiteRT.

    Parameters
    ----------
    steps : how many quantised steps the graph, in real numbers, may be off.
    share : how much of the test's values the C library may have one step off; 0 for none at all.
    on_device : run the converted file too, in the C library, where all of it is available there.
    """
    graph = read(model)
    expected = run(model, *inputs)
    _compare("graph", run_graph(graph, *inputs), expected, steps, SHARE)
    if on_device:
        _compare("device", run_converted(model, *inputs), expected, int(share > 0), share)
    return graph


def run_converted(model: bytes, *inputs: np.ndarray) -> list[np.ndarray]:
    """Convert, load, run once; skip the test where there is no C library."""
    if not library_path().is_file():
        missing("no C library: build it (tools/dev.py), or name it in EDGEINFER_LIBRARY")
    loaded = edgeinfer.load(convert(model, name="model.tflite").data)
    given = {info.name: x for info, x in zip(loaded.inputs, inputs, strict=True)}
    results = loaded.run(given)
    if isinstance(results, dict):
        return [results[info.name] for info in loaded.outputs]
    return [results]


def _compare(
    what: str, actual: list[np.ndarray], expected: list[np.ndarray], steps: int, share: float
) -> None:
    for ours, theirs in zip(actual, expected, strict=True):
        assert ours.shape == theirs.shape, what
        assert ours.dtype == theirs.dtype, what
        apart = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
        assert apart.max() <= steps, f"{what} and LiteRT are {apart.max()} apart"
        if steps > 0 and ours.dtype.kind in "iu":
            tally.add(what, ours, theirs, share)


@st.composite
def images(draw: st.DrawFn):
    """Image, kernel, strides, dilations and padding of a window that fits."""
    kernel, strides = draw(pairs), draw(pairs)
    dilations = draw(pairs) if strides == (1, 1) else (1, 1)
    least = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    image = tuple(draw(st.integers(n, n + 6)) for n in least)
    return image, kernel, strides, dilations, draw(paddings)


def out_size(image, kernel, strides, dilations, padding) -> tuple[int, int]:
    """TensorFlow's rule, written down once more."""
    sizes = []
    for n, k, s, d in zip(image, kernel, strides, dilations, strict=True):
        sizes.append(-(-n // s) if padding == "SAME" else -(-(n - (k - 1) * d) // s))
    return sizes[0], sizes[1]


def weight_quant(channels: int, axis: int, per_channel: bool) -> Quant:
    if not per_channel:
        return Quant(0.01)
    return Quant(tuple(0.005 * (1 + i % 4) for i in range(channels)), 0, axis)


shapes = st.lists(small, min_size=1, max_size=4)

ALL_INT8 = np.arange(-128, 128, dtype=np.int8).reshape(1, 256)


@st.composite
def blocks(draw: st.DrawFn):
    """Image, block and paddings that make the image divide."""
    image, block = draw(st.tuples(st.integers(2, 7), st.integers(2, 7))), draw(pairs)
    amounts = []
    for n, b in zip(image, block, strict=True):
        before = draw(st.integers(0, 3))
        amounts.append((before, -(n + before) % b + b * draw(st.integers(0, 1))))
    return image, block, amounts
