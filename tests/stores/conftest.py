"""What the tests of stores share: a clock that is set by hand."""

from __future__ import annotations

import pytest

from tests.stores.making import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()
