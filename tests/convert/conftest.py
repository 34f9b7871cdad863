"""What all tests of the converter share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.convert.tally import tally


@pytest.fixture(autouse=True)
def shares_of_differing_values() -> Iterator[None]:
    """Check, after each test, how many values differed in all its examples together."""
    tally.clear()
    yield
    tally.check()
