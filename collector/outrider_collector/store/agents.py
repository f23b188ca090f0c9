"""Agents: how one is enrolled, recognised, fenced and revoked.

An agent's token is 256 random bits; the database keeps its SHA-256. A session is a number that
rises with each hello; claims of older sessions are refused inside the claim, so that an agent that
was restarted, moved or cloned cannot write under an old one.

Functions take a connection in autocommit mode and raise the driver's errors: wrap them with
:func:`outrider_collector.store.connect.driver_errors`.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from outrider.errors import Fault, Reason
from outrider_collector.store.rows import storable

if TYPE_CHECKING:
    from datetime import datetime

    from psycopg import AsyncConnection

DEFAULT_TEAM = 1


@dataclass(frozen=True, slots=True)
class Agent:
    """Who a token belongs to."""

    id: int
    team: int
    host: str
    revoked: bool


def token_hash(token: str) -> bytes:
    """Return what the database keeps of a token."""
    return hashlib.sha256(token.encode()).digest()


async def enroll(connection: AsyncConnection, team: int, host: str) -> tuple[int, str]:
    """Make an agent; return its id and its token, which is not kept anywhere else."""
    token = secrets.token_urlsafe(32)
    cursor = await connection.execute(
        "insert into agents (team, host, token_hash) values (%s, %s, %s) returning id",
        (team, storable(host)[:255], token_hash(token)),
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101  insert returning
    return int(row[0]), token


async def agent_by_token_hash(connection: AsyncConnection, digest: bytes) -> Agent | None:
    """Return the agent of a token, revoked or not; None for a token nobody has."""
    cursor = await connection.execute(
        "select id, team, host, revoked_at is not null from agents where token_hash = %s",
        (digest,),
        prepare=True,
    )
    row = await cursor.fetchone()
    return None if row is None else Agent(*row)


async def begin_session(
    connection: AsyncConnection,
    agent: int,
    *,
    instance: bytes,
    software_version: str = "",
    host: str = "",
) -> int:
    """Begin the agent's newest session and return its number; older ones can commit no more.

    Raises TOKEN_REVOKED, or AGENT_UNKNOWN.
    """
    cursor = await connection.execute(
        "update agents set session = nextval('sessions'), instance = %s,"
        " software_version = nullif(%s, ''), host = coalesce(nullif(%s, ''), host),"
        " connected_at = now() where id = %s and revoked_at is null returning session",
        (
            instance,
            storable(software_version)[:64],
            storable(host)[:255],
            agent,
        ),
    )
    row = await cursor.fetchone()
    if row is not None:
        return int(row[0])
    cursor = await connection.execute("select 1 from agents where id = %s", (agent,))
    known = await cursor.fetchone() is not None
    raise Fault(Reason.TOKEN_REVOKED if known else Reason.AGENT_UNKNOWN, agent=agent)


async def instance(connection: AsyncConnection, agent: int) -> bytes:
    """Return which process of the agent began its newest session; empty before the first."""
    cursor = await connection.execute("select instance from agents where id = %s", (agent,))
    row = await cursor.fetchone()
    return bytes(row[0]) if row is not None and row[0] is not None else b""


class Holder(NamedTuple):
    """The process that began an agent's newest session, at whichever collector."""

    instance: bytes
    """Empty before the first session."""
    collector: str | None
    """Who had its last heartbeat; None: nobody had one."""
    heard_at: datetime | None
    now: datetime
    """The database's clock."""
    seems_alive: bool
    """Its heartbeats come, as far as the database knows by now."""


async def holder(connection: AsyncConnection, agent: int) -> Holder:
    """Return who holds an agent. Raises AGENT_UNKNOWN."""
    cursor = await connection.execute(
        """
        select coalesce(a.instance, ''::bytea), h.collector, h.seen_at, clock_timestamp(),
               coalesce(h.due_at > clock_timestamp() and s.state in ('up', 'degraded', 'lagging'),
                        false)
        from agents a
        left join heartbeats h on h.component_kind = 'agent' and h.component = a.id::text
        left join system_health s on s.component_kind = 'agent' and s.component = a.id::text
        where a.id = %s
        """,
        (agent,),
    )
    row = await cursor.fetchone()
    if row is None:
        raise Fault(Reason.AGENT_UNKNOWN, agent=agent)
    return Holder(bytes(row[0]), *row[1:])


async def revoke(connection: AsyncConnection, agent: int) -> bool:
    """Withdraw an agent's access, from the next commit on; False when there is no such agent."""
    cursor = await connection.execute(
        "update agents set revoked_at = coalesce(revoked_at, now()) where id = %s returning id",
        (agent,),
    )
    return await cursor.fetchone() is not None
