"""The ingest transaction on a real Postgres: what is claimed, and what becomes of the rest."""

from __future__ import annotations

import asyncio

import pytest

from outrider_alerting.hits import Hit
from outrider_collector.store import agents, feed
from outrider_collector.store.claim import Gap, Rewind
from outrider_collector.store.writer import RuleSetChanged
from tests.collector.store.making import Store, commit, digest, make_columns, now_us


async def test_a_commit_stores_records_and_moves_the_stream(store: Store) -> None:
    """What is acknowledged is in Postgres, and the position names the commit."""
    writer = store.writer()
    result = await commit(writer, store.batch(0, [b"one", b"two"], framer_state=b"open"))

    assert result.acked == {1: 20}
    assert result.records == 2
    assert await store.messages() == ["one", "two"]
    rows = await store.rows("select committed, tail, framer_state from streams where id = 1")
    assert rows == [(20, digest(20), b"open")]
    assert result.position == await feed.newest(store.connection)
    assert await store.rows("select kind, detail from feed") == [
        ("ingest", {"records": 2, "gaps": 0, "hits": 0})
    ]


async def test_consecutive_batches_of_a_stream_go_into_one_commit(store: Store) -> None:
    """A chain of batches is claimed as one and stored in one block."""
    first, second = store.batch(0, [b"one"]), store.batch(10, [b"two", b"three"])
    result = await commit(store.writer(), first, second, store.batch(0, [b"x"], stream=2))

    assert result.acked == {1: 30, 2: 10}
    assert await store.messages() == ["one", "two", "three", "x"]
    assert await store.rows("select n, stream_ids from blocks_fresh") == [(4, [1, 2])]


async def test_what_is_committed_is_acknowledged_again(store: Store) -> None:
    """A batch that comes again is not stored again, and its answer names a position."""
    writer = store.writer()
    first = await commit(writer, store.batch(0, [b"one"]))
    again = await commit(writer, store.batch(0, [b"one"]))

    assert again.acked == {1: 10}
    assert again.records == 0
    assert again.position == first.position
    assert await store.messages() == ["one"]


async def test_the_front_of_a_chain_may_be_committed_already(store: Store) -> None:
    """After a lost answer the rest of the chain is stored, the front is not stored twice."""
    writer = store.writer()
    await commit(writer, store.batch(0, [b"one"]))
    result = await commit(writer, store.batch(0, [b"one"]), store.batch(10, [b"two"]))

    assert result.acked == {1: 20}
    assert await store.messages() == ["one", "two"]


@pytest.mark.parametrize(
    ("begin", "previous"),
    [(30, digest(30)), (10, b"another digest!!"), (5, digest(5))],
    ids=["beyond", "other bytes before", "astride"],
)
async def test_what_does_not_continue_the_stream_is_rewound(
    store: Store, begin: int, previous: bytes
) -> None:
    """The agent learns where the database stands, and nothing is stored."""
    writer = store.writer()
    await commit(writer, store.batch(0, [b"one"], framer_state=b"f"))
    batch = store.batch(begin, [b"x"], previous_digest=previous)
    result = await commit(writer, batch)

    assert result.rewinds == [Rewind(1, 10, digest(10), b"f")]
    assert not result.acked
    assert await store.messages() == ["one"]


async def test_the_same_end_with_other_bytes_is_rewound(store: Store) -> None:
    """A clone that wrote something else up to the same offset is not told that it is stored."""
    writer = store.writer()
    await commit(writer, store.batch(0, [b"one"]))
    result = await commit(writer, store.batch(0, [b"two"], digest=b"another digest!!"))

    assert not result.acked
    assert result.rewinds == [Rewind(1, 10, digest(10), b"")]


async def test_an_older_session_is_fenced(store: Store) -> None:
    """Once the agent said hello again, batches of the session before are refused."""
    old = store.batch(0, [b"old"])
    await agents.begin_session(store.connection, store.agent, instance=b"j" * 16)
    result = await commit(store.writer(), old)

    assert result.fenced == [old]
    assert not result.acked
    assert await store.committed() == 0


async def test_revocation_acts_inside_the_commit(store: Store) -> None:
    """A revoked agent's batches are refused although its session is the newest."""
    batch = store.batch()
    assert await agents.revoke(store.connection, store.agent)
    result = await commit(store.writer(), batch)

    assert result.fenced == [batch]
    assert await store.messages() == []


async def test_a_stream_of_another_agent_is_refused(store: Store) -> None:
    """Who knows a stream's id cannot write to it."""
    other, _ = await agents.enroll(store.connection, 1, "web-2")
    session = await agents.begin_session(store.connection, other, instance=b"k" * 16)
    batch = store.batch(agent=other, session=session)
    result = await commit(store.writer(), batch)

    assert result.fenced == [batch]
    assert await store.messages() == []


async def test_an_unknown_stream_is_named(store: Store) -> None:
    """A stream that the database does not have is neither stored nor rewound."""
    batch = store.batch(stream=99)
    result = await commit(store.writer(), batch)

    assert result.unknown == [batch]
    assert result.position is None


async def test_a_row_held_by_another_transaction_is_deferred(store: Store) -> None:
    """One stream's wait does not hold up the others."""
    waiting = store.batch(0, [b"one"])
    writer = store.writer()
    async with store.connection.transaction():
        await store.connection.execute("select from streams where id = 1 for update")
        result = await commit(writer, waiting, store.batch(0, [b"two"], stream=2))
        assert result.deferred == [waiting]
        assert result.acked == {2: 10}
    result = await commit(writer, waiting)

    assert result.acked == {1: 10}
    assert await store.messages() == ["one", "two"]


async def test_two_writers_with_the_same_batch_store_it_once(store: Store) -> None:
    """Whoever is second acknowledges, rewinds or waits, but stores nothing."""
    writers = [store.writer() for _ in range(2)]
    total = 30
    for n in range(total):
        batch = store.batch(n * 10, [b"line %d" % n])
        results = await asyncio.gather(*(commit(w, batch) for w in writers))
        outcomes = [bool(r.acked) or r.deferred == [batch] for r in results]
        assert outcomes == [True, True]
        assert sum(r.records for r in results) == 1

    assert await store.messages() == [f"line {n}" for n in range(total)]


async def test_writers_that_alternate_on_one_stream_lose_and_double_nothing(store: Store) -> None:
    """Two writers race along one stream, each from where it last was told, to the end."""
    total = 60

    async def push() -> None:
        writer, at = store.writer(), 0
        while at < total * 10:
            result = await commit(writer, store.batch(at, [b"%d" % (at // 10)]))
            at = result.acked.get(1, at)
            for rewind in result.rewinds:
                at = rewind.committed
            await asyncio.sleep(0)

    await asyncio.gather(push(), push())

    assert await store.messages() == [str(n) for n in range(total)]


async def test_identical_lines_are_all_stored(store: Store) -> None:
    """10,000 identical lines are 10,000 rows."""
    await commit(store.writer(), store.batch(0, [b"the same"] * 10_000))

    assert await store.value("select count(*) from logs where message = 'the same'") == 10_000


async def test_an_empty_batch_moves_the_watermark_but_never_past_the_clock(store: Store) -> None:
    """A watermark is stored without records, rises only, and is at most the database's now."""
    writer = store.writer()
    behind, ahead = now_us() - 60_000_000, now_us() + 3_600_000_000
    for watermark in (behind, ahead, behind):
        result = await commit(writer, store.batch(0, [], watermark_us=watermark))
        assert result.acked == {1: 0}
    late = await store.value(
        "select watermark between now() - interval '10 s' and now() from streams where id = 1"
    )

    assert late is True


async def test_losses_become_gap_rows_once(store: Store) -> None:
    """Gaps are rows, told again they stay one, even without a claim."""
    gap = Gap(0, 0, 5, at_least=True, reason="vanished", gap_id=b"g" * 16, detail="a\0b")
    told = store.batch(0, [], end=0, gaps=[gap], watermark_us=now_us())
    range_gap = Gap(0, 50, 7, at_least=False, reason="truncated", gap_id=b"t" * 16, severity_max=5)
    lossy = store.batch(0, [], end=50, gaps=[range_gap])
    writer = store.writer()
    await commit(writer, told)
    await commit(writer, lossy)
    await commit(writer, lossy)
    await commit(writer, told)

    rows = await store.rows(
        "select reason, records, at_least, begin_offset, end_offset, bytes, detail, worker,"
        " severity_max, detected_at > now() - interval '1 minute' from gaps order by id"
    )
    assert rows == [
        ("vanished", 5, True, 0, 0, 0, "a\N{REPLACEMENT CHARACTER}b", "w1", None, True),
        ("truncated", 7, False, 0, 50, 50, "", "w1", 5, True),
    ]


async def test_the_last_batch_closes_its_stream(store: Store) -> None:
    """A final batch ends the stream in the commit that stores it."""
    await commit(store.writer(), store.batch(0, [b"bye"], final=True), store.batch(stream=2))

    rows = await store.rows("select id, closed_at is not null from stream_info order by id")
    assert rows == [(1, True), (2, False)]


async def test_a_stream_that_has_its_end_gets_no_other(store: Store) -> None:
    """A second end, somewhere else, is rewound: no gap is told, nothing moves."""
    writer = store.writer()
    last = store.batch(0, [b"bye"], end=11, final=True, digest=b"")
    gap = Gap(11, 50, 1, at_least=True, reason="truncated", gap_id=b"t" * 16)
    again = store.batch(11, [], end=12, previous_digest=b"", digest=b"", gaps=[gap], final=True)
    together = await commit(writer, last, again)
    refused = await commit(writer, *together.deferred)
    repeated = await commit(writer, last)

    assert (together.acked, together.deferred) == ({1: 11}, [again])
    assert (refused.acked, refused.rewinds) == ({}, [Rewind(1, 11, b"", b"")])
    assert (repeated.acked, repeated.rewinds) == ({1: 11}, [])
    assert await store.rows("select committed from streams where id = 1") == [(11,)]
    assert await store.rows("select reason from gaps") == []


async def test_a_stream_goes_on_behind_an_empty_digest_that_is_no_end(store: Store) -> None:
    """Only what closed a stream ends it."""
    writer = store.writer()
    await commit(writer, store.batch(0, [b"one"], digest=b""))
    result = await commit(writer, store.batch(10, [b"two"], previous_digest=b""))

    assert result.acked == {1: 20}
    assert await store.messages() == ["one", "two"]


async def test_hits_are_stored_with_the_records_they_count(store: Store) -> None:
    """Hits of several batches are merged by key and second; hostile keys are stored safely."""
    bucket = now_us() // 1_000_000 * 1_000_000

    def hit(columns: object) -> list[Hit]:
        del columns
        key = ('a"b\\c', "nul\0{}")
        return [Hit(hits_key=b"rule", key=key, bucket_us=bucket, n=2, names=((1, 0),))]

    writer = store.writer()
    batches = [store.batch(0, [b"x"]), store.batch(0, [b"y"], stream=2)]
    result = await writer.commit(batches, hit, None)
    again = await writer.commit(batches, hit, None)

    assert (result.records, again.records) == (2, 0)
    rows = await store.rows(
        "select h.hits_key, h.key, h.n, h.streams, h.stream_offsets, f.number"
        " from hits h join feed f using (commit_id)"
    )
    assert rows == [(b"rule", ['a"b\\c', "nul\N{REPLACEMENT CHARACTER}{}"], 4, [1, 1], [0, 0], 1)]


async def test_another_rule_set_stops_the_commit_before_anything_is_stored(store: Store) -> None:
    """Hits are never counted by rules that are not active."""
    await store.connection.execute(
        "insert into rule_sets (version, applied_by, files, minimum_engine)"
        " values (7, 'test', '[]', 1);"
        "insert into active_rule_set (version) values (7)"
    )
    writer = store.writer()
    with pytest.raises(RuleSetChanged) as caught:
        await commit(writer, store.batch())
    assert caught.value.version == 7
    assert await store.committed() == 0

    result = await writer.commit([store.batch()], lambda _: [], 7)
    assert result.acked == {1: 10}


async def test_a_commit_waits_for_an_activation_under_way(store: Store) -> None:
    """The version is read after the rules' lock is granted: no hit is missed at a change."""
    writer = store.writer()
    await writer.open()
    async with store.connection.transaction():
        await store.connection.execute("select pg_advisory_xact_lock(rules_lock_key())")
        await store.connection.execute(
            "insert into rule_sets (version, applied_by, files, minimum_engine)"
            " values (8, 'test', '[]', 1)"
        )
        await store.connection.execute("insert into active_rule_set (version) values (8)")
        racing = asyncio.create_task(commit(writer, store.batch()))
        await _until_waiting(store, "advisory")
    with pytest.raises(RuleSetChanged) as caught:
        await racing

    assert caught.value.version == 8


async def test_statements_are_prepared_once(store: Store) -> None:
    """Absent columns, small and large numbers do not make new prepared statements."""
    writer = store.writer()
    await commit(writer, store.batch(0, [b"a"]), store.batch(0, [b"b"] * 40_0, stream=2))
    columns = make_columns([None], stream=1, begin=10, event=make_columns([b"x"]).logger)
    await commit(writer, store.batch(10, [b"c"], columns=columns))
    assert writer._connection is not None
    cursor = await writer._connection.execute(
        "select count(*) from pg_prepared_statements where statement like '%into blocks_fresh%'"
    )

    assert await cursor.fetchone() == (1,)


async def _until_waiting(store: Store, kind: str) -> None:
    async with asyncio.timeout(10):
        while not await store.value(
            "select count(*) from pg_locks where not granted and locktype = %s and database ="
            " (select oid from pg_database where datname = current_database())",
            kind,
        ):
            await asyncio.sleep(0.01)
