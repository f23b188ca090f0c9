"""What people do: acknowledge alerts, silence them, retire workers. Each act has a name on it.

Acts never move an alert's state. Each has its row in the audit log and ends with a feed row and
COMMIT in one message, which wakes the evaluator (a silence changes who is told) and the dashboard.

Then it is told as a record too. The record names what was done to what by whom, and quotes no text
of it (filters, comments): those are in the rows. A record that quotes a filter matches it, and
silencing an alert would raise it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from outrider import filter as filters
from outrider.errors import Fault, Reason
from outrider_alerting import schedules
from outrider_collector.store import feed, health, outdated
from outrider_collector.store.audit import log
from outrider_collector.store.audit.log import Act

if TYPE_CHECKING:
    from psycopg import AsyncConnection

FILTER_BYTES_MAX: Final = 1_024
ACTOR_BYTES_MAX: Final = 128
NAME_BYTES_MAX: Final = 512
COMMENT_BYTES_MAX: Final = 512
SILENCE_MAX: Final = timedelta(days=366)
WEEKLY_MAX: Final = timedelta(days=3660)
"""Longest span of a silence that holds only in windows of every week."""
SILENCES_MAX: Final = 1_000
"""Silences that may be in force or to come at a time."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Whether this act did it, and who had done it."""

    changed: bool
    actor: str


@dataclass(frozen=True, slots=True)
class Silenced:
    """A silence, and which open alerts it hits now."""

    silence: int
    alerts: list[int]


@dataclass(frozen=True, slots=True)
class Weekly:
    """When, within its span, a silence holds: windows of every week."""

    schedule: str
    timezone: str
    # Critical alerts pass.
    quiet_hours: bool = False

    def check(self) -> None:
        """Raise CONFIG_INVALID for windows or a zone that cannot be read."""
        try:
            schedules.parse(self.schedule, self.timezone)
        except schedules.ScheduleError as error:
            raise Fault(Reason.CONFIG_INVALID, detail=f"the schedule: {error}") from error


async def acknowledge(
    connection: AsyncConnection, alert: int, actor: str, comment: str = ""
) -> Acknowledged:
    """Say that somebody looks after an open alert. Raises NOT_FOUND, CONFLICT once it is over."""
    actor = _text("actor", actor, ACTOR_BYTES_MAX, needed=True)
    comment = _text("comment", comment, COMMENT_BYTES_MAX)
    async with feed.transaction(connection):
        cursor = await connection.execute(
            "select state, acknowledged_by from alerts where id = %s for update", (alert,)
        )
        row = await cursor.fetchone()
        if row is None:
            raise Fault(
                Reason.NOT_FOUND,
                detail=f"there is no alert A-{alert}: list them with 'outrider alerts'",
            )
        state, by = row
        if by is not None:
            return Acknowledged(changed=False, actor=by)
        if state == "resolved":
            raise Fault(
                Reason.CONFLICT, detail=f"alert A-{alert} is resolved: nothing to acknowledge"
            )
        await connection.execute(
            "update alerts set acknowledged_at = clock_timestamp(), acknowledged_by = %s,"
            " acknowledge_comment = nullif(%s, ''), updated_at = clock_timestamp() where id = %s",
            (actor, comment, alert),
        )
        await outdated.mark(connection, [alert])
        await log.commit(
            connection,
            Act("alert.acknowledged", actor, f"A-{alert}", reason=comment),
            "admin",
            {"act": "acknowledge", "actor": actor, "alerts": [alert], "comment": comment},
        )
    return Acknowledged(changed=True, actor=actor)


async def add_silence(
    connection: AsyncConnection,
    *,
    filter_text: str,
    starts_at: datetime | None,
    ends_at: datetime,
    actor: str,
    comment: str = "",
    weekly: Weekly | None = None,
    origin: str | None = None,
) -> Silenced:
    """Keep alerts that match from being told until ``ends_at``; ``starts_at`` None is now.

    With ``weekly`` only inside its windows. The same ``origin`` twice is one silence. Raises
    FILTER_INVALID, or CONFIG_INVALID for times that make no span, windows that cannot be read or a
    comment that is too long.
    """
    actor = _text("actor", actor, ACTOR_BYTES_MAX, needed=True)
    if (length := len(comment.encode("utf-8", "replace"))) > COMMENT_BYTES_MAX:
        what = f"the comment has {length:,} bytes: at most {COMMENT_BYTES_MAX}"
        raise Fault(Reason.CONFIG_INVALID, detail=what)
    comment = _text("comment", comment, COMMENT_BYTES_MAX)
    chosen = parse_filter(filter_text)
    if weekly is not None:
        weekly.check()
    async with feed.transaction(connection):
        if origin is not None and (before := await _made_by(connection, origin)) is not None:
            return Silenced(silence=before, alerts=[])
        begin = await _span(connection, starts_at, ends_at, forever=weekly is not None)
        cursor = await connection.execute(
            """
            insert into silences (filter, starts_at, ends_at, created_by, comment, schedule,
                                  timezone, quiet_hours, origin)
            select %s, %s, %s, %s, %s, %s, %s, %s, %s
            where (select count(*) from silences
                   where ended_at is null and ends_at > clock_timestamp()) < %s
            returning id
            """,
            (
                filter_text,
                begin,
                ends_at,
                actor,
                comment,
                weekly.schedule if weekly else None,
                weekly.timezone if weekly else None,
                weekly is not None and weekly.quiet_hours,
                origin,
                SILENCES_MAX,
            ),
        )
        row = await cursor.fetchone()
        if row is None:
            raise Fault(
                Reason.CONFLICT,
                detail=f"{SILENCES_MAX} silences are in force: end some before you add another",
            )
        hit = await _matching(connection, chosen)
        until = {"until": ends_at.isoformat()}
        await log.commit(
            connection,
            Act("alert.silenced", actor, f"silence {row[0]}", until, reason=comment),
            "silences",
            {"act": "add", "silence": row[0], "actor": actor, "alerts": hit},
        )
    return Silenced(silence=row[0], alerts=hit)


async def end_silence(connection: AsyncConnection, silence: int, actor: str) -> bool:
    """End a silence now; False when it had ended before. Raises NOT_FOUND."""
    actor = _text("actor", actor, ACTOR_BYTES_MAX, needed=True)
    async with feed.transaction(connection):
        cursor = await connection.execute(
            """
            with ended as (
                update silences set ended_at = clock_timestamp(), ended_by = %(actor)s
                where id = %(id)s and ended_at is null and ends_at > clock_timestamp()
                returning id
            )
            select exists (select from ended),
                   exists (select from silences where id = %(id)s)
            """,
            {"actor": actor, "id": silence},
        )
        row = await cursor.fetchone()
        changed, known = row or (False, False)
        if not known:
            raise Fault(
                Reason.NOT_FOUND,
                detail=f"there is no silence {silence}: list them with 'outrider silences list'",
            )
        if changed:
            await log.commit(
                connection,
                Act("alert.unsilenced", actor, f"silence {silence}"),
                "silences",
                {"act": "end", "silence": silence, "actor": actor},
            )
    return bool(changed)


def parse_filter(text: str) -> filters.Filter:
    """Read a filter on alerts. Raises FILTER_INVALID with the place of the mistake."""
    if len(text.encode("utf-8", "replace")) > FILTER_BYTES_MAX:
        raise Fault(
            Reason.FILTER_INVALID,
            detail=f"the filter is longer than {FILTER_BYTES_MAX:,} bytes",
        )
    if not text.strip():
        raise Fault(
            Reason.FILTER_INVALID,
            detail="the filter is empty and would silence everything: name what is meant, "
            "such as rule:payment-errors or priority:info",
        )
    try:
        return filters.parse(text, labels=True)
    except filters.FilterError as error:
        raise Fault(Reason.FILTER_INVALID, detail=f"the filter cannot be read: {error}") from error


async def retire_worker(connection: AsyncConnection, name: str, actor: str) -> bool:
    """Say that a worker ended for good; False when it was retired before.

    It is up again as soon as it shows life. Raises NOT_FOUND, CONFLICT while it runs.
    """
    actor = _text("actor", actor, ACTOR_BYTES_MAX, needed=True)
    name = _text("name", name, NAME_BYTES_MAX)
    async with feed.transaction(connection):
        cursor = await connection.execute(
            "select agent, team, coalesce(host, ''), service, worker, state, clock_timestamp()"
            " from system_health where component_kind = 'worker' and component = %s for update",
            (name,),
        )
        row = await cursor.fetchone()
        if row is None:
            raise Fault(
                Reason.NOT_FOUND,
                detail=f"there is no worker {name}: list them with 'outrider workers'",
            )
        agent, team, host, service, worker, state, now = row
        if state == "retired":
            return False
        if state in {"up", "degraded", "lagging"}:
            raise Fault(
                Reason.CONFLICT, detail=f"worker {name} is {state}: stop it before it is retired"
            )
        component = health.Component("worker", name, agent, team, host, service, worker)
        reason = f"retired by {actor}"
        act = Act("config.changed", actor, f"worker {name}", before=state, after="retired")
        audit_id = await log.add_act(connection, act)
        await health.store(connection, [health.Change(component, state, "retired", reason, now)])
    log.tell(act, audit_id)
    return True


async def _made_by(connection: AsyncConnection, origin: str) -> int | None:
    cursor = await connection.execute("select id from silences where origin = %s", (origin,))
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def _span(
    connection: AsyncConnection, starts_at: datetime | None, ends_at: datetime, *, forever: bool
) -> datetime:
    now = await health.clock(connection)
    begin = starts_at or now
    if ends_at <= max(begin, now):
        raise Fault(
            Reason.CONFIG_INVALID,
            detail="the silence would end before it begins or is over already: "
            "give an end that is later",
        )
    longest = WEEKLY_MAX if forever else SILENCE_MAX
    if ends_at - begin > longest:
        raise Fault(
            Reason.CONFIG_INVALID,
            detail=f"a silence lasts at most {longest.days} days: give an earlier end",
        )
    return begin


async def _matching(connection: AsyncConnection, chosen: filters.Filter) -> list[int]:
    """Return the open alerts that the filter hits."""
    cursor = await connection.execute(
        "select id, labels from alerts where state <> 'resolved' order by id limit 10000"
    )
    rows: list[tuple[int, dict[str, Any]]] = await cursor.fetchall()
    return [alert for alert, labels in rows if chosen.match_labels(labels)]


def _text(name: str, value: str, limit: int, *, needed: bool = False) -> str:
    """Return the value without NUL, at most ``limit`` bytes."""
    cleaned = value.replace("\x00", "\N{REPLACEMENT CHARACTER}").strip()
    if needed and not cleaned:
        raise Fault(Reason.CONFIG_INVALID, detail=f"{name} is empty: say who acts")
    return cleaned.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")
