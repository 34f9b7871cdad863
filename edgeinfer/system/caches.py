"""How large the caches are that memory is read through."""

from __future__ import annotations

import re

from edgeinfer.system.kernel_files import KernelFiles

_SIZE = re.compile(r"([0-9]{1,9})([KMG]?)")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def last_level_cache_bytes(files: KernelFiles | None = None, cpu: int = 0) -> int | None:
    """Bytes of the cache nearest to memory that a CPU reads through; None where Linux cannot tell.

    Some ARM boards' device trees do not describe their caches.
    """
    files = files or KernelFiles()
    folder = f"sys/devices/system/cpu/cpu{cpu}/cache"
    sizes = [
        (files.natural(f"{path}/level") or 0, _bytes(files.text(f"{path}/size")))
        for _, path in files.numbered(folder, "index")
        if files.text(f"{path}/type") != "Instruction"
    ]
    known = [(level, size) for level, size in sizes if size is not None]
    return max(known)[1] if known else None


def _bytes(text: str | None) -> int | None:
    found = _SIZE.fullmatch(text or "")
    return int(found[1]) * _UNITS[found[2]] or None if found else None
