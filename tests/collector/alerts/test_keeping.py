"""Rule states in rows and in the journal: who takes over reads them as they were stored last."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from datetime import timedelta
from functools import partial
from operator import eq
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import pytest
import zstandard

from outrider_alerting.state import EngineState, RuleState, decode_states, encode_states
from outrider_collector.alerts import keeping, recording
from outrider_collector.alerts.keeping import Keeping
from outrider_collector.alerts.leader import Leader
from outrider_collector.store import leases, rule_states
from tests.collector.alerts import samples
from tests.collector.alerts.replaying import replayed, stored

if TYPE_CHECKING:
    from collections.abc import Callable

    from outrider_alerting.state import Address
    from tests.collector.alerts.world import World

P = ParamSpec("P")
R = TypeVar("R")

KEYS: list[Address] = [(f"r{n % 2}", (f"w{n}",)) for n in range(12)]
JOURNAL = "select count(*) from rule_state_journal"


async def load(world: World) -> tuple[Keeping, dict[Address, RuleState]]:
    """Take over."""
    kept = Keeping(world.connection)
    rows = await rule_states.read_states(world.connection)
    state = EngineState.load(
        b"", ((row.rule, tuple(row.key), row.state.encode()) for row in rows), await kept.load()
    )
    return kept, state.rules


def some_changes(rng: random.Random, step: int) -> dict[Address, RuleState | None]:
    """Change some keys, forget others."""
    chosen = rng.sample(KEYS, rng.randint(0, len(KEYS)))
    return {
        address: RuleState(buckets=((step, 1, step + 1),), floor_s=step)
        if rng.random() < 0.8
        else None
        for address in chosen
    }


async def store(world: World, kept: Keeping, step: int, told: set[Address]) -> None:
    """Store what waits as a step."""
    async with world.connection.transaction():
        await world.connection.execute("update evaluator_state set step = %s", (step,))
        await kept.store(step, told)


async def journal_length(world: World) -> int:
    """Return how many states the stored journal has, each entry counted as one more."""
    entries = await rule_states.read_journal(world.connection)
    states = sum(len(decode_states(zstandard.decompress(entry.states))) for entry in entries)
    return states + len({entry.step for entry in entries})


@pytest.mark.parametrize("limits", [(20_000, 40_000), (5, 20), (3, 4), (0, 1)])
@pytest.mark.parametrize("seed", range(8))
async def test_states_are_read_as_they_were_stored_last(
    world: World, monkeypatch: pytest.MonkeyPatch, seed: int, limits: tuple[int, int]
) -> None:
    """Few or many, folded or not, in the middle of a round, with keys that come back or go; the
    journal is never longer than its limit.
    """
    keys_max, states_max = limits
    monkeypatch.setattr(keeping, "JOURNAL_KEYS_MAX", keys_max)
    monkeypatch.setattr(keeping, "JOURNAL_STATES_MAX", states_max)
    monkeypatch.setattr(keeping, "ROWS_MAX", 3)
    monkeypatch.setattr(keeping, "PART_STATES", 4)
    rng = random.Random(seed)
    known: dict[Address, RuleState] = {}
    kept, _ = await load(world)
    for step in range(1, 60):
        changed = some_changes(rng, step)
        kept.change(changed)
        told = {address for address in changed if rng.random() < 0.2}
        await store(world, kept, step, told)
        assert await journal_length(world) <= states_max
        known = {a: s for a, s in (known | changed).items() if s is not None}
        for _ in range(rng.randint(0, 3)):
            if kept.has_journal:
                async with world.connection.transaction():
                    await kept.fold(rng.randint(1, 5))
        found, states = await load(world)
        assert states == known
        if rng.random() < 0.2:
            kept = found
    while kept.has_journal:
        await kept.fold(5)
    assert await world.value(JOURNAL) == 0
    assert (await load(world))[1] == known


async def test_a_version_that_knows_no_journal_may_go_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It finds the states of alerts as rows; once it has stored a step, the journal is void."""
    monkeypatch.setattr(keeping, "ROWS_MAX", 3)
    kept, _ = await load(world)
    kept.change(dict.fromkeys(KEYS, RuleState(floor_s=1)))
    await store(world, kept, 1, {KEYS[0]})
    (row,) = await rule_states.read_states(world.connection)
    assert (row.rule, tuple(row.key)) == KEYS[0]

    theirs = RuleState(floor_s=2)
    await rule_states.write_states(world.connection, {KEYS[0]: theirs.encode().decode()})
    await world.connection.execute("update evaluator_state set step = 2")

    kept, states = await load(world)
    assert states == {KEYS[0]: theirs}
    assert not kept.has_journal and await world.value(JOURNAL) == 0


def test_many_states_are_one_value() -> None:
    """All fields come back, and that a key was forgotten."""
    changed: dict[Address, RuleState | None] = {
        ("r", ("a", "b")): RuleState(phase="firing", buckets=((1, 2, 3),), names=((1, 2, 3),)),
        ("r", ()): None,
    }
    assert decode_states(encode_states(changed)) == changed


async def test_what_was_counted_beside_an_alert_survives_a_kill(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three errors of each worker are counted, an alert is told, the connection ends: the next
    error of each worker is its fourth. The rows come later, and with the end at the latest.
    """
    monkeypatch.setattr(keeping, "ROWS_MAX", 3)
    await world.apply(rules=samples.MATCH + samples.COUNT)
    workers = [f"w{n}" for n in range(6)]

    async with world.evaluating(checkpoint_s=3_600):
        await world.until("select feed_number >= 1 from evaluator_state")
        for worker in workers:
            await world.log("error 0", "error 1", "error 2", worker=worker)
        await asyncio.sleep(0.5)
        await world.log("charge failed", worker="other")
        await world.until("select count(*) from alerts where state = 'firing'")
        assert await world.value(JOURNAL) == 1
        assert await world.value("select count(*) from rule_states") == 1
        assert await world.value(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = 'outrider evaluator' and datname = current_database()"
        )
        for worker in workers:
            await world.log("error 3", worker=worker)
        await world.until("select count(*) from alerts where rule = 'many-errors'", partial(eq, 6))

    assert await world.value(JOURNAL) == 0
    assert await world.value("select count(*) from rule_states where rule = 'many-errors'") == 7
    rows = await world.rows("select distinct value from alerts where rule = 'many-errors'")
    assert [row["value"] for row in rows] == [4.0]
    assert await replayed(world.connection) == await stored(world.connection)


@pytest.mark.parametrize(("checkpoint_s", "journal_keys"), [(0.1, 100), (3_600, 1)])
async def test_the_journal_becomes_rows_beside_evaluation(
    world: World, monkeypatch: pytest.MonkeyPatch, checkpoint_s: float, journal_keys: int
) -> None:
    """Alert after alert, with keys counted in between: some time later all are rows, or when the
    journal has grown long.
    """
    monkeypatch.setattr(keeping, "ROWS_MAX", 0)
    monkeypatch.setattr(keeping, "JOURNAL_KEYS_MAX", journal_keys)
    await world.apply(rules=samples.MATCH + samples.COUNT)

    async with world.evaluating(checkpoint_s=checkpoint_s):
        for n in range(3):
            await world.log("error 0", "charge failed", worker=f"w{n}")
        await world.until("select count(*) from alerts", partial(eq, 3))
        await world.until("select count(*) from rule_states", partial(eq, 6))
        await world.until(JOURNAL, partial(eq, 0))


async def test_keys_that_change_with_every_step_do_not_make_the_journal_longer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has time to fold: it is written anew, and only keys beyond the limit become rows."""
    monkeypatch.setattr(keeping, "ROWS_MAX", 0)
    monkeypatch.setattr(keeping, "JOURNAL_KEYS_MAX", 12)
    monkeypatch.setattr(keeping, "JOURNAL_STATES_MAX", 40)
    kept, _ = await load(world)
    for step in range(1, 30):
        kept.change(dict.fromkeys(KEYS, RuleState(floor_s=step)))
        await store(world, kept, step, set())
        assert await journal_length(world) <= 40
    assert await rule_states.read_states(world.connection) == []

    more: list[Address] = [("more", (f"w{n}",)) for n in range(5)]
    kept.change(dict.fromkeys(more, RuleState(floor_s=30)))
    await store(world, kept, 30, set())
    assert len(await rule_states.read_states(world.connection)) == 5
    assert (await load(world))[1] == dict.fromkeys(KEYS, RuleState(floor_s=29)) | dict.fromkeys(
        more, RuleState(floor_s=30)
    )


async def elected(world: World) -> Leader:
    """Return a leader that has not loaded anything yet."""
    lease = await leases.take(world.connection, "evaluator", "one", 10.0)
    assert lease is not None
    checkpoint = timedelta(seconds=15)
    return Leader(world.connection, lease, time.monotonic, asyncio.Event(), checkpoint=checkpoint)


def once_the_loop_turns(function: Callable[P, R]) -> Callable[P, R]:
    """Return the function as one that waits for the event loop first."""
    loop = asyncio.get_running_loop()

    def waiting(*args: P.args, **kwargs: P.kwargs) -> R:
        turned = threading.Event()
        loop.call_soon_threadsafe(turned.set)
        assert turned.wait(10)
        return function(*args, **kwargs)

    return waiting


async def test_who_takes_over_holds_up_nobody_while_states_are_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ingest and heartbeats share the loop: it turns while states of journal and rows are made."""
    monkeypatch.setattr(keeping, "ROWS_MAX", 3)
    kept, _ = await load(world)
    kept.change(dict.fromkeys(KEYS, RuleState(floor_s=1)))
    await store(world, kept, 1, set())
    leader = await elected(world)
    monkeypatch.setattr(keeping, "decode_states", once_the_loop_turns(decode_states))
    monkeypatch.setattr(EngineState, "load", once_the_loop_turns(EngineState.load))

    await leader.load(10.0)

    await leader.settle()
    assert len(await rule_states.read_states(world.connection)) == len(KEYS)


async def test_an_end_makes_rows_for_a_second_and_no_longer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is no row by then stays in the journal, from which the successor goes on."""
    monkeypatch.setattr(keeping, "ROWS_MAX", 3)
    monkeypatch.setattr(recording, "FOLD_AT_END_ROWS", 1)
    monkeypatch.setattr("outrider_collector.alerts.leader.FOLD_AT_END_S", 0.0)
    kept, _ = await load(world)
    kept.change(dict.fromkeys(KEYS, RuleState(floor_s=1)))
    await store(world, kept, 1, set())
    leader = await elected(world)
    await leader.load(10.0)

    await leader.settle()

    assert len(await rule_states.read_states(world.connection)) == 1
    assert (await load(world))[1] == dict.fromkeys(KEYS, RuleState(floor_s=1))
