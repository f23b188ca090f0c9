"""Ninety days of everybody, as pages read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from outrider_collector.store.reading.availability import DAY_MS, HealthConfig
from outrider_collector.store.reading.uptime import uptimes, watching
from tests.collector.store.test_uptime import lived, rows, watched

if TYPE_CHECKING:
    from psycopg import AsyncConnection

HOUR_MS = 3_600_000


async def test_ninety_days_of_everybody(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """Stored days, days that are over but not stored, and today are one row of bars each."""
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    await owner.execute("update health_rolled set before = %s", (midnight - timedelta(days=2),))
    await watched(owner, midnight - timedelta(days=2), now)
    await owner.execute(
        "insert into health_days values (%s, 'worker', 'w', 1, %s, 0, %s, 0),"
        " (%s, 'agent', '7', 1, %s, 0, 0, 0), (%s, 'agent', '8', 1, 1, 0, 0, 0)",
        (midnight - timedelta(days=10), 20 * HOUR_MS, HOUR_MS,
         midnight - timedelta(days=40), DAY_MS, midnight - timedelta(days=90)),
    )  # fmt: skip
    await lived(owner, "w", [
        (midnight - timedelta(days=2), "up"),
        (midnight - timedelta(days=1, hours=1), "degraded"),
        (midnight - timedelta(days=1), "up"),
    ])  # fmt: skip
    found = await uptimes(reader, config=HealthConfig(target=99.0))

    assert set(found) == {("worker", "w"), ("agent", "7")}
    worker = found["worker", "w"]
    assert [day.day for day in worker.days] == [
        (midnight - timedelta(days=89 - n)).date() for n in range(90)
    ]
    assert worker.days[79][1:] == (20 * HOUR_MS, 0, HOUR_MS, 0, 3 * HOUR_MS)
    assert worker.days[87][1:] == (23 * HOUR_MS, HOUR_MS, 0, 0, 0)
    assert worker.days[88][1:] == (DAY_MS, 0, 0, 0, 0)
    today = worker.days[89]
    assert 0 <= sum(today[1:]) - today.up_ms < 60_000
    assert worker.budget_left == pytest.approx(1 - 2 / (30 * 24 * 0.01))
    assert found["agent", "7"].share_up == 1.0
    assert set(await uptimes(reader, ["agent"])) == {("agent", "7")}
    by_day = await rows(
        owner,
        "select up_s::float, degraded_s::float, unmeasured_s::float, up_share"
        " from system_health_days where component = 'w' order by day",
    )
    assert [row[:3] for row in by_day[:2]] == [(72_000, 0, 10_800), (82_800, 3_600, 0)]
    assert by_day[0][3] == pytest.approx(20 / 21)


async def test_time_in_which_nobody_watched(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """Since collectors first watched, the time without any is down; before it is not known."""
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    assert (await watching(reader)).share_up is None
    await watched(owner, midnight - timedelta(hours=12), midnight - timedelta(hours=6))
    await watched(owner, midnight - timedelta(hours=4), now)
    seen = await watching(reader)

    assert seen.days[88][1:] == (10 * HOUR_MS, 0, 2 * HOUR_MS, 0, 12 * HOUR_MS)
    assert (seen.days[87].unmeasured_ms, seen.days[89].down_ms) == (DAY_MS, 0)
