"""Energy profiles of some boards, from published figures.

None of them was measured with this library: the boards were not at hand. What a board takes at idle
and with all cores busy is published; how many cycles our kernels need was fitted to times measured
on x86 (tools/plan_times.py --fit). The energy of a cycle is the one divided by the other:

    joules per cycle = (watts with all cores busy - watts at idle) / (cores x clock)

A core that is busy takes about the same whatever it does, so each kind of work costs its cycles: a
multiplication the cycles it takes at half of the pipelines' peak, which is what large layers reach;
a value of an activation 2 cycles and a step 1000, as fitted. tools/modelled_cycles.py holds these
cycles against a clock. The way of a byte from a cache or from memory is added from Horowitz's
table. `error` is the standard error of all this together; it is large, and meant so.
"""

from __future__ import annotations

import re
from dataclasses import replace

from edgeinfer.power.energy_profile import DeviceEnergy
from edgeinfer.power.sensor_files import SensorFiles

CYCLES_PER_VALUE = 2.0
CYCLES_PER_STEP = 1000.0
_SHARE_OF_PEAK = 0.5

_FETCHES = (
    "bytes by memory level: M. Horowitz, Computing's Energy Problem, ISSCC 2014, 45 nm: 64 bits "
    "from 32 KB 20 pJ, from 1 MB 100 pJ, from DRAM 1.3 nJ"
)
_L1_BYTE, _L2_BYTE, _DRAM_BYTE = 20e-12 / 8, 100e-12 / 8, 1.3e-9 / 8


def _profile(
    name: str,
    *,
    idle_watts: float,
    busy_watts: float,
    cores: int,
    hertz: float,
    int8_per_cycle: int,
    float_per_cycle: int,
    l1_bytes: int,
    last_cache_bytes: int,
    error: float,
    sources: tuple[str, ...],
) -> DeviceEnergy:
    """Figures from what a board takes with all cores busy.

    int8_per_cycle, float_per_cycle : multiplications of a core at the pipelines' peak.
    """
    cycle = (busy_watts - idle_watts) / (cores * hertz)
    return DeviceEnergy(
        name=name,
        idle_watts=idle_watts,
        mac_joules=cycle / (int8_per_cycle * _SHARE_OF_PEAK),
        float_mac_joules=cycle / (float_per_cycle * _SHARE_OF_PEAK),
        byte_joules=cycle * CYCLES_PER_VALUE,
        step_joules=cycle * CYCLES_PER_STEP,
        l1_byte_joules=_L1_BYTE,
        l2_byte_joules=_L2_BYTE,
        dram_byte_joules=_DRAM_BYTE,
        l1_bytes=l1_bytes,
        last_cache_bytes=last_cache_bytes,
        error=error,
        sources=(*sources, _FETCHES),
    )


PI_4 = _profile(
    "Raspberry Pi 4",
    idle_watts=2.2,
    busy_watts=5.4,
    cores=4,
    hertz=1.5e9,
    int8_per_cycle=8,
    float_per_cycle=4,
    l1_bytes=32 << 10,
    last_cache_bytes=1 << 20,
    error=0.5,
    sources=(
        "2.2 W at idle, 5.4 W under high load: chipwired.com/raspberry-pi-power-use, USB meter; "
        "2.1 W and 6.4 W with the GPU busy too: Raspberry Pi blog, Thermal testing Raspberry Pi 4, "
        "November 2019",
        "Cortex-A72: one 8 x int8 or 4 x float32 multiply-add per cycle: Arm Cortex-A72 Software "
        "Optimization Guide",
    ),
)
PI_5 = _profile(
    "Raspberry Pi 5",
    idle_watts=2.4,
    busy_watts=6.9,
    cores=4,
    hertz=2.4e9,
    int8_per_cycle=32,
    float_per_cycle=8,
    l1_bytes=64 << 10,
    last_cache_bytes=2 << 20,
    error=0.5,
    sources=(
        "1.8 W at idle and 7.9 W under load by one meter: github.com/geerlingguy/sbc-reviews, "
        "issue 21; 2.4 W at idle from the power management chip's rails (1.55 W) by the fit rails "
        "x 1.1451 + 0.5879 W: pitop.hongjunwu.com/guide/power; idle of the latter, under load "
        "three quarters of the former's difference more, as that includes the whole board's load",
        "Cortex-A76: two 16 x int8 dot products or two 4 x float32 multiply-adds per cycle: Arm "
        "Cortex-A76 Software Optimization Guide",
    ),
)
ORIN_NANO = _profile(
    "Jetson Orin Nano",
    idle_watts=4.0,
    busy_watts=7.6,
    cores=6,
    hertz=1.51e9,
    int8_per_cycle=32,
    float_per_cycle=8,
    l1_bytes=64 << 10,
    last_cache_bytes=4 << 20,
    error=0.6,
    sources=(
        "2.2 W at VDD_IN with all that can be switched off: forums.developer.nvidia.com, topic "
        "348662; 7 W of a product at idle: github.com/ID-Robots/clawbox, pull request 277; their "
        "geometric mean",
        "0.6 W a core: Cortex-A78AE of an AGX Orin, 5.6 W for eight at 1.7 GHz: "
        "forums.developer.nvidia.com, topic 323456, scaled to 1.51 GHz",
        "Cortex-A78: two 16 x int8 dot products or two 4 x float32 multiply-adds per cycle: Arm "
        "Cortex-A78 Software Optimization Guide",
    ),
)
N100 = _profile(
    "Intel N100 box",
    idle_watts=6.8,
    busy_watts=16.8,
    cores=4,
    hertz=2.9e9,
    int8_per_cycle=32,
    float_per_cycle=8,
    l1_bytes=32 << 10,
    last_cache_bytes=6 << 20,
    error=0.6,
    sources=(
        "6.8 W at idle: minipcland.com, How much power do mini Linux PCs consume (x86 Celeron)",
        "10 W more under load: the processor's limit is 6 W by Intel's datasheet and is set to up "
        "to 15 W (forum.level1techs.com, topic 217362); a box with the faster N150 takes 23.5 W in "
        "all: github.com/geerlingguy/top500-benchmark, issue 52",
        "Gracemont: one 32 x int8 dot product (AVX-VNNI) or 8 x float32 multiply-add per cycle: "
        "Intel Optimization Reference Manual",
    ),
)
GENERIC_X86 = _profile(
    "x86 machine of unknown power",
    idle_watts=10.0,
    busy_watts=15.0,
    cores=1,
    hertz=2.5e9,
    int8_per_cycle=16,
    float_per_cycle=16,
    l1_bytes=32 << 10,
    last_cache_bytes=8 << 20,
    error=1.0,
    sources=(
        "5 W a core at 2.5 GHz: a server's 180 W for 32 cores (AMD EPYC 7601 datasheet); an order "
        "of magnitude for others, as is 10 W at idle",
        "two 8 x int16 multiply-adds or two 8 x float32 per cycle: AVX2",
    ),
)
GENERIC_ARM = replace(
    PI_5,
    name="ARM board of unknown power",
    error=1.0,
    sources=("those of a Raspberry Pi 5, as an order of magnitude", *PI_5.sources),
)

PROFILES = {
    "pi-4": PI_4,
    "pi-5": PI_5,
    "orin-nano": ORIN_NANO,
    "n100": N100,
    "generic-x86": GENERIC_X86,
    "generic-arm": GENERIC_ARM,
}

_BOARDS = (
    (r"Raspberry Pi (?:4\b|400\b|Compute Module 4)", PI_4),
    (r"Raspberry Pi (?:5\b|500\b|Compute Module 5)", PI_5),
    (r".*\bOrin Nano\b", ORIN_NANO),
)


def profile_of_machine(files: SensorFiles | None = None) -> DeviceEnergy:
    """The profile of the board or CPU that the system names; a generic one for others."""
    files = files or SensorFiles()
    board = files.text_or_none("proc/device-tree/model") or files.text_or_none(
        "sys/firmware/devicetree/base/model"
    )
    for pattern, profile in _BOARDS:
        if re.match(pattern, board or ""):
            return profile
    cpuinfo = files.text_or_none("proc/cpuinfo") or ""
    if re.search(r"^model name\s*:.*\bN1[05]0\b", cpuinfo, re.MULTILINE):
        return N100
    is_arm = board is not None or "CPU implementer" in cpuinfo
    return GENERIC_ARM if is_arm else GENERIC_X86
