"""Alerts, silences and channels as lines for a terminal. What came from logs is made visible."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from outrider import durations, severity
from outrider.visible import visible
from outrider_collector.terminal import tries
from outrider_collector.terminal.render import (
    BOLD,
    DIM,
    GREEN,
    RED,
    YELLOW,
    coloured,
    moment,
    table,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from outrider_collector.store.reading.types import (
        Alert,
        AlertDetail,
        Notification,
        Silence,
    )

_EVIDENCE: Final = {"liveness": "what it wrote last"}
_STATE_COLOURS: Final = {"firing": RED, "recovering": YELLOW, "pending": YELLOW, "resolved": GREEN}


def alert_lines(alerts: Sequence[Alert], now: datetime) -> list[str]:
    """Return a table of alerts."""
    if not alerts:
        return ["no open alerts"]
    rows = [
        [
            f"A-{alert.id}",
            alert.state,
            alert.priority,
            durations.said((now - (alert.fired_at or alert.started_at)).total_seconds()),
            visible(alert.rule),
            visible(alert.summary)[:100],
            visible(_flags(alert)),
        ]
        for alert in alerts
    ]
    return table(["alert", "state", "priority", "since", "rule", "summary", ""], rows)


def _flags(alert: Alert) -> str:
    flags = []
    if alert.acknowledged_by:
        flags.append(f"acknowledged by {alert.acknowledged_by}")
    flags += alert.suppressed_by
    if alert.stale:
        flags.append("cannot tell whether it is over")
    return ", ".join(flags)


def detail_lines(detail: AlertDetail, now: datetime, *, colours: bool) -> Iterator[str]:
    """Yield everything about one alert."""
    alert = detail.alert
    state = coloured(alert.state, _STATE_COLOURS[alert.state], colours=colours)
    title = coloured(visible(alert.summary), BOLD, colours=colours)
    yield f"A-{alert.id}  {state}  {alert.priority}  {title}"
    yield f"rule      {visible(alert.rule)} ({alert.kind}, rule set {alert.rule_set})"
    labels = ", ".join(f"{name}={value}" for name, value in sorted(alert.labels.items()))
    yield f"labels    {visible(labels)}"
    since = durations.said((now - alert.started_at).total_seconds())
    yield f"began     {moment(alert.started_at)} UTC, {since} ago"
    if alert.resolved_at:
        yield f"resolved  {moment(alert.resolved_at)} UTC: {visible(alert.resolve_reason or '')}"
    if alert.acknowledged_by:
        comment = f": {alert.acknowledge_comment}" if alert.acknowledge_comment else ""
        yield f"acked     by {visible(alert.acknowledged_by + comment)}"
    if alert.suppressed_by:
        yield f"held by   {visible(', '.join(alert.suppressed_by))}"
    if alert.runbook:
        yield f"runbook   {visible(alert.runbook)}"
    yield from _section("what happened", _transition_lines(detail))
    yield from _section(
        _EVIDENCE.get(alert.kind, "lines that raised it"), _evidence_lines(alert, colours=colours)
    )
    rows = detail.notifications
    told = [line for row in rows for line in _notification_lines(row, rows)]
    yield from _section("who was told", told)


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    found = list(lines)
    if found:
        yield ""
        yield f"{title}:"
        yield from (f"  {line}" for line in found)


def _transition_lines(detail: AlertDetail) -> Iterator[str]:
    for change in detail.transitions:
        without = f" (concluded without {', '.join(change.without)})" if change.without else ""
        yield visible(f"{moment(change.at)}  {change.to_state:<10}  {change.reason}{without}")


def _evidence_lines(alert: Alert, *, colours: bool) -> Iterator[str]:
    for line in alert.evidence:
        at = coloured(moment(line.ts), DIM, colours=colours)
        where = visible(f"{line.service}/{line.worker}")
        yield f"{at} {severity.name(line.severity):<5} {where} {visible(line.message)}"


def _notification_lines(row: Notification, rows: Sequence[Notification]) -> Iterator[str]:
    at = moment(row.finished_at or row.created_at)
    yield f"{at}  {row.notice:<9}  {visible(row.channel)}  {row.fate}{tries.why(row, rows)}"
    if len(row.tries) > 1:
        yield from (f"    {line}" for line in tries.try_lines(row.tries))


def silence_lines(silences: Sequence[Silence], now: datetime) -> list[str]:
    """Return a table of silences."""
    if not silences:
        return ["no silences"]
    rows = [
        [
            str(silence.id),
            _until(silence, now),
            visible(_windows(silence)),
            visible(silence.filter),
            visible(silence.created_by),
            visible(silence.comment),
        ]
        for silence in silences
    ]
    return table(["silence", "state", "when", "filter", "by", "comment"], rows)


def _until(silence: Silence, now: datetime) -> str:
    if silence.ended_at is not None:
        return f"ended by {visible(silence.ended_by or 'somebody')}"
    if silence.ends_at <= now:
        return "over"
    if silence.starts_at > now:
        return f"begins in {durations.said((silence.starts_at - now).total_seconds())}"
    return f"{durations.said((silence.ends_at - now).total_seconds())} left"


def _windows(silence: Silence) -> str:
    if silence.schedule is None:
        return "always"
    passes = ", critical passes" if silence.quiet_hours else ""
    return f"{silence.schedule} {silence.timezone}{passes}"
