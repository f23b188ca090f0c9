"""``outrider store``: the schema, what it holds and whether that is right, what was refused."""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import TYPE_CHECKING, Any

from outrider.command import DONE, FOUND
from outrider.errors import Fault, Reason
from outrider.visible import visible
from outrider_collector import config
from outrider_collector.store import schema
from outrider_collector.store.connect import READ_ROLE, connect, driver_errors
from outrider_collector.store.database_url import target
from outrider_collector.store.reading import quarantine
from outrider_collector.terminal import compact, purge, store_stats, store_upkeep
from outrider_collector.terminal.commands import say
from outrider_collector.terminal.documents import document
from outrider_collector.terminal.render import moment

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from outrider_collector.config import Configuration
    from outrider_collector.store.reading.quarantine import Kept


def main(argv: list[str]) -> int:
    """Run one of the subcommands; return the exit code."""
    arguments = _parser().parse_args(argv)
    return asyncio.run(_act(config.load(arguments.config), arguments))


def _act(configuration: Configuration, arguments: argparse.Namespace) -> Coroutine[Any, Any, int]:
    match arguments.command:
        case "migrate":
            return _check(configuration) if arguments.check else _migrate(configuration)
        case "stats":
            return store_stats.run(configuration, as_json=arguments.json)
        case "compact":
            return compact.run(configuration, follow=arguments.follow, as_json=arguments.json)
        case "verify":
            return store_upkeep.verify(configuration, quick=arguments.quick, as_json=arguments.json)
        case "retention":
            return store_upkeep.retention(configuration, as_json=arguments.json)
        case "purge":
            return purge.run(configuration, arguments)
        case _:
            return _quarantine(configuration, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="outrider store",
        description="The database: its schema, what it holds, what is old.",
    )
    parser.add_argument("--config", metavar="FILE", help="outrider.toml to read")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    migrate = commands.add_parser(
        "migrate", allow_abbrev=False, help="bring the schema to this version"
    )
    migrate.add_argument(
        "--check", action="store_true", help="change nothing; exit 3 when something is to do"
    )
    stats = commands.add_parser(
        "stats", allow_abbrev=False, help="records, blocks, how full the disk is, what a day costs"
    )
    stats.add_argument("--json", action="store_true", help="one JSON document")
    compacting = commands.add_parser(
        "compact",
        allow_abbrev=False,
        help="move fresh blocks to where they are small and quick to search",
        description="Moves all fresh blocks that are old enough to where they are small and quick "
        "to search, and ends. A collector does so by itself, unless `store.compact` is false.",
    )
    compacting.add_argument(
        "--follow", action="store_true", help="go on until Ctrl-C, with rests, as a collector does"
    )
    compacting.add_argument("--json", action="store_true", help="at the end one JSON document")
    checking = commands.add_parser(
        "verify",
        allow_abbrev=False,
        help="look whether every block is right about its records; exit 3 when one is not",
    )
    checking.add_argument(
        "--quick", action="store_true", help="leave out the filters, for which all texts are read"
    )
    checking.add_argument("--json", action="store_true", help="one JSON document")
    dropping = commands.add_parser(
        "retention", allow_abbrev=False, help="drop what is older than the retention, now"
    )
    dropping.add_argument("--json", action="store_true", help="one JSON document")
    purge.add_arguments(
        commands.add_parser(
            "purge", allow_abbrev=False, help="erase records for good: a leaked secret, a person"
        )
    )
    aside = commands.add_parser(
        "quarantine",
        allow_abbrev=False,
        help="records that Postgres refused: list them, or show one",
    )
    aside.add_argument("id", nargs="?", type=int, metavar="ID", help="show what it holds")
    aside.add_argument("--json", action="store_true", help="one JSON document")
    aside.add_argument(
        "--limit", type=int, default=100, metavar="N", help="list the newest N; default 100"
    )
    for command in commands.choices.values():
        # Before the command or after it; after it must not undo what was said before.
        command.add_argument(
            "--config", metavar="FILE", default=argparse.SUPPRESS, help="outrider.toml to read"
        )
    return parser


async def _migrate(configuration: Configuration) -> int:
    done = await schema.migrate(configuration.database_url)
    for migration in done.applied:
        say(f"applied {migration.version:04}_{migration.name}")
    say(f"schema {done.version} is in place: {target(configuration.database_url)}")
    if done.advised:
        say("Who only reads can stop commits or fill the disk; a superuser ends that with:")
        for statement in done.advised:
            say(f"  {statement};")
    if done.not_permitted:
        say("This user may not do the following; ask an administrator of the database to run:")
        for statement in done.not_permitted:
            say(f"  {statement};")
        say("and then 'outrider store migrate' again: it goes on from there")
        return FOUND
    return DONE


async def _check(configuration: Configuration) -> int:
    url = configuration.database_url
    async with await connect(url, application_name="outrider store") as connection:
        with driver_errors(url):
            state = await schema.check(connection)
    for migration in state.pending:
        say(f"to apply: {migration.version:04}_{migration.name}")
    for name in state.drifted:
        say(f"changed after it was applied: {name}")
    if state.minimum is not None:
        say(f"schema {state.newer} is too new for this version: upgrade Outrider")
    elif state.newer is not None:
        say(f"schema {state.newer} is newer than this version, which works with it")
    if state.pending or state.drifted or state.minimum is not None:
        return FOUND
    say(f"schema {state.version} is in place: {target(url)}")
    return DONE


async def _quarantine(configuration: Configuration, arguments: argparse.Namespace) -> int:
    url = configuration.database_url
    async with await connect(url, application_name="outrider store", role=READ_ROLE) as connection:
        with driver_errors(url):
            if arguments.id is None:
                kept = await quarantine.newest(connection, max(1, arguments.limit))
                say(_kept_list(kept, as_json=arguments.json))
                return DONE
            found = await quarantine.one(connection, arguments.id)
    if found is None:
        raise Fault(
            Reason.NOT_FOUND,
            detail=f"there is no number {arguments.id} in quarantine: {target(url)}: "
            "list what there is with 'outrider store quarantine'",
        )
    about, payload = found
    lines = payload.splitlines()
    if arguments.json:
        records = [json.loads(line) for line in lines]
        say(json.dumps(document(about) | {"records": records}))
    else:
        say("\n".join([*_kept_lines(about), *(visible(line) for line in lines)]))
    return DONE


def _kept_list(kept: Sequence[Kept], *, as_json: bool) -> str:
    if as_json:
        return json.dumps(document(kept))
    if not kept:
        return "nothing is in quarantine"
    return "\n".join(line for each in kept for line in _kept_lines(each))


def _kept_lines(kept: Kept) -> list[str]:
    source = f"{kept.service or '?'}/{kept.worker or '?'}@{kept.host or '?'}"
    return [
        f"{kept.id}  {moment(kept.received_at)}  {visible(source)}",
        f"    stream {kept.stream}, {kept.begin_offset} to {kept.end_offset}, "
        f"{kept.bytes:,} bytes kept: {visible(kept.reason)}"
        + (f" ({visible(kept.sqlstate)})" if kept.sqlstate else ""),
    ]
