#!/usr/bin/env python3
"""Test the ARM wheels as installed, on ARM systems under qemu: the bits are those of x86.

    python tools/arm_test.py           what `dev.py test` runs, in a few minutes
    python tools/arm_test.py --all     every CPU, more inputs, the whole suite of a device

Builds the wheels (tools/build_wheels.py), makes an arm64 and an armhf system in build/arm
(tools/arm_rootfs.py), installs the wheels there, and on each emulated CPU

1. hashes the outputs of every operator and of every model on every tier (tools/output_hashes.py),
   and compares with this machine's hashes, tier by tier;
2. runs the tests that make sense on a device.

The package is imported and run on an emulated x86-64 CPU without AVX too; `--all` runs the musl
wheels as well (tools/musl_test.py). Models are those of
EDGEINFER_MODELS, or ../shared/models; where these are absent, the examples in the repository only.
On the x86 side the short version takes the package that this Python imports, which
`tools/dev.py build` brings up to date, and `--all` the wheel.

Needs `qemu-user`, Debian's apt, a network for the first run, and the `dev` extra. Exit code 77 says
that something is missing here, and prints what to install.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import hashlib
import json
import os
import re
import resource
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tools import arm_rootfs, build_wheels, musl_test, processes, wheel_parts  # noqa: E402
from tools.arm_rootfs import ARM64, ARMHF, MissingToolError, System  # noqa: E402
from tools.wheel_targets import Target, find_target, find_zig  # noqa: E402

SKIPPED = 77
SHOWN_LINES = 80
DIST = arm_rootfs.BUILD / "dist"
SUITE = arm_rootfs.BUILD / "suite"
MODELS = arm_rootfs.BUILD / "models"
OPERATORS = arm_rootfs.BUILD / "operators"
LARGE_FILE = 512 << 10  # bytes; models above it run on fewer inputs
EXAMPLES = ("digits_float.onnx", "digits_int8.onnx")
NOT_CONVERTIBLE = 3  # exit code of `edgeinfer convert`
MANY, FEW = 12, 3  # inputs; twice as many of operators, a quarter of large models
JOBS = len(os.sched_getaffinity(0))

# As installed: the suite's folder has no package of its own.
SUITE_PARTS = ("cmake", "csrc", "examples", "tests", "tools")
SUITE_FILES = ("pyproject.toml",)

DEVICE_TESTS = ("tests/device", "tests/kernels")
ALL_DEVICE_TESTS = (*DEVICE_TESTS, "tests/core", "tests/ops")
# The short version leaves out what takes most of the time: pages that guard every end of a buffer,
# single large shapes, and elementwise operators one by one. Bits of large layers are among those of
# the models, which are compared on every tier.
QUICK_TESTS = (
    *DEVICE_TESTS,
    "--hypothesis-profile=quick",
    "-k",
    "not beyond_the_blocks and not many_channels and not many_pixels and not large_image"
    " and not no_byte_beside",
    "--ignore=tests/kernels/test_channel_ranges.py",
    "--ignore=tests/kernels/test_float_elementwise.py",
    "--ignore=tests/kernels/test_plain.py",
)
# What cannot be asked of an emulated system: programs that a test compiles would start on this
# machine's CPU, /proc/cpuinfo is this machine's, LD_PRELOAD would reach qemu itself; and a device
# does not have the extras that convert models and compile operators.
LEFT_OUT = (
    "--ignore=tests/core/test_embed.py",
    "--ignore=tests/device/test_custom_op.py",
    "--ignore=tests/device/test_text.py",
    "--deselect=tests/core/test_base.py::test_features_are_those_that_the_kernel_lists",
    "--deselect=tests/core/test_session.py::test_ten_thousand_runs_allocate_nothing",
    "--deselect=tests/device/test_load.py::test_source_model_is_converted_in_memory",
    "--deselect=tests/device/test_load.py::test_source_model_of_another_name_is_converted",
)

# Debian's numpy for 32 bit flushes subnormal numbers in its own vectors and has no ldexp by int64,
# so it cannot say what floats should be. Their bits are compared with those of x86 instead.
LEFT_OUT_ARMHF = (
    "--ignore=tests/kernels/test_float_elementwise.py",
    "--ignore=tests/kernels/test_float_reduction.py",
)


class Failure(Exception):
    """A test that did not pass."""


@dataclass(frozen=True)
class Machine:
    """An emulated CPU in a system."""

    system: System
    cpu: str
    tiers: tuple[str, ...]
    """What the library must find there, no less and no more."""
    quick: bool
    """Whether the short version has it."""

    @property
    def name(self) -> str:
        return f"{self.system.name} {self.cpu}"


# The nearest that qemu has: cortex-a53 is Pi 3, cortex-a72 is Pi 4, cortex-a76 is Pi 5, cortex-a7
# is Pi 2. A Cortex-A9 without NEON is the oldest that armhf systems run on.
MACHINES = (
    Machine(ARM64, "max", ("scalar", "neon", "dotprod", "i8mm"), quick=True),
    Machine(ARM64, "cortex-a53", ("scalar", "neon"), quick=True),
    Machine(ARM64, "cortex-a72", ("scalar", "neon"), quick=False),
    Machine(ARM64, "cortex-a76", ("scalar", "neon", "dotprod"), quick=False),
    Machine(ARMHF, "max", ("scalar", "neon"), quick=True),
    Machine(ARMHF, "cortex-a7", ("scalar", "neon"), quick=False),
    Machine(ARMHF, "cortex-a9,neon=off", ("scalar",), quick=True),
)
X86_CPU = "Nehalem"  # no AVX, and the oldest that numpy starts on

Hashes = dict[str, dict[str, str]]
"""By model, by tier."""


# --- what is tested -----------------------------------------------------------------------------


def target_of(machine: str) -> Target:
    target = find_target(machine, "manylinux")
    assert target is not None
    return target


def source_models() -> list[Path]:
    """The model files that outputs are compared on."""
    folder = Path(os.environ.get("EDGEINFER_MODELS", ROOT.parent / "shared" / "models"))
    found = [*sorted(folder.glob("*_int8.tflite")), *sorted(folder.glob("*_fp32.tflite"))]
    if not found:
        print(f"no models in {folder}: the repository's examples only", flush=True)
    return [*found, *(ROOT / "examples" / "digits" / name for name in EXAMPLES)]


def convert_models(package: Path) -> list[Path]:
    """The models as .edge files, converted on this machine."""
    MODELS.mkdir(parents=True, exist_ok=True)
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        made = list(pool.map(partial(convert_model, package), source_models()))
    return [edge for edge in made if edge is not None]


def convert_model(package: Path, source: Path) -> Path | None:
    """One of them; None for a float model that the converter does not take."""
    edge = MODELS / f"{source.stem}.edge"
    command: list[str | Path] = [sys.executable, "-m", "edgeinfer", "convert", source, "-o", edge]
    code, printed = attempt(command, own_environment(package))
    if code == NOT_CONVERTIBLE and "_fp32" in source.stem:
        print(f"  {source.name} is left out, it is not converted:\n{printed}", flush=True)
        return None
    if code:
        raise Failure(f"{printed}\n{source.name} was not converted (code {code})")
    return edge


def write_operators() -> list[Path]:
    """Small .edge files, at least one for every operator."""
    from tools.fuzz import operator_models

    shutil.rmtree(OPERATORS, ignore_errors=True)
    OPERATORS.mkdir(parents=True)
    paths = []
    for number, (operator, data) in enumerate(operator_models()):
        paths.append(OPERATORS / f"{number:03}_{operator}.edge")
        paths[-1].write_bytes(data)
    return paths


def copy_suite() -> None:
    """The tests, in a folder without the package, so that they meet the installed one."""
    shutil.rmtree(SUITE, ignore_errors=True)
    for path in build_wheels.source_files():
        relative = path.relative_to(ROOT)
        if relative.parts[0] in SUITE_PARTS or str(relative) in SUITE_FILES:
            copy = SUITE / relative
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)


# --- running ------------------------------------------------------------------------------------


def attempt(command: Sequence[str | Path], env: dict[str, str]) -> tuple[int, str]:
    """Exit code and output of a program, run where the installed package is the only one."""
    return processes.run(command, cwd=SUITE, env=env)


def run(command: Sequence[str | Path], otherwise: str, env: dict[str, str]) -> str:
    """What a program prints that has to succeed."""
    code, printed = attempt(command, env)
    if code != 0:
        shown = "\n".join(printed.splitlines()[-SHOWN_LINES:])
        raise Failure(f"{shown}\n{otherwise} (code {code})")
    return printed


def at_once(tasks: Sequence[Callable[[], str]]) -> None:
    """Run tasks, as many at a time as there are cores, and print what each has to say.

    The first that fails ends the others: none is started after it.
    """
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        started = [pool.submit(task) for task in tasks]
        try:
            for done in concurrent.futures.as_completed(started):
                print(f"  {done.result()}", flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@dataclass(frozen=True)
class Comparison:
    """What outputs are hashed of, and on how many inputs."""

    operators: Sequence[Path]
    models: Sequence[Path]
    inputs: int

    @property
    def small(self) -> Comparison:
        """Without the large models."""
        return replace(self, models=[m for m in self.models if m.stat().st_size < LARGE_FILE])

    @property
    def parts(self) -> list[tuple[Sequence[Path], int]]:
        """Files that share their number of inputs."""
        small = self.small.models
        large = [model for model in self.models if model not in small]
        parts = [(self.operators, 2 * self.inputs), (small, self.inputs)]
        return [*parts, (large, max(1, self.inputs // 4))]


def read_hashes(command: Sequence[str | Path], what: Comparison, env: dict[str, str]) -> Hashes:
    """Hash the outputs of files in another process."""
    hashes: Hashes = {}
    for files, inputs in what.parts:
        words = [*command, SUITE / "tools" / "output_hashes.py", *files, "--inputs", str(inputs)]
        printed = run(words, "models did not run", env) if files else ""
        for line in map(json.loads, printed.splitlines()):
            if line["refused"] == inputs or (line["refused"] and files is not what.operators):
                raise Failure(f"{line['model']}: {line['refused']} of {inputs} runs were refused")
            hashes.setdefault(line["model"], {})[line["tier"]] = line["sha256"]
    return hashes


def own_environment(*paths: Path | str) -> dict[str, str]:
    """Variables for a process of this machine that imports from `paths` first."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("EDGEINFER_")}
    return {**kept, "PYTHONPATH": os.pathsep.join(map(str, paths))}


def x86_hashes(what: Comparison, package: Path) -> Hashes:
    """This machine's own, on every tier of its CPU; they must agree among themselves."""
    print(f"SHA-256 of outputs over {what.inputs} inputs, on this machine:", flush=True)
    hashes = read_hashes([sys.executable], what, own_environment(package))
    for model, by_tier in hashes.items():
        if len(set(by_tier.values())) != 1:
            raise Failure(f"{model}: tiers of this machine disagree: {by_tier}")
    operators = {path.stem for path in what.operators}
    every = "".join(hashes[name]["scalar"] for name in sorted(operators))
    shown = {f"{len(operators)} operators": hashlib.sha256(every.encode()).hexdigest()}
    shown |= {m: tiers["scalar"] for m, tiers in hashes.items() if m not in operators}
    for name, digest in shown.items():
        print(f"  {name:<22} {digest}", flush=True)
    print(f"  on tiers {' '.join(next(iter(hashes.values())))}", flush=True)
    return hashes


def compare_hashes(where: str, found: Hashes, wanted: Hashes, tiers: Sequence[str]) -> None:
    """Every model must have this machine's hash on these tiers, and there must be no others."""
    for model, by_tier in found.items():
        if set(by_tier) != set(tiers):
            raise Failure(f"{where}: has tiers {', '.join(by_tier)}, not {', '.join(tiers)}")
        for tier, digest in by_tier.items():
            if digest != wanted[model]["scalar"]:
                raise Failure(f"{where}: {model} on tier {tier} gives {digest}, other than x86")


def run_tests(machine: Machine, tests: Sequence[str], **extra: str) -> str:
    """Run pytest in a system; what came of it, in a line."""
    start = time.monotonic()
    command = [str(machine.system.python), "-m", "pytest", "-q", *tests, *LEFT_OUT]
    command += ["-p", "no:cacheprovider", "-p", "no:xdist"]
    command += LEFT_OUT_ARMHF if machine.system == ARMHF else ()
    printed = run(
        command, f"{machine.name}: tests failed", machine.system.environment(machine.cpu, **extra)
    )
    last = re.sub(r" in [\d.]+s.*", "", printed.strip().splitlines()[-1].strip("= "))
    names = " ".join(f"{name}={value}" for name, value in extra.items())
    return f"{machine.name:<24} {last}, {time.monotonic() - start:.0f} s {names}"


def compare_machine(machine: Machine, what: Comparison, wanted: Hashes) -> str:
    """Compare one CPU's outputs with this machine's."""
    start = time.monotonic()
    env = machine.system.environment(machine.cpu)
    found = read_hashes([machine.system.python], what, env)
    compare_hashes(machine.name, found, wanted, machine.tiers)
    return _compared(machine.name, what, machine.tiers, start)


def compare_oldest_x86(what: Comparison, wanted: Hashes, package: Path) -> str:
    """Import and run the package on an x86-64 CPU without AVX."""
    start = time.monotonic()
    command = ["qemu-x86_64", "-cpu", X86_CPU, os.path.realpath(sys.executable)]
    env = own_environment(package, *(path for path in sys.path if path.endswith("-packages")))
    found = read_hashes(command, what, env)
    name = f"x86_64 {X86_CPU}"
    compare_hashes(name, found, wanted, ["scalar"])
    return _compared(name, what, ["scalar"], start)


def _compared(name: str, what: Comparison, tiers: Sequence[str], start: float) -> str:
    counts = f"{len(what.operators)} operators and {len(what.models)} models as here"
    return f"{name:<24} {counts}, {time.monotonic() - start:.0f} s, tiers {' '.join(tiers)}"


def prepare(systems: Sequence[System], everything: bool) -> Path:
    """Build and install the wheels; the folder to import this machine's package from."""
    zig = find_zig()
    if zig is None:
        raise MissingToolError("install the compiler: pip install ziglang")
    parts = [build_wheels.build_part(part, DIST) for part in wheel_parts.PARTS]

    def prepare_system(system: System) -> str:
        target = target_of(system.machine)
        arm_rootfs.make(system, zig, target.triple)
        wheel = build_wheels.build(target, DIST)
        arm_rootfs.install_wheels(system, [wheel, *parts], "--no-deps", "--force-reinstall")
        return f"{wheel.name}: {wheel.stat().st_size} bytes"

    at_once([partial(prepare_system, system) for system in systems])
    if not everything:
        return ROOT
    wheel = build_wheels.build(target_of("x86_64"), DIST)
    print(f"  {wheel.name}: {wheel.stat().st_size} bytes", flush=True)
    site = arm_rootfs.BUILD / "x86_64"
    shutil.rmtree(site, ignore_errors=True)
    for part in (wheel, *parts):
        shutil.unpack_archive(part, site, "zip")
    return site


def test(everything: bool) -> None:
    """The short version, or all of it.

    Raises
    ------
    Failure
        Something does not pass.
    MissingToolError
        Something is not installed here.
    """
    arm_rootfs.require_tools("apt-get", "dpkg-deb", "qemu-aarch64", "qemu-arm", "qemu-x86_64")
    machines = [machine for machine in MACHINES if everything or machine.quick]
    systems = list(dict.fromkeys(machine.system for machine in machines))

    print("wheels, and systems to install them in:", flush=True)
    package = prepare(systems, everything)
    copy_suite()
    what = Comparison(write_operators(), convert_models(package), MANY if everything else FEW)
    wanted = x86_hashes(what, package)
    fewer = replace(what, inputs=FEW)
    wanted_of_fewer = x86_hashes(fewer, package) if everything else wanted
    print("on emulated CPUs:", flush=True)
    tasks: list[Callable[[], str]] = []
    for number, machine in enumerate(machines):
        # Bits differ by tier, not by CPU: the short version runs the large models on one CPU, the
        # long one runs most inputs on the two CPUs that have every tier.
        if everything and machine.cpu != "max":
            tasks.append(partial(compare_machine, machine, fewer, wanted_of_fewer))
        else:
            part = what if everything or number == 0 else what.small
            tasks.append(partial(compare_machine, machine, part, wanted))
    for system in systems:
        machine = next(machine for machine in machines if machine.system == system)
        tasks.append(partial(run_tests, machine, ALL_DEVICE_TESTS if everything else QUICK_TESTS))
        for tier in machine.tiers if everything else ():
            tasks.append(partial(run_tests, machine, ["tests/device"], EDGEINFER_TIER=tier))
    tasks.append(partial(compare_oldest_x86, what.small, wanted, package))
    for musl in musl_test.MACHINES if everything else ():
        tasks.append(partial(musl_test.test_machine, musl, what.small.models, DIST))
    at_once(tasks)


def main() -> int:
    """Run from the command line."""
    summary, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--all", action="store_true", help="the complete matrix")
    arguments = parser.parse_args()
    start = time.monotonic()
    try:
        test(arguments.all)
    except MissingToolError as error:
        print(f"arm_test.py: skipped: {error}")
        return SKIPPED
    except (
        Failure,
        musl_test.Failure,
        arm_rootfs.RootfsError,
        build_wheels.WheelError,
    ) as error:
        print(f"arm_test.py: {error}", file=sys.stderr)
        return 1
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime
    print(f"all as on x86, {time.monotonic() - start:.0f} s, {cpu:.0f} s of one core")
    return 0


if __name__ == "__main__":
    sys.exit(main())
