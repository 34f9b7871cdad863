"""Wheels of every platform: what ELF files ask for is read right, and too much is refused."""

from __future__ import annotations

import email
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from edgeinfer._ffi import library_path
from tests.requirements import require_module, require_program
from tools import build_wheels, wheel_targets
from tools.build_wheels import WheelError
from tools.elf import ElfError, SharedLibrary, read_library
from tools.wheel_parts import CONVERTER, PARTS, POWER, part_of
from tools.wheel_targets import TARGETS, Target, find_target

GOOD = {
    "manylinux": SharedLibrary(
        0, 64, 0x400, "libedgeinfer.so", ("libc.so.6",), {"libc.so.6": ("GLIBC_2.4",)},
        frozenset(), frozenset(),
    ),
    "musllinux": SharedLibrary(
        0, 64, 0x400, "libedgeinfer.so", ("libc.so",), {}, frozenset(), frozenset()
    ),
}  # fmt: skip


def good_for(target: Target) -> SharedLibrary:
    return replace(GOOD[target.libc], machine=target.elf_machine)


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.plat_name)
def test_what_keeps_its_tag_is_taken(target: Target) -> None:
    assert list(build_wheels.problems(good_for(target), target)) == []


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.plat_name)
def test_tags_name_the_libc_that_zig_compiles_for(target: Target) -> None:
    for tag in target.tags:
        if match := re.fullmatch(r"(?:many|musl)linux_(\d+)_(\d+)_(\w+)", tag):
            assert (int(match[1]), int(match[2])) == target.libc_version
            assert match[3] == target.machine
    oldest = ".".join(map(str, target.libc_version))
    assert target.triple.endswith("-musl" if target.libc == "musllinux" else f".{oldest}")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"machine": 3}, "e_machine 3"),
        ({"flags": 0x200}, "floats in registers"),
        ({"needed": ("libc.so.6", "libgcc_s.so.1")}, "libgcc_s.so.1"),
        ({"versions": {"libc.so.6": ("GLIBC_2.4", "GLIBC_2.34")}}, r"2\.34.*2\.31"),
        ({"versions": {}}, "statically"),
    ],
)
def test_what_breaks_a_tag_is_refused(change: dict, reason: str) -> None:
    target = find_target("armv7l", "manylinux")
    assert target is not None
    (problem,) = build_wheels.problems(replace(good_for(target), **change), target)
    assert re.search(reason, problem)


def test_symbol_versions_are_refused_for_musl() -> None:
    target = find_target("aarch64", "musllinux")
    assert target is not None
    library = replace(good_for(target), versions={"libc.so": ("GLIBC_2.17",)})
    (problem,) = build_wheels.problems(library, target)
    assert "musl" in problem


def test_newest_version_counts_numbers() -> None:
    versions = {"libc.so.6": ("GLIBC_2.9", "GLIBC_2.17"), "libm.so.6": ("GLIBC_2.2.5",)}
    assert replace(GOOD["manylinux"], versions=versions).newest("GLIBC_") == (2, 17)


def readelf(*arguments: str) -> str:
    command = [require_program("readelf"), "-W", *arguments, str(library_path())]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_elf_files_are_read_as_readelf_does() -> None:
    library = read_library(library_path())
    dynamic = readelf("-d")
    assert set(library.needed) == set(re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic))
    assert library.soname == "libedgeinfer.so"
    assert library.bits == (64 if sys.maxsize > 2**32 else 32)
    versions = set(re.findall(r"Name: (\S+)", readelf("--version-info")))
    assert {version for found in library.versions.values() for version in found} == versions
    symbols = [line.split() for line in readelf("--dyn-syms").splitlines()]
    named = [words for words in symbols if len(words) == 8 and words[0].rstrip(":").isdigit()]
    exported = {words[7].partition("@")[0] for words in named if words[6] != "UND"}
    assert library.exported == exported
    assert "ei_model_open" in library.exported
    assert not library.imported & library.exported


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"PK\3\4" * 40, b"\x7fELF\2\1" + bytes(200)[:9]])
def test_what_is_no_library_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.so").write_bytes(data)
    with pytest.raises(ElfError):
        read_library(tmp_path / "x.so")


def test_a_damaged_library_is_refused(tmp_path: Path) -> None:
    data = bytearray(library_path().read_bytes())
    struct.pack_into("<Q", data, 40, len(data))  # section headers behind the end
    (tmp_path / "x.so").write_bytes(data)
    with pytest.raises(ElfError):
        read_library(tmp_path / "x.so")


def test_large_wheels_are_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "large.whl"
    wheel.write_bytes(bytes(build_wheels.MAX_WHEEL_BYTES))
    with pytest.raises(WheelError, match="400000"):
        build_wheels.check(wheel, TARGETS[0])


def test_checksums_are_those_of_sha256sum(tmp_path: Path) -> None:
    (tmp_path / "a.whl").write_bytes(b"one")
    (tmp_path / "b.whl").write_bytes(b"two")
    build_wheels.write_checksums(tmp_path)
    command = [require_program("sha256sum"), "-c", build_wheels.CHECKSUMS]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "a.whl: OK\nb.whl: OK\n"


def test_this_machine_has_a_target() -> None:
    target = wheel_targets.this_machine()
    if platform.machine() in ("x86_64", "aarch64"):
        assert target is not None
        assert target.machine == platform.machine()
        assert target.elf_machine == read_library(library_path()).machine


@pytest.mark.parametrize(
    ("variables", "programs", "expected"),
    [
        ({}, [], False),
        ({}, ["gcc"], True),
        ({"CC": "some-gcc"}, [], True),
        ({"CMAKE_ARGS": "-G Ninja -DCMAKE_TOOLCHAIN_FILE=x"}, [], True),
        ({"CMAKE_ARGS": "-DEI_WERROR=ON"}, [], False),
    ],
)
def test_a_compiler_is_there_when_cmake_would_find_one(
    variables: dict[str, str],
    programs: list[str],
    expected: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in programs:
        (tmp_path / name).touch(mode=0o755)
    for name in ("CC", "CMAKE_ARGS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    assert wheel_targets.has_c_compiler() == expected


def test_builds_without_a_compiler_ask_for_ziglang(
    repo_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_module("setuptools", "77")
    from tools import build_backend

    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("CMAKE_ARGS", raising=False)
    monkeypatch.chdir(repo_root)
    (tmp_path / "cc").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not any("ziglang" in need for need in build_backend.get_requires_for_build_wheel())
    (tmp_path / "cc").unlink()
    assert any("ziglang" in need for need in build_backend.get_requires_for_build_wheel())


def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def modules(wheel: Path) -> list[str]:
    return [name for name in names(wheel) if name.endswith(".py")]


def own_modules() -> list[str]:
    package = build_wheels.ROOT / "edgeinfer"
    found = {str(path.relative_to(package.parent)) for path in package.rglob("*.py")}
    return sorted(found | {"edgeinfer/_cdefs.py"})


def version(wheel: Path) -> str:
    return wheel.name.split("-")[1]


def needs(wheel: Path, extra: str = "") -> set[str]:
    """What a wheel asks for: always, or for an extra."""
    with zipfile.ZipFile(wheel) as archive:
        (info,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        metadata = email.message_from_bytes(archive.read(info))
    asked = [line.partition("; extra == ") for line in metadata.get_all("Requires-Dist", [])]
    return {need for need, _, found in asked if found.strip('"') == extra}


def conversion_without_the_converter(wheel: Path, site: Path) -> str:
    """What a user reads who has only a device's wheel."""
    shutil.unpack_archive(wheel, site, "zip")
    done = subprocess.run(
        [sys.executable, "-m", "edgeinfer", "convert", "model.tflite"],
        cwd=site, env={**os.environ, "PYTHONPATH": str(site), "PYTHONSAFEPATH": ""},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.slow
def test_a_foreign_wheel_is_built_twice_alike(tmp_path: Path) -> None:
    for module in ("ziglang", "cmake", "ninja", "cffi"):
        require_module(module)
    require_module("setuptools", "77")
    target = find_target("armv7l", "manylinux")  # tools/arm_test.py has compiled it already
    assert target is not None
    wheel = build_wheels.build_twice(target, tmp_path, None)
    assert wheel.name.endswith(f"-py3-none-{target.plat_name}.whl")
    with zipfile.ZipFile(wheel) as archive:
        library = read_library(Path(archive.extract(build_wheels.LIBRARY, tmp_path)))
    assert library.machine == target.elf_machine
    assert "libc.so.6" in library.needed
    parts = {part: build_wheels.build_part(part, tmp_path) for part in PARTS}
    assert all(made.name.endswith("-py3-none-any.whl") for made in parts.values())
    everything = [name for made in (wheel, *parts.values()) for name in modules(made)]
    assert sorted(everything) == sorted(own_modules(), key=str)
    assert not [name for name in names(wheel) if part_of(Path(name)) is not None]
    converter = parts[CONVERTER]
    page = {f"edgeinfer/convert/page/page.{kind}" for kind in ("css", "js")}
    profile = "edgeinfer/convert/plan/device_profiles/zen1.json"
    assert {*page, profile} <= set(names(converter)) and profile not in names(wheel)
    assert needs(wheel, "convert") >= {f"edgeinfer-convert=={version(wheel)}"}
    assert needs(wheel, "power") == {f"edgeinfer-power=={version(wheel)}"}
    assert needs(converter) >= {f"edgeinfer=={version(wheel)}"}
    assert needs(parts[POWER]) == {f"edgeinfer=={version(wheel)}"}
    assert "edgeinfer[convert]" in conversion_without_the_converter(wheel, tmp_path / "device")
    if nm := shutil.which("nm"):  # of this machine: reads symbols of any
        listed = subprocess.run(
            [nm, "-D", "--defined-only", str(tmp_path / build_wheels.LIBRARY)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert listed.returncode != 0 or len(library.exported) == len(listed.stdout.splitlines())
