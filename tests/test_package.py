"""What the wheel, the source distribution and the installed C library hold."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.made_once import made_once
from tests.requirements import require_module, require_program
from tools.build_wheels import MAX_WHEEL_BYTES
from tools.wheel_parts import part_of

ROOT = Path(__file__).resolve().parent.parent
HEADER = ROOT / "csrc" / "include" / "edgeinfer.h"
OPERATORS = ROOT / "csrc" / "ops" / "operators.def"
MADE_OR_LINKED = {f"edgeinfer/{name}" for name in ("_cdefs.py", "libedgeinfer.so", "operators.def")}

# What pip asks of the backend, without an environment of its own for each build.
BACKEND = "import sys; from setuptools import build_meta as b; getattr(b, sys.argv[1])(sys.argv[2])"

# The library must not end the process, print, or check with assert, whatever a model file holds.
FORBIDDEN_SYMBOLS = {
    "__assert_fail",
    "abort",
    "exit",
    "_exit",
    "printf",
    "puts",
    "putchar",
    "perror",
    "fprintf",
    "fputs",
    "vfprintf",
    "stdout",
    "stderr",
}


def run(*command: str | Path, cwd: Path = ROOT, **variables: str) -> str:
    result = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def declared_version() -> str:
    match = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert match is not None
    return match[1]


@pytest.fixture(scope="module")
def source_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a build reads, so that building disturbs nothing in the checkout."""
    tree = tmp_path_factory.mktemp("source") / "edgeinfer"
    leave_out = shutil.ignore_patterns(
        *("build", "dist", ".venv", ".git", "__pycache__", "*.egg-info", ".*_cache"),
        *("*.so", "*.so.*", "_cdefs.py"),
    )
    shutil.copytree(ROOT, tree, symlinks=True, ignore=leave_out)
    return tree


@pytest.fixture(scope="module")
def sdist(source_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_module("setuptools", "77")

    def build(out: Path) -> None:
        run(sys.executable, "-c", BACKEND, "build_sdist", out, cwd=source_tree)

    (archive,) = made_once("sdist", tmp_path_factory, build).glob("*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the source distribution, so that this one is shown to be complete."""
    require_program("cmake")

    def build(out: Path) -> None:
        with tarfile.open(sdist) as archive:
            archive.extractall(out, filter="data")
        (tree,) = out.glob("edgeinfer-*/")
        run(sys.executable, "-c", BACKEND, "build_wheel", out, cwd=tree)

    (built,) = made_once("wheel", tmp_path_factory, build).glob("*.whl")
    return built


def test_sdist_holds_the_operator_list_as_a_file(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        members = {m.name.partition("/")[2]: m for m in archive.getmembers()}
        assert members["edgeinfer/operators.def"].isreg()
        content = archive.extractfile(members["edgeinfer/operators.def"])
        assert content is not None
        assert content.read() == OPERATORS.read_bytes()
    assert {"CMakeLists.txt", "LICENSE", "cmake/kernel_tiers.cmake"} <= members.keys()
    assert "csrc/include/edgeinfer.h" in members
    assert not [name for name in members if name.endswith((".so", ".pyc"))]


@pytest.mark.slow
def test_wheel_is_one_for_every_python(wheel: Path) -> None:
    name, version, python, abi, platform = wheel.stem.split("-")
    assert (name, version) == ("edgeinfer", declared_version())
    assert (python, abi) == ("py3", "none")
    assert platform != "any"
    with zipfile.ZipFile(wheel) as archive:
        (info,) = [n for n in archive.namelist() if n.endswith(".dist-info/WHEEL")]
        tags = email.message_from_bytes(archive.read(info))
    assert tags["Root-Is-Purelib"] == "false"
    assert tags["Tag"] == f"{python}-{abi}-{platform}"


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        assert archive.read("edgeinfer/operators.def") == OPERATORS.read_bytes()
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "edgeinfer").rglob("*.py")}
    parts = {f"edgeinfer/convert/page/page.{kind}" for kind in ("css", "js")}
    parts |= {str(path.relative_to(ROOT)) for path in (ROOT / "edgeinfer").rglob("*.json")}
    expected = modules | parts | MADE_OR_LINKED | {"edgeinfer/py.typed"}
    assert {name for name in names if ".dist-info/" not in name} == expected


def test_device_part_of_the_wheel_is_small(wheel: Path) -> None:
    """tools/build_wheels.py holds the published wheels, which have no more, to the same."""
    with zipfile.ZipFile(wheel) as archive:
        parts = [i for i in archive.infolist() if part_of(Path(i.filename)) is None]
    assert sum(info.compress_size for info in parts) < MAX_WHEEL_BYTES


def test_wheel_needs_numpy_and_cffi_only(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (info,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(archive.read(info))
        entry_points = archive.read(info.replace("METADATA", "entry_points.txt")).decode()
    needs = metadata.get_all("Requires-Dist", [])
    base = {re.split(r"[<>=~ ;\[]", need)[0] for need in needs if "extra ==" not in need}
    assert base == {"numpy", "cffi"}
    assert "edgeinfer = edgeinfer.cli:main" in entry_points


def test_library_exports_what_the_header_declares(wheel: Path, tmp_path: Path) -> None:
    nm = require_program("nm")
    with zipfile.ZipFile(wheel) as archive:
        library = archive.extract("edgeinfer/libedgeinfer.so", tmp_path)
    defined = run(nm, "-D", "--defined-only", library).splitlines()
    exported = {line.split()[-1] for line in defined}
    declared = set(re.findall(r"EI_API\b[^;{]*?\b(ei_\w+)\s*\(", HEADER.read_text()))
    assert declared
    assert exported == declared

    wanted = run(nm, "-D", "--undefined-only", library).splitlines()
    symbols = {line.split()[-1].partition("@")[0].removesuffix("_chk") for line in wanted}
    symbols |= {s.removeprefix("__") for s in symbols}
    assert not symbols & FORBIDDEN_SYMBOLS


def test_library_needs_the_c_library_only(wheel: Path, tmp_path: Path) -> None:
    readelf = require_program("readelf")
    with zipfile.ZipFile(wheel) as archive:
        library = archive.extract("edgeinfer/libedgeinfer.so", tmp_path)
    dynamic = run(readelf, "-dW", library)
    needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic))
    system = r"lib(c|m|pthread)\.(so\.\d+|musl-.*)|ld-(linux|musl).*"
    assert all(re.fullmatch(system, name) for name in needed), needed
    assert re.search(r"\(SONAME\).*\[libedgeinfer\.so\]", dynamic)


PROGRAM = """
#include <edgeinfer.h>
#include <stdio.h>

int main(void) {
    puts(ei_version());
    return 0;
}
"""

CONSUMER = """
cmake_minimum_required(VERSION 3.20)
project(consumer C)
find_package(edgeinfer {version} REQUIRED)
add_executable(with_shared main.c)
target_link_libraries(with_shared PRIVATE edgeinfer::edgeinfer)
add_executable(with_static main.c)
target_link_libraries(with_static PRIVATE edgeinfer::edgeinfer_static)
"""


def test_find_package_gives_both_libraries(installed_library: Path, tmp_path: Path) -> None:
    cmake = require_program("cmake")
    (tmp_path / "main.c").write_text(PROGRAM)
    (tmp_path / "CMakeLists.txt").write_text(CONSUMER.format(version=declared_version()))
    build = tmp_path / "build"
    run(
        cmake,
        "-S",
        tmp_path,
        "-B",
        build,
        "-G",
        "Ninja",
        f"-DCMAKE_PREFIX_PATH={installed_library}",
    )
    run(cmake, "--build", build)
    assert run(build / "with_shared").strip() == declared_version()
    assert run(build / "with_static").strip() == declared_version()


def test_pkg_config_file_is_relocatable(installed_library: Path, tmp_path: Path) -> None:
    (description,) = installed_library.rglob("edgeinfer.pc")
    assert str(installed_library.parent) not in description.read_text()
    pkg_config = require_program("pkg-config")
    flags = run(
        *(pkg_config, "--cflags", "--libs", "edgeinfer"), PKG_CONFIG_PATH=str(description.parent)
    ).split()
    (tmp_path / "main.c").write_text(PROGRAM)
    run(require_program("cc"), tmp_path / "main.c", "-o", tmp_path / "program", *flags)
    (library,) = installed_library.rglob("libedgeinfer.so")
    output = run(tmp_path / "program", LD_LIBRARY_PATH=str(library.parent))
    assert output.strip() == declared_version()


def test_build_fails_loudly_without_a_compiler(source_tree: Path, tmp_path: Path) -> None:
    require_program("cmake")
    require_module("setuptools", "77")
    command = [sys.executable, "setup.py", "build_py", "--build-lib", str(tmp_path)]
    result = subprocess.run(
        command,
        cwd=source_tree,
        env={**os.environ, "CC": str(tmp_path / "no-such-compiler")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert "C11 compiler" in result.stdout
