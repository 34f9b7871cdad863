"""The library as a wheel has it, cross-compiled by zig, but with symbols."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools.arm_rootfs import MissingToolError, RootfsError
from tools.wheel_targets import find_target, find_zig, zig_options

ROOT = Path(__file__).resolve().parents[1]


def build(machine: str, folder: Path) -> Path:
    """Compile it for a machine, as pip calls it, with glibc; the library is in `folder`.

    Raises
    ------
    MissingToolError
        A tool for it is not installed.
    RootfsError
        It cannot be compiled.
    """
    zig, target = find_zig(), find_target(machine, "manylinux")
    if target is None:
        raise RootfsError(f"no wheel is built for {machine}")
    if zig is None:
        raise MissingToolError("install the compiler: pip install ziglang")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    cmake, ninja = shutil.which("cmake", path=path), shutil.which("ninja", path=path)
    if cmake is None or ninja is None:
        raise MissingToolError("install what builds the library: pip install cmake ninja")
    configure = [cmake, "-S", str(ROOT), "-B", str(folder), "-G", "Ninja"]
    configure += [f"-DCMAKE_MAKE_PROGRAM={ninja}", "-DCMAKE_BUILD_TYPE=Release"]
    configure += ["-DEI_BUILD_STATIC=OFF", "-DEI_EVERY_TIER=ON"]
    configure += zig_options(zig, target)
    environment = {name: text for name, text in os.environ.items() if name != "CC"}
    for command in (configure, [cmake, "--build", str(folder), "--target", "edgeinfer"]):
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise RootfsError(f"{done.stdout}\nthe library was not built for {machine}, see above")
    return folder / "libedgeinfer.so"
