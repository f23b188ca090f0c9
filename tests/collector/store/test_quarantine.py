"""Poisoned records: found, kept aside with a reason, and out of everybody's way."""

from __future__ import annotations

import json
from array import array
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from outrider.columns import DictionaryColumn, pack_text
from outrider_collector.store import quarantine
from tests.collector.store.making import Store, commit, digest, make_columns

if TYPE_CHECKING:
    from outrider.columns import Columns

NUL = b"bad \0 byte"
NOT_UTF8 = b"bad \xff byte"


async def _kept(store: Store) -> list[tuple[object, ...]]:
    return await store.rows(
        "select stream, begin_offset, end_offset, sqlstate from quarantine order by id"
    )


@pytest.mark.parametrize("poison", [NUL, NOT_UTF8], ids=["NUL", "not UTF-8"])
async def test_one_poisoned_record_is_kept_aside_and_all_others_stored(
    store: Store, poison: bytes
) -> None:
    """One bad record in a commit of many: every other record is stored, the stream moves on."""
    lines = [b"line %d" % n for n in range(100)]
    bad = [*lines[:37], poison, *lines[38:]]
    batches = [store.batch(0, bad), store.batch(0, lines, stream=2)]
    result = await commit(store.writer(), *batches)

    assert result.acked == {1: 1000, 2: 1000}
    assert (result.records, result.quarantined) == (199, 1)
    assert await _kept(store) == [(1, 370, 380, "22021")]
    payload = json.loads(bytes(await store.value("select payload from quarantine")))
    assert payload["message"].encode("utf-8", "surrogateescape") == poison
    assert payload["stream_offset"] == 370
    expected = [line.decode() for n, line in enumerate(lines) if n != 37]
    assert await store.messages() == expected + [line.decode() for line in lines]
    gaps = await store.rows("select stream, begin_offset, end_offset, records, reason from gaps")
    assert gaps == [(1, 370, 380, 1, "quarantined")]


async def test_a_quarantined_record_is_not_asked_for_again(store: Store) -> None:
    """The same batch again is acknowledged again; nothing more is kept."""
    writer = store.writer()
    batch = store.batch(0, [NUL, b"good"])
    await commit(writer, batch)
    again = await commit(writer, batch)

    assert again.acked == {1: 20}
    assert len(await _kept(store)) == 1
    assert await store.value("select count(*) from gaps") == 1
    assert await store.messages() == ["good"]


async def test_hits_count_only_what_was_stored(store: Store) -> None:
    """Rules see the records that are in blocks, not the one in quarantine."""
    counted: list[int] = []

    def hits(columns: Columns) -> list[object]:
        counted.append(columns.n)
        return []

    await store.writer().commit([store.batch(0, [b"a", NUL, b"b"])], hits, None)  # type: ignore[arg-type]  # records what it is called with

    assert sum(counted) == 2


def _short_message(columns: Columns) -> Columns:
    return replace(columns, message_raw=columns.message_raw[:-3])


def _one_value_too_many(columns: Columns) -> Columns:
    return replace(columns, message_raw=columns.message_raw + pack_text([b"more"]))


def _short_trace_ids(columns: Columns) -> Columns:
    return replace(columns, trace_id_raw=pack_text([b"short"] * columns.n))


def _index_beyond_table(columns: Columns) -> Columns:
    return replace(columns, logger=DictionaryColumn(("a",), b"\x05\x06"))


@pytest.mark.parametrize(
    "breaks", [_short_message, _one_value_too_many, _short_trace_ids, _index_beyond_table]
)
async def test_broken_columns_hurt_only_their_own_batch(store: Store, breaks: object) -> None:
    """A batch whose columns cannot be read is kept whole; others of the commit are stored."""
    assert callable(breaks)
    broken = breaks(make_columns([b"one", b"two"]))
    batches = [
        store.batch(0, [b"one", b"two"], columns=broken),
        store.batch(0, [b"good"], stream=2),
    ]
    result = await commit(store.writer(), *batches)

    assert result.acked == {1: 20, 2: 10}
    assert result.quarantined == 2
    assert await store.messages() == ["good"]
    rows = await store.rows("select sum(records) from gaps where reason = 'quarantined'")
    assert rows == [(2,)]
    assert (await store.rows("select tail from streams where id = 1")) == [(digest(20),)]


async def test_halving_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch full of poison costs a bounded number of inserts, and nothing of it is lost."""
    monkeypatch.setattr(quarantine, "MAX_TRIES", 20)
    batch = store.batch(0, [NUL] * 500 + [b"good"])
    result = await commit(store.writer(), batch)

    assert result.acked == {1: 5010}
    rows = await store.rows("select payload, begin_offset, end_offset from quarantine order by id")
    kept = [json.loads(line) for row in rows for line in bytes(row[0]).splitlines()]
    assert len(kept) + result.records == 501
    assert result.quarantined == len(kept)
    spans = [(begin, end) for _, begin, end in rows]
    assert spans[0][0] == 0
    assert all(left[1] == right[0] for left, right in pairwise(spans))


async def test_absurd_times_are_replaced_and_kept_as_evidence(store: Store) -> None:
    """Event times that no reader could show or find are the observed time, marked."""
    columns = make_columns([b"past", b"far", b"fine"])
    fine, absurd = columns.ts_us[2], [-(2**63), 2**62]
    odd = replace(
        columns,
        ts_us=array("q", [*absurd, fine]),
        attributes_raw=pack_text([None, b' {"a": 1} ', None]),
    )
    result = await commit(store.writer(), store.batch(0, [b"x"] * 3, columns=odd))

    assert (result.records, result.quarantined) == (3, 0)
    rows = await store.rows("select attributes, ts = observed_at from logs order by stream_offset")
    assert rows[0] == ({"outrider.event_time_us": absurd[0]}, True)
    assert rows[1] == ({"outrider.event_time_us": absurd[1], "a": 1}, True)
    assert rows[2][0] is None
