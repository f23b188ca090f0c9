"""What is made, what is removed, and that one of many does it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from outrider.errors import Fault
from outrider_collector.store import housekeeping, leases, partitions
from outrider_collector.store.compaction.classes import RecordClass
from outrider_collector.store.connect import connect
from outrider_collector.store.housekeeping import Housekeeper, keep_house
from tests.collector.store.making import Store, commit
from tests.waiting import eventually

if TYPE_CHECKING:
    import pytest
    from psycopg import AsyncConnection

    from outrider_collector.store.compaction.classes import Retention


def for_days(days: int) -> Retention:
    """The same retention for every class."""
    return dict.fromkeys(RecordClass, timedelta(days=days))


MONTH = for_days(30)


async def test_old_rows_go_and_young_ones_stay(store: Store) -> None:
    """Each small table loses what its rule says, and nothing else."""
    writer = store.writer()
    await commit(writer, store.batch(0, [b"old"]))
    await commit(writer, store.batch(10, [b"young"]))
    connection = store.connection
    await connection.execute(
        "update feed set committed_at = now() - interval '8 days' where number = 1"
    )
    await connection.execute(
        "insert into hits (commit_id, hits_key, key, bucket, n, streams, stream_offsets)"
        " select c, 'k', '{}', now() - age * interval '1 day', 1, '{}', '{}'"
        " from (values (1, 3), (1, 1), (2, 3)) v(c, age)"
    )
    await connection.execute(
        "insert into gaps (gap_id, commit_id, team, service, worker, host, records, at_least,"
        " bytes, reason, detected_at) select sha256(age::text::bytea), 1, 1, '', '', '', 1, false,"
        " 1, 'x', now() - age * interval '1 day' from (values (40), (1)) v(age)"
    )
    await connection.execute(
        "insert into heartbeats (component_kind, component, seen_at, due_at, collector, gauges)"
        " select 'worker', age::text, now(), now() - age * interval '1 day', '', '{}'"
        " from (values (40), (1)) v(age)"
    )
    await connection.execute(
        "insert into system_health_history (component_kind, component, to_state, at)"
        " select 'worker', 'w', 'up', now() - age * interval '1 day' from (values (40), (1)) v(age)"
    )
    await store.open(5, 6)
    await connection.execute(
        "update stream_info set closed_at = now() - interval '31 days' where id in (5, 6)"
    )
    done = await keep_house(connection, MONTH)

    assert done.deleted == {
        "feed": 1, "hits": 1, "stream_info": 2, "gaps": 1, "system_health_history": 1,
        "heartbeats": 1,
    }  # fmt: skip
    assert await store.rows("select number from feed") == [(2,)]
    assert await store.rows("select commit_id from hits order by 1") == [(1,), (2,)]
    assert await store.rows("select id from streams where id > 4") == []
    assert await store.messages() == ["old", "young"]


async def test_the_newest_feed_row_and_what_the_evaluator_lacks_stay(store: Store) -> None:
    """Numbers go on where they were after any quiet time, and no input is lost within a week."""
    writer = store.writer()
    for n in range(3):
        await commit(writer, store.batch(10 * n, [b"x"]))
    await store.connection.execute("update feed set committed_at = now() - interval '2 days'")
    await store.connection.execute("update evaluator_state set feed_number = 2")
    await keep_house(store.connection, MONTH)
    assert await store.rows("select number from feed order by 1") == [(2,), (3,)]

    await store.connection.execute("update feed set committed_at = now() - interval '9 days'")
    await keep_house(store.connection, MONTH)
    assert await store.rows("select number from feed") == [(3,)]
    result = await commit(writer, store.batch(30, [b"x"]))
    assert result.position is not None
    assert result.position.number == 4


async def test_steps_of_the_evaluator_go_with_the_feed(store: Store) -> None:
    """After a day they go; the newest stays, however old."""
    await store.connection.execute(
        "insert into evaluation_steps (step, epoch, now, feed_from, feed_to)"
        " select n, 1, now() - age * interval '1 hour', 0, 0"
        " from (values (1, 30), (2, 25), (3, 23), (4, 1)) v(n, age)"
    )
    done = await keep_house(store.connection, MONTH)
    assert done.deleted == {"evaluation_steps": 2}
    assert await store.rows("select step from evaluation_steps order by 1") == [(3,), (4,)]

    await store.connection.execute("update evaluation_steps set now = now - interval '9 days'")
    await keep_house(store.connection, MONTH)
    assert await store.rows("select step from evaluation_steps") == [(4,)]


async def test_an_ended_stream_keeps_its_place_for_as_long_as_it_is_described(
    store: Store,
) -> None:
    """Opened again after its 30 days it says where it ended; after its records are gone it is new.

    An agent that never heard of the end must neither be refused nor store its lines twice.
    """
    await commit(store.writer(), store.batch(0, [b"x"], end=11, final=True))
    await store.connection.execute(
        "update stream_info set closed_at = now() - interval '40 days' where id = 1"
    )
    await keep_house(store.connection, for_days(90))
    opened = await store.open(1)
    assert [(state.committed, opened.refused) for state in opened.states] == [(11, {})]

    await keep_house(store.connection, MONTH)
    opened = await store.open(1)
    assert [(state.committed, opened.refused) for state in opened.states] == [(0, {})]


async def _old_alert(store: Store, *, age_days: int, fate: str, state: str = "resolved") -> int:
    alert = await store.value(
        "insert into alerts (rule, key, labels, kind, priority, state, summary, started_at,"
        " rule_set, updated_at) values ('r' || %s, '{}', '{}', 'match', 'info', %s, 's', now(), 1,"
        " now() - %s * interval '1 day') returning id",
        str(age_days) + fate, state, age_days,
    )  # fmt: skip
    await store.connection.execute(
        "insert into alert_transitions (alert, step, to_state, at, concluded_at, reason)"
        " values (%s, 1, 'firing', now(), now(), '')",
        (alert,),
    )
    notice = await store.value(
        "insert into notifications (alert, notice, channel, channel_type, conversation, priority,"
        " fate, content) values (%s, 'fired', 'ops', 'email', 'c', 'info', %s, '{}') returning id",
        alert, fate,
    )  # fmt: skip
    await store.connection.execute(
        "insert into notification_attempts (notification) values (%s)", (notice,)
    )
    return int(alert)


async def test_resolved_alerts_go_with_all_that_was_told_of_them(store: Store) -> None:
    """After 400 days, or the retention where that is longer; never while a message waits."""
    old = await _old_alert(store, age_days=401, fate="sent")
    kept = [
        await _old_alert(store, age_days=399, fate="sent"),
        await _old_alert(store, age_days=500, fate="waiting"),
        await _old_alert(store, age_days=500, fate="dead", state="firing"),
    ]
    assert (await keep_house(store.connection, for_days(450))).deleted == {}
    assert (await keep_house(store.connection, MONTH)).deleted == {"alerts": 1}
    assert old not in kept
    assert [row[0] for row in await store.rows("select id from alerts order by id")] == kept
    for ledger in ("alert_transitions", "notifications"):
        found = await store.rows(f"select alert from {ledger} order by 1")
        assert [row[0] for row in found] == kept
    assert await store.value("select count(*) from notification_attempts") == 3


async def test_one_of_many_keeps_house_and_another_follows(
    database_url: str, connection: AsyncConnection
) -> None:
    """Two housekeepers: one acts; when it stops, the other takes over."""
    keepers = [Housekeeper(database_url, MONTH, holder=f"k{i}", period_s=0.05) for i in range(2)]
    stops = [asyncio.Event() for _ in keepers]
    runs = [asyncio.create_task(k.run(s)) for k, s in zip(keepers, stops, strict=True)]
    await eventually(lambda: any(keeper.last for keeper in keepers))
    acting = 0 if keepers[0].last else 1
    assert keepers[1 - acting].last is None
    stops[acting].set()
    await runs[acting]
    await eventually(lambda: keepers[1 - acting].last)
    stops[1 - acting].set()
    await runs[1 - acting]

    assert await leases.take(connection, housekeeping.LEASE, "test", 1)


async def test_a_round_that_outlasts_the_lease_keeps_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One statement of a round may take longer; nobody takes over and ends it in the middle."""
    expiries: list[object] = []

    async def long_round(*_: object, **__: object) -> housekeeping.Round:
        async with asyncio.timeout(20):
            while len(expiries) < 4:
                found = await store.value(
                    "select expires_at from leases where name = 'housekeeper'"
                )
                if found not in expiries:
                    expiries.append(found)
                await asyncio.sleep(0.02)
        return housekeeping.Round([], [], {})

    monkeypatch.setattr(housekeeping, "keep_house", long_round)
    keeper = Housekeeper(store.url, MONTH, holder="k", period_s=0.3)
    stop = asyncio.Event()
    run = asyncio.create_task(keeper.run(stop))
    await eventually(lambda: keeper.last)
    stop.set()
    await run
    assert len(set(expiries)) == 4


async def test_a_missing_hour_is_made_when_a_writer_asks(store: Store) -> None:
    """A commit that finds no partition fails without harm; after the wake-up it is stored."""
    connection = store.connection
    async with await connect(store.url, application_name="test") as other:
        assert await leases.take(other, housekeeping.LEASE, "somebody else", 3600)
        keeper = Housekeeper(store.url, MONTH, holder="k", period_s=3600)
        stop = asyncio.Event()
        run = asyncio.create_task(keeper.run(stop))
        names = await store.rows(
            "select inhrelid::regclass::text from pg_inherits"
            " where inhparent = 'blocks_fresh'::regclass"
        )
        await connection.execute("drop table " + ", ".join(name for (name,) in names))
        writer = store.writer(missing_partition=keeper.wake)
        async with asyncio.timeout(20):
            while True:
                try:
                    result = await commit(writer, store.batch(0, [b"x"]))
                    break
                except Fault:
                    await asyncio.sleep(0.05)
        # The writer may go on as soon as the present hour is there.
        while await partitions.hours_left(connection) < partitions.HOURS_AHEAD:
            await asyncio.sleep(0.02)
        stop.set()
        await run

    assert result.acked == {1: 10}
    assert await store.value("select count(*) from quarantine") == 0


async def test_an_outage_is_waited_out() -> None:
    """A database that is away ends neither the loop nor the process."""
    keeper = Housekeeper("host=127.0.0.1 port=1", MONTH, holder="k", period_s=0.05)
    stop = asyncio.Event()
    run = asyncio.create_task(keeper.run(stop))
    await asyncio.sleep(0.2)
    assert not run.done()
    stop.set()
    async with asyncio.timeout(5):
        await run
