"""Tables in docs/ that repeat what the code says."""

from __future__ import annotations

import re
from pathlib import Path

from edgeinfer import errors

DEPLOY = Path(__file__).resolve().parent.parent / "docs" / "deploy.md"


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
