"""``outrider alerts``: list, show, explain and acknowledge them.

Acts go to the collector of this host; everything else reads Postgres.
"""

from __future__ import annotations

import json
import re
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from outrider.command import DONE
from outrider.configuration import ConfigError
from outrider.errors import Fault, Reason
from outrider.visible import visible
from outrider_collector.store import rules as store_rules
from outrider_collector.store.reading import alerts as reading
from outrider_collector.store.reading import health
from outrider_collector.terminal import alert_explained, alert_text, explained_text
from outrider_collector.terminal.commands import Parser, actor, admin, read_store, say
from outrider_collector.terminal.documents import document

if TYPE_CHECKING:
    import argparse

    from psycopg import AsyncConnection

    from outrider_collector.store.reading.types import AlertDetail

RECENT: Final = timedelta(days=1)

_ALERT = re.compile(r"(?:A-|#)?(\d{1,18})", re.IGNORECASE)


def alerts(argv: list[str]) -> int:
    """List, show, explain and acknowledge alerts; return the exit code."""
    parser = Parser("alerts", "Alerts, and what was told about them.", default="list")
    listing = parser.act("list", "open alerts, worst first (the default)")
    listing.add_argument("--all", action="store_true", help="those of the last day too")
    parser.act("show", "everything about one alert").add_argument("alert", metavar="ID")
    explain = parser.act("explain", "why somebody was told of it, or was not")
    explain.add_argument("alert", metavar="ID")
    ack = parser.act("ack", "say that you look after it, or after several")
    ack.add_argument("alerts", metavar="ID", nargs="+")
    ack.add_argument("--comment", default="", metavar="TEXT")
    return parser.run(
        argv, {"list": _list, "show": _show, "explain": _explain, "ack": _acknowledge}
    )


async def _list(arguments: argparse.Namespace) -> int:
    async def read(connection: AsyncConnection) -> list[str]:
        now = await health.now(connection)
        found = await reading.open_alerts(connection)
        if arguments.all:
            found = await reading.recent(connection, now - RECENT, 1_000)
        if arguments.json:
            return [json.dumps(document(found))]
        return alert_text.alert_lines(found, now)

    say("\n".join(await read_store(arguments, read)))
    return DONE


async def _show(arguments: argparse.Namespace) -> int:
    number = _alert_number(arguments.alert)

    async def read(connection: AsyncConnection) -> list[str]:
        now = await health.now(connection)
        detail = await _detail(connection, number)
        if arguments.json:
            return [json.dumps(document(detail))]
        return list(alert_text.detail_lines(detail, now, colours=sys.stdout.isatty()))

    say("\n".join(await read_store(arguments, read)))
    return DONE


async def _explain(arguments: argparse.Namespace) -> int:
    number = _alert_number(arguments.alert)

    async def read(connection: AsyncConnection) -> alert_explained.Explanation:
        detail = await _detail(connection, number)
        rule_set = await store_rules.load(connection, detail.alert.rule_set)
        silences = await reading.silences(connection, ended=True)
        now = await health.now(connection)
        active = await store_rules.active(connection)
        frozen = active.frozen.get(detail.alert.rule) if active else None
        return alert_explained.explanation(
            detail,
            silences,
            rule_set.rule_set,
            rule_set.version,
            now,
            frozen,
            await reading.told_with(connection, number),
            (active.version, active.rule_set) if active else None,
        )

    found = await read_store(arguments, read)
    if arguments.json:
        say(json.dumps(found.document()))
    else:
        say("\n".join(explained_text.lines(found, colours=sys.stdout.isatty())))
    return DONE


async def _detail(connection: AsyncConnection, number: int) -> AlertDetail:
    try:
        return await reading.alert(connection, number)
    except Fault as fault:
        if fault.reason is not Reason.NOT_FOUND:
            raise
        hint = "list them with 'outrider alerts --all'"
        raise Fault(Reason.NOT_FOUND, detail=f"there is no alert A-{number}: {hint}") from None


async def _acknowledge(arguments: argparse.Namespace) -> int:
    numbers = [_alert_number(alert) for alert in arguments.alerts]
    async with admin(arguments) as client:
        for number in dict.fromkeys(numbers):
            changed, by = await client.acknowledge(number, actor(), arguments.comment)
            if arguments.json:
                say(json.dumps({"alert": number, "changed": changed, "acknowledged_by": by}))
            elif changed:
                say(f"A-{number} is acknowledged")
            else:
                say(f"A-{number} was acknowledged by {visible(by)} before")
    return DONE


def _alert_number(text: str) -> int:
    match = _ALERT.fullmatch(text)
    if match is None:
        raise ConfigError("not an alert", text[:50], "write its number, such as 12 or A-12")
    return int(match[1])
