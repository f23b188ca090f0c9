"""``outrider workers retire``: who ended for good leaves the list of who is missing."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING

from outrider.command import DONE
from outrider.configuration import ConfigError, suggest
from outrider.errors import Fault, Reason
from outrider.visible import visible
from outrider_collector.store.reading import fleet
from outrider_collector.terminal.commands import actor, admin, read_store, say

if TYPE_CHECKING:
    from collections.abc import Iterable

    from outrider_collector.store.reading.types import WorkerName


def retire(argv: list[str]) -> int:
    """Retire a worker; return the exit code."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="outrider workers retire",
        description="Say that a dead or silent worker ended for good. It is up again when it runs.",
    )
    parser.add_argument(
        "name", metavar="NAME", help="service/worker@host, or less of it if that is one worker"
    )
    parser.add_argument("--config", metavar="FILE", help="outrider.toml to read")
    arguments = parser.parse_args(argv)

    async def act() -> tuple[str, bool]:
        fleet_ = await read_store(arguments, fleet.workers)
        name = full_name(arguments.name, [one.name for one in fleet_])
        async with admin(arguments) as client:
            return name, await client.retire_worker(name, actor())

    name, is_new = asyncio.run(act())
    say(f"{visible(name)} {'is retired' if is_new else 'was retired before'}")
    return DONE


def full_name(asked: str, fleet_: Iterable[WorkerName]) -> str:
    """Return the whole name of the one worker that is meant. Raises ConfigError, NOT_FOUND.

    What fits nobody and resembles nobody is returned as it is, for the collector to refuse.
    """
    forms: dict[str, list[str]] = {}
    for one in fleet_:
        service, worker, host = one
        whole = one.component
        for form in {whole, f"{service}/{worker}", f"{worker}@{host}", worker}:
            forms.setdefault(form, []).append(whole)
    found = [asked] if asked in forms.get(asked, []) else forms.get(asked, [])
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigError(f"{len(found)} workers are {asked}", ", ".join(found[:5]), "write one")
    near = suggest(asked, forms)
    if near is None:
        return asked
    detail = f"there is no worker {asked}: did you mean '{forms[near][0]}'?"
    raise Fault(Reason.NOT_FOUND, detail=detail)
