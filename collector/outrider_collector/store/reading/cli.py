"""``outrider logs``, ``outrider status`` and ``outrider workers``."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import TYPE_CHECKING

from outrider_collector import config
from outrider_collector.store.connect import READ_ROLE, connect
from outrider_collector.store.reading import fleet, health
from outrider_collector.store.reading.follow import Command, Output, run
from outrider_collector.store.reading.ranges import parse_filter, parse_time, split_filter
from outrider_collector.store.reading.status_text import document, status_lines, worker_lines

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from psycopg import AsyncConnection

    from outrider_collector.store.reading.follow import Form

    View = Callable[[AsyncConnection[Any]], Awaitable[str]]

DONE = 0
WATCH_S = 2.0
_CLEAR = "\x1b[H\x1b[2J"


def logs(argv: list[str]) -> int:
    """Search and follow the logs; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="outrider logs",
        description="Lines that match a filter, oldest first.",
        epilog="Example: outrider logs 'service:payments severity>=error -healthcheck' --since 2h",
        allow_abbrev=False,
    )
    parser.add_argument("filter", nargs="*", metavar="FILTER", help="what to look for")
    parser.add_argument(
        "--since", default="1h", metavar="WHEN", help="an age (1h, 3d) or a time; default 1h"
    )
    parser.add_argument("--until", metavar="WHEN", help="an age or a time; default now")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with new lines")
    parser.add_argument(
        "--limit", type=int, metavar="N", help="the newest N; default 100, with --json or --csv all"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a line")
    form.add_argument("--csv", action="store_true", help="CSV, safe to open in a spreadsheet")
    parser.add_argument("--config", metavar="FILE", help="outrider.toml to read")
    words, options = split_filter(argv, parser)
    arguments = parser.parse_args(options)
    if arguments.follow and arguments.until:
        parser.error("--follow has no end: leave out --until")
    if arguments.limit is not None and arguments.limit < 1:
        parser.error("--limit must be at least 1")
    form_name: Form = "json" if arguments.json else "csv" if arguments.csv else "text"
    command = Command(
        filter=parse_filter(" ".join([*arguments.filter, *words])),
        since=parse_time(arguments.since, "--since"),
        until=parse_time(arguments.until, "--until") if arguments.until else None,
        limit=arguments.limit or (100 if form_name == "text" else None),
        follow=arguments.follow,
    )
    url = config.load(arguments.config).database_url
    asyncio.run(run(url, command, Output(form_name, sys.stdout, sys.stderr)))
    return DONE


def status(argv: list[str]) -> int:
    """Show what is wrong, or that nothing is; return the exit code."""

    async def view(conn: AsyncConnection[Any]) -> str:
        overview = await fleet.overview(conn)
        collectors, store = await health.collectors(conn), await health.store(conn)
        if arguments.json:
            parts = {"overview": overview, "collectors": collectors, "store": store}
            return json.dumps(document(parts), ensure_ascii=False)
        lines = status_lines(overview, collectors, store, colours=sys.stdout.isatty())
        return "\n".join(lines)

    arguments = _arguments("status", "How everything is, worst first.", argv)
    return asyncio.run(_show(view, arguments))


def workers(argv: list[str]) -> int:
    """Show the fleet; return the exit code."""

    async def view(conn: AsyncConnection[Any]) -> str:
        found, now = await fleet.workers(conn), await health.now(conn)
        if arguments.json:
            return json.dumps(document(found), ensure_ascii=False)
        return "\n".join(worker_lines(found, now, colours=sys.stdout.isatty()))

    arguments = _arguments("workers", "All workers, worst first.", argv)
    return asyncio.run(_show(view, arguments))


def _arguments(name: str, description: str, argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"outrider {name}", description=description)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--watch", action="store_true", help="show it again every two seconds")
    parser.add_argument("--config", metavar="FILE", help="outrider.toml to read")
    return parser.parse_args(argv)


async def _show(view: View, arguments: argparse.Namespace) -> int:
    url = config.load(arguments.config).database_url
    async with await connect(url, application_name="outrider", role=READ_ROLE) as conn:
        while True:
            text = await view(conn)
            clear = _CLEAR if arguments.watch and sys.stdout.isatty() else ""
            sys.stdout.write(f"{clear}{text}\n")
            sys.stdout.flush()
            if not arguments.watch:
                return DONE
            await asyncio.sleep(WATCH_S)
