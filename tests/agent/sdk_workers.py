"""Real workers with the SDK, which a test starts and ends."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

WORKER = """
import os, sys, time, outrider
outrider.init(service="pay", worker="w1")
log = outrider.get_logger("pay")
outrider.progress(done=3, total=10, note="half")
log.error("charged", order_id=42)
print("ready", flush=True)
sys.stdin.readline()
"""


def worker(
    inbox: Path, program: str = WORKER, *arguments: str, stderr: int | None = None
) -> subprocess.Popen[str]:
    """Start a real worker that logs, and ends when its standard input does."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "OUTRIDER_INBOX": str(inbox)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def ended(process: subprocess.Popen[str]) -> None:
    """Wait for a worker and close its pipes."""
    process.communicate()
