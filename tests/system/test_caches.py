"""The size of the cache before memory, from trees as Linux shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeinfer.system.caches import last_level_cache_bytes
from edgeinfer.system.kernel_files import KernelFiles


def tree(root: Path, *caches: tuple[int, str, str]) -> KernelFiles:
    for index, (level, kind, size) in enumerate(caches):
        folder = root / f"sys/devices/system/cpu/cpu0/cache/index{index}"
        folder.mkdir(parents=True)
        for name, text in (("level", level), ("type", kind), ("size", size)):
            (folder / name).write_text(f"{text}\n")
    return KernelFiles(str(root))


L1 = ((1, "Data", "32K"), (1, "Instruction", "64K"))


@pytest.mark.parametrize(
    "caches, size",
    [
        ((*L1, (2, "Unified", "512K"), (3, "Unified", "8192K")), 8192 << 10),
        ((*L1, (2, "Unified", "1M")), 1 << 20),
        (((1, "Data", "32K"), (2, "Instruction", "4M")), 32 << 10),
        ((*L1, (2, "Unified", "garbled")), 32 << 10),
        ((*L1, (2, "Unified", "0K")), 32 << 10),
        ((), None),
    ],
)
def test_the_cache_before_memory_is_the_largest_level_that_holds_data(
    tmp_path: Path, caches: tuple[tuple[int, str, str], ...], size: int | None
) -> None:
    assert last_level_cache_bytes(tree(tmp_path, *caches)) == size
