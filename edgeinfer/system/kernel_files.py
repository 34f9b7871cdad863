"""Reading the small files in which the kernel tells about itself."""

from __future__ import annotations

import os
import re

_LONGEST = 1 << 20  # /proc/cpuinfo of 256 CPUs is 400 KB
_NUMBER = re.compile(r"-?[0-9]{1,18}")
_MAX_CPUS = 4096


class KernelFiles:
    """Files under a root folder: "/" of this machine, or a recorded tree of another one.

    Parameters
    ----------
    root : str
        The folder that holds `proc` and `sys`.
    """

    def __init__(self, root: str = "/") -> None:
        self.root = root

    def text(self, path: str) -> str | None:
        """A file without surrounding white space; None when it cannot be read or is empty."""
        try:
            # Nothing here waits: neither for the writer of a pipe nor for a slow driver.
            file = os.open(
                os.path.join(self.root, path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
            )
        except (OSError, ValueError):
            return None
        try:
            parts: list[bytes] = []
            size = 0
            while size < _LONGEST and (part := os.read(file, 1 << 16)):
                parts.append(part)
                size += len(part)
        except OSError:  # a sensor that is switched off fails when it is read
            return None
        finally:
            os.close(file)
        return b"".join(parts).decode("utf-8", "replace").strip(" \t\r\n\0") or None

    def number(self, path: str) -> int | None:
        """A file that holds one decimal number."""
        text = self.text(path)
        return int(text) if text is not None and _NUMBER.fullmatch(text) else None

    def natural(self, path: str) -> int | None:
        """A number that has no meaning below zero, such as a frequency or a counter."""
        number = self.number(path)
        return number if number is not None and number >= 0 else None

    def cpus(self, path: str) -> tuple[int, ...] | None:
        """A file that holds a list of CPUs: "0-3,8", or "0 1 2 3" as cpufreq writes it."""
        text = self.text(path)
        return None if text is None else parse_cpus(text)

    def numbered(self, folder: str, prefix: str) -> list[tuple[int, str]]:
        """Number and path of entries `prefix`0, `prefix`1, ... of a folder, in this order."""
        try:
            names = os.listdir(os.path.join(self.root, folder))
        except OSError:
            return []
        found = []
        for name in names:
            digits = name[len(prefix) :]
            if name.startswith(prefix) and _NUMBER.fullmatch(digits) and digits[0] != "-":
                found.append((int(digits), f"{folder}/{name}"))
        return sorted(found)


def parse_cpus(text: str) -> tuple[int, ...] | None:
    """The CPUs of "0-3,8" or "0 1 2"; None when it is no such list."""
    cpus: set[int] = set()
    for part in text.replace(",", " ").split():
        first, dash, last = part.partition("-")
        if not _NUMBER.fullmatch(first) or (dash and not _NUMBER.fullmatch(last)):
            return None
        low, high = int(first), int(last or first)
        if not 0 <= low <= high < _MAX_CPUS:
            return None
        cpus.update(range(low, high + 1))
    return tuple(sorted(cpus))


def format_cpus(cpus: tuple[int, ...]) -> str:
    """The list that `taskset -c` and --cpus take: "0-3,8"."""
    parts: list[list[int]] = []
    for cpu in sorted(cpus):
        if parts and cpu == parts[-1][1] + 1:
            parts[-1][1] = cpu
        else:
            parts.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)
