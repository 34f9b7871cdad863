"""tools/arm_test.py itself: what it compares, and that it cannot pass by testing nothing."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tools import arm_rootfs, arm_test, output_hashes

WANTED = {"m": {"scalar": "1" * 64}}


def test_the_same_hash_on_the_same_tiers_passes() -> None:
    found = {"m": {"scalar": "1" * 64, "neon": "1" * 64}}
    arm_test.compare_hashes("here", found, WANTED, ["scalar", "neon"])


@pytest.mark.parametrize(
    ("by_tier", "reason"),
    [
        ({"scalar": "1" * 64, "neon": "2" * 64}, "neon gives 2"),
        ({"scalar": "1" * 64}, "has tiers scalar, not scalar, neon"),
        ({"scalar": "1" * 64, "neon": "1" * 64, "i8mm": "1" * 64}, "i8mm"),
    ],
)
def test_other_bits_or_other_tiers_fail(by_tier: dict[str, str], reason: str) -> None:
    with pytest.raises(arm_test.Failure, match=reason):
        arm_test.compare_hashes("here", {"m": by_tier}, WANTED, ["scalar", "neon"])


def test_every_arm_tier_is_run_on_some_cpu(repo_root: Path) -> None:
    rows = re.findall(
        r'^  "(\w+)\|(?:\w+,)*(arm64|arm)\b',
        (repo_root / "cmake/kernel_tiers.cmake").read_text(),
        re.M,
    )
    names = {"arm64": arm_rootfs.ARM64, "arm": arm_rootfs.ARMHF}
    for quick in (True, False):
        run = {
            (tier, machine.system)
            for machine in arm_test.MACHINES
            if machine.quick or not quick
            for tier in machine.tiers
        }
        assert {(tier, names[arch]) for tier, arch in rows} <= run
    assert rows


def test_inputs_are_the_same_everywhere() -> None:
    digest = hashlib.sha256()
    for kind in range(3):
        for dtype in ("int8", "uint8", "int16", "float32"):
            drawn = output_hashes.tensor(f"x {kind + 3}", (2, 5, 7), np.dtype(dtype), kind)
            assert (drawn.shape, drawn.dtype) == ((2, 5, 7), np.dtype(dtype))
            digest.update(drawn.tobytes())
    assert digest.hexdigest() == INPUTS_SHA256


INPUTS_SHA256 = "aa55ad276b97eb86a09c8ab968728a3fe63eee9fc7a71fed07cd499aa5d6a7e6"


@pytest.mark.parametrize(("number", "value"), [(0, -128), (1, 127), (2, 0)])
def test_constant_inputs_begin_with_the_extremes(number: int, value: int) -> None:
    drawn = output_hashes.tensor(f"x {3 * number + 2}", (4,), np.dtype(np.int8), 2)
    assert drawn.tolist() == [value] * 4


def test_without_qemu_it_is_skipped_and_says_what_to_install(
    repo_root: Path, tmp_path: Path
) -> None:
    command = [sys.executable, str(repo_root / "tools" / "arm_test.py")]
    done = subprocess.run(
        command, env={**os.environ, "PATH": str(tmp_path)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == arm_test.SKIPPED
    assert "qemu-user" in done.stdout.splitlines()[-1]


def test_a_change_of_packages_makes_another_system() -> None:
    assert arm_rootfs.ARM64.key != arm_rootfs.ARMHF.key
    assert replace(arm_rootfs.ARM64, wheels=()).key != arm_rootfs.ARM64.key
    assert replace(arm_rootfs.ARM64).key == arm_rootfs.ARM64.key
