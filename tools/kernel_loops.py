#!/usr/bin/env python3
"""Inner loops of the int8 kernels, those of four bits included, and what llvm-mca makes of them.

    python tools/kernel_loops.py                     x86-64, as its wheel is compiled
    python tools/kernel_loops.py --machine aarch64
    python tools/kernel_loops.py --library build/release/libedgeinfer.so --only s8_f4 --core zen4

The loops are found in the compiled library: a jump backwards that stays in its function closes one,
and of those that hold no other loop with products each function's is the one with most products.
llvm-mca then says how many cycles an iteration takes on a core, from LLVM's scheduling model of it,
with every load in the L1 data cache and every jump foreseen. The percentage is of what the core can
do at most with the instruction that multiplies. Loops over weights of four bits are over blocks,
conversion to float32 and scales included; of those with one row the bytes of weights that they take
in a cycle stand beside it.

Needs `llvm`, and to compile the library the `dev` extra and `ziglang`. Exit code 77 says that
something is missing here, and prints what to install.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tools import arm_rootfs, wheel_library  # noqa: E402
from tools.arm_rootfs import MissingToolError, RootfsError  # noqa: E402
from tools.cpu_cores import CORES, Core  # noqa: E402
from tools.elf import Function, read_functions  # noqa: E402

SKIPPED = 77
_ITERATIONS = 400
_FAMILIES = ("packed_gemm_", "depthwise_conv2d_s8_s8c_")
_FOLDER = ROOT / "build" / "loops"

ABOUT_LOOPS = """\
These are LLVM's models of the cores, not the cores: every load is in the L1 data cache, every jump
foreseen, and only the loops are looked at. A share near 100 % says that a loop leaves nothing to be
had by better order or fewer loads; it does not say that a layer runs at that rate."""

ABOUT_BYTES = """\
Bytes are of packed weights with their scales, at one row: what the loop could take if memory gave
it. Where a core is said to read less, memory decides."""


@dataclass(frozen=True)
class InstructionSet:
    """What is to be known of a machine's assembly."""

    triple: str
    attributes: str
    """For llvm-objdump: extensions that it would not decode otherwise."""
    tiers: tuple[str, ...]
    jumps: str
    """Of instructions that may jump within a function."""
    products: Mapping[str, int]
    """Multiplications of bytes, with accumulation, of an instruction, by `product_of`; the first
    that a loop has is what it lives on, and the only one that counts where `one_kind` says so."""
    kinds: tuple[str, ...]
    one_kind: bool

    def product_of(self, line: str) -> str:
        """The name in `products` of an instruction, if it may be there."""
        name, _, operands = line.removeprefix("{vex} ").partition(" ")
        if name in ("smull", "smull2", "smlal", "smlal2"):
            return name if ".8h" in operands.split(",")[0] else ""  # else products of int16
        width = re.search(r"\b([xyz]mm)\d", operands)
        return f"{name} {width[1]}" if width and name.startswith("vp") else name

    def counted(self, lines: Sequence[str]) -> dict[str, int]:
        """Multiplications in these lines, by the name of the instruction."""
        found: dict[str, int] = {}
        for line in lines:
            name = self.product_of(line)
            if name in self.products:
                found[name] = found.get(name, 0) + self.products[name]
        if self.one_kind and found:
            kind = next(kind for kind in self.kinds if kind in found)
            return {kind: found[kind]}
        return found


# vpmaddwd also adds pairs that vpmaddubsw made: it counts where it is the only one.
SETS = {
    "aarch64": InstructionSet(
        "aarch64",
        "+dotprod,+i8mm",
        ("neon", "dotprod", "i8mm"),
        r"(b(\.\w+)?|cbn?z|tbn?z) ",
        {"sdot": 16, "smmla": 32, "smull": 8, "smull2": 8, "smlal": 8, "smlal2": 8},
        ("smmla", "sdot", "smull"),
        one_kind=False,
    ),
    "x86_64": InstructionSet(
        "x86_64",
        "",
        ("avx2", "avxvnni", "avx512vnni"),
        r"j[a-z]+ ",
        {
            "vpdpbusd zmm": 64, "vpdpbusd ymm": 32, "vpdpwssd zmm": 32,
            "vpmaddubsw ymm": 32, "vpmaddwd ymm": 16,
        },
        ("vpdpbusd zmm", "vpdpbusd ymm", "vpdpwssd zmm", "vpmaddubsw ymm", "vpmaddwd ymm"),
        one_kind=True,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Loop:
    """An inner loop."""

    function: str
    source: str
    instructions: tuple[str, ...]
    """As an assembler takes them, the jump at the end to .Lloop."""
    machine: str

    @property
    def macs(self) -> int:
        """Multiplications with accumulation in an iteration."""
        return sum(SETS[self.machine].counted(self.instructions).values())

    @property
    def kind(self) -> str:
        """The instruction that it lives on: vpdpbusd with its width, smull, sdot or smmla."""
        isa = SETS[self.machine]
        counted = isa.counted(self.instructions)
        return next((kind for kind in isa.kinds if kind in counted), isa.kinds[-1])

    @property
    def bytes_per_mac(self) -> float | None:
        """Of weights with their scales, where the function's name says that it has one row."""
        match = re.match(r"(mxf4|nvf4|s8c)_1x\d+(_vbmi)?$", self.function)
        return {"mxf4": 17 / 32, "nvf4": 9 / 16, "s8c": 1.0}[match[1]] if match else None


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

    @property
    def bytes_per_cycle(self) -> float | None:
        """Of weights, of a loop with one row."""
        per_mac = self.loop.bytes_per_mac
        return None if per_mac is None else per_mac * self.mac_per_cycle


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
        match = re.match(r"\s*([0-9a-f]+):\s+(\{?[a-z].*)$", line)
        if match:
            text = re.sub(r"\s+", " ", re.sub(r"\s+# 0x.*$", "", match[2]))
            found[int(match[1], 16)] = text.strip()
    return found


def jump_target(instruction: str, machine: str) -> int | None:
    """Where an instruction may jump to, calls and indirect jumps aside."""
    if not re.match(SETS[machine].jumps, instruction):
        return None
    match = re.search(r"0x([0-9a-f]+)(?: <.*>)?$", instruction)
    return int(match[1], 16) if match else None


def inner_loop(instructions: dict[int, str], machine: str) -> tuple[str, ...]:
    """The loop of a function that has most products in an iteration; () when none has any."""
    isa = SETS[machine]
    ordered = sorted(instructions)
    loops = []
    for last in ordered:
        first = jump_target(instructions[last], machine)
        if first is not None and first <= last and first in instructions:
            loops.append((first, last))
    bodies = {
        (first, last): [instructions[at] for at in ordered if first <= at <= last]
        for first, last in loops
    }
    with_products = [span for span in loops if isa.counted(bodies[span])]
    innermost = [
        (first, last)
        for first, last in with_products
        if not any(
            (first, last) != other and first <= other[0] and other[1] <= last
            for other in with_products
        )
    ]
    # Of loops with as many products one may be that of the remainders, with more around them.
    best = max(
        (bodies[span] for span in innermost),
        key=lambda body: (sum(isa.counted(body).values()), -len(body)),
        default=[],
    )
    return tuple(_assembly(line, machine) for line in best)


def _assembly(instruction: str, machine: str) -> str:
    """An instruction as an assembler takes it: where jumps lead makes no difference."""
    if jump_target(instruction, machine) is not None:
        return re.sub(r"0x[0-9a-f]+(?: <.*>)?$", ".Lloop", instruction)
    return re.sub(r" <.*>$", "", instruction)


def source_of(function: Function) -> str:
    """The file of a kernel: functions that other files call have it in their name."""
    return function.source or f"{function.name.removeprefix('ei_')}.c"


def is_kernel(function: Function, machine: str) -> bool:
    """Whether the function is of a tier of the families whose loops are looked at."""
    stem, dot, suffix = source_of(function).rpartition(".")
    tier = stem.rpartition("_")[2]
    return (
        bool(dot) and suffix == "c" and stem.startswith(_FAMILIES) and tier in SETS[machine].tiers
    )


def find_loops(library: Path, machine: str, only: str = "") -> list[Loop]:
    """The inner loop of every int8 kernel of a machine's tiers, in a library with symbols.

    `only` is what the names of their files have in them.
    """
    objdump: list[str | Path] = [find_llvm("llvm-objdump"), "-d", "--no-show-raw-insn"]
    if SETS[machine].attributes:
        objdump.append(f"--mattr={SETS[machine].attributes}")
    loops = []
    for function in read_functions(library):
        if not is_kernel(function, machine) or only not in source_of(function):
            continue
        first, last = function.address, function.address + function.size
        printed = arm_rootfs.run(
            [*objdump, f"--start-address={first}", f"--stop-address={last}", library],
            f"{function.name} cannot be disassembled",
        )
        body = inner_loop(parse_instructions(printed), machine)
        if body:
            loops.append(Loop(function.name, source_of(function), body, machine))
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


def stand_in(instruction: str, core: Core) -> str:
    """What llvm-mca is asked about in place of an instruction."""
    for each in core.stand_ins:
        if (match := re.match(each.pattern, instruction)) is not None:
            return match.expand(each.other)
    return instruction


def estimate(loop: Loop, core: Core) -> Estimate | None:
    """One loop on one core; None where the core lacks its instructions."""
    limit = core.limit(loop.kind)
    if limit is None or core.machine != loop.machine:
        return None
    triple = SETS[loop.machine].triple
    command = [find_llvm("llvm-mca"), f"-mtriple={triple}", f"-mcpu={core.model}"]
    command += [f"-iterations={_ITERATIONS}"]
    done = subprocess.run(
        [str(word) for word in command],
        input="\n".join([".Lloop:", *(stand_in(line, core) for line in loop.instructions), ""]),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RootfsError(f"{done.stderr}\nllvm-mca refuses {loop.source}")
    return Estimate(loop, core, parse_cycles(done.stdout), limit[0])


def estimates(loops: Iterable[Loop], cores: Sequence[Core] = CORES) -> list[Estimate]:
    """Every loop on every core that has its instructions."""
    found = (estimate(loop, core) for loop in loops for core in cores)
    return [each for each in found if each is not None]


# --- printing -----------------------------------------------------------------------------------


def show_loops(found: Sequence[Estimate]) -> str:
    """A table of the loops, and the limits that they are held against."""
    from edgeinfer.printing import format_table

    rows = [
        (
            each.loop.source.removesuffix(".c"),
            each.loop.function,
            each.core.name,
            len(each.loop.instructions),
            each.loop.macs,
            f"{each.cycles:.2f}",
            f"{each.mac_per_cycle:.2f}",
            f"{each.limit:.2f}",
            f"{each.share:.0%}",
            "" if each.bytes_per_cycle is None else f"{each.bytes_per_cycle:.1f}",
            _gigabytes(each),
        )
        for each in found
    ]
    header = ("kernel", "function", "core", "instructions", "MAC", "cycles", "MAC/cycle", "limit")
    limits = {(each.core.name, each.loop.kind): each.core.limits[each.loop.kind][1]
              for each in found}  # fmt: skip
    notes = [f"  {core:<15} {kind:<14} {why}" for (core, kind), why in sorted(limits.items())]
    cores = {each.core.name: each.core for each in found}
    notes += [f"  {core.name:<15} LLVM's model {core.model}" for core in cores.values()]
    notes += [f"  {core.name:<15} {core.ghz} GHz, at which it was measured: {core.measured}"
              for core in cores.values() if core.measured]  # fmt: skip
    notes += [f"  {core.name:<15} {each.other.split()[0]} stands in for {each.name}: {each.why}"
              for core in cores.values() for each in core.stand_ins]  # fmt: skip
    table = format_table((*header, "", "B/cycle", "GB/s"), rows)
    return "\n".join([table, "limits:", *notes])


def show(found: Sequence[Estimate]) -> str:
    """The table, and what such figures can tell."""
    lines = [f"inner loops, llvm-mca {llvm_version()}:", show_loops(found), ABOUT_LOOPS]
    if any(each.bytes_per_cycle is not None for each in found):
        lines.append(ABOUT_BYTES)
    return "\n".join(lines)


def _gigabytes(each: Estimate) -> str:
    if each.bytes_per_cycle is None or each.core.ghz is None:
        return ""
    return f"{each.bytes_per_cycle * each.core.ghz:.0f}"


def figures_of(each: Estimate) -> dict[str, Any]:
    """For JSON."""
    return {
        "kernel": each.loop.source,
        "function": each.loop.function,
        "core": each.core.name,
        "model": each.core.model,
        "instructions": len(each.loop.instructions),
        "mac": each.loop.macs,
        "cycles": each.cycles,
        "mac_per_cycle": each.mac_per_cycle,
        "limit": each.limit,
        "bytes_per_cycle": each.bytes_per_cycle,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    summary, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--machine", choices=sorted(SETS), default="x86_64")
    parser.add_argument(
        "--library", type=Path, metavar="FILE",
        help="one with symbols, in place of the one that zig compiles",
    )  # fmt: skip
    parser.add_argument("--core", action="append", choices=[core.name for core in CORES])
    parser.add_argument("--only", default="", metavar="TEXT", help="in the names of kernels' files")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args(argv)
    if options.library is not None and not options.library.is_file():
        parser.error(f"{options.library}: there is no such file")
    cores = [core for core in CORES if not options.core or core.name in options.core]
    try:
        find_llvm("llvm-mca")
        library = options.library or wheel_library.build(options.machine, _FOLDER / options.machine)
        found = estimates(find_loops(library, options.machine, options.only), cores)
    except MissingToolError as error:
        print(f"kernel_loops.py: skipped: {error}")
        return SKIPPED
    except RootfsError as error:
        print(f"kernel_loops.py: {error}", file=sys.stderr)
        return 1
    print(show(found))
    if options.json:
        options.json.write_text(json.dumps([figures_of(each) for each in found], indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
