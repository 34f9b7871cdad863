"""Models that run under a power budget: what `edgeinfer.load` makes when it is given one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import get_ident
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edgeinfer.errors import BudgetError, EdgeInferError, InputError
from edgeinfer.model import Model, ModelHandle
from edgeinfer.power.decisions import DecisionLog
from edgeinfer.power.device_energy import PROFILES, profile_of_machine
from edgeinfer.power.discover import best_meter
from edgeinfer.power.energy_profile import DeviceEnergy
from edgeinfer.power.governor import Governor
from edgeinfer.power.heat import HeatReader
from edgeinfer.power.keeper import PowerKeeper
from edgeinfer.power.learned_power import Guess
from edgeinfer.power.levers import FrequencyLimit, Lever, open_levers
from edgeinfer.power.meter import Meter
from edgeinfer.power.model_meter import ModelMeter
from edgeinfer.power.quantities import parse_joules, parse_seconds, parse_watts
from edgeinfer.power.sensor_files import SensorFiles
from edgeinfer.power.work import OnLate, PowerBudget, Way
from edgeinfer.session import Session, SessionOptions, TensorInfo, needed_bytes
from edgeinfer.system.cores import read_cores
from edgeinfer.system.kernel_files import KernelFiles

if TYPE_CHECKING:
    import numpy.typing as npt

    from edgeinfer.session import Array

_FIRST_GUESS_SECONDS = 0.01
_LEAST_WATTS = 0.05
_ON_LATE: dict[str, OnLate] = {"refuse": "refuse", "degrade": "degrade"}
_WINDOW = 10.0
"""Seconds, where `load` is not told."""
_TRIES = 2  # runs of each way when a model is loaded


class RunReport(NamedTuple):
    """What became of a run under a power budget."""

    name: str
    """Of the model file that ran: the ladder may have had another one run."""
    variant: int
    """0 is the model that was loaded, 1 the first of the ladder."""
    threads: int
    waited: float
    """Seconds until it could start."""
    seconds: float
    """How long it ran."""
    joules: float
    """What it is taken to have cost beyond idle."""


@dataclass(frozen=True)
class PowerOptions:
    """The arguments of `load` that are about power, as they were given."""

    power_budget: float | str | None
    window: float | str | None
    energy_budget: float | str | None
    meter: Meter | str | None
    device_profile: DeviceEnergy | str | None
    patience: float | str | None
    power_levers: Sequence[str]

    def budget(self) -> PowerBudget:
        """Checked and in SI units."""
        watts, joules = self.power_budget, self.energy_budget
        return PowerBudget(
            watts=None if watts is None else parse_watts(watts),
            window=_WINDOW if self.window is None else parse_seconds(self.window),
            joules_per_run=None if joules is None else parse_joules(joules),
            patience=None if self.patience is None else parse_seconds(self.patience, "patience"),
        )

    def profile(self) -> DeviceEnergy:
        """The one that was given, or that of this machine."""
        given = self.device_profile
        if given is None:
            return profile_of_machine(SensorFiles("/"))
        if isinstance(given, str):
            if given not in PROFILES:
                raise InputError(
                    f"device_profile is {given!r}; there are {', '.join(map(repr, PROFILES))}"
                )
            return PROFILES[given]
        return given

    def open_meter(self) -> Meter:
        """The one that was given, or the best of this machine; the model by the profile."""
        given = self.meter
        if given is not None and not isinstance(given, str):
            return given
        meter = best_meter(name=given)
        return ModelMeter(self.profile()) if isinstance(meter, ModelMeter) else meter


class GovernedModel(Model):
    """A model whose runs keep a power budget. As `Model`, and in addition what follows.

    Runs of all its sessions follow each other, when the governor lets them. `run` waits until then.
    """

    def __init__(
        self,
        handles: Sequence[ModelHandle],
        options: SessionOptions,
        power: PowerOptions,
    ) -> None:
        _require_alike(handles)
        budget = power.budget()
        self._handles = tuple(handles)
        meter = power.open_meter()
        levers = open_levers(power.power_levers, budget.watts)
        clocks = next((lever for lever in levers if isinstance(lever, FrequencyLimit)), None)
        try:
            self._ways = _ways(handles, options, clocks)
            self._keeper: PowerKeeper | None = None
            self._clocks = clocks
            super().__init__(handles[0], options)
            self._start(power, budget, meter, levers)
        except BaseException:
            for lever in levers:
                lever.close()
            raise

    def __enter__(self) -> GovernedModel:
        super().__enter__()
        return self

    @property
    def decisions(self) -> DecisionLog:
        """What the governor decided and why, the newest 1,000; printed it is a line for each."""
        return self._power.governor.decisions

    @property
    def governor(self) -> Governor:
        """The governor itself."""
        return self._power.governor

    @property
    def meter(self) -> Meter:
        """What the budget is held by; its `origin` says whether that is measured."""
        return self._power.meter

    @property
    def last_run(self) -> RunReport | None:
        """What became of the last run of the model's own session."""
        assert isinstance(self._session, GovernedSession)
        return self._session.last_run

    def session(self) -> Session:
        """A new session under the same budget."""
        self._open()
        made = GovernedSession(self._handles, self._ways, self._options, self._clocks)
        if self._keeper is not None:
            made.attach(self._keeper)
        return made

    def _start(
        self, power: PowerOptions, budget: PowerBudget, meter: Meter, levers: Sequence[Lever]
    ) -> None:
        """Time each way, and let the governor begin."""
        assert isinstance(self._session, GovernedSession)
        profile = power.profile()
        trial = self._session
        if self.plan.state_bytes:  # what a trial leaves behind must not reach the first run
            trial = GovernedSession(self._handles, self._ways, self._options, self._clocks)
        seconds = [trial.time_once(way) for way in range(len(self._ways))]
        joules = [_joules_of(handle, self.tier, profile) for handle in self._handles]
        is_modelled = isinstance(meter, ModelMeter)
        ways = [
            Way(w.variant, w.threads, w.cpus, w.name, joules[w.variant], w.khz)
            if is_modelled
            else w
            for w in self._ways
        ]
        guessed = [
            max(joules[w.variant] / max(seconds[i], 1e-6), _LEAST_WATTS) for i, w in enumerate(ways)
        ]
        now = time.monotonic()
        idle = Guess(profile.idle_watts, 0.0 if is_modelled else 0.5 * profile.idle_watts)
        governor = Governor(
            budget,
            ways,
            idle=idle,
            active=[Guess(watts, min(max(profile.error, 0.5), 1.0) * watts) for watts in guessed],
            seconds=seconds,
            now=now,
            name=self.name,
        )
        keeper = PowerKeeper(governor, meter, HeatReader(), levers)
        for way in range(len(ways)):
            for _ in range(_TRIES):
                ticket = keeper.try_way(way)
                try:
                    trial.time_once(way)
                finally:
                    keeper.release(ticket)
        if trial is not self._session:
            trial.close()
        self._keeper = keeper
        self._session.attach(keeper)

    @property
    def _power(self) -> PowerKeeper:
        if self._keeper is None:
            raise EdgeInferError(f"model {self.name!r} is closed")
        return self._keeper


class GovernedSession(Session):
    """A session that runs when the governor says so, and in the way that it says."""

    def __init__(
        self,
        handles: Sequence[ModelHandle],
        ways: Sequence[Way],
        options: SessionOptions,
        clocks: FrequencyLimit | None,
    ) -> None:
        super().__init__(handles[0], _options_of(options, ways[0]))
        self._ways = ways
        self._keeper: PowerKeeper | None = None
        self._clocks = clocks
        self._is_left = False
        self.last_run: RunReport | None = None
        self._fed_seconds = 0.0
        self._granted = 0  # the thread that runs; runs follow each other
        # Ways that differ in clock only share a session.
        made: dict[tuple[int, int, tuple[int, ...]], Session | None] = {}
        self._others: list[Session | None] = []
        for way in ways:
            key = (way.variant, way.threads, way.cpus)
            if key not in made:
                own = not made  # the first is this session itself
                made[key] = (
                    None if own else Session(handles[way.variant], _options_of(options, way))
                )
            self._others.append(made[key])
        self._distinct = [session for session in made.values() if session is not None]
        self._inputs_alike = all(handle.inputs == handles[0].inputs for handle in handles)
        self._outputs_alike = all(handle.outputs == handles[0].outputs for handle in handles)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the session holds, those of every way to run included."""
        return super().nbytes + sum(session.nbytes for session in self._distinct)

    def attach(self, keeper: PowerKeeper) -> None:
        """Run by this governor from now on."""
        self._keeper = keeper
        keeper.join()

    def run(
        self,
        x: npt.ArrayLike | Mapping[str, npt.ArrayLike],
        *,
        quantize: bool = False,
        dequantize: bool = False,
        deadline: float | str | None = None,
        priority: int = 0,
        on_late: str = "refuse",
    ) -> Any:
        """Run once, when the budget allows; see `Session.run`."""
        if not (self._inputs_alike or quantize) or not (self._outputs_alike or dequantize):
            self._refuse_stored_values()
        return self._governed(
            lambda session: session.run(x, quantize=quantize, dequantize=dequantize),
            lambda: Session.run(self, x, quantize=quantize, dequantize=dequantize),
            deadline, priority, on_late,
        )  # fmt: skip

    def run_into(self, out: Array | Mapping[str, Array], x: Array | Mapping[str, Array]) -> None:
        """Run once without copies, when the budget allows; see `Session.run_into`."""
        if self._granted == get_ident():
            super().run_into(out, x)  # from `Session.run`, which got its turn already
            return
        if not (self._inputs_alike and self._outputs_alike):
            self._refuse_stored_values()
        self._governed(
            lambda session: session.run_into(out, x),
            lambda: Session.run_into(self, out, x),
            None, 0, "refuse",
        )  # fmt: skip

    def close(self) -> None:
        """End the sessions of all ways; the last one of a model ends its governor."""
        super().close()
        for session in self._distinct:
            session.close()
        if self._keeper is not None and not self._is_left:
            self._is_left = True
            self._keeper.leave()

    def time_once(self, way: int) -> float:
        """Run on zeros in one way, without asking. Returns the seconds it took.

        The model may refuse zeros: then nothing is known, and a guess is returned.
        """
        session = self._others[way] or self
        zeros = {info.name: np.zeros(info.shape, info.dtype) for info in session.inputs}
        start = time.monotonic()
        try:
            self._in_way(way, lambda other: other.run(zeros), lambda: Session.run(self, zeros))
        except InputError:
            return _FIRST_GUESS_SECONDS
        return time.monotonic() - start

    def feed(
        self,
        rows: npt.ArrayLike,
        name: str | None = None,
        *,
        quantize: bool = False,
        dequantize: bool = False,
    ) -> Any:
        """As `Session.feed`. Rows cannot wait: a run is charged to the budget when it is complete.

        Runs after it wait the longer. It runs the largest variant.
        """
        start = time.monotonic()
        try:
            result = super().feed(rows, name, quantize=quantize, dequantize=dequantize)
        finally:
            self._fed_seconds += time.monotonic() - start
        if result is not None and self._keeper is not None:
            seconds, self._fed_seconds = self._fed_seconds, 0.0
            self._keeper.charge(seconds)
        return result

    def reset(self) -> None:
        """As `Session.reset`."""
        self._fed_seconds = 0.0
        super().reset()

    def _governed(
        self,
        other: Callable[[Session], Any],
        own: Callable[[], Any],
        deadline: float | str | None,
        priority: int,
        on_late: str,
    ) -> Any:
        self._alive()
        if on_late not in _ON_LATE:
            raise InputError(f"on_late is {on_late!r}; it must be 'refuse' or 'degrade'")
        seconds = None if deadline is None else parse_seconds(deadline, "deadline")
        assert self._keeper is not None
        ticket = self._keeper.acquire(seconds, priority, _ON_LATE[on_late])
        assert ticket.way is not None
        try:
            return self._in_way(ticket.way, other, own)
        finally:
            self._keeper.release(ticket)
            way = self._ways[ticket.way]
            self.last_run = RunReport(
                way.name, way.variant, way.threads, ticket.waited,
                (ticket.ended or 0.0) - (ticket.started or 0.0), ticket.joules,
            )  # fmt: skip

    def _in_way(self, number: int, other: Callable[[Session], Any], own: Callable[[], Any]) -> Any:
        way, session = self._ways[number], self._others[number]
        if self._clocks is not None and way.khz is not None:
            self._clocks.set(way.khz)
        before = os.sched_getaffinity(0) if way.cpus else None
        try:
            if before is not None:  # the calling thread takes part: it goes where the others are
                os.sched_setaffinity(0, way.cpus)
            if session is not None:
                return other(session)
            self._granted = get_ident()
            return own()
        finally:
            self._granted = 0
            if before is not None:
                os.sched_setaffinity(0, before)

    def _refuse_stored_values(self) -> None:
        raise InputError(
            "the variants of the ladder store their inputs or outputs differently: pass real "
            "numbers with run(..., quantize=True, dequantize=True), so that each takes and gives "
            "them in its own way"
        )


def govern(
    handles: Sequence[ModelHandle], options: SessionOptions, power: PowerOptions
) -> GovernedModel:
    """A model, and the smaller ones of its ladder, under a power budget.

    Raises
    ------
    InputError, UnsupportedError, BudgetError
        As `edgeinfer.load` says.
    """
    return GovernedModel(handles, options, power)


def _ways(
    handles: Sequence[ModelHandle], options: SessionOptions, clocks: FrequencyLimit | None
) -> list[Way]:
    """By variant: threads as asked for and halves of that, kinds of cores, clocks."""
    counts = [options.threads]
    while counts[-1] > 1:
        counts.append(counts[-1] // 2)
    slower = _slower_cores(options)
    khz: Sequence[int | None] = (None,) if clocks is None else clocks.choices
    ways = []
    for variant, handle in enumerate(handles):
        for clock in khz:
            ways += [Way(variant, n, (), handle.name, None, clock) for n in counts]
            if slower:
                n = min(options.threads, len(slower))
                ways.append(Way(variant, n, slower, handle.name, None, clock))
    return _within_ram(handles, options, ways)


def _slower_cores(options: SessionOptions) -> tuple[int, ...]:
    """CPUs of a slower, thriftier kind, where the machine has one and nobody chose CPUs."""
    groups = read_cores(KernelFiles())
    if options.cpus or options.performance_cores or len(groups) < 2:
        return ()
    allowed = os.sched_getaffinity(0)
    slowest = groups[-1]
    return tuple(c for c in slowest.cpus if c in allowed and c not in slowest.offline)


def _within_ram(
    handles: Sequence[ModelHandle], options: SessionOptions, ways: Sequence[Way]
) -> list[Way]:
    """The ways whose sessions fit the RAM budget together: of each variant at least the first."""
    if options.ram_budget is None:
        return list(ways)
    sizes: dict[tuple[int, int, tuple[int, ...]], int] = {}
    for way in ways:
        unlimited = _options_of(options, way)._replace(ram_budget=None)
        key = (way.variant, way.threads, way.cpus)
        sizes[key] = needed_bytes(handles[way.variant], unlimited)
    no_cpus: tuple[int, ...] = ()
    firsts = dict.fromkeys((w.variant, options.threads, no_cpus) for w in ways)
    total = sum(sizes[key] for key in firsts)
    if len(handles) > 1 and total > options.ram_budget:
        raise BudgetError(
            f"{handles[0].name}: sessions of all {len(handles)} variants of the ladder need "
            f"{total} bytes together and ram_budget is {options.ram_budget}; raise it or shorten "
            "the ladder"
        )
    kept = set(firsts)
    for key, size in sizes.items():
        if key not in kept and total + size <= options.ram_budget:
            kept.add(key)
            total += size
    return [w for w in ways if (w.variant, w.threads, w.cpus) in kept]


def _options_of(options: SessionOptions, way: Way) -> SessionOptions:
    if way.cpus:
        return options._replace(threads=way.threads, cpus=way.cpus)
    return options._replace(threads=way.threads)


def _joules_of(handle: ModelHandle, tier: str, profile: DeviceEnergy) -> float:
    """What a run costs beyond idle, by the model of the device."""
    from edgeinfer.step_costs import step_costs

    return profile.of_run(step_costs(handle.read_program(), tier))


def _require_alike(handles: Sequence[ModelHandle]) -> None:
    """Variants take and give the same tensors, as far as callers see."""

    def seen(tensors: Sequence[TensorInfo]) -> list[tuple[str, tuple[int, ...]]]:
        return [(info.name, info.shape) for info in tensors]

    first = handles[0]
    for handle in handles[1:]:
        for what, own, wanted in (
            ("inputs", handle.inputs, first.inputs),
            ("outputs", handle.outputs, first.outputs),
        ):
            if seen(own) != seen(wanted):
                raise InputError(
                    f"ladder: {what} of {handle.name} are {seen(own)}, those of {first.name} are "
                    f"{seen(wanted)}; all variants need the same names and shapes"
                )
