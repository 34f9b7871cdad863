"""Reading sensors from the kernel's files, with a named fault for whatever goes wrong."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable

from edgeinfer.power.faults import Fault, SensorFault

_LONGEST = 4096
_NUMBER = re.compile(r"[+-]?[0-9]{1,40}")
_FAULTS = {
    errno.EACCES: Fault.NO_PERMISSION,
    errno.EPERM: Fault.NO_PERMISSION,
    errno.ENOENT: Fault.MISSING,
    errno.ENOTDIR: Fault.MISSING,
    errno.ENODEV: Fault.MISSING,
    errno.ENXIO: Fault.MISSING,
}


class SensorFiles:
    """Files under a root folder: "/" of this machine, or a recorded or simulated tree.

    Parameters
    ----------
    root : str
        The folder that holds `proc` and `sys`.
    opener : callable
        What opens a file: `os.open`.
    """

    def __init__(self, root: str = "/", opener: Callable[[str, int], int] = os.open) -> None:
        self.root = root
        self._open = opener

    def text(self, path: str) -> str:
        """A file without surrounding white space.

        Raises
        ------
        SensorFault
            It cannot be read.
        """
        try:
            # Nothing here waits: neither for the writer of a pipe nor for a slow driver.
            file = self._open(
                os.path.join(self.root, path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
            )
            try:
                data = os.read(file, _LONGEST)
            finally:
                os.close(file)
        except OSError as error:
            fault = _FAULTS.get(error.errno or 0, Fault.READ_FAILED)
            raise SensorFault(fault, f"{path}: {error.strerror or error}") from None
        return data.decode("utf-8", "replace").strip(" \t\r\n\0")

    def number(self, path: str) -> int:
        """A file that holds one decimal number; raises SensorFault where it does not."""
        text = self.text(path)
        if not _NUMBER.fullmatch(text):
            raise SensorFault(Fault.NOT_A_NUMBER, f"{path}: {text[:40]!r}")
        return int(text)

    def natural(self, path: str) -> int:
        """A number that has no meaning below zero; raises SensorFault where there is none."""
        number = self.number(path)
        if number < 0:
            raise SensorFault(Fault.NEGATIVE, f"{path}: {number}")
        return number

    def text_or_none(self, path: str) -> str | None:
        """A file's text; None where it cannot be read or is empty."""
        try:
            return self.text(path) or None
        except SensorFault:
            return None

    def number_or_none(self, path: str) -> int | None:
        """A file's number; None where there is none."""
        try:
            return self.number(path)
        except SensorFault:
            return None

    def entries(self, folder: str) -> list[str]:
        """Names in a folder, numbers in them in their order; empty where it cannot be listed."""
        try:
            return sorted(os.listdir(os.path.join(self.root, folder)), key=_natural_order)
        except OSError:
            return []

    def exists(self, path: str) -> bool:
        """Whether there is such a file, readable or not."""
        return os.path.lexists(os.path.join(self.root, path))


def _natural_order(name: str) -> list[tuple[int, str]]:
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return [(int(part), "") if part[0] in "0123456789" else (-1, part) for part in parts]
