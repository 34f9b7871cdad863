"""What the C core refuses when a file is opened, the engine refuses too; so no kernel is handed
sizes or indices that it would believe."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import edgeinfer
from edgeinfer.convert.program import Operation
from edgeinfer.convert.write import write_model
from tests.engine_numba.engines import random_feed, run_on_both
from tests.kernels.run_operation import plan_whole
from tests.ops import (
    test_contracts,
    test_conv_family_contracts,
    test_float_contracts,
    test_float_product_contracts,
    test_four_bit_contracts,
    test_plain_contracts,
)
from tools.fuzz import mutants, operator_seeds

MODULES = [
    test_contracts,
    test_conv_family_contracts,
    test_float_contracts,
    test_float_product_contracts,
    test_four_bit_contracts,
    test_plain_contracts,
]
MUTANTS = 400


def refusals(module: ModuleType) -> Iterator[Any]:
    """(make, change, message) of the module's tests."""
    for test in vars(module).values():
        for mark in getattr(test, "pytestmark", []):
            if mark.name == "parametrize" and mark.args[0] == ("make", "change", "message"):
                for case in mark.args[1]:
                    make, change, message = getattr(case, "values", case)
                    label = f"{make.__name__}-{message[:40]}"
                    yield pytest.param(make, change, message, id=label)


CASES = [case for module in MODULES for case in refusals(module)]


def test_there_are_cases_of_every_module() -> None:
    assert all(any(True for _ in refusals(module)) for module in MODULES)


@pytest.mark.parametrize(("make", "change", "message"), CASES)
def test_load_refuses(
    make: Callable[[], Operation], change: Callable[[Operation], None], message: str
) -> None:
    operation = make()
    change(operation)
    file = write_model([plan_whole(operation)], {})
    with pytest.raises(edgeinfer.EdgeInferError, match=message):
        edgeinfer.load(file)
    with pytest.raises(edgeinfer.EdgeInferError):
        edgeinfer.load(file, engine="numba")


def opened(file: bytes, **how: Any) -> edgeinfer.Model | edgeinfer.EdgeInferError:
    """The model, or why there is none."""
    try:
        return edgeinfer.load(file, **how)
    except edgeinfer.EdgeInferError as error:
        return error


@pytest.mark.slow
def test_damaged_files_give_errors_or_the_bits_of_the_core() -> None:
    """Files of every operator, mutated and their checksums repaired, as `tools/fuzz.py` does."""
    seen = {"both": 0, "neither": 0}
    for number, file in enumerate(itertools.islice(mutants(operator_seeds(), seed=6), MUTANTS)):
        core, model = opened(file, tier="scalar"), opened(file, engine="numba")
        if isinstance(model, edgeinfer.EdgeInferError):
            # The Python reader looks at the metadata, which the core does not.
            assert isinstance(core, edgeinfer.EdgeInferError) or "metadata" in str(model)
            seen["neither"] += 1
            continue
        feed = random_feed(model, np.random.default_rng(number))
        try:
            if isinstance(core, edgeinfer.EdgeInferError):
                model.run(feed)  # some rules are the C validator's alone: any numbers, no crash
            else:
                run_on_both(file, feed)
                seen["both"] += 1
        except edgeinfer.InputError:
            pass  # an index that is out of range
    assert min(seen.values()) > MUTANTS // 20
