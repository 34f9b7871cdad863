"""The same file on both engines: the scalar tier of the C core, and numba."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import edgeinfer
from edgeinfer.convert.program import Plan, Program
from edgeinfer.convert.write import write_model
from tests.kernels.run_operation import bits


def named(model: edgeinfer.Model, results: Any) -> dict[str, np.ndarray]:
    """Results of a run by output name."""
    return results if isinstance(results, dict) else {model.outputs[0].name: results}


def run_on_both(file: bytes, *feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run a file on both engines, one input after another, and hold the bits against each other.

    Returns the results of the last run.
    """
    with edgeinfer.load(file, tier="scalar") as core, edgeinfer.load(file, engine="numba") as model:
        assert (model.inputs, model.outputs) == (core.inputs, core.outputs)
        assert model.plan == core.plan
        for feed in feeds:
            expected, results = named(core, core.run(feed)), named(model, model.run(feed))
            assert results.keys() == expected.keys()
            for name, result in results.items():
                assert result.dtype == expected[name].dtype
                np.testing.assert_array_equal(bits(result), bits(expected[name]), err_msg=name)
    return results


def run_planned(
    program: Program, plan: Plan, given: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """In the place of `run_operation._run_on_every_tier`: these two instead of all tiers."""
    return run_on_both(write_model([(program, plan)], {}), given)


def random_feed(model: edgeinfer.Model, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Any values of integers; floats of a normal distribution."""
    feed: dict[str, np.ndarray] = {}
    for info in model.inputs:
        if info.dtype == np.float32:
            feed[info.name] = rng.standard_normal(info.shape).astype(np.float32)
        elif info.dtype == np.bool_:
            feed[info.name] = rng.integers(0, 2, info.shape).astype(bool)
        else:
            limits = np.iinfo(info.dtype)
            feed[info.name] = rng.integers(
                limits.min, limits.max, info.shape, info.dtype, endpoint=True
            )
    return feed
