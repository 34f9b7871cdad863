"""tools/arm_speed.py: what it reads, and that the plugin counts what runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tools import arm_instructions, arm_rootfs, arm_speed
from tools.arm_instructions import CPUS, Counts
from tools.elf import read_functions
from tools.wheel_targets import find_zig

# --- instructions -------------------------------------------------------------------------------

MARKS = """mark
1000 3 10
mark
1000 3 10
2000 5 2
3000 1 4
mark
1000 3 14
2000 5 4
1000 2 1
3000 1 4
"""


def test_marks_are_sections_and_blocks_of_one_address_are_added() -> None:
    sections = arm_instructions.read_marks(MARKS)
    assert sections == [
        {0x1000: 30},
        {0x1000: 30, 0x2000: 10, 0x3000: 4},
        {0x1000: 44, 0x2000: 20, 0x3000: 4},
    ]


def test_what_runs_the_same_number_of_times_belongs_to_no_run() -> None:
    assert arm_instructions.per_run(arm_instructions.read_marks(MARKS), 2) == {0x1000: 7, 0x2000: 5}


@pytest.mark.parametrize("text", ["1000 3 10\n", "mark\n1000 3\n", "mark\nzz 1 1\n"])
def test_what_the_plugin_does_not_write_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"line|invalid literal"):
        arm_instructions.read_marks(text)


def test_a_mark_that_is_missing_is_noticed() -> None:
    with pytest.raises(ValueError, match="2 marks instead of 3"):
        arm_instructions.per_run(arm_instructions.read_marks("mark\nmark\n"), 1)


def test_addresses_become_places_in_files() -> None:
    files = [(0x5000, 0x6000, 0x200, "/lib/b.so"), (0x1000, 0x2000, 0, "/usr/bin/python3.11")]
    places = arm_instructions.by_place({0x1010: 4.0, 0x5010: 6.0, 0x9000: 1.0}, files)
    assert places == {
        ("/usr/bin/python3.11", 0x10): 4.0,
        ("/lib/b.so", 0x210): 6.0,
        ("elsewhere", 0x9000): 1.0,
    }
    counts = Counts("edgeinfer", "neon", places)
    assert counts.total == 7  # not the interpreter's
    assert counts.by_file() == {"b.so": 6.0, "elsewhere": 1.0}


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("qemu-aarch64 version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)", (7, 2)),
        ("qemu-aarch64 version 10.0.2", (10, 0)),
    ],
)
def test_version_of_qemu(text: str, version: tuple[int, int]) -> None:
    assert arm_instructions.qemu_version(text) == version


def test_cpuinfo_names_the_cpu_that_is_emulated() -> None:
    for cpu in CPUS:
        lines = arm_instructions.cpuinfo(cpu).splitlines()
        assert f"CPU part\t: {cpu.part:#05x}" in lines
        assert "CPU implementer\t: 0x41" in lines
        assert "processor\t: 0" in lines


def test_ratio_needs_a_peer() -> None:
    assert arm_speed.Comparison("m", "c", "neon", 80, 100).ratio == 0.8
    assert arm_speed.Comparison("m", "c", "neon", 80, None).ratio is None
    shown = arm_speed.show_comparisons([arm_speed.Comparison("m", "c", "neon", 1234, None)], None)
    assert shown.splitlines()[-1].split() == ["m", "c", "neon", "1,234", "-", "-"]


# A program without a C library: 1000 rounds between the first two marks, 3000 between the last two.
PROGRAM = """
    .globl _start
_start:
    mov x19, #3
    mov x20, #1000
1:  movz x0, #0x4d4b
    movk x0, #0x4549, lsl #16
    mov x8, #167
    svc #0
    mov x1, x20
2:  add x2, x2, x1
    subs x1, x1, #1
    b.ne 2b
    add x20, x20, #1000
    cmp x20, #4000
    b.ne 1b
    movz x0, #0x4d4b
    movk x0, #0x4549, lsl #16
    mov x8, #167
    svc #0
    mov x0, #0
    mov x8, #93
    svc #0
"""


def test_the_plugin_counts_a_loop(tmp_path: Path) -> None:
    zig = find_zig()
    if zig is None:
        pytest.skip("needs a compiler for arm64: pip install ziglang")
    try:
        plugin = arm_instructions.build_plugin(tmp_path)
    except arm_rootfs.MissingToolError as error:
        pytest.skip(str(error))
    source, program, marks = tmp_path / "loop.s", tmp_path / "loop", tmp_path / "marks"
    source.write_text(PROGRAM)
    command = [zig, "cc", "--target=aarch64-linux-musl", "-nostdlib", "-static", "-o", program]
    subprocess.run([*map(str, command), str(source)], check=True)
    start = ["qemu-aarch64", "-cpu", "cortex-a53", "-plugin", f"{plugin},out={marks}", str(program)]
    subprocess.run(start, check=True)
    sections = arm_instructions.read_marks(marks.read_text())
    totals = [sum(section.values()) for section in sections]
    assert len(totals) == 4
    # 3 instructions a round, and 8 around the loop between one mark and the next.
    assert [later - sooner for sooner, later in pairwise(totals[1:])] == [3000, 3000]
    assert totals[1] == 3 * 1000 + 8


def test_functions_of_a_library_have_their_source(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    source = tmp_path / "some_kernel.c"
    source.write_text(
        "static __attribute__((noinline)) int inner(int x) { return x * 3; }\n"
        "int outer(int x) { return inner(x) + 1; }\n"
    )
    library = tmp_path / "lib.so"
    subprocess.run(
        [compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(source)], check=True
    )
    by_name = {function.name: function for function in read_functions(library)}
    assert by_name["inner"].source == "some_kernel.c"
    assert by_name["inner"].size > 0
    assert by_name["outer"].source == ""
    subprocess.run(["strip", str(library)], check=True)
    assert read_functions(library) == []


def test_without_qemu_it_is_skipped_and_says_what_to_install(
    repo_root: Path, tmp_path: Path
) -> None:
    model = tmp_path / "m.tflite"
    model.touch()
    command = [sys.executable, str(repo_root / "tools" / "arm_speed.py"), "--no-loops", str(model)]
    done = subprocess.run(
        command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == arm_speed.SKIPPED, done.stderr
    assert "qemu-user" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--loops", "--no-loops"], "leave nothing"),
        (["--runs", "0"], "1 or more"),
        (["absent.tflite"], "no such file"),
        (["--cpu", "cortex-m4"], "invalid choice"),
    ],
)
def test_wrong_arguments_are_named(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        arm_speed.main(words)
    assert message in capsys.readouterr().err
