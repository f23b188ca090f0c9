"""A store that fills up: what a collector does about it, and what still gets through."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

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
from tests.collector.service.agent_client import batch_of, lines

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.collector.service.conftest import Start
MB = 1_000_000
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
