"""The joule bucket: how much may be spent now, so that every window's mean power stays in the cap.

Two rules hold together.

1. The window. A run may start only when the joules of the window that ends with it, the run and
   the idle power included, stay within cap x window. What leaves the window gives room again. As
   every run passes this rule, every sliding window is kept, wherever it begins.
2. The pace. Room alone would let a busy caller burn a window's joules in its first seconds and
   stand still for the rest, for ever. So runs without a deadline also take tokens, joules beyond
   idle, from a bucket that fills at the highest power that can go on for a whole window without
   meeting rule 1: the least, over all times h ahead, of (room now + joules that leave the window
   within h) / h. That is never more than the cap's share beyond idle; it is less right after a
   burst, so that what the burst left is spread evenly until the burst has left the window, and
   its echo one window later is not let through. A caller that was quiet finds a full bucket, and
   its burst runs at once.
"""

from __future__ import annotations

from edgeinfer.power.timeline import Forecast, Timeline

_STEPS = 16  # moments ahead at which the pace is looked at


class JouleBucket:
    """Tokens over a timeline.

    Parameters
    ----------
    timeline : Timeline
    cap_watts : float
        What every window's mean stays below.
    burst : float, 0 to 1
        Tokens that the bucket holds, as a share of what a window may take beyond idle.
    """

    def __init__(self, timeline: Timeline, cap_watts: float, burst: float) -> None:
        self.timeline = timeline
        self.cap_watts = cap_watts
        self.burst = burst
        self.margin = 0.0
        """Joules of a window that are left free, because what is entered is not exact."""
        self.share = 1.0
        """Of the power beyond idle, what heat leaves. Runs that were promised do not follow it."""
        self.pace = 0.0
        """Watts beyond idle at which the bucket fills."""
        self.tokens = self._most()
        self._updated = timeline.end
        self.update(timeline.end)

    @property
    def spendable(self) -> float:
        """Joules beyond idle that a window may take."""
        beyond = (self.cap_watts - self.timeline.idle_watts) * self.timeline.window
        return max(0.0, beyond)

    @property
    def allowed(self) -> float:
        """Joules that a window may hold: the cap's, less the margin and what heat takes."""
        spendable = self.spendable
        hot = (1 - self.share) * spendable
        return self.cap_watts * self.timeline.window - min(self.margin, 0.5 * spendable) - hot

    def allowed_at_most(self, margin_share: float) -> float:
        """As `allowed`, with a share of the margin only: for runs that were promised."""
        margin = min(self.margin, 0.5 * self.spendable)
        return self.cap_watts * self.timeline.window - margin_share * margin

    def room(self, now: float) -> float:
        """Joules that the window which ends now has left."""
        timeline = self.timeline
        return self.allowed - (timeline.at(now) - timeline.at(now - timeline.window))

    def spent_share(self, now: float) -> float:
        """Of what a window may take beyond idle, what the one that ends now did."""
        timeline = self.timeline
        spent = timeline.at(now) - timeline.at(now - timeline.window)
        beyond = spent - timeline.idle_watts * timeline.window
        return min(1.0, max(0.0, beyond / max(self.spendable, 1e-9)))

    def update(self, now: float) -> None:
        """Let the bucket fill until now, and find the pace from here on."""
        most = self._most()
        if now > self._updated:
            self.tokens += self.pace * (now - self._updated)
            self._updated = now
        self.tokens = min(self.tokens, most)
        self.pace = self._pace(now)

    def take(self, joules: float) -> None:
        """A run begins that is expected to take that."""
        self.tokens = max(self.tokens - joules, -max(joules, 0.0))

    def wait_for(self, joules: float) -> float:
        """Seconds until the bucket has that many tokens, or is full."""
        missing = min(joules, self._most()) - self.tokens
        if missing <= 1e-12:
            return 0.0
        # A pace of nothing: look again when a part of the window has gone by.
        longest = self.timeline.window / _STEPS
        return longest if self.pace <= 0 else min(missing / self.pace, longest)

    def _most(self) -> float:
        return max(self.burst * self.share * self.spendable, 1e-9)

    def _pace(self, now: float) -> float:
        timeline = self.timeline
        window, idle = timeline.window, timeline.idle_watts
        start = now - window
        begin = timeline.at(start)
        room = self.allowed - (timeline.at(now) - begin)
        lowest = float("inf")
        for i in range(1, _STEPS + 1):
            ahead = window * i / _STEPS
            leaves = timeline.at(start + ahead) - begin - idle * ahead
            lowest = min(lowest, (room + leaves) / ahead)
        return max(0.0, lowest)


def forecast_from(bucket: JouleBucket, now: float) -> Forecast:
    """What the bucket's timeline becomes when nothing more runs."""
    return Forecast(bucket.timeline, now)
