"""The agent's version is written down a second time, to save memory; it may not differ."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path

from outrider_agent import VERSION


def test_the_agent_says_the_distributions_version() -> None:
    """What a hello and the fleet page say is what is installed, and what would be built."""
    with (Path(__file__).parents[2] / "pyproject.toml").open("rb") as file:
        built = tomllib.load(file)["project"]["version"]

    assert metadata.version("outrider") == VERSION == built
