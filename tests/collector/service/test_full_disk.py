"""A real store that fills up, with real processes: what still gets through, and that it heals."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from outrider_collector.up.postgres import Postgres
from tests.collector.service.running import ask
from tests.fleet import Fleet, fleet
from tests.small_disk import small_disk as mounted
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator


MB = 1_000_000
FILLER = "create unlogged table filler as select n from generate_series(1, {rows}) n"
"""Takes 36 bytes a row, and little of the write-ahead log."""


def write(running: Fleet, name: str, *records: dict[str, Any]) -> None:
    """Append records to a log file of a worker."""
    with (running.logs / f"{name}.log").open("a") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


def app(number: int) -> dict[str, Any]:
    """A plain record."""
    return {"level": "info", "message": f"line {number}"}


def audit(number: int) -> dict[str, Any]:
    """An audit record."""
    return {"level": "info", "message": f"order {number}", "event": "order.filled"}


def stored(running: Fleet) -> dict[str, int]:
    """Records of the service by event, and of none by level."""
    query = "select coalesce(event, level), count(*)::int from logs where service = 'trading'"
    return dict(ask(running.url, f"{query} group by 1"))


async def until_stored(running: Fleet, expected: dict[str, int]) -> None:
    """Wait until that is stored, and nothing else."""
    found: dict[str, int] = {}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(45):
            while found != expected:
                await asyncio.sleep(0.1)
                # A server that is starved of room restarts.
                with contextlib.suppress(psycopg.OperationalError):
                    found = stored(running)
    assert found == expected, running.output("agent") + running.output("collector")


def holding(running: Fleet) -> bool:
    """Whether the collector says that it holds."""
    return bool(
        ask(running.url, "select 1 from collectors where status ->> 'disk_holding' = 'true'")
    )


def keeps_everything(running: Fleet) -> bool:
    """Whether the collector takes nothing at all."""
    said = "select 1 from collectors where status ->> 'disk_said' ~ 'keep everything'"
    return bool(ask(running.url, said))


def with_budget(running: Fleet, budget: str) -> None:
    """Start the collector with a disk budget."""
    file = running.root / "collector.toml"
    settings = file.read_text().partition("\n[store]")[0]
    file.write_text(f'{settings}\n[store]\ndisk_budget = "{budget}"\ncompact = false\n')
    running.start_collector("collector")
    running.wait_for_port("collector")


def database_bytes(url: str) -> int:
    """What the database takes now, without the write-ahead log, which comes and goes."""
    return int(ask(url, "select pg_database_size(current_database())")[0][0])


@pytest.mark.timeout(300)
async def test_only_audit_records_and_errors_get_through_while_the_store_is_nearly_full(
    postgres_url: str,
) -> None:
    """From 95 % on the others stay on the agent's disk, in order, and come later; at 100 % all."""
    with fleet(postgres_url, database=f"disk_{os.getpid()}") as running:
        # No less than a budget may be.
        ask(running.url, FILLER.format(rows=800_000))
        with_budget(running, f"{database_bytes(running.url) / 0.96 / MB:.0f}MB")
        await eventually(lambda: holding(running), within_s=60)
        running.start_agent()
        write(running, "plain", *map(app, range(500)))
        write(running, "mixed", *map(app, range(300)))
        write(running, "orders", *map(audit, range(50)))
        await until_stored(running, {"order.filled": 50})
        write(running, "orders", audit(50))
        write(running, "mixed", {"level": "error", "message": "refused"})
        # What lies before an error in its stream comes with it, for a stream has one order.
        found = {"order.filled": 51, "INFO": 300, "ERROR": 1}
        await until_stored(running, found)

        write(running, "mixed", app(301))
        write(running, "orders", audit(51))
        found = {**found, "order.filled": 52}
        await until_stored(running, found)

        ask(running.url, FILLER.format(rows=400_000).replace("filler", "more"))
        await eventually(lambda: keeps_everything(running), within_s=60)
        write(running, "orders", audit(52))
        running.stop("collector")
        assert stored(running) == found
        with_budget(running, "off")
        await until_stored(running, {**found, "order.filled": 53, "INFO": 801})
        assert ask(running.url, "select count(*) from gaps") == [(0,)]


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 300 MB, where the server's account may go too."""
    with mounted(Path(f"/tmp/outrider-disk-{os.getpid()}"), "300m") as path:
        yield path


def fill_up(path: Path, leave_bytes: int) -> Path:
    """Take all of a file system but so much."""
    ballast = path / "ballast"
    with ballast.open("wb") as file, contextlib.suppress(OSError):
        while leave_bytes < (free := os.statvfs(path).f_bavail * os.statvfs(path).f_frsize):
            file.write(b"x" * min(MB, free - leave_bytes))
            file.flush()
    return ballast


@pytest.mark.timeout(300)
async def test_a_disk_that_is_really_full_heals_when_there_is_room(small_disk: Path) -> None:
    """Nearly full only audit records get through; full nothing; then all of them are there once.

    Nobody has set a budget: the disk is it.
    """
    small = {"max_wal_size": "48MB", "min_wal_size": "32MB"}
    server = Postgres(small_disk / "postgres", small_disk / "run", small)
    try:
        server.start()
        with fleet(server.url("postgres"), database="disk") as running:
            with_budget(running, "")
            running.start_agent()
            write(running, "plain", app(0))
            await until_stored(running, {"INFO": 1})
            ask(running.url, FILLER.format(rows=2_000_000))
            ballast = fill_up(small_disk, leave_bytes=5 * MB)
            await eventually(lambda: holding(running), within_s=60)
            write(running, "plain", *map(app, range(1, 100)))
            write(running, "orders", *map(audit, range(50)))
            await until_stored(running, {"INFO": 1, "order.filled": 50})

            with ballast.open("ab") as file, contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * 65_536)
            # More than what was reserved in files of the database.
            await _until_refused(running)
            ballast.unlink()
            total = {"INFO": 100, "order.filled": len(written_orders(running))}
            await until_stored(running, total)
    finally:
        server.stop()


def written_orders(running: Fleet) -> list[str]:
    """The audit records that were written."""
    return (running.logs / "orders.log").read_text().splitlines()


async def _until_refused(running: Fleet) -> None:
    """Write audit records until the collector says that commits fail."""
    deadline = time.monotonic() + 60
    number = 50
    while "no space left" not in running.output("collector").lower():
        assert time.monotonic() < deadline, running.output("collector")
        write(
            running,
            "orders",
            *({**audit(n), "pad": "x" * 9_000} for n in range(number, number + 99)),
        )
        number += 99
        await asyncio.sleep(0.2)
