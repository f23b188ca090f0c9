"""A source that floods: what it gives up is counted to the record, whoever is killed meanwhile."""

from __future__ import annotations

import time

import psycopg
import pytest

from tests.fleet import fleet

LINES = 600_000
SOURCE = """\
backlog_bytes = 4000000
when_full = "drop_by_severity"
keep_severity = "error"
"""
_COUNTS = """
select (select count(*) from logs where service = 'flood'),
    (select count(distinct (attributes->>'n')::bigint) from logs where service = 'flood'),
    (select count(*) from logs where service = 'flood' and severity >= 17),
    (select coalesce(sum(records), 0) from gaps where service = 'flood'),
    (select count(*) from gaps
     where service = 'flood' and (at_least or reason <> 'backlog_full'
         or detail !~ '^[0-9,]+ INFO dropped'))
"""
_COMMITTED = """
select coalesce(max(committed), 0) from streams s join stream_info i using (id)
where i.service = 'flood'
"""


def lines() -> str:
    """Numbered lines, of which every hundredth is an error."""
    return "".join(
        f'{{"severity":{17 if n % 100 == 0 else 9},"message":"m","attributes":{{"n":{n}}}}}\n'
        for n in range(LINES)
    )


@pytest.mark.chaos
@pytest.mark.timeout(180)
def test_what_a_flood_gives_up_is_counted_over_kills(postgres_url: str) -> None:
    """Rows and counts are all lines, no line is both, and no error was dropped."""
    with (
        fleet(postgres_url, database="shedding", service="flood") as made,
        psycopg.connect(made.url, autocommit=True) as connection,
    ):
        configuration = made.root / "agent.toml"
        configuration.write_text(configuration.read_text() + SOURCE)
        made.start_collector("collector")
        made.wait_for_port("collector")
        made.start_agent()
        log = made.logs / "flood.log"
        log.write_text(lines())
        size, killed = log.stat().st_size, 0

        def committed() -> int:
            row = connection.execute(_COMMITTED).fetchone()
            assert row is not None
            return int(row[0])

        deadline = time.monotonic() + 120
        while (reached := committed()) < size and time.monotonic() < deadline:
            # Once something is committed that was not when it started.
            if killed < 3 and reached > killed * size // 8:
                made.kill("agent")
                made.start_agent()
                killed += 1
            time.sleep(0.02)
        row = connection.execute(_COUNTS).fetchone()
        status = made.run("status")

    assert row is not None
    stored, distinct, errors, dropped, odd = row
    assert reached == size
    assert killed >= 2
    assert (stored, distinct, errors, odd) == (distinct, stored, LINES // 100, 0)
    assert stored + dropped == LINES
    assert dropped > 0
    assert f"({dropped:,} lines)" in status
