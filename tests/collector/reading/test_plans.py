"""What Postgres does for a search: which tables it enters, and which blocks it opens."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from outrider.filter import parse
from outrider_collector.store.reading import logs
from outrider_collector.store.reading.session import Snapshot
from tests.collector.reading.compacting import compact
from tests.collector.reading.rows import BASE, HOUR, Record, Source, commit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from psycopg import AsyncConnection

DAY = timedelta(days=1)
DAYS, HOURS, LINES = 5, 2, 20
SERVICES = ("etl", "payments", "scrapers")
STREAMS = [
    Source(10 * i + j, service, f"{service}-{j}")
    for i, service in enumerate(SERVICES)
    for j in (1, 2)
]
ASKED = 3
"""The day that is asked for."""
RANGE = (BASE + ASKED * DAY, BASE + ASKED * DAY + HOURS * HOUR)
EXPLAIN = "explain (analyze, costs off, timing off, format json)"


def lines(day: int, hour: int) -> list[Record]:
    """An hour of all services: a common word in each line, rare ones in a single one."""
    start = BASE + day * DAY + hour * HOUR
    rare = (day, hour) == (ASKED, 1)
    return [
        Record(
            stream, (day * 100 + hour) * 1000 + i, start + timedelta(seconds=i),
            f"common line {i}" + (" needle-7f3a lost after 17 ms" if rare and i == 9 else ""),
            severity=17 if rare and stream.id == 11 and i == 3 else 9,
            event="cart.emptied" if rare and stream.id == 11 and i == 4 else None,
        )
        for stream in STREAMS
        for i in range(LINES)
        if not rare or i != 9 or stream.id == 11
    ]  # fmt: skip


@pytest.fixture(params=["fresh", "compacted"])
async def level(
    request: pytest.FixtureRequest, owner: AsyncConnection[Any], database_url: str
) -> str:
    """Days of lines, as they came or compacted."""
    for day in range(DAYS):
        for hour in range(HOURS):
            await commit(owner, lines(day, hour))
    if request.param == "compacted":
        await compact(database_url)
    await owner.execute("analyze")
    name: str = request.param
    return name


Explained = list[Counter[str]]


@pytest.fixture
def explained(monkeypatch: pytest.MonkeyPatch) -> Explained:
    """For each statement over blocks, how many rows each table that was entered gave."""
    plans: Explained = []
    rows, batches = Snapshot.rows, Snapshot.batches

    async def explain(self: Snapshot, query: Any, parameters: Any) -> None:
        if "from blocks b" in query.as_string():
            text = f"{EXPLAIN} {query.as_string()}"
            row = await (await self._cursor.execute(text, parameters)).fetchone()
            assert row is not None
            plans.append(Counter(dict(entered(row[0][0]["Plan"]))))

    async def explained_rows(self: Snapshot, query: Any, parameters: Any = None) -> Any:
        await explain(self, query, parameters)
        return await rows(self, query, parameters)

    async def explained_batches(
        self: Snapshot, query: Any, parameters: Any, batch: int
    ) -> AsyncIterator[Any]:
        await explain(self, query, parameters)
        async for found in batches(self, query, parameters, batch):
            yield found

    monkeypatch.setattr(Snapshot, "rows", explained_rows)
    monkeypatch.setattr(Snapshot, "batches", explained_batches)
    return plans


def entered(node: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield the block tables that a plan has entered, with how many rows they gave."""
    table, loops = node.get("Relation Name", ""), node["Actual Loops"]
    if table.startswith("blocks_") and loops:
        yield table, round(node["Actual Rows"] * loops)
    for child in node.get("Plans", ()):
        yield from entered(child)


def pruned(plan: Counter[str]) -> bool:
    """Tell whether no table was entered that was over before the day, and of later ones nothing
    was read.
    """
    asked = f"{BASE + ASKED * DAY:%Y%m%d}"
    days = {table: table.split("_")[2][:8] for table in plan}
    return all(day == asked or (day > asked and not plan[table]) for table, day in days.items())


SEARCHES = {
    "common": (6, 6),
    "service:payments": (2, 2),
    "service:payments severity>=error": (1, 1),
    "event:cart.emptied": (1, 1),
    "worker:payments-1 line": (2, 2),
    "needle-7f3a": (6, 1),
    r"/lost after \d+ ms/": (6, 1),
    "service:/^pay/ needle-7f3a": (2, 1),
}
"""How many blocks each opens, fresh and compacted: only compacted ones have a filter of words."""


async def test_searches_enter_and_open_only_what_can_match(
    level: str, explained: Explained, reader: AsyncConnection[Any]
) -> None:
    """No table that is over before the range is entered, of later ones nothing is read, and blocks
    are passed over by service, stream, severity, event and words.
    """
    for text, (fresh, compacted) in SEARCHES.items():
        explained.clear()
        page = await logs.search(reader, parse(text), *RANGE, 1_000)

        assert page.rows, text
        assert page.blocks_read == (fresh if level == "fresh" else compacted), text
        for plan in explained:
            assert pruned(plan), (text, plan)
            assert all(level in table for table, rows in plan.items() if rows), (text, plan)
        assert explained, text


async def test_logs_between_enters_only_its_range(level: str, reader: AsyncConnection[Any]) -> None:
    """The function that people query is inlined and pruned as searches are."""
    since, until = RANGE
    for condition in ("true", "service = 'payments'", "severity >= 17", "message ~ 'needle'"):
        query = f"select message from logs_between('{since}', '{until}') where {condition}"
        assert await (await reader.execute(query)).fetchall(), condition
        row = await (await reader.execute(f"{EXPLAIN} {query}")).fetchone()
        assert row is not None
        plan = Counter(dict(entered(row[0][0]["Plan"])))
        assert pruned(plan), (condition, plan)
        assert plan.total(), condition
