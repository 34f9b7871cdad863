#!/usr/bin/env python3
"""Everything a developer of edgeinfer runs, in one command and with nothing installed before.

    python3 tools/dev.py demo        convert and run the example model
    python3 tools/dev.py test        all that must pass before a change lands
    python3 tools/dev.py build       the C library, put where the Python package finds it
    python3 tools/dev.py lint        formatting, lint and types
    python3 tools/dev.py format      apply the formatting
    python3 tools/dev.py coverage    lines that the tests execute, Python and C
    python3 tools/dev.py env         the environment's Python, to use by hand

Needs Python 3.10 and a C compiler; only the standard library is imported here. The first run
makes an environment in build/dev-env with what the command needs (`demo` little, the others all of
the `dev` extra). It is remade when pyproject.toml changes, so the next run starts in a second.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from tools import processes  # noqa: E402

BUILD = ROOT / "build"
ENVIRONMENT = BUILD / "dev-env"
PYTHON = ENVIRONMENT / "bin" / "python"
LIBRARY = "libedgeinfer.so"

TEST_SECONDS = 40 * 60  # for all steps of `test` together: three times what two cores take
SKIPPED = 77  # exit code of a step's program that lacks something here; its last line says what
SHOWN_LINES = 100  # of what a failed step printed
JOBS = max(2, min(8, os.cpu_count() or 2))
FUZZ_MUTANTS = 40_000


class DevError(Exception):
    """Something the developer has to mend; the message says what and how."""


# --- processes ----------------------------------------------------------------------------------


def child_environment(**extra: str) -> dict[str, str]:
    """The variables for a child: the environment's programs come first on PATH."""
    variables = dict(os.environ)
    variables["PATH"] = f"{ENVIRONMENT / 'bin'}{os.pathsep}{variables.get('PATH', '')}"
    variables["VIRTUAL_ENV"] = str(ENVIRONMENT)
    # What is tested is this tree's library, unless a step says otherwise.
    for name in ("EDGEINFER_LIBRARY", "PYTHONHOME", "PYTHONPATH"):
        variables.pop(name, None)
    # Without the bytecode of what ran before, each process compiles all sources that it imports.
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    variables.update(extra)
    return variables


def run(command: Sequence[str | Path], **extra: str) -> int:
    """Run a command in the repository, its output passing through."""
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=ROOT, env=child_environment(**extra), check=False).returncode


def must(command: Sequence[str | Path], otherwise: str, **extra: str) -> None:
    """Run a command quietly; if it fails, show what it printed and explain."""
    result = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env=child_environment(**extra),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        print(result.stdout, end="", flush=True)
        raise DevError(f"{otherwise}\n  (the command was: {shlex.join(map(str, command))})")


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Two runs in one tree must not make the environment, or link the library, at once."""
    with processes.exclusive(BUILD / "dev.lock"):
        yield


# --- environment --------------------------------------------------------------------------------


def require_compiler() -> None:
    compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]
    if any(shutil.which(name) for name in (compiler[0], "gcc", "clang")):
        return
    raise DevError(
        "no C compiler found. Install one, then run this again:\n"
        "  Debian, Ubuntu, Raspberry Pi OS:  sudo apt install gcc libc6-dev\n"
        "  Fedora:                           sudo dnf install gcc glibc-devel\n"
        "  Alpine:                           sudo apk add gcc musl-dev linux-headers"
    )


def environment_key() -> str:
    digest = hashlib.sha256()
    for name in ("pyproject.toml", "setup.py"):
        digest.update((ROOT / name).read_bytes())
    digest.update(str(sys.version_info[:2]).encode())
    return digest.hexdigest()


def ensure_environment(extra: str) -> None:
    """Make build/dev-env hold the package in editable form with `extra`, unless it does already."""
    require_compiler()
    stamp = ENVIRONMENT / "edgeinfer-dev.json"
    key = environment_key()
    with one_at_a_time():
        try:
            made = json.loads(stamp.read_text())
        except (OSError, ValueError):
            made = {}
        extras = set(made.get("extras", []))
        same_python = made.get("python") == list(sys.version_info[:2]) and PYTHON.exists()
        if same_python and made.get("key") == key and extras & {extra, "dev"}:
            return
        if not same_python:
            shutil.rmtree(ENVIRONMENT, ignore_errors=True)
            extras = set()
            print("making an environment in build/dev-env", flush=True)
            must(
                [sys.executable, "-m", "venv", ENVIRONMENT],
                "this Python cannot make environments: its venv or ensurepip is missing.\n"
                "  Debian, Ubuntu, Raspberry Pi OS:  sudo apt install python3-venv python3-pip",
            )
        extras.add(extra)
        names = ",".join(sorted(extras))
        print(f"installing edgeinfer[{names}] into it; the first time takes a minute", flush=True)
        install: list[str | Path] = [PYTHON, "-m", "pip", "install", "--quiet"]
        install += ["--disable-pip-version-check"]
        must(
            [*install, "cmake>=3.20", "ninja", "--editable", f".[{names}]"],
            "pip could not install edgeinfer (its own message is above). Without a network, run "
            "this once where there is one;\n  it is not needed again until pyproject.toml changes.",
            EDGEINFER_SKIP_BUILD="1",
        )
        stamp.write_text(
            json.dumps({"key": key, "python": sys.version_info[:2], "extras": sorted(extras)})
        )


# --- the C library ------------------------------------------------------------------------------


def build_commands(name: str, options: Sequence[str]) -> list[list[str | Path]]:
    """Configure, then build, build/<name>; both are quick when nothing changed."""
    folder = BUILD / name
    cmake = ENVIRONMENT / "bin" / "cmake"
    configure: list[str | Path] = [cmake, "-S", ROOT, "-B", folder, "-G", "Ninja"]
    configure += [f"-DCMAKE_MAKE_PROGRAM={ENVIRONMENT / 'bin' / 'ninja'}"]
    configure += [f"-D{option}" for option in options]
    return [configure, [cmake, "--build", folder]]


def put_library_in_place(name: str) -> None:
    """Copy build/<name>/libedgeinfer.so into the package, where an editable install finds it."""
    source = BUILD / name / LIBRARY
    target = ROOT / "edgeinfer" / LIBRARY
    data = source.read_bytes()
    if target.is_file() and target.read_bytes() == data:
        return
    # Renamed into place: a process that has the old file mapped keeps it.
    new = target.with_name(f"{LIBRARY}.{os.getpid()}.new")
    new.write_bytes(data)
    new.chmod(0o755)
    new.replace(target)


def write_declarations() -> None:
    """Bring edgeinfer/_cdefs.py, which is generated from the public header, up to date."""
    target = ROOT / "edgeinfer" / "_cdefs.py"
    script = ROOT / "tools" / "build_ffi.py"
    sources = (script, ROOT / "csrc" / "include" / "edgeinfer.h")
    newest = max(source.stat().st_mtime for source in sources)
    if not target.exists() or target.stat().st_mtime <= newest:
        must([PYTHON, script, target], "the public header could not be turned into cffi's terms")
        target.touch()


def build_library(name: str, options: Sequence[str], *, in_place: bool) -> Path:
    with one_at_a_time():
        write_declarations()
        for command in build_commands(name, options):
            must(command, "the C library did not build; the compiler's message is above")
        if in_place:
            put_library_in_place(name)
    return BUILD / name / LIBRARY


# --- steps of `test` and `lint` -----------------------------------------------------------------


@dataclass
class Step:
    """Commands that run one after another; the step passes if all of them do."""

    name: str
    commands: list[list[str | Path]]
    seconds_allowed: float = TEST_SECONDS
    show_output: bool = False
    skipped: str = ""
    ok: bool = True
    seconds: float = 0.0
    log: Path = field(init=False)
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.log = BUILD / "test" / f"{self.name.replace(' ', '-')}.log"

    def run(self) -> Step:
        if self.skipped:
            return self
        start = time.monotonic()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        code = 0
        with open(self.log, "w") as log:
            for command in self.commands:
                left = self.seconds_allowed - (time.monotonic() - start)
                code = self._run_one([str(word) for word in command], log, left)
                self.ok = code in (0, SKIPPED)
                if code:
                    break
        if code == SKIPPED:
            last = self.log.read_text(errors="replace").strip().rpartition("\n")[2]
            self.skipped = last.rpartition("skipped: ")[2]
        self.seconds = time.monotonic() - start
        return self

    def _run_one(self, command: list[str], log: IO[str], seconds: float) -> int:
        """Exit code of one command; 1 if it has to be stopped."""
        output = None if self.show_output else log
        process = self.process = subprocess.Popen(
            processes.guarded(command),
            cwd=ROOT,
            env=child_environment(),
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            start_new_session=True,
        )
        try:
            return process.wait(timeout=max(seconds, 1))
        except subprocess.TimeoutExpired:
            print(f"{self.name}: stopped, it ran into its limit of {self.seconds_allowed:.0f} s")
            return 1
        finally:
            self.stop()

    def stop(self) -> None:
        """End the step's own process group: whatever it started ends with it."""
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def report(self) -> None:
        word = "skipped" if self.skipped else "ok" if self.ok else "FAILED"
        print(f"  {self.name:<24} {word:<8} {self.seconds:6.1f} s  {self.skipped}", flush=True)
        if not self.ok and not self.show_output:
            lines = self.log.read_text(errors="replace").splitlines()
            print("\n".join(lines[:SHOWN_LINES]))
            if len(lines) > SHOWN_LINES:
                print(f"... {len(lines) - SHOWN_LINES} more lines in {self.log.relative_to(ROOT)}")
            print(flush=True)


def run_steps(steps: Sequence[Step], parallel: int) -> list[Step]:
    with concurrent.futures.ThreadPoolExecutor(parallel) as pool:
        done = [pool.submit(step.run) for step in steps]
        try:
            for future in concurrent.futures.as_completed(done):
                future.result().report()
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            for step in steps:
                step.stop()
            raise
    return list(steps)


def c_files() -> list[Path]:
    folders = [ROOT / name for name in ("csrc", "examples", "tools")]
    return sorted(path.relative_to(ROOT) for top in folders for path in top.rglob("*.[ch]"))


def lint_steps() -> list[Step]:
    clang_format: list[str | Path] = [ENVIRONMENT / "bin" / "clang-format", "--dry-run", "-Werror"]
    return [
        Step("mypy", [[PYTHON, "-m", "mypy"]]),
        Step("ruff check", [[PYTHON, "-m", "ruff", "check", "."]]),
        Step("ruff format", [[PYTHON, "-m", "ruff", "format", "--check", "--diff", "."]]),
        Step("clang-format", [[*clang_format, *c_files()]]),
    ]


def build_step() -> Step:
    """The library with warnings as errors, and the C example where there is one."""
    example = (ROOT / "examples" / "embed.c").exists()
    options = ["EI_WERROR=ON", f"EI_BUILD_EXAMPLES={'ON' if example else 'OFF'}"]
    return Step("C build, -Werror", build_commands("werror", options))


def fuzz_step(mutants: int) -> Step:
    fuzz = ROOT / "tools" / "fuzz.py"
    command: list[str | Path] = [PYTHON, fuzz, "--mutants", str(mutants)]
    return Step("fuzz", [command], skipped="" if fuzz.exists() else "no tools/fuzz.py")


def arm_step() -> Step:
    """The ARM wheels under qemu; skipped where there is no qemu."""
    return Step("ARM under qemu", [[PYTHON, ROOT / "tools" / "arm_test.py"]])


def pytest_counts(report: Path) -> tuple[int, int, int]:
    """Passed, failed and skipped tests of a JUnit report; no report is one failure."""
    try:
        suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
    except (OSError, ElementTree.ParseError):
        return 0, 1, 0

    def total(attribute: str) -> int:
        return sum(int(suite.get(attribute, "0")) for suite in suites)

    failed = total("failures") + total("errors")
    skipped = total("skipped")
    return total("tests") - failed - skipped, failed, skipped


# --- subcommands --------------------------------------------------------------------------------


def lower_tiers() -> list[str]:
    """Kernel tiers that this CPU has, but for the fastest, which is the default."""
    command: list[str | Path] = [PYTHON, "-m", "edgeinfer", "doctor", "--json"]
    done = subprocess.run(
        command, cwd=ROOT, env=child_environment(), stdout=subprocess.PIPE, text=True, check=True
    )
    found = json.loads(done.stdout)
    return [name for name, has in found["tiers"].items() if has and name != found["tier"]]


def command_demo(arguments: argparse.Namespace) -> int:
    ensure_environment("convert")
    build_library("release", [], in_place=True)
    return run([PYTHON, ROOT / "examples" / "digits" / "demo.py", *arguments.rest])


def command_build(arguments: argparse.Namespace) -> int:
    ensure_environment("convert")
    if arguments.sanitize:
        name = "-".join(["sanitize", *arguments.sanitize.split(",")])
        options = [f"EI_SANITIZE={arguments.sanitize.replace(',', ';')}"]
        library = build_library(name, options, in_place=False)
    else:
        library = build_library("release", [], in_place=True)
    print(f"{library.relative_to(ROOT)}: {library.stat().st_size} bytes")
    return 0


def command_lint(arguments: argparse.Namespace) -> int:
    ensure_environment("dev")
    return 0 if all(step.ok for step in run_steps(lint_steps(), JOBS)) else 1


def command_format(arguments: argparse.Namespace) -> int:
    ensure_environment("dev")
    codes = [
        run([PYTHON, "-m", "ruff", "check", "--fix", "."]),
        run([PYTHON, "-m", "ruff", "format", "."]),
        run([ENVIRONMENT / "bin" / "clang-format", "-i", *c_files()]),
    ]
    return max(codes)


def command_coverage(arguments: argparse.Namespace) -> int:
    ensure_environment("dev")
    library = build_library("coverage", ["EI_COVERAGE=ON"], in_place=False)
    command = [PYTHON, ROOT / "tools" / "coverage_report.py", library]
    return run([*command, "--fail-under", str(arguments.fail_under)])


def command_env(arguments: argparse.Namespace) -> int:
    ensure_environment("dev")
    build_library("release", [], in_place=True)
    print(PYTHON)
    return 0


def command_test(arguments: argparse.Namespace) -> int:
    ensure_environment("dev")
    start = time.monotonic()
    report = BUILD / "test" / "pytest.xml"
    report.unlink(missing_ok=True)
    with one_at_a_time():
        write_declarations()
        steps = run_steps([build_step()], 1)
        built = steps[0].ok
        if built:
            put_library_in_place("werror")
    # With two cores: the fuzzer on one, the linters and ARM on the other, then pytest on both. ARM
    # has both to itself when the fuzzer is done, and leaves pytest the wheels that it compiled.
    fuzz, arm = fuzz_step(arguments.mutants), arm_step()
    if not built:
        fuzz.skipped = arm.skipped = "the library did not build"
    steps += run_steps([fuzz, *lint_steps(), arm], JOBS)
    # A process that is done takes over half of what another has left.
    workers = ["-n", str(JOBS), "--dist", "worksteal"]
    suite = [PYTHON, "-m", "pytest", *workers, "-q", *arguments.rest]
    pytest = Step(
        "pytest",
        [[*suite, f"--junitxml={report}"]],
        seconds_allowed=TEST_SECONDS - (time.monotonic() - start),
        show_output=True,
        skipped="" if built else "the library did not build",
    )
    steps += run_steps([pytest], 1)
    if built and arguments.every_tier:
        for tier in lower_tiers():
            command: list[str | Path] = ["env", f"EDGEINFER_TIER={tier}", *suite]
            steps += run_steps([Step(f"pytest on {tier}", [command], show_output=True)], 1)

    print(f"\nsteps of `test`, {time.monotonic() - start:.0f} s in total:")
    for step in steps:
        word = "skipped" if step.skipped else "ok" if step.ok else "FAILED"
        print(f"  {step.name:<24} {word:<8} {step.seconds:6.1f} s  {step.skipped}")
    passed, failed, skipped = pytest_counts(report)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 0 if failed == 0 and all(step.ok for step in steps) else 1


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0],
        epilog="Run any of them with --help for its options.",
    )
    commands = parser.add_subparsers(metavar="command", required=True)

    demo = commands.add_parser("demo", help="convert and run the example model; options go to it")
    demo.set_defaults(run=command_demo)
    build = commands.add_parser("build", help="build the C library into the package")
    build.add_argument("--sanitize", metavar="KIND", help="address,undefined or thread")
    build.set_defaults(run=command_build)
    lint = commands.add_parser("lint", help="ruff, mypy and clang-format, changing nothing")
    lint.set_defaults(run=command_lint)
    tidy = commands.add_parser("format", help="apply ruff's and clang-format's formatting")
    tidy.set_defaults(run=command_format)
    coverage = commands.add_parser("coverage", help="line coverage of Python and C")
    coverage.add_argument("--fail-under", type=float, default=90.0, metavar="PERCENT")
    coverage.set_defaults(run=command_coverage)
    env = commands.add_parser("env", help="make the environment and print its Python")
    env.set_defaults(run=command_env)
    test = commands.add_parser("test", help="all that must pass; options go to pytest")
    test.add_argument(
        "--every-tier", action="store_true", help="all of pytest on each kernel tier of this CPU"
    )
    test.add_argument(
        "--mutants",
        type=int,
        default=FUZZ_MUTANTS,
        help=f"files that the fuzzer tries (default {FUZZ_MUTANTS:,}); more takes longer",
    )
    test.set_defaults(run=command_test)
    arguments, rest = parser.parse_known_args(words)
    if rest and arguments.run not in (command_demo, command_test):
        parser.error(f"unknown arguments: {' '.join(rest)}")
    arguments.rest = rest
    return arguments


def main() -> int:
    if sys.version_info < (3, 10):  # noqa: UP036 - started by whatever python3 there is
        print(f"dev.py: needs Python 3.10 or newer, this is {sys.version.split()[0]}")
        return 2
    arguments = parse()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end like on Ctrl-C, with the steps
    try:
        code: int = arguments.run(arguments)
    except DevError as error:
        print(f"dev.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main())
