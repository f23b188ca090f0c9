"""Why somebody was told of an alert, or was not, in the words of a terminal. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from outrider.instants import from_us
from outrider.visible import visible
from outrider_alerting import freezing
from outrider_alerting.rules import IN_APP
from outrider_collector.terminal import tries
from outrider_collector.terminal.alert_explained import MEANINGS
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
    from collections.abc import Iterator, Sequence

    from outrider_collector.store.reading.types import AlertDetail, Notification, Silence
    from outrider_collector.terminal.alert_explained import Explanation

NAMED_MAX: Final = 5
"""Other alerts of a message that are named; the rest is counted."""

_COLOURS: Final = {"waiting": YELLOW, "sent": GREEN, "failed": RED, "dead": RED, "unknown": VIOLET}
_NOTICES: Final = {
    "unsuppressed": "told later",
    "raised": "raised",
    "escalation": "escalated",
    "reminder": "reminder",
}
_REACHED: Final = frozenset(("sent", "unknown", "claimed"))


def lines(told: Explanation, *, colours: bool) -> Iterator[str]:
    """Yield the explanation for people: in short first, then what decided it."""
    alert = told.detail.alert
    title = coloured(visible(alert.summary), BOLD, colours=colours)
    yield f"A-{alert.id}  {alert.state}  {alert.priority}  {title}"
    labels = ", ".join(f"{name}={value}" for name, value in sorted(alert.labels.items()))
    yield f"labels    {visible(labels)}"
    if alert.acknowledged_by and alert.acknowledged_at:
        at = moment(alert.acknowledged_at)
        by = visible(alert.acknowledged_by)
        yield f"acked     {at} UTC by {by}: no escalation and no reminder after that"
    if told.frozen is not None and alert.state != "resolved":
        since = moment(from_us(told.frozen.since_us))
        yield f"frozen    since {since} UTC, its rule moves nothing: {visible(told.frozen.why)}"
        yield f"          {freezing.ADVICE}"
    for place, sentence in enumerate(_in_short(told)):
        yield f"{'' if place else 'in short':<9} {sentence}"
    yield ""
    yield f"routes (of rule set {told.version}; `{IN_APP}` has every alert, without a route):"
    for number, (match, channels, verdict) in enumerate(told.routes, 1):
        what = visible(match) or "every alert"
        yield f"  {number}  {what} -> {visible(', '.join(channels))}: {verdict}"
    if not told.routes:
        advice = "add a [[channel]] and a [[route]] to the rules, then 'outrider rules apply'"
        yield "  none" if told.today else f"  none: {advice}"
    if told.today is not None:
        version, channels = told.today
        whom = visible(", ".join(channels)) or "nobody"
        yield f"  rule set {version} is in force now: it would tell {whom} of such an alert"
        if alert.state != "resolved" and channels:
            yield "  new routes do not tell of what was open before, unless its priority rises"
    yield ""
    yield "silences that match it:"
    yield from (f"  {_silence(silence)}" for silence in told.silences)
    if not told.silences:
        yield "  none"
    yield from _destinations(told, colours=colours)


def _in_short(told: Explanation) -> Iterator[str]:
    """Say of each channel whether it knows."""
    channels = _by_channel(told.detail)
    for (channel, kind), rows in channels.items():
        if kind != IN_APP:
            yield f"{visible(channel)} {_knows(rows)}"
    if not any(kind != IN_APP for _, kind in channels) and channels:
        yield "only the notification centre was told: no route leads it anywhere else"


def _knows(rows: Sequence[Notification]) -> str:
    begins = [row for row in rows if row.notice != "resolved"]
    ends = [row for row in rows if row.notice == "resolved"]
    last = (begins or ends)[-1]
    reached = [row for row in begins if row.fate in _REACHED]
    if reached:
        first = reached[0]
        sure = {"unknown": "may have been told", "claimed": "is being told"}
        said = sure.get(first.fate, "was told")
        over = ", and that it is over" if any(row.fate == "sent" for row in ends) else ""
        return f"{said} at {moment(first.finished_at or first.created_at)} UTC{over}"
    both = [row for row in ends if row.fate in _REACHED]
    if both:
        at = moment(both[-1].finished_at or both[-1].created_at)
        return f"was told at {at} UTC that it came and went, in one message"
    why = f": {visible(last.why)}" if last.why and len(last.tries) < 2 else ""
    return f"{'is' if last.fate == 'waiting' else 'was'} {MEANINGS.get(last.fate, last.fate)}{why}"


def _silence(silence: Silence) -> str:
    span = f"{moment(silence.starts_at)} to {moment(silence.ended_at or silence.ends_at)} UTC"
    ended = f", ended by {visible(silence.ended_by or 'somebody')}" if silence.ended_at else ""
    weekly = ""
    if silence.schedule is not None:
        weekly = f", only {visible(silence.schedule)} {visible(silence.timezone or 'UTC')}"
    if silence.quiet_hours:
        weekly += ", critical alerts pass"
    comment = f": {visible(silence.comment)}" if silence.comment else ""
    by = visible(silence.created_by)
    name = f"silence {silence.id}  {visible(silence.filter)}  {span}"
    return f"{name}{weekly}{ended}, made by {by}{comment}"


def _by_channel(detail: AlertDetail) -> dict[tuple[str, str], list[Notification]]:
    rows: dict[tuple[str, str], list[Notification]] = {}
    for row in detail.notifications:
        rows.setdefault((row.channel, row.channel_type), []).append(row)
    return rows


def _destinations(told: Explanation, *, colours: bool) -> Iterator[str]:
    channels = _by_channel(told.detail)
    for (channel, kind), of_channel in channels.items():
        yield ""
        name = visible(channel) if kind == channel else f"{visible(channel)} ({visible(kind)})"
        how = f", {visible(told.reached[channel])}" if channel in told.reached else ""
        yield f"{name}{how}:"
        for row in of_channel:
            rows = told.detail.notifications
            yield from _fate(row, rows, told.told_with.get(row.id, ()), colours=colours)
    if not channels:
        yield ""
        fired = told.detail.alert.fired_at is not None
        pending = "the next second will" if fired else "it has not fired yet"
        yield f"nothing is decided about messages: {pending}"


def _fate(
    row: Notification, rows: Sequence[Notification], told_with: Sequence[int], *, colours: bool
) -> Iterator[str]:
    at = moment(row.finished_at or row.created_at)
    meaning = MEANINGS.get(row.fate, row.fate)
    if told_with and row.fate == "sent":
        more = f" and {len(told_with) - NAMED_MAX} more" if len(told_with) > NAMED_MAX else ""
        names = ", ".join(f"A-{number}" for number in told_with[:NAMED_MAX])
        meaning = f"{meaning}, in one message with {names}{more}"
    fate = coloured(row.fate, _COLOURS.get(row.fate, ""), colours=colours)
    why = tries.why(row, rows)
    if row.fate == "waiting":
        why += f"; next try not before {moment(row.not_before)} UTC"
    yield f"  {_notice(row.notice):<12} {at}  {fate} ({meaning}){why}"
    if len(row.tries) == 1 and row.tries[0].outcome == row.fate:
        return  # its fate says it all
    yield from (f"      {line}" for line in tries.try_lines(row.tries))


def _notice(notice: str) -> str:
    """Return a notice in words: ``told later``, ``reminder 3``."""
    what, _, number = notice.partition(":")
    word = visible(_NOTICES.get(what, what))
    return f"{word} {visible(number)}" if number not in {"", "1"} else word
