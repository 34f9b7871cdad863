"""What wheels are built for: architecture, C library, and how the compilers and pip name both.

setup.py reads this too, to build with `ziglang` on a machine that has no C compiler, so only the
standard library is imported.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

ZIG_TOOLCHAIN = Path(__file__).resolve().parents[1] / "cmake" / "toolchains" / "zig.cmake"


@dataclass(frozen=True)
class Target:
    """One kind of machine that a wheel is for."""

    machine: str
    """As pip's tags and `uname -m` call it."""
    libc: str
    """manylinux (glibc) or musllinux (musl)."""
    triple: str
    """As zig calls it, with the oldest glibc."""
    tags: tuple[str, ...]
    """Platform tags, all of them true of the wheel."""
    libc_version: tuple[int, int]
    """The oldest that has all which the library uses."""
    elf_machine: int
    """e_machine of its libraries."""
    gcc: str | None = None
    """Name of GCC's cross compiler, and of the toolchain file for it."""

    @property
    def plat_name(self) -> str:
        """The tags as a wheel's file name has them."""
        return ".".join(self.tags)


_ARM64, _ARM, _X86_64 = 183, 40, 62  # EM_AARCH64, EM_ARM, EM_X86_64
_GLIBC_2_17 = ("manylinux_2_17_{}", "manylinux2014_{}")


def _glibc_2_17(machine: str, elf_machine: int, gcc: str | None = None) -> Target:
    tags = tuple(tag.format(machine) for tag in _GLIBC_2_17)
    return Target(
        machine, "manylinux", f"{machine}-linux-gnu.2.17", tags, (2, 17), elf_machine, gcc
    )


def _musl_1_2(machine: str, elf_machine: int) -> Target:
    tags = (f"musllinux_1_2_{machine}",)
    return Target(machine, "musllinux", f"{machine}-linux-musl", tags, (1, 2), elf_machine)


TARGETS = (
    _glibc_2_17("x86_64", _X86_64),
    _glibc_2_17("aarch64", _ARM64, "aarch64-linux-gnu"),
    Target(
        "armv7l",
        "manylinux",
        "arm-linux-gnueabihf.2.31",
        ("manylinux_2_31_armv7l",),
        (2, 31),
        _ARM,
        "arm-linux-gnueabihf",
    ),
    _musl_1_2("x86_64", _X86_64),
    _musl_1_2("aarch64", _ARM64),
)


def find_target(machine: str, libc: str) -> Target | None:
    """The target of these names, or None."""
    return next((t for t in TARGETS if (t.machine, t.libc) == (machine, libc)), None)


def this_machine() -> Target | None:
    """What this Python runs on, or None where no wheels are made for it."""
    machine = platform.machine()
    if machine in ("aarch64", "armv8l") and platform.architecture()[0] == "32bit":
        machine = "armv7l"  # a 64-bit kernel under a 32-bit system
    libc = "manylinux" if platform.libc_ver()[0] == "glibc" else "musllinux"
    return find_target(machine, libc)


def find_zig() -> Path | None:
    """The compiler of the Python package `ziglang`, where that is installed."""
    spec = importlib.util.find_spec("ziglang")
    for folder in spec.submodule_search_locations or () if spec else ():
        if (zig := Path(folder) / "zig").is_file():
            return zig
    return None


def has_c_compiler() -> bool:
    """Whether CMake will find a C compiler: one that is named, or one on PATH."""
    if os.environ.get("CC"):
        return True
    chosen = shlex.split(os.environ.get("CMAKE_ARGS", ""))
    if any(word.startswith(("-DCMAKE_C_COMPILER", "-DCMAKE_TOOLCHAIN_FILE")) for word in chosen):
        return True
    return any(shutil.which(name) for name in ("cc", "gcc", "clang"))


def zig_options(zig: Path, target: Target) -> list[str]:
    """Options for CMake to compile for `target` with `zig`."""
    return [
        f"-DCMAKE_TOOLCHAIN_FILE={ZIG_TOOLCHAIN}",
        f"-DEI_ZIG={zig}",
        f"-DEI_ZIG_TARGET={target.triple}",
    ]
