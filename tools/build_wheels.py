#!/usr/bin/env python3
"""Build the wheel of any platform from this machine, and check that it keeps what its tag says.

    python tools/build_wheels.py --target aarch64
    python tools/build_wheels.py --target x86_64 --libc musllinux
    python tools/build_wheels.py --part convert
    python tools/build_wheels.py --all --out dist

A platform's wheel holds what a device needs; the converter and what measures power have wheels of
their own, for every platform (tools/wheel_parts.py).

The compiler is the one in the Python package `ziglang`, which brings every C library along; nothing
is installed on the system. `--cc` takes another one, a GCC cross compiler say, whose C library then
decides how old a system may be. A wheel is refused when its library wants a newer C library than
the tag promises, when it is over 400 KB, or when a second build gives other bytes (`--twice`).

Needs setuptools, cmake, ninja, cffi and ziglang: all of them in the `dev` extra.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tools import processes, wheel_parts  # noqa: E402
from tools.elf import SharedLibrary, read_library  # noqa: E402
from tools.wheel_targets import TARGETS, Target, find_target, find_zig, zig_options  # noqa: E402

MAX_WHEEL_BYTES = 400_000
LIBRARY = "edgeinfer/libedgeinfer.so"
TREES = ROOT / "build" / "wheels"
CHECKSUMS = "SHA256SUMS"

# Zip files cannot hold a time before this one; without a commit, all files are from it.
_FIRST_ZIP_TIME = 315_532_800
_HARD_FLOAT = 0x400

# What may be linked: the C library, under the names that it has had.
_SYSTEM_LIBRARIES = {
    "manylinux": {"libc.so.6", "libm.so.6", "libpthread.so.0"}
    | {"ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", "ld-linux-armhf.so.3"},
    "musllinux": {"libc.so"},
}

_BUILD = """
import sys
from setuptools import build_meta
out, *options = sys.argv[1:]
build_meta.build_wheel(out, {"--build-option": options})
"""


class WheelError(Exception):
    """A wheel that could not be built, or must not be published."""


# --- building -----------------------------------------------------------------------------------


def source_files() -> list[Path]:
    """What a build reads: the files of the repository or, outside of one, all but what is made."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        names = [ROOT / os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    else:
        made = ("build", "dist", ".venv", "__pycache__")
        names = [p for p in ROOT.rglob("*") if not set(p.relative_to(ROOT).parts) & set(made)]
    return sorted(path for path in names if path.is_file())


@contextmanager
def clean_tree(name: str = "") -> Iterator[Path]:
    """A copy of the sources, with the same modes whatever the umask was that they came with.

    zig takes from its cache what it compiled from the same files before: under a `name`, the copy
    is kept and brought up to date, and only what changed is compiled. Without one, all is.
    """
    if not name:
        with tempfile.TemporaryDirectory(prefix="edgeinfer-wheel-") as folder:
            tree = Path(folder) / "edgeinfer"
            copy_sources(tree)
            yield tree
        return
    with processes.exclusive(TREES / f"{name}.lock"):
        copy_sources(TREES / name)
        yield TREES / name


def copy_sources(tree: Path) -> None:
    """Make a folder hold the sources and nothing else; a file with the right bytes is left."""
    copies = {tree / path.relative_to(ROOT): path for path in source_files()}
    for old in [path for path in tree.rglob("*") if path.is_file() or path.is_symlink()]:
        if old not in copies:
            old.unlink()
    for copy, path in copies.items():
        if not copy.is_file() or copy.read_bytes() != path.read_bytes():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.unlink(missing_ok=True)
            shutil.copyfile(path, copy)
        copy.chmod(0o644)


def source_date() -> str:
    """SOURCE_DATE_EPOCH: the environment's, or the time of the last commit."""
    if "SOURCE_DATE_EPOCH" in os.environ:
        return os.environ["SOURCE_DATE_EPOCH"]
    log = subprocess.run(
        ["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return log.stdout.strip() or str(_FIRST_ZIP_TIME)


def compiler_options(target: Target, cc: str | None) -> tuple[list[str], dict[str, str]]:
    """Options for CMake, and variables for its environment."""
    if cc is not None:
        if shutil.which(shlex.split(cc)[0]) is None:
            raise WheelError(f"no such compiler: {cc}")
        options = []
        if target.gcc is not None:
            file = ROOT / "cmake" / "toolchains" / f"{target.gcc}.cmake"
            options = [f"-DCMAKE_TOOLCHAIN_FILE={file}"]
        return options, {"CC": cc}
    zig = find_zig()
    if zig is None:
        raise WheelError(
            "the compiler is missing: `pip install ziglang`, or name one with --cc "
            "(Debian: gcc-aarch64-linux-gnu, gcc-arm-linux-gnueabihf)"
        )
    cached = f"-DCMAKE_PROJECT_INCLUDE={ROOT / 'cmake' / 'toolchains' / 'no_depfiles.cmake'}"
    return [*zig_options(zig, target), cached], {}


def build(target: Target, out: Path, cc: str | None = None, *, anew: bool = False) -> Path:
    """Build and check the wheel of `target` into `out`; `anew` compiles all of it again.

    Raises
    ------
    WheelError
        It could not be built, or does not keep what its tags say.
    """
    options, variables = compiler_options(target, cc)
    scripts = sysconfig.get_path("scripts")
    environment = {name: text for name, text in os.environ.items() if name != "CC"}
    environment |= variables | {
        "CMAKE_ARGS": shlex.join([*options, "-DEI_EVERY_TIER=ON"]),
        "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}",
        "SOURCE_DATE_EPOCH": source_date(),
    }
    with clean_tree("" if anew else f"{target.machine}-{target.libc}") as tree:
        wheel_parts.make_device_tree(tree)
        with _built(tree, environment, "--plat-name", target.plat_name) as made:
            check(made, target)
            return _keep(made, out)


def build_part(part: wheel_parts.Part, out: Path) -> Path:
    """Build the wheel of a part, which is the same for every platform, into `out`."""
    environment = os.environ | {"SOURCE_DATE_EPOCH": source_date()}
    with clean_tree() as tree:
        wheel_parts.make_part_tree(tree, part)
        with _built(tree, environment) as made:
            return _keep(made, out)


@contextmanager
def _built(tree: Path, environment: dict[str, str], *options: str) -> Iterator[Path]:
    """The wheel that a tree makes."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", _BUILD, folder, *options]
        code, printed = processes.run(command, cwd=tree, env=environment)
        if code != 0:
            raise WheelError(f"{printed}\nbuilding with {options} failed, see above")
        (made,) = Path(folder).glob("*.whl")
        yield made


def _keep(made: Path, out: Path) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copyfile(made, out / made.name))


# --- checking -----------------------------------------------------------------------------------


def check(wheel: Path, target: Target) -> SharedLibrary:
    """Hold a wheel against its target; gives what its library asks of a system.

    Raises
    ------
    WheelError
        It is too large, or would not load on every system that its tags name.
    """
    if (size := wheel.stat().st_size) >= MAX_WHEEL_BYTES:
        raise WheelError(f"{wheel.name} has {size} bytes; wheels stay below {MAX_WHEEL_BYTES}")
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        library = read_library(Path(archive.extract(LIBRARY, folder)))
    for problem in problems(library, target):
        raise WheelError(f"{wheel.name}: {problem}")
    # For musl it would look for libc.so on this machine, where that may be a linker's script.
    if target.libc == "manylinux" and importlib.util.find_spec("auditwheel"):
        _ask_auditwheel(wheel, target)
    return library


def problems(library: SharedLibrary, target: Target) -> Iterator[str]:
    """Why a library would not load everywhere where the target's tags say that it does."""
    if library.machine != target.elf_machine:
        yield f"its library is for e_machine {library.machine}, not {target.elf_machine}"
    if target.machine == "armv7l" and not library.flags & _HARD_FLOAT:
        yield "its library does not pass floats in registers, as armhf systems do"
    foreign = set(library.needed) - _SYSTEM_LIBRARIES[target.libc]
    if foreign:
        yield f"its library wants {', '.join(sorted(foreign))}"
    if target.libc == "musllinux":
        if library.versions:
            yield "its library has symbol versions, which musl does not know"
        return
    wanted = library.newest("GLIBC_")
    if not wanted:
        yield "its library wants nothing of glibc; was it linked statically?"
    if wanted > target.libc_version:
        needs, has = (".".join(map(str, v)) for v in (wanted, target.libc_version))
        yield f"its library wants glibc {needs}, its tag promises {has}; compile with zig"


def _ask_auditwheel(wheel: Path, target: Target) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "auditwheel", "show", str(wheel)],
        capture_output=True,
        text=True,
        check=False,
    )
    # It names the oldest C library that will do, which may be older than the tag's.
    found = re.search(r'"manylinux_(\d+)_(\d+)_(\w+)"', done.stdout)
    if (
        found is None
        or found[3] != target.machine
        or (int(found[1]), int(found[2])) > target.libc_version
    ):
        raise WheelError(f"auditwheel does not find {target.plat_name}: {done.stdout}{done.stderr}")


def build_twice(target: Target, out: Path, cc: str | None) -> Path:
    """Build, and build again elsewhere and from nothing: the bytes must be the same."""
    wheel = build(target, out, cc)
    with tempfile.TemporaryDirectory() as folder:
        again = build(target, Path(folder), cc, anew=True)
        if again.read_bytes() != wheel.read_bytes():
            raise WheelError(f"{wheel.name} has other bytes when it is built again")
    return wheel


def write_checksums(folder: Path) -> None:
    """List the wheels of a folder for `sha256sum -c`."""
    lines = [f"{sha256(wheel)}  {wheel.name}\n" for wheel in sorted(folder.glob("*.whl"))]
    (folder / CHECKSUMS).write_text("".join(lines))


def sha256(path: Path) -> str:
    """Of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _report(wheel: Path) -> None:
    print(f"{sha256(wheel)}  {wheel.stat().st_size:7}  {wheel.name}", flush=True)


def main() -> int:
    """Run from the command line."""
    summary, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--target", choices=sorted({t.machine for t in TARGETS}))
    which.add_argument(
        "--part",
        choices=[part.extra for part in wheel_parts.PARTS],
        help="a wheel for every platform",
    )
    which.add_argument("--all", action="store_true", help="every wheel that is published")
    parser.add_argument("--libc", choices=("manylinux", "musllinux"), default="manylinux")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", metavar="FOLDER")
    parser.add_argument("--cc", metavar="COMMAND", help="a compiler for the target, not zig")
    parser.add_argument("--twice", action="store_true", help="build again and compare the bytes")
    arguments = parser.parse_args()
    if arguments.all or arguments.part:
        targets = list(TARGETS) if arguments.all else []
    else:
        one = find_target(arguments.target, arguments.libc)
        if one is None:
            parser.error(f"no wheels for {arguments.target} with {arguments.libc}")
        targets = [one]
    try:
        for target in targets:
            maker = build_twice if arguments.twice else build
            _report(maker(target, arguments.out, arguments.cc))
        for part in wheel_parts.PARTS:
            if arguments.all or arguments.part == part.extra:
                _report(build_part(part, arguments.out))
        write_checksums(arguments.out)
    except WheelError as error:
        print(f"build_wheels.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
