"""The power management chip of the Raspberry Pi 5, by `vcgencmd pmic_read_adc`.

It prints a line for each value, such as

         VDD_CORE_A current(7)=1.27234000A
         VDD_CORE_V volt(15)=0.74996930V

A current and a voltage of the same name make a rail. EXT5V_V, the input, has no current: what hangs
directly on the 5 V (USB devices, HATs, displays) and what the converters lose is not measured. The
Pi 4 and older have no such sensor. Source: Raspberry Pi documentation, "vcgencmd".
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable

from edgeinfer.power.faults import Fault, SensorFault
from edgeinfer.power.gauge import GaugeMeter
from edgeinfer.power.sensor_files import SensorFiles

_SECONDS = 2.0  # vcgencmd answers within milliseconds, or not at all
_LONGEST = 1 << 16
_MAX_WATTS = 60.0  # twice what the board's input may take
_STUCK_SECONDS = 60.0
_INTERVAL = 2.0  # each reading starts a process, some milliseconds of CPU time

_VALUE = re.compile(
    r"^\s*([A-Za-z0-9_]+)_([AV])\s+(?:current|volt)\([0-9]+\)=(\S*?)([AV])\s*$", re.MULTILINE
)
_NUMBER = re.compile(r"[+-]?[0-9]{1,12}(?:\.[0-9]{1,12})?")
_WITH_SENSOR = re.compile(r"Raspberry Pi (?:5\b|500\b|Compute Module 5)")

Ask = Callable[[], str]


def find(
    files: SensorFiles, clock: Callable[[], float], ask: Ask | None = None
) -> list[GaugeMeter]:
    """The Pi 5's meter; none on other boards.

    Parameters
    ----------
    ask : callable, optional
        Gives what `vcgencmd pmic_read_adc` prints, or raises SensorFault. By default the command
        is run: the one found in PATH, or below another root its usr/bin/vcgencmd.
    """
    if not has_sensor(files):
        return []
    asked = ask or (lambda: _run(_command(files)))
    return [
        GaugeMeter(
            "pmic", "pmic", "board",
            "the board's rails behind its power management chip; not what hangs on its 5 V (USB, "
            "HATs) and not what the converters lose",
            lambda: (sum_of_rails(asked()), None),
            clock=clock, max_watts=_MAX_WATTS, stuck_after=_STUCK_SECONDS,
            interval=_INTERVAL, longest_interval=10 * _INTERVAL,
        )
    ]  # fmt: skip


def has_sensor(files: SensorFiles) -> bool:
    """Whether the board is a Raspberry Pi whose power management chip measures currents."""
    model = files.text_or_none("proc/device-tree/model") or files.text_or_none(
        "sys/firmware/devicetree/base/model"
    )
    return bool(_WITH_SENSOR.match(model or ""))


def sum_of_rails(text: str) -> float:
    """Watts of all rails that have a current and a voltage.

    Raises
    ------
    SensorFault
        There is none, or one of the values is not a number, or a current has no voltage.
    """
    found: dict[str, dict[str, float]] = {"A": {}, "V": {}}
    for rail, kind, number, unit in _VALUE.findall(text):
        if kind != unit or not _NUMBER.fullmatch(number):
            raise SensorFault(Fault.NOT_A_NUMBER, f"pmic_read_adc: {rail}_{kind}={number}{unit}")
        found[kind][rail] = float(number)
    currents, volts = found["A"], found["V"]
    if not currents:
        raise SensorFault(Fault.NOT_A_NUMBER, f"pmic_read_adc: {text.strip()[:60]!r}")
    alone = sorted(set(currents) - set(volts))
    if alone:
        raise SensorFault(Fault.NOT_A_NUMBER, f"pmic_read_adc: {alone[0]}_A has no {alone[0]}_V")
    for rail, amperes in currents.items():
        if amperes * volts[rail] < 0:
            raise SensorFault(Fault.NEGATIVE, f"pmic_read_adc: rail {rail}")
    return sum(amperes * volts[rail] for rail, amperes in currents.items())


def _command(files: SensorFiles) -> str:
    if files.root == "/":
        command = shutil.which("vcgencmd")
    else:
        command = os.path.join(files.root, "usr/bin/vcgencmd")
    if command is None:
        raise SensorFault(Fault.COMMAND_FAILED, "there is no vcgencmd in PATH")
    return command


def _run(command: str) -> str:
    try:
        done = subprocess.run(
            [command, "pmic_read_adc"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SensorFault(Fault.COMMAND_TIMEOUT, f"{command}: {_SECONDS:g} s") from None
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise SensorFault(Fault.COMMAND_FAILED, f"{command}: {error}") from None
    said = done.stdout[:_LONGEST].decode("ascii", "replace")
    if done.returncode != 0:
        said = (done.stderr or done.stdout)[:200].decode("utf-8", "replace").strip()
        raise SensorFault(
            Fault.COMMAND_FAILED, f"{command}: exit code {done.returncode}, {said[:80]!r}"
        )
    return said
