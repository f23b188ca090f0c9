"""What another part says of the settings: its own check, as a child.

Agent and dashboard read their own tables, and neither is the collector's to import; a file that
serves several parts is to be right for each.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

AGENT: Final = ("agent", "check")
DASHBOARD: Final = ("dashboard", "--check")
WITHIN_S: Final = 20.0


class Answer(NamedTuple):
    """What a part answered."""

    code: int
    """Its exit code."""
    out: str
    said: str
    """What it says against the settings, without the program's name."""


async def ask(check: tuple[str, ...], file: str | Path | None) -> Answer | None:
    """Return what ``outrider CHECK`` answers; None: it did not within WITHIN_S."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "outrider.command", *check),
        *(["--config", str(file)] if file else []),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(WITHIN_S):
            out, said = await child.communicate()
    except TimeoutError:
        child.kill()
        await child.wait()
        return None
    words = said.decode(errors="replace").strip().removeprefix("outrider: ")
    return Answer(await child.wait(), out.decode(errors="replace"), words)
