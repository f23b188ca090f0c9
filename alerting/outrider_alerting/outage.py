"""The one message that is told before it is stored: nothing can be stored.

Everything else is committed before it is announced. When the database is away or refuses commits
there is nothing to commit to, rules are not evaluated, and silence would look like health. So a
collector that has stored nothing for half a minute tells the channels of the rule set that it knew
last, naming itself, and keeps in a file what it told whom. When the database is back, the file
becomes an alert with its ledger like any other, and whoever was told is told of the end.

Pure: what such an incident is, and what is said of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from outrider_alerting import built_in
from outrider_alerting.content import Content, Fact
from outrider_alerting.durations import clock_time

if TYPE_CHECKING:
    from collections.abc import Mapping

RULE: Final = built_in.DATABASE
KIND: Final = built_in.KIND
TRIES_MOST: Final = 20
MAX_REASON: Final = 300

Fate = Literal["claimed", "sent", "retry", "failed", "unknown"]


def episode(labels: Mapping[str, str]) -> str | None:
    """Name an outage's episode for ever, the same before it is an alert; None where it is none."""
    if labels.get("rule") != RULE or "incident" not in labels:
        return None
    return f"{labels.get('collector', '')}.{labels['incident']}"


class Told(msgspec.Struct, kw_only=True):
    """What became of telling one channel."""

    fate: Fate
    """``claimed``: written down before the socket was; found so after a crash, it is unknown."""
    first_us: int
    at_us: int
    tries: int = 1
    provider_id: str = ""
    error: str = ""

    unknown: int = 0
    """Attempts before this one that may have arrived."""

    @property
    def is_open(self) -> bool:
        """Whether to try once more; what may have arrived is repeated once, and marked."""
        if self.fate == "retry":
            return self.tries < TRIES_MOST
        return self.fate in {"unknown", "claimed"} and self.unknown == 0

    @property
    def may_have_it(self) -> bool:
        """Whether somebody may have read it: then the end is told, too."""
        return self.fate in {"sent", "unknown", "claimed"} or self.unknown > 0


class Incident(msgspec.Struct, kw_only=True):
    """Nothing can be stored, since when and why, and who was told."""

    id: str
    """Names it for ever: entered into the ledger twice, it is there once."""
    collector: str
    since_us: int
    reason: str
    told_us: int | None = None
    """When somebody was first told."""
    told: dict[str, Told] = {}
    """By channel."""

    def labels(self) -> dict[str, str]:
        """Return what routes filter on."""
        return {
            "rule": RULE,
            "kind": KIND,
            "priority": "critical",
            "collector": self.collector,
            "incident": self.id,
        }

    def summary(self) -> str:
        """Say it in one line."""
        return f"{self.collector} cannot store anything: {self.reason[:MAX_REASON]}"

    def content(self, now_us: int) -> Content:
        """Say it to a channel."""
        return Content(
            alert="",
            status="firing",
            priority="critical",
            subject=f"Outrider: {self.collector} cannot store anything",
            title=self.summary(),
            sentence=(
                f"Since {clock_time(self.since_us, now_us)}. Agents keep their lines on disk; "
                "until this is over no rule is evaluated and no other alert can come."
            ),
            facts=(Fact(name="Collector", value=self.collector),),
            command="outrider doctor",
            rule=RULE,
            at_us=self.since_us,
            labels=self.labels(),
        )
