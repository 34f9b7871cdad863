"""Power sensors whose delay and averaging nobody tells: what is learned of their samples."""

from __future__ import annotations

import random

import pytest

from edgeinfer.power.account import PowerAccount
from edgeinfer.power.choice import Economy
from edgeinfer.power.learned_power import Guess
from edgeinfer.power.reading import Reading
from edgeinfer.power.work import Way

IDLE, ACTIVE, SECONDS = 1.6, (3.9, 2.34), (0.077, 0.139)
WAYS = [Way(0, 4), Way(0, 2)]
JITTER = 0.02  # of a run's time and power


def sample(now: float, watts: float) -> Reading:
    return Reading(
        time=now, joules=None, watts=watts, source="pmic", origin="measured", covers="",
        resolution=None, unit="W",
    )  # fmt: skip


def account_of(wrong: float, dice: random.Random) -> PowerAccount:
    """What a profile says beforehand, wrong by a factor."""
    idle = IDLE * dice.uniform(0.8, 1.25)
    active = [Guess(wrong * watts, 0.4 * wrong * watts) for watts in ACTIVE]
    return PowerAccount(WAYS, 10.0, Guess(idle, 0.2 * idle), active, SECONDS, 0.0)


def watch(delay: float, mean_of: float, wrong: float, seed: int, samples: int) -> PowerAccount:
    """Runs of half the time, in two ways by turns, and a sample every quarter of a second."""
    dice = random.Random(seed)
    account = account_of(wrong, dice)
    runs: list[tuple[float, float, float]] = []
    next_sample = 0.25

    def joules(when: float) -> float:
        recent = (watts * (min(e, when) - s) for s, e, watts in runs[-40:] if s < when)
        return IDLE * when + sum(recent)

    def read(until: float) -> None:
        nonlocal next_sample
        while next_sample < until:
            end = next_sample - delay
            # Runs that are no longer in `runs[-40:]` cancel: the window is far shorter.
            shown = (joules(end) - joules(end - max(mean_of, 1e-3))) / max(mean_of, 1e-3)
            account.observe(sample(next_sample, shown * (1 + dice.gauss(0, 0.007))))
            next_sample += 0.25

    now = 1.0
    while next_sample < 0.25 * samples:
        way = int(now / 4) % 2
        end = now + SECONDS[way] * dice.lognormvariate(0, JITTER)
        read(now)
        account.begin(now, way)
        runs.append((now, end, ACTIVE[way] * dice.lognormvariate(0, JITTER)))
        read(end)
        account.end(end)
        now = end + SECONDS[way] * dice.uniform(0.5, 1.5)
    return account


@pytest.mark.parametrize("wrong", [0.75, 1.33])
@pytest.mark.parametrize(
    ("delay", "mean_of", "most_off"),
    [(0.005, 0.0, 0.03), (0.12, 0.0, 0.03), (0.04, 0.02, 0.04), (0.0, 0.06, 0.06), (0.1, 0.2, 0.06),
     (0.0, 0.25, 0.12), (0.0, 0.5, 0.06)],
)  # fmt: skip
def test_watts_are_learned_of_sensors_of_any_timing(
    delay: float, mean_of: float, most_off: float, wrong: float
) -> None:
    for seed in range(2):
        account = watch(delay, mean_of, wrong, seed, 80)
        assert account.learned.idle == pytest.approx(IDLE, rel=0.02)
        for way, watts in enumerate(ACTIVE):
            assert account.learned.active(way) == pytest.approx(watts, rel=most_off)


def test_a_sensors_delay_is_found() -> None:
    begin, end, belief = watch(0.12, 0.0, 1.33, 1, 80).timing.likeliest
    assert begin <= 0.125
    assert end >= 0.115
    assert end - begin <= 0.03
    assert belief > 0.5


def test_samples_astray_are_not_believed_but_a_change_that_lasts_is() -> None:
    account = watch(0.005, 0.0, 1.0, 3, 80)
    before = account.learned.active(0)
    account.observe(sample(21.0, 9.0))
    assert account.learned.active(0) == pytest.approx(before, rel=0.03)
    assert account.learned.idle == pytest.approx(IDLE, rel=0.1)
    for i in range(40):  # another program has begun
        account.observe(sample(21.25 + 0.25 * i, IDLE + 1.5))
    assert account.learned.idle == pytest.approx(IDLE + 1.5, rel=0.03)


def test_a_way_is_judged_when_it_is_known_not_when_it_has_run_often() -> None:
    account = account_of(1.0, random.Random(1))
    economy = Economy(WAYS)
    economy.see_room(0.0, 0.3, 0.0, 10.0)
    now = 1.0
    for _ in range(20):
        account.begin(now, 0)
        now += SECONDS[0]
        account.end(now)
    assert economy.way(0, account) == 0, "twenty runs and no sample say nothing of its watts"
    for _ in range(60):
        account.begin(now, 0)
        account.observe(sample(now + 0.9 * SECONDS[0], IDLE + ACTIVE[0]))
        now += SECONDS[0]
        account.end(now)
        account.observe(sample(now + 0.4, IDLE))
        now += 0.5
    assert account.is_known(0)
    assert not account.is_known(1)
    assert economy.way(0, account) == 1, "the other one may be better, and has its trial"
