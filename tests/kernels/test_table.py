"""The table of kernels: the scalar tier, on which every other one stands, is complete."""

from __future__ import annotations

import re
import sys
from itertools import count, takewhile
from pathlib import Path

from edgeinfer._ffi import ffi, lib, text


def entries(repo_root: Path) -> list[str]:
    """Names of the entries of ei_kernels."""
    text = (repo_root / "csrc/kernels/kernels.def").read_text()
    return re.findall(r"^EI_KERNEL\(ei_\w+_fn, (\w+)\)$", text, re.M)


def test_scalar_tier_fills_every_entry_with_its_own_kernel(repo_root: Path) -> None:
    text = (repo_root / "csrc/kernels/table.c").read_text()
    body = text[text.index("static void fill_scalar") :]
    body = body[: body.index("\n}\n")]
    filled = dict(re.findall(r"^    kernels->(\w+) = (\w+);$", body, re.M))
    assert filled == {name: f"ei_{name}_scalar" for name in entries(repo_root)}


def tier_names() -> list[str]:
    names = takewhile(bool, (text(lib().ei_tier_name(i)) for i in count()))
    return [name for name in names if lib().ei_tier_supported(name.encode())]


def test_the_library_knows_the_entries_by_name(repo_root: Path) -> None:
    names = list(takewhile(bool, (text(lib().ei_kernel_name(i)) for i in count())))
    assert names == entries(repo_root)
    assert lib().ei_kernel_name(-1) == ffi.NULL
    assert lib().ei_kernel_name(2**31 - 1) == ffi.NULL


def test_a_tier_has_what_its_function_fills_and_else_what_a_lower_one_has(repo_root: Path) -> None:
    source = (repo_root / "csrc/kernels/table.c").read_text()
    expected = dict.fromkeys(entries(repo_root), "scalar")
    for tier in tier_names():
        body = source[source.index(f"static void fill_{tier}(") :]
        body = body[: body.index("\n}\n")]
        if sys.maxsize < 2**32:  # what of tier neon is for 64 bit
            body = re.sub(r"#if defined\(__aarch64__\).*?#endif\n", "", body, flags=re.DOTALL)
        filled = re.findall(r"^    kernels->(\w+) = ", body, re.M)
        assert filled
        expected.update(dict.fromkeys(filled, tier))
        found = {
            name: text(lib().ei_kernel_tier(tier.encode(), i)) for i, name in enumerate(expected)
        }
        # Where the CPU has what not every one of the tier has.
        for name in re.findall(r"^        kernels->(\w+) = ", body, re.M):
            assert found[name] in (tier, expected[name])
            expected[name] = found[name]
        assert found == expected
    for i in (-1, len(expected)):
        assert lib().ei_kernel_tier(b"scalar", i) == ffi.NULL
    assert lib().ei_kernel_tier(b"no such tier", 0) == ffi.NULL
    assert lib().ei_kernel_tier(ffi.NULL, 0) == ffi.NULL
