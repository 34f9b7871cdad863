"""ONNX's own node tests, through edgeinfer's backend: as many as must pass, and none wrong."""

from __future__ import annotations

import pytest

from tools.onnx_node_scope import (
    FAMILIES,
    KNOWN_REFUSALS,
    REASONS,
    all_cases,
    cases_of,
    classify,
    modules,
)
from tools.onnx_node_tests import main, run_test

# Of onnx 1.23, not expanded to functions; a newer one may have more.
ALL_TESTS, IN_SCOPE, PASSED = 1404, 884, 860
REFUSED = {name for names in KNOWN_REFUSALS.values() for name in names}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("module", modules())
def test_every_test_passes_or_is_refused_as_known(module: str) -> None:
    """A test in scope passes, or is one of the known refusals; out of scope, nothing is wrong."""
    surprises = []
    for test in cases_of(module):
        outcome, scope = run_test(test), classify(test)
        expected = "refused" if test.name in REFUSED else "passed"
        if outcome.result == "wrong" or (scope.family and outcome.result != expected):
            surprises.append(f"{test.name} is {outcome.result}: {outcome.detail}")
    assert surprises == []


@pytest.mark.filterwarnings("ignore")
def test_scope_is_wide_enough() -> None:
    tests = list(all_cases())
    names = {test.name for test in tests}
    assert len(names) == len(tests) >= ALL_TESTS
    scopes = {test.name: classify(test) for test in tests}  # raises for what is in no list
    assert all((s.family in FAMILIES) != (s.reason in REASONS) for s in scopes.values())
    in_scope = {name for name, scope in scopes.items() if scope.family}
    assert in_scope >= REFUSED
    assert len(in_scope) >= IN_SCOPE
    assert len(in_scope - REFUSED) >= PASSED
    if len(tests) == ALL_TESTS:
        assert (len(in_scope), len(in_scope - REFUSED)) == (IN_SCOPE, PASSED)


def test_the_tool_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lrn", "regex_full_match", "--list"]) == 0
    printed = capsys.readouterr().out
    assert "normalisation      2       2" in printed
    assert "100.0 % of those in scope pass" in printed
    assert "strings" in printed
