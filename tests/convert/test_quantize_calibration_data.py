"""Calibration samples: every source, what is refused and why, and the way past."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeinfer.convert import convert
from edgeinfer.convert.graph import Tensor
from edgeinfer.convert.quantize.calibration_data import CalibrationData, load_calibration
from edgeinfer.convert.quantize.check_samples import MIN_SAMPLES
from edgeinfer.convert.quantize.preprocessing import Preprocessing
from edgeinfer.errors import InputError
from tests.convert.float_networks import numbers, small_network
from tests.requirements import require_module

IMAGE = [Tensor("image", (1, 4, 4, 3), "float32")]
TWO = [Tensor("a", (1, 5), "float32"), Tensor("ids", (1, 2), "int32")]
SAMPLES = numbers(0, 40, 4, 4, 3)


def stacked(data: CalibrationData, name: str = "image") -> np.ndarray:
    return np.stack([sample[name] for sample in data.samples])


def all_of(source: Any, inputs: list[Tensor] = IMAGE, **options: Any) -> CalibrationData:
    return load_calibration(source, inputs, held_out=0.0, **options)


def as_npy(folder: Path, samples: np.ndarray) -> Any:
    np.save(folder / "x.npy", samples)
    return folder / "x.npy"


def as_npz(folder: Path, samples: np.ndarray) -> Any:
    np.savez(folder / "x.npz", whatever=samples)
    return str(folder / "x.npz")


def as_named_npz(folder: Path, samples: np.ndarray) -> Any:
    np.savez(folder / "x.npz", image=samples, comment=np.zeros(3))
    return folder / "x.npz"


SOURCES: dict[str, Callable[[Path, np.ndarray], Any]] = {
    "npy": as_npy,
    "npz": as_npz,
    "npz by name": as_named_npz,
    "array": lambda _, samples: samples,
    "array with the batch axis": lambda _, samples: samples[:, None],
    "float64": lambda _, samples: samples.astype(np.float64),
    "dict": lambda _, samples: {"image": samples},
    "list": lambda _, samples: list(samples),
    "generator of dicts": lambda _, samples: ({"image": x[None]} for x in samples),
}


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_gives_the_same_samples(source: str, tmp_path: Path) -> None:
    data = all_of(SOURCES[source](tmp_path, SAMPLES))
    np.testing.assert_array_equal(stacked(data), SAMPLES[:, None])
    assert stacked(data).dtype == np.float32


def test_several_inputs_have_one_number_of_samples() -> None:
    ids = np.arange(80).reshape(40, 2)
    data = all_of({"a": numbers(1, 40, 5), "ids": ids}, TWO)
    assert data.samples[3]["ids"].dtype == np.int32
    np.testing.assert_array_equal(data.samples[3]["ids"], [[6, 7]])
    with pytest.raises(InputError, match="different numbers of samples"):
        all_of({"a": numbers(1, 40, 5), "ids": ids[1:]}, TWO)
    with pytest.raises(InputError, match="no array for input 'ids'"):
        all_of({"a": numbers(1, 40, 5)}, TWO)
    with pytest.raises(InputError, match="give one each"):
        all_of(numbers(1, 40, 5), TWO)
    with pytest.raises(InputError, match="must be int32"):
        all_of({"a": numbers(1, 40, 5), "ids": ids * 0.5}, TWO)
    with pytest.raises(InputError, match="cannot hold"):
        all_of({"a": numbers(1, 40, 5), "ids": ids + 2**40}, TWO)


def test_the_split_is_by_seed_and_shares_no_sample() -> None:
    first, same, other = (load_calibration(SAMPLES, IMAGE, seed=seed) for seed in (1, 1, 2))
    assert (len(first.samples), len(first.held_out)) == (32, 8)
    np.testing.assert_array_equal(stacked(first), stacked(same))
    assert not np.array_equal(stacked(first), stacked(other))
    seen = {x["image"].tobytes() for x in first.samples}
    assert not seen & {x["image"].tobytes() for x in first.held_out}


def test_no_more_than_wanted_are_used() -> None:
    many = numbers(3, 100, 4, 4, 3)
    assert len(all_of(many, max_samples=50).samples) == 50
    endless = (numbers(i, 4, 4, 3) for i in range(10**9))
    assert len(all_of(endless, max_samples=33).samples) == 33


THIN: dict[str, tuple[np.ndarray, str]] = {
    "too few": (SAMPLES[: MIN_SAMPLES - 1], "31 samples; calibration needs at least 32"),
    "one": (SAMPLES[:1], "1 sample; calibration"),
    "identical": (np.repeat(SAMPLES[:1], 40, axis=0), "all 40 samples are identical"),
    "repeated": (np.tile(SAMPLES[:10], (4, 1, 1, 1)), "of 40 samples only 10 are different"),
    "blank": (
        np.broadcast_to(numbers(1, 40, 1, 1, 1), (40, 4, 4, 3)),
        "40 of 40 samples of input 'image' are constant",
    ),
    "far": (SAMPLES * 1e5, "stay below 10000"),
}


@pytest.mark.parametrize("case", THIN)
def test_thin_data_is_refused_and_can_be_allowed(case: str) -> None:
    samples, message = THIN[case]
    with pytest.raises(InputError, match=message) as error:
        all_of(samples)
    assert "--allow-thin-calibration" in str(error.value)
    assert len(all_of(samples, allow_thin=True).samples) == len(samples)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_never_allowed(value: float) -> None:
    samples = SAMPLES.copy()
    samples[7, 1, 2, 0] = value
    with pytest.raises(InputError, match="sample 7 of input 'image' has NaN or infinite"):
        all_of(samples, allow_thin=True)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (numbers(0, 40, 4, 4, 4), r"4, 4, 4\]; samples are \[1, 4, 4, 3\], or \[N, 4, 4, 3\]"),
        ([numbers(0, 4, 3)] * 40, r"sample 0: .*shape \[4, 3\]; one sample is"),
        (SAMPLES.astype("U8"), "must be numbers"),
        (7, "is a int; give a path"),
        ("/nowhere/x.npz", "'/nowhere/x.npz': cannot be opened: No such file"),
        ([], "holds no sample"),
        (SAMPLES[:0], "holds no sample"),
    ],
)
def test_what_does_not_fit_is_refused(source: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        all_of(source, allow_thin=True)


def test_the_shape_that_is_advised_is_not_the_one_that_was_refused() -> None:
    """An axis that is not 1 is no batch: samples are stacked in front of it."""
    inputs = [Tensor("x", (2, 640), "float32")]
    with pytest.raises(InputError, match=r"\[64, 640\]; samples are \[2, 640\], or \[N, 2, 640\]"):
        load_calibration(numbers(0, 64, 640), inputs, allow_thin=True)
    load_calibration(numbers(0, 32, 2, 640), inputs, allow_thin=True)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    for name in ("x.npz", "x.npy"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 not an archive")
        with pytest.raises(InputError, match=f"{name}: not a readable"):
            all_of(tmp_path / name)


def test_scaling_is_by_factor_then_mean_then_deviation() -> None:
    options = Preprocessing(scale=0.5, mean=(1.0, 2.0, 3.0), std=(2.0,))
    found = stacked(all_of(SAMPLES, preprocessing=options))
    expected = (SAMPLES[:, None] * 0.5 - np.array([1, 2, 3], np.float32)) / 2
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    planes = [dataclasses.replace(IMAGE[0], shape=(1, 3, 4, 4))]
    found = stacked(all_of(SAMPLES.transpose(0, 3, 1, 2), planes, preprocessing=options))
    np.testing.assert_allclose(found.transpose(0, 1, 3, 4, 2), expected, rtol=1e-6, atol=1e-6)


def test_scaling_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="mean has 2 numbers"):
        all_of(SAMPLES, preprocessing=Preprocessing(mean=(1.0, 2.0)))
    with pytest.raises(InputError, match="above 0"):
        Preprocessing(std=(0.0,))
    odd = [Tensor("image", (1, 3, 8, 3), "float32"), Tensor("image", (1, 1, 8, 3), "float32")]
    with pytest.raises(InputError, match="say layout"):
        Preprocessing().channel_axis(odd[1])
    assert Preprocessing(layout="nchw").channel_axis(odd[0]) == 1


def test_raw_pixels_are_refused_by_a_model_of_normalised_ones() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3)).astype(np.uint8)
    with pytest.raises(
        InputError, match=r"does not look normalised: .* whole numbers from 0 to 255"
    ):
        convert(small_network(), calibration=pixels)
    convert(small_network(), calibration=pixels, preprocessing=Preprocessing(scale=1 / 255))
    convert(small_network(), calibration=pixels, allow_thin_calibration=True)


def test_raw_pixels_are_taken_by_a_model_that_was_made_for_them() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3)).astype(np.uint8)
    graph = small_network()
    w = graph.nodes[0].input(1)
    assert w.data is not None
    w.data = w.data / np.float32(128)
    convert(graph, calibration=pixels)


def test_a_folder_of_images(tmp_path: Path) -> None:
    require_module("PIL")
    from PIL import Image

    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (40, 8, 6, 3)).astype(np.uint8)
    (tmp_path / "more").mkdir()
    for i, picture in enumerate(pictures):
        folder = tmp_path / "more" if i % 2 else tmp_path
        Image.fromarray(picture).save(folder / f"{i:02}.png")
    (tmp_path / "notes.txt").write_text("not an image")
    inputs = [Tensor("image", (1, 3, 4, 3), "float32")]
    exact = [Tensor("image", (1, 8, 6, 3), "float32")]
    data = all_of(tmp_path, exact)
    in_order = [*range(0, 40, 2), *range(1, 40, 2)]
    np.testing.assert_allclose(stacked(data)[:, 0], pictures[in_order] / 255, atol=1e-6)
    planes = [Tensor("image", (1, 1, 8, 6), "float32")]
    grey = stacked(all_of(tmp_path, planes, preprocessing=Preprocessing(scale=1.0)))
    luma = pictures[in_order] @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(grey[:, 0, 0], luma, atol=1.0)
    small = [Tensor("image", (1, 4, 4, 3), "float32")]
    cropped = stacked(all_of(tmp_path, small))[:, 0]
    assert cropped.shape == (40, 4, 4, 3) and 0 <= cropped.min() < cropped.max() <= 1
    with pytest.raises(InputError, match="say layout"):
        all_of(tmp_path, inputs)
    found = stacked(all_of(tmp_path, inputs, preprocessing=Preprocessing(layout="nhwc")))
    assert found.shape == (40, 1, 3, 4, 3)


def test_images_that_cannot_be_used(tmp_path: Path) -> None:
    require_module("PIL")
    with pytest.raises(InputError, match="holds no images"):
        all_of(tmp_path)
    (tmp_path / "x.png").write_bytes(b"no image at all")
    with pytest.raises(InputError, match=r"x\.png: not a readable image"):
        all_of(tmp_path)
    with pytest.raises(InputError, match="one float32 image as input"):
        all_of(tmp_path, [Tensor("x", (1, 10), "float32")])
