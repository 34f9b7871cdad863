"""Run ONNX's own node tests through `edgeinfer.onnx_backend`, and print what became of them.

    python tools/onnx_node_tests.py                # all, by family and by reason
    python tools/onnx_node_tests.py --list         # and every refusal with its reason
    python tools/onnx_node_tests.py attention conv # only these modules of onnx.backend.test

A test passes if every output has the shape, type and, within the tolerance that the test states
itself, the numbers of the reference. It is refused if conversion says why it cannot be done.
Anything else is wrong, whatever the test's scope (`onnx_node_scope.py`), and the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx.backend.test.runner import Runner, _normalize_tensor

import edgeinfer.onnx_backend
from edgeinfer.errors import ConversionError, UnsupportedError
from edgeinfer.printing import format_table, printable

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.onnx_node_scope import FAMILIES, REASONS, Scope, cases_of, classify, modules


@dataclass(frozen=True)
class Outcome:
    """What became of a test: passed, refused or wrong; and why, unless it passed."""

    result: str
    detail: str = ""


def run_test(test: Any) -> Outcome:
    """Run one `TestCase` with all its data."""
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            prepared = edgeinfer.onnx_backend.prepare(test.model)
            for inputs, expected in test.data_sets:
                actual = prepared.run([_normalize_tensor(value) for value in inputs])
                wanted = [_normalize_tensor(value) for value in expected]
                Runner.assert_similar_outputs(wanted, actual, test.rtol, test.atol)
    except (ConversionError, UnsupportedError) as error:
        problems = "; ".join(str(problem) for problem in getattr(error, "problems", ()))
        return Outcome("refused", problems or str(error))
    except Exception as error:  # whatever goes wrong here is what the tests are for
        return Outcome("wrong", f"{type(error).__name__}: {' '.join(str(error).split())}")
    return Outcome("passed")


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run ONNX's own node tests.")
    parser.add_argument("modules", nargs="*", help="only these, e.g. attention; default: all")
    parser.add_argument("--list", action="store_true", help="list refusals with their reasons")
    args = parser.parse_args(argv)
    unknown = sorted(set(args.modules) - set(modules()))
    if unknown:
        parser.error(f"no such module of {len(modules())}: {', '.join(unknown)}")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables; 1 if a test is wrong."""
    args = _arguments(argv)
    found = [
        (test.name, classify(test), run_test(test))
        for module in args.modules or modules()
        for test in cases_of(module)
    ]
    _print_families(found)
    _print_reasons(found)
    if args.list:
        for name, scope, outcome in found:
            if scope.family and outcome.result == "refused":
                print(printable(f"{name}: {outcome.detail}"))
    wrong = [(name, outcome) for name, _, outcome in found if outcome.result == "wrong"]
    for name, outcome in wrong:
        print(printable(f"WRONG {name}: {outcome.detail}"))
    return 1 if wrong else 0


def _print_families(found: Sequence[tuple[str, Scope, Outcome]]) -> None:
    counts = Counter((scope.family, outcome.result) for _, scope, outcome in found)
    results = ("passed", "refused", "wrong")
    rows: list[list[str | int]] = []
    for family in FAMILIES:
        numbers = [counts[family, result] for result in results]
        if sum(numbers):
            rows.append([family, sum(numbers), *numbers])
    totals = [sum(int(row[i]) for row in rows) for i in range(1, 5)]
    rows.append(["all in scope", *totals])
    print(format_table(["in scope", "tests", *results], rows))
    if totals[0]:
        print(f"{100 * totals[1] / totals[0]:.1f} % of those in scope pass\n")


def _print_reasons(found: Sequence[tuple[str, Scope, Outcome]]) -> None:
    counts = Counter(scope.reason for _, scope, _ in found if scope.reason)
    rows = [[reason, counts[reason], why] for reason, why in REASONS.items() if counts[reason]]
    rows.append(["all", sum(counts.values()), ""])
    print(format_table(["out of scope", "tests", "why"], rows))


if __name__ == "__main__":
    sys.exit(main())
