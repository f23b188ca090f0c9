"""``outrider silences``: add, list and end silences; say beforehand what one would hold back."""

from __future__ import annotations

import json
import re
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from outrider.command import DONE
from outrider.configuration import ConfigError
from outrider.errors import Fault
from outrider.instants import from_us, to_us
from outrider.visible import visible
from outrider_alerting import schedules
from outrider_alerting.doubts import doubts, unknown_labels
from outrider_alerting.durations import Duration
from outrider_alerting.ledger import Silence
from outrider_alerting.rules import RuleSet
from outrider_collector.store import acts
from outrider_collector.store import rules as store_rules
from outrider_collector.store.reading import alerts as reading
from outrider_collector.store.reading import health
from outrider_collector.terminal import alert_text
from outrider_collector.terminal.commands import Parser, actor, admin, read_store, say
from outrider_collector.terminal.documents import document
from outrider_collector.terminal.silence_preview import Preview, preview

if TYPE_CHECKING:
    import argparse

    from psycopg import AsyncConnection

PREVIEWED: Final = timedelta(days=7)
ALERTS_MAX: Final = 10_000
_SILENCE = re.compile(r"(?:S-|#)?(\d{1,18})", re.IGNORECASE)


def silences(argv: list[str]) -> int:
    """Add, list and end silences; return the exit code."""
    parser = Parser("silences", "Silences keep alerts from being told.", default="list")
    add = parser.act("add", "silence alerts that match a filter on their labels")
    add.add_argument("filter", nargs="+", metavar="FILTER", help="such as rule:payment-errors")
    add.add_argument(
        "--for", dest="length", metavar="2h", help="how long; with --schedule ten years if not said"
    )
    add.add_argument(
        "--schedule", metavar="WINDOWS", help="only then, every week: 'mon-fri 22:00-07:00, sun'"
    )
    add.add_argument(
        "--timezone", metavar="ZONE", help="of --schedule, such as Europe/Berlin; UTC if not said"
    )
    add.add_argument("--quiet-hours", action="store_true", help="critical alerts pass")
    add.add_argument("--comment", default="", metavar="TEXT", help="why; people will see it")
    add.add_argument(
        "--dry-run", action="store_true",
        help="add nothing; say what it would hold now and would have held last week",
    )  # fmt: skip
    listing = parser.act("list", "silences in force and to come (the default)")
    listing.add_argument("--all", action="store_true", help="those that ended too")
    parser.act("end", "end one now").add_argument("silence", metavar="ID")
    return parser.run(argv, {"add": _add, "list": _list, "end": _end})


async def _add(arguments: argparse.Namespace) -> int:
    weekly = _weekly(arguments)
    length_us = _length_us(arguments.length, weekly)
    text = " ".join(arguments.filter)
    try:
        chosen = acts.parse_filter(text)
    except Fault as fault:
        raise ConfigError(fault.text) from None

    async def read(connection: AsyncConnection) -> tuple[Preview, list[str]]:
        now = await health.now(connection)
        active = await store_rules.active(connection)
        alerts = await reading.open_alerts(connection)
        rule_set, labels = active.rule_set if active else RuleSet(), [a.labels for a in alerts]
        for unknown in () if arguments.dry_run else unknown_labels(chosen, rule_set, labels):
            # It would hold nothing, and somebody would rely on it.
            raise ConfigError(unknown, visible(text))
        doubtful = doubts(chosen, rule_set, labels)
        past = []
        if arguments.dry_run:
            past = await reading.recent(connection, now - PREVIEWED, ALERTS_MAX)
        silence = Silence(
            id=0,
            filter=text,
            starts_us=to_us(now),
            ends_us=to_us(now) + length_us,
            schedule=weekly.schedule if weekly else None,
            timezone=weekly.timezone if weekly else None,
            quiet_hours=weekly is not None and weekly.quiet_hours,
        )
        return preview(silence, alerts, past, now, PREVIEWED), list(doubtful)

    found, doubtful = await read_store(arguments, read)
    if arguments.dry_run:
        say(
            json.dumps({**found.document(), "doubts": doubtful})
            if arguments.json
            else "\n".join(found.lines())
        )
        _doubt(doubtful)
        return DONE
    ends = from_us(found.silence.ends_us)
    async with admin(arguments) as client:
        number, hit = await client.add_silence(
            text=text,
            starts_us=0,
            ends_us=found.silence.ends_us,
            actor=actor(),
            comment=arguments.comment,
            weekly=weekly,
        )
    if weekly is not None:
        hit = [alert.id for alert in found.now]
    if arguments.json:
        added = {"silence": number, "ends_at": ends.isoformat(), "alerts": hit}
        say(json.dumps({**added, "doubts": doubtful}))
        return DONE
    say(f"silence {number} {_when(weekly, f'{ends:%Y-%m-%d %H:%M:%S}')}: {_hit(hit)}")
    _doubt(doubtful)
    if doubtful:
        sys.stderr.write(f"outrider: to take it back: outrider silences end {number}\n")
    return DONE


def _doubt(doubtful: list[str]) -> None:
    for doubt in doubtful:
        sys.stderr.write(f"outrider: doubtful: {visible(doubt)}\n")


def _when(weekly: acts.Weekly | None, ends: str) -> str:
    if weekly is None:
        return f"until {ends} UTC"
    passes = ", critical alerts pass" if weekly.quiet_hours else ""
    when = visible(f"{weekly.schedule} {weekly.timezone}")
    return f"{when}, until {ends} UTC{passes}"


def _hit(alerts: list[int]) -> str:
    if not alerts:
        return "no open alert matches it now"
    more = f" and {len(alerts) - 20} more" if len(alerts) > 20 else ""
    return f"it holds {', '.join(f'A-{alert}' for alert in alerts[:20])}{more} now"


def _weekly(arguments: argparse.Namespace) -> acts.Weekly | None:
    if arguments.schedule is None:
        for name in ("timezone", "quiet_hours"):
            if getattr(arguments, name):
                option = f"--{name.replace('_', '-')}"
                what_to_do = "write --schedule '22:00-07:00', or leave it out"
                raise ConfigError("it needs a schedule", option, what_to_do)
        return None
    weekly = acts.Weekly(arguments.schedule, arguments.timezone or "UTC", arguments.quiet_hours)
    try:
        schedules.parse(weekly.schedule, weekly.timezone)
    except schedules.ScheduleError as error:
        raise ConfigError(str(error), "--schedule") from None
    return weekly


def _length_us(text: str | None, weekly: acts.Weekly | None) -> int:
    if text is None:
        if weekly is None:
            raise ConfigError("how long is not said", "--for", "write it like --for 2h")
        return acts.WEEKLY_MAX // timedelta(microseconds=1)
    try:
        length_us = Duration(text).us
    except ValueError as error:
        raise ConfigError(str(error), "--for") from None
    if length_us <= 0:
        raise ConfigError("a silence must last some time", "--for", "write it like 2h")
    return length_us


async def _list(arguments: argparse.Namespace) -> int:
    async def read(connection: AsyncConnection) -> list[str]:
        found = await reading.silences(connection, ended=arguments.all)
        if arguments.json:
            return [json.dumps(document(found))]
        return alert_text.silence_lines(found, await health.now(connection))

    say("\n".join(await read_store(arguments, read)))
    return DONE


async def _end(arguments: argparse.Namespace) -> int:
    match = _SILENCE.fullmatch(arguments.silence)
    if match is None:
        what_to_do = "write its number, such as 9 or S-9"
        raise ConfigError("not a silence", arguments.silence[:50], what_to_do)
    number = int(match[1])
    async with admin(arguments) as client:
        changed = await client.end_silence(number, actor())
    if arguments.json:
        say(json.dumps({"silence": number, "changed": changed}))
    elif changed:
        say(f"silence {number} has ended")
    else:
        say(f"silence {number} had ended before")
    return DONE
