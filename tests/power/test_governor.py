"""The governor alone, in virtual time: what it promises for any load, and how it refuses."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeinfer.errors import InputError, PowerBudgetError
from edgeinfer.power.bucket import JouleBucket
from edgeinfer.power.choice import Ladder
from edgeinfer.power.decisions import DecisionLog
from edgeinfer.power.governor import Governor
from edgeinfer.power.heat import Heat, HeatLimit
from edgeinfer.power.learned_power import Guess, LearnedPower
from edgeinfer.power.quantities import parse_joules, parse_seconds, parse_watts
from edgeinfer.power.timeline import Forecast, Timeline
from edgeinfer.power.work import PowerBudget, Start, Ticket, Way

IDLE, JOULES, SECONDS = 2.0, 0.25, 0.1


def governor(
    watts: float | None = 3.0,
    *,
    window: float = 5.0,
    variants: tuple[float, ...] = (1.0,),
    joules_per_run: float | None = None,
) -> Governor:
    """With a model of everything, so that what it believes is what happens."""
    ways = [Way(i, 1, (), f"v{i}", share * JOULES) for i, share in enumerate(variants)]
    made = Governor(
        PowerBudget(watts, window, joules_per_run),
        ways,
        idle=Guess(IDLE, 0.0),
        active=[Guess(1.0, 0.1)] * len(ways),
        seconds=[share * SECONDS for share in variants],
        now=0.0,
    )
    for way, share in enumerate(variants):
        for i in range(2):
            start = -1.0 + 0.2 * way + 0.05 * i
            ticket = made.try_way(max(start, 0.0), way)
            made.finish(max(start, 0.0) + share * SECONDS, ticket)
    return made


@dataclass
class Clocked:
    """Drives a governor: arrivals in, runs out."""

    governor: Governor
    now: float = 1.0

    def until(self, end: float, arrivals: list[tuple[float, float | None]]) -> list[Ticket]:
        done: list[Ticket] = []
        running: tuple[float, Ticket] | None = None
        waiting = sorted(arrivals, key=lambda a: a[0])
        while self.now < end:
            answer = self.governor.next(self.now)
            wake = math.inf
            if isinstance(answer, Start):
                assert answer.ticket.way is not None
                way = self.governor.account.ways[answer.ticket.way]
                assert way.joules is not None
                running = (self.now + way.joules / JOULES * SECONDS, answer.ticket)
            else:
                wake = answer.until
            ends = running[0] if running else math.inf
            coming = waiting[0][0] if waiting else math.inf
            self.now = min(max(self.now, min(wake, ends, coming)), end)
            if running and self.now >= ends:
                self.governor.finish(self.now, running[1])
                done.append(running[1])
                running = None
            elif self.now >= coming:
                _, deadline = waiting.pop(0)
                absolute = None if deadline is None else self.now + deadline
                with suppress(PowerBudgetError):
                    self.governor.submit(self.now, deadline=absolute)
        return done


def worst_window(done: list[Ticket], window: float) -> float:
    """Mean watts of the heaviest window: it ends where a run ends."""
    worst = IDLE
    for last in done:
        end = last.ended or 0.0
        spent = 0.0
        for ticket in done:
            started, ended = ticket.started or 0.0, ticket.ended or 0.0
            overlap = max(0.0, min(end, ended) - max(end - window, started))
            spent += ticket.joules * overlap / (ended - started)
        worst = max(worst, IDLE + spent / window)
    return worst


@settings(max_examples=25)
@given(
    watts=st.floats(2.1, 6.0),
    window=st.floats(1.0, 8.0),
    arrivals=st.lists(
        st.tuples(st.floats(1, 25), st.one_of(st.none(), st.floats(0.05, 6.0))), max_size=120
    ),
)
def test_every_window_keeps_the_cap_and_every_promise_is_kept(
    watts: float, window: float, arrivals: list[tuple[float, float | None]]
) -> None:
    try:
        made = governor(watts, window=window)
        done = Clocked(made).until(60.0, arrivals)
    except PowerBudgetError:
        return
    assert worst_window(done, window) <= watts * (1 + 1e-6)
    for ticket in done:
        assert ticket.deadline is None or (ticket.ended or 0) <= ticket.deadline + 1e-9
    assert made.decisions.counts.get("late", 0) == 0


def test_no_promise_is_broken_when_all_joules_are_promised() -> None:
    made = governor(3.0)
    # Asked for while others run: what a run under way still takes belongs to the plan.
    arrivals: list[tuple[float, float | None]] = [(1 + 0.037 * i, 0.8) for i in range(800)]
    done = Clocked(made).until(31.0, arrivals)
    assert made.decisions.counts["refuse"] > 400
    assert len(done) > 100
    assert [t.number for t in done if (t.ended or 0) > (t.deadline or 0) + 1e-9] == []
    assert worst_window(done, 5.0) <= 3.0 * (1 + 1e-6)


@pytest.mark.parametrize("grown", [0.6, 0.8, 1.0, 1.4, 2.0])
def test_promises_are_kept_when_the_margin_grows_after_they_were_made(
    grown: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = governor(3.0)
    # As when a step is noticed in what the meter shows: much is uncertain all at once.
    monkeypatch.setattr(
        made.account, "margin", lambda now, spendable: 0.05 if now < 20.01 else grown
    )
    busy: list[tuple[float, float | None]] = [(1 + 0.125 * i, None) for i in range(152)]
    # More than one is promised, so the first cannot wait until its own deadline is near.
    done = Clocked(made).until(40.0, [*busy, *((20.0, 0.2 + 0.25 * n) for n in (3, 3, 3, 4))])
    promised = [t for t in done if t.deadline is not None]
    assert len(promised) >= 2
    assert [t.number for t in promised if (t.ended or 0) > (t.deadline or 0) + 1e-9] == []
    assert worst_window(done, 5.0) <= 3.0 * (1 + 1e-6)


def test_a_queue_gets_large_runs_as_far_as_joules_go_and_small_ones_else() -> None:
    made = governor(3.0, variants=(1.0, 0.05))
    arrivals: list[tuple[float, float | None]] = [(1 + i / 8, None) for i in range(8 * 30)]
    done = Clocked(made).until(31.0, arrivals)
    big = sum(1 for t in done if t.way == 0)
    assert len(done) > 230, "all 8 a second are served, of which the large model could do 4"
    assert 60 < big < 130
    assert worst_window(done, 5.0) <= 3.0 * (1 + 1e-6)


def test_a_busy_caller_gets_all_that_the_cap_allows() -> None:
    made = governor(3.0, window=20.0)
    arrivals: list[tuple[float, float | None]] = [(1 + i / 5, None) for i in range(5 * 80)]
    done = [t for t in Clocked(made).until(80.0, arrivals) if (t.started or 0) > 20]
    joules = sum(ticket.joules for ticket in done)
    # All but the margin, which is 2.8 % of it here.
    assert 0.96 * (3.0 - IDLE) * 60 <= joules <= (3.0 - IDLE) * 60 + 2 * JOULES


def test_after_its_burst_a_lone_caller_is_paced_evenly() -> None:
    made = governor(3.0)
    now, starts = 1.0, []
    while now < 40:
        made.submit(now)
        while not isinstance(answer := made.next(now), Start):
            now = answer.until
        starts.append(now)
        now += SECONDS
        made.finish(now, answer.ticket)
    gaps = [b - a for a, b in pairwise(starts) if a > 15]
    fair = JOULES / (3.0 - IDLE)
    assert max(gaps) < 1.3 * fair
    assert min(gaps) > 0.7 * fair


def test_deadlines_are_refused_at_once_or_degraded() -> None:
    made = governor(2.3, variants=(4.0, 1.0))
    with pytest.raises(PowerBudgetError, match=r"within 0\.2 s under 2\.3 W.*degrade"):
        made.submit(10.0, deadline=10.2)
    ticket = made.submit(10.0, deadline=10.2, on_late="degrade")
    assert ticket.degraded
    assert isinstance(made.next(10.0), Start)
    assert made.decisions.counts["refuse"] == 1
    assert made.decisions.counts["degrade"] == 1


def test_high_priority_goes_first_and_promises_are_kept_before_it() -> None:
    made = governor(3.0)
    low, high = made.submit(1.0), made.submit(1.0, priority=5)
    promised = made.submit(1.0, deadline=1.0 + 1.5 * SECONDS)
    order = []
    now = 1.0
    for _ in range(3):
        answer = made.next(now)
        assert isinstance(answer, Start)
        order.append(answer.ticket)
        now += SECONDS
        made.finish(now, answer.ticket)
    assert order == [promised, high, low]


def test_what_no_waiting_makes_possible_is_refused() -> None:
    with pytest.raises(PowerBudgetError, match=r"takes 2 W when nothing runs.*above that"):
        governor(1.5).submit(1.0)
    with pytest.raises(PowerBudgetError, match=r"one run takes 250 mJ.*window of 0.1 s has 100 mJ"):
        governor(3.0, window=0.1).submit(1.0)
    with pytest.raises(PowerBudgetError, match=r"energy_budget is 20 mJ.*smaller variant"):
        governor(None, joules_per_run=0.02).submit(1.0)


def test_an_energy_budget_takes_the_variant_that_keeps_it() -> None:
    made = governor(None, variants=(1.0, 0.5, 0.1), joules_per_run=0.15)
    made.submit(1.0)
    answer = made.next(1.0)
    assert isinstance(answer, Start)
    assert answer.ticket.way == 1


def test_a_cancelled_run_leaves_no_trace() -> None:
    made = governor(3.0)
    ticket = made.submit(1.0, deadline=3.0)
    made.cancel(1.0, ticket)
    assert made.waiting == 0
    assert made.next(1.0).until == math.inf


def test_the_ladder_steps_up_only_when_it_is_eased() -> None:
    ladder = Ladder(2, patience=1.0)
    assert ladder.choose(0.0, [1.5, 0.1]) == 1
    assert ladder.choose(0.5, [0.9, 0.1]) == 1
    assert ladder.choose(2.0, [0.9, 0.1]) == 1, "not yet half of what is bearable"
    assert ladder.choose(2.1, [0.4, 0.1]) == 0
    assert ladder.choose(2.2, [1.5, 0.1]) == 1
    assert ladder.choose(2.3, [0.0, 0.0]) == 1, "too soon after the last step"


@settings(max_examples=30)
@given(
    runs=st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 0.5), st.floats(0, 2)), max_size=30),
    joules=st.floats(0.01, 3),
    allowed=st.floats(9, 30),
)
def test_earliest_start_is_the_first_that_fits(
    runs: list[tuple[float, float, float]], joules: float, allowed: float
) -> None:
    timeline = Timeline(4.0, IDLE, 0.0)
    now = 0.0
    for gap, seconds, spent in runs:
        timeline.add_run(now + gap, now + gap + seconds, spent)
        now += gap + seconds
    forecast = Forecast(timeline, now)
    start = forecast.earliest(now, 0.2, joules, allowed)
    if start is None:
        assert IDLE * 4.0 + joules > allowed - 1e-6
        return
    assert forecast.excess(start, 0.2, joules, allowed) <= 1e-6
    steps = [now + (start - now) * i / 50 for i in range(50)]
    assert all(forecast.excess(t, 0.2, joules, allowed) > -1e-6 for t in steps if t < start - 1e-3)


def test_metered_joules_replace_what_was_entered() -> None:
    timeline = Timeline(10.0, 1.0, 0.0)
    timeline.add_run(1.0, 2.0, 3.0)
    timeline.idle_until(4.0)
    timeline.replace(0.0, 3.0, 9.0)
    assert timeline.at(3.0) == pytest.approx(9.0)
    assert timeline.at(4.0) == pytest.approx(10.0)
    assert timeline.at(1.5) == pytest.approx(1.0 + 2.0 + 3.0 / 2), "spread evenly over the time"


def test_power_is_learned_of_mixed_readings_and_other_programs_are_noticed() -> None:
    learned = LearnedPower(Guess(3.0, 1.0), [Guess(1.0, 0.8)], 0.0)
    for i in range(200):
        share = (i % 5) / 4
        learned.learn(0.1 * i, 2.0 + 4.0 * share, [share], absolute=0.01)
    assert learned.idle == pytest.approx(2.0, rel=0.02)
    assert learned.active(0) == pytest.approx(4.0, rel=0.02)
    for i in range(40):  # another program starts: half a watt more, whatever we do
        share = (i % 5) / 4
        learned.learn(20 + 0.1 * i, 2.5 + 4.0 * share, [share], absolute=0.01)
    assert learned.idle == pytest.approx(2.5, rel=0.05)
    assert learned.active(0) == pytest.approx(4.0, rel=0.05)


def test_the_pace_never_passes_the_cap_and_spreads_what_a_burst_left() -> None:
    timeline = Timeline(10.0, IDLE, 0.0)
    bucket = JouleBucket(timeline, 3.0, 1.0)
    assert bucket.pace == pytest.approx(1.0)
    timeline.add_run(0.0, 1.0, 5.0)  # half of what the window may take
    bucket.update(1.0)
    assert bucket.pace == pytest.approx(5.0 / 9.0, rel=0.05)


def test_heat_takes_power_back_before_the_kernel_does_and_does_not_swing() -> None:
    limit = HeatLimit()
    celsius, shares = 40.0, []
    for second in range(1500):
        celsius += (30 + 70 * limit.share - celsius) / 60  # 100 °C at full power; the trip is 80
        limit.observe(float(second), Heat(80 - round(celsius), "cpu", ""))
        shares.append(limit.share)
        assert celsius < 80
    settled = shares[700:]
    assert 30 + 70 * settled[-1] > 70, "no more is given away than has to be"
    turns = sum(
        1
        for a, b, c in zip(settled, settled[1:], settled[2:], strict=False)
        if (b - a) * (c - b) < 0
    )
    assert max(settled) - min(settled) < 0.1
    assert turns < 40


def test_throttling_that_is_seen_takes_power_back_at_once() -> None:
    limit = HeatLimit()
    assert "under-voltage" in limit.observe(1.0, Heat(30.0, "cpu", "under-voltage"))
    assert limit.share == pytest.approx(0.8)
    limit.observe(2.0, Heat(30.0, "cpu", "under-voltage"))
    assert limit.share == pytest.approx(0.8), "held for a while, not taken back again and again"


def test_the_log_is_bounded_and_prints() -> None:
    log = DecisionLog(3)
    for i in range(5):
        log.add(float(i), "start", f"run {i}", "there is room")
    assert [entry.time for entry in log] == [2.0, 3.0, 4.0]
    assert log.counts == {"start": 5}
    assert str(log).splitlines()[-1].endswith("start    run 4: there is room")


@pytest.mark.parametrize(
    ("text", "value"),
    [("1.5W", 1.5), ("800mW", 0.8), (2, 2.0), ("2", 2.0), ("1.2 kW", 1200.0)],
)
def test_watts_are_read(text: str | float, value: float) -> None:
    assert parse_watts(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "W", "1.5J", "-1W", 0, "0W", math.nan, math.inf, True, None])
def test_what_is_no_power_is_refused(text: object) -> None:
    with pytest.raises(InputError, match=r"power_budget is .*1.5W"):
        parse_watts(text)  # type: ignore[arg-type]


def test_joules_and_seconds_are_read() -> None:
    assert parse_joules("20mJ") == pytest.approx(0.02)
    assert parse_seconds("500 ms") == pytest.approx(0.5)
    assert parse_seconds("5min") == pytest.approx(300)
