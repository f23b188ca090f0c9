"""The canary goes the way of an alert, and says which part of it stands still."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from outrider.configuration import Source
from outrider.probes.deadline import Deadline
from outrider.probes.reach import ReachError
from outrider_collector import canary_probe, probe_kinds
from tests.servers.http import HttpServer, Reply, Request

if TYPE_CHECKING:
    from outrider.probes.result import Result
    from outrider.probes.spec import Spec
    from tests.collector.alerts.world import World


def canary(world: World, **keys: Any) -> Spec[Any]:
    """The probe as configuration makes it."""
    tables = [{"kind": "canary", **keys}] if keys else []
    source = Source("outrider.toml", "")
    (spec,) = probe_kinds.read(tables, ["127.0.0.0/8"], source, world.url)
    return spec


async def look(spec: Spec[Any], timeout_s: float = 10.0) -> Result:
    """Look once, as the runner does on its threads."""
    return await asyncio.to_thread(canary_probe.look, spec, Deadline(timeout_s))


async def test_every_collector_has_one_and_it_arrives(world: World) -> None:
    """Unconfigured, from the feed through evaluation and delivery; it is no alert of anybody."""
    spec = canary(world)
    assert (spec.name, spec.kind.group, spec.every_s) == ("canary", "pipeline", 30.0)
    async with world.evaluating(), world.delivering():
        first, second = await look(spec), await look(spec)
    assert (first.state, second.state) == ("up", "up")
    assert 0 < second.took_ms < canary_probe.SLOW_MS
    assert not await world.rows("select * from alerts")
    rows = await world.rows("select fate, attempts from notifications order by id")
    assert [tuple(row.values()) for row in rows] == [("sent", 1), ("sent", 1)]


async def test_it_says_who_stands_still(world: World) -> None:
    """Without an evaluator, and without anybody who delivers."""
    with pytest.raises(ReachError, match="nobody evaluates"):
        await look(canary(world), 0.5)
    async with world.evaluating():
        await world.until("select count(*) from notifications")
        with pytest.raises(ReachError, match="nobody delivers"):
            await look(canary(world), 2.0)


async def test_somebody_outside_hears_of_each_arrival(world: World) -> None:
    """The dead man's URL is asked after an arrival; when it refuses, that is told."""
    asked: list[str] = []
    status = [200]

    async def answer(request: Request) -> Reply:
        asked.append(request.path)
        return Reply(status[0], b"ok")

    server = HttpServer(answer)
    await server.start(0)
    try:
        spec = canary(world, dead_man_url=f"http://127.0.0.1:{server.port}/ping/secret")
        async with world.evaluating(), world.delivering():
            assert (await look(spec)).state == "up"
            status[0] = 500
            refused = await look(spec)
    finally:
        await server.stop()
    assert asked == ["/ping/secret", "/ping/secret"]
    assert refused.state == "degraded"
    assert "HTTP 500" in refused.reason
    assert "secret" not in refused.reason


async def test_somebody_outside_who_does_not_answer_costs_no_more_than_the_time_of_the_look(
    world: World,
) -> None:
    """The wait leaves them some of it, and they get what is left."""
    free = asyncio.Event()

    async def hang(_: Request) -> Reply:
        await free.wait()
        return Reply(200, b"")

    server = HttpServer(hang)
    await server.start(0)
    try:
        spec = canary(world, dead_man_url=f"http://127.0.0.1:{server.port}/ping")
        waiting = Deadline(4.0)
        with pytest.raises(ReachError, match="nobody evaluates"):
            await asyncio.to_thread(canary_probe.look, spec, waiting)
        assert waiting.left_s() > 1.0
        asking = Deadline(0.5)
        assert "no answer" in await asyncio.to_thread(canary_probe.tell_outside, spec, asking)
        assert asking.took_ms() < canary_probe.PING_S * 1_000
    finally:
        free.set()
        await server.stop()
