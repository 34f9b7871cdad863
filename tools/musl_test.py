#!/usr/bin/env python3
"""Run the musl wheels with musl's own loader: the bits are those of this machine's library.

    python tools/musl_test.py                      both wheels: x86_64, and aarch64 under qemu
    python tools/musl_test.py --machine x86_64     one of them
    python tools/musl_test.py kws.edge vww.edge    these models as well

For each machine it builds the musllinux wheel (tools/build_wheels.py), lets pip unpack it as for a
system of its tag, and unpacks Debian's package `musl`, the C library itself, without installing it.
Two programs are compiled for musl with `ziglang` and run in that C library alone:

1. tools/musl_run.c loads the wheel's library with dlopen, as Python does, and runs every operator,
   the example models and those that are named, on each tier of the CPU, on one thread and on two;
   outputs must be those of the package that this Python imports, byte for byte;
2. examples/embed.c is linked with it, as C programs are, and runs an example model.

What it cannot say is how Python itself does on musl: no CPython for musl can be had from Debian or
PyPI. Needs Debian's apt, a network for the first run, qemu-user for aarch64, and the `dev` extra.
Exit code 77 says that something is missing here, and prints what to install.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tools import arm_rootfs, build_wheels, processes  # noqa: E402
from tools.arm_rootfs import MissingToolError  # noqa: E402
from tools.output_hashes import feeds, tiers  # noqa: E402
from tools.wheel_targets import Target, find_target, find_zig  # noqa: E402

import edgeinfer  # noqa: E402  isort: skip

SKIPPED = 77
INPUTS = 6  # runs of each file; constant, smooth and random ones twice
THREADS = (1, 2)
EXAMPLES = ("digits_float.onnx", "digits_int8.onnx")
RUNNER = ROOT / "tools" / "musl_run.c"
EMBED = ROOT / "examples" / "embed.c"


class Failure(Exception):
    """A wheel whose library does not run on musl, or gives other bits there."""


@dataclass(frozen=True)
class Machine:
    """One architecture that musl wheels are made for."""

    name: str
    """As pip's tags call it."""
    debian: str
    qemu: str | None
    """The emulator, where it is not this machine's own architecture."""
    tiers: tuple[str, ...]
    """What the library must find there; () for those of this machine."""

    @property
    def target(self) -> Target:
        target = find_target(self.name, "musllinux")
        assert target is not None
        return target

    @property
    def folder(self) -> Path:
        return arm_rootfs.BUILD / f"musl-{self.debian}"

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def loader(self) -> Path:
        return self.root / "lib" / f"ld-musl-{self.name}.so.1"


MACHINES = (
    Machine("x86_64", "amd64", None, ()),
    Machine("aarch64", "arm64", "qemu-aarch64", ("scalar", "neon", "dotprod", "i8mm")),
)


# --- making -------------------------------------------------------------------------------------


def require(machine: Machine, zig: Path | None) -> Path:
    """The compiler; raises MissingToolError where that or a program is missing."""
    arm_rootfs.require_tools("apt-get", "dpkg-deb", *([machine.qemu] if machine.qemu else []))
    if machine.qemu is None and os.uname().machine != machine.name:
        raise MissingToolError(f"the {machine.name} wheel runs on {machine.name} machines only")
    if zig is None:
        raise MissingToolError("install the compiler: pip install ziglang")
    return zig


def make_root(machine: Machine) -> None:
    """Bring musl into its folder, unless it is there already."""
    with processes.exclusive(arm_rootfs.LOCK):
        if not machine.loader.exists():
            shutil.rmtree(machine.folder, ignore_errors=True)
            arm_rootfs.unpack_packages(machine.debian, ("musl",), machine.root)
    if not machine.loader.exists():
        raise arm_rootfs.RootfsError(f"Debian's package musl has no {machine.loader.name}")


def install(machine: Machine, wheel: Path, folder: Path) -> Path:
    """Let pip unpack the wheel as for a musl system, which checks its tags; the library in it."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--target", str(folder), "--no-deps", "--only-binary=:all:", "--no-compile"]
    command += ["--platform", *machine.target.tags, "--implementation", "py", str(wheel)]
    arm_rootfs.run(command, f"pip does not take {wheel.name} for {machine.target.tags[0]}")
    return folder / build_wheels.LIBRARY


def compile_program(machine: Machine, zig: Path, source: Path, folder: Path, *words: str) -> Path:
    """A dynamic program for musl. Its libraries are looked for beside it."""
    program = folder / source.stem
    command: list[str | Path] = [zig, "cc", "-target", machine.target.triple, "-dynamic"]
    command += ["-std=gnu11", "-O1"]
    command += ["-Wall", "-Werror", f"-I{ROOT / 'csrc' / 'include'}", source, *words]
    arm_rootfs.run([*command, "-o", program], f"{source.name} does not compile for musl")
    return program


def write_files(folder: Path) -> list[Path]:
    """Small .edge files, at least one for every operator, and the examples."""
    from tools.fuzz import operator_models

    folder.mkdir()
    paths = []
    for number, (operator, data) in enumerate(operator_models()):
        paths.append(folder / f"{number:03}_{operator}.edge")
        paths[-1].write_bytes(data)
    for name in EXAMPLES:
        path = (folder / name).with_suffix(".edge")
        source = ROOT / "examples" / "digits" / name
        command: list[str | Path] = [sys.executable, "-m", "edgeinfer", "convert", source]
        arm_rootfs.run([*command, "-o", path], f"{name} was not converted")
        paths.append(path)
    return paths


# --- running ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A model with inputs, and what must come out."""

    model: Path
    inputs: Path
    wanted: bytes


def make_case(model: Path, count: int, folder: Path) -> Case:
    """Run a model with the package that this Python imports."""
    fed, wanted = bytearray(), bytearray()
    with edgeinfer.load(model) as loaded:
        for feed in feeds(loaded, count):
            for array in feed.values():
                fed += np.ascontiguousarray(array).tobytes()
            try:
                outputs = loaded.run(feed)
            except edgeinfer.EdgeInferError:
                wanted.append(1)
                continue
            wanted.append(0)
            for array in outputs.values() if isinstance(outputs, dict) else [outputs]:
                wanted += np.ascontiguousarray(array).tobytes()
    inputs = folder / f"{model.stem}.in"
    inputs.write_bytes(fed)
    return Case(model, inputs, bytes(wanted))


def run_on_musl(machine: Machine, words: Sequence[str | Path], jobs: str = "", **more: str) -> str:
    """What a program prints that musl's loader starts, in an environment of its own."""
    command: list[str | Path] = [machine.loader, *words]
    if machine.qemu:
        command = [machine.qemu, "-cpu", "max", "-L", machine.root, *command]
    environment = {"PATH": os.environ["PATH"], **more}
    code, printed = processes.run(command, env=environment, given=jobs)
    if code:
        raise Failure(f"{printed}\n{machine.name}: {Path(words[0]).name} ended with code {code}")
    return printed


def musl_version(machine: Machine) -> str:
    """As the loader says it when it is given nothing to load."""
    command: list[str | Path] = [machine.loader]
    if machine.qemu:
        command = [machine.qemu, "-L", machine.root, *command]
    _, printed = processes.run(command)
    found = re.search(r"^musl libc.*\nVersion ([\d.]+)", printed, re.MULTILINE)
    if found is None:
        raise Failure(f"{machine.loader} is not musl's loader: {printed!r}")
    return found[1]


def compare(
    machine: Machine, program: Path, library: Path, cases: Sequence[Case], folder: Path
) -> tuple[list[str], str]:
    """Run all files on every tier and number of threads; the tiers, and the hash of all outputs.

    Raises
    ------
    Failure
        A byte differs, or the library finds other tiers than the CPU has.
    """
    found = run_on_musl(machine, [program, library, "TIERS"]).split()
    expected = list(machine.tiers or tiers())
    if sorted(found) != sorted(expected):
        raise Failure(f"{machine.name}: has tiers {', '.join(found)}, not {', '.join(expected)}")
    for tier in found:
        for threads in THREADS:
            outputs = {case: folder / f"{case.model.stem}.out" for case in cases}
            jobs = [
                f"{INPUTS} {case.model} {case.inputs} {output}\n"
                for case, output in outputs.items()
            ]
            # Every step is shared among the threads, however short.
            words: list[str | Path] = [program, library, tier, str(threads)]
            run_on_musl(machine, words, "".join(jobs), EDGEINFER_PART_WORK="1")
            for case, output in outputs.items():
                if output.read_bytes() != case.wanted:
                    where = f"{machine.name} on tier {tier}, {threads} threads"
                    raise Failure(f"{where}: {case.model.stem} gives other bytes than here")
                output.unlink()
    return found, hashlib.sha256(b"".join(case.wanted for case in cases)).hexdigest()


def run_embed(machine: Machine, program: Path, case: Case, folder: Path) -> None:
    """Run the C example once on the first input of a case."""
    output = folder / "embed.out"
    run_on_musl(machine, [program, case.model, case.inputs, output])
    first = case.wanted[1 : 1 + (len(case.wanted) - INPUTS) // INPUTS]
    if output.read_bytes() != first:
        raise Failure(f"{machine.name}: embed.c gives other bytes than Python here")


def test_machine(machine: Machine, models: Sequence[Path], out: Path) -> str:
    """Build, install and run one machine's wheel; what came of it, in a line.

    Raises
    ------
    MissingToolError
        Something is not installed here.
    Failure
        The wheel does not pass.
    """
    zig = require(machine, find_zig())
    make_root(machine)
    wheel = build_wheels.build(machine.target, out)
    with tempfile.TemporaryDirectory(prefix="edgeinfer-musl-") as temporary:
        folder = Path(temporary)
        library = install(machine, wheel, folder / "site")
        runner = compile_program(machine, zig, RUNNER, folder)
        linked = [str(library), "-Wl,-rpath,$ORIGIN/site/edgeinfer"]
        embed = compile_program(machine, zig, EMBED, folder, *linked)
        files = [*write_files(folder / "files"), *models]
        cases = [make_case(path, INPUTS, folder) for path in files]
        found, digest = compare(machine, runner, library, cases, folder)
        example = next(case for case in cases if case.model.stem == "digits_int8")
        run_embed(machine, embed, example, folder)
    version = musl_version(machine)
    return (
        f"{wheel.name}: {wheel.stat().st_size} bytes, musl {version}; {len(files)} files as here, "
        f"tiers {' '.join(found)}, {' and '.join(map(str, THREADS))} threads, SHA-256 {digest}"
    )


def main() -> int:
    """Run from the command line."""
    summary, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL.edge")
    parser.add_argument("--machine", choices=[machine.name for machine in MACHINES])
    arguments = parser.parse_args()
    try:
        for machine in MACHINES:
            if arguments.machine in (None, machine.name):
                models = [path.resolve() for path in arguments.models]
                print(test_machine(machine, models, arm_rootfs.BUILD / "dist"), flush=True)
    except MissingToolError as error:
        print(f"musl_test.py: skipped: {error}")
        return SKIPPED
    except (Failure, arm_rootfs.RootfsError, build_wheels.WheelError) as error:
        print(f"musl_test.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
