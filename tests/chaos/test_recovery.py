"""When the postmaster dies under load: nothing is acknowledged until it is back, then all of it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from pathlib import Path

import psycopg
import pytest

from outrider_collector.up.postgres import Postgres
from tests.chaos.checker import settle, verdict
from tests.chaos.stage import restart_server
from tests.chaos.writers import FileWriter
from tests.fleet import fleet

LINES_PER_S = 20_000
_FLOOD_LINES_PER_S = 100_000
_FLOOD_S = 2.0
_DOWN_S = 2.0
_FULL_RATE_WITHIN_S = 5.0


@pytest.mark.chaos
@pytest.mark.timeout(180)
async def test_a_dead_postmaster_costs_time_and_no_line() -> None:
    """At 20,000 lines a second, five seconds after the server is back nothing is behind.

    On a machine that takes fewer than 40,000 at its best, at half of what it takes.
    """
    home = Path(tempfile.mkdtemp(prefix="outrider-recovery-"))
    home.chmod(0o755)
    postgres = Postgres(home / "postgres", home / "run")
    await asyncio.to_thread(postgres.start)
    try:
        with fleet(postgres.url("postgres"), database="recovery", service="load") as made:
            made.start_collector("collector")
            await asyncio.to_thread(made.wait_for_port, "collector")
            made.start_agent()
            writer = FileWriter(made.logs / "load.log", _FLOOD_LINES_PER_S, rotate_every=1 << 60)
            began = time.monotonic()
            writing = asyncio.create_task(writer.run())

            def connect() -> psycopg.Connection:
                return psycopg.connect(made.url, connect_timeout=3)

            def committed() -> int:
                with connect() as connection:
                    row = connection.execute(
                        "select coalesce(max(committed), 0) from streams s"
                        " join stream_info i using (id) where i.service = 'load'"
                    ).fetchone()
                return int(row[0]) if row else 0

            await asyncio.sleep(_FLOOD_S)
            writer.stopped = True
            await writing
            await settle(connect, "load", lambda: writer.written, within_s=60)
            taken_per_s = writer.written / (time.monotonic() - began)
            writer.lines_per_s = lines_per_s = min(LINES_PER_S, int(taken_per_s / 2))
            writer.stopped = False
            writing = asyncio.create_task(writer.run())
            # Some seconds at this rate first: the agent writes its cache once a second.
            await asyncio.sleep(3)
            await settle(connect, "load", lambda: writer.written, within_s=30)
            assert postgres.process is not None
            postgres.process.kill()
            postgres.process.wait()
            await asyncio.sleep(_DOWN_S)
            acknowledged = made.acknowledged_bytes()
            await asyncio.to_thread(restart_server, postgres)
            back = time.monotonic()
            # Nothing commits while the server is down: more acknowledged than this was a lie.
            assert 0 < acknowledged <= committed()
            await asyncio.sleep(_FULL_RATE_WITHIN_S)
            before, at = committed(), time.monotonic()
            await asyncio.sleep(1.0)
            rate = (committed() - before) / (time.monotonic() - at)
            lag_bytes = (made.logs / "load.log").stat().st_size - committed()
            line_bytes = (made.logs / "load.log").stat().st_size / writer.written
            print(
                f"{lines_per_s:,} lines/s, {at - back:.1f} s after the server is back: "
                f"{rate / line_bytes:,.0f} records/s, {lag_bytes / line_bytes:,.0f} records behind"
            )
            writer.stopped = True
            await writing
            await settle(connect, "load", lambda: writer.written, within_s=60)
            with connect() as connection:
                found = verdict(connection, "load", writer.written)
    finally:
        postgres.stop()
        shutil.rmtree(home, ignore_errors=True)

    assert (found.lost, found.twice, found.disordered, found.quarantined) == (0, 0, 0, 0)
    # Caught up, or still faster than the writer.
    assert lag_bytes < lines_per_s * line_bytes or rate > lines_per_s * line_bytes
