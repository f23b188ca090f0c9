"""Many rows wait: nothing is concluded before they are counted, and what is critical goes ahead."""

from __future__ import annotations

from functools import partial
from operator import eq
from typing import TYPE_CHECKING, Any

import pytest

from outrider.errors import Fault, Reason
from outrider_alerting.state import EngineState
from outrider_collector.alerts import leader
from outrider_collector.alerts.leader import Leader
from outrider_collector.store import rule_states
from tests.collector.alerts import samples
from tests.collector.alerts.replaying import replayed, stored

if TYPE_CHECKING:
    from tests.collector.alerts.world import World

S = 1_000_000
WARNINGS = """
[[rule]]
name = "unit-failed"
kind = "match"
filter = "service:units failed"
by = ["worker"]
"""
LASTING = samples.MATCH.replace('keep_firing_for = "1s"', 'keep_firing_for = "4s"')


async def test_an_evaluator_that_lags_concludes_no_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Watermarks are far ahead of the records that it has counted: what fires goes on."""
    monkeypatch.setattr(leader, "FEED_ROWS_MAX", 1)
    await world.apply(rules=LASTING)
    start_us = await world.now_us() - 40 * S
    async with world.evaluating("one"):
        await world.log("charge failed: 0", at_us=start_us)
        await world.until("select count(*) from alerts where state = 'firing'")
    for n in range(1, 8):
        await world.log(
            f"charge failed: {n}", at_us=start_us + 2 * n * S, watermark_us=start_us + 30 * S
        )
    async with world.evaluating("two"):
        await world.until("select count(*) from alerts where state = 'resolved'")

    ended = await world.value("select resolved_at from alerts")
    assert await world.value("select count(*) from alerts") == 1
    started = await world.value("select started_at from alerts")
    assert (ended - started).total_seconds() >= 14
    assert await replayed(world.connection) == await stored(world.connection)


@pytest.mark.parametrize("slice_hits", [1, 3])
async def test_critical_alerts_overtake_a_storm(
    world: World, monkeypatch: pytest.MonkeyPatch, slice_hits: int
) -> None:
    """Committed last and told first, also over a takeover in between; each hit counts once."""
    monkeypatch.setattr(leader, "SLICE_HITS", slice_hits)
    monkeypatch.setattr(leader, "FIRST_HITS", 1)
    await world.apply(rules=WARNINGS + LASTING + samples.COUNT)
    for n in range(6):
        await world.log("failed", service="units", worker=f"u{n}", level="warn")
    await world.log("charge failed", "error", "error", "error")
    async with world.evaluating("one"):
        await world.until("select count(*) from alerts where kind = 'match'", lambda n: n >= 2)
    async with world.evaluating("two"):
        await world.until("select count(*) from alerts where state = 'firing'", lambda n: n == 8)

    rows = await world.rows("select rule, value from alerts order by id")
    assert rows[0]["rule"] == "payment-failures"
    assert {row["value"] for row in rows if row["rule"] == "many-errors"} == {4.0}
    parts = {
        r["part"] for r in await world.rows("select inputs->>'part' as part from evaluation_steps")
    }
    assert {"urgent", "rest"} <= parts
    assert await world.value("select feed_number >= urgent_to from evaluator_state")
    assert await replayed(world.connection) == await stored(world.connection)


UNITS = """
[[rule]]
name = "unit-failed"
kind = "match"
filter = "service:units"
by = ["attrs.unit"]

[[rule]]
name = "units-failing"
kind = "count"
filter = "service:units"
window = "1h"
above = 1
"""


async def test_the_hits_of_one_commit_are_evaluated_in_growing_slices(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also over takeovers in the midst of it: each hit counts once, and a replay is the same."""
    monkeypatch.setattr(leader, "SLICE_HITS", 4)
    monkeypatch.setattr(leader, "FIRST_HITS", 1)
    await world.apply(rules=UNITS + LASTING)
    for n in range(3):
        units = [f'{{"unit": "{n}-{m}"}}' for m in range(11)]
        failed = ["failed"] * len(units)
        await world.log(*failed, service="units", worker=f"u{n}", level="warn", attributes=units)
        await world.log("charge failed", worker=f"w{n}")
    total = Leader._step
    left = [3]

    async def step(self: Leader, *given: Any, **named: Any) -> None:
        await total(self, *given, **named)
        left[0] -= 1
        if not left[0]:
            raise Fault(Reason.STORE_DOWN, detail="for this test")

    monkeypatch.setattr(Leader, "_step", step)
    for tenure in range(4):
        left[0] = 3
        async with world.evaluating(f"{tenure}"):
            await world.until("select 1", lambda _: left[0] <= 0)
    left[0] = -1
    async with world.evaluating("last"):
        await world.until("select count(*) from alerts", partial(eq, 3 * 11 + 3 + 1))
        await world.until(
            "select feed_number >= (select max(number) from feed where kind = 'ingest')"
            " from evaluator_state"
        )

    rows = await world.rows(
        "select inputs -> 'cut' as cut from evaluation_steps"
        " where inputs ->> 'cut' is not null order by step"
    )
    sizes = [end - begin for begin, end in (row["cut"] for row in rows)]
    assert set(sizes[:1]) == {1} and max(sizes) == 4
    assert sum(sizes) == 3 * 12
    states = await rule_states.read_states(world.connection)
    known = EngineState.load(b"{}", [(s.rule, tuple(s.key), s.state.encode()) for s in states])
    assert sum(n for _, n, _ in known.rules["units-failing", ()].buckets) == 3 * 11
    assert await replayed(world.connection) == await stored(world.connection)
