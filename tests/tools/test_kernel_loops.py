"""tools/kernel_loops.py: which loops it finds in a library, and what llvm-mca says of them."""

from __future__ import annotations

import pytest

from tools import kernel_loops
from tools.arm_rootfs import MissingToolError
from tools.cpu_cores import CORES, Core
from tools.elf import Function
from tools.kernel_loops import (
    Estimate,
    Loop,
    estimate,
    find_llvm,
    inner_loop,
    is_kernel,
    jump_target,
    parse_cycles,
    parse_instructions,
    source_of,
    stand_in,
)

DISASSEMBLY = """
libedgeinfer.so:\tfile format elf64-littleaarch64

Disassembly of section .text:

0000000000001000 <multiply>:
    1000:      \tmov\tx3, #0x4
    1004:      \tsdot\tv1.4s, v2.16b, v3.4b[0]
    1008:      \tldr\tq0, [x1], #0x10
    100c:      \tsdot\tv0.4s, v1.16b, v2.4b[0]
    1010:      \tsdot\tv4.4s, v1.16b, v2.4b[1]
    1014:      \tsubs\tx3, x3, #0x1
    1018:      \tb.ne\t0x1008 <multiply+0x8>
    101c:      \tsdot\tv0.4s, v1.16b, v2.4b[0]
    1020:      \tcbnz\tx4, 0x101c <multiply+0x1c>
    1024:      \ttbz\tw5, #0x3, 0x1000 <multiply>
    1028:      \tbl\t0x1000 <multiply>
    102c:      \tret
"""

SUMMARY = """
Iterations:        400
Instructions:      2000
Total Cycles:      1010
Total uOps:        2400

Dispatch Width:    4
"""


def test_the_inner_loop_is_the_one_with_most_products() -> None:
    body = inner_loop(parse_instructions(DISASSEMBLY), "aarch64")
    assert body == (
        "ldr q0, [x1], #0x10",
        "sdot v0.4s, v1.16b, v2.4b[0]",
        "sdot v4.4s, v1.16b, v2.4b[1]",
        "subs x3, x3, #0x1",
        "b.ne .Lloop",
    )
    loop = Loop("multiply", "packed_gemm_dotprod.c", body, "aarch64")
    assert (loop.macs, loop.kind) == (32, "sdot")


def test_a_function_without_products_has_no_loop() -> None:
    without = DISASSEMBLY.replace("sdot", "mla")
    assert inner_loop(parse_instructions(without), "aarch64") == ()


def test_products_of_bytes_count_and_others_do_not() -> None:
    body = ("smull v0.8h, v1.8b, v2.8b", "smlal2 v0.8h, v1.16b, v2.16b")
    wide = ("smull v0.4s, v1.4h, v2.4h", "smlal2 v0.4s, v1.8h, v2.8h", "smull x0, w1, w2")
    assert Loop("f", "s", body, "aarch64").macs == 16
    assert Loop("f", "s", wide, "aarch64").macs == 0
    assert Loop("f", "s", ("smmla v0.4s, v1.16b, v2.16b",), "aarch64").macs == 32


@pytest.mark.parametrize(
    ("instruction", "target"),
    [
        ("b.ne 0x1008 <multiply+0x8>", 0x1008),
        ("b 0x1f794 <multiply_windows>", 0x1F794),
        ("cbz x8, 0x27a74 <multiply+0x270>", 0x27A74),
        ("tbnz w10, #0x0, 0x2e660", 0x2E660),
        ("bl 0x1e730 <multiply_patch>", None),
        ("br x3", None),
        ("ldr q0, [x1, #0x10]", None),
    ],
)
def test_jumps_and_where_they_lead(instruction: str, target: int | None) -> None:
    assert jump_target(instruction, "aarch64") == target


def test_cycles_are_those_of_an_iteration() -> None:
    assert parse_cycles(SUMMARY) == 1010 / 400
    with pytest.raises(ValueError, match="no summary"):
        parse_cycles("error: invalid operand")


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("packed_gemm_dotprod.c", True),
        ("packed_gemm_pairs_neon.c", True),
        ("depthwise_conv2d_s8_s8c_neon.c", True),
        ("packed_gemm_avx2.c", False),
        ("packed_gemm_f32_neon.c", True),  # has no products of bytes, so no loop
        ("add_neon.c", False),
        ("", False),
    ],
)
def test_kernels_are_known_by_their_file(source: str, wanted: bool) -> None:
    assert is_kernel(Function(0, 4, "multiply", source, 0), "aarch64") is wanted


def test_a_core_has_no_limit_for_what_it_lacks() -> None:
    by_name = {core.name: core for core in CORES}
    assert by_name["cortex-a53"].limit("sdot") is None
    assert by_name["cortex-a72"].limit("sdot") is None
    assert by_name["cortex-a76"].limit("sdot") is not None
    assert by_name["cortex-a76"].limit("smmla") is None


def test_llvm_mca_finds_two_dot_products_a_cycle() -> None:
    try:
        find_llvm("llvm-mca")
    except MissingToolError as error:
        pytest.skip(str(error))
    sdots = tuple(f"sdot v{i}.4s, v30.16b, v31.16b" for i in range(16))
    loop = Loop("f", "s", (*sdots, "subs x0, x0, #1", "b.ne .Lloop"), "aarch64")
    core = next(core for core in CORES if core.name == "cortex-a76")
    found = estimate(loop, core)
    assert found is not None
    assert found.cycles == pytest.approx(8, rel=0.1)
    assert found.share == pytest.approx(1, rel=0.1)


# --- x86 ----------------------------------------------------------------------------------------

BLOCKS = """
0000000000002000 <mxf4_1x16>:
    2000:      \tvpbroadcastd\t(%rdi), %ymm0
    2006:      \tvmovdqu\t(%rsi), %ymm1
    200a:      \t{vex}\tvpdpbusd\t%ymm0, %ymm1, %ymm2
    2010:      \tvpdpbusd\t(%rdi,%rax){1to16}, %zmm1, %zmm3
    2018:      \tcallq\t0x2000 <mxf4_1x16>
    201c:      \tleaq\t0x1234(%rip), %rax  # 0x3254 <table>
    2020:      \tjne\t0x2006 <mxf4_1x16+0x6>
    2024:      \tvpmaddwd\t%ymm0, %ymm1, %ymm2
    2028:      \tvpmaddubsw\t%ymm0, %ymm1, %ymm2
    202c:      \tjb\t0x2024 <mxf4_1x16+0x24>
"""


def test_products_of_x86_count_by_their_width() -> None:
    found = parse_instructions(BLOCKS)
    body = inner_loop(found, "x86_64")
    assert body[1] == "{vex} vpdpbusd %ymm0, %ymm1, %ymm2"
    assert body[-2:] == ("leaq 0x1234(%rip), %rax", "jne .Lloop")
    loop = Loop("f", "s", body, "x86_64")
    assert (loop.kind, loop.macs) == ("vpdpbusd zmm", 64)  # not what remains, 32
    assert Loop("f", "s", body[:2], "x86_64").macs == 32


def test_sums_of_pairs_are_no_products() -> None:
    pairs = ("vpmaddubsw %ymm0, %ymm1, %ymm2", "vpmaddwd %ymm3, %ymm2, %ymm2")
    assert Loop("f", "s", pairs, "x86_64").macs == 32
    assert Loop("f", "s", pairs[1:], "x86_64").macs == 16


@pytest.mark.parametrize(
    ("function", "per_mac"),
    [
        ("mxf4_1x32", 17 / 32),
        ("mxf4_1x32_vbmi", 17 / 32),
        ("nvf4_1x16", 18 / 32),
        ("s8c_1x64", 1.0),
        ("mxf4_8x32", None),
        ("multiply", None),
    ],
)
def test_one_row_has_bytes_of_weights(function: str, per_mac: float | None) -> None:
    loop = Loop(function, "s", ("vpdpbusd %zmm0, %zmm1, %zmm2",) * 4, "x86_64")
    assert loop.bytes_per_mac == per_mac
    found = Estimate(loop, CORES[-1], 8.0, 64.0)
    assert found.bytes_per_cycle == (None if per_mac is None else 32 * per_mac)


def test_functions_that_other_files_call_have_their_file_in_their_name() -> None:
    function = Function(0, 4, "ei_packed_gemm_s8_f4_avx512vnni", "", 0)
    assert source_of(function) == "packed_gemm_s8_f4_avx512vnni.c"
    assert is_kernel(function, "x86_64")
    assert not is_kernel(function, "aarch64")


def test_stand_ins_take_the_place_of_what_a_model_has_wrong() -> None:
    zen4 = next(core for core in CORES if core.name == "zen4")
    wide = "vpdpbusd (%rdi){1to16}, %zmm1, %zmm3"
    assert stand_in(wide, zen4) == "vfmadd231ps (%rdi){1to16}, %zmm1, %zmm3"
    assert stand_in("vpdpbusd %ymm0, %ymm1, %ymm3", zen4) == "vpdpbusd %ymm0, %ymm1, %ymm3"
    assert stand_in("vpsrlw $4, %zmm1, %zmm2", zen4) == "vpshufb %zmm1, %zmm1, %zmm2"


@pytest.mark.parametrize("core", [core for core in CORES if core.machine == "x86_64"])
def test_limits_are_what_llvm_mca_says_of_products_alone(core: Core) -> None:
    try:
        find_llvm("llvm-mca")
    except MissingToolError as error:
        pytest.skip(str(error))
    for kind in core.limits:
        name, width = kind.split()
        lines = tuple(f"{name} %{width}14, %{width}15, %{width}{i}" for i in range(12))
        found = estimate(Loop("f", "s", (*lines, "jne .Lloop"), "x86_64"), core)
        assert found is not None
        assert found.share == pytest.approx(1, rel=0.1), kind


def test_wrong_arguments_of_loops_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        kernel_loops.main(["--library", "absent.so"])
    assert "no such file" in capsys.readouterr().err
