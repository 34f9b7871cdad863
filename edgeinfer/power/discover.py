"""Which meters a machine has, and which of them to take."""

from __future__ import annotations

import time
from collections.abc import Callable

from edgeinfer.errors import InputError
from edgeinfer.power import battery, dtpm, hwmon, ina, pmic, rapl
from edgeinfer.power.constant_meter import ConstantMeter
from edgeinfer.power.counter import CounterMeter
from edgeinfer.power.device_energy import profile_of_machine
from edgeinfer.power.gauge import GaugeMeter
from edgeinfer.power.meter import Meter
from edgeinfer.power.model_meter import ModelMeter
from edgeinfer.power.quantities import parse_watts
from edgeinfer.power.sensor_files import SensorFiles

# What is nearest to the board's input and shows changes soonest comes first. Of a laptop the
# processor's counters, though they leave out much, tell more of a run than its battery. psys comes
# behind the package: few makers calibrate it. DTPM is not measured.
_PREFERENCE = (
    ("ina238", "board"),
    ("ina3221", "board"),
    ("pmic", "board"),
    ("rapl", "chip"),
    ("rapl", "board"),
    ("hwmon", "board"),
    ("hwmon", "chip"),
    ("battery", "board"),
    ("dtpm", "chip"),
)


def find_meters(
    root: str = "/",
    *,
    clock: Callable[[], float] = time.monotonic,
    ask_pmic: pmic.Ask | None = None,
    files: SensorFiles | None = None,
) -> list[Meter]:
    """Every meter, those that see the most first; parts of others behind them.

    Listing them reads names, not values: whether one may be read, its readings say. The model is
    not among them.

    Parameters
    ----------
    root : path
        The folder that holds `proc` and `sys`: of this machine, or of a recorded tree.
    clock : callable
        Seconds, ever rising, for the readings' times.
    ask_pmic : callable, optional
        In place of running `vcgencmd pmic_read_adc`.
    files : SensorFiles, optional
        In place of `root`.
    """
    files = files or SensorFiles(root)
    inas = ina.find(files, clock)
    own = {"ina3221", "ina3221x", "ina238"} if inas else set()
    found: list[CounterMeter | GaugeMeter] = [
        *inas,
        *pmic.find(files, clock, ask_pmic),
        *rapl.find(files, clock),
        *hwmon.find(files, clock, without=own),
        *battery.find(files, clock),
        *dtpm.find(files, clock),
    ]
    seen: dict[str, int] = {}
    for meter in found:  # two graphics cards, or rails of one label
        count = seen[meter.name] = seen.get(meter.name, 0) + 1
        if count > 1:
            meter.name = f"{meter.name} #{count}"
    return sorted(found, key=_rank)


def best_meter(
    root: str = "/",
    *,
    name: str | None = None,
    clock: Callable[[], float] = time.monotonic,
    ask_pmic: pmic.Ask | None = None,
    files: SensorFiles | None = None,
) -> Meter:
    """The meter that sees the most of the board and can be read now; else the model.

    Parameters
    ----------
    name : str, optional
        Take this one (`Meter.name`; "model" for the model), whether or not it can be read now; or
        a constant power, such as "6.5W", that was measured some other way.
    root, clock, ask_pmic, files
        As for `find_meters`.

    Raises
    ------
    InputError
        There is no meter of this name, and it is no power.
    """
    files = files or SensorFiles(root)
    meters = find_meters(clock=clock, ask_pmic=ask_pmic, files=files)
    if name is not None and name != ModelMeter.name:
        for meter in meters:
            if meter.name == name:
                return meter
        if name[:1] in "0123456789." and name.endswith("W"):
            return ConstantMeter(parse_watts(name, "meter"), clock=clock)
        known = ", ".join(repr(n) for n in [*(meter.name for meter in meters), ModelMeter.name])
        raise InputError(
            f"there is no meter {name!r} here; there are {known}, or a constant such as '6.5W'"
        )
    if name is None:
        for meter in meters:
            if _rank(meter) < len(_PREFERENCE) and meter.read().fault is None:
                return meter
    return ModelMeter(profile_of_machine(files), clock=clock)


def why_unmetered(root: str = "/", *, files: SensorFiles | None = None) -> str:
    """What to tell a user to whom `best_meter` gives the model."""
    files = files or SensorFiles(root)
    for meter in find_meters(files=files):
        if _rank(meter) < len(_PREFERENCE) and (fault := meter.read().fault) is not None:
            return f"{meter.name}: {fault.meaning}; {fault.advice}; energy is modelled"
    model = files.text_or_none("proc/device-tree/model")
    if model is not None and model.startswith("Raspberry Pi"):
        return f"{model}: this board has no power sensor; energy is modelled"
    if model is not None:
        return f"{model}: the kernel shows no power sensor; energy is modelled"
    if "hypervisor" in (files.text_or_none("proc/cpuinfo") or ""):
        return "a virtual machine: the host shows it no power sensor; energy is modelled"
    return "the kernel shows no power sensor; energy is modelled"


def _rank(meter: Meter) -> int:
    key = (meter.source, meter.scope)
    return _PREFERENCE.index(key) if key in _PREFERENCE else len(_PREFERENCE)
