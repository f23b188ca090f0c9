"""Components that are looked at: how they are now, and how their last hour was."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from psycopg import sql

from outrider.filter import parse
from outrider_collector.store.health import PROBED_KINDS
from outrider_collector.store.reading import logs
from outrider_collector.store.reading.session import snapshot
from outrider_collector.store.reading.types import Component, Sample

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from psycopg import AsyncConnection

    from outrider_collector.store.reading.session import Snapshot
    from outrider_collector.store.reading.types import LogRow

MOST_COMPONENTS: Final = 20_000
MOST_SAMPLES: Final = 5_000
"""Of an hour: eighty components, looked at from one host each."""

KINDS: Final = (*PROBED_KINDS, "agent")
"""What probes report, and the hosts they run on."""

_OF_THE_LOOK: Final = frozenset({"took_ms", "checked_at"})

_COMPONENTS: Final = sql.SQL("""
    select h.component_kind, h.component,
           case when h.component_kind = 'agent' then coalesce(h.host, h.component)
                else regexp_replace(h.component, '@[^@]*$', '') end,
           coalesce(h.host, ''), h.state, h.since, h.reason, b.seen_at, coalesce(b.gauges, '{{}}')
    from system_health h
    left join heartbeats b using (component_kind, component)
    where h.component_kind = any(%(kinds)s) and h.state <> 'retired'
    order by 1, 3, 4
    limit {most}
    """).format(most=sql.Literal(MOST_COMPONENTS))


async def components(conn: AsyncConnection[Any]) -> list[Component]:
    """Return every component that is looked at, by kind, name and host; workers are no such."""
    async with snapshot(conn) as open_snapshot:
        return await select(open_snapshot, KINDS)


async def select(open_snapshot: Snapshot, kinds: Sequence[str]) -> list[Component]:
    """Do what ``components`` does, inside a snapshot and for some kinds."""
    rows = await open_snapshot.rows(_COMPONENTS, {"kinds": list(kinds)})
    return [_component(row) for row in rows]


def _component(row: tuple[Any, ...]) -> Component:
    kind, component, name, host, state, since, reason, seen_at, gauges = row
    took_ms = gauges.get("took_ms")
    facts = {name: value for name, value in gauges.items() if name not in _OF_THE_LOOK}
    took = float(took_ms) if is_number(took_ms) else None
    return Component(kind, component, name, host, state, since, reason, seen_at, took, facts)


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value from outside is a number that can be drawn or compared."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


async def samples(
    conn: AsyncConnection[Any], kind: str, since: datetime, until: datetime
) -> list[Sample]:
    """Return what was sampled of the components of a kind, newest first, at most 5,000."""
    asked = parse(f"event:health.sampled attributes.component_kind:{kind}")
    page = await logs.search(conn, asked, since, until, limit=MOST_SAMPLES)
    return [sample for row in page.rows if (sample := _sample(row)) is not None]


def _sample(row: LogRow) -> Sample | None:
    """Read a sample from its record; None where it is none of ours."""
    said = row.attributes
    component = said.get("component")
    if not isinstance(component, str):
        return None
    # The record's host is that of the agent that read the log, by the name it goes by.
    name, at_sign, host = component.rpartition("@")
    if not at_sign:
        return None
    return Sample(
        at=row.ts,
        kind=str(said.get("component_kind")),
        name=name,
        host=host,
        n=_count(said, "n"),
        failed=_count(said, "failed"),
        p95_ms=float(said["p95_ms"]) if is_number(said.get("p95_ms")) else None,
    )


def _count(said: Mapping[str, Any], key: str) -> int:
    value = said.get(key)
    return int(value) if is_number(value) else 0
