"""Rows of alerts: what a new episode says about the ones before it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from outrider_collector.store.alerts import FLAPS, NewTransition, store_transitions

if TYPE_CHECKING:
    from psycopg import AsyncConnection

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def _episode(connection: AsyncConnection, at: datetime, key: str = "w1") -> bool:
    """Fire and resolve; return whether the alert flaps."""
    alert, again = await store_transitions(
        connection,
        [
            NewTransition(
                rule="r", key=[key], from_state=before, to_state=after, at=at, concluded_at=at,
                reason="", started_at=at, fired_at=at, kind="match", priority="info", labels={},
                summary="s", runbook=None, value=None, threshold=None, without=[], evidence=[],
                rule_set=1, step=1,
            )
            for before, after in (("inactive", "firing"), ("firing", "resolved"))
        ],
    )  # fmt: skip
    assert alert == again
    cursor = await connection.execute("select flapping from alerts where id = %s", (alert,))
    row = await cursor.fetchone()
    assert row is not None
    return bool(row[0])


async def test_alert_flaps_after_three_episodes_within_the_hour(
    connection: AsyncConnection,
) -> None:
    """Earlier episodes of the same key count, by event time; an hour of quiet ends it."""
    minute = timedelta(minutes=1)
    said = [await _episode(connection, START + n * 10 * minute) for n in range(FLAPS + 1)]
    assert said == [False] * FLAPS + [True]
    assert not await _episode(connection, START + 31 * minute, key="w2")
    assert not await _episode(connection, START + 95 * minute)
