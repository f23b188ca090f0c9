"""A plan as it grows: rows and changes of the ledger, alert by alert."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from outrider_alerting.durations import HOUR_US, MINUTE_US
from outrider_alerting.ledger import LedgerChange, NotificationPlan, Plan
from outrider_alerting.routing import Destination

if TYPE_CHECKING:
    from outrider_alerting.content import Content
    from outrider_alerting.ledger import Alert, LedgerRow
    from outrider_alerting.rules import RuleSet

LATE_US: Final = MINUTE_US
"""A firing older than this came late."""

HISTORY_US: Final = HOUR_US
"""Likewise a critical one: what is older is found in old files, not held up on its way."""

DIGEST_US: Final = 5 * MINUTE_US
"""Messages about the past leave at the full five minutes, together: an agent that finds a week of
old files brings it up for minutes or hours."""

EXPLAINED: Final = "explained by "
"""How the reason begins why an alert that another one explains is not told."""

FLAPPING: Final = "flapping"
"""Likewise, why an alert that comes and goes is not told each time."""

ACKNOWLEDGED: Final = "acknowledged by "
"""Likewise, why a fallback is not told: somebody knows already."""

UNTOLD_FOR_GOOD: Final = (EXPLAINED, FLAPPING, ACKNOWLEDGED)
"""What is held back for these and is over is told to nobody, by no end of a silence either."""

TOGETHER: Final = "told together with its resolve"


class Draft:
    """What was decided so far, under a rule set and at a time."""

    def __init__(self, rule_set: RuleSet, now_us: int) -> None:
        self.rule_set = rule_set
        self.now_us = now_us
        self.suppressed_by: dict[int, tuple[str, ...]] = {}
        self.next_us: dict[int, int] = {}
        self.late: dict[Destination, list[Alert]] = {}
        """Alerts that came late and are over: one message tells a destination of all of them."""
        self.held: dict[Destination, list[tuple[Alert, str]]] = {}
        """Alerts that came and went while something held them back, and what; told likewise."""
        self.owed: dict[int, bool] = {}
        self._rows: list[NotificationPlan] = []
        self._changes: list[LedgerChange] = []

    def finished(self) -> Plan:
        """Return the plan."""
        return Plan(
            rows=tuple(self._rows),
            changes=tuple(self._changes),
            suppressed_by=self.suppressed_by,
            next_us=self.next_us,
            owed=self.owed,
        )

    def planned(self, alert: Alert, channel: str) -> set[str]:
        """Return the notices of an alert that a channel is to get."""
        return {
            row.notice for row in self._rows if row.alert == alert.id and row.channel == channel
        }

    def planned_at_once(self, alert: Alert) -> list[tuple[str, int]]:
        """Return the channels that are to be told of an alert, and since when, microseconds."""
        return [
            (row.channel, self.now_us) for row in self._rows
            if row.alert == alert.id and row.fate == "waiting"
        ]  # fmt: skip

    def look(self, alert: Alert, at_us: int) -> None:
        """Have an alert looked at again no later than this."""
        self.next_us[alert.id] = min(self.next_us.get(alert.id, at_us), at_us)

    def is_late(self, alert: Alert, at_us: int | None) -> bool:
        """Whether an alert's records came long after they were written."""
        if at_us is None or alert.kind not in {"match", "count"}:
            return False
        allowed_us = HISTORY_US if alert.priority == "critical" else LATE_US
        return self.now_us - at_us > allowed_us

    def digest_wait_us(self) -> int:
        """Return how long a message about the past waits for others of its kind."""
        return DIGEST_US - self.now_us % DIGEST_US

    def overtake(self, row: LedgerRow, why: str) -> None:
        """Have a row that waits be told otherwise, or not at all."""
        self._changes.append(
            LedgerChange(alert=row.alert, notice=row.notice, channel=row.channel, why=why)
        )

    def add(
        self,
        alert: Alert,
        notice: str,
        to: Destination,
        fate: Literal["waiting", "sent", "suppressed", "superseded"],
        content: Content,
        *,
        why: str | None = None,
        wait_us: int = 0,
        bundle: str | None = None,
        joins: tuple[int, str] | None = None,
    ) -> None:
        """Tell a destination of an alert, now or after ``wait_us``; or note why not."""
        self._rows.append(
            NotificationPlan(
                alert=alert.id,
                notice=notice,
                channel=to.channel,
                channel_type=to.channel_type,
                conversation=to.conversation,
                priority=alert.priority,
                fate=fate,
                why=why,
                content=content,
                not_before_us=self.now_us + wait_us,
                bundle=bundle,
                joins=joins,
            )
        )


def destination_of(row: LedgerRow) -> Destination:
    """Return where a row of the ledger goes."""
    return Destination(row.channel, row.channel_type, row.conversation)
