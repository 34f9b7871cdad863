"""examples/*.c, built from an installed library, as programs elsewhere do it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import edgeinfer
from tests.convert.random_programs import random_inputs
from tests.core.fed_programs import pooled
from tests.core.programs import ROWS, concatenation, ring
from tests.made_once import made_once
from tests.requirements import require_program

CONSUMER = """
cmake_minimum_required(VERSION 3.20)
project(consumer LANGUAGES C)
find_package(edgeinfer REQUIRED)
add_executable(embed-shared embed.c)
target_link_libraries(embed-shared PRIVATE edgeinfer::edgeinfer)
add_executable(camera_lines camera_lines.c)
target_link_libraries(camera_lines PRIVATE edgeinfer::edgeinfer)
add_executable(embed-static embed.c)
target_link_libraries(embed-static PRIVATE edgeinfer::edgeinfer_static)
"""


def must(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        command,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def embeds(
    installed_library: Path, repo_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The example, linked in each way that CMake offers."""
    cmake = require_program("cmake")

    def build(folder: Path) -> None:
        for name in ("embed.c", "camera_lines.c"):
            shutil.copy(repo_root / "examples" / name, folder)
        (folder / "CMakeLists.txt").write_text(CONSUMER, encoding="utf-8")
        prefix = f"-DCMAKE_PREFIX_PATH={installed_library}"
        must(cmake, "-S", folder, "-B", folder / "build", prefix)
        must(cmake, "--build", folder / "build")

    folder = made_once("consumer", tmp_path_factory, build)
    built = {way: folder / "build" / f"embed-{way}" for way in ("shared", "static")}
    return {**built, "lines": folder / "build" / "camera_lines"}


@pytest.mark.parametrize("way", ["shared", "static"])
def test_embed_gives_the_bits_of_python(way: str, embeds: dict[str, Path], tmp_path: Path) -> None:
    half = (1, ROWS // 2, 4, 16)
    data = concatenation().write()
    (tmp_path / "m.edge").write_bytes(data)
    rng = np.random.default_rng(11)
    inputs = {name: rng.integers(-128, 128, half).astype(np.int8) for name in ("x", "z")}
    (tmp_path / "in.bin").write_bytes(b"".join(x.tobytes() for x in inputs.values()))
    paths = [tmp_path / name for name in ("m.edge", "in.bin", "out.bin")]
    text = must(embeds[way], *paths)
    model = edgeinfer.load(data)
    assert paths[-1].read_bytes() == model.run(inputs).tobytes()
    assert f"session: {model.plan.session_bytes} bytes" in text
    assert "input   z: [1, 4, 4, 16], 256 bytes, scale 0.5, zero point 0" in text


def test_a_cameras_lines_give_the_bits_of_python(embeds: dict[str, Path], tmp_path: Path) -> None:
    draft = pooled(9, images=2, band=2)
    (tmp_path / "m.edge").write_bytes(draft.write())
    frames = [random_inputs(draft.program, seed)[0] for seed in range(5)]
    stream = b"".join(frame.tobytes() for frame in frames) + b"a part of a frame"
    done = subprocess.run(
        [embeds["lines"], tmp_path / "m.edge"], input=stream, capture_output=True, check=True
    )
    with edgeinfer.load(draft.write()) as model:
        expected = [int(model.run(frame).argmax()) for frame in frames]
    assert list(map(int, done.stdout.split())) == expected
    assert b" of 18 lines are held, 20 bytes each" in done.stderr


# The plainest that qemu has (SSE3), and two with SSE4.1 and SSE4.2. None has AVX or OSXSAVE.
@pytest.mark.parametrize("cpu", ["qemu64", "Penryn", "Nehalem"])
def test_embed_runs_on_old_cpus(cpu: str, embeds: dict[str, Path], tmp_path: Path) -> None:
    qemu = shutil.which("qemu-x86_64")
    if qemu is None or platform.machine() != "x86_64":
        pytest.skip("runs x86-64 programs under qemu: sudo apt install qemu-user")
    data = concatenation().write()
    (tmp_path / "m.edge").write_bytes(data)
    half = np.arange(ROWS // 2 * 4 * 16).astype(np.int8).reshape(1, ROWS // 2, 4, 16)
    (tmp_path / "in.bin").write_bytes(2 * half.tobytes())
    paths = [tmp_path / name for name in ("m.edge", "in.bin", "out.bin")]
    assert "on tier scalar" in must(qemu, "-cpu", cpu, embeds["shared"], *paths)
    wanted = edgeinfer.load(data).run({"x": half, "z": half})
    assert paths[-1].read_bytes() == wanted.tobytes()


def test_embed_links_through_pkg_config(
    installed_library: Path, repo_root: Path, tmp_path: Path, compile_c: Callable[..., Path]
) -> None:
    (pc,) = installed_library.rglob("edgeinfer.pc")
    asked = must(
        require_program("pkg-config"),
        "--cflags",
        "--libs",
        "edgeinfer",
        PKG_CONFIG_PATH=str(pc.parent),
    )
    (library,) = installed_library.rglob("libedgeinfer.so")
    source = repo_root / "examples" / "embed.c"
    program = compile_c("embed-pkg-config", source, *asked.split(), f"-Wl,-rpath,{library.parent}")
    (tmp_path / "m.edge").write_bytes(ring().write())
    assert "weights: 256 bytes" in must(program, tmp_path / "m.edge")


def test_embed_says_what_is_wrong(embeds: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "m.edge").write_bytes(b"no model")
    done = subprocess.run(
        [embeds["static"], tmp_path / "m.edge"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "m.edge': header: not an .edge file" in done.stderr


def test_embed_refuses_a_short_input(embeds: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "m.edge").write_bytes(ring().write())
    (tmp_path / "in.bin").write_bytes(bytes(511))
    done = subprocess.run(
        [embeds["static"], tmp_path / "m.edge", tmp_path / "in.bin"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "too short for input x, 512 bytes" in done.stderr


def test_only_the_public_functions_are_exported(installed_library: Path, repo_root: Path) -> None:
    (library,) = installed_library.rglob("libedgeinfer.so")
    symbols = must(require_program("nm"), "-D", "--defined-only", library).split("\n")
    names = {line.split()[-1].split("@")[0] for line in symbols if line.split()}
    header = (repo_root / "csrc" / "include" / "edgeinfer.h").read_text(encoding="utf-8")
    exported = {name for name in names if not name.startswith("_")}
    assert exported and all(f" {name}(" in header or f"*{name}(" in header for name in exported)
