"""SQL of incidents in which nothing could be stored: entered into the ledger when they are over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from psycopg.types.json import Jsonb

from outrider.instants import from_us
from outrider_alerting import outage, telling
from outrider_alerting.ledger import Alert
from outrider_alerting.routing import CENTRE, destination
from outrider_collector.store import feed, rules

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from outrider_alerting.content import Content
    from outrider_alerting.outage import Incident, Told
    from outrider_alerting.routing import Destination

OVER: Final = "the database answers again"
_FATES: Final = {"claimed": "unknown", "retry": "dead"}
"""What an attempt is called in the ledger that was not finished when the incident ended."""


async def enter(connection: AsyncConnection, incident: Incident, ended_us: int) -> int | None:
    """Make an incident that is over an alert with its ledger; returns its number.

    What was told is entered as it was; the end waits for delivery wherever the beginning may have
    been read. One transaction; None where the incident is there already.
    """
    async with feed.transaction(connection):
        active = await rules.active(connection)
        cursor = await connection.execute(
            """
            insert into alerts (rule, key, labels, kind, priority, state, summary, started_at,
                                fired_at, resolved_at, resolve_reason, rule_set)
            select %(rule)s, %(key)s, %(labels)s, %(kind)s, 'critical', 'resolved', %(summary)s,
                   %(since)s, %(told)s, %(ended)s, %(reason)s, %(rule_set)s
            where not exists (
                select from alerts where rule = %(rule)s and labels ->> 'incident' = %(incident)s
            )
            returning id
            """,
            {
                "rule": outage.RULE,
                "key": [incident.collector],
                "labels": Jsonb(incident.labels()),
                "kind": outage.KIND,
                "summary": incident.summary(),
                "since": from_us(incident.since_us),
                "told": from_us(_told_us(incident)),
                "ended": from_us(ended_us),
                "reason": OVER,
                "rule_set": active.version if active else 0,
                "incident": incident.id,
            },
        )
        row = await cursor.fetchone()
        if row is None:
            return None
        alert = _alert(row[0], incident, ended_us)
        await _enter_transitions(connection, alert, incident)
        resolved = telling.resolved(alert, ended_us)
        told = incident.content(_told_us(incident))
        await _enter_row(connection, alert.id, "fired", CENTRE, told, "sent", None)
        await _enter_row(connection, alert.id, "resolved", CENTRE, resolved, "sent", None)
        for name, became in incident.told.items():
            config = active.rule_set.channel(name) if active else None
            if config is None:
                continue
            to = destination(config)
            fate = _FATES.get(became.fate, became.fate)
            await _enter_row(connection, alert.id, "fired", to, told, fate, became)
            if became.may_have_it:
                await _enter_row(connection, alert.id, "resolved", to, resolved, "waiting", None)
    return alert.id


def _told_us(incident: Incident) -> int:
    return incident.told_us if incident.told_us is not None else incident.since_us


def _alert(number: int, incident: Incident, ended_us: int) -> Alert:
    return Alert(
        id=number,
        rule=outage.RULE,
        key=(incident.collector,),
        labels=incident.labels(),
        kind=outage.KIND,
        priority="critical",
        state="resolved",
        summary=incident.summary(),
        started_us=incident.since_us,
        fired_us=incident.since_us,
        resolved_us=ended_us,
        resolve_reason=OVER,
    )


async def _enter_transitions(connection: AsyncConnection, alert: Alert, incident: Incident) -> None:
    moves = (
        (None, "firing", incident.since_us, _told_us(incident), incident.reason[:500]),
        ("firing", "resolved", alert.resolved_us, alert.resolved_us, OVER),
    )
    for from_state, to_state, at_us, concluded_us, reason in moves:
        await connection.execute(
            """
            insert into alert_transitions (alert, step, from_state, to_state, at, concluded_at,
                                           reason)
            values (%s, 0, %s, %s, %s, %s, %s)
            """,
            (
                alert.id,
                from_state,
                to_state,
                from_us(at_us or 0),
                from_us(concluded_us or 0),
                reason,
            ),
        )


async def _enter_row(
    connection: AsyncConnection,
    alert: int,
    notice: str,
    to: Destination,
    content: Content,
    fate: str,
    became: Told | None,
) -> None:
    cursor = await connection.execute(
        """
        insert into notifications (alert, notice, channel, channel_type, conversation, priority,
                                   fate, why, content, attempts, provider_id, created_at,
                                   finished_at)
        values (%(alert)s, %(notice)s, %(channel)s, %(channel_type)s, %(conversation)s, 'critical',
                %(fate)s, %(why)s, %(content)s, %(attempts)s, %(provider_id)s,
                coalesce(%(created)s, clock_timestamp()),
                case when %(fate)s <> 'waiting' then coalesce(%(at)s, clock_timestamp()) end)
        returning id
        """,
        {
            "alert": alert,
            "notice": notice,
            "channel": to.channel,
            "channel_type": to.channel_type,
            "conversation": to.conversation,
            "fate": fate,
            "why": (became.error or None) if became else None,
            "content": Jsonb(msgspec.to_builtins(content)),
            "attempts": became.tries if became else 0,
            "provider_id": (became.provider_id or None) if became else None,
            "created": from_us(became.first_us) if became else None,
            "at": from_us(became.at_us) if became else None,
        },
    )
    row = await cursor.fetchone()
    if became is not None and row is not None:
        await connection.execute(
            """
            insert into notification_attempts (notification, started_at, finished_at, outcome,
                                               error)
            values (%s, %s, %s, %s, %s)
            """,
            (row[0], from_us(became.first_us), from_us(became.at_us), fate, became.error or None),
        )
