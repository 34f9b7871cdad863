"""What divides the package for publication: the device's wheel, and parts that not all need.

    edgeinfer-0.1.0-py3-none-<platform>.whl      the library, and Python to load and run models
    edgeinfer_power-0.1.0-py3-none-any.whl       `edgeinfer/power`: meters, power budgets
    edgeinfer_convert-0.1.0-py3-none-any.whl     `edgeinfer/convert` but for its reader, the
                                                 subcommands that need it, and the engine of
                                                 numba, of no use on a device

A device needs the first only, so it stays small. The extras `power` and `convert` of the first ask
for the others, so `pip install 'edgeinfer[convert]'` is all that a workstation needs. Installing
from the sources puts all into one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Part:
    """A wheel for every platform beside the device's."""

    extra: str
    """Of pyproject.toml, which asks for the wheel edgeinfer-<extra>."""
    description: str


CONVERTER = Part(
    "convert", "The part of edgeinfer that makes .edge files of ONNX and TFLite models"
)
POWER = Part("power", "The part of edgeinfer that measures energy and keeps power budgets")
PARTS = (POWER, CONVERTER)

READER = ("__init__", "draw", "model_file", "read", "read_sections")
"""Parts of edgeinfer/convert that a device has: `inspect` and `plan` read files with them."""

ALSO_CONVERTER = ("engine_numba", "onnx_backend.py")
"""Parts of the package outside of edgeinfer/convert that are of use on a workstation only."""

CONVERTER_COMMANDS = ("accuracy", "check", "compare", "convert", "quantization")
"""Modules of edgeinfer/cli that run the converter, and those that only these import."""

_PROJECT = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "edgeinfer-{extra}"
version = "{version}"
description = "{description}"
license = "Apache-2.0"
license-files = ["LICENSE"]
requires-python = ">=3.10"
dependencies = ["edgeinfer=={version}", {needs}]

[tool.setuptools]
include-package-data = false
packages = [{packages}]
py-modules = [{modules}]

[tool.setuptools.package-data]
"edgeinfer.convert.page" = ["page.css", "page.js"]
"edgeinfer.convert.plan" = ["device_profiles/*.json"]
"""


def part_of(path: Path) -> Part | None:
    """The part that a file, named from the root of the repository, belongs to; None: the device."""
    if path.parts[:1] != ("edgeinfer",):
        return None
    if path.parts[1] == "convert":
        return None if Path(path.parts[2]).stem in READER else CONVERTER
    if path.parts[1] == "power":
        return POWER
    if path.parts[1] == "cli" and path.stem in CONVERTER_COMMANDS:
        return CONVERTER
    return CONVERTER if path.parts[1] in ALSO_CONVERTER else None


def make_device_tree(tree: Path) -> None:
    """Take the parts out of a copy of the sources; their extras ask for their wheels."""
    for path in _package_files(tree):
        if part_of(path) is not None:
            (tree / path).unlink()
    project = tree / "pyproject.toml"
    text = project.read_text()
    for part in PARTS:
        _needs(text, part)
        asked = f'{part.extra} = ["edgeinfer-{part.extra}=={_version(text)}", '
        text = re.sub(rf"^{part.extra} = \[", asked, text, flags=re.MULTILINE)
    project.write_text(text)


def make_part_tree(tree: Path, part: Part) -> None:
    """Leave a part alone in a copy of the sources."""
    text = (tree / "pyproject.toml").read_text()
    packages, modules = set(), set()
    for path in _package_files(tree):
        if part_of(path) != part:
            (tree / path).unlink()
        elif len(path.parts) == 2:
            modules.add(".".join(path.with_suffix("").parts))
        elif path.suffix == ".py":
            packages.add(".".join(path.parent.parts))
    (tree / "setup.py").unlink()
    (tree / "pyproject.toml").write_text(
        _PROJECT.format(
            extra=part.extra,
            description=part.description,
            version=_version(text),
            needs=_needs(text, part),
            packages=", ".join(f'"{name}"' for name in sorted(packages)),
            modules=", ".join(f'"{name}"' for name in sorted(modules)),
        )
    )


def _needs(project: str, part: Part) -> str:
    """What the part's extra lists."""
    found = re.search(rf"^{part.extra} = \[(.*?)\]", project, re.MULTILINE | re.DOTALL)
    if found is None:
        raise ValueError(f"pyproject.toml has no line that starts with `{part.extra} = [`")
    return found[1].strip()


def _package_files(tree: Path) -> Iterator[Path]:
    for path in sorted((tree / "edgeinfer").rglob("*")):
        if path.suffix in {".py", ".css", ".js", ".json"}:
            yield path.relative_to(tree)


def _version(project: str) -> str:
    found = re.search(r'^version = "(.+)"$', project, re.MULTILINE)
    if found is None:
        raise ValueError("pyproject.toml names no version")
    return found[1]
