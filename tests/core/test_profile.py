"""ei_session_profile: one time per step boundary while it is on, nothing at all while it is off."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from edgeinfer._ffi import ffi, lib
from edgeinfer.convert.program import Operation, Value
from tests.core.c_api import NULL, OpenModel, ok, own_buffer, pointers, refused, run
from tests.core.edge_file import aligned
from tests.core.programs import SHAPE, Draft, chain

UNTOUCHED = 2**64 - 1


class Profiled:
    """A session and room for more ticks than it has step boundaries."""

    def __init__(self, draft: Draft) -> None:
        self.model = OpenModel(draft.write())
        self.session = self.model.session(aligned(bytes(self.model.session_bytes())))
        plan = ffi.new("ei_plan_info *")
        ok(lib().ei_model_plan(self.model.model, 0, plan))
        self.needed = plan.step_count + 1
        self.ticks = np.full(self.needed + 2, UNTOUCHED, np.uint64)

    def profile(self, count: int) -> Any:
        pointer = ffi.cast("uint64_t *", self.ticks.ctypes.data)
        return lib().ei_session_profile(self.session, pointer, count)


@pytest.fixture
def profiled() -> Profiled:
    return Profiled(chain())


def values(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, SHAPE).astype(np.int8)


def test_a_profiled_run_writes_its_start_and_the_end_of_every_step(profiled: Profiled) -> None:
    ok(profiled.profile(profiled.needed))
    ok(run(profiled.session, pointers(values())))
    written = profiled.ticks[: profiled.needed]
    assert UNTOUCHED not in written
    assert np.all(written[1:] >= written[:-1])
    assert written[-1] > written[0]
    assert np.all(profiled.ticks[profiled.needed :] == UNTOUCHED)


def test_the_next_run_is_later(profiled: Profiled) -> None:
    ok(profiled.profile(profiled.needed))
    ok(run(profiled.session, pointers(values())))
    end_of_first = profiled.ticks[profiled.needed - 1]
    ok(run(profiled.session, pointers(values())))
    assert profiled.ticks[0] > end_of_first


def test_ticks_count_time_at_a_constant_rate(profiled: Profiled) -> None:
    ok(profiled.profile(profiled.needed))
    marks = []
    for pause in (0.0, 0.05, 0.1):
        time.sleep(pause)
        ok(run(profiled.session, pointers(values())))
        marks.append((time.perf_counter_ns(), int(profiled.ticks[profiled.needed - 1])))
    (t0, c0), (t1, c1), (t2, c2) = marks
    assert (c1 - c0) / (t1 - t0) == pytest.approx((c2 - c1) / (t2 - t1), rel=0.05)


def test_null_turns_profiling_off(profiled: Profiled) -> None:
    ok(profiled.profile(profiled.needed))
    ok(lib().ei_session_profile(profiled.session, NULL, 0))
    ok(run(profiled.session, pointers(values())))
    assert np.all(profiled.ticks == UNTOUCHED)


def test_profiling_changes_no_result(profiled: Profiled) -> None:
    results = []
    for turn_on in (False, True):
        if turn_on:
            ok(profiled.profile(profiled.needed))
        ok(run(profiled.session, pointers(values(3))))
        results.append(own_buffer(lib().ei_session_output(profiled.session, 0), SHAPE).copy())
    np.testing.assert_array_equal(*results)


def test_too_little_room_is_refused_and_leaves_profiling_as_it_was(profiled: Profiled) -> None:
    code = profiled.profile(profiled.needed - 1)
    refused(code, "EI_ERROR_ARGUMENT", f"count is {profiled.needed - 1}", f"{profiled.needed}")
    ok(run(profiled.session, pointers(values())))
    assert np.all(profiled.ticks == UNTOUCHED)
    refused(lib().ei_session_profile(NULL, NULL, 0), "EI_ERROR_ARGUMENT", "session is NULL")


def test_a_run_that_fails_writes_up_to_the_step_that_failed() -> None:
    x, y = Value("x", (4,), "int32"), Value("y", (4, 2), "int8")
    table = Value("table", (3, 2), "int8", data=np.zeros((3, 2), np.int8))
    operation = Operation("gather", [table, x], [y], {"axis": 0}, "look up")
    profiled = Profiled(Draft([x], [y], [operation]))
    ok(profiled.profile(profiled.needed))
    refused(run(profiled.session, pointers(np.full(4, 9, np.int32))), "EI_ERROR_DATA", "look up")
    assert profiled.ticks[0] != UNTOUCHED
    assert np.all(profiled.ticks[1:] == UNTOUCHED)
