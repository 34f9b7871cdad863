"""Instructions that one inference executes on an emulated ARM CPU: edgeinfer's and LiteRT's.

A plugin of qemu (count_instructions.c) counts blocks of instructions between marks that the program
sets (count_runs.py). Of the runs between the last two marks those between the first two are taken
away, so that only inferences are left; and of these the instructions of the Python interpreter,
which calls both runtimes.

LiteRT asks /proc/cpuinfo what it runs on, where qemu's user emulation shows this machine's, and
LiteRT's wheel ends with a fault. So the emulated system gets a file of its own there, which
describes the CPU that is emulated.
"""

from __future__ import annotations

import bisect
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools import arm_rootfs, build_ffi, wheel_library
from tools.arm_rootfs import ARM64, MissingToolError, RootfsError
from tools.elf import Function, read_functions
from tools.wheel_targets import find_target, find_zig

ROOT = Path(__file__).resolve().parents[1]
FOLDER = arm_rootfs.BUILD / "speed"
LIBRARY = FOLDER / "lib" / "libedgeinfer.so"
_SITE = FOLDER / "site"
_LITERT = FOLDER / "litert"
_PREFIX = FOLDER / "prefix"
_PLUGIN = "count_instructions.so"
_FIRST_WITH_VERSION_2 = 9  # of qemu
_PROCESSORS = 4


@dataclass(frozen=True)
class Cpu:
    """An emulated CPU: what to ask qemu for, and how /proc/cpuinfo describes it."""

    name: str
    qemu: str
    implementer: int
    part: int
    features: str
    stands_for: str


# Features are those that decide between kernels; both runtimes take them from the auxiliary vector,
# which is qemu's. "max" has no part of its own: Cortex-A710's, the first with products of matrices.
# Its vectors of other lengths (SVE, SME) are off, since no core of these devices has them.
CPUS = (
    Cpu("cortex-a53", "cortex-a53", 0x41, 0xD03, "fp asimd crc32", "Pi 3"),
    Cpu("cortex-a72", "cortex-a72", 0x41, 0xD08, "fp asimd crc32", "Pi 4"),
    Cpu("cortex-a76", "cortex-a76", 0x41, 0xD0B, "fp asimd crc32 atomics fphp asimdhp asimddp",
        "Pi 5, Jetson Orin"),
    Cpu("max", "max,sve=off,sme=off", 0x41, 0xD47,
        "fp asimd crc32 atomics fphp asimdhp asimddp i8mm bf16", "ARMv8.6, without SVE"),
)  # fmt: skip


@dataclass
class Counts:
    """Instructions of one run."""

    runtime: str
    version: str
    """Tier, or version of the package."""
    by_place: dict[tuple[str, int], float] = field(default_factory=dict)
    """By file, and address in it, of a block of instructions."""

    @property
    def total(self) -> float:
        """All but those of the Python interpreter."""
        return sum(n for (file, _), n in self.by_place.items() if not _is_python(file))

    def by_file(self) -> dict[str, float]:
        """Instructions by name of the file that they are from, most first."""
        found: dict[str, float] = {}
        for (file, _), count in self.by_place.items():
            if not _is_python(file):
                found[Path(file).name] = found.get(Path(file).name, 0) + count
        return dict(sorted(found.items(), key=lambda item: -item[1]))


def _is_python(file: str) -> bool:
    return re.fullmatch(r"python3(\.\d+)?", Path(file).name) is not None


# --- parsing ------------------------------------------------------------------------------------


def read_marks(text: str) -> list[dict[int, int]]:
    """Instructions by address of their block, between one mark and the next.

    Raises
    ------
    ValueError
        A line is not one that the plugin writes.
    """
    sections: list[dict[int, int]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line == "mark":
            sections.append({})
            continue
        words = line.split()
        if len(words) != 3 or not sections:
            raise ValueError(f"line {number} is not the plugin's: {line!r}")
        address, instructions, executions = int(words[0], 16), int(words[1]), int(words[2])
        sections[-1][address] = sections[-1].get(address, 0) + instructions * executions
    return sections


def per_run(sections: Sequence[dict[int, int]], count: int) -> dict[int, float]:
    """One run's instructions by address, from the sections of `count` and twice as many runs.

    Raises
    ------
    ValueError
        There are not three sections.
    """
    if len(sections) != 3:
        raise ValueError(f"the program set {len(sections)} marks instead of 3")
    _, some, twice = sections
    differences = {at: (twice.get(at, 0) - some.get(at, 0)) / count for at in some | twice}
    return {at: n for at, n in differences.items() if n}


def by_place(
    instructions: dict[int, float], files: Sequence[tuple[int, int, int, str]]
) -> dict[tuple[str, int], float]:
    """Addresses of the process as files and offsets in them."""
    ordered = sorted(files)
    starts = [first for first, *_ in ordered]
    found: dict[tuple[str, int], float] = {}
    for address, count in instructions.items():
        i = bisect.bisect_right(starts, address) - 1
        place = ("elsewhere", address)
        if i >= 0 and address < ordered[i][1]:
            first, _, offset, path = ordered[i]
            place = (path, address - first + offset)
        found[place] = found.get(place, 0) + count
    return found


def qemu_version(text: str) -> tuple[int, int]:
    """Major and minor version, of what `qemu-aarch64 --version` prints.

    Raises
    ------
    ValueError
        It says neither.
    """
    found = re.search(r"version (\d+)\.(\d+)", text)
    if found is None:
        raise ValueError(f"no version of qemu in {text!r}")
    return int(found[1]), int(found[2])


def cpuinfo(cpu: Cpu) -> str:
    """/proc/cpuinfo of a machine with this CPU, as Linux writes it."""
    return "".join(
        f"processor\t: {number}\n"
        "BogoMIPS\t: 108.00\n"
        f"Features\t: {cpu.features}\n"
        f"CPU implementer\t: {cpu.implementer:#04x}\n"
        "CPU architecture: 8\n"
        "CPU variant\t: 0x0\n"
        f"CPU part\t: {cpu.part:#05x}\n"
        "CPU revision\t: 0\n\n"
        for number in range(_PROCESSORS)
    )


def qemu_name() -> str:
    """What this machine's qemu calls itself."""
    command = ["qemu-aarch64", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0]


# --- making what is run -------------------------------------------------------------------------


def build_plugin(folder: Path) -> Path:
    """Compile the plugin for this machine's qemu.

    Raises
    ------
    MissingToolError
        There is no qemu, or none with plugins, or no C compiler.
    """
    arm_rootfs.require_tools("qemu-aarch64")
    compiler = shutil.which("cc")
    if compiler is None:
        raise MissingToolError("install a C compiler: sudo apt install gcc libc6-dev")
    usage = subprocess.run(
        ["qemu-aarch64", "--help"], capture_output=True, text=True, check=False
    ).stdout
    if "-plugin" not in usage:
        raise MissingToolError("this qemu-aarch64 was built without plugins; Debian's has them")
    interface = 2 if qemu_version(qemu_name())[0] >= _FIRST_WITH_VERSION_2 else 1
    folder.mkdir(parents=True, exist_ok=True)
    plugin = folder / _PLUGIN
    source = ROOT / "tools" / "count_instructions.c"
    command = [compiler, "-std=c11", "-O2", "-shared", "-fPIC", f"-DEI_PLUGIN_VERSION={interface}"]
    arm_rootfs.run([*command, source, "-o", plugin], "the plugin for qemu was not compiled")
    return plugin


def build_library() -> Path:
    """The library for arm64, as its wheel has it, but with symbols.

    Raises
    ------
    MissingToolError
        A tool for it is not installed.
    """
    return wheel_library.build("aarch64", LIBRARY.parent)


def make_system(*, litert: str | None) -> None:
    """The arm64 system, edgeinfer's package beside it, and LiteRT's wheel (a pip requirement)."""
    zig, target = find_zig(), find_target("aarch64", "manylinux")
    assert zig is not None and target is not None
    arm_rootfs.make(ARM64, zig, target.triple)
    package = _SITE / "edgeinfer"
    shutil.rmtree(_SITE, ignore_errors=True)
    shutil.copytree(
        ROOT / "edgeinfer", package, ignore=shutil.ignore_patterns("*.so", "__pycache__", "convert")
    )
    shutil.copyfile(LIBRARY, package / LIBRARY.name)
    build_ffi.write_module(package / "_cdefs.py")
    stamp = _LITERT / "installed"
    if litert is not None and not (stamp.exists() and stamp.read_text() == litert):
        shutil.rmtree(_LITERT, ignore_errors=True)
        # The last --target counts. What else it depends on, its interpreter does without, or the
        # system has it.
        options = ["--no-deps", "--platform", "manylinux_2_27_aarch64", "--target", str(_LITERT)]
        arm_rootfs.install_wheels(ARM64, [litert, "flatbuffers", "backports.strenum"], *options)
        stamp.write_text(litert)
    _make_prefix()


def _make_prefix() -> None:
    """What qemu shows in place of this machine's files: the system's, and a /proc/cpuinfo."""
    shutil.rmtree(_PREFIX, ignore_errors=True)
    _PREFIX.mkdir(parents=True)
    for path in ARM64.root.iterdir():
        if path.name != "proc":
            (_PREFIX / path.name).symlink_to(path.resolve())
    (_PREFIX / "proc").mkdir()


# --- counting -----------------------------------------------------------------------------------


def count(runtime: str, model: Path, cpu: Cpu, plugin: Path, runs: int, **extra: str) -> Counts:
    """Run a model under qemu and count.

    Raises
    ------
    RootfsError
        The program ended with an error.
    """
    (_PREFIX / "proc" / "cpuinfo").write_text(cpuinfo(cpu))
    (python,) = (ARM64.root / "usr" / "bin").glob("python3.[0-9][0-9]")
    marks = FOLDER / "marks"
    marks.unlink(missing_ok=True)
    command = ["qemu-aarch64", "-cpu", cpu.qemu, "-L", str(_PREFIX), "-0", str(ARM64.python)]
    command += ["-plugin", f"{plugin},out={marks}", str(python)]
    command += [str(ROOT / "tools" / "count_runs.py"), runtime, str(model), str(runs)]
    environment = ARM64.environment(cpu.qemu, PYTHONPATH=f"{_SITE}:{_LITERT}", **extra)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RootfsError(
            f"{done.stdout}{done.stderr}\n{runtime} did not run {model.name} on {cpu.name} "
            f"under qemu (code {done.returncode})"
        )
    printed = json.loads(done.stdout.splitlines()[-1])
    instructions = per_run(read_marks(marks.read_text()), runs)
    return Counts(runtime, printed["name"], by_place(instructions, printed["files"]))


def _describe(function: Function) -> str:
    return f"{function.name} ({function.source})" if function.source else function.name


def by_function(counts: Counts, library: Path = LIBRARY) -> dict[str, float]:
    """Instructions of edgeinfer's library by function, most first; of other files by file."""
    functions = read_functions(library)
    starts = [function.offset for function in functions]
    found: dict[str, float] = {}
    for (file, offset), n in counts.by_place.items():
        name = Path(file).name
        if _is_python(file):
            continue
        if name == library.name:
            i = bisect.bisect_right(starts, offset) - 1
            inside = i >= 0 and offset < functions[i].offset + functions[i].size
            name = _describe(functions[i]) if inside else "calls of other libraries"
        found[name] = found.get(name, 0) + n
    return dict(sorted(found.items(), key=lambda item: -item[1]))
