"""Why somebody was told of an alert, or was not: routes, silences, and the ledger's fates. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from outrider.filter import FilterError, parse
from outrider.instants import from_us
from outrider.visible import visible
from outrider_alerting import freezing, routing
from outrider_alerting.rules import IN_APP
from outrider_collector.terminal.documents import document
from outrider_collector.terminal.render import (
    BOLD,
    GREEN,
    RED,
    VIOLET,
    YELLOW,
    coloured,
    moment,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from outrider_alerting.freezing import Frozen
    from outrider_alerting.rules import RuleSet
    from outrider_collector.store.reading.types import AlertDetail, Notification, Silence

MEANINGS: Final = {
    "waiting": "not told yet",
    "claimed": "being told now",
    "sent": "told",
    "suppressed": "not told",
    "superseded": "not told by itself",
    "failed": "not told, the channel refused",
    "dead": "not told, given up after a day of tries",
    "unknown": "may have been told: no answer came, not even to the one repeat",
}
"""What each fate of the ledger means for the reader."""

_COLOURS: Final = {"waiting": YELLOW, "sent": GREEN, "failed": RED, "dead": RED, "unknown": VIOLET}


@dataclass(frozen=True, slots=True)
class Explanation:
    """An alert with what decided about its messages."""

    detail: AlertDetail
    version: int
    """Of the rule set whose routes are shown: the one under which the alert changed last."""
    routes: list[tuple[str, tuple[str, ...], str]]
    """Match, channels, and what the route did with this alert."""
    silences: list[Silence]
    """Those that match its labels and held at some time of its life."""
    frozen: Frozen | None
    """Why its rule is frozen now: nothing moves the alert until rules are applied."""

    def document(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "alert": document(self.detail.alert),
            "rule_set": self.version,
            "frozen": self.frozen.why if self.frozen else None,
            "routes": [
                {"match": match, "channels": list(channels), "verdict": verdict}
                for match, channels, verdict in self.routes
            ],
            "silences": document(self.silences),
            "notifications": [
                {**document(row), "meaning": MEANINGS.get(row.fate, row.fate)}
                for row in self.detail.notifications
            ],
        }


def explanation(
    detail: AlertDetail,
    silences: Sequence[Silence],
    rule_set: RuleSet,
    version: int,
    now: datetime,
    frozen: Frozen | None = None,
) -> Explanation:
    """Put together what decided about the messages of an alert."""
    labels = detail.alert.labels
    begin, end = detail.alert.started_at, detail.alert.resolved_at or now
    held = [
        silence
        for silence in silences
        if silence.starts_at <= end
        and (silence.ended_at or silence.ends_at) >= begin
        and _matches(silence.filter, labels)
    ]
    return Explanation(detail, version, list(_routes(rule_set, labels)), held, frozen)


def _matches(text: str, labels: Mapping[str, str]) -> bool:
    try:
        return parse(text, labels=True).match_labels(labels)
    except FilterError:
        return False


def _routes(
    rule_set: RuleSet, labels: Mapping[str, str]
) -> Iterator[tuple[str, tuple[str, ...], str]]:
    for route, takes, after in routing.asked(rule_set, labels):
        match = route.match.text if route.match else ""
        if after:
            verdict = f"not asked: route {after} had taken it"
        elif not takes:
            verdict = "does not match"
        elif route.continue_:
            verdict = "matches, and the next routes are asked too"
        else:
            verdict = "matches"
        yield match, route.channels, verdict


def lines(told: Explanation, *, colours: bool) -> Iterator[str]:
    """Yield the explanation for people."""
    alert = told.detail.alert
    title = coloured(visible(alert.summary), BOLD, colours=colours)
    yield f"A-{alert.id}  {alert.state}  {alert.priority}  {title}"
    labels = ", ".join(f"{name}={value}" for name, value in sorted(alert.labels.items()))
    yield f"labels    {visible(labels)}"
    if alert.acknowledged_by and alert.acknowledged_at:
        at = moment(alert.acknowledged_at)
        yield f"acked     {at} UTC by {visible(alert.acknowledged_by)}"
    if told.frozen is not None and alert.state != "resolved":
        since = moment(from_us(told.frozen.since_us))
        yield f"frozen    since {since} UTC, its rule moves nothing: {visible(told.frozen.why)}"
        yield f"          {freezing.ADVICE}"
    yield ""
    yield f"routes (of rule set {told.version}; `{IN_APP}` has every alert, without a route):"
    for number, (match, channels, verdict) in enumerate(told.routes, 1):
        what = visible(match) or "every alert"
        yield f"  {number}  {what} -> {visible(', '.join(channels))}: {verdict}"
    if not told.routes:
        yield "  none: add a [[channel]] and a [[route]] to the rules, then 'outrider rules apply'"
    yield ""
    yield "silences that match it:"
    yield from (f"  {_silence(silence)}" for silence in told.silences)
    if not told.silences:
        yield "  none"
    yield from _destinations(told.detail, colours=colours)


def _silence(silence: Silence) -> str:
    span = f"{moment(silence.starts_at)} to {moment(silence.ended_at or silence.ends_at)} UTC"
    ended = f", ended by {visible(silence.ended_by or 'somebody')}" if silence.ended_at else ""
    comment = f": {visible(silence.comment)}" if silence.comment else ""
    by = visible(silence.created_by)
    return f"silence {silence.id}  {visible(silence.filter)}  {span}{ended}, made by {by}{comment}"


def _destinations(detail: AlertDetail, *, colours: bool) -> Iterator[str]:
    rows: dict[tuple[str, str], list[Notification]] = {}
    for row in detail.notifications:
        rows.setdefault((row.channel, row.channel_type), []).append(row)
    for (channel, kind), of_channel in rows.items():
        yield ""
        name = visible(channel) if kind == channel else f"{visible(channel)} ({visible(kind)})"
        yield f"{name}:"
        for row in of_channel:
            yield from _fate(row, colours=colours)
    if not rows:
        yield ""
        pending = (
            "it has not fired yet" if detail.alert.fired_at is None else "the next second will"
        )
        yield f"nothing is decided about messages: {pending}"


def _fate(row: Notification, *, colours: bool) -> Iterator[str]:
    at = moment(row.finished_at or row.created_at)
    meaning = MEANINGS.get(row.fate, row.fate)
    fate = coloured(row.fate, _COLOURS.get(row.fate, ""), colours=colours)
    why = f": {visible(row.why)}" if row.why else ""
    if row.fate == "waiting":
        why += f"; next try not before {moment(row.not_before)} UTC"
    yield f"  {row.notice:<9} {at}  {fate} ({meaning}){why}"
    if len(row.tries) == 1 and row.tries[0].outcome == row.fate:
        return  # its fate says it all
    for number, attempt in enumerate(row.tries, 1):
        said = f": {visible(attempt.error)}" if attempt.error else ""
        outcome = attempt.outcome or "no outcome yet"
        yield f"      try {number}  {moment(attempt.started_at)}  {outcome}{said}"
