"""What divides the package in two for publication: the device's wheel and the converter's.

    edgeinfer-0.1.0-py3-none-<platform>.whl      the library, and Python to load and run models
    edgeinfer_convert-0.1.0-py3-none-any.whl     `edgeinfer/convert` but for its reader, and
                                                 the engine of numba, of no use on a device

A device needs the first only, so it stays small. The `convert` extra of the first asks for the
second, so `pip install 'edgeinfer[convert]'` is all that a workstation needs. Installing from the
sources puts both into one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

READER = ("__init__", "draw", "model_file", "read", "read_sections")
"""Parts of edgeinfer/convert that a device has: `inspect` and `plan` read files with them."""

ALSO_CONVERTER = ("engine_numba", "onnx_backend.py")
"""Parts of the package outside of edgeinfer/convert that are of use on a workstation only."""

_PROJECT = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "edgeinfer-convert"
version = "{version}"
description = "The part of edgeinfer that makes .edge files of ONNX and TFLite models"
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


def is_converter(path: Path) -> bool:
    """Whether a file, named from the root of the repository, belongs to the converter's wheel."""
    if path.parts[:2] == ("edgeinfer", "convert"):
        return Path(path.parts[2]).stem not in READER
    return path.parts[:1] == ("edgeinfer",) and path.parts[1] in ALSO_CONVERTER


def make_device_tree(tree: Path) -> None:
    """Take the converter out of a copy of the sources; the `convert` extra asks for its wheel."""
    for path in _package_files(tree):
        if is_converter(path):
            (tree / path).unlink()
    project = tree / "pyproject.toml"
    text = project.read_text()
    extra = f'convert = ["edgeinfer-convert=={_version(text)}", '
    changed, count = re.subn(r"^convert = \[", extra, text, flags=re.MULTILINE)
    if count != 1:
        raise ValueError("pyproject.toml has no line that starts with `convert = [`")
    project.write_text(changed)


def make_converter_tree(tree: Path) -> None:
    """Leave the converter alone in a copy of the sources."""
    text = (tree / "pyproject.toml").read_text()
    found = re.search(r"^convert = \[(.*?)\]", text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise ValueError("pyproject.toml has no line that starts with `convert = [`")
    packages, modules = set(), set()
    for path in _package_files(tree):
        if not is_converter(path):
            (tree / path).unlink()
        elif len(path.parts) == 2:
            modules.add(".".join(path.with_suffix("").parts))
        elif path.suffix == ".py":
            packages.add(".".join(path.parent.parts))
    (tree / "setup.py").unlink()
    (tree / "pyproject.toml").write_text(
        _PROJECT.format(
            version=_version(text),
            needs=found[1].strip(),
            packages=", ".join(f'"{name}"' for name in sorted(packages)),
            modules=", ".join(f'"{name}"' for name in sorted(modules)),
        )
    )


def _package_files(tree: Path) -> Iterator[Path]:
    for path in sorted((tree / "edgeinfer").rglob("*")):
        if path.suffix in {".py", ".css", ".js", ".json"}:
            yield path.relative_to(tree)


def _version(project: str) -> str:
    found = re.search(r'^version = "(.+)"$', project, re.MULTILINE)
    if found is None:
        raise ValueError("pyproject.toml names no version")
    return found[1]
