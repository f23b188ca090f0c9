"""``outrider store purge``: erases a leaked secret or a person, and says what it left."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import outrider
from outrider.command import DONE, FAILED
from outrider.configuration import ConfigError
from outrider.configuration import inbox as find_inbox
from outrider_collector.store import schema
from outrider_collector.store.erasing.purge import Erasure, Purge
from outrider_collector.terminal.arguments import parse_filter
from outrider_collector.terminal.commands import actor, say
from outrider_collector.terminal.progress import Progress

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from outrider.filter import Filter
    from outrider_collector.config import Configuration

_FILTER_BYTES_MAX = 64 << 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument(
        "filter",
        metavar="FILTER",
        help="what to erase; - reads it from standard input, where neither the shell's history nor "
        "the list of processes shows a secret",
    )
    parser.add_argument(
        "--yes", action="store_true", help="do not ask; must be there where no terminal can answer"
    )
    parser.add_argument("--dry-run", action="store_true", help="count, change nothing")
    parser.add_argument(
        "--reason", default="", metavar="TEXT", help="why, for the audit log: never the secret"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")


async def run(configuration: Configuration, arguments: argparse.Namespace) -> int:
    """Erase, or count with --dry-run; 1: somebody was asked and did not say yes.

    Raises ConfigError for a filter that is none, or where none can be asked and --yes is missing.
    """
    wanted = _filter(arguments.filter)
    if not (arguments.dry_run or arguments.yes or sys.stdin.isatty()):
        raise ConfigError(
            "nothing was erased: standard input is no terminal, so nobody can be asked",
            "outrider store purge",
            "--dry-run counts what would go, --yes erases it",
        )
    url = configuration.database_url
    async with schema.opened(url):
        pass  # a schema that is not right is told before anybody is asked
    if arguments.dry_run:
        done = await _counted(url, wanted)
    else:
        if not arguments.yes and not _confirmed(await _counted(url, wanted)):
            return FAILED
        inbox = str(find_inbox(arguments.config))
        outrider.init(service="outrider", worker="cli", inbox=inbox)
        with Progress() as progress:
            purge = Purge(url, wanted, progress=lambda done: progress.show(_looked_at(done)))
            done = await purge.erase(actor(), arguments.reason)
    if arguments.json:
        say(json.dumps({"dry_run": arguments.dry_run, **asdict(done)}))
    else:
        say("\n".join(_lines(done, dry_run=arguments.dry_run)))
    return DONE


async def _counted(url: str, wanted: Filter) -> Erasure:
    with Progress() as progress:
        return await Purge(
            url, wanted, progress=lambda done: progress.show(_looked_at(done))
        ).count()


def _confirmed(counted: Erasure) -> bool:
    """Say what would go and wait for a yes."""
    sys.stderr.write("\n".join([*_lines(counted, dry_run=True), ""]))
    sys.stderr.write("Nobody can bring them back. Erase them? Type yes: ")
    sys.stderr.flush()
    said_yes = sys.stdin.readline().strip().lower() == "yes"
    if not said_yes:
        sys.stderr.write("nothing was erased\n")
    return said_yes


def _filter(said: str) -> Filter:
    text = _from_standard_input() if said == "-" else said
    if not text.strip():
        raise ConfigError(
            "the filter is empty and would erase everything", "FILTER", "say what is to go"
        )
    return parse_filter(text)


def _from_standard_input() -> str:
    try:
        text = sys.stdin.read(_FILTER_BYTES_MAX).strip()
        text.encode()  # by the locale, bytes of no meaning have become lone surrogates
    except UnicodeError:
        raise ConfigError("not UTF-8", "standard input", "write the filter in UTF-8") from None
    return text


def _looked_at(done: Erasure) -> str:
    return f"{done.looked_at:,} of {done.candidates:,} records looked at, {done.records:,} match"


def _lines(done: Erasure, *, dry_run: bool) -> Iterator[str]:
    verb = "would be erased" if dry_run else "erased"
    yield f"{done.records:,} records {verb}, in {done.blocks:,} blocks"
    if done.copies:
        yield (
            f"{done.copies:,} copies in alerts and their messages {verb}; what was sent to people "
            "is out of reach"
        )
    if done.quarantined:
        yield f"{done.quarantined:,} records in quarantine {verb}"
    if done.unread:
        yield (
            f"{done.unread:,} ranges in quarantine cannot be read and may match: "
            "'outrider store quarantine' lists them"
        )
    if done.audit_rows:
        yield (
            f"{done.audit_rows:,} rows of the audit log match and stay: they are sealed, and go "
            "with their month"
        )
    if not dry_run and done.records:
        yield (
            "gap rows (reason: erased) and the audit log tell of it, without the filter; agents' "
            "hosts may still have the files"
        )
