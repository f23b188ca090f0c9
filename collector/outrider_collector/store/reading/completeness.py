"""What a view of logs holds for certain, and what it does not: the completeness line.

A stream's watermark says: all that its writer wrote up to here is committed. The oldest watermark
of the open streams in scope is therefore the time up to which nothing can be missing, once two
kinds of streams are named apart instead of holding everybody back: those of agents that are silent,
and those that lag behind the newest watermark, because their backlog is on its way. When the
collectors themselves stand still, every watermark stands still, nobody lags behind the others, and
the line says the old time: our own lag is never blamed on a worker. That they stand still is said,
and with what to do.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from outrider import durations
from outrider.gap_reasons import ERASED
from outrider.sizes import said as size
from outrider_collector.store.reading import gaps, health, replica
from outrider_collector.store.reading.expressions import of_streams
from outrider_collector.store.reading.filter_sql import compile_filter
from outrider_collector.store.reading.session import snapshot
from outrider_collector.store.reading.standstill import standstills
from outrider_collector.store.reading.types import (
    Completeness,
    LaggingWorker,
    Part,
    SilentAgent,
)

if TYPE_CHECKING:
    from datetime import datetime

    from psycopg import AsyncConnection

    from outrider.filter import Filter
    from outrider_collector.store.reading.conditions import Conditions
    from outrider_collector.store.reading.session import Snapshot
    from outrider_collector.store.reading.types import Gap, Replica, Standstill

LAGGING_S = 15
"""A stream so far behind the newest watermark is an exception."""

REPLICA_BEHIND_S = 30
"""A replica so far behind is no ordinary one."""

MOST_EXCEPTIONS = 100

SHOWN_EXCEPTIONS = 6
"""A sentence names at most so many; the rest is counted."""

# An agent that was stopped on purpose is waited for no longer: its state is retired.
_SCOPED: Final = sql.SQL("""
    with scoped as materialized (
        select i.agent, i.service, i.worker, i.host, coalesce(s.watermark, i.born_at) as up_to,
               coalesce(h.state in ('silent', 'dead'), false) as silent
        from stream_info i
        join agents a on a.id = i.agent and a.revoked_at is null
        left join streams s on s.id = i.id
        left join system_health h on h.component_kind = 'agent' and h.component = i.agent::text
        where i.closed_at is null and coalesce(h.state, '') <> 'retired' and {streams}
    ), threshold as (
        select max(up_to) - make_interval(secs => %(lagging)s) as up_to
        from scoped where not silent
    )
    """)

_UP_TO: Final = sql.SQL("""
    {scoped}
    select min(s.up_to) filter (where not s.silent and s.up_to >= t.up_to), count(*)
    from scoped s cross join threshold t
    """)

_LAGGING: Final = sql.SQL("""
    {scoped}
    select s.service, s.worker, s.host,
           coalesce(max((b.gauges ->> 'backlog_bytes')::bigint), 0), min(s.up_to)
    from scoped s cross join threshold t
    left join heartbeats b on b.component_kind = 'worker'
         and b.component = s.service || '/' || s.worker || '@' || s.host
    where not s.silent and s.up_to < t.up_to and s.up_to < %(until)s
    group by s.service, s.worker, s.host
    order by 4 desc, 5, 1, 2, 3
    limit %(most)s
    """)

_SILENT: Final = sql.SQL("""
    {scoped}
    select s.agent, s.host, coalesce(max(b.seen_at), min(s.up_to))
    from scoped s
    left join heartbeats b on b.component_kind = 'agent' and b.component = s.agent::text
    where s.silent and s.up_to < %(until)s
    group by s.agent, s.host
    order by 3, 1
    limit %(most)s
    """)


_BLIND_LOGIN: Final = sql.SQL(
    "select session_user::text from (select) one where cardinality(visible_teams()) = 0"
)


async def completeness(
    conn: AsyncConnection[Any],
    filter: Filter,  # noqa: A002  the word users know
    since: datetime,
    until: datetime,
    *,
    most_gaps: int = 20,
) -> Completeness:
    """Return how complete the view of this filter and range is.

    Exceptions that cannot touch the range (a worker that lags behind a later time) are left out.
    """
    compiled = compile_filter(filter)
    async with snapshot(conn) as open_snapshot:
        conditions = await of_streams(open_snapshot, compiled)
        return await select(open_snapshot, conditions, since, until, most_gaps)


async def select(
    open_snapshot: Snapshot,
    conditions: Conditions,
    since: datetime,
    until: datetime,
    most_gaps: int,
) -> Completeness:
    """Do what ``completeness`` does, inside a snapshot."""
    streams = sql.SQL("true") if conditions.streams is None else conditions.streams
    scoped = _SCOPED.format(streams=streams)
    parameters = {
        **conditions.parameters,
        "lagging": LAGGING_S,
        "until": until,
        "most": MOST_EXCEPTIONS,
    }
    up_to = await open_snapshot.row(_UP_TO.format(scoped=scoped), parameters)
    lagging = await open_snapshot.rows(_LAGGING.format(scoped=scoped), parameters)
    silent = await open_snapshot.rows(_SILENT.format(scoped=scoped), parameters)
    found, total = await gaps.select(
        open_snapshot, conditions, since, until, most_gaps, losses_first=True
    )
    now_still = standstills(await health.select_collectors(open_snapshot))
    assert up_to is not None  # noqa: S101  an aggregate always returns one row
    return Completeness(
        complete_up_to=up_to[0],
        lagging=[LaggingWorker(*row) for row in lagging],
        silent=[SilentAgent(*row) for row in silent],
        gaps=found,
        gaps_total=total,
        streams=up_to[1],
        standstill=next((one for one in now_still if one.since < until), None),
        replica=await replica.select(open_snapshot),
        blind_login="" if up_to[1] else await _blind_login(open_snapshot),
    )


async def _blind_login(open_snapshot: Snapshot) -> str:
    row = await open_snapshot.row(_BLIND_LOGIN)
    return row[0] if row else ""


def cure_of_blind(login: str) -> str:
    """Return what lets a login see every team."""
    quoted = login.replace("'", "''")
    return f"as the owner: insert into team_roles values ('{quoted}', null)"  # noqa: S608  a hint


# ------------------------------------------------------------------ the sentence


def sentence(state: Completeness, now: datetime) -> list[Part]:
    """Return the completeness line in pieces, so that a page can link its exceptions.

    ``text`` joins them. Times are in UTC; those of another day than ``now`` name the day.
    """
    parts = _as_of_then(state, now)
    if state.standstill is not None:
        parts = [_standing(state.standstill, now), Part("text", " "), *parts]
    if state.replica is not None:
        parts = [_replica(state.replica, now), *parts]
    return parts


def _replica(replica: Replica, now: datetime) -> Part:
    behind = durations.said(replica.behind_s) if replica.behind_s >= 1 else "less than 1 s"
    what = f"As of {moment(replica.as_of, now)}, the replica is {behind} behind. "
    return Part("standstill" if replica.behind_s > REPLICA_BEHIND_S else "text", what)


def _standing(standstill: Standstill, now: datetime) -> Part:
    since = moment(standstill.since, now)
    what = {
        "not_committing": f"Commits fail since {since}",
        "collector_silent": f"Unknown since {since}: no collector reports",
    }[standstill.kind]
    return Part("standstill", f"{what}: {standstill.reason}.")


def _as_of_then(state: Completeness, now: datetime) -> list[Part]:
    exceptions = [
        *(_lagging(worker, now) for worker in state.lagging),
        *(_silent(agent, now) for agent in state.silent),
        *(_gap(gap) for gap in state.gaps),
    ]
    count = len(exceptions) + max(state.gaps_total - len(state.gaps), 0)
    if state.blind_login:
        seen = f"The login {state.blind_login} sees no team, so no line"
        return [Part("text", f"{seen}: {cure_of_blind(state.blind_login)}")]
    between = ", except "
    if not state.streams:
        # Nobody is waited for, so what is there is all there will be but for gaps.
        begin, between = [Part("text", "No worker that runs belongs to this view")], "; missing: "
        if not count:
            return [*begin, Part("text", ".")]
    elif state.complete_up_to is None:
        begin = [Part("text", "Up to when this is complete is not known")]
        if not count:
            return [*begin, Part("text", ": no agent has reported yet.")]
    else:
        begin = [
            Part("text", "Complete up to "),
            Part("time", moment(state.complete_up_to, now), state.complete_up_to.isoformat()),
        ]
        if not count:
            return [*begin, Part("text", ", without exception.")]
    shown = exceptions[:SHOWN_EXCEPTIONS]
    if count > len(shown):
        shown.append(Part("text", f"{count - len(shown):,} more"))
    return [*begin, Part("text", between), *_listed(shown), Part("text", ".")]


def text(parts: list[Part]) -> str:
    """Return the sentence as plain text."""
    return "".join(part.text for part in parts)


def _listed(parts: list[Part]) -> list[Part]:
    """Put commas between the parts, and a last "and"."""
    listed: list[Part] = []
    for place, part in enumerate(parts):
        if place:
            listed.append(Part("text", ", and " if place == len(parts) - 1 else ", "))
        listed.append(part)
    return listed


def _lagging(worker: LaggingWorker, now: datetime) -> Part:
    if worker.backlog_bytes:
        behind = f"{size(worker.backlog_bytes)} behind"
    elif worker.up_to is not None:
        behind = f"known up to {moment(worker.up_to, now)}"
    else:
        behind = "behind"
    reference = f"{worker.service}/{worker.worker}@{worker.host}"
    return Part("worker", f"{worker.worker}, {behind}", reference)


def _silent(agent: SilentAgent, now: datetime) -> Part:
    since = "never heard" if agent.since is None else f"silent since {moment(agent.since, now)}"
    return Part("agent", f"host {agent.host}, {since}", str(agent.agent))


def _gap(gap: Gap) -> Part:
    if gap.records:
        lines = f"{gap.records:,} {'line' if gap.records == 1 else 'lines'}"
        lost = f"at least {lines}" if gap.at_least else lines
    else:
        lost = f"{size(gap.bytes)}, lines not counted" if gap.bytes else "lines not counted"
    if gap.reason == ERASED:
        lost += " erased"
    return Part("gap", f"gap #{gap.id}, {lost}", str(gap.id))


def moment(time: datetime, now: datetime) -> str:
    """Return a time in UTC, with its day where that is another than ``now``'s."""
    utc = time.astimezone(UTC)
    same_day = utc.date() == now.astimezone(UTC).date()
    return f"{utc:%H:%M:%S} UTC" if same_day else f"{utc.day} {utc:%b %H:%M:%S} UTC"
