"""`logs` and `logs_between`: the records as they were sent, and only the blocks that can matter."""

from __future__ import annotations

import json
from array import array
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from outrider.columns import pack_dictionary, pack_text
from tests.collector.store.making import Store, commit, make_columns, now_us

if TYPE_CHECKING:
    from outrider.columns import Columns

HOUR_US = 3_600_000_000
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


def _full(n: int, *, stream: int, begin: int, ts_us: list[int]) -> Columns:
    """Records with every column, null here and there."""
    trace = bytes(range(16))
    return replace(
        make_columns([b"line %d" % i if i % 3 else None for i in range(n)], begin=begin),
        stream=stream,
        ts_us=array("q", ts_us),
        severity=bytes([1, 5, 9, 13, 17, 21, 24][i % 7] for i in range(n)),
        attributes_raw=pack_text([b'{"n": %d}' % i if i % 2 else None for i in range(n)]),
        trace_id_raw=pack_text([trace if i % 5 == 0 else None for i in range(n)]),
        correlation_id_raw=pack_text(["é-%d".encode() % i if i % 4 else None for i in range(n)]),
        logger=pack_dictionary(["a.b" if i % 2 else None for i in range(n)]),
        event=pack_dictionary([f"job.{i}" for i in range(n)]),
        error_code=pack_dictionary(["E_X" if i == 3 else None for i in range(n)]),
    )


def _expected(columns: Columns) -> list[tuple[Any, ...]]:
    levels = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
    return [
        (
            EPOCH + timedelta(microseconds=columns.ts_us[i]),
            columns.severity[i],
            levels[(columns.severity[i] - 1) // 4],
            columns.logger.texts(columns.n)[i],
            columns.event.texts(columns.n)[i],
            columns.message[i],
            columns.error_code.texts(columns.n)[i],
            columns.trace_id[i],
            columns.correlation_id[i],
            json.loads(columns.attributes[i] or "null"),
            columns.stream,
            columns.stream_offset[i],
        )
        for i in range(columns.n)
    ]


_ROWS = (
    " ts, severity, level, logger, event, message, error_code, replace(trace_id::text, '-', ''),"
    " correlation_id, attributes, stream, stream_offset "
)


async def test_what_was_sent_is_what_is_read(store: Store) -> None:
    """Every column of every record comes back, nulls included, from blocks of several streams.

    One batch has all columns, one has none of the optional, one has 300 values in a dictionary.
    """
    now = now_us()
    full = _full(20, stream=1, begin=0, ts_us=[now + i for i in range(20)])
    bare = make_columns([None, b"x"], stream=1, begin=200, event=pack_dictionary([None, None]))
    wide = _full(300, stream=2, begin=0, ts_us=[now - i for i in range(300)])
    await commit(
        store.writer(),
        store.batch(0, [b"x"] * 20, columns=full),
        store.batch(200, [b"x"] * 2, columns=bare),
        store.batch(0, [b"x"] * 300, stream=2, columns=wide),
    )
    rows = await store.rows(f"select {_ROWS} from logs order by stream, stream_offset")
    between = await store.rows(
        f"select {_ROWS} from logs_between(now() - interval '1 hour', now() + interval '1 hour')"
        " order by stream, stream_offset"
    )

    assert rows == _expected(full) + _expected(bare) + _expected(wide)
    assert between == rows
    block = await store.rows(
        "select n, ts_min, ts_max, level_counts, stream_ids, cardinality(events), error_codes,"
        " trace_id is null from blocks_fresh"
    )
    times = [row[0] for row in rows]
    levels = [[row[2] for row in rows].count(level)
              for level in ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")]  # fmt: skip
    assert block == [(322, min(times), max(times), levels, [1, 2], 300, ["E_X"], False)]


async def test_columns_nobody_filled_are_null(store: Store) -> None:
    """An absent column takes no room."""
    await commit(store.writer(), store.batch(0, [b"only a message"]))

    rows = await store.rows(
        "select num_nulls(attributes, trace_id, correlation_id, logger, error_code, error_codes),"
        " num_nulls(message, event, events) from blocks_fresh"
    )
    assert rows == [(6, 0)]


async def test_replayed_records_have_blocks_of_their_own(store: Store) -> None:
    """The mark holds for whole blocks, so marked and unmarked records never share one."""
    await commit(
        store.writer(),
        store.batch(0, [b"again"], replayed=True),
        store.batch(0, [b"new"], stream=2),
    )

    rows = await store.rows("select replayed, message from blocks_fresh order by replayed")
    assert rows == [(False, ["new"]), (True, ["again"])]


async def test_attributes_that_are_no_json_break_no_query(store: Store) -> None:
    """One bad text is shown as text; the lines around it are read as ever."""
    texts = [b"{not json", b'{"a": "\\u0000"}', b'{"ok": 1}', b'{"big": 1e999999}']
    columns = make_columns([b"x"] * 4, attributes_raw=pack_text(texts))
    await commit(store.writer(), store.batch(0, [b"x"] * 4, columns=columns))
    rows = await store.rows("select attributes from logs order by stream_offset")

    for (attributes,), text in zip(rows, texts, strict=True):
        if text != texts[2]:
            assert attributes == {"outrider.unreadable": text.decode()}
    assert rows[2] == ({"ok": 1},)


@pytest.mark.parametrize("ahead_us", [HOUR_US - 60_000_000, HOUR_US + 60_000_000, 50 * HOUR_US])
async def test_a_record_from_the_future_is_found_by_its_time(store: Store, ahead_us: int) -> None:
    """What the writer admits is exactly what pruning by hour of arrival can find."""
    at = now_us() + ahead_us
    columns = make_columns([b"early bird"], ts_us=array("q", [at]))
    await commit(store.writer(), store.batch(0, [b"x"], columns=columns))
    ((ts,),) = await store.rows("select ts from logs")
    found = await store.rows(
        "select message from logs_between(%s, %s)", ts, ts + timedelta(microseconds=1)
    )

    assert found == [("early bird",)]
    admitted = ts == EPOCH + timedelta(microseconds=at)
    assert admitted == (ahead_us < HOUR_US)


async def test_a_record_far_in_the_past_is_found_by_its_time(store: Store) -> None:
    """Arrival long after the event hides nothing."""
    at = now_us() - 5000 * HOUR_US
    columns = make_columns([b"late"], ts_us=array("q", [at]))
    await commit(store.writer(), store.batch(0, [b"x"], columns=columns))
    ts = EPOCH + timedelta(microseconds=at)

    assert await store.rows(
        "select message from logs_between(%s, %s)", ts, ts + timedelta(seconds=1)
    ) == [("late",)]


async def _spread(store: Store, hours: int, blocks: int) -> None:
    """Hours of the past with many blocks each, as if they had arrived then."""
    writer = store.writer()
    await commit(writer, store.batch(0, [b"x"]))
    for ago in range(1, hours + 1):
        await store.connection.execute(
            f"do $$ declare h timestamptz := date_trunc('hour', now()) - {ago} * interval '1 hour';"
            " begin execute format('create table if not exists blocks_fresh_%s"
            " partition of blocks_fresh for values from (%L) to (%L)',"
            " to_char(h, 'YYYYMMDDHH24'), h, h + interval '1 hour');"
            " end $$"
        )
        await store.connection.execute(
            "insert into blocks_fresh select t, 1, 1, 'service' || i %% 50, 1, t, t, level_counts,"
            " stream_ids, null, null, array[t], array[t], stream, stream_offset, severity, message,"
            " null, null, null, null, null, null, false"
            " from blocks_fresh b, generate_series(0, %(blocks)s - 1) i, lateral (select"
            " date_trunc('hour', now()) - %(ago)s * interval '1 hour' + i * interval '1 s') x(t)"
            " where b.service = 'shop'",
            {"ago": ago, "blocks": blocks},
        )
    await store.connection.execute("analyze")


async def _plan(store: Store, query: str) -> str:
    rows = await store.rows(f"explain (analyze, costs off, timing off, summary off) {query}")
    return "\n".join(line for (line,) in rows)


@pytest.mark.parametrize(
    "query",
    [
        "message from logs_between(now() - interval '9 min', now())",
        "message from logs_between(now() - interval '9 min', now()) where service = 'service7'",
        "count(*) from logs_between(date_trunc('hour', now()), 'infinity') where severity >= 17",
    ],
)
async def test_hours_are_pruned_for_now(store: Store, query: str) -> None:
    """Hours of arrival that ended more than an hour before the range are not touched."""
    await _spread(store, hours=6, blocks=300)
    plan = await _plan(store, f"select {query}")

    old = [
        await store.value(
            "select to_char(now() - %s * interval '1 hour', '\"blocks_fresh_\"YYYYMMDDHH24')", ago
        )
        for ago in (4, 5, 6)
    ]
    assert "Function Scan on logs_between" not in plan, plan
    for name in old:
        assert f"{name} " not in plan or f"{name} b (never executed)" in plan, plan
    assert "Subplans Removed" in plan, plan


async def test_blocks_are_found_by_index(store: Store) -> None:
    """Within an hour, blocks outside the range of time are passed over without being read."""
    await _spread(store, hours=2, blocks=3000)
    of_service = await _plan(
        store,
        "select ts, message from logs_between(date_trunc('hour', now()) - interval '20 min',"
        " date_trunc('hour', now()) - interval '15 min') where service = 'service7'",
    )
    of_all = await _plan(
        store,
        "select ts, message from logs_between(date_trunc('hour', now()) - interval '62 min',"
        " date_trunc('hour', now()) - interval '61 min')",
    )

    assert "service_ts_max_idx" in of_service, of_service
    assert "ts_max_idx" in of_all, of_all
