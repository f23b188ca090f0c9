"""The completeness line: what is claimed is true, and what is not known is named."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from psycopg.types.json import Jsonb

from outrider.errors import Fault
from outrider.filter import parse
from outrider_collector.store.reading import fleet, logs
from outrider_collector.store.reading import health as status
from outrider_collector.store.reading.completeness import completeness, sentence, text
from outrider_collector.store.reading.types import (
    Completeness,
    Gap,
    LaggingWorker,
    SilentAgent,
)
from tests.collector.reading.rows import BASE, HOUR, Source, born

if TYPE_CHECKING:
    from psycopg import AsyncConnection

PAY = Source(1, "payments", "pay-1", "host-1", agent=1)
ETL = Source(2, "etl", "ledger-2", "host-2", agent=2)
NEWS = Source(3, "scrapers", "news-1", "edge-2", agent=3)
S = timedelta(seconds=1)


async def health(
    owner: AsyncConnection[Any], kind: str, component: str, state: str, gauges: dict[str, Any]
) -> None:
    """Store a component's state and heartbeat."""
    await owner.execute(
        "insert into system_health (component_kind, component, state, since)"
        " values (%s, %s, %s, %s)",
        (kind, component, state, BASE),
    )
    await owner.execute(
        "insert into heartbeats (component_kind, component, seen_at, due_at, collector, gauges)"
        " values (%s, %s, %s, %s, 'c', %s)",
        (kind, component, BASE - 60 * S, BASE, Jsonb(gauges)),
    )


async def gap(owner: AsyncConnection[Any], stream: Source, records: int = 37, **more: Any) -> int:
    """Store a gap of a stream; return its id."""
    row = await (
        await owner.execute(
            "insert into gaps (commit_id, team, agent, stream, service, worker, host, records,"
            " at_least, bytes, reason, from_at, detected_at)"
            " values (1, 1, %s, %s, %s, %s, %s, %s, %s, 4100, 'truncated', %s, %s) returning id",
            (stream.agent, stream.id, stream.service, stream.worker, stream.host, records,
             more.get("at_least", False), more.get("from_at"), BASE),
        )
    ).fetchone()  # fmt: skip
    assert row is not None
    number: int = row[0]
    return number


async def state(reader: AsyncConnection[Any], filter_: str = "") -> Completeness:
    """Return the completeness of the hour before BASE."""
    return await completeness(reader, parse(filter_), BASE - HOUR, BASE + S)


async def test_the_oldest_watermark_is_the_time(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """All is complete up to the oldest watermark of the streams in scope."""
    await born(owner, PAY, BASE - 2 * S)
    await born(owner, ETL, BASE - 9 * S)
    found = await state(reader)
    assert (found.complete_up_to, found.whole, found.streams) == (BASE - 9 * S, True, 2)
    assert (await state(reader, "service:payments")).complete_up_to == BASE - 2 * S
    assert (await state(reader, "error worker:ledger-2")).complete_up_to == BASE - 9 * S


async def test_exceptions_are_named_and_hold_nobody_back(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """Lagging workers, silent agents and gaps are exceptions; the rest is complete."""
    await born(owner, PAY, BASE - 2 * S)
    await born(owner, ETL, BASE - 300 * S)
    await born(owner, NEWS, BASE - 250 * S)
    await health(owner, "worker", "etl/ledger-2@host-2", "lagging", {"backlog_bytes": 2_100_000})
    await health(owner, "agent", "3", "silent", {})
    number = await gap(owner, ETL)
    found = await state(reader)
    assert found.complete_up_to == BASE - 2 * S
    assert [(w.worker, w.backlog_bytes) for w in found.lagging] == [("ledger-2", 2_100_000)]
    assert [(a.agent, a.host) for a in found.silent] == [(3, "edge-2")]
    assert ([g.id for g in found.gaps], found.gaps_total) == ([number], 1)
    assert text(sentence(found, BASE)) == (
        "Complete up to 09:59:58 UTC, except ledger-2, 2.1 MB behind, host edge-2, silent since "
        f"09:59:00 UTC, and gap #{number}, 37 lines."
    )
    assert (await state(reader, "service:payments")).whole


async def test_our_own_lag_is_nobodys(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """Where all stand still, as with a stopped collector, the time is old and nobody is blamed."""
    await born(owner, PAY, BASE - 600 * S)
    await born(owner, ETL, BASE - 605 * S)
    found = await state(reader)
    assert (found.complete_up_to, found.lagging) == (BASE - 605 * S, [])


async def test_what_cannot_touch_the_range_is_left_out(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """A worker that lags behind a later time than the range's end is no exception to it."""
    await born(owner, PAY, BASE)
    await born(owner, ETL, BASE - 60 * S)
    await gap(owner, ETL)
    earlier = await completeness(reader, parse(""), BASE - 2 * HOUR, BASE - HOUR)
    assert earlier.whole


async def test_closed_revoked_and_retired_hold_nothing_back(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """Streams that ended, and agents that were stopped or revoked, are waited for no longer."""
    for stream in (PAY, ETL, NEWS, Source(4, agent=4)):
        await born(owner, stream, BASE - stream.id * 100 * S)
    await owner.execute("update stream_info set closed_at = now() where id = %s", (ETL.id,))
    await owner.execute("update agents set revoked_at = now() where id = 3")
    await health(owner, "agent", "4", "retired", {})
    found = await state(reader)
    assert (found.complete_up_to, found.whole, found.streams) == (BASE - 100 * S, True, 1)


async def test_gaps_are_found_by_their_names(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """Gaps are narrowed by who lost, never by what was lost, and found by number."""
    await born(owner, PAY)
    await born(owner, ETL)
    first, second = await gap(owner, PAY), await gap(owner, ETL, at_least=True)
    for filter_, expected in (
        ("", {first, second}),
        ("service:etl", {second}),
        ("severity>=error words worker:pay-1", {first}),
        ("-host:host-1", {second}),
        ("source:inbox", set()),
    ):
        found = await logs.gaps(reader, parse(filter_), BASE - HOUR, BASE + S)
        assert {g.id for g in found} == expected, filter_
    assert (await logs.gap(reader, second)).at_least
    with pytest.raises(Fault, match="gap #99"):
        await logs.gap(reader, 99)


def test_sentences_say_what_is_known() -> None:
    """Without exception it says so; unknown it says so; many exceptions are counted."""

    def said(**fields: Any) -> str:
        empty: dict[str, Any] = {"complete_up_to": BASE, "lagging": [], "silent": [], "gaps": [],
                                 "gaps_total": 0, "streams": 1}  # fmt: skip
        return text(sentence(Completeness(**{**empty, **fields}), BASE))

    def lost(number: int, records: int, *, at_least: bool = False) -> Gap:
        return Gap(number, "s", "w", "h", 1, records, at_least, 4_100, "r", "", None, None, BASE)

    lagging = LaggingWorker("s", "w", "h", 0, BASE - 86_400 * S)
    assert said() == "Complete up to 10:00:00 UTC, without exception."
    assert said(complete_up_to=None) == (
        "Up to when this is complete is not known: no agent has reported yet."
    )
    assert said(complete_up_to=None, streams=0) == "No worker that runs belongs to this view."
    assert said(complete_up_to=None, streams=0, gaps=[lost(6, 3)], gaps_total=1) == (
        "No worker that runs belongs to this view; missing: gap #6, 3 lines."
    )
    assert said(complete_up_to=None, silent=[SilentAgent(1, "h", None)]) == (
        "Up to when this is complete is not known, except host h, never heard."
    )
    assert said(gaps=[lost(1, 1)], gaps_total=1).endswith("except gap #1, 1 line.")
    assert said(gaps=[lost(1, 5, at_least=True)], gaps_total=1).endswith("at least 5 lines.")
    assert said(gaps=[lost(1, 0, at_least=True)], gaps_total=1).endswith(
        "4.1 kB, lines not counted."
    )
    assert "known up to 4 Jan 10:00:00 UTC" in said(lagging=[lagging])
    assert said(gaps=[lost(n, 1_200) for n in range(9)], gaps_total=30).endswith(
        "gap #5, 1,200 lines, and 24 more."
    )


async def test_a_gap_of_less_severe_lines_is_none_of_a_view_of_errors(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """88,121 lines of debug miss nobody who looks at errors; what is not known may be anything."""
    await born(owner, PAY)
    debug, mixed, unknown = [await gap(owner, PAY, n, from_at=BASE - 9 * S) for n in (1, 2, 3)]
    for number, most in ((debug, 5), (mixed, 17)):
        await owner.execute("update gaps set severity_max = %s where id = %s", (most, number))

    found = {text: {one.id for one in (await state(reader, text)).gaps} for text in (
        "", "service:payments", "severity>=debug", "severity>=error", "severity>=fatal",
        "severity>=error OR failed",
    )}  # fmt: skip

    every = {debug, mixed, unknown}
    assert found == {
        "": every, "service:payments": every, "severity>=debug": every,
        "severity>=error": {mixed, unknown}, "severity>=fatal": {unknown},
        "severity>=error OR failed": every,
    }  # fmt: skip
    assert (await state(reader, "severity>=fatal")).gaps_total == 1


async def test_what_was_erased_is_history(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """It is named as erased among what a view lacks, behind what was lost, and nothing is wrong."""
    await born(owner, PAY)
    now = await status.now(reader)
    lost = await gap(owner, PAY, 2, from_at=now - 900 * S)
    erased = await gap(owner, PAY, 5, from_at=now - 600 * S)
    await owner.execute("update gaps set detected_at = now()")
    await owner.execute("update gaps set reason = 'erased' where id = %s", (erased,))
    found = await completeness(reader, parse(""), now - HOUR, now)
    said = text(sentence(found, now))
    assert [one.id for one in found.gaps] == [lost, erased]
    assert f"gap #{lost}, 2 lines, and gap #{erased}, 5 lines erased" in said
    assert [one.gap.id for one in (await fleet.overview(reader)).causes if one.gap] == [lost]
    store = await status.store(reader)
    assert (store.gaps_today, store.lines_lost_today) == (1, 2)
