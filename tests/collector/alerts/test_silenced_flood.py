"""A flood that a silence holds back costs what counting it costs: no row, no plan, no message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outrider_alerting import policy
from outrider_collector.store import alerts
from tests.collector.alerts import samples

if TYPE_CHECKING:
    import pytest

    from tests.collector.alerts.world import World


async def test_more_of_what_is_silenced_writes_nothing_of_alerts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty commits after the firing: the ledger, the alert and the feed stay as they are."""
    planned: list[int] = []
    moved: list[int] = []
    plan, store = policy.plan, alerts.store_transitions

    def plans(chosen: Any, *others: Any, **keys: Any) -> Any:
        planned.append(len(chosen))
        return plan(chosen, *others, **keys)

    async def stores(connection: Any, transitions: Any) -> list[int]:
        moved.append(len(transitions))
        return await store(connection, transitions)

    rules = samples.MATCH.replace('keep_firing_for = "1s"', 'keep_firing_for = "1h"')
    await world.apply(rules=rules, notify=samples.notify("http://127.0.0.1:9"))
    await world.silence("rule:payment-failures")
    async with world.evaluating(checkpoint_s=0.1):
        await world.log("charge failed: 0")
        await world.until("select count(*) from alerts where state = 'firing'")
        await _all_is_read(world)
        before = await _written(world)
        monkeypatch.setattr(policy, "plan", plans)
        monkeypatch.setattr(alerts, "store_transitions", stores)
        for n in range(1, 51):
            await world.log(*[f"charge failed: {n}"] * 20)
        await _all_is_read(world)

    assert await _written(world) == before
    assert sum(planned) == sum(moved) == 0
    assert await world.value("select sum(n) from hits") == 1 + 50 * 20


async def _all_is_read(world: World) -> None:
    """What the last step wrote is in the feed too, and moves nothing."""
    newest = await world.value("select max(number) from feed")
    await world.until("select feed_number from evaluator_state", lambda number: number >= newest)


async def _written(world: World) -> list[Any]:
    return [
        await world.rows("select * from notifications order by id"),
        await world.rows("select * from alert_transitions order by id"),
        await world.rows("select id, state, suppressed_by, updated_at from alerts"),
        await world.value("select count(*) from feed where kind = 'alerts'"),
    ]
