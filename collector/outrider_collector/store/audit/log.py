"""Rows are added to the audit log: by the transaction that stores records, and by acts of people.

Both take the log's lock shared before their rows get ids, and hold it until their COMMIT: whoever
holds it exclusively knows that no id below the newest is still to come (:mod:`.seals`). Writers
never wait for each other.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec

import outrider
from outrider.taxonomy import EVENTS
from outrider_collector.store import binary, blocks, feed, rows
from outrider_collector.store.binary import Int2Array, TextArray, UuidArray

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from psycopg import AsyncConnection

    from outrider_collector.store.audit.entries import Entry

SERVICE: Final = "outrider"
"""The service of acts of people."""

_LOCK: Final = "select pg_advisory_xact_lock_shared(audit_lock_key())"

_INSERT: Final = """
insert into audit_log (commit_id, ts, class, event, actor, target, outcome, reason, before, after,
    severity, message, error_code, trace_id, correlation_id, attributes, team, service, worker,
    host, agent, stream, stream_offset, replayed)
select %s, u.ts, u.class, u.event, u.actor, u.target, u.outcome, u.reason, u.before, u.after,
    u.severity, u.message, u.error_code, u.trace_id, u.correlation_id, u.attributes, u.team,
    u.service, u.worker, u.host, u.agent, u.stream, u.stream_offset, u.replayed
from unnest(%s::timestamptz[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
    %s::text[], %s::text[], %s::text[], %s::smallint[], %s::text[], %s::text[], %s::uuid[],
    %s::text[], %s::text[], %s::integer[], %s::text[], %s::text[], %s::text[], %s::bigint[],
    %s::bigint[], %s::bigint[], %s::boolean[], %s::bigint[])
    u(ts, class, event, actor, target, outcome, reason, before, after, severity, message,
      error_code, trace_id, correlation_id, attributes, team, service, worker, host, agent, stream,
      stream_offset, replayed, audit_id)
-- An act has its row already, by its own transaction; its record comes later.
where u.audit_id = 0 or not exists (
    select from audit_log a where a.id = u.audit_id and a.event = u.event
        and a.actor = u.actor and a.target is not distinct from u.target)
"""

_INSERT_ACT: Final = """
insert into audit_log (ts, class, event, actor, target, outcome, reason, before, after, severity,
    message, attributes, service, worker, host)
values (clock_timestamp(), %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
returning id
"""


@dataclass(frozen=True, slots=True)
class Act:
    """What somebody did. Texts are made storable."""

    event: str
    """Of the catalogue, of class audit or security."""
    actor: str
    target: str
    fields: Mapping[str, str | int] = field(default_factory=dict)
    """More about it; these and all above are in the record of the act too."""
    before: str | int | None = None
    after: str | int | None = None
    reason: str = ""
    """Why, in the actor's words: stands in the row only."""
    outcome: str = "success"


async def add_entries(connection: AsyncConnection, commit_id: int, found: Sequence[Entry]) -> None:
    """Add records of the open transaction."""
    await connection.execute(_LOCK, prepare=True)
    said = [entry.said for entry in found]
    columns, batches = [entry.columns for entry in found], [entry.batch for entry in found]
    await connection.execute(
        _INSERT,
        (
            binary.int8(commit_id),
            rows.time_array(entry.columns.ts_us[entry.place] or 1 for entry in found),
            rows.text_array(entry.audit_class for entry in found),
            rows.text_array(entry.event for entry in found),
            _texts(each.actor for each in said),
            _texts(each.target for each in said),
            _texts(each.outcome for each in said),
            _texts(each.reason for each in said),
            _texts(each.before for each in said),
            _texts(each.after for each in said),
            Int2Array(
                blocks.array_of_severities(bytes(e.columns.severity[e.place] for e in found))
            ),
            _array(entry.message for entry in found),
            _texts(entry.error_code for entry in found),
            UuidArray(blocks.array_of_values(blocks.OID_UUID, [e.trace_id for e in found])),
            _array(entry.correlation_id for entry in found),
            _array(entry.attributes for entry in found),
            rows.int4_array(batch.team for batch in batches),
            rows.text_array(each.service for each in columns),
            rows.text_array(each.worker for each in columns),
            rows.text_array(each.host for each in columns),
            rows.int8_array(batch.agent for batch in batches),
            rows.int8_array(batch.stream for batch in batches),
            rows.int8_array(entry.columns.stream_offset[entry.place] for entry in found),
            rows.bool_array(batch.replayed for batch in batches),
            rows.int8_array(each.audit_id or 0 for each in said),
        ),
        prepare=True,
    )


async def add_act(connection: AsyncConnection, act: Act, worker: str = "collector") -> int:
    """Add an act to the open transaction; returns the id of its row."""
    event = EVENTS[act.event]
    await connection.execute(_LOCK)
    cursor = await connection.execute(
        _INSERT_ACT,
        (
            event.event_class.value,
            event.name,
            rows.storable(act.actor),
            rows.storable(act.target),
            act.outcome,
            rows.storable(act.reason) or None,
            _json(act.before),
            _json(act.after),
            event.severity,
            rows.storable(f"{act.actor}: {act.event} {act.target}"),
            _json(dict(act.fields)),
            SERVICE,
            worker,
            socket.gethostname(),
        ),
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101  insert returning
    return int(row[0])


async def commit(connection: AsyncConnection, act: Act, kind: str, detail: dict[str, Any]) -> None:
    """Add an act to the transaction, COMMIT it with its feed row, and write the act's record.

    As :func:`~outrider_collector.store.feed.commit`.
    """
    audit_id = await add_act(connection, act)
    await feed.commit(connection, kind, detail=detail)
    tell(act, audit_id)


def tell(act: Act, audit_id: int) -> None:
    """Write the record of an act that is committed, so that it is among the logs too.

    It names the row, which is not written a second time when the record arrives.
    """
    more: dict[str, Any] = {**act.fields, "audit_id": audit_id}
    more |= {"before": act.before, "after": act.after}
    outrider.audit(act.event, actor=act.actor, target=act.target, outcome=act.outcome, **more)


def _json(value: Any) -> str | None:
    return None if value is None else rows.storable(msgspec.json.encode(value).decode())


def _texts(values: Iterable[str | None]) -> TextArray:
    encoded = [None if value is None else rows.storable(value).encode() for value in values]
    return TextArray(blocks.array_of_values(blocks.OID_TEXT, encoded))


def _array(values: Iterable[bytes | None]) -> TextArray:
    return TextArray(blocks.array_of_values(blocks.OID_TEXT, list(values)))
