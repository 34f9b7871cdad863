"""Tables in docs/ that repeat what the code says."""

from __future__ import annotations

import re
from pathlib import Path

from edgeinfer import errors
from edgeinfer.power import PROFILES, Fault

DOCS = Path(__file__).resolve().parent.parent / "docs"
DEPLOY = DOCS / "deploy.md"


def test_deploy_lists_every_exception_with_its_bases() -> None:
    """The first two columns of the table are errors.py: each public class, and what it also is."""
    listed = {
        row[1]: set(re.findall(r"`(\w+)`", row[2]))
        for row in re.finditer(r"^\| `(\w+Error)` \| ([^|]+) \|", DEPLOY.read_text(), re.MULTILINE)
    }
    defined = {
        name: {base.__name__ for base in error.__bases__} - {"EdgeInferError"}
        for name, error in vars(errors).items()
        if isinstance(error, type)
        and error.__module__ == errors.__name__
        and issubclass(error, errors.EdgeInferError)
        and error is not errors.EdgeInferError
    }
    assert "AccuracyError" in defined
    assert listed == defined


def test_power_lists_every_fault_with_its_meaning() -> None:
    text = (DOCS / "power.md").read_text()
    listed = dict(re.findall(r"^\| `([a-z-]+)` \| (.+) \|$", text, re.MULTILINE))
    assert listed == {str(fault): fault.meaning for fault in Fault}


def test_power_lists_every_profile_with_its_figures() -> None:
    text = (DOCS / "power.md").read_text()
    for profile in PROFILES.values():
        row = (
            f"| {profile.name} | {profile.idle_watts} | {profile.mac_joules * 1e12:.0f} | "
            f"{profile.float_mac_joules * 1e12:.0f} | ±{100 * profile.error:.0f} % |"
        )
        assert row in text
