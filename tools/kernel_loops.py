"""Inner loops of the int8 kernels of a library for arm64, and what llvm-mca makes of them.

The loops are found in the compiled library: a jump backwards that stays in its function closes one,
and of those that hold no other loop with products each function's is the one with most products.
llvm-mca then says how many cycles an iteration takes on a core, from LLVM's scheduling model of it,
with every load in the L1 data cache and every jump foreseen.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools import arm_rootfs
from tools.arm_rootfs import MissingToolError
from tools.elf import Function, read_functions

_ITERATIONS = 400
_FAMILIES = ("packed_gemm_", "depthwise_conv2d_s8_s8c_")
_TIERS = ("neon", "dotprod", "i8mm")

# Multiplications of bytes, with accumulation, in one instruction.
_MACS = {"sdot": 16, "smmla": 32, "smull": 8, "smull2": 8, "smlal": 8, "smlal2": 8}


@dataclass(frozen=True)
class Core:
    """A core, LLVM's name of the model that is nearest, and what it can do at most."""

    name: str
    model: str
    limits: dict[str, tuple[float, str]]
    """By instruction: MAC per cycle of int8 with sums of int32, and why."""

    def limit(self, instruction: str) -> tuple[float, str] | None:
        """Of loops that live on this instruction; None where the core lacks it."""
        return self.limits.get(instruction)


# Where it says "guide": Arm's Software Optimization Guide of the core, table "ASIMD integer". There
# is none for Cortex-A53.
_TWO_PIPES = (8.0, "guide: smull and smlal on one of two pipes, 1 a cycle; sadalp beside them")
CORES = (
    Core(
        "cortex-a53",
        "cortex-a53",
        {"smull": (16 / 3, "one 128-bit vector instruction a cycle; smull, smlal, sadalp: 16 MAC")},
    ),
    Core("cortex-a72", "cortex-a72", {"smull": _TWO_PIPES}),
    Core(
        "cortex-a76",
        "neoverse-n1",
        {"smull": _TWO_PIPES, "sdot": (32.0, "guide: 2 sdot a cycle, 16 MAC each")},
    ),
    Core(
        "cortex-a78",
        "neoverse-n1",
        {"smull": _TWO_PIPES, "sdot": (32.0, "guide: 2 sdot a cycle, 16 MAC each")},
    ),
    Core(
        "cortex-a710",
        "cortex-a710",
        {
            "sdot": (32.0, "guide: 2 sdot a cycle, 16 MAC each"),
            "smmla": (64.0, "guide: 2 smmla a cycle, 32 MAC each"),
        },
    ),
)


@dataclass(frozen=True)
class Loop:
    """An inner loop."""

    function: str
    source: str
    instructions: tuple[str, ...]
    """As an assembler takes them, the jump at the end to .Lloop."""

    @property
    def macs(self) -> int:
        """Multiplications with accumulation in an iteration."""
        return sum(_macs_of(line) for line in self.instructions)

    @property
    def kind(self) -> str:
        """The instruction that it lives on: smull, sdot or smmla."""
        names = [line.split()[0] for line in self.instructions if _macs_of(line)]
        return next((name for name in ("smmla", "sdot") if name in names), "smull")


@dataclass(frozen=True)
class Estimate:
    """What llvm-mca says of a loop on a core."""

    loop: Loop
    core: Core
    cycles: float
    """Of an iteration."""
    limit: float
    """MAC per cycle."""

    @property
    def mac_per_cycle(self) -> float:
        """Of the loop."""
        return self.loop.macs / self.cycles

    @property
    def share(self) -> float:
        """Of the limit."""
        return self.mac_per_cycle / self.limit


def _macs_of(line: str) -> int:
    words = line.split()
    if words[0] in ("smull", "smull2", "smlal", "smlal2") and ".8h" not in words[1]:
        return 0  # products of int16
    return _MACS.get(words[0], 0)


# --- tools of LLVM ------------------------------------------------------------------------------


def find_llvm(tool: str) -> Path:
    """The newest of a tool's versions here.

    Raises
    ------
    MissingToolError
        There is none.
    """
    found: list[tuple[int, Path]] = []
    for folder in Path("/usr/lib").glob("llvm-*/bin"):
        version = folder.parent.name.removeprefix("llvm-")
        if version.isdigit() and (folder / tool).exists():
            found.append((int(version), folder / tool))
    if found:
        return max(found)[1]
    if (plain := shutil.which(tool)) is not None:
        return Path(plain)
    raise MissingToolError("install LLVM's tools, the newest that there is: sudo apt install llvm")


def llvm_version() -> str:
    """Of the tools that are used."""
    printed = arm_rootfs.run([find_llvm("llvm-mca"), "--version"], "llvm-mca does not start")
    match = re.search(r"LLVM version ([\d.]+)", printed)
    return match[1] if match else "unknown"


# --- loops --------------------------------------------------------------------------------------


def parse_instructions(disassembly: str) -> dict[int, str]:
    """Instructions by address, of what llvm-objdump prints."""
    found = {}
    for line in disassembly.splitlines():
        match = re.match(r"\s*([0-9a-f]+):\s+([a-z].*)$", line)
        if match:
            found[int(match[1], 16)] = re.sub(r"\s+", " ", match[2]).strip()
    return found


def jump_target(instruction: str) -> int | None:
    """Where an instruction may jump to, calls and indirect jumps aside."""
    if not re.match(r"(b(\.\w+)?|cbn?z|tbn?z) ", instruction):
        return None
    match = re.search(r"0x([0-9a-f]+)(?: <.*>)?$", instruction)
    return int(match[1], 16) if match else None


def inner_loop(instructions: dict[int, str]) -> tuple[str, ...]:
    """The loop of a function that has most products in an iteration; () when none has any."""
    ordered = sorted(instructions)
    loops = []
    for last in ordered:
        first = jump_target(instructions[last])
        if first is not None and first <= last and first in instructions:
            loops.append((first, last))
    with_products = [
        (first, last)
        for first, last in loops
        if any(_macs_of(instructions[at]) for at in ordered if first <= at <= last)
    ]
    innermost = [
        (first, last)
        for first, last in with_products
        if not any(
            (first, last) != other and first <= other[0] and other[1] <= last
            for other in with_products
        )
    ]
    bodies = [
        tuple(instructions[at] for at in ordered if first <= at <= last)
        for first, last in innermost
    ]
    # Of loops with as many products one may be that of the remainders, with more around them.
    best = max(bodies, key=lambda body: (sum(map(_macs_of, body)), -len(body)), default=())
    return tuple(_assembly(line) for line in best)


def _assembly(instruction: str) -> str:
    """An instruction as an assembler takes it: where jumps lead makes no difference."""
    if jump_target(instruction) is not None:
        return re.sub(r"0x[0-9a-f]+(?: <.*>)?$", ".Lloop", instruction)
    return re.sub(r" <.*>$", "", instruction)


def is_kernel(function: Function) -> bool:
    """Whether the function is of an ARM tier of the families whose loops are looked at."""
    stem, dot, suffix = function.source.rpartition(".")
    tier = stem.rpartition("_")[2]
    return bool(dot) and suffix == "c" and stem.startswith(_FAMILIES) and tier in _TIERS


def find_loops(library: Path) -> list[Loop]:
    """The inner loop of every int8 kernel of the ARM tiers, in a library with symbols."""
    objdump = find_llvm("llvm-objdump")
    loops = []
    for function in read_functions(library):
        if not is_kernel(function):
            continue
        first, last = function.address, function.address + function.size
        printed = arm_rootfs.run(
            [objdump, "-d", "--no-show-raw-insn", f"--start-address={first}",
             f"--stop-address={last}", "--mattr=+dotprod,+i8mm", library],
            f"{function.name} cannot be disassembled",
        )  # fmt: skip
        body = inner_loop(parse_instructions(printed))
        if body:
            loops.append(Loop(function.name, function.source, body))
    return loops


# --- llvm-mca -----------------------------------------------------------------------------------


def parse_cycles(printed: str) -> float:
    """Cycles of an iteration, of llvm-mca's summary.

    Raises
    ------
    ValueError
        There is no summary.
    """
    cycles = re.search(r"^Total Cycles:\s+(\d+)", printed, re.MULTILINE)
    iterations = re.search(r"^Iterations:\s+(\d+)", printed, re.MULTILINE)
    if cycles is None or iterations is None:
        raise ValueError(f"no summary of llvm-mca in {printed[:200]!r}")
    return int(cycles[1]) / int(iterations[1])


def estimate(loop: Loop, core: Core) -> Estimate | None:
    """One loop on one core; None where the core lacks its instructions."""
    limit = core.limit(loop.kind)
    if limit is None:
        return None
    command = [find_llvm("llvm-mca"), "-mtriple=aarch64", f"-mcpu={core.model}"]
    command += [f"-iterations={_ITERATIONS}"]
    done = subprocess.run(
        [str(word) for word in command],
        input="\n".join([".Lloop:", *loop.instructions, ""]),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise arm_rootfs.RootfsError(f"{done.stderr}\nllvm-mca refuses {loop.source}")
    return Estimate(loop, core, parse_cycles(done.stdout), limit[0])


def estimates(loops: Iterable[Loop], cores: Sequence[Core] = CORES) -> list[Estimate]:
    """Every loop on every core that has its instructions."""
    found = (estimate(loop, core) for loop in loops for core in cores)
    return [each for each in found if each is not None]
