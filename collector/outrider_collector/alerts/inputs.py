"""From rows of the store to what the engine takes, and back to the rows that evidence copies."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from outrider.instants import to_us
from outrider_alerting.components import ComponentState
from outrider_alerting.gaps import GapSeen
from outrider_alerting.hits import Hit
from outrider_alerting.watermarks import Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from outrider_collector.store.evaluation import (
        ComponentRow,
        EvidenceRow,
        FeedRow,
        GapRow,
        HitRow,
    )
    from outrider_collector.store.sources import SourceRow

Name = tuple[int, int]
"""A record: (stream, offset)."""

NAMES_KEPT: Final = 100_000


def hit(row: HitRow) -> Hit:
    """Return a stored hit as the engine counts it."""
    return Hit(
        hits_key=bytes(row.hits_key),
        key=tuple(row.key),
        overflow=row.overflow,
        bucket_us=to_us(row.bucket),
        n=row.n,
        time_replaced=row.time_replaced,
        names=tuple(zip(row.streams, row.stream_offsets, strict=False)),
        numbers=_numbers(row.numbers),
    )


def _numbers(stored: list[float] | None) -> tuple[float, float, float, float] | None:
    if not stored:
        return None
    total, lowest, highest, last = stored
    return total, lowest, highest, last


def gap(row: GapRow) -> GapSeen:
    """Return a stored loss as the engine counts it."""
    return GapSeen(
        service=row.service,
        worker=row.worker,
        host=row.host,
        reason=row.reason,
        records=row.records,
        at_least=row.at_least,
        detected_us=to_us(row.detected_at),
    )


def hits_in_order(feed: Iterable[FeedRow], rows: Iterable[HitRow]) -> list[HitRow]:
    """Order hits as their commits stand in the feed."""
    by_commit: dict[int, list[HitRow]] = {}
    for row in rows:
        by_commit.setdefault(row.commit_id, []).append(row)
    return [
        row
        for item in feed
        if item.commit_id is not None
        for row in by_commit.get(item.commit_id, ())
    ]


def component(row: ComponentRow) -> ComponentState:
    """Return a component's current state."""
    return ComponentState(
        component_kind=row.component_kind,
        component=row.component,
        service=row.service or "",
        worker=row.worker or "",
        host=row.host or "",
        state=row.state,
        since_us=to_us(row.since),
        reason=row.reason,
    )


def changes(row: FeedRow) -> list[ComponentState]:
    """Return the changes of health that a feed row tells."""
    told: list[dict[str, Any]] = (row.detail or {}).get("changes", [])
    return [
        ComponentState(
            component_kind=change["kind"],
            component=change["component"],
            service=change.get("service") or "",
            worker=change.get("worker") or "",
            host=change.get("host") or "",
            state=change["to"],
            since_us=to_us(datetime.fromisoformat(change["at"])),
            reason=change.get("reason") or "",
        )
        for change in told
    ]


def sources(
    opened: Sequence[SourceRow], closed: Sequence[SourceRow], listening_since: datetime
) -> list[Source]:
    """Return all sources; one without an open stream is as complete as its agent.

    Nobody is called silent for the time in which nobody listened, before ``listening_since``.
    """
    known = {(row.agent, row.service, row.worker, row.host) for row in opened}
    agents: dict[int, datetime] = {}
    for row in opened:
        if row.complete_at is not None:
            agents[row.agent] = min(agents.get(row.agent, row.complete_at), row.complete_at)
    rest = [r for r in closed if (r.agent, r.service, r.worker, r.host) not in known]
    return [
        *(_source(row, row.complete_at, listening_since) for row in opened),
        *(_source(row, agents.get(row.agent, row.seen_at), listening_since) for row in rest),
    ]


def _source(row: SourceRow, complete_at: datetime | None, since: datetime) -> Source:
    return Source(
        agent=row.agent,
        service=row.service,
        worker=row.worker,
        host=row.host,
        complete_us=None if complete_at is None else to_us(complete_at),
        seen_us=to_us(max(row.seen_at, since)),
    )


def evidence(row: EvidenceRow) -> dict[str, Any]:
    """Return a record as the alert keeps it."""
    return {
        "ts": row.ts.isoformat(),
        "severity": row.severity,
        "service": row.service,
        "worker": row.worker,
        "message": row.message or "",
        "stream": row.stream,
        "stream_offset": row.stream_offset,
    }


class Commits:
    """Which commit brought each of the records that hits named lately."""

    def __init__(self, limit: int = NAMES_KEPT) -> None:
        self._limit = limit
        self._commits: OrderedDict[Name, int] = OrderedDict()

    def learn(self, rows: Iterable[HitRow]) -> None:
        """Remember the names of hits; the oldest are forgotten."""
        for row in rows:
            for name in zip(row.streams, row.stream_offsets, strict=False):
                self._commits[name] = row.commit_id
                self._commits.move_to_end(name)
        while len(self._commits) > self._limit:
            self._commits.popitem(last=False)

    def get(self, name: Name) -> int | None:
        """Return the commit of a record, if it is remembered."""
        return self._commits.get(name)
