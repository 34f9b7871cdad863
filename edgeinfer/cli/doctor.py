"""Say what the library sees here: CPU, kernel tiers, clocks, heat, versions, installed extras.

Frequencies, temperatures and throttling are read from the kernel's files, and on a Raspberry Pi
asked of vcgencmd; what the system does not tell is unknown (null with --json).

Exit code 1 when the library cannot run on this machine.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
from typing import TYPE_CHECKING, Any

from edgeinfer.errors import LibraryError
from edgeinfer.printing import print_json

if TYPE_CHECKING:
    from edgeinfer.system.state import SystemState

EXAMPLE = "edgeinfer doctor --json"
_EXTRAS = {
    "convert": ("onnx", "tflite", "flatbuffers"),
    "jit": ("numba",),
    "plot": ("matplotlib",),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("--json", action="store_true", help="print JSON for scripts")


def run(args: argparse.Namespace) -> int:
    """Gather and print."""
    from edgeinfer.system.state import read_state

    report = examine()
    state = read_state()
    if args.json:
        print_json({**report, "state": state.as_dict()})
    else:
        _print_report(report, state)
    return 0 if report["tier_ok"] else 1


def examine() -> dict[str, Any]:
    """Everything that the subcommand shows, as plain data."""
    import numpy

    from edgeinfer._ffi import library_path
    from edgeinfer.system.cores import cpu_name
    from edgeinfer.system.kernel_files import KernelFiles

    return {
        "library": str(library_path()),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "machine": platform.machine(),
        "system": " ".join((platform.system(), platform.release(), *platform.libc_ver())),
        "cpu": cpu_name(KernelFiles()) or platform.processor() or "unknown",
        "cores": len(os.sched_getaffinity(0)),
        "ram_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "extras": {extra: _versions(packages) for extra, packages in _EXTRAS.items()},
        **_examine_library(),
    }


def _examine_library() -> dict[str, Any]:
    """What the C core says of itself and of the CPU, or why it cannot be asked."""
    import edgeinfer
    from edgeinfer._ffi import ffi, lib, text

    report: dict[str, Any] = {
        "edgeinfer": None,
        "library_error": None,
        "tiers": {},
        "tier": None,
        "tier_ok": False,
    }
    try:
        report["edgeinfer"] = edgeinfer.__version__
        while (name := lib().ei_tier_name(len(report["tiers"]))) != ffi.NULL:
            report["tiers"][text(name)] = bool(lib().ei_tier_supported(name))
        chosen = ffi.new("const char **")
        status = lib().ei_tier_default(chosen)
    except LibraryError as error:
        report["library_error"] = str(error)
        return report
    report["tier"] = text(lib().ei_last_error()) if status else text(chosen[0])
    report["tier_ok"] = not status
    return report


def _versions(packages: tuple[str, ...]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def _print_report(report: dict[str, Any], state: SystemState) -> None:
    from edgeinfer.cli.system_text import state_lines

    print(f"edgeinfer {report['edgeinfer'] or '(unknown version)'}, {report['library']}")
    print(f"  python     {report['python']}, numpy {report['numpy']}")
    print(f"  system     {report['system']}, {report['machine']}")
    print(f"  cpu        {report['cpu']}, {report['cores']} core(s) for this process")
    print(f"  ram        {report['ram_bytes'] / 2**30:.1f} GiB")
    if report["library_error"]:
        print(f"  library    {report['library_error']}")
    else:
        listed = ", ".join(
            name if supported else f"{name} (not on this CPU)"
            for name, supported in report["tiers"].items()
        )
        print(f"  tiers      {listed}")
        print(f"  in use     {report['tier']}")
    for heading, line in state_lines(state):
        print(f"  {heading:<10} {line}")
    for extra, packages in report["extras"].items():
        missing = [name for name, version in packages.items() if version is None]
        versions = ", ".join(f"{name} {v}" for name, v in packages.items() if v is not None)
        advice = f"missing {', '.join(missing)}: pip install 'edgeinfer[{extra}]'"
        print(f"  {extra:<10} {advice if missing else versions}")
