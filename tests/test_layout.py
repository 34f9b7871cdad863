"""The house rules a machine can hold: who may depend on whom, and what a file may contain."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.device.programs import one_in_one_out
from tests.requirements import missing

ROOT = Path(__file__).resolve().parent.parent
CSRC = ROOT / "csrc"
PACKAGE = ROOT / "edgeinfer"

# A C file may include from its own floor and from those below; the public header from anywhere.
C_FLOORS = [{"base"}, {"kernels"}, {"model", "ops"}, {"run"}, {"api"}]

# Parts of the package that may use whatever their extra installs.
WORKSTATION = ("convert", "engine_numba", "onnx_backend.py")
# Where a function, once called, may import them: loading a source model converts it first.
GATES = ("cli", "model.py")
DEVICE_THIRD_PARTY = {"_cffi_backend", "cffi", "numpy", "edgeinfer"}
HEAVY_MODULES = (
    "ai_edge_litert",
    "edgeinfer.convert",
    "edgeinfer.engine_numba",
    "flatbuffers",
    "google.protobuf",
    "matplotlib",
    "ml_dtypes",
    "numba",
    "onnx",
    "onnxruntime",
    "tensorflow",
    "tflite",
    "tokenizers",
    "torch",
)

MAX_LINES = 600
SOURCE_SUFFIXES = {".c", ".h", ".def", ".py", ".cmake"}


def c_sources() -> list[Path]:
    return sorted([*CSRC.rglob("*.c"), *CSRC.rglob("*.h")])


def floor_of(path: Path) -> int | None:
    """The floor of a file in csrc/; None for the public header."""
    room = path.relative_to(CSRC).parts[0]
    if room == "include":
        return None
    for number, rooms in enumerate(C_FLOORS):
        if room in rooms:
            return number
    raise AssertionError(f"{path.relative_to(ROOT)}: csrc/{room} is not a room of DESIGN")


def c_includes(path: Path) -> Iterator[tuple[int, str, Path | None]]:
    """Line number, name and file of every quoted include."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if match:
            name = match[1]
            places = [path.parent / name, CSRC / name, CSRC / "include" / name]
            found = next((place.resolve() for place in places if place.is_file()), None)
            yield number, name, found


def test_c_includes_point_down_only() -> None:
    wrong = []
    for path in c_sources():
        floor = floor_of(path)
        for number, name, target in c_includes(path):
            where = f"{path.relative_to(ROOT)}:{number}"
            if target is None:
                wrong.append(f'{where}: "{name}" is nowhere in csrc/')
                continue
            target_floor = floor_of(target)
            if floor is None:
                wrong.append(f'{where}: the public header stands alone, without "{name}"')
            elif target_floor is not None and target_floor > floor:
                wrong.append(f'{where}: "{name}" is above its floor')
    assert not wrong, "\n".join(wrong)


def test_c_never_includes_assert() -> None:
    wrong = [
        str(path.relative_to(ROOT))
        for path in c_sources()
        if re.search(r"#\s*include\s+<assert\.h>", path.read_text())
    ]
    assert not wrong, f"input must never reach an assert: {wrong}"


def test_kernel_files_carry_their_family_and_tier() -> None:
    tiers = re.findall(
        r'^  "(\w+)\|', (ROOT / "cmake" / "kernel_tiers.cmake").read_text(), re.MULTILINE
    )
    assert "scalar" in tiers
    wrong = []
    for path in (CSRC / "kernels").glob("*/*.c"):
        family, (stem, _, tier) = path.parent.name, path.stem.rpartition("_")
        if tier not in tiers or not (stem == family or stem.startswith(family + "_")):
            wrong.append(str(path.relative_to(ROOT)))
    assert not wrong, f"not <family>_<tier>.c with a tier of {tiers}: {wrong}"


def is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"


def module_level_imports(
    tree: ast.Module, package: str, *, everywhere: bool = False
) -> Iterator[tuple[int, str]]:
    """Line and absolute name of what importing the module imports; or of all it ever imports."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                above = ".".join(parts[: len(parts) - node.level + 1])
                base = f"{above}.{base}".rstrip(".")
            yield node.lineno, base
            for alias in node.names:  # `from edgeinfer import convert` imports a module too
                yield node.lineno, f"{base}.{alias.name}"
        elif isinstance(node, ast.If) and is_type_checking(node.test):
            waiting.extend(node.orelse)
        elif everywhere or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting.extend(ast.iter_child_nodes(node))


def device_modules() -> list[Path]:
    return sorted(
        path
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[0] not in WORKSTATION
    )


def imports_of(path: Path, *, everywhere: bool = False) -> Iterator[tuple[int, str]]:
    package = ".".join(path.relative_to(ROOT).parent.parts)
    yield from module_level_imports(ast.parse(path.read_text()), package, everywhere=everywhere)


def is_under(name: str, module: str) -> bool:
    return name == module or name.startswith(module + ".")


def test_device_modules_import_nothing_heavy() -> None:
    wrong = []
    for path in device_modules():
        for line, name in imports_of(path):
            root = name.partition(".")[0]
            known = root in sys.stdlib_module_names or root in DEVICE_THIRD_PARTY
            if not known or any(is_under(name, heavy) for heavy in HEAVY_MODULES):
                wrong.append(f"{path.relative_to(ROOT)}:{line}: imports {name}")
    assert not wrong, "\n".join(wrong)


def test_only_the_gates_ever_reach_the_workstation_side() -> None:
    wrong = []
    for path in device_modules():
        if path.relative_to(PACKAGE).parts[0] in GATES:
            continue
        for line, name in imports_of(path, everywhere=True):
            if any(is_under(name, f"edgeinfer.{part.removesuffix('.py')}") for part in WORKSTATION):
                wrong.append(f"{path.relative_to(ROOT)}:{line}: imports {name}")
    assert not wrong, "\n".join(wrong)


def test_nothing_but_the_command_line_imports_the_command_line() -> None:
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.relative_to(PACKAGE).parts[0] in ("cli", "__main__.py"):
            continue
        for line, name in imports_of(path, everywhere=True):
            if is_under(name, "edgeinfer.cli"):
                wrong.append(f"{path.relative_to(ROOT)}:{line}: imports {name}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("module", ["edgeinfer", "edgeinfer.cli"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    program = f"import {module}, sys; print(*sorted(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    loaded = result.stdout.split()
    assert module in loaded
    heavy = [name for name in loaded if any(is_under(name, other) for other in HEAVY_MODULES)]
    assert heavy == []


def loaded_after(program: str) -> set[str]:
    result = subprocess.run(
        [sys.executable, "-c", f"{program}; import sys; print(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def test_importing_edgeinfer_loads_little_beside_numpy() -> None:
    added = loaded_after("import edgeinfer") - loaded_after("import numpy, dataclasses, threading")
    own = {name for name in added if is_under(name, "edgeinfer")}
    assert own == {
        "edgeinfer",
        "edgeinfer._cdefs",
        "edgeinfer._ffi",
        "edgeinfer.budget",
        "edgeinfer.errors",
        "edgeinfer.extras",
        "edgeinfer.model",
        "edgeinfer.session",
        "edgeinfer.turn",
        "edgeinfer.source_format",
    }
    assert added - own <= {"_cffi_backend", "__future__", "sitecustomize", "usercustomize"}


def test_reading_an_edge_file_loads_nothing_else_of_convert(tmp_path: Path) -> None:
    reader = {
        "edgeinfer.convert",
        *(f"edgeinfer.convert.{part}" for part in ("model_file", "read", "read_sections")),
    }
    (tmp_path / "model.edge").write_bytes(one_in_one_out())
    for program in (
        "import edgeinfer.convert.read",
        f"import edgeinfer; edgeinfer.load({str(tmp_path / 'model.edge')!r}).plan",
    ):
        loaded = loaded_after(program)
        assert {name for name in loaded if is_under(name, "edgeinfer.convert")} == reader


def test_the_names_of_convert_are_found_when_used() -> None:
    loaded = loaded_after(
        "import edgeinfer.convert as c; assert not hasattr(c, 'no_such_name'); "
        "assert set(c.__all__) <= set(dir(c)); from edgeinfer.convert import *; convert, check"
    )
    assert "edgeinfer.convert.api" in loaded


def tracked_files() -> list[Path]:
    try:
        listing = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        missing("not a git checkout, so nothing says which files belong to it")
    paths = [ROOT / name for name in listing.split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_no_source_file_is_too_long() -> None:
    long = {}
    for path in tracked_files():
        if path.suffix in SOURCE_SUFFIXES:
            lines = path.read_bytes().count(b"\n")
            if lines > MAX_LINES:
                long[str(path.relative_to(ROOT))] = lines
    assert not long, f"over {MAX_LINES} lines, to be divided by what its parts do: {long}"


def test_nothing_names_a_path_of_one_machine() -> None:
    # Spelled in pieces, so that this file passes its own test. Documentation may say /home/pi.
    folders = "|".join(["root", "tmp/w", "work", r"(?:home|Users)/(?!pi/|user/)[a-z][\w.-]*"])
    pattern = re.compile(rf"(?<![\w.$}}~-])/(?:{folders})/".encode())
    wrong = []
    for path in tracked_files():
        data = path.read_bytes()
        for match in pattern.finditer(data):
            line = data.count(b"\n", 0, match.start()) + 1
            wrong.append(f"{path.relative_to(ROOT)}:{line}: {match[0].decode()}")
    assert not wrong, "\n".join(wrong[:20])
