"""``outrider status`` and ``outrider workers``."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
from typing import TYPE_CHECKING

from outrider.command import DONE
from outrider.errors import Fault, RetryClass
from outrider.retry import Backoff
from outrider.visible import visible
from outrider_collector import config
from outrider_collector.store.connect import READ_ROLE, connect
from outrider_collector.store.reading import components, fleet, health
from outrider_collector.terminal.documents import document
from outrider_collector.terminal.retire import retire
from outrider_collector.terminal.status_text import status_lines, worker_lines

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from psycopg import AsyncConnection

    View = Callable[[AsyncConnection[Any]], Awaitable[str]]

WATCH_S = 2.0
_CLEAR = "\x1b[H\x1b[2J"


def status(argv: list[str]) -> int:
    """Show what is wrong, or that nothing is; return the exit code."""

    async def view(conn: AsyncConnection[Any]) -> str:
        overview, agents = await fleet.overview(conn), await fleet.agents(conn)
        collectors, store = await health.collectors(conn), await health.store(conn)
        looked_at = await components.components(conn)
        if arguments.json:
            parts = {
                "overview": overview,
                "agents": agents,
                "collectors": collectors,
                "store": store,
                "components": looked_at,
            }
            return json.dumps(document(parts), ensure_ascii=False)
        lines = status_lines(
            overview, agents, collectors, store, looked_at, colours=sys.stdout.isatty()
        )
        return "\n".join(lines)

    arguments = _arguments("status", "How everything is, worst first.", argv)
    return asyncio.run(_show(view, arguments))


def workers(argv: list[str]) -> int:
    """Show the fleet, or retire one of it; return the exit code."""
    if argv[:1] == ["retire"]:
        return retire(argv[1:])

    async def view(conn: AsyncConnection[Any]) -> str:
        found, now = await fleet.workers(conn), await health.now(conn)
        if arguments.json:
            return json.dumps(document(found), ensure_ascii=False)
        return "\n".join(worker_lines(found, now, colours=sys.stdout.isatty()))

    what = "All workers, worst first. 'outrider workers retire NAME': one that is gone for good."
    arguments = _arguments("workers", what, argv)
    return asyncio.run(_show(view, arguments))


def _arguments(name: str, description: str, argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        allow_abbrev=False, prog=f"outrider {name}", description=description
    )
    parser.add_argument(
        "--json", action="store_true", help="one JSON document (with --watch one a line)"
    )
    parser.add_argument("--watch", action="store_true", help="show it again every two seconds")
    parser.add_argument("--config", metavar="FILE", help="outrider.toml to read")
    return parser.parse_args(argv)


async def _show(view: View, arguments: argparse.Namespace) -> int:
    url = config.load(arguments.config).database_url
    if not arguments.watch:
        async with await _open(url) as conn:
            _write(await view(conn))
        return DONE
    backoff = Backoff()
    while True:
        try:
            async with await _open(url) as conn:
                while True:
                    _write_again(await view(conn))
                    backoff.reset()
                    await asyncio.sleep(WATCH_S)
        except Fault as fault:
            if fault.retry is RetryClass.NEVER:
                raise
            sys.stderr.write(f"outrider: {visible(fault.text)}: waiting for the database\n")
            await asyncio.sleep(backoff.next())


async def _open(url: str) -> AsyncConnection[Any]:
    return await connect(url, application_name="outrider", role=READ_ROLE)


def _write(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _write_again(text: str) -> None:
    """Write over what stood there; what does not fit the screen is counted."""
    if not sys.stdout.isatty():
        _write(text)
        return
    height = max(shutil.get_terminal_size().lines - 1, 2)
    lines = text.split("\n")
    if len(lines) > height:
        hidden = len(lines) - height + 1
        lines = [*lines[: height - 1], f"... {hidden:,} more lines; without --watch all are shown"]
    _write(_CLEAR + "\n".join(lines))
