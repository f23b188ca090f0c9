"""The processes under `outrider up`: started in order, restarted when they die, stopped in reverse.

Each child writes to a log file of its own, dies with us (the kernel sends it SIGTERM when we are
killed), and is told to end by SIGTERM; one that does not within its time is killed. A child that
ends by itself is started again after a growing pause, and its last words are shown; one that says
that its configuration is wrong is not: the next start would end the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from outrider.command import USAGE
from outrider.retry import Backoff
from outrider.visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_PR_SET_PDEATHSIG = 1
STEADY_S = 30.0
"""Who ran for so long has started well: its next pause is a short one again."""
_LOG_BYTES_MAX = 16 * 1024 * 1024


def _die_with_parent() -> None:
    with contextlib.suppress(OSError, AttributeError):  # not on macOS
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass(slots=True)
class Child:
    """One process and the task that keeps it alive."""

    name: str
    argv: Sequence[str]
    log: Path
    environment: Mapping[str, str]
    warn: Callable[[str], None]
    # A worker of the demo is meant to die now and then: that is no news.
    restart_pause_s: float | None = None
    on_unusable: Callable[[Child], None] | None = None
    """Told when the process says by its exit code that starting it again cannot help."""
    stop_within_s: float = 10.0
    process: asyncio.subprocess.Process | None = None
    _stopping: bool = False
    _keeper: asyncio.Task[None] | None = None
    _backoff: Backoff = field(default_factory=lambda: Backoff(base_s=0.5, cap_s=15.0))

    async def start(self) -> None:
        """Start the process and keep it alive until stop()."""
        await self._spawn()
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {self.name}")

    async def stop(self) -> None:
        """SIGTERM, wait, SIGKILL; returns when the process is gone."""
        self._stopping = True
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        process = self.process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(self.stop_within_s):
                await process.wait()
        except TimeoutError:
            self.warn(f"{self.name} did not stop within {self.stop_within_s:.0f} s and was killed")
            process.kill()
            await process.wait()

    async def _spawn(self) -> None:
        if self.log.exists() and self.log.stat().st_size > _LOG_BYTES_MAX:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(self.environment),
                start_new_session=True,  # Ctrl-C reaches us alone; we stop the others in order
                preexec_fn=_die_with_parent,
            )

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            assert self.process is not None  # noqa: S101  _spawn() made it
            started = loop.time()
            code = await self.process.wait()
            if code == USAGE and self.on_unusable is not None:
                self.on_unusable(self)
                return
            if self.restart_pause_s is not None:
                pause_s = self.restart_pause_s
            else:
                if loop.time() - started > STEADY_S:
                    self._backoff.reset()
                pause_s = self._backoff.next(floor_s=0.5)
                self.warn(
                    f"{self.name} ended with {how_it_ended(code)}, "
                    f"starts again in {pause_s:.1f} s: {self.last_words()} (log: {self.log})"
                )
            await asyncio.sleep(pause_s)
            await self._spawn()

    def last_words(self) -> str:
        """The last line of its log."""
        return last_words(self.log)


def how_it_ended(code: int) -> str:
    """Say an exit code, or the signal that a negative one means."""
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def last_words(file: Path) -> str:
    """Return the last line of a log, at most 1,000 characters, as a terminal may show it."""
    try:
        with file.open("rb") as log:
            log.seek(max(0, file.stat().st_size - 4000))
            lines = log.read().decode(errors="replace").strip().split("\n")
    except OSError:
        return ""
    return visible(lines[-1][-1000:].removeprefix("outrider: "))
