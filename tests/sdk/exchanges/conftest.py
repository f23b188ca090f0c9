"""A watched exchange for each test that names one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sdk.exchanges.watching import Watched

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def watched(request: pytest.FixtureRequest) -> Iterator[Watched]:
    """A watched exchange, by the parameter's name."""
    one = Watched(request.param)
    yield one
    one.fake.close()
