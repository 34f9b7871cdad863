"""The table of kernels: the scalar tier, on which every other one stands, is complete."""

from __future__ import annotations

import re
from pathlib import Path


def entries(repo_root: Path) -> list[str]:
    """Names of the entries of ei_kernels."""
    text = (repo_root / "csrc/kernels/table.h").read_text()
    struct = text[text.index("typedef struct ei_kernels {") :]
    return re.findall(r"^    ei_\w+ (\w+);$", struct, re.M)


def test_scalar_tier_fills_every_entry_with_its_own_kernel(repo_root: Path) -> None:
    text = (repo_root / "csrc/kernels/table.c").read_text()
    body = text[text.index("static void fill_scalar") :]
    body = body[: body.index("\n}\n")]
    filled = dict(re.findall(r"^    kernels->(\w+) = (\w+);$", body, re.M))
    assert filled == {name: f"ei_{name}_scalar" for name in entries(repo_root)}
