"""Every operator gives the bits of the scalar tier, on the cases that the kernels' tests draw.

Those tests draw operations, run them in all the ways a plan may choose (whole, in the bytes of an
operand, through rings in bands) and know the result by an oracle. Here the same functions run with
the numba engine in the place of the other tiers: what it gives is held against the scalar tier bit
for bit, and against the oracle.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import edgeinfer
from edgeinfer.engine_numba.registry import PREPARE, REFUSED
from edgeinfer.operators import operators
from tests.engine_numba.engines import random_feed, run_on_both, run_planned
from tests.kernels import (
    run_operation,
    test_conv_family,
    test_elementwise,
    test_float_elementwise,
    test_float_products,
    test_float_reduction,
    test_four_bits,
    test_movement,
    test_plain,
    test_pool_reduce,
    test_quantize_ops,
    test_running_sums,
)
from tests.kernels.draw import seeds
from tools.fuzz import operator_seeds

MODULES = [
    test_conv_family,
    test_elementwise,
    test_float_elementwise,
    test_float_products,
    test_float_reduction,
    test_four_bits,
    test_movement,
    test_plain,
    test_pool_reduce,
    test_quantize_ops,
    test_running_sums,
]
EXAMPLES = 3  # of some 150 cases each; compiling is what takes time here


def arguments_of(test: Any) -> Iterator[dict[str, Any]]:
    """What `pytest.mark.parametrize` gives the test, in all combinations."""
    choices = []
    for mark in getattr(test, "pytestmark", []):
        if mark.name == "parametrize":
            names, values = mark.args
            assert isinstance(names, str)
            choices.append([{names: value} for value in values])
    for chosen in itertools.product(*choices):
        yield {name: value for argument in chosen for name, value in argument.items()}


def drawn_cases(module: ModuleType) -> Iterator[Any]:
    """The property tests of a module, as functions of a seed."""
    for name, test in vars(module).items():
        if name.startswith("test_") and hasattr(test, "hypothesis"):
            for arguments in arguments_of(test):
                label = "-".join([module.__name__.rpartition("test_")[2], name[5:]])
                label = "-".join([label, *map(str, arguments.values())])
                yield pytest.param(test.hypothesis.inner_test, arguments, id=label)


CASES = [case for module in MODULES for case in drawn_cases(module)]


@pytest.fixture(autouse=True, scope="module")
def both_engines() -> Iterator[None]:
    """What runs an operation on every tier runs it on both engines instead."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_operation, "_run_on_every_tier", run_planned)
        yield


@pytest.mark.parametrize(("case", "arguments"), CASES)
@settings(max_examples=min(EXAMPLES, settings().max_examples))
@given(seed=seeds)
def test_bits_of_a_drawn_operation(
    case: Callable[..., None], arguments: dict[str, Any], seed: int
) -> None:
    case(**arguments, seed=seed)


def test_every_operator_of_the_list_is_known() -> None:
    assert PREPARE.keys() | REFUSED.keys() == operators().keys()
    assert not PREPARE.keys() & REFUSED.keys()


@pytest.mark.parametrize("number", range(len(operator_seeds())))
def test_bits_of_one_node_of_every_operator(number: int) -> None:
    file = operator_seeds()[number]
    rng = np.random.default_rng(number)
    with edgeinfer.load(file) as model:
        feeds = [random_feed(model, rng) for _ in range(3)]
    try:
        run_on_both(file, *feeds)
    except edgeinfer.InputError:  # random indices are out of range
        run_on_both(file, {name: np.zeros_like(x) for name, x in feeds[0].items()})


def test_the_seeds_have_every_operator() -> None:
    from edgeinfer.convert.read import read_model

    found = {
        node.operator for data in operator_seeds() for node in read_model(data).programs[0].nodes
    }
    assert found == operators().keys() - {"custom"}  # test_custom.py has it


def test_arithmetic_that_wraps_or_needs_more_bits() -> None:
    test_conv_family.test_fully_connected_wraps_like_int32()
    test_conv_family.test_fully_connected_sums_of_int16_need_more_than_32_bits()
    test_conv_family.test_batch_matmul_wraps_like_int32()
    test_quantize_ops.test_requantize_of_int32_takes_the_zero_point_away_exactly()
    test_float_products.test_every_float16_is_decoded_exactly()
    test_elementwise.test_lut8_copies_the_bits_of_a_nan()
    test_elementwise.test_lut16_of_every_input()
