"""A rule that costs too much is frozen for every collector and says so; applying thaws it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.types.json import Jsonb

from outrider.errors import Fault, Reason
from outrider_collector.alerts.spending import HIT_S, Spending
from outrider_collector.ingest.figures import Figures
from outrider_collector.ingest.links import Links
from outrider_collector.ingest.rulebook import RuleBook
from outrider_collector.store import rules
from tests.collector.alerts import samples
from tests.collector.alerts.replaying import replayed, stored

if TYPE_CHECKING:
    from tests.collector.alerts.world import World

WHY = "its filter took 41 % of a collector's time, 4.1 s of 10.0 s"
FROZEN = "select count(*) from alerts where rule = 'outrider-frozen' and state = 'firing'"


async def test_frozen_rules_are_a_set_of_the_same_files(world: World) -> None:
    """One more version, told through the feed and noted in the audit log; apply makes another."""
    version = await world.apply(rules=samples.MATCH)
    frozen = await rules.freeze(world.connection, version, {"payment-failures": WHY})
    active = await rules.active(world.connection)

    assert active is not None
    assert (frozen, active.version) == (version + 1, version + 1)
    assert active.frozen["payment-failures"].why == WHY
    assert (
        await world.value("select frozen from alert_rules where name = 'payment-failures'") == WHY
    )
    assert await rules.freeze(world.connection, version, {"payment-failures": WHY}) is None
    assert await rules.freeze(world.connection, version + 1, {"payment-failures": WHY}) is None
    assert (await world.news("rules"))[-1]["version"] == version + 1
    reason = "select reason from audit_log where actor = 'outrider' order by id desc limit 1"
    assert WHY in await world.value(reason)

    applied = await rules.apply(world.connection, active.files, "anna")
    assert (applied.stored, applied.version) == (True, version + 2)
    assert list(applied.thawed) == ["payment-failures"]
    assert not (await rules.load(world.connection, version + 2)).frozen


async def test_a_costly_filter_is_frozen_in_the_path_of_records(world: World) -> None:
    """No commit counts by it from then on; its alerts stay; a replay is byte for byte the same."""
    version = await world.apply(rules=samples.MATCH + samples.COUNT)
    links = Links(world.url, "test")
    book = RuleBook(links, Figures())
    await book.reload()
    async with world.evaluating():
        await world.log("charge failed: 1")
        await world.until("select count(*) from alerts where state = 'firing'")
        book.active.overspent["payment-failures"] = WHY
        await book.freeze()
        assert book.active.version == version
        await book.refresh()
        await world.until(FROZEN)
        assert book.active.version == version + 1
        assert await world.value("select stale from alerts where rule = 'payment-failures'")
        world.version, world.counter = book.active.version, book.active._counter
        await world.log("charge failed: 2", "error 2", "error 3", "error 4", "error 5")
        await world.until("select count(*) from alerts where kind = 'count'")
        await world.apply(rules=samples.MATCH + samples.COUNT)
        await world.until(FROZEN, lambda n: n == 0)
    await links.close()

    charge = await world.rows("select state, stale from alerts where rule = 'payment-failures'")
    assert [row["state"] for row in charge] == ["firing"]
    hits = "select count(*) from hits h join rule_versions v using (hits_key)"
    assert await world.value(f"{hits} where v.name = 'payment-failures' and v.version = 1") == 1
    assert await replayed(world.connection) == await stored(world.connection)


async def test_nothing_is_frozen_beside_a_collector_that_could_not_go_on(world: World) -> None:
    """One of the version before, alive; not one that is gone, stopped or of this version."""
    version = await world.apply(rules=samples.MATCH)
    engine = Jsonb({"engine": rules.FREEZING_ENGINE})
    await world.connection.execute(
        "insert into collectors (name, started_at, seen_at, stopped_at, status) values"
        " ('new', now(), now(), null, %s), ('stopped', now(), now(), now(), '{}'),"
        " ('gone', now(), now() - interval '1 minute', null, '{}'),"
        " ('old', now(), now(), null, '{}')",
        (engine,),
    )
    with pytest.raises(Fault, match="collector old is of a version that would take no more"):
        await rules.freeze(world.connection, version, {"payment-failures": WHY})
    assert await rules.active_version(world.connection) == version

    await world.connection.execute("update collectors set status = %s", (engine,))
    frozen = await rules.freeze(world.connection, version, {"payment-failures": WHY})
    assert frozen == version + 1


async def test_new_rules_are_read_while_a_freeze_waits(world: World) -> None:
    """Commits leave it no room: that is its own trouble, not one of reading the rules."""
    version = await world.apply(rules=samples.MATCH)
    links = Links(world.url, "test")
    book = RuleBook(links, Figures())
    await book.reload()
    book.active.overspent["payment-failures"] = WHY
    newer = await world.apply(rules=samples.MATCH + samples.COUNT)
    async with await psycopg.AsyncConnection.connect(world.url) as commit:
        await commit.execute("select pg_advisory_xact_lock_shared(rules_lock_key())")
        with pytest.raises(Fault) as caught:
            await book.freeze()
        assert caught.value.reason is Reason.STORE_DOWN
        await book.refresh()
    await links.close()
    assert (version, book.active.version) == (newer - 1, newer)
    assert not book.active.overspent


async def test_costly_windows_are_frozen_by_the_evaluator(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a rule takes beyond what its hits allow, step after step."""
    await world.apply(rules=samples.MATCH + samples.COUNT)
    end = Spending.end

    def costly(self: Spending, hits: dict[str, int]) -> dict[str, str]:
        return end(self, hits) or ({"payment-failures": WHY} if "payment-failures" in hits else {})

    monkeypatch.setattr(Spending, "end", costly)
    async with world.evaluating():
        await world.log("charge failed: 1")
        await world.until(FROZEN)

    active = await rules.active(world.connection)
    assert active is not None
    assert list(active.frozen) == ["payment-failures"]


def test_what_a_step_spends_is_counted_to_the_rule() -> None:
    """By the time between one rule and the next; hits allow a little each."""
    now = [0.0]
    spending = Spending(lambda: now[0], lambda: now[0])

    def step(seconds: float, hits: int) -> dict[str, str]:
        spending.begin()
        now[0] += 0.5
        spending.enter("slow")
        now[0] += seconds
        spending.enter("quick")
        return spending.end({"slow": hits})

    assert [step(0.5, 0) for _ in range(6)] == [{}] * 6
    found: dict[str, str] = {}
    while not found:
        found = step(0.5, 0)
    assert "53 % of the evaluator's time" in found["slow"]
    spending.forget()
    assert [step(0.5, int(0.5 / HIT_S)) for _ in range(50)] == [{}] * 50
