"""One message, independent of the channel: blocks that each channel renders its own way.

Text is plain, and some of it came from log lines: markup and escaping are the channel's affair.
What is said of an alert is in :mod:`.telling`.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from outrider_alerting.rules import Priority  # noqa: TC001  msgspec reads the annotations

Status = Literal["firing", "resolved", "fired and resolved", "still firing", "test"]

OPEN: Final = frozenset(("firing", "still firing"))
"""What is told with these still holds."""


class EvidenceLine(msgspec.Struct, frozen=True, kw_only=True):
    """A copy of one record, at most 300 characters of message."""

    at_us: int
    severity: str
    service: str = ""
    worker: str = ""
    message: str
    stream: int | None = None
    stream_offset: int | None = None


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """A name and a value: ``Service``, ``payments``."""

    name: str
    value: str


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """One message, as blocks. Text is plain: markup is the channel's affair."""

    alert: str
    """``A-12``."""
    status: Status
    priority: Priority
    subject: str
    """The same for all notices of an alert: threads hang on it."""
    title: str
    """What is so now: ``worker-7 is dead: killed by SIGKILL``."""
    sentence: str
    """Counts and since when."""
    facts: tuple[Fact, ...] = ()
    evidence: tuple[EvidenceLine, ...] = ()
    evidence_omitted: int = 0
    """Lines that matched and are not shown."""
    runbook: str | None = None
    command: str | None = None
    """What to type next: ``outrider alerts ack A-12``."""
    rule: str = ""
    at_us: int = 0
    """When it became true, event time."""
    ended_us: int | None = None
    """When it ceased to be true, where it did."""
    labels: dict[str, str] = {}
    """The alert's, for programs."""
    acknowledged: str = ""
    """Who looks after it."""


def page(content: Content, dashboard_url: str | None) -> str | None:
    """Return the address of the alert's page; None where there is no alert or no dashboard."""
    number = content.alert.removeprefix("A-")
    if not dashboard_url or not number:
        return None
    return f"{dashboard_url.rstrip('/')}/alerts/{number}"


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What one message tells of one alert, and what became of that alert since."""

    content: Content
    over: bool = False
    acknowledged: str = ""
