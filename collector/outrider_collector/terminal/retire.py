"""``outrider workers retire``: who ended for good leaves the list of who is missing."""

from __future__ import annotations

import argparse
import asyncio

from outrider.command import DONE
from outrider_collector.terminal.commands import actor, admin, say
from outrider_collector.terminal.render import visible


def retire(argv: list[str]) -> int:
    """Retire a worker; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="outrider workers retire",
        description="Say that a dead or silent worker ended for good. It is up again when it runs.",
    )
    parser.add_argument("name", metavar="NAME", help="service/worker@host, as the list shows it")
    parser.add_argument("--config", metavar="FILE", help="outrider.toml to read")
    arguments = parser.parse_args(argv)

    async def act() -> bool:
        async with admin(arguments) as client:
            return await client.retire_worker(arguments.name, actor())

    name = visible(arguments.name)
    say(f"{name} is retired" if asyncio.run(act()) else f"{name} was retired before")
    return DONE
