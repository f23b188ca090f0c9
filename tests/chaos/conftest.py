"""The last line of a run: what the kill test found, after all that pytest has to say."""

from __future__ import annotations

import pytest

LAST_LINES = pytest.StashKey[list[str]]()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Print it."""
    for line in config.stash.get(LAST_LINES, []):
        print(line)
