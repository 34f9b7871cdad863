"""Products of int8 rows on tiers that need AVX-512 or AVX-VNNI, which SIMDe emulates here.

Their source is compiled as it is, with emulated/immintrin.h in front of the compiler's; tier
avxvnni, whose instruction is inline assembly, with the intrinsic in its place. What they give is
held against the scalar version bit for bit; tier avx2 as well, by numbers of rows that operators
never ask for. Machines that have the instructions run these tiers in
test_four_bits.py too.
"""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cffi import FFI

from tests.kernels.draw import Draw
from tests.requirements import missing, require_c_compiler

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ROOT / "csrc" / "kernels"
FAMILIES = {0: "packed_gemm_s8_s8c", 1: "packed_gemm_s8_f4", 2: "packed_gemm_s8_f4"}  # by scheme
SHARED = ["exact_fma.c", "packed_tile_scalar.c"]
FLAGS = ["-std=c11", "-O1", "-w", "-fPIC", "-shared", "-ffp-contract=off", "-fno-math-errno"]
PIECES = {1: 4, 2: 2}  # of 8 values, in a block, by scheme


def can_run() -> bool:
    cpu = Path("/proc/cpuinfo")
    flags = cpu.read_text().split() if cpu.exists() else []
    return platform.machine() == "x86_64" and {"avx2", "fma", "f16c"} <= set(flags)


@pytest.fixture(scope="module", params=["avx2", "avxvnni", "avx512vnni"])
def tier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The library and its interface, and the tier's name."""
    if not can_run():
        pytest.skip("this CPU is not x86-64 with AVX2, FMA and F16C")
    if not Path("/usr/include/simde/x86/avx512.h").exists():
        missing("no SIMDe: apt install libsimde-dev")
    library = tmp_path_factory.mktemp("emulated") / "tier.so"
    command = [require_c_compiler(), *FLAGS, "-mavx2", "-mfma", "-mf16c", "-DEI_EMULATED=1"]
    command += ["-I", str(Path(__file__).parent / "emulated"), "-I", str(ROOT / "csrc")]
    command += ["-I", str(ROOT / "csrc" / "include"), "-o", str(library)]
    families = sorted(set(FAMILIES.values()))
    versions = ("scalar", request.param)
    sources = [*SHARED, *(f"{name}/{name}_{tier}.c" for name in families for tier in versions)]
    subprocess.run([*command, *(str(KERNELS / name) for name in sources)], check=True)
    ffi = FFI()
    ffi.cdef("""
        typedef struct {
            const int8_t *x; size_t x_step; size_t rows; size_t blocks;
            const uint8_t *weights; size_t tile_bytes; size_t tiles;
            float *sums; size_t sum_step; int scheme;
        } arguments;
    """)
    if request.param == "avx512vnni":
        ffi.cdef("void ei_packed_gemm_s8_f4_vbmi_avx512vnni(const arguments *);")
    for name in families:
        for version in versions:
            ffi.cdef(f"void ei_{name}_{version}(const arguments *);")
    return ffi, ffi.dlopen(str(library)), request.param


def draw_weights(draw: Draw, scheme: int, tiles: int, blocks: int) -> np.ndarray:
    """Any codes; scales of a range, no NaN. Any int8 for scheme 0."""
    if scheme == 0:
        values = draw.rng.integers(-128, 127, (tiles, 64 * blocks), endpoint=True).astype(np.int8)
        return (values if draw.flag(0.8) else np.full_like(values, -128)).view(np.uint8)
    groups = -(-blocks // 4)
    size = blocks * PIECES[scheme] * 64 + groups * 64
    weights = draw.rng.integers(0, 256, (tiles, size)).astype(np.uint8)
    low, high = draw.choice([(100, 120), (0, 126), (0, 2), (126, 126)])
    for group in range(groups):
        at = group * (4 * PIECES[scheme] * 64 + 64)
        weights[:, at : at + 64] = draw.rng.integers(low, high, (tiles, 64), endpoint=True)
    return weights


@pytest.mark.parametrize("scheme", FAMILIES)
def test_sums_are_those_of_the_scalar_version(tier: Any, scheme: int) -> None:
    ffi, library, name = tier
    changed = 0
    for seed in range(40):
        draw = Draw(seed)
        rows, tiles, blocks = draw.integer(1, 19), draw.integer(1, 4), draw.integer(1, 10)
        blocks *= 1 if scheme else draw.choice([1, 7])
        k = (8 * PIECES[scheme] if scheme else 4) * blocks + draw.choice([0, 8])
        x = draw.rng.integers(-128, 127, (rows, k), endpoint=True).astype(np.int8)
        if draw.flag(0.3):
            x[:] = draw.choice([-128, 127])
        if scheme == 0:
            x = np.maximum(x, -127)
        weights = draw_weights(draw, scheme, tiles, blocks)
        step = 16 * tiles + draw.choice([0, 3])
        start = draw.rng.standard_normal((rows, step)).astype(np.float32)
        results = []
        versions = ["scalar", name]
        if scheme != 0 and name == "avx512vnni":
            versions.append("vbmi_avx512vnni")
        for version in versions:
            sums = start.copy()
            arguments = ffi.new("arguments *", [
                ffi.from_buffer("int8_t[]", x), k, rows, blocks,
                ffi.from_buffer("uint8_t[]", weights), weights.shape[1], tiles,
                ffi.from_buffer("float[]", sums), step, scheme,
            ])  # fmt: skip
            getattr(library, f"ei_{FAMILIES[scheme]}_{version}")(arguments)
            results.append(sums.view(np.uint32))
        for version, result in zip(versions[1:], results[1:], strict=True):
            np.testing.assert_array_equal(results[0], result, f"{version}, seed {seed}")
        changed += int(np.any(results[0] != start.view(np.uint32)))
    assert changed > 20  # products with the smallest scales are too small to change a sum
