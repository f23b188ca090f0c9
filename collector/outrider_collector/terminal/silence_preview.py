"""What a silence would hold back now, and would have held back of what fired lately. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from outrider.instants import to_us
from outrider.visible import visible
from outrider_alerting.routing import silencing
from outrider_collector.terminal.render import moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime, timedelta

    from outrider_alerting.ledger import Silence
    from outrider_collector.store.reading.types import Alert

SHOWN_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class Preview:
    """What a silence hits."""

    silence: Silence
    # Open alerts that it holds back now.
    now: list[Alert]
    # Alerts that it would have held back when they fired, newest first.
    past: list[Alert]
    # How many fired in that time.
    fired: int
    days: int

    def document(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "now": [alert.id for alert in self.now],
            "past": [alert.id for alert in self.past],
            "fired": self.fired,
            "days": self.days,
        }

    def lines(self) -> Iterator[str]:
        """Yield it for people."""
        yield "nothing is added: this is what it would do"
        yield f"now it would hold {_count(len(self.now))} back"
        yield from _listed(self.now)
        yield (
            f"in the last {self.days} days it would have held {len(self.past):,} of the "
            f"{self.fired:,} back that fired"
        )
        yield from _listed(self.past)


def preview(
    silence: Silence, opened: Iterable[Alert], past: Iterable[Alert], now: datetime,
    span: timedelta,
) -> Preview:  # fmt: skip
    """Ask of each alert whether the silence holds it: open ones now, others when they fired."""
    since = now - span
    before = replace(silence, starts_us=to_us(since))
    fired = [(alert, alert.fired_at) for alert in past if alert.fired_at]
    lately = [(alert, at) for alert, at in fired if at >= since]
    return Preview(
        silence,
        [alert for alert in opened if silencing([silence], alert.labels, to_us(now))],
        [alert for alert, at in lately if silencing([before], alert.labels, to_us(at))],
        len(lately),
        span.days,
    )


def _count(n: int) -> str:
    return "1 alert" if n == 1 else f"{n:,} alerts" if n else "no alert"


def _listed(alerts: list[Alert]) -> Iterator[str]:
    for alert in alerts[:SHOWN_MAX]:
        at = moment(alert.fired_at or alert.started_at)
        yield f"  A-{alert.id}  {at}  {alert.priority:<8}  {visible(alert.summary)[:100]}"
    if len(alerts) > SHOWN_MAX:
        yield f"  and {len(alerts) - SHOWN_MAX:,} more"
