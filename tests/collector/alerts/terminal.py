"""A terminal beside a collector: what tests of commands share."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Done:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON document it printed."""
        return json.loads(self.out)


class Terminal:
    """Runs commands with the configuration of the test."""

    def __init__(self, config: Path) -> None:
        self.config = config

    async def __call__(self, *words: str) -> Done:
        """Run one command."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "outrider.command",
            *words,
            env={**os.environ, "OUTRIDER_CONFIG": str(self.config)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), 30)
        assert b"Traceback" not in err
        return Done(process.returncode or 0, out.decode(), err.decode())
