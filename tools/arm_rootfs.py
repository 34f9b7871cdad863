"""ARM systems in a folder: Debian's packages unpacked, Python under qemu, our wheel in it.

Nothing is installed on this machine and no root is needed. apt runs with a configuration of its own
(an empty package database, another architecture, the mirrors of this machine), `dpkg-deb -x`
unpacks, and qemu's user emulation runs single programs. Without binfmt the kernel cannot start an
ARM program by itself, so `bin/python` of the environment is a shell script that starts qemu, and
Python is told that this script is its own name: what a test starts by sys.executable works too.

The folder is named after what is in it, so a change of packages makes another one.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tools import processes  # noqa: E402

BUILD = ROOT / "build" / "arm"
LOCK = BUILD / "lock"
CPU_VARIABLE = "EDGEINFER_QEMU_CPU"

# Wheels that the tests need on the device, and edgeinfer's own two.
_TEST_WHEELS = ("pytest>=8.3", "pytest-xdist>=3.6", "hypothesis>=6.130")


class MissingToolError(Exception):
    """This machine lacks a program, or the network; the last line says what to do."""


class RootfsError(Exception):
    """The system could not be made."""


@dataclass(frozen=True)
class System:
    """One kind of ARM system."""

    name: str
    """Debian's name of the architecture."""
    machine: str
    """pip's name of it."""
    qemu: str
    triplet: str
    """Debian's name for the folder of libraries."""
    packages: tuple[str, ...]
    wheels: tuple[str, ...]
    platforms: tuple[str, ...]
    """Tags of wheels that it takes, for pip."""

    @property
    def key(self) -> str:
        """Changes with what the system holds."""
        made_by = Path(__file__).read_bytes() + repr(self).encode() + _codename().encode()
        return hashlib.sha256(made_by).hexdigest()[:12]

    @property
    def folder(self) -> Path:
        return BUILD / f"{self.name}-{self.key}"

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def python(self) -> Path:
        """Starts the system's Python."""
        return self.folder / "env" / "bin" / "python"

    @property
    def compiler(self) -> Path:
        """Compiles for the system, on this machine."""
        return self.folder / "env" / "bin" / "cc"

    @property
    def site_packages(self) -> Path:
        (library,) = (self.root / "usr" / "lib").glob("python3.[0-9]*")
        return self.folder / "env" / "lib" / library.name / "site-packages"

    def environment(self, cpu: str, **extra: str) -> dict[str, str]:
        """Variables for a program of the system on a CPU that qemu knows."""
        kept = ("HOME", "LANG", "PATH", "TERM", "TMPDIR")
        blas = self.root / "usr" / "lib" / self.triplet
        return {
            **{name: os.environ[name] for name in kept if name in os.environ},
            CPU_VARIABLE: cpu,
            "CC": str(self.compiler),
            "LD_LIBRARY_PATH": f"{blas / 'blas'}:{blas / 'lapack'}",
            # qemu looks for files in the system first, but makes new ones on this machine.
            "PYTHONPYCACHEPREFIX": str(self.folder / "pycache"),
            **extra,
        }


ARM64 = System(
    "arm64",
    "aarch64",
    "qemu-aarch64",
    "aarch64-linux-gnu",
    ("python3", "libstdc++6"),
    ("numpy>=1.23", "cffi>=1.15", *_TEST_WHEELS),
    ("manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"),
)
# For 32 bit there are no wheels of numpy and cffi: Debian's own packages.
ARMHF = System(
    "armhf",
    "armv7l",
    "qemu-arm",
    "arm-linux-gnueabihf",
    ("python3", "python3-numpy", "python3-cffi"),
    _TEST_WHEELS,
    ("manylinux_2_31_armv7l", "manylinux_2_17_armv7l"),
)


# --- tools of this machine ----------------------------------------------------------------------


def require_tools(*names: str) -> None:
    """Check that programs are there.

    Raises
    ------
    MissingToolError
        One is not.
    """
    packages = {"apt-get": "apt", "dpkg-deb": "dpkg"}
    absent = sorted({packages.get(n, "qemu-user") for n in names if shutil.which(n) is None})
    if absent:
        raise MissingToolError(f"install {', '.join(absent)}: sudo apt install {' '.join(absent)}")


def run(
    command: Sequence[str | Path],
    otherwise: str,
    error: type[Exception] = RootfsError,
    **variables: str,
) -> str:
    """Run a program of this machine; what it printed."""
    code, printed = processes.run(command, env={**os.environ, **variables})
    if code != 0:
        words = shlex.join(map(str, command))
        raise error(f"{printed}\n{otherwise} (the command was: {words})")
    return printed


def _codename() -> str:
    release = Path("/etc/os-release")
    text = release.read_text() if release.exists() else ""
    match = re.search(r'^VERSION_CODENAME="?(\w+)', text, re.MULTILINE)
    return match[1] if match else ""


# --- making a system ----------------------------------------------------------------------------


def make(system: System, zig: Path, zig_target: str) -> None:
    """Bring a system into its folder, unless it is there already.

    Raises
    ------
    MissingToolError
        This machine is no Debian, lacks a program, or cannot download packages or wheels.
    RootfsError
        The packages are not as expected.
    """
    require_tools("apt-get", "dpkg-deb", system.qemu)
    with processes.exclusive(LOCK):
        stamp = system.folder / "made"
        if not stamp.exists():
            for old in BUILD.glob(f"{system.name}-*"):
                shutil.rmtree(old)
            unpack_packages(system.name, system.packages, system.root)
            _make_environment(system)
            stamp.touch()
        _write_script(system.compiler, f"{shlex.quote(str(zig))} cc --target={zig_target}")


def _mirrors() -> list[str]:
    """Lines of sources.list for this machine's own release of Debian, as it came out."""
    wanted = "$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)"
    listed = run(
        ["apt-get", "indextargets", "--format", wanted, "Identifier: Packages"],
        "apt cannot say where its packages come from",
    )
    lines = set()
    for line in listed.splitlines():
        origin, uri, release, component = line.split("|")
        if (origin, release, component) == ("Debian", _codename(), "main"):
            lines.add(f"deb {uri} {release} {component}")
    if not lines:
        raise MissingToolError(
            "this needs Debian, or a container of it, and apt's package lists: sudo apt update"
        )
    return sorted(lines)


def unpack_packages(architecture: str, packages: Sequence[str], root: Path) -> None:
    """Bring Debian's packages for an architecture, and what they need, into a folder.

    Raises
    ------
    MissingToolError
        This machine is no Debian, or cannot download them.
    RootfsError
        They are not as expected.
    """
    apt = root.with_name("apt")
    for folder in ("etc/apt.conf.d", "etc/preferences.d", "state/lists/partial"):
        (apt / folder).mkdir(parents=True)
    (apt / "cache/archives/partial").mkdir(parents=True)
    (apt / "status").touch()
    (apt / "etc/sources.list").write_text("".join(f"{line}\n" for line in _mirrors()))
    (apt / "apt.conf").write_text(
        f"""
Dir::Etc "{apt}/etc";
Dir::Etc::trusted "/etc/apt/trusted.gpg";
Dir::Etc::trustedparts "/usr/share/keyrings";
Dir::State "{apt}/state";
Dir::State::status "{apt}/status";
Dir::Cache "{apt}/cache";
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "3";
"""
    )
    use = {"APT_CONFIG": str(apt / "apt.conf")}
    absent = f"Debian's packages for {architecture} could not be had; is there a network?"
    run(["apt-get", "-q", "update"], absent, MissingToolError, **use)
    install = ["apt-get", "-q", "-y", "--download-only", "install", *packages]
    run(install, absent, MissingToolError, **use)
    for package in sorted((apt / "cache" / "archives").glob("*.deb")):
        run(["dpkg-deb", "-x", package, root], f"{package.name} cannot be unpacked")
    # Where /lib is a link to /usr/lib, no package brings the link along.
    for name in ("bin", "lib"):
        if not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")
    shutil.rmtree(apt)


def _write_script(path: Path, command: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    path.chmod(0o755)


def _make_environment(system: System) -> None:
    """A virtual environment for the system's Python, written by hand."""
    (python,) = (system.root / "usr" / "bin").glob("python3.[0-9][0-9]")
    site = system.site_packages
    site.mkdir(parents=True)
    (system.folder / "env" / "pyvenv.cfg").write_text(f"home = {python.parent}\n")
    debian = system.root / "usr" / "lib" / "python3" / "dist-packages"
    if debian.is_dir():
        (site / "debian.pth").write_text(f"{debian}\n")
    system.python.parent.mkdir(parents=True, exist_ok=True)
    _write_script(
        system.python,
        f'{system.qemu} -cpu "${{{CPU_VARIABLE}:-max}}" -L {shlex.quote(str(system.root))} -0 "$0" '
        f"{shlex.quote(str(python))}",
    )
    install_wheels(system, system.wheels, error=MissingToolError)


def install_wheels(
    system: System,
    wheels: Sequence[str | Path],
    *options: str,
    error: type[Exception] = RootfsError,
) -> None:
    """Let this machine's pip unpack wheels into the system; it checks that their tags suit it."""
    version = system.site_packages.parent.name.removeprefix("python")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--target", str(system.site_packages), "--upgrade", "--only-binary=:all:"]
    command += ["--python-version", version, "--implementation", "cp", "--no-compile", *options]
    for platform in system.platforms:
        command += ["--platform", platform]
    absent = f"wheels for {system.machine} could not be had; is there a network?"
    run([*command, *wheels], absent, error)
