"""Cores whose loops tools/kernel_loops.py looks at, and what they can do at most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class StandIn:
    """For instructions of which LLVM's model has the throughput wrong."""

    name: str
    pattern: str
    """Of them, as llvm-objdump prints them."""
    other: str
    """One that the model has right and the core does as fast, with groups of the pattern."""
    why: str


@dataclass(frozen=True)
class Core:
    """A core, LLVM's name of the model that is nearest, and what it can do at most."""

    name: str
    machine: str
    """As pip calls it."""
    model: str
    limits: Mapping[str, tuple[float, str]]
    """By instruction: MAC per cycle of int8 with sums of int32, and why."""
    ghz: float | None = None
    """The clock that bytes per second are of; None where none is known."""
    measured: str = ""
    """Of such a core, the clock with it."""
    stand_ins: tuple[StandIn, ...] = ()

    def limit(self, instruction: str) -> tuple[float, str] | None:
        """Of loops that live on this instruction; None where the core lacks it."""
        return self.limits.get(instruction)


# Where it says "guide": Arm's Software Optimization Guide of the core, table "ASIMD integer". There
# is none for Cortex-A53.
_TWO_PIPES = (8.0, "guide: smull and smlal on one of two pipes, 1 a cycle; sadalp beside them")
_ARM = (
    Core(
        "cortex-a53",
        "aarch64",
        "cortex-a53",
        {"smull": (16 / 3, "one 128-bit vector instruction a cycle; smull, smlal, sadalp: 16 MAC")},
    ),
    Core("cortex-a72", "aarch64", "cortex-a72", {"smull": _TWO_PIPES}),
    Core(
        "cortex-a76",
        "aarch64",
        "neoverse-n1",
        {"smull": _TWO_PIPES, "sdot": (32.0, "guide: 2 sdot a cycle, 16 MAC each")},
    ),
    Core(
        "cortex-a78",
        "aarch64",
        "neoverse-n1",
        {"smull": _TWO_PIPES, "sdot": (32.0, "guide: 2 sdot a cycle, 16 MAC each")},
    ),
    Core(
        "cortex-a710",
        "aarch64",
        "cortex-a710",
        {
            "sdot": (32.0, "guide: 2 sdot a cycle, 16 MAC each"),
            "smmla": (64.0, "guide: 2 smmla a cycle, 32 MAC each"),
        },
    ),
)

_ONE_OF_512 = (64.0, "1 vpdpbusd of 512 bits a cycle, 64 MAC")
_TWO_OF_512 = (128.0, "2 vpdpbusd of 512 bits a cycle, 64 MAC each")
_TWO_OF_256 = (64.0, "2 vpdpbusd of 256 bits a cycle, 32 MAC each")
_X86 = (
    Core(
        "zen4",
        "x86_64",
        "znver4",
        {"vpdpbusd zmm": _ONE_OF_512},
        3.58,
        "229 GMAC/s of int8 on registers; reads 27 GB/s from DRAM",
        (
            StandIn(
                "vpdpbusd zmm",
                r"vpdpbusd (.*%zmm\d+)$",
                r"vfmadd231ps \1",
                "1 a cycle, on the pipes of vfmadd231ps; the model has one in 2",
            ),
            StandIn(
                "shifts of zmm",
                r"vps[lr]l[dw] \$\d+, (%zmm\d+), (%zmm\d+)$",
                r"vpshufb \1, \1, \2",
                "assumed to have the pipes of vpshufb, 1 a cycle; the model has 2",
            ),
            StandIn(
                "vpbroadcastd zmm, memory",
                r"vpbroadcastd (.*\(.*\), %zmm\d+)$",
                r"vmovups \1",
                "assumed to be a load, as to 256 bits; the model adds a shuffle",
            ),
        ),
    ),
    # Of Sapphire Rapids LLVM has 512 bits on one port, where two were measured.
    Core(
        "ice-lake-server",
        "x86_64",
        "icelake-server",
        {"vpdpbusd zmm": _TWO_OF_512},
        2.86,
        "366 GMAC/s of int8 on registers, of a Sapphire Rapids, whose ports are the same",
        (
            StandIn(
                "FMA zmm",
                r"vfn?madd\d+ps (.*%zmm\d+)$",
                r"vpdpbusd \1",
                "2 a cycle, on the ports of vpdpbusd; the model has 1",
            ),
        ),
    ),
    Core("alder-lake-p", "x86_64", "alderlake", {"vpdpbusd ymm": _TWO_OF_256}),
    Core(
        "zen1",
        "x86_64",
        "znver1",
        {
            "vpmaddubsw ymm": (16.0, "one unit of 128 bits: a vpmaddubsw of 256 in 2 cycles"),
            "vpmaddwd ymm": (8.0, "one unit of 128 bits: a vpmaddwd of 256 in 2 cycles"),
        },
        stand_ins=(
            StandIn(
                "vcvtph2ps ymm",
                r"vcvtph2ps (%xmm)(\d+), (%ymm\d+)$",
                r"vcvtdq2ps %ymm\2, \3",
                "one in 2 cycles, measured; the model has microcode",
            ),
        ),
    ),
    Core(
        "haswell",
        "x86_64",
        "haswell",
        {
            "vpmaddubsw ymm": (32.0, "1 vpmaddubsw of 256 bits a cycle, 32 MAC"),
            "vpmaddwd ymm": (16.0, "1 vpmaddwd of 256 bits a cycle, 16 MAC"),
        },
    ),
)

CORES = (*_ARM, *_X86)
