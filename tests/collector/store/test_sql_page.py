"""The page of SQL for people: what it says is there, and its queries run for whom it is written."""

from __future__ import annotations

import re
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import outrider_collector.store
from tests.filled import fill, reader

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (Path(outrider_collector.store.__file__).parent / "SQL.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
_TYPES = {"timestamptz": "timestamp with time zone"}
_COLUMNS = """
select a.attname::text, format_type(a.atttypid, null) from pg_attribute a
where a.attrelid = %s::regclass and a.attnum > 0 and not a.attisdropped
"""


def documented() -> Iterator[tuple[str, str, str]]:
    """Yield relation, column and type, for each that the page lists."""
    for name, rows in re.findall(r"^### `(\w+)`\n(.*?)(?=^#|\Z)", PAGE, re.DOTALL | re.MULTILINE):
        for names, kind in re.findall(r"^\| (`.*?`) \| (.*?) \|", rows, re.MULTILINE):
            for column in re.findall(r"`(\w+)`", names):
                yield name, column, _TYPES.get(kind, kind)


async def test_what_the_page_lists_is_there(database_url: str) -> None:
    """Every column, by its name and type; and the relations that stay."""
    listed: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for name, column, kind in documented():
        listed[name][column] = kind
    assert {"logs", "blocks", "gaps", "workers", "system_health", "system_health_history",
            "system_health_days", "alerts", "alert_transitions", "alert_rules", "notifications",
            "silences", "audit_log"} == set(listed)  # fmt: skip
    with reader(database_url) as person:
        for name, columns in listed.items():
            there = dict(person.execute(_COLUMNS, (name,)).fetchall())
            assert columns.items() <= there.items(), name


async def test_the_queries_run_and_find_something(database_url: str) -> None:
    """Ten, each as it stands, as a login of the read role, over both levels of blocks."""
    await fill(database_url)
    assert len(QUERIES) == 10
    with reader(database_url) as person:
        for query in QUERIES:
            assert person.execute(query.encode()).fetchall(), query


async def test_where_the_page_says_so_tables_and_blocks_are_passed_over(database_url: str) -> None:
    """Only tables of the range are entered, and only blocks that touch it are read."""
    await fill(database_url)
    checked = 0
    with reader(database_url) as person:
        whole = _entered(person, "select count(*) from logs")
        for query in QUERIES:
            said = re.match(r"-- prunes: (\d+) hours?\n", query)
            if said is None:
                continue
            checked += 1
            since = datetime.now(UTC) - timedelta(hours=int(said[1]))
            entered = _entered(person, query)
            tables = {table for table, rows in entered.items() if rows}
            assert tables, query
            assert all(_begins(table) > since - timedelta(hours=50) for table in tables)
            assert not {
                table for table in tables
                if table.startswith("blocks_fresh") and _begins(table) < since - timedelta(hours=2)
            }, query  # fmt: skip
            assert sum(entered.values()) < sum(whole.values()), query
            if int(said[1]) <= 6:
                assert not any(table.startswith("blocks_compacted") for table in tables), query
                assert sum(entered.values()) == _touching(person, since), query
    assert checked == 7


def _entered(connection: Any, query: str) -> dict[str, int]:
    """Return for each table of blocks that was entered how many blocks it gave."""
    asked = f"explain (analyze, costs off, timing off, format json) {query}"
    explained = connection.execute(asked.encode()).fetchone()[0]
    found: defaultdict[str, int] = defaultdict(int)
    nodes = [explained[0]["Plan"]]
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", [])
        table = node.get("Relation Name", "")
        if table.startswith("blocks_") and node["Actual Loops"]:
            found[table] += round(node["Actual Rows"] * node["Actual Loops"])
    return found


def _begins(table: str) -> datetime:
    text = table.split("_")[2]
    return datetime.strptime(text.ljust(10, "0"), "%Y%m%d%H").replace(tzinfo=UTC)


def _touching(connection: Any, since: datetime) -> int:
    row = connection.execute(
        "select count(*) from blocks where ts_max >= %s and ts_min < now()", (since,)
    ).fetchone()
    return int(row[0])
