"""Line coverage of the Python package and of the C core, from one run of the tests.

`tools/dev.py coverage` builds the library with gcov's counters and calls this with it. The tests
load that library through EDGEINFER_LIBRARY. Python lines are counted in every process, those of
the command line included; C counters are added up by the processes themselves as they exit.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def forget_earlier_runs(build: Path) -> None:
    for counters in build.rglob("*.gcda"):
        counters.unlink()
    for data in build.glob("python.coverage*"):
        data.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("library", type=Path, help="libedgeinfer.so built with EI_COVERAGE=ON")
    parser.add_argument("--fail-under", type=float, default=90.0, metavar="PERCENT")
    arguments = parser.parse_args()
    library = arguments.library.resolve()
    build = library.parent
    forget_earlier_runs(build)

    variables = dict(
        os.environ,
        EDGEINFER_LIBRARY=str(library),
        COVERAGE_FILE=str(build / "python.coverage"),
    )

    def step(*command: str) -> int:
        return subprocess.run(command, cwd=ROOT, env=variables, check=False).returncode

    coverage = (sys.executable, "-m", "coverage")
    least = str(arguments.fail_under)
    failures = []
    if step(*coverage, "run", "-m", "pytest", "-n", "auto", "-q") != 0:
        failures.append("the tests failed")
    step(*coverage, "combine", "--quiet")
    step(*coverage, "html", "--quiet", f"--directory={build / 'python-html'}")
    print("\nPython, edgeinfer/:", flush=True)
    if step(*coverage, "report", f"--fail-under={least}") != 0:
        failures.append(f"Python coverage is under {least} %")
    print("\nC, csrc/:", flush=True)
    gcovr = (sys.executable, "-m", "gcovr", f"--root={ROOT}", f"--filter={ROOT / 'csrc'}/")
    if step(*gcovr, str(build), f"--fail-under-line={least}", "--txt=-") != 0:
        failures.append(f"C coverage is under {least} %")
    for failure in failures:
        print(f"coverage: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
