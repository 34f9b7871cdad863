"""Levers that need privilege: the highest clock, RAPL's own limit, the power mode of a Jetson.

They are used only when `power_levers` names them. Each remembers what it found, and puts that back
when it is closed. What cannot be written is said at once, with what to do about it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from edgeinfer.errors import InputError, UnsupportedError
from edgeinfer.system.frequency import read_policies
from edgeinfer.system.kernel_files import KernelFiles

_NVPMODEL_SECONDS = 10.0
_CLOCKS = (1.0, 0.75, 0.5)  # of the highest, that are tried


class Lever(Protocol):
    """Something that was changed and is put back."""

    name: str

    def close(self) -> None:
        """Put back what was found."""


class _Files:
    """Files that were written, and what they held before."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._before: dict[str, str] = {}

    def write(self, path: str, text: str, what: str) -> None:
        full = os.path.join(self._root, path)
        try:
            if path not in self._before:
                with open(full) as file:
                    self._before[path] = file.read()
            with open(full, "w") as file:
                file.write(text)
        except OSError as error:
            raise UnsupportedError(
                f"power_levers: {what} cannot be set: {full}: {error.strerror}; run as root, or "
                "leave it out of power_levers"
            ) from error

    def restore(self) -> None:
        # What was lowered last is raised first. A file that is gone has nothing to go back to.
        while self._before:
            path, text = self._before.popitem()
            with suppress(OSError), open(os.path.join(self._root, path), "w") as file:
                file.write(text)


class FrequencyLimit:
    """The highest clock that the cores may have: cpufreq's scaling_max_freq.

    Parameters
    ----------
    root : str

    Raises
    ------
    UnsupportedError
        There are no clocks to limit, or they may not be written.
    """

    name = "frequency"

    def __init__(self, root: str = "/") -> None:
        self._files = _Files(root)
        self._policies = [p for p in read_policies(KernelFiles(root)) if p.max_khz]
        if not self._policies:
            raise UnsupportedError(
                "power_levers: this machine has no clocks to limit (no "
                "/sys/devices/system/cpu/cpufreq/policy*); leave 'frequency' out"
            )
        self.highest_khz = max(p.max_khz or 0 for p in self._policies)
        self._now = self.highest_khz
        self._write(self.highest_khz)  # whether it may be written is known now, not later

    @property
    def choices(self) -> tuple[int, ...]:
        """Clocks in kHz that are worth a try, the highest first."""
        lowest = max((p.hardware_min_khz or 0 for p in self._policies), default=0)
        wanted = [round(share * self.highest_khz) for share in _CLOCKS]
        return tuple(dict.fromkeys(max(khz, lowest) for khz in wanted))

    def set(self, khz: int) -> None:
        """Limit all clocks; each to what it had where that is less."""
        if khz != self._now:
            self._write(khz)

    def _write(self, khz: int) -> None:
        for policy in self._policies:
            wanted = min(khz, policy.max_khz or khz)
            path = f"sys/devices/system/cpu/cpufreq/policy{policy.number}/scaling_max_freq"
            self._files.write(path, f"{wanted}", "the highest clock")
        self._now = khz

    def close(self) -> None:
        """Put back what was found."""
        self._files.restore()


class RaplLimit:
    """The processor's own limit, which it keeps in hardware, under the governor's.

    Parameters
    ----------
    watts : float
        Of each package, the long-term constraint. A limit that is lower already is left alone.
    root : str
    """

    name = "rapl"

    def __init__(self, watts: float, root: str = "/") -> None:
        self._files = _Files(root)
        kernel = KernelFiles(root)
        written = 0
        for _, path in kernel.numbered("sys/class/powercap", "intel-rapl:"):
            if not (kernel.text(f"{path}/name") or "").startswith("package"):
                continue
            present = kernel.natural(f"{path}/constraint_0_power_limit_uw")
            if present is None:
                continue
            wanted = min(round(watts * 1e6), present or round(watts * 1e6))
            self._files.write(
                f"{path}/constraint_0_power_limit_uw", f"{wanted}", "RAPL's power limit"
            )
            written += 1
        if not written:
            raise UnsupportedError(
                "power_levers: this machine has no RAPL limit (no "
                "/sys/class/powercap/intel-rapl:*); leave 'rapl' out"
            )

    def close(self) -> None:
        """Put back what was found."""
        self._files.restore()


class NvpModel:
    """A Jetson's power mode, by the command nvpmodel.

    Parameters
    ----------
    mode : int
        Its number, as /etc/nvpmodel.conf lists them. Not one that asks for a reboot.
    command : str, optional
        In place of the nvpmodel that is found in PATH.
    """

    name = "nvpmodel"

    def __init__(self, mode: int, command: str | None = None) -> None:
        self._command = command or shutil.which("nvpmodel")
        if self._command is None:
            raise UnsupportedError("power_levers: there is no nvpmodel here; leave it out")
        self._before: int | None = self._ask()
        self._set(mode)

    def close(self) -> None:
        """Put back the mode that was found."""
        if self._before is not None:
            with suppress(UnsupportedError):
                self._set(self._before)
            self._before = None

    def _ask(self) -> int:
        lines = self._run("-q").split()
        if not lines or not lines[-1].isdecimal():
            raise UnsupportedError(f"power_levers: nvpmodel -q does not tell its mode: {lines!r}")
        return int(lines[-1])

    def _set(self, mode: int) -> None:
        self._run("-m", str(mode))

    def _run(self, *arguments: str) -> str:
        assert self._command is not None
        try:
            done = subprocess.run(
                [self._command, *arguments],
                stdin=subprocess.DEVNULL,  # it asks on the terminal whether to reboot
                capture_output=True,
                text=True,
                timeout=_NVPMODEL_SECONDS,
                check=False,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise UnsupportedError(f"power_levers: nvpmodel: {error}") from error
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip()[:80]
            raise UnsupportedError(
                f"power_levers: nvpmodel {' '.join(arguments)} failed: {said}; run as root, or "
                "leave it out of power_levers"
            )
        return done.stdout


def open_levers(names: Sequence[str], watts: float | None, root: str = "/") -> list[Lever]:
    """The levers of some names: "frequency", "rapl", "nvpmodel:2".

    Raises
    ------
    InputError
        A name is none of these, or "rapl" has no power budget to keep.
    UnsupportedError
        The machine lacks one, or this user may not use it. Those before it are put back.
    """
    if isinstance(names, str):
        raise InputError(f"power_levers is {names!r}; it must be a list, as in [{names!r}]")
    found: list[Lever] = []
    try:
        for name in names:
            kind, _, value = str(name).partition(":")
            if kind == "frequency" and not value:
                found.append(FrequencyLimit(root))
            elif kind == "rapl" and not value:
                if watts is None:
                    raise InputError("power_levers: 'rapl' needs a power_budget to keep")
                found.append(RaplLimit(watts, root))
            elif kind == "nvpmodel" and value.isdecimal():
                found.append(NvpModel(int(value)))
            else:
                raise InputError(
                    f"power_levers: there is no lever {name!r}; there are 'frequency', 'rapl' and "
                    "'nvpmodel:<mode>'"
                )
    except BaseException:
        for lever in reversed(found):
            lever.close()
        raise
    return found
