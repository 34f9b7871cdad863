"""Guards and counted allocations again, for every operator and for trained networks."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeinfer.convert import convert
from tests.core.conftest import CountAllocations
from tests.core.guarded import checksums
from tools.fuzz import operator_seeds

# Runs to count allocations in: as many as take a second or two.
RUNS = {"ad01": 2_000, "kws": 1_000, "vww": 100, "resnet8": 100, "mobilenet_v2": 5}
EDGES = pytest.mark.parametrize("edge", ["begin", "end"])
NOTHING_BUT_THE_MODEL = (1, 0, 0, 1)


@pytest.fixture(scope="module")
def operators() -> dict[str, bytes]:
    """A file of one node for every operator of the runtime."""
    return {f"operator_{i}": data for i, data in enumerate(operator_seeds())}


@pytest.fixture(scope="module")
def digits(digits_dir: Path) -> bytes:
    return convert(digits_dir / "digits_int8.onnx").data


@pytest.fixture(scope="module")
def trained(models_dir: Path) -> dict[str, bytes]:
    return {name: convert(models_dir / f"{name}_int8.tflite").data for name in RUNS}


@EDGES
def test_operators_touch_no_byte_beside_their_memory(
    edge: str, operators: dict[str, bytes], tmp_path: Path
) -> None:
    assert len(checksums(edge, operators, tmp_path)) == len(operators)


@EDGES
def test_the_example_touches_no_byte_beside_its_memory(
    edge: str, digits: bytes, tmp_path: Path
) -> None:
    assert len(checksums(edge, {"digits": digits}, tmp_path)) == 1


def test_trained_networks_touch_no_byte_beside_their_memory(
    trained: dict[str, bytes], tmp_path: Path
) -> None:
    assert checksums("begin", trained, tmp_path) == checksums("end", trained, tmp_path)


def test_operators_allocate_nothing(
    operators: dict[str, bytes], count_allocations: CountAllocations
) -> None:
    found = count_allocations({name: (1_000, data) for name, data in operators.items()})
    assert found == dict.fromkeys(operators, NOTHING_BUT_THE_MODEL)


def test_ten_thousand_runs_of_the_example_allocate_nothing(
    digits: bytes, count_allocations: CountAllocations
) -> None:
    assert count_allocations({"digits": (10_000, digits)}) == {"digits": NOTHING_BUT_THE_MODEL}


def test_trained_networks_allocate_nothing(
    trained: dict[str, bytes], count_allocations: CountAllocations
) -> None:
    found = count_allocations({name: (RUNS[name], data) for name, data in trained.items()})
    assert found == dict.fromkeys(RUNS, NOTHING_BUT_THE_MODEL)
