"""``outrider rules``, ``outrider alerts``, ``outrider silences`` and ``outrider notify``.

Acts (apply, ack, add, end) go to the collector of this host; everything else reads Postgres.
"""

from __future__ import annotations

import json
import re
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from outrider.command import DONE
from outrider.configuration import ConfigError
from outrider.errors import Fault
from outrider_alerting.durations import Duration
from outrider_alerting.rules import RuleSet
from outrider_collector.alerts import explained, shown
from outrider_collector.alerts.doubts import doubts
from outrider_collector.alerts.rule_commands import rules
from outrider_collector.alerts.times import from_us, to_us
from outrider_collector.alerts.trial import Trial, outcome
from outrider_collector.store import acts
from outrider_collector.store import rules as store_rules
from outrider_collector.store.reading import alerts as reading
from outrider_collector.store.reading import health
from outrider_collector.terminal.commands import Parser, actor, admin, read_store, say
from outrider_collector.terminal.documents import document

if TYPE_CHECKING:
    import argparse

    from psycopg import AsyncConnection

RECENT: Final = timedelta(days=1)
__all__ = ["alerts", "notify", "rules", "silences"]

_ALERT = re.compile(r"(?:A-|#)?(\d{1,18})", re.IGNORECASE)
_SILENCE = re.compile(r"(?:S-|#)?(\d{1,18})", re.IGNORECASE)


def alerts(argv: list[str]) -> int:
    """List, show, explain and acknowledge alerts; return the exit code."""
    parser = Parser("alerts", "Alerts, and what was told about them.", default="list")
    listing = parser.act("list", "open alerts, worst first (the default)")
    listing.add_argument("--all", action="store_true", help="those of the last day too")
    parser.act("show", "everything about one alert").add_argument("alert", metavar="ID")
    explain = parser.act("explain", "why somebody was told of it, or was not")
    explain.add_argument("alert", metavar="ID")
    ack = parser.act("ack", "say that you look after it")
    ack.add_argument("alert", metavar="ID")
    ack.add_argument("--comment", default="", metavar="TEXT")
    return parser.run(
        argv, {"list": _list, "show": _show, "explain": _explain, "ack": _acknowledge}
    )


def silences(argv: list[str]) -> int:
    """Add, list and end silences; return the exit code."""
    parser = Parser("silences", "Silences keep alerts from being told.", default="list")
    add = parser.act("add", "silence alerts that match a filter on their labels")
    add.add_argument("filter", nargs="+", metavar="FILTER", help="such as rule:payment-errors")
    add.add_argument("--for", dest="length", required=True, metavar="2h", help="how long")
    add.add_argument("--comment", default="", metavar="TEXT", help="why; people will see it")
    listing = parser.act("list", "silences in force and to come (the default)")
    listing.add_argument("--all", action="store_true", help="those that ended too")
    parser.act("end", "end one now").add_argument("silence", metavar="ID")
    return parser.run(argv, {"add": _add_silence, "list": _list_silences, "end": _end_silence})


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


# ------------------------------------------------------------------ alerts


async def _list(arguments: argparse.Namespace) -> int:
    async def read(connection: AsyncConnection) -> list[str]:
        now = await health.now(connection)
        found = await reading.open_alerts(connection)
        if arguments.all:
            found = await reading.recent(connection, now - RECENT, 1_000)
        if arguments.json:
            return [json.dumps(document(found))]
        return shown.alert_lines(found, now)

    say("\n".join(await read_store(arguments, read)))
    return DONE


async def _show(arguments: argparse.Namespace) -> int:
    number = _alert_number(arguments.alert)

    async def read(connection: AsyncConnection) -> list[str]:
        now = await health.now(connection)
        detail = await reading.alert(connection, number)
        if arguments.json:
            return [json.dumps(document(detail))]
        return list(shown.detail_lines(detail, now, colours=sys.stdout.isatty()))

    say("\n".join(await read_store(arguments, read)))
    return DONE


async def _explain(arguments: argparse.Namespace) -> int:
    number = _alert_number(arguments.alert)

    async def read(connection: AsyncConnection) -> explained.Explanation:
        detail = await reading.alert(connection, number)
        rule_set = await store_rules.load(connection, detail.alert.rule_set)
        silences = await reading.silences(connection, ended=True)
        now = await health.now(connection)
        return explained.explanation(detail, silences, rule_set.rule_set, rule_set.version, now)

    found = await read_store(arguments, read)
    if arguments.json:
        say(json.dumps(found.document()))
    else:
        say("\n".join(explained.lines(found, colours=sys.stdout.isatty())))
    return DONE


async def _acknowledge(arguments: argparse.Namespace) -> int:
    number = _alert_number(arguments.alert)
    async with admin(arguments) as client:
        changed, by = await client.acknowledge(number, actor(), arguments.comment)
    if arguments.json:
        say(json.dumps({"alert": number, "changed": changed, "acknowledged_by": by}))
    elif changed:
        say(f"A-{number} is acknowledged")
    else:
        say(f"A-{number} was acknowledged by {by} before")
    return DONE


def _alert_number(text: str) -> int:
    match = _ALERT.fullmatch(text)
    if match is None:
        raise ConfigError("not an alert", text[:50], "write its number, such as 12 or A-12")
    return int(match[1])


# ------------------------------------------------------------------ silences


async def _add_silence(arguments: argparse.Namespace) -> int:
    length_us = _length_us(arguments.length)
    text = " ".join(arguments.filter)
    try:
        chosen = acts.parse_filter(text)
    except Fault as fault:
        raise ConfigError(fault.text) from None

    async def read(connection: AsyncConnection) -> tuple[int, list[str]]:
        active = await store_rules.active(connection)
        labels = [alert.labels for alert in await reading.open_alerts(connection)]
        doubtful = doubts(chosen, active.rule_set if active else RuleSet(), labels)
        return to_us(await health.now(connection)), list(doubtful)

    now_us, doubtful = await read_store(arguments, read)
    ends_us = now_us + length_us
    async with admin(arguments) as client:
        silence, hit = await client.add_silence(
            text=text,
            starts_us=0,
            ends_us=ends_us,
            actor=actor(),
            comment=arguments.comment,
        )
    ends = from_us(ends_us)
    if arguments.json:
        document_ = {"silence": silence, "ends_at": ends.isoformat(), "alerts": hit}
        say(json.dumps({**document_, "doubts": doubtful}))
        return DONE
    names = ", ".join(f"A-{alert}" for alert in hit[:20])
    more = f" and {len(hit) - 20} more" if len(hit) > 20 else ""
    now_hit = f"it holds {names}{more} now" if hit else "no open alert matches it now"
    say(f"silence {silence} until {ends:%Y-%m-%d %H:%M:%S} UTC: {now_hit}")
    for doubt in doubtful:
        sys.stderr.write(f"outrider: doubtful: {doubt}\n")
    if doubtful:
        sys.stderr.write(f"outrider: to take it back: outrider silences end {silence}\n")
    return DONE


def _length_us(text: str) -> int:
    try:
        length_us = Duration(text).us
    except ValueError as error:
        raise ConfigError(str(error), "--for") from None
    if length_us <= 0:
        raise ConfigError("a silence must last some time", "--for", "write it like 2h")
    return length_us


async def _list_silences(arguments: argparse.Namespace) -> int:
    async def read(connection: AsyncConnection) -> list[str]:
        found = await reading.silences(connection, ended=arguments.all)
        if arguments.json:
            return [json.dumps(document(found))]
        return shown.silence_lines(found, await health.now(connection))

    say("\n".join(await read_store(arguments, read)))
    return DONE


async def _end_silence(arguments: argparse.Namespace) -> int:
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
