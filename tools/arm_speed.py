#!/usr/bin/env python3
"""How fast the ARM kernels are, as far as that can be said without the hardware.

    python tools/arm_speed.py                     loops, and every model in EDGEINFER_MODELS
    python tools/arm_speed.py kws.tflite          loops, and this model
    python tools/arm_speed.py --loops             only the inner loops
    python tools/arm_speed.py kws.tflite --no-loops --cpu cortex-a76 --functions

Loops: the int8 kernels' inner loops as cross-compiled, MAC per cycle by llvm-mca against what the
core can do at most. Instructions: how many one inference executes under qemu, edgeinfer's and those
of LiteRT's wheel for the same CPU, side by side. What such figures can and cannot tell is printed
with them.

Needs `qemu-user`, `llvm`, a C compiler, Debian's apt, a network for the first run, and the `dev`
extra. Exit code 77 says that something is missing here, and prints what to install.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tools import arm_instructions, kernel_loops  # noqa: E402
from tools.arm_instructions import CPUS, Counts, Cpu  # noqa: E402
from tools.arm_rootfs import MissingToolError, RootfsError  # noqa: E402

SKIPPED = 77
_SHOWN_FUNCTIONS = 12
_MODELS = ("kws", "vww", "resnet8", "ad01", "mobilenet_v2")

ABOUT_INSTRUCTIONS = """\
Instructions are not time. What they tell: how much work a runtime gives the CPU for the same
result, copies, requantisation and calls included, and whether a change makes that more or less.
What they cannot: an instruction may take a fraction of a cycle or several (smmla does twice what
sdot does, and a core may start one where it starts two of the other), and waiting for memory is
none. The ratio of two runtimes on one instruction set is a fair guess at the ratio of times where
both are bound by instructions and the data fit the caches, and no more than that. Not counted: the
Python interpreter, and what the kernel does."""


@dataclass(frozen=True)
class Comparison:
    """Instructions of one inference."""

    model: str
    cpu: str
    tier: str
    edgeinfer: int
    litert: int | None
    """None where it was not asked for."""

    @property
    def ratio(self) -> float | None:
        """Ours over LiteRT's."""
        return self.edgeinfer / self.litert if self.litert else None


def show_comparisons(found: Sequence[Comparison], litert: str | None) -> str:
    """A table of instructions."""
    from edgeinfer.printing import format_table

    rows = [
        (
            each.model,
            each.cpu,
            each.tier,
            f"{each.edgeinfer:,}",
            "-" if each.litert is None else f"{each.litert:,}",
            "-" if each.ratio is None else f"{each.ratio:.2f}",
        )
        for each in found
    ]
    theirs = f"LiteRT {litert}" if litert else "LiteRT"
    return format_table(("model", "CPU", "tier", "edgeinfer", theirs, "ratio"), rows)


def show_functions(counts: Counts, model: str, cpu: str) -> str:
    """Where edgeinfer's instructions are."""
    listed = list(arm_instructions.by_function(counts).items())[:_SHOWN_FUNCTIONS]
    lines = [f"  {n / counts.total:6.1%} {n:12,.0f}  {name}" for name, n in listed]
    return "\n".join([f"{model} on {cpu}, by function:", *lines])


def source_models(given: Sequence[Path]) -> list[Path]:
    """The models that were named, or those of EDGEINFER_MODELS.

    Raises
    ------
    MissingToolError
        There are none.
    """
    if given:
        return list(given)
    folder = Path(os.environ.get("EDGEINFER_MODELS", ROOT.parent / "shared" / "models"))
    found = [folder / f"{name}_int8.tflite" for name in _MODELS]
    present = [path for path in found if path.exists()]
    if not present:
        raise MissingToolError(f"no models in {folder}: name files, or set EDGEINFER_MODELS")
    return present


def measure_loops() -> list[kernel_loops.Estimate]:
    """Compile the library and look at its loops."""
    kernel_loops.find_llvm("llvm-mca")
    return kernel_loops.estimates(
        kernel_loops.find_loops(arm_instructions.build_library(), "aarch64")
    )


def compare(
    models: Sequence[Path], cpus: Sequence[Cpu], *, litert: str | None, runs: int, functions: bool
) -> tuple[list[Comparison], str | None]:
    """Count every model on every CPU; and LiteRT's version."""
    plugin = arm_instructions.build_plugin(arm_instructions.FOLDER)
    arm_instructions.build_library()
    arm_instructions.make_system(litert=litert)
    found, version = [], None
    for model in models:
        edge = _convert(model)
        for cpu in cpus:
            ours = arm_instructions.count("edgeinfer", edge, cpu, plugin, runs)
            theirs = None
            if litert is not None and model.suffix == ".tflite":
                counts = arm_instructions.count("litert", model, cpu, plugin, runs)
                version, theirs = counts.version, round(counts.total)
            found.append(Comparison(model.stem, cpu.name, ours.version, round(ours.total), theirs))
            if functions:
                print(show_functions(ours, model.stem, cpu.name), flush=True)
    return found, version


def _convert(model: Path) -> Path:
    from edgeinfer.convert import convert

    edge = arm_instructions.FOLDER / f"{model.stem}.edge"
    edge.write_bytes(convert(model).data)
    return edge


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    summary, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL", help=".tflite or .onnx")
    parser.add_argument(
        "--cpu", action="append", choices=[cpu.name for cpu in CPUS],
        help="an emulated CPU; all but cortex-a53, which runs what cortex-a72 does, if not given",
    )  # fmt: skip
    parser.add_argument("--loops", action="store_true", help="only the inner loops")
    parser.add_argument("--no-loops", action="store_true", help="only the instructions")
    parser.add_argument("--functions", action="store_true", help="where the instructions are")
    parser.add_argument(
        "--litert", default="ai-edge-litert", metavar="REQUIREMENT",
        help="what pip shall install, a version say (default: ai-edge-litert); 'none' for no peer",
    )  # fmt: skip
    parser.add_argument("--runs", type=int, default=2, help="that are counted (default 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    arguments = parser.parse_args(argv)
    if arguments.loops and arguments.no_loops:
        parser.error("--loops and --no-loops leave nothing")
    if arguments.runs < 1:
        parser.error("--runs is 1 or more")
    for model in arguments.models:
        if not model.is_file():
            parser.error(f"{model}: there is no such file")
    names = arguments.cpu or [cpu.name for cpu in CPUS if cpu.name != "cortex-a53"]
    cpus = [cpu for cpu in CPUS if cpu.name in names]
    litert = None if arguments.litert == "none" else arguments.litert
    figures: dict[str, Any] = {}
    try:
        if not arguments.no_loops:
            loops = measure_loops()
            print(kernel_loops.show(loops), flush=True)
            figures["loops"] = [kernel_loops.figures_of(each) for each in loops]
        if not arguments.loops:
            found, version = compare(
                source_models(arguments.models), cpus, litert=litert, runs=arguments.runs,
                functions=arguments.functions,
            )  # fmt: skip
            print(f"\ninstructions of one inference, one thread, {arm_instructions.qemu_name()}:")
            print(show_comparisons(found, version))
            print(ABOUT_INSTRUCTIONS)
            figures["instructions"] = [asdict(each) | {"ratio": each.ratio} for each in found]
    except MissingToolError as error:
        print(f"arm_speed.py: skipped: {error}")
        return SKIPPED
    except RootfsError as error:
        print(f"arm_speed.py: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
