"""Why somebody was told of an alert, or was not: routes, silences, and the ledger's fates. Pure.

The words for people are in :mod:`.explained_text`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from outrider.filter import FilterError, parse
from outrider_alerting import routing
from outrider_collector.terminal.documents import document

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from outrider_alerting.frozen import Frozen
    from outrider_alerting.rules import Route, RuleSet
    from outrider_collector.store.reading.types import AlertDetail, Silence

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
    reached: dict[str, str]
    """Channels that no route names for it, and how it came to them."""
    told_with: Mapping[int, Sequence[int]]
    """Notifications whose message told other alerts too, and which."""
    today: tuple[int, tuple[str, ...]] | None = None
    """The rule set in force now, where it is another, and whom it would tell of such an alert."""

    def document(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "alert": document(self.detail.alert),
            "rule_set": self.version,
            "today": None
            if self.today is None
            else dict(zip(("rule_set", "channels"), self.today, strict=True)),
            "frozen": self.frozen.why if self.frozen else None,
            "routes": [
                {"match": match, "channels": list(channels), "verdict": verdict}
                for match, channels, verdict in self.routes
            ],
            "silences": document(self.silences),
            "notifications": [
                {
                    **document(row),
                    "meaning": MEANINGS.get(row.fate, row.fate),
                    "reached": self.reached.get(row.channel),
                    "together_with": list(self.told_with.get(row.id, ())),
                }
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
    told_with: Mapping[int, Sequence[int]] | None = None,
    active: tuple[int, RuleSet] | None = None,
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
    return Explanation(
        detail,
        version,
        list(_routes(rule_set, labels)),
        held,
        frozen,
        _reached(detail, rule_set),
        told_with or {},
        None if active is None or active[0] == version else (
            active[0],
            tuple(to.channel for to in routing.destinations(active[1], labels)
                  if to != routing.CENTRE),
        ),
    )  # fmt: skip


def _reached(detail: AlertDetail, rule_set: RuleSet) -> dict[str, str]:
    """Say how the alert came to channels that no matching route names."""
    labels = detail.alert.labels
    by_route = {to.channel for to in routing.destinations(rule_set, labels)}
    stand_ins = {c.fallback: c.name for c in rule_set.channels if c.fallback is not None}
    later = {
        name: step.after.text
        for step in routing.escalations(rule_set, labels)
        for name in step.channels
    }
    found = {}
    for channel in {row.channel for row in detail.notifications} - by_route:
        if channel in later:
            found[channel] = f"told when nobody has acknowledged within {later[channel]}"
        elif channel in stand_ins:
            found[channel] = f"the fallback of {stand_ins[channel]}"
        else:
            found[channel] = "by the routes of another rule set"
    return found


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
        yield match, route.channels, f"{verdict}{_insisting(route) if takes else ''}"


def _insisting(route: Route) -> str:
    """Say what a route does while nobody acknowledges."""
    steps = [f"after {step.after.text} {', '.join(step.channels)}" for step in route.escalate]
    again = [f"again every {route.remind.text}"] if route.remind is not None else []
    if not steps and not again:
        return ""
    return f"; while nobody acknowledges: {', '.join((*steps, *again))}"
