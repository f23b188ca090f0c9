"""A store that fills up: what a collector does about it, and what still gets through.

The last two tests fill a real one, with real processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from outrider.probes.deadline import Deadline
from outrider_collector import store_probe
from outrider_collector.ingest import disk
from outrider_collector.ingest.credit import CreditBudget
from outrider_collector.ingest.disk import DiskWatch
from outrider_collector.ingest.links import Links
from outrider_collector.ingest.pace import Intervals
from outrider_collector.ingest.roster import VITAL_CREDIT_BYTES, Roster, Wishes
from outrider_collector.store.budget import growth
from outrider_collector.store.budget.limits import Keeping, Level, Measured, Wanted
from outrider_collector.store.budget.services import Quota
from outrider_collector.store.compaction.classes import RecordClass
from outrider_collector.up.postgres import Postgres
from tests.collector.service.agent_client import batch_of, lines
from tests.collector.service.running import ask
from tests.fleet import Fleet, fleet
from tests.small_disk import small_disk as mounted
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.collector.service.conftest import Start

MB = 1_000_000
FILLER = "create unlogged table filler as select n from generate_series(1, {rows}) n"
"""Takes 36 bytes a row, and little of the write-ahead log."""
KEEP = dict.fromkeys(RecordClass, timedelta(days=30))


class Told:
    """A watch whose measure is given, and what followed from its looks."""

    def __init__(self, url: str, name: str = "one", quota: Quota | None = None) -> None:
        self.links = Links(url, "outrider test")
        self.held: list[Keeping] = []
        self.made_room = 0
        self.now_s = 0.0
        self.watch = DiskWatch(
            name, self.links, Wanted(100 * MB), KEEP, quota or Quota(),
            clock=lambda: self.now_s, hold=self.held.append, make_room=self._make_room,
        )  # fmt: skip

    def _make_room(self) -> None:
        self.made_room += 1


@pytest.fixture
def fill(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Say how full the store is from now on, in percent of 100 MB."""
    used = [0]

    async def measured(_: object) -> Measured:
        return Measured(used[0] * MB, 0, (100 - used[0]) * MB)

    monkeypatch.setattr(disk, "measure", measured)

    def say(percent: int) -> None:
        used[0] = percent

    return say


@pytest.fixture
async def told(database_url: str) -> AsyncIterator[Told]:
    """A watch over an empty store."""
    made = Told(database_url)
    yield made
    await made.links.close()


async def test_each_level_is_acted_on_once(told: Told, fill: Callable[[int], None]) -> None:
    """Credit is withdrawn at 95 % and given back below 92; room is made from 90 % on."""
    seen = []
    for percent in (50, 91, 91, 96, 93, 91, 50):
        fill(percent)
        await told.watch.look()
        seen.append((told.watch.level, told.held[-1], told.made_room))

    assert seen == [
        (Level.WELL, Keeping.NOTHING, 0), (Level.SHED, Keeping.NOTHING, 1),
        (Level.SHED, Keeping.NOTHING, 1), (Level.HOLD, Keeping.ALL_BUT_VITAL, 2),
        (Level.HOLD, Keeping.ALL_BUT_VITAL, 2), (Level.SHED, Keeping.NOTHING, 2),
        (Level.WELL, Keeping.NOTHING, 2),
    ]  # fmt: skip


async def test_beyond_a_budget_that_no_disk_enforces_nothing_is_taken(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Audit records and errors are held too, from 100 % until 98; the log does not count."""
    used = [0]

    async def measured(_: object) -> Measured:
        return Measured(used[0] * MB, 500 * MB, None)

    monkeypatch.setattr(disk, "measure", measured)
    seen = []
    for percent in (50, 96, 101, 99, 97, 50):
        used[0] = percent
        await told.watch.look()
        seen.append(told.held[-1])
    assert seen == [
        Keeping.NOTHING, Keeping.ALL_BUT_VITAL, Keeping.EVERYTHING, Keeping.EVERYTHING,
        Keeping.ALL_BUT_VITAL, Keeping.NOTHING,
    ]  # fmt: skip
    used[0] = 120
    found = await told.watch.look()
    assert found.judged.reason == "120.0 MB of 100.0 MB (120 %): agents keep everything"


def test_audit_records_and_errors_are_held_where_everything_is() -> None:
    """Of a roster that holds, the credit for what is vital goes and comes back by itself."""
    roster = Roster(CreditBudget(), Wishes(Intervals(100, 10), 5_000))
    for keeping, vital in (
        (Keeping.ALL_BUT_VITAL, VITAL_CREDIT_BYTES), (Keeping.EVERYTHING, 0),
        (Keeping.ALL_BUT_VITAL, VITAL_CREDIT_BYTES), (Keeping.NOTHING, 0),
    ):  # fmt: skip
        roster.hold(keeping)
        assert roster.wishes.vital_credit_bytes == vital
        assert (roster.budget.join(1) == 0) is (keeping is not Keeping.NOTHING)
        roster.budget.leave(1)


async def test_what_another_collector_measures_counts_here(
    told: Told, database_url: str, fill: Callable[[int], None]
) -> None:
    """One may see the disk and the other not; of an older version only the level is known."""
    other = (
        "insert into collectors (name, started_at, seen_at, status) values ('two', now(), %s, %s)"
    )
    with psycopg.connect(database_url, autocommit=True) as beside:
        beside.execute(other, ("now", json.dumps({"disk_level": "hold"})))
        fill(10)
        await told.watch.look()
        assert (told.watch.level, told.held) == (Level.HOLD, [Keeping.ALL_BUT_VITAL])
        # What is told to others is what was measured here: two do not hold each other.
        assert told.watch.status()["disk_level"] == "well"
        beside.execute("update collectors set seen_at = now() - interval '1 minute'")
        await told.watch.look()
        assert told.watch.level is Level.WELL
        assert told.held == [Keeping.ALL_BUT_VITAL, Keeping.NOTHING]


async def test_a_hold_outlasts_the_one_collector_that_sees_the_disk(
    told: Told, database_url: str, fill: Callable[[int], None]
) -> None:
    """It stopped, and its disk is as full as before: some minutes, unless another sees it."""
    fill(10)
    status = {"disk_level": "hold", "disk_budget_bytes": 9, "disk_budget_is_disk": True,
              "disk_wal_bytes": 0}  # fmt: skip
    other = (
        "insert into collectors (name, started_at, seen_at, stopped_at, status)"
        " values ('two', now(), now(), now(), %s)"
    )
    with psycopg.connect(database_url, autocommit=True) as beside:
        beside.execute(other, (json.dumps(status),))
        seen = []
        for minutes in (0, 4, 6):
            beside.execute(f"update collectors set seen_at = now() - interval '{minutes} minutes'")
            await told.watch.look()
            seen.append(told.watch.level)
        assert seen == [Level.HOLD, Level.HOLD, Level.WELL]

        beside.execute("update collectors set seen_at = now()")
        sees_it = {**status, "disk_level": "well"}
        beside.execute(
            "insert into collectors (name, started_at, seen_at, status)"
            " values ('three', now(), now(), %s)",
            (json.dumps(sees_it),),
        )
        await told.watch.look()
        assert told.watch.level is Level.WELL


async def test_a_look_that_fails_for_whatever_reason_ends_nothing(
    told: Told, fill: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake of ours in a forecast or a measure: the level stays what it was."""
    fill(96)
    await told.watch.look()

    async def wrong(*_: object) -> Measured:
        raise OverflowError("date value out of range")

    told.now_s = 120.0
    with monkeypatch.context() as patched:
        patched.setattr(growth, "read_stocks", wrong)
        fill(91)
        await told.watch.look()
        assert told.watch.level is Level.SHED
    monkeypatch.setattr(disk, "measure", wrong)
    await told.watch.try_look()
    assert told.watch.level is Level.SHED


async def test_a_look_ahead_that_fails_keeps_nobody_from_looking(
    told: Told, fill: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room is made by what is used now; what will be is for people, and tried again in a minute."""
    looks = []

    async def late(*_: object) -> None:
        looks.append(told.now_s)
        raise TimeoutError

    monkeypatch.setattr(growth, "read_stocks", late)
    fill(96)
    for told.now_s in (0.0, 30.0, 61.0):
        await told.watch.look()
    assert (told.watch.level, looks) == (Level.HOLD, [0.0, 61.0])


async def test_what_is_seen_is_a_component_and_figures(
    told: Told, fill: Callable[[int], None]
) -> None:
    """Before the first look nobody knows; then page, rule and log say the same."""
    spec = store_probe.spec(lambda: told.watch.seen)
    assert store_probe.look(spec, Deadline(1.0)).state == "unknown"
    assert told.watch.status() == {}

    fill(96)
    await told.watch.look()
    found = store_probe.look(spec, Deadline(1.0))
    said = "96.0 MB of 100.0 MB (96 %): agents keep all but audit records and errors"
    assert (found.state, found.reason) == ("down", said)
    assert found.facts == {"used_bytes": 96 * MB, "budget_bytes": 100 * MB}
    assert told.watch.status() == {
        "disk_used_bytes": 96 * MB, "disk_budget_bytes": 100 * MB, "disk_budget_is_disk": False,
        "disk_wal_bytes": 0, "disk_level": "hold", "disk_holding": True, "disk_said": said,
    }  # fmt: skip


async def test_agents_are_told_and_newcomers_too(
    start: Start, fill: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """First what they may send all the same, then that there is no credit; and back."""
    for name in ("LOOK_S", "SELDOM_S"):
        monkeypatch.setattr(disk, name, 0.02)
    collector = await start()
    push = await (await collector.agent()).push()
    await push.open(1)
    assert push.credit_bytes > 0
    fill(96)
    await push.until(lambda: push.of("credit"))
    assert push.of("settings")[-1].vital_credit_bytes > 0
    assert push.credit_bytes == 0
    data = lines(3)
    await push.batch(batch_of(1, data, 0, len(data)))
    await push.acked(1, len(data))
    assert push.credit_bytes == 0

    late = await (await collector.agent("late")).push()
    assert late.welcome is not None
    assert late.welcome.credit_bytes == 0
    assert late.welcome.settings.vital_credit_bytes > 0
    fill(50)
    await push.until(lambda: push.credit_bytes)
    await late.until(lambda: late.credit_bytes)
    assert push.of("settings")[-1].vital_credit_bytes == 0


# ------------------------------------------------------------------ with real processes


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
