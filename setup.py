"""Builds the C core with CMake and puts it into the package.

The library is loaded through cffi's ABI mode, so there is no extension module and one wheel per
platform serves every Python 3: the tag is ``py3-none-<platform>``. The declarations for cffi are
generated from the public header. Everything else about the package stands in pyproject.toml.

``CMAKE_ARGS`` in the environment is handed to CMake, for a cross compiler's toolchain file. Where
there is no C compiler, the one in the Python package ``ziglang`` is used; pip installs it for the
build (tools/build_backend.py).
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "tools"))
import build_ffi  # noqa: E402
import wheel_targets  # noqa: E402

LIBRARY = "libedgeinfer.so"
DECLARATIONS = "_cdefs.py"
COMPILER_HELP = (
    "It needs a C11 compiler: `apt install gcc libc6-dev` or the like, or `pip install ziglang`."
)


def find_tool(name: str) -> str | None:
    """A program from PATH, or from the scripts folder of this Python."""
    return shutil.which(name) or shutil.which(name, path=sysconfig.get_path("scripts"))


def compiler_options() -> list[str]:
    """Options for CMake where no C compiler is installed; none where one is, or is named."""
    if wheel_targets.has_c_compiler():
        return []
    zig, target = wheel_targets.find_zig(), wheel_targets.this_machine()
    if zig is None or target is None:
        raise SystemExit(f"edgeinfer: there is no C compiler here. {COMPILER_HELP}")
    return wheel_targets.zig_options(zig, target)


def build_library(build_dir: Path, destination: Path) -> None:
    """Compile csrc/ in a fresh `build_dir` and copy the library to `destination`."""
    cmake = find_tool("cmake")
    if cmake is None:
        raise SystemExit("edgeinfer: building the C core needs cmake; `pip install cmake ninja`")
    configure = [cmake, "-S", str(ROOT), "-B", str(build_dir), "-DCMAKE_BUILD_TYPE=Release"]
    configure += ["-DEI_BUILD_STATIC=OFF", "-DEI_STRIP=ON"]
    ninja = find_tool("ninja")
    if ninja is not None:
        configure += ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    configure += compiler_options()
    configure += shlex.split(os.environ.get("CMAKE_ARGS", ""))

    # pip builds with tools in a folder that is gone the next time; a cache would point there.
    shutil.rmtree(build_dir, ignore_errors=True)
    for command in (configure, [cmake, "--build", str(build_dir), "--target", "edgeinfer"]):
        print("edgeinfer:", shlex.join(command), flush=True)
        try:
            subprocess.run(command, check=True)
        except subprocess.CalledProcessError as error:
            raise SystemExit(
                f"edgeinfer: the C core did not build; the reason is above. {COMPILER_HELP}"
            ) from error

    library = build_dir / LIBRARY
    if not library.is_file():
        raise SystemExit(f"edgeinfer: CMake finished but made no {LIBRARY} in {build_dir}")
    # Renamed into place, so that a process which has the old file mapped keeps it.
    destination.mkdir(parents=True, exist_ok=True)
    new = destination / f"{LIBRARY}.new"
    shutil.copyfile(library, new)
    new.chmod(0o755)
    new.replace(destination / LIBRARY)


class BuildPackage(build_py):
    """Python files, then what is made from C beside them (in the source tree when editable)."""

    def run(self) -> None:
        if self.editable_mode and os.environ.get("EDGEINFER_SKIP_BUILD") == "1":
            super().run()  # tools/dev.py builds both itself, and only what changed
            return
        package = ROOT / "edgeinfer"
        if not self.editable_mode:
            # Modules that were deleted since the last build must not come along.
            package = Path(self.build_lib) / "edgeinfer"
            shutil.rmtree(package, ignore_errors=True)
        super().run()
        build_library(ROOT / "build" / "package", package)
        build_ffi.write_module(package / DECLARATIONS)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        outputs = super().get_outputs(include_bytecode)
        if not self.editable_mode:
            package = Path(self.build_lib) / "edgeinfer"
            outputs += [str(package / LIBRARY), str(package / DECLARATIONS)]
        return list(outputs)


class BinaryDistribution(Distribution):
    """Holds machine code, although setuptools compiles none of it."""

    def has_ext_modules(self) -> bool:
        return True


class PlatformWheel(bdist_wheel):
    """A wheel for one platform and every Python 3."""

    def get_tag(self) -> tuple[str, str, str]:
        # Several tags may be asked for, joined by dots; setuptools would make them one.
        named = self.plat_name if self.plat_name_supplied else super().get_tag()[2]
        return "py3", "none", named.replace("-", "_")


setup(
    distclass=BinaryDistribution,
    cmdclass={"build_py": BuildPackage, "bdist_wheel": PlatformWheel},
)
