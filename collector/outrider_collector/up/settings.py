"""Are the settings right for every part? Asked before anything of `outrider up` starts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from outrider.command import USAGE
from outrider.configuration import ConfigError
from outrider_collector import config as configuration
from outrider_collector.settings_check import AGENT, DASHBOARD, ask

if TYPE_CHECKING:
    from pathlib import Path

_CHECKS = {"agent": AGENT, "dashboard": DASHBOARD}


async def must_be_right(file: Path) -> None:
    """Raise ConfigError where a part could not run by these settings."""
    try:
        configuration.load(file)
    except ConfigError as error:
        what = f"the collector cannot run: {error.what}"
        raise ConfigError(what, error.where, error.what_to_do) from None
    for part, said in zip(
        _CHECKS,
        await asyncio.gather(*(_said(check, file) for check in _CHECKS.values())),
        strict=True,
    ):
        if said:
            raise ConfigError(f"the {part} cannot run: {said}")


async def _said(check: tuple[str, ...], file: Path) -> str:
    """Return what a part says against its settings; empty where they are right, or it is slow."""
    answer = await ask(check, file)
    return answer.said if answer is not None and answer.code == USAGE else ""
