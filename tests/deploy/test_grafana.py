"""The Grafana dashboard: its shape, and its queries as a login for Grafana runs them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.filled import fill, reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FILE = Path(__file__).parents[2] / "deploy" / "grafana" / "outrider.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
VARIABLES: list[dict[str, Any]] = DASHBOARD["templating"]["list"]
SOURCE = {"type": "grafana-postgresql-datasource", "uid": "${datasource}"}


def queries() -> Iterator[tuple[str, str]]:
    """Yield each query with the name of what shows it."""
    for panel in PANELS:
        for target in panel["targets"]:
            yield panel["title"], target["rawSql"]
    for variable in VARIABLES:
        if variable["type"] == "query":
            yield f"variable {variable['name']}", variable["query"]
    for annotation in DASHBOARD["annotations"]["list"]:
        yield f"annotation {annotation['name']}", annotation["target"]["rawSql"]


def substituted(query: str, since: datetime, until: datetime, chosen: dict[str, str]) -> str:
    """Do what Grafana does: variables first, then macros, whose arguments end at the first `)`."""
    for name, value in chosen.items():
        query = query.replace(f"${{{name}:sqlstring}}", value)
    query = query.replace("$__interval_ms", "60000")
    low, high = f"'{since:%Y-%m-%dT%H:%M:%SZ}'", f"'{until:%Y-%m-%dT%H:%M:%SZ}'"
    macros: dict[str, Callable[[str], str]] = {
        "__timeFrom": lambda _: low,
        "__timeTo": lambda _: high,
        "__timeFilter": lambda column: f"{column} BETWEEN {low} AND {high}",
    }
    return re.sub(r"\$(__\w+)\(([^)]*)\)", lambda found: macros[found[1]](found[2]), query)


def test_the_file_has_the_shape_that_grafana_reads() -> None:
    """Panels have ids of their own and do not overlap; whoever imports it chooses the database."""
    assert DASHBOARD["uid"] and DASHBOARD["title"] and DASHBOARD["schemaVersion"] >= 36
    assert "id" not in DASHBOARD  # one would be that of another dashboard
    assert [variable["name"] for variable in VARIABLES] == ["datasource", "service", "worker"]
    assert VARIABLES[0]["type"] == "datasource" and VARIABLES[0]["query"] == SOURCE["type"]
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    cells = []
    for panel in PANELS:
        at = panel["gridPos"]
        assert panel["datasource"] == SOURCE and at["x"] + at["w"] <= 24
        cells += [(x, y) for x in range(at["x"], at["x"] + at["w"])
                  for y in range(at["y"], at["y"] + at["h"])]  # fmt: skip
        for target in panel["targets"]:
            assert target["datasource"] == SOURCE and target["rawQuery"]
            assert target["format"] == (
                "time_series" if panel["type"] == "timeseries" else "table"
            ), panel["title"]
    assert len(set(cells)) == len(cells)


async def test_every_query_runs_for_a_login_that_only_reads(database_url: str) -> None:
    """With everything chosen and with a hostile name; each finds what is there to be found."""
    await fill(database_url)
    until = datetime.now(UTC) + timedelta(minutes=1)
    since = until - timedelta(hours=2)
    hostile = "'it''s; drop table gaps'"
    with reader(database_url) as person:
        for title, query in queries():
            everything = substituted(query, since, until, {"service": "'*'", "worker": "'*'"})
            assert "$" not in everything, title
            cursor = person.execute(everything.encode())
            rows = cursor.fetchall()
            assert rows, title
            names = [column.name for column in cursor.description or ()]
            if "__interval" in query:
                assert names[:2] == ["time", "metric"]
                assert rows == sorted(rows, key=lambda row: row[0])
            some = {"service": "'etl','trading'", "worker": hostile}
            narrowed = person.execute(substituted(query, since, until, some).encode()).fetchall()
            if "${worker" in query and title not in {"Lines lost in this range", "Backlog",
                                                     "Workers that are not up"}:  # fmt: skip
                assert narrowed == [], title


async def test_panels_of_a_range_pass_over_the_rest(database_url: str) -> None:
    """Variables that choose everything cost nothing, and only the range's tables are entered."""
    await fill(database_url)
    until = datetime.now(UTC)
    (query,) = (q for title, q in queries() if title == "Errors by service")
    asked = substituted(
        query, until - timedelta(hours=1), until, {"service": "'*'", "worker": "'*'"}
    )
    with reader(database_url) as person:
        plan = "\n".join(row[0] for row in person.execute(f"explain {asked}".encode()))
    assert "'*'" not in plan
    entered = set(re.findall(r"on (blocks_fresh_\d+)", plan))
    assert entered and all(
        datetime.strptime(name[13:], "%Y%m%d%H").replace(tzinfo=UTC) > until - timedelta(hours=4)
        for name in entered
    )
