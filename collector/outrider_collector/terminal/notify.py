"""``outrider notify test``: one real message through a channel, the way of every other one.

The collector puts it into the ledger; whichever delivers takes it from there, at the channel's pace
and with its secrets. Here is told what the ledger says became of it. A test is tried once: what
fails for now fails, except that a demand to wait is obeyed.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from outrider.command import DONE, FAILED
from outrider.visible import visible
from outrider_collector.store import trials
from outrider_collector.terminal.commands import Parser, actor, admin, read_store, say
from outrider_collector.terminal.documents import document
from outrider_collector.terminal.tries import try_lines

if TYPE_CHECKING:
    import argparse

    from psycopg import AsyncConnection

    from outrider_collector.store.trials import TrialRow

WAIT_S: Final = 60.0
_LOOK_EVERY_S = 0.05
_WORDS: Final = {
    "waiting": "not told yet",
    "claimed": "on its way, no answer yet",
    "failed": "not sent",
    "dead": "not sent",
    "unknown": "nobody can tell whether it arrived",
}


def notify(argv: list[str]) -> int:
    """Send a test message to a channel; return the exit code."""
    parser = Parser("notify", "Try the channels of the active rule set.")
    test = parser.act("test", "send one real message and tell what became of it")
    test.add_argument("channel", metavar="CHANNEL")

    async def run(arguments: argparse.Namespace) -> int:
        async with admin(arguments) as client:
            number = await client.test_channel(arguments.channel, actor())

        async def read(connection: AsyncConnection) -> Trial:
            return await outcome(connection, number)

        became: Trial = await read_store(arguments, read)
        say(json.dumps(became.document()) if arguments.json else became.text)
        return became.exit_code

    return parser.run(argv, {"test": run})


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of the message."""

    row: TrialRow

    @property
    def exit_code(self) -> int:
        """0 when it was sent."""
        return DONE if self.row.fate == "sent" else FAILED

    @property
    def text(self) -> str:
        """Say it to a person: what became of it, then the ledger."""
        row = self.row
        channel = visible(row.channel)
        why = f": {visible(row.why)}" if row.why else ""
        if row.fate == "sent":
            number = f", it calls it {visible(row.provider_id)}" if row.provider_id else ""
            first = f"{channel}: sent in {self._took_ms} ms{number}{why}"
        else:
            first = f"{channel}: {_WORDS.get(row.fate, row.fate)}{why}"
        lines = [
            first,
            f"ledger: notification {row.id}, {row.fate}, to {visible(row.conversation)}",
        ]
        return "\n".join([*lines, *(f"  {line}" for line in try_lines(row.tries))])

    @property
    def _took_ms(self) -> int:
        ended = self.row.finished_at or self.row.created_at
        return round((ended - self.row.created_at).total_seconds() * 1000)

    def document(self) -> dict[str, Any]:
        """Return it for programs."""
        row: dict[str, Any] = document(self.row)
        return {**row, "took_ms": self._took_ms if self.row.finished_at else None}


async def outcome(connection: AsyncConnection, notification: int) -> Trial:
    """Wait until the test's fate is known, or for WAIT_S."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WAIT_S
    while True:
        row = await trials.read(connection, notification)
        if row.fate not in {"waiting", "claimed"} or loop.time() > deadline:
            return Trial(row)
        await asyncio.sleep(_LOOK_EVERY_S)
