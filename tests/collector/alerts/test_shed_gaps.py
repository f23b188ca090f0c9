"""Records that made room are lost, so rules of the kind ``gap`` tell of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outrider_collector.store.budget import shed
from outrider_collector.store.budget.limits import Measured, Wanted
from tests.collector.reading.compacting import compact

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from tests.collector.alerts.world import World


async def full(_: AsyncConnection) -> Measured:
    """A store that stays full whatever goes."""
    return Measured(99, 0, None)


async def test_what_was_shed_fires_a_rule_of_gaps(world: World) -> None:
    """One row of the feed for a table, which names every stream's gap, once it is gone."""
    await world.apply(rules='[[rule]]\nname = "r"\nkind = "gap"\n')
    async with world.evaluating():
        await world.log("one", "two", level="debug")
        await world.log("three", level="debug", service="orders")
        await compact(world.url)
        before = await world.value("select max(number) from feed where kind = 'ingest'")
        (gone,) = await shed.shed(world.connection, Wanted(100), measure=full)
        assert gone.records == 3
        await world.until("select count(*) = 2 from alerts where state = 'firing'")

    query = f"select count(*) from feed where kind = 'ingest' and number > {before}"
    assert await world.value(query) == 1
    assert await world.value("select count(distinct commit_id) from gaps") == 1
    assert await world.value("select min(summary) from alerts") == (
        "r: 1 record lost of service orders, worker w1, host host-1: shed"
    )
