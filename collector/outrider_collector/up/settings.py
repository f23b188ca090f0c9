"""Are the settings right for every part? Asked before anything of `outrider up` starts.

The agent and the dashboard read their own tables, each in a process of its own: neither is ours to
import.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

from outrider.command import USAGE
from outrider.configuration import ConfigError
from outrider_collector import config as configuration

if TYPE_CHECKING:
    from pathlib import Path

_WITHIN_S = 20.0
_CHECKS = {"agent": ("agent", "check"), "dashboard": ("dashboard", "--check")}


async def must_be_right(file: Path) -> None:
    """Raise ConfigError where a part could not run by these settings."""
    try:
        configuration.load(file)
    except ConfigError as error:
        what = f"the collector cannot run: {error.what}"
        raise ConfigError(what, error.where, error.what_to_do) from None
    for part, said in zip(
        _CHECKS, await asyncio.gather(*(_said(act, file) for act in _CHECKS.values())), strict=True
    ):
        if said:
            raise ConfigError(f"the {part} cannot run: {said}")


async def _said(act: tuple[str, ...], file: Path) -> str:
    """Return what a part says against its settings; empty where they are right, or it is slow."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "outrider.command", *act, "--config", str(file),
        env={**os.environ, "OUTRIDER_CONFIG": str(file)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_WITHIN_S):
            _, told = await child.communicate()
    except TimeoutError:
        child.kill()
        await child.wait()
        return ""
    words = told.decode(errors="replace").strip().removeprefix("outrider: ")
    return words if child.returncode == USAGE else ""
