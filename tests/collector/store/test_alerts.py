"""Rows of alerts: what a new episode says about the ones before it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from outrider_collector.store.alerts import FLAPS, NewTransition, read_alerts, store_transitions

if TYPE_CHECKING:
    from psycopg import AsyncConnection

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def _episode(
    connection: AsyncConnection, at: datetime, key: str = "w1", priority: str = "info"
) -> bool:
    """Fire and resolve; return whether the alert flaps."""
    alert, again = await store_transitions(
        connection,
        [
            NewTransition(
                rule="r", key=[key], from_state=before, to_state=after, at=at, concluded_at=at,
                reason="", started_at=at, fired_at=at, kind="match", priority=priority, labels={},
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


async def test_a_flapping_critical_alert_knows_when_its_earlier_ones_were_told(
    connection: AsyncConnection,
) -> None:
    """By what left or is leaving for a channel, not by the notification centre; of its key only."""
    for n in range(FLAPS + 1):
        await _episode(connection, START + timedelta(minutes=n), priority="critical")
    cursor = await connection.execute("select min(id), max(id) from alerts")
    row = await cursor.fetchone()
    assert row is not None
    first, last = row
    for channel, fate, age in (
        ("in-app", "sent", "1 min"), ("ops", "suppressed", "2 min"), ("mail", "sent", "9 min"),
    ):  # fmt: skip
        await connection.execute(
            "insert into notifications (alert, notice, channel, channel_type, conversation,"
            " priority, fate, content, created_at)"
            " values (%s, 'fired', %s, %s, '', 'critical', %s, '{}',"
            " clock_timestamp() - %s::interval)",
            (first, channel, channel, fate, age),
        )
    early, late = await read_alerts(connection, [first, last])
    cursor = await connection.execute("select clock_timestamp()")
    now = await cursor.fetchone()
    assert now is not None

    assert early.told_at is None
    assert late.told_at is not None
    assert timedelta(minutes=9) <= now[0] - late.told_at < timedelta(minutes=10)


async def test_moves_of_one_step_are_stored_in_their_order(connection: AsyncConnection) -> None:
    """Several of one key beside others: each sees what the one before it left."""

    def move(rule: str, before: str, after: str) -> NewTransition:
        return NewTransition(
            rule=rule, key=["a\\b", ""], from_state=before, to_state=after, at=START,
            concluded_at=START, reason=f"{before}-{after}", started_at=START, fired_at=START,
            kind="match", priority="info", labels={"x": "ü"}, summary="s", runbook=None,
            value=1.5, threshold=None, without=["p/w@h"], evidence=[{"message": "m"}], rule_set=1,
            step=3,
        )  # fmt: skip

    moves = [
        move("a", "inactive", "pending"), move("b", "inactive", "firing"),
        move("a", "pending", "firing"), move("b", "firing", "resolved"),
        move("b", "inactive", "firing"), move("a", "firing", "recovering"),
    ]  # fmt: skip
    ids = await store_transitions(connection, moves)

    assert ids[0] == ids[2] == ids[5]
    assert ids[1] == ids[3] != ids[4]
    cursor = await connection.execute(
        "select alert, reason, without from alert_transitions order by id"
    )
    assert await cursor.fetchall() == [
        (alert, new.reason, ["p/w@h"]) for alert, new in zip(ids, moves, strict=True)
    ]
    found = await read_alerts(connection, ids)
    assert {(row.rule, row.state) for row in found} == {
        ("a", "recovering"), ("b", "resolved"), ("b", "firing"),
    }  # fmt: skip
    assert found[0].key == ["a\\b", ""]
    assert found[0].evidence == [{"message": "m"}]
