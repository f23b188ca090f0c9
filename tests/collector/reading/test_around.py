"""One record by name and its neighbours."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from outrider.errors import Fault
from outrider_collector.store.reading import logs
from tests.collector.reading.rows import BASE, HOUR, Record, Source, commit

if TYPE_CHECKING:
    from psycopg import AsyncConnection

PAY = Source(1, "payments", "pay-1")
OTHER = Source(2, "payments", "pay-2")


async def stored(owner: AsyncConnection[Any]) -> None:
    """Store a stream whose times stand still and run back, over hours, beside another."""
    for step in range(30):
        moment = BASE + step * timedelta(minutes=13)
        records = [
            Record(PAY, step * 10 + i, moment - timedelta(minutes=step % 3)) for i in range(3)
        ]
        records += [Record(OTHER, step * 10 + i, moment) for i in range(3)]
        await commit(owner, records, moment + timedelta(seconds=1))


@pytest.mark.parametrize("search", ["hinted", "everywhere"])
async def test_context_is_the_stream_in_its_own_order(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any], search: str
) -> None:
    """Neighbours are those by offset in the same stream, whatever their times say."""
    await stored(owner)
    offsets = [step * 10 + i for step in range(30) for i in range(3)]
    for before, after, place in ((10, 10, 45), (0, 3, 0), (500, 0, 89), (500, 500, 40)):
        centre = offsets[place]
        row = await logs.record(reader, PAY.id, centre)
        near = row.ts if search == "hinted" else None
        rows = await logs.context(reader, PAY.id, centre, before, after, near=near)
        assert [r.stream_offset for r in rows] == offsets[
            max(place - before, 0) : place + after + 1
        ]
        assert {r.stream for r in rows} == {PAY.id}


async def test_a_record_is_found_by_its_name(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """A record is found by stream and offset, also where the hint about its time is wrong."""
    await stored(owner)
    row = await logs.record(reader, PAY.id, 122, near=BASE - HOUR)
    assert (row.stream, row.stream_offset, row.worker) == (PAY.id, 122, "pay-1")


async def test_what_is_not_there_is_not_found(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """A stream or offset that is not stored is NOT_FOUND and says what is missing."""
    await stored(owner)
    for stream, offset in ((PAY.id, 5), (99, 0)):
        with pytest.raises(Fault, match=str(stream)) as caught:
            await logs.record(reader, stream, offset)
        assert caught.value.reason == "NOT_FOUND"
