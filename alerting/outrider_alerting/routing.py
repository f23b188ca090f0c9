"""Where an alert goes: the routes' channels, and who or what holds it back."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from outrider.filter import Filter, FilterError, parse
from outrider_alerting import schedules
from outrider_alerting.kinds import EXCHANGE
from outrider_alerting.rules import IN_APP, TelegramChannel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from outrider_alerting.ledger import Alert, Silence
    from outrider_alerting.rules import Channel, Escalation, Route, RuleSet

EDITABLE: Final = frozenset(("telegram",))
"""Types of channels that can make a message tell more than it did."""

_BLIND: Final = frozenset(("silent", "dead"))
_CLOSED: Final = frozenset(("down", "dead", "maintenance"))
_EXPLAINED_BY_AGENT: Final = frozenset(("liveness", "absence", "schedule", "gauge"))
_EXPLAINED_BY_WORKER: Final = frozenset(("absence", "schedule", "gauge"))


class Destination(NamedTuple):
    """A channel as the ledger names it."""

    channel: str
    channel_type: str
    conversation: str
    """Messages of one conversation stay in order, across alerts and channels."""


CENTRE = Destination(IN_APP, IN_APP, IN_APP)
"""The notification centre: it has every alert, and at once."""


def destination(channel: Channel) -> Destination:
    """Return a channel's destination."""
    if isinstance(channel, TelegramChannel):
        return Destination(channel.name, channel.type, f"telegram:{channel.chat_id}")
    return Destination(channel.name, channel.type, f"{channel.type}:{channel.name}")


class Asked(NamedTuple):
    """What a route says to an alert."""

    route: Route
    takes: bool
    after: int
    """The number, from 1, of the route that had taken the alert and kept it; 0: none had."""


def asked(rule_set: RuleSet, labels: Mapping[str, str]) -> Iterator[Asked]:
    """Yield every route, in order, with what it says to an alert with these labels."""
    after = 0
    for number, route in enumerate(rule_set.routes, 1):
        takes = not after and (route.match is None or route.match.match_labels(labels))
        yield Asked(route, takes, after)
        if takes and not route.continue_:
            after = number


def matching(rule_set: RuleSet, labels: Mapping[str, str]) -> Iterator[Route]:
    """Yield the routes that an alert with these labels takes."""
    return (route for route, takes, _ in asked(rule_set, labels) if takes)


def named(rule_set: RuleSet, names: Iterable[str]) -> list[Destination]:
    """Return the destinations of channels by name, each once; what is not there is left out."""
    channels = (rule_set.channel(name) for name in dict.fromkeys(names))
    return [destination(channel) for channel in channels if channel is not None]


def destinations(rule_set: RuleSet, labels: Mapping[str, str]) -> list[Destination]:
    """Return where an alert with these labels goes, the notification centre first."""
    routes = matching(rule_set, labels)
    return [CENTRE, *named(rule_set, (name for route in routes for name in route.channels))]


def escalations(rule_set: RuleSet, labels: Mapping[str, str]) -> list[Escalation]:
    """Return who else is told while nobody acknowledges, soonest first."""
    steps = [step for route in matching(rule_set, labels) for step in route.escalate]
    return sorted(steps, key=lambda step: step.after.us)


def remind_us(rule_set: RuleSet, labels: Mapping[str, str]) -> int | None:
    """Return how often an alert with these labels is told again; None: it is told once."""
    often = (route.remind for route in matching(rule_set, labels))
    return next((remind.us for remind in often if remind is not None), None)


def silencing(silences: Iterable[Silence], labels: Mapping[str, str], now_us: int) -> list[Silence]:
    """Return the silences that hold an alert with these labels back now, oldest first."""
    found = [
        silence
        for silence in silences
        if in_force(silence, now_us)
        and not (silence.quiet_hours and labels.get("priority") == "critical")
        and _matches(silence.filter, labels)
    ]
    return sorted(found, key=lambda silence: silence.id)


def in_force(silence: Silence, now_us: int) -> bool:
    """Whether a silence holds anything back at that time."""
    if not silence.starts_us <= now_us < silence.ends_us:
        return False
    if silence.ended_us is not None and now_us >= silence.ended_us:
        return False
    if silence.schedule is None:
        return True
    try:
        return schedules.parse(silence.schedule, silence.timezone or "UTC").holds(now_us)
    except schedules.ScheduleError:
        # Checked when the silence was made; a zone that is gone since holds nothing back.
        return False


def causes_of(alert: Alert, open_alerts: Iterable[Alert]) -> list[Alert]:
    """Return the open alerts that explain this one, oldest first.

    An agent that is silent explains that nothing is known of what runs on its host, or is looked at
    from there; a worker that is gone, that its work does not come; an exchange that is down or in
    maintenance, what its users suffer.
    """
    found = [
        cause
        for cause in open_alerts
        if cause.id != alert.id
        and cause.state in {"firing", "recovering"}
        and _explains(cause, alert)
    ]
    return sorted(found, key=lambda cause: cause.id)


def _explains(cause: Alert, alert: Alert) -> bool:
    of, on = cause.labels, alert.labels
    if cause.kind == "health":
        is_closed = EXCHANGE in of and of.get("state") in _CLOSED
        return is_closed and alert.kind != "health" and of[EXCHANGE] == on.get(EXCHANGE)
    if cause.kind != "liveness" or of.get("state") not in _BLIND:
        return False
    if "agent" in of:
        same_host = bool(of.get("host")) and of.get("host") == on.get("host")
        unseen = alert.kind == "health" and on.get("state") == "expired"
        return (unseen or alert.kind in _EXPLAINED_BY_AGENT) and same_host and "agent" not in on
    return (
        alert.kind in _EXPLAINED_BY_WORKER
        and bool(of.get("worker"))
        and of.get("worker") == on.get("worker")
        and all(on.get(name, of.get(name)) == of.get(name) for name in ("service", "host"))
    )


def _matches(text: str, labels: Mapping[str, str]) -> bool:
    parsed = _parsed(text)
    return parsed is not None and parsed.match_labels(labels)


@lru_cache(maxsize=1_024)
def _parsed(text: str) -> Filter | None:
    try:
        return parse(text, labels=True)
    except FilterError:
        # Checked when the silence was made; if it cannot be read any more, nothing is held back.
        return None
