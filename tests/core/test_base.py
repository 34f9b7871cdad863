"""csrc/base by itself: checksums by every method, CPU features and kinds, sorting."""

from __future__ import annotations

import itertools
import os
import platform
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cffi import FFI

ffi = FFI()
ffi.cdef(
    """
    uint32_t ei_crc32(uint32_t crc, const void *data, size_t bytes);
    uint32_t ei_crc32_portable(uint32_t crc, const void *data, size_t bytes);
    uint32_t ei_crc32_pclmul(uint32_t crc, const void *data, size_t bytes);
    uint32_t ei_crc32_arm(uint32_t crc, const void *data, size_t bytes);
    uint32_t ei_cpu_features(void);
    int ei_cpu_list_parse(const char *text, uint64_t *mask);
    void ei_fastest_cpus(const char *root, uint64_t *fastest);
    typedef struct { const uint32_t *cpus; uint32_t cpu_count; int fastest_only;
                     uint64_t fastest[16]; } ei_placement;
    int ei_placement_apply(const ei_placement *placement, unsigned long thread, uint32_t i);
    void ei_sort(uint32_t *values, size_t count,
                 int (*less)(const void *context, uint32_t a, uint32_t b), const void *context);
    """
)

Checksum = Callable[[bytes | memoryview, int], int]

# Bits of base/cpu.h and the names that the kernel has for them in /proc/cpuinfo. A feature is found
# when all of its flags are there.
X86_FEATURES = {
    0: {"sse4_1"},
    1: {"pclmulqdq"},
    2: {"avx2"},
    3: {"fma"},
    4: {"avx_vnni"},
    5: {"avx512f", "avx512bw", "avx512dq", "avx512vl"},
    6: {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"},
}
ARM64_FEATURES = {16: {"asimd"}, 17: {"crc32"}, 18: {"asimddp"}, 19: {"i8mm"}}


@pytest.fixture(scope="session")
def base(repo_root: Path, compile_c: Callable[..., Path]) -> Any:
    sources = sorted((repo_root / "csrc" / "base").glob("*.c"))
    return ffi.dlopen(str(compile_c("base.so", "-shared", "-fPIC", *sources)))


ARM = {machine: ["_arm"] for machine in ("aarch64", "armv7l", "armv8l")}
METHODS = {"x86_64": ["_pclmul"], **ARM}.get(platform.machine(), [])


@pytest.fixture(scope="session", params=["", "_portable", *METHODS])
def crc32(request: pytest.FixtureRequest, base: Any) -> Checksum:
    needed = {"_pclmul": 0b11, "_arm": 1 << 17}.get(request.param, 0)
    if base.ei_cpu_features() & needed != needed:
        pytest.skip("this CPU lacks the instructions")
    function = getattr(base, f"ei_crc32{request.param}")
    return lambda data, start: int(function(start, ffi.from_buffer(data), len(data)))


def test_crc32_is_that_of_zlib_for_every_length(crc32: Checksum) -> None:
    data = np.random.default_rng(1).integers(0, 256, 5000).astype(np.uint8).tobytes()
    for size in [*range(400), 4095, 4096, 4097, 5000]:
        assert crc32(data[:size], 0) == zlib.crc32(data[:size])


def test_crc32_goes_on_from_any_start_at_any_address(crc32: Checksum) -> None:
    rng = np.random.default_rng(2)
    data = rng.integers(0, 256, 1000).astype(np.uint8).tobytes()
    for shift, size in itertools.product(range(17), (0, 1, 63, 64, 65, 128, 500)):
        start = int(rng.integers(0, 2**32))
        part = memoryview(data)[shift : shift + size]
        assert crc32(part, start) == zlib.crc32(part, start)


@pytest.mark.parametrize("byte", [0x00, 0xFF, 0x80, 0x01])
def test_crc32_of_extremes(crc32: Checksum, byte: int) -> None:
    for size, start in itertools.product((64, 1000, 70000), (0, 2**32 - 1, 1)):
        data = bytes([byte]) * size
        assert crc32(data, start) == zlib.crc32(data, start)


def test_features_are_those_that_the_kernel_lists(base: Any) -> None:
    expected = {"x86_64": X86_FEATURES, "aarch64": ARM64_FEATURES}.get(platform.machine())
    cpuinfo = Path("/proc/cpuinfo")
    if expected is None or not cpuinfo.exists():
        pytest.skip("no list of this CPU's features to compare with")
    lines = cpuinfo.read_text().splitlines()
    listed = next(line for line in lines if line.startswith(("flags", "Features")))
    flags = set(listed.split(":")[1].split())
    found = base.ei_cpu_features()
    for bit, names in expected.items():
        assert bool(found >> bit & 1) == (names <= flags), names


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10, 1000])
def test_sorting(base: Any, count: int) -> None:
    keys = np.random.default_rng(count).integers(0, 50, count)
    values = ffi.new("uint32_t[]", list(range(count)))
    less = ffi.callback(
        "int (*)(const void *, uint32_t, uint32_t)", lambda _, a, b: keys[a] < keys[b]
    )
    base.ei_sort(values, count, less, ffi.NULL)
    order = list(values)
    assert sorted(order) == list(range(count))
    assert keys[order].tolist() == sorted(keys.tolist())


# --- kinds of CPUs

MASK_WORDS = 16


def cpus_of(mask: Any) -> set[int]:
    return {64 * w + i for w in range(MASK_WORDS) for i in range(64) if mask[w] >> i & 1}


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("0", {0}),
        ("0-3\n", {0, 1, 2, 3}),
        ("0-1,64,1022-1023\n", {0, 1, 64, 1022, 1023}),
        ("", None),
        ("\n", None),
        ("0,", None),
        ("3-1", None),
        ("-1", None),
        ("1024", None),
        ("0-99999999999999999999", None),
        ("0 1", None),
    ],
)
def test_lists_of_cpus(base: Any, text: str, cpus: set[int] | None) -> None:
    mask = ffi.new("uint64_t[]", [7] * MASK_WORDS)
    found = base.ei_cpu_list_parse(text.encode(), mask)
    if cpus is None:
        assert (found, list(mask)) == (0, [7] * MASK_WORDS)
    else:
        assert found
        assert cpus_of(mask) == cpus


FOUR_CPUS = {"system/cpu/present": "0-3\n"}


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({**FOUR_CPUS, "cpu_core/cpus": "0-1\n", "cpu_atom/cpus": "2-3\n"}, {0, 1}),
        (
            {
                **FOUR_CPUS,
                **{
                    f"system/cpu/cpu{i}/cpu_capacity": f"{capacity}\n"
                    for i, capacity in enumerate([446, 1024, 446, 1024])
                },
                "system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "9000000\n",
            },
            {1, 3},
        ),
        (
            {
                **FOUR_CPUS,
                **{
                    f"system/cpu/cpu{i}/cpufreq/cpuinfo_max_freq": f"{frequency}\n"
                    for i, frequency in enumerate([5_100_000, 4_900_000, 3_500_000, 5_100_000])
                },
            },
            {0, 1, 3},
        ),
        (FOUR_CPUS, set(range(1024))),
        ({}, set(range(1024))),
        ({**FOUR_CPUS, "cpu_core/cpus": "rubbish"}, set(range(1024))),
    ],
    ids=["Intel", "Arm", "frequencies", "one kind", "nothing known", "unreadable"],
)
def test_the_fastest_kind(base: Any, tmp_path: Path, files: dict[str, str], cpus: set[int]) -> None:
    for name, contents in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(contents)
    mask = ffi.new("uint64_t[]", MASK_WORDS)
    base.ei_fastest_cpus(str(tmp_path).encode(), mask)
    assert cpus_of(mask) == cpus


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux places threads")
def test_a_thread_is_put_on_the_fastest_cpus_that_are_allowed(base: Any) -> None:
    allowed = os.sched_getaffinity(0)
    fastest = max(allowed)
    placement = ffi.new("ei_placement *", {"fastest_only": 1})
    placement.fastest[fastest // 64] = 1 << fastest % 64
    found: list[set[int]] = []

    def thread() -> None:
        assert base.ei_placement_apply(placement, threading.get_ident(), 1) == 0
        found.append(os.sched_getaffinity(0))

    worker = threading.Thread(target=thread)
    worker.start()
    worker.join()
    assert found == [{fastest}]
    assert os.sched_getaffinity(0) == allowed
