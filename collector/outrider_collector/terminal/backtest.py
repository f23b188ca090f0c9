"""``outrider rules backtest``: what rules would have told of the past, beside what was told."""

from __future__ import annotations

import itertools
import json
from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec

from outrider import durations
from outrider.configuration import ConfigError, suggest
from outrider.instants import from_us, to_us
from outrider.visible import visible
from outrider_alerting import backtest
from outrider_alerting.components import ComponentState
from outrider_alerting.durations import SECOND_US
from outrider_alerting.gaps import GapSeen
from outrider_alerting.plays import Play, Record
from outrider_alerting.program import Program
from outrider_alerting.rules import diff
from outrider_collector.store import rules as store_rules
from outrider_collector.store.reading import health, past
from outrider_collector.terminal.arguments import parse_time, resolve
from outrider_collector.terminal.progress import Progress
from outrider_collector.terminal.render import moment, table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from psycopg import AsyncConnection

    from outrider_alerting.backtest import Finding, Then
    from outrider_alerting.rules import RuleSet
    from outrider_collector.store.reading.types import LogRow

WARMED_MOST: Final = timedelta(days=15)
"""How much before the range is read at most, so that windows and baselines are full."""
SHOWN: Final = 200
"""Lines of a report for people; --json tells all."""


@dataclass(slots=True)
class Report:
    """What a back-test found."""

    since: datetime
    until: datetime
    rules: Sequence[str]
    records: int = 0
    odd_s: list[int] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def fired(self) -> int:
        """How many alerts the rules would have raised."""
        return sum(one.would is not None for one in self.findings)

    @property
    def told(self) -> int:
        """How many fired live."""
        return sum(one.told is not None for one in self.findings)

    def document(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "records": self.records,
            "would_fire": self.fired,
            "fired_live": self.told,
            "alerts": [_document(one) for one in self.findings],
        }

    def lines(self) -> Iterator[str]:
        """Yield it for people."""
        yield (
            f"{_count(self.records, 'record')} of {moment(self.since)[:19]} to "
            f"{moment(self.until)[:19]} UTC concern {_count(len(self.rules), 'rule')}: "
            f"{_count(self.fired, 'alert')} would have fired, {self.told:,} did"
        )
        counts = [[name, *map(str, self._counts(name))] for name in self.rules]
        busy = [row for row in counts if row[1] != "0" or row[2] != "0"]
        if busy:
            yield ""
            yield from table(["RULE", "WOULD FIRE", "FIRED LIVE", "DIFFER"],
                             [[visible(row[0]), *row[1:]] for row in busy])  # fmt: skip
        if self.findings:
            yield ""
        for one in self.findings[:SHOWN]:
            yield from _finding_lines(one)
        if len(self.findings) > SHOWN:
            yield f"and {len(self.findings) - SHOWN:,} more: --json lists all"

    def _counts(self, name: str) -> tuple[int, int, int]:
        mine = [one for one in self.findings if one.alert.rule == name]
        return (
            sum(one.would is not None for one in mine),
            sum(one.told is not None for one in mine),
            sum(bool(one.cause) for one in mine),
        )


def options(parser: argparse.ArgumentParser) -> None:
    """Add what the act understands beside its directory."""
    parser.add_argument(
        "--since", default="7d", metavar="WHEN", help="an age (12h, 7d) or a time; default 7d"
    )
    parser.add_argument("--until", metavar="WHEN", help="an age or a time; default now")
    parser.add_argument(
        "--rule", action="append", default=[], metavar="NAME", help="only this rule; repeatable"
    )


def _chosen(rule_set: RuleSet, names: Sequence[str]) -> list[str]:
    """Return the names of the rules to report, all where none is asked for. Raises ConfigError."""
    known = [rule.name for rule in rule_set.rules]
    for name in names:
        if name not in known:
            near = suggest(name, known)
            what_to_do = f"did you mean `{near}`?" if near else f"there are {', '.join(known[:10])}"
            raise ConfigError(f"there is no rule `{name}`", "--rule", what_to_do)
    return sorted(set(names or known))


def _times(arguments: argparse.Namespace, now: datetime) -> tuple[datetime, datetime]:
    """Return the range that is asked for, in whole seconds. Raises ConfigError."""
    since = resolve(parse_time(arguments.since, "--since"), now).replace(microsecond=0)
    until = resolve(parse_time(arguments.until, "--until"), now) if arguments.until else now
    if since >= until:
        raise ConfigError("nothing lies between", "--since and --until", "let --since be earlier")
    # The second that has begun belongs to it.
    return since, until.replace(microsecond=0) + timedelta(seconds=1)


async def run(
    connection: AsyncConnection, rule_set: RuleSet, arguments: argparse.Namespace
) -> Report:
    """Play the past of the range and compare it with what was told then."""
    since, until = _times(arguments, await health.now(connection))
    names = _chosen(rule_set, arguments.rule)
    rule_set = msgspec.structs.replace(
        rule_set, rules=tuple(backtest.needed(rule_set.rules, names))
    )
    program = Program(rule_set, 1)
    reach_us = {rule.name: backtest.reach_us(program, rule) for rule in rule_set.rules}
    warmed = min(timedelta(microseconds=max(reach_us.values(), default=0)), WARMED_MOST)
    report = Report(since, until, names)
    play = await _play(connection, rule_set, since - warmed, report)
    oldest = await past.oldest(connection)
    known = backtest.Past(
        versions=await _versions(connection, rule_set, since, until),
        odd_s=sorted(report.odd_s),
        oldest_us=None if oldest is None else to_us(oldest),
        reach_us=reach_us,
        learn_us={rule.name: backtest.learn_us(rule) for rule in rule_set.rules},
    )
    told = [_told(row) for row in await past.fired(connection, since, until) if row.rule in names]
    would = [one for one in backtest.episodes(play.transitions, to_us(since)) if one.rule in names]
    report.findings = backtest.compare(would, told, known)
    return report


def show(report: Report, *, as_json: bool) -> str:
    """Return the report as text."""
    return json.dumps(report.document()) if as_json else "\n".join(report.lines())


async def _play(
    connection: AsyncConnection, rule_set: RuleSet, begin: datetime, report: Report
) -> Play:
    """Let everything happen again that concerns the rules, in the order of its time."""
    until = report.until
    play = Play(rule_set, _second(to_us(begin)))
    others = _by_second(
        await past.states(connection, begin, until), await past.losses(connection, begin, until)
    )
    seconds = sorted(others)
    at = 0
    wanted = backtest.wanted(rule_set.rules)
    if wanted is not None:
        with Progress() as progress:
            async for rows in past.records(connection, wanted, begin, until):
                report.records += sum(row.ts >= report.since for row in rows)
                report.odd_s.extend(_odd(rows))
                for second, same in itertools.groupby(rows, key=_second_of):
                    before = bisect_left(seconds, second, lo=at)
                    for other in seconds[at:before]:
                        play.happens(other, (), *others[other])
                    found = others.get(second, ((), ()))
                    at = before + (second in others)
                    play.happens(second, [_record(row) for row in same], *found)
                progress.show(f"{moment(rows[-1].ts)[:19]}  {report.records:,} records")
    for other in seconds[at:]:
        play.happens(other, (), *others[other])
    play.settle(_second(to_us(until)))
    return play


def _by_second(
    states: Sequence[past.StateThen], losses: Sequence[past.LossThen]
) -> dict[int, tuple[list[ComponentState], list[GapSeen]]]:
    found: dict[int, tuple[list[ComponentState], list[GapSeen]]] = {}
    for row in states:
        state = ComponentState(
            component_kind=row.component_kind,
            component=row.component,
            service=row.service,
            worker=row.worker,
            host=row.host,
            state=row.state,
            since_us=to_us(row.at),
            reason=row.reason,
        )
        found.setdefault(_second(state.since_us), ([], []))[0].append(state)
    for lost in losses:
        gap = GapSeen(
            service=lost.service,
            worker=lost.worker,
            host=lost.host,
            reason=lost.reason,
            records=lost.records,
            at_least=lost.at_least,
            detected_us=to_us(lost.detected_at),
        )
        found.setdefault(_second(gap.detected_us), ([], []))[1].append(gap)
    return found


async def _versions(
    connection: AsyncConnection, rule_set: RuleSet, since: datetime, until: datetime
) -> list[tuple[int, Mapping[str, Then]]]:
    """Return what each rule was, from when on."""
    found: list[tuple[int, Mapping[str, Then]]] = []
    for version, applied_at in await past.rule_sets(connection, since, until):
        changes = diff((await store_rules.load(connection, version)).rule_set, rule_set)
        added = {f"rule {rule.name}" for rule in rule_set.rules} & {*changes.added}
        changed = {*changes.changed}
        was: dict[str, Then] = {}
        for rule in rule_set.rules:
            name = f"rule {rule.name}"
            was[rule.name] = "none" if name in added else "other" if name in changed else "same"
        found.append((to_us(applied_at), was))
    return found


def _told(row: past.AlertThen) -> backtest.Told:
    return backtest.Told(
        row.id,
        row.rule,
        tuple(row.key),
        row.summary,
        to_us(row.fired_at),
        None if row.resolved_at is None else to_us(row.resolved_at),
        to_us(row.concluded_at),
        tuple(row.without),
    )


def _odd(rows: Sequence[LogRow]) -> Iterator[int]:
    """Yield the seconds of records whose own time is far from when they were read."""
    limit = timedelta(microseconds=backtest.ODD_US)
    previous = None
    for row in rows:
        if abs(row.observed_at - row.ts) > limit and (second := _second_of(row)) != previous:
            yield second
            previous = second


def _record(row: LogRow) -> Record:
    return Record(
        to_us(row.ts),
        row.severity,
        row.message or "",
        row.service,
        row.worker,
        row.host,
        row.source,
        row.logger,
        row.event,
        row.error_code,
        None if row.trace_id is None else row.trace_id.hex,
        row.correlation_id,
        row.attributes_json,
        row.stream,
        row.stream_offset,
    )


def _second(us: int) -> int:
    return us // SECOND_US


def _second_of(row: LogRow) -> int:
    return _second(to_us(row.ts))


def _count(n: int, word: str) -> str:
    return f"{n:,} {word}{'' if n == 1 else 's'}"


def _finding_lines(one: Finding) -> Iterator[str]:
    mine, theirs = one.would, one.told
    who = one.alert
    how_long = (
        f"for {durations.said((who.resolved_us - who.fired_us) / SECOND_US)}"
        if who.resolved_us is not None
        else "not over"
    )
    live = f"live A-{theirs.alert}" if theirs else "not live"
    if mine is None:
        live += ", not here"
    yield (
        f"{moment(from_us(who.fired_us))[:19]}  {visible(who.rule)}  {how_long}  [{live}]  "
        f"{visible(who.summary)[:120]}"
    )
    if one.cause:
        yield f"    differs: {visible(one.cause)}"


def _document(one: Finding) -> dict[str, Any]:
    mine, theirs = one.would, one.told
    who = one.alert
    return {
        "rule": who.rule,
        "key": list(who.key),
        "summary": who.summary,
        "fired_at": from_us(who.fired_us).isoformat(),
        "resolved_at": _iso(who.resolved_us),
        "would_fire": mine is not None,
        "reason": mine.reason if mine else None,
        "alert": theirs.alert if theirs else None,
        "fired_live_at": _iso(theirs.fired_us) if theirs else None,
        "cause": one.cause,
    }


def _iso(us: int | None) -> str | None:
    return None if us is None else from_us(us).isoformat()
