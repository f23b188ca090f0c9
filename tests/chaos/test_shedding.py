"""A source that floods: what it gives up is counted to the record, whoever is killed meanwhile."""

from __future__ import annotations

import time

import psycopg
import pytest

from outrider_agent.tail import CHUNK_BYTES
from tests.fleet import fleet

LINES = 600_000
LINE_BYTES = 56
ERRORS = LINES // 100
KILLS = 3
BACKLOG_BYTES = 1_000_000
READ_BYTES_PER_S = 3_000_000
# A process sees once a second how much waits: until then it sifts nothing, and reads no faster than
# this; a chunk before it knows that the file is behind, and one in the turn in which it sees.
UNSIFTED_BYTES = READ_BYTES_PER_S + 2 * CHUNK_BYTES
KEPT_LINES_MOST = (BACKLOG_BYTES + (1 + KILLS) * UNSIFTED_BYTES) // LINE_BYTES
AGENT = f"""\
[agent]
backfill_bytes_per_s = {READ_BYTES_PER_S}
"""
SOURCE = f"""\
backlog_bytes = {BACKLOG_BYTES}
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
    """Numbered lines of one length, of which every hundredth is an error."""
    made = (
        f'{{"severity":{17 if n % 100 == 0 else 9},"message":"m","attributes":{{"n":{n}}}}}'
        for n in range(LINES)
    )
    return "".join(f"{line:{LINE_BYTES - 1}}\n" for line in made)


@pytest.mark.chaos
@pytest.mark.timeout(180)
def test_what_a_flood_gives_up_is_counted_over_kills(postgres_url: str) -> None:
    """Rows and counts are all lines, no line is both, no error was dropped, the rest mostly was."""
    with (
        fleet(postgres_url, database="shedding", service="flood") as made,
        psycopg.connect(made.url, autocommit=True) as connection,
    ):
        configuration = made.root / "agent.toml"
        configuration.write_text(configuration.read_text().replace("[agent]\n", AGENT) + SOURCE)
        made.start_collector("collector")
        made.wait_for_port("collector")
        # All of it waits before anybody reads: how much is given up then is not the machine's pace.
        (made.logs / "flood.log").write_text(lines())
        made.start_agent()
        size, killed = LINES * LINE_BYTES, 0

        def committed() -> int:
            row = connection.execute(_COMMITTED).fetchone()
            assert row is not None
            return int(row[0])

        deadline = time.monotonic() + 120
        while (reached := committed()) < size and time.monotonic() < deadline:
            # Once something is committed that was not when it started.
            if killed < KILLS and reached > killed * size // 8:
                made.kill("agent")
                made.start_agent()
                killed += 1
            time.sleep(0.02)
        row = connection.execute(_COUNTS).fetchone()
        status = made.run("status")

    assert row is not None
    stored, distinct, errors, dropped, odd = row
    assert reached == size
    assert killed == KILLS
    assert (stored, distinct, errors, odd) == (distinct, stored, ERRORS, 0)
    assert stored + dropped == LINES
    assert dropped >= LINES - ERRORS - KEPT_LINES_MOST > LINES // 2
    assert f"({dropped:,} lines)" in status
