#!/usr/bin/env python3
"""Test the ARM wheels as installed, on ARM systems under qemu: the bits are those of x86.

    python tools/arm_test.py           what `dev.py test` runs, in a few minutes
    python tools/arm_test.py --all     every CPU, more inputs, the whole suite of a device

Builds the wheels (tools/build_wheels.py), makes an arm64 and an armhf system in build/arm
(tools/arm_rootfs.py), installs the wheels there, and on each emulated CPU

1. hashes the outputs of every model on every tier (tools/output_hashes.py), and compares with this
   machine's hashes, tier by tier;
2. runs the tests that make sense on a device.

The x86-64 wheel is imported and run on an emulated CPU without AVX. Models are those of
EDGEINFER_MODELS, or ../shared/models; where these are absent, the example in the repository only.

Needs `qemu-user`, Debian's apt, a network for the first run, and the `dev` extra. Exit code 77 says
that something is missing here, and prints what to install.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tools import arm_rootfs, build_wheels  # noqa: E402
from tools.arm_rootfs import ARM64, ARMHF, MissingToolError, System  # noqa: E402
from tools.wheel_targets import Target, find_target, find_zig  # noqa: E402

SKIPPED = 77
SHOWN_LINES = 80
SUITE = arm_rootfs.BUILD / "suite"
MODELS = arm_rootfs.BUILD / "models"
LARGE_FILE = 1 << 20  # bytes; models above it run on fewer inputs
EXAMPLE = "digits_int8"

# As installed: the suite's folder has no package of its own.
SUITE_PARTS = ("cmake", "csrc", "examples", "tests", "tools")
SUITE_FILES = ("pyproject.toml",)

DEVICE_TESTS = ("tests/device", "tests/kernels")
ALL_DEVICE_TESTS = (*DEVICE_TESTS, "tests/core", "tests/ops")
QUICK_TESTS = (*DEVICE_TESTS, "tests/core/test_base.py", "--hypothesis-profile=quick")
# What cannot be asked of an emulated system: programs that a test compiles would start on this
# machine's CPU, /proc/cpuinfo is this machine's, LD_PRELOAD would reach qemu itself; and a device
# does not have the extra that converts models.
LEFT_OUT = (
    "--ignore=tests/core/test_embed.py",
    "--deselect=tests/core/test_base.py::test_features_are_those_that_the_kernel_lists",
    "--deselect=tests/core/test_session.py::test_ten_thousand_runs_allocate_nothing",
    "--deselect=tests/device/test_load.py::test_source_model_is_converted_in_memory",
    "--deselect=tests/device/test_load.py::test_source_model_of_another_name_is_converted",
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
X86_CPU = "Nehalem"  # no AVX

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
    found = sorted(folder.glob("*_int8.tflite"))
    if not found:
        print(f"no models in {folder}: the repository's example only", flush=True)
    return [*found, ROOT / "examples" / "digits" / f"{EXAMPLE}.onnx"]


def convert_models(site: Path) -> list[Path]:
    """The models as .edge files, converted by the x86-64 wheel."""
    MODELS.mkdir(parents=True, exist_ok=True)
    edges = []
    for source in source_models():
        edge = MODELS / f"{source.stem}.edge"
        run(
            [sys.executable, "-m", "edgeinfer", "convert", source, "-o", edge],
            f"{source.name} was not converted",
            env=own_environment(site),
        )
        edges.append(edge)
    return edges


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


def run(command: Sequence[str | Path], otherwise: str, env: dict[str, str]) -> str:
    """What a program prints, run where the installed package is the only one."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=SUITE,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        shown = "\n".join(done.stdout.splitlines()[-SHOWN_LINES:])
        raise Failure(f"{shown}\n{otherwise} (code {done.returncode})")
    return done.stdout


def read_hashes(command: Sequence[str | Path], models: Sequence[Path], inputs: int,
                env: dict[str, str]) -> Hashes:  # fmt: skip
    """Hash the outputs of models in another process; large models on fewer inputs."""
    hashes: Hashes = {}
    for model in models:
        count = inputs if model.stat().st_size < LARGE_FILE else max(1, inputs // 9)
        words = [*command, SUITE / "tools" / "output_hashes.py", model, "--inputs", str(count)]
        for line in map(json.loads, run(words, f"{model.stem} did not run", env).splitlines()):
            hashes.setdefault(line["model"], {})[line["tier"]] = line["sha256"]
    return hashes


def own_environment(*paths: Path | str) -> dict[str, str]:
    """Variables for a process of this machine that imports from `paths` first."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("EDGEINFER_")}
    return {**kept, "PYTHONPATH": os.pathsep.join(map(str, paths))}


def x86_hashes(models: Sequence[Path], inputs: int, site: Path) -> Hashes:
    """This machine's own, on every tier of its CPU; they must agree among themselves."""
    hashes = read_hashes([sys.executable], models, inputs, own_environment(site))
    for model, by_tier in hashes.items():
        if len(set(by_tier.values())) != 1:
            raise Failure(f"{model}: tiers of this machine disagree: {by_tier}")
        print(f"  {model:<22} {by_tier['scalar']}  {' '.join(by_tier)}", flush=True)
    return hashes


def compare_hashes(where: str, found: Hashes, wanted: Hashes, tiers: Sequence[str]) -> None:
    """Every model must have this machine's hash on these tiers, and there must be no others."""
    for model, by_tier in found.items():
        if set(by_tier) != set(tiers):
            raise Failure(f"{where}: has tiers {', '.join(by_tier)}, not {', '.join(tiers)}")
        for tier, digest in by_tier.items():
            if digest != wanted[model]["scalar"]:
                raise Failure(f"{where}: {model} on tier {tier} gives {digest}, other than x86")


def run_tests(machine: Machine, tests: Sequence[str], jobs: int, **extra: str) -> str:
    """Run pytest in a system; its last line."""
    command = [str(machine.system.python), "-m", "pytest", "-q", "-n", str(jobs), *tests, *LEFT_OUT]
    command += ["-p", "no:cacheprovider"]
    printed = run(
        command, f"{machine.name}: tests failed", machine.system.environment(machine.cpu, **extra)
    )
    return printed.strip().splitlines()[-1].strip("= ")


def test_machine(machine: Machine, models: Sequence[Path], wanted: Hashes, inputs: int) -> None:
    """Compare one CPU's outputs with this machine's."""
    start = time.monotonic()
    env = machine.system.environment(machine.cpu)
    found = read_hashes([machine.system.python], models, inputs, env)
    compare_hashes(machine.name, found, wanted, machine.tiers)
    tiers = " ".join(next(iter(found.values())))
    seconds = time.monotonic() - start
    print(f"  {machine.name:<24} {len(found)} models as on x86, tiers {tiers}, {seconds:.0f} s",
          flush=True)  # fmt: skip


def test_oldest_x86(models: Sequence[Path], wanted: Hashes, inputs: int, site: Path) -> None:
    """Import and run the x86-64 wheel on a CPU without AVX."""
    arm_rootfs.require_tools("qemu-x86_64")
    command = ["qemu-x86_64", "-cpu", X86_CPU, os.path.realpath(sys.executable)]
    paths = [str(site), *(path for path in sys.path if path.endswith("-packages"))]
    env = own_environment(*paths)
    found = read_hashes(command, models, inputs, env)
    compare_hashes(f"x86_64 {X86_CPU}", found, wanted, ["scalar"])
    print(
        f"  {'x86_64 ' + X86_CPU:<24} {len(found)} models as on this CPU, tier scalar", flush=True
    )


def prepare(systems: Sequence[System]) -> Path:
    """Build and install the wheels; the folder that holds the x86-64 one."""
    zig = find_zig()
    if zig is None:
        raise MissingToolError("install the compiler: pip install ziglang")
    dist = arm_rootfs.BUILD / "dist"
    converter = build_wheels.build_converter(dist)  # tests make their models with it
    for system in systems:
        target = target_of(system.machine)
        arm_rootfs.make(system, zig, target.triple)
        wheel = build_wheels.build(target, dist)
        print(f"  {wheel.name}: {wheel.stat().st_size} bytes", flush=True)
        arm_rootfs.install_wheels(system, [wheel, converter], "--no-deps", "--force-reinstall")
    wheel = build_wheels.build(target_of("x86_64"), dist)
    print(f"  {wheel.name}: {wheel.stat().st_size} bytes", flush=True)
    site = arm_rootfs.BUILD / "x86_64"
    shutil.rmtree(site, ignore_errors=True)
    for part in (wheel, converter):
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
    jobs = len(os.sched_getaffinity(0))
    machines = [machine for machine in MACHINES if everything or machine.quick]
    systems = list(dict.fromkeys(machine.system for machine in machines))
    inputs = 27 if everything else 3

    print("wheels, and systems to install them in:", flush=True)
    site = prepare(systems)
    copy_suite()
    models = convert_models(site)
    print(f"SHA-256 of outputs over {inputs} inputs, on this machine:", flush=True)
    wanted = x86_hashes(models, inputs, site)
    print("on emulated CPUs:", flush=True)
    small = models if everything else [m for m in models if m.stat().st_size < LARGE_FILE]
    for number, machine in enumerate(machines):
        # The short version runs the large models on one CPU: bits differ by tier, not by CPU.
        test_machine(machine, models if number == 0 else small, wanted, inputs)
    test_oldest_x86(small, wanted, inputs, site)
    print("tests:", flush=True)
    for system in systems:
        machine = next(machine for machine in machines if machine.system == system)
        start = time.monotonic()
        last = run_tests(machine, ALL_DEVICE_TESTS if everything else QUICK_TESTS, jobs)
        print(f"  {machine.name:<24} {last} ({time.monotonic() - start:.0f} s)", flush=True)
        for tier in machine.tiers if everything else ():
            last = run_tests(machine, ["tests/device"], jobs, EDGEINFER_TIER=tier)
            print(f"  {machine.name:<24} EDGEINFER_TIER={tier}: {last}", flush=True)


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
    except (Failure, arm_rootfs.RootfsError, build_wheels.WheelError) as error:
        print(f"arm_test.py: {error}", file=sys.stderr)
        return 1
    print(f"all as on x86, {time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
