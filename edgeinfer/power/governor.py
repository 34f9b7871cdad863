"""The governor: which run may start when, in which way, so that a power budget is kept.

It is told what happens (a run is asked for, begins, ends; a meter was read; how warm it is) with
the time at which it does, and it answers what to do. It has no clock, no thread and no file, so a
simulation drives the very object that a session does.

The levers, in the order in which they are used: a run is delayed (bucket.py says for how long);
when that is not enough the way to run with the most throughput per joule is taken (threads,
cores); a run that would wait longer than the caller's patience is given to a smaller variant of the
model. Runs with a deadline are promised or refused when they are asked for: a promise means that
the run, and every run promised before it, fits into the windows to come with what is known of their
cost at its worst; nothing else may start that would break one.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Sequence

from edgeinfer.errors import PowerBudgetError
from edgeinfer.power.account import PowerAccount
from edgeinfer.power.bucket import JouleBucket
from edgeinfer.power.choice import Economy, Ladder
from edgeinfer.power.decisions import DecisionLog
from edgeinfer.power.heat import Heat, HeatLimit
from edgeinfer.power.learned_power import Guess
from edgeinfer.power.reading import Reading
from edgeinfer.power.timeline import Forecast
from edgeinfer.power.work import OnLate, PowerBudget, Start, Ticket, Wait, Way

_UPDATE = 0.01  # of the window: the pace and the margin are found anew no more often
_PROMISED_MARGINS = (0.9, 0.4, 0.0)  # of the margin: what is left of it for a promise to be kept
_MOST_PROMISED = 256
_MODEL_SECONDS = 5.0
_BACKLOG = 0.5  # of the window: a queue that takes longer at the pace is worked off without pacing
_CHANCE = 0.07  # of a run's joules: what chance adds to one, at 2.3 standard deviations
_DEAREST = 1.02  # what a promised run may cost more than the mean


class Governor:
    """Holds a power budget over the runs of one model on one device; runs follow each other.

    Parameters
    ----------
    budget : PowerBudget
    ways : sequence of Way
        The ways to run, by variant from big to small; of each variant the preferred one first.
    idle : Guess
        Watts of the device when nothing runs.
    active : sequence of Guess
        Watts beyond idle, of each way.
    seconds : sequence of float
        How long a run of each way is thought to take.
    now : float, seconds
    name : str
        Of the model, for messages.
    """

    def __init__(
        self,
        budget: PowerBudget,
        ways: Sequence[Way],
        *,
        idle: Guess,
        active: Sequence[Guess],
        seconds: Sequence[float],
        now: float,
        name: str = "the model",
        log: int = 1000,
    ) -> None:
        self.budget = budget
        self.name = name
        self.decisions = DecisionLog(log)
        self.account = PowerAccount(ways, budget.window, idle, active, seconds, now)
        cap = math.inf if budget.watts is None else budget.watts
        self.bucket = JouleBucket(self.account.timeline, min(cap, 1e9), budget.burst)
        self._economy = Economy(ways)
        self._ladder = Ladder(1 + max(way.variant for way in ways), budget.longest_wait)
        self._heat = HeatLimit()
        self._names = [str(way) for way in ways]
        self._promised: list[Ticket] = []  # by deadline
        self._waiting: list[tuple[int, int, Ticket]] = []  # by priority, then as they came
        self._running: Ticket | None = None
        self._number = 0
        self._updated = -math.inf
        self._impossible = False
        self._held_by = ""
        self._last_setting: dict[int, int] = {}

    @property
    def share(self) -> float:
        """Of the power beyond idle, what heat leaves."""
        return self._heat.share

    @property
    def waiting(self) -> int:
        """Runs that were asked for and have not begun."""
        return len(self._promised) + len(self._waiting)

    @property
    def queued(self) -> int:
        """Of them, those without a deadline."""
        return len(self._waiting)

    @property
    def variant(self) -> int:
        """The variant that runs without a deadline get at present."""
        return self._ladder.variant

    def submit(
        self,
        now: float,
        *,
        deadline: float | None = None,
        priority: int = 0,
        on_late: OnLate = "refuse",
    ) -> Ticket:
        """A run is asked for.

        Parameters
        ----------
        now : float, seconds
        deadline : float, seconds
            When it must have ended, by the governor's clock.
        priority : int
            Higher ones go first.
        on_late : "refuse" or "degrade"
            What becomes of a run whose deadline cannot be kept: refused, or given to the largest
            variant with which it can.

        Raises
        ------
        PowerBudgetError
            It cannot be had: not before the deadline, or never.
        """
        self._update(now)
        self._number += 1
        ticket = Ticket(self._number, now, priority, deadline)
        if self._impossible:
            self._require_possible(now)
        if deadline is None:
            insort(self._waiting, (-priority, ticket.number, ticket))
            return ticket
        if not self._promise(now, ticket, on_late):
            raise self._refusal(now, ticket, on_late)
        insort(self._promised, ticket, key=lambda t: (t.deadline, t.number))
        return ticket

    def next(self, now: float) -> Start | Wait:
        """What to do now: start a run, or wait. A run that is to start is taken as started."""
        if self._running is not None or not (self._promised or self._waiting):
            return Wait(math.inf)
        self._update(now)
        until = math.inf
        if self._promised:
            first = self._promised[0]
            ahead = self._waiting and -self._waiting[0][0] > first.priority
            if not ahead or not self._may_go_first(now):
                until = self._promised_start(now, first)
                if until <= now:
                    del self._promised[0]
                    return self._start(now, first)
        if self._waiting:
            way = self._way_for_waiting(now)
            earliest, why = self._waiting_start(now, way)
            if earliest <= now:
                ticket = self._waiting.pop(0)[2]
                ticket.way = way
                ticket.degraded = self.account.ways[way].variant > 0
                return self._start(now, ticket)
            self._held_by = why
            until = min(until, earliest)
        return Wait(max(until, now + 1e-5))

    def try_way(self, now: float, way: int) -> Ticket:
        """Start a run in this way, whatever it costs: to learn how long one takes."""
        self._number += 1
        ticket = Ticket(self._number, now, 0, None, way)
        self._start(now, ticket)
        return ticket

    def finish(self, now: float, ticket: Ticket) -> float:
        """A run has ended. Returns the joules beyond idle that it is taken to have cost."""
        if ticket is not self._running:
            return 0.0
        self._running = None
        ticket.ended = now
        expected = ticket.joules
        ticket.joules = self.account.end(now)
        if ticket.deadline is None:
            self.bucket.take(ticket.joules - expected)
        if ticket.deadline is not None and now > ticket.deadline:
            late = now - ticket.deadline
            why = f"it took {now - (ticket.started or now):.3g} s, longer than any run before"
            self.decisions.add(now, "late", f"run {ticket.number}, by {late:.3g} s", why, late)
        return ticket.joules

    def charge(self, now: float, seconds: float) -> float:
        """A run took so long that nobody asked for. Returns the joules it is taken to have cost.

        It is entered as if it had ended now. What runs beside it keeps its place.
        """
        joules = self.account.enter(now, self._economy.first[0], seconds)
        self.bucket.take(joules)
        return joules

    def cancel(self, now: float, ticket: Ticket) -> None:
        """Nobody wants a run any more: it is taken off the queue, or what it did is entered."""
        if ticket is self._running:
            self.finish(now, ticket)
        elif ticket in self._promised:
            self._promised.remove(ticket)
        else:
            self._waiting = [entry for entry in self._waiting if entry[2] is not ticket]

    def observe(self, reading: Reading) -> None:
        """The meter was read."""
        self.account.observe(reading)

    def reading_interval(self, usual: float) -> float:
        """Seconds until the meter should be read again: less than usual while much is unknown."""
        if self.account.is_modelled:
            return max(usual, _MODEL_SECONDS)  # it says what it was told
        if self.budget.watts is None or not self.account.is_unsure:
            return usual
        return max(usual / 8, min(usual, 0.05))

    def observe_heat(self, now: float, heat: Heat) -> None:
        """Temperatures were read."""
        before = self._heat.share
        why = self._heat.observe(now, heat, self.bucket.spent_share(now))
        after = self._heat.share
        self.bucket.share = after
        # One entry for each step of a twentieth, not for every reading.
        if why and (round(20 * before) != round(20 * after) or heat.throttled):
            what = f"{after:.0%} of the power beyond idle may be spent"
            self.decisions.add(now, "thermal", what, why, after)

    def _update(self, now: float) -> None:
        if now - self._updated >= _UPDATE * self.budget.window:
            self._updated = now
            bucket = self.bucket
            bucket.margin = self.account.margin(now, bucket.spendable)
            bucket.update(now)
            needed = self.account.joules(self._economy.first[0])
            tokens = bucket.tokens / bucket.burst
            self._economy.see_room(bucket.room(now), needed, tokens, bucket.spendable)
            self._economy.spend_watts = bucket.spendable / self.budget.window
            self._impossible = self._what_is_impossible() is not None

    def _start(self, now: float, ticket: Ticket) -> Start:
        assert ticket.way is not None
        way = self.account.ways[ticket.way]
        if self._last_setting.get(way.variant, ticket.way) != ticket.way:
            self.decisions.add(now, "setting", self._names[ticket.way], "more runs per joule")
        self._last_setting[way.variant] = ticket.way
        ticket.started = now
        ticket.joules = self.account.joules(ticket.way)
        self._running = ticket
        if ticket.deadline is None:
            self.bucket.take(ticket.joules)
        self.account.begin(now, ticket.way)
        why = self._held_by or "there is room"
        self._held_by = ""
        if ticket.deadline is not None:
            why = f"promised {ticket.deadline - ticket.arrival:.3g} s after it was asked for"
        self.decisions.add(now, "start", self._names[ticket.way], why, ticket.waited)
        return Start(ticket)

    # Runs without a deadline

    def _way_for_waiting(self, now: float) -> int:
        """How the first in the queue runs: on the largest variant that leaves the others in time.

        Those behind it are taken to run on the smallest, so that a long queue gets as many large
        runs as its joules allow, not only small ones; and the first has waited already.
        """
        account, bucket = self.account, self.bucket
        if self._ladder.count == 1:
            return self._economy.way(0, account)
        age = now - self._waiting[0][2].arrival
        ways = [self._economy.way(variant, account) for variant in range(self._ladder.count)]
        behind = len(self._waiting) - 1
        pace = max(bucket.pace, 1e-9)
        waits = []
        for way in ways:
            if self._is_too_dear(way):
                waits.append(math.inf)
                continue
            joules = account.joules(way) + behind * account.joules(ways[-1])
            by_power = (joules - bucket.tokens) / pace if self.budget.watts is not None else 0.0
            by_time = 0.0
            if behind:
                seconds = account.durations[ways[-1]].mean * (behind - 1)
                by_time = account.durations[way].mean + seconds
            waits.append(max(by_power, by_time, 0.0) + age)
        before = self._ladder.variant
        variant = self._ladder.choose(now, waits)
        if variant != before:
            what = account.ways[ways[variant]].name or f"variant {variant}"
            why = f"the last of {behind + 1} waiting would wait {waits[before]:.2g} s"
            self.decisions.add(now, "variant", what, f"{why} with the one before", variant)
        return ways[variant]

    def _waiting_start(self, now: float, way: int) -> tuple[float, str]:
        """When the first of those without a deadline may start this way, and what holds it."""
        if self.budget.watts is None:
            return now, ""
        account, bucket = self.account, self.bucket
        joules, seconds = account.joules(way), account.durations[way].mean
        self._economy.see_bucket(bucket.tokens, joules)
        wait = bucket.wait_for(joules)
        if wait > 0 and not self._is_backlogged(joules):
            bucket.update(now)
            wait = bucket.wait_for(joules)
            if wait > 0:
                return now + wait, "the bucket was to fill"
        forecast = Forecast(account.timeline, now)
        earliest = forecast.earliest(now, seconds, joules, bucket.allowed)
        if earliest is None or earliest > now:
            later = now + self.budget.window / 50
            return (later if earliest is None else earliest), "joules were to leave the window"
        if self._promised and not self._keeps_promises(now, (seconds, joules)):
            ends = now + max(1e-3, 0.2 * seconds)
            return ends, "runs with deadlines went first"
        return now, ""

    def _is_backlogged(self, joules: float) -> bool:
        """Whether so many wait that spreading them helps nobody: all the room is used then."""
        by_pace = joules * len(self._waiting) / max(self.bucket.pace, 1e-9)
        return len(self._waiting) > 1 and by_pace > _BACKLOG * self.budget.window

    # Runs with a deadline

    def _promise(self, now: float, ticket: Ticket, on_late: OnLate) -> bool:
        if len(self._promised) >= _MOST_PROMISED:
            return False
        variants = range(self._ladder.count if on_late == "degrade" else 1)
        for variant in variants:
            for way in self._economy.candidates(variant, self.account):
                if self._is_too_dear(way):
                    continue
                ticket.way = way
                if self._keeps_promises(now, None, ticket):
                    ticket.degraded = variant > 0
                    if ticket.degraded:
                        self.decisions.add(
                            now, "degrade", f"run {ticket.number}: {self._names[way]}",
                            "a larger variant would not meet its deadline", variant,
                        )  # fmt: skip
                    return True
        return False

    def _keeps_promises(
        self, now: float, first: tuple[float, float] | None, one_more: Ticket | None = None
    ) -> bool:
        """Whether all promised runs end in time, with `first` (seconds, joules) before them."""
        promised = self._promised
        if one_more is not None:
            promised = [*promised]
            insort(promised, one_more, key=lambda t: (t.deadline, t.number))
        return all(end <= (t.deadline or now) for t, end in self._ends(now, first, promised))

    def _ends(
        self, now: float, first: tuple[float, float] | None, promised: Sequence[Ticket]
    ) -> list[tuple[Ticket, float]]:
        """When promised runs end at the latest, in their order; up to the first that is late."""
        account = self.account
        forecast = Forecast(account.timeline, now)
        start = now
        if self._running is not None:
            seconds, joules = account.rest_of_run(now)
            forecast.add_run(now, seconds, joules)
            start = forecast.end
        if first is not None:
            forecast.add_run(start, *first)
            start = forecast.end
        ends = []
        for ahead, ticket in enumerate(promised, 1):
            assert ticket.way is not None
            durations = account.durations[ticket.way]
            joules = _DEAREST * account.joules(ticket.way)
            begin: float | None = start
            if self.budget.watts is not None:
                # Those before it may cost more than the mean, each by its own chance.
                allowed = self.bucket.allowed - _CHANCE * joules * math.sqrt(ahead)
                begin = forecast.earliest(start, durations.mean, joules, allowed)
            # It starts when a run of the mean length fits, and may take the longest.
            end = math.inf if begin is None else begin + durations.longest
            ends.append((ticket, end))
            if begin is None or end > (ticket.deadline or math.inf):
                break
            forecast.add_run(begin, durations.longest, joules)
            start = end
        return ends

    def _promised_start(self, now: float, ticket: Ticket) -> float:
        assert ticket.way is not None
        if self.budget.watts is None:
            return now
        account = self.account
        durations = account.durations[ticket.way]
        joules, seconds = account.joules(ticket.way), durations.mean
        forecast = Forecast(account.timeline, now)
        found: float | None = None
        for margin_share in _PROMISED_MARGINS:
            allowed = self.bucket.allowed_at_most(margin_share)
            found = forecast.earliest(now, seconds, joules, allowed)
            if found is None or found + durations.longest > (ticket.deadline or 0):
                continue
            # To wait for more margin must not make those late that were promised after it.
            if found <= now or self._leaves_others_in_time(now, ticket, found):
                break
        return now + self.budget.window / 50 if found is None else found

    def _leaves_others_in_time(self, now: float, first: Ticket, start: float) -> bool:
        """Whether promised runs can follow `first`, which starts then, without any margin."""
        account = self.account
        allowed = self.bucket.allowed_at_most(0.0)
        forecast = Forecast(account.timeline, now)
        for ticket in self._promised:
            assert ticket.way is not None
            durations, joules = account.durations[ticket.way], account.joules(ticket.way)
            begin: float | None = start
            if ticket is not first:
                begin = forecast.earliest(forecast.end, durations.mean, joules, allowed)
            if begin is None or begin + durations.longest > (ticket.deadline or math.inf):
                return False
            forecast.add_run(begin, durations.longest, joules)
        return True

    def _may_go_first(self, now: float) -> bool:
        """Whether a run of higher priority without a deadline may precede the promised ones."""
        way = self._economy.way(self._ladder.variant, self.account)
        cost = (self.account.durations[way].longest, self.account.joules(way))
        return self._waiting_start(now, way)[0] <= now and self._keeps_promises(now, cost)

    # What cannot be had

    def _is_too_dear(self, way: int) -> bool:
        limit = self.budget.joules_per_run
        return limit is not None and self.account.joules(way) > limit

    def _require_possible(self, now: float) -> None:
        """Refuse what no waiting makes possible."""
        found = self._what_is_impossible()
        if found is not None:
            what, advice = found
            self.decisions.add(now, "refuse", f"run {self._number}", what)
            raise PowerBudgetError(f"{what}; {advice}")

    def _what_is_impossible(self) -> tuple[str, str] | None:
        """What stands against any run at all, and what to do about it."""
        account, budget = self.account, self.budget
        ways = range(len(account.ways))
        if all(map(self._is_too_dear, ways)):
            least = min(ways, key=account.joules)
            limit = budget.joules_per_run or 0.0
            return (
                f"{self.name}: a run takes {_joules(account.joules(least))} beyond idle at least "
                f"({self._names[least]}), and energy_budget is {_joules(limit)}",
                "raise it, or give a ladder with a smaller variant",
            )
        if budget.watts is None:
            return None
        window = budget.window
        idle = account.timeline.idle_watts
        doubt = 2 * account.learned.deviation([0.0] * len(account.ways))
        beyond = (budget.watts - idle) * window
        if budget.watts <= idle - doubt:
            return (
                f"{self.name}: the device takes {idle:.3g} W when nothing runs, and power_budget "
                f"is {budget.watts:.3g} W for all of it",
                "give a power_budget above that",
            )
        cheapest = min(ways, key=lambda way: account.joules_bounds(way)[0])
        needed = account.joules_bounds(cheapest)[0]
        if needed > beyond + doubt * window:
            return (
                f"{self.name}: one run takes {_joules(needed)} beyond idle at least "
                f"({self._names[cheapest]}), and a window of {window:g} s has "
                f"{_joules(max(beyond, 0))} beyond idle under {budget.watts:.3g} W",
                "raise power_budget, make the window longer, or give a smaller variant",
            )
        return None

    def _refusal(self, now: float, ticket: Ticket, on_late: OnLate) -> PowerBudgetError:
        assert ticket.deadline is not None
        allowed = ticket.deadline - now
        variant = self._ladder.count - 1 if on_late == "degrade" else 0
        ways = self._economy.candidates(variant, self.account)
        ends = []
        for way in ways:
            ticket.way = way
            promised = [t for t in self._promised if (t.deadline or 0) <= ticket.deadline]
            for last, end in self._ends(now, None, [*promised, ticket]):
                if last is ticket:
                    ends.append(end - now)
        soonest = min((end for end in ends if end < math.inf), default=None)
        when = "no window has room for it" if soonest is None else f"it ends {soonest:.3g} s on"
        if not ends:
            when = "runs that were promised before come first"
        elif soonest is not None and soonest <= allowed:
            when = "it would make runs late that were promised before"
        limit = f" under {self.budget.watts:.3g} W" if self.budget.watts is not None else ""
        what = f"{self.name}: no run can end within {max(allowed, 0):.3g} s{limit}: {when}"
        advice = "allow more time or raise power_budget"
        if on_late == "refuse" and self._ladder.count > 1:
            advice += ", or pass on_late='degrade' for a smaller variant"
        self.decisions.add(now, "refuse", f"run {ticket.number}", what, allowed)
        return PowerBudgetError(f"{what}; {advice}")


def _joules(value: float) -> str:
    """Joules for people."""
    return f"{1e3 * value:.3g} mJ" if value < 1 else f"{value:.3g} J"
