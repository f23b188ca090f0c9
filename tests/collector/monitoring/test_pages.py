"""A collector that runs, asked over HTTP and over gRPC's health service."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import psycopg
from grpc_health.v1 import health_pb2, health_pb2_grpc

from outrider_collector.ingest import keeper
from outrider_collector.monitoring import readiness
from tests.collector.service.running import ask, start

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def test_readiness_follows_the_schema(
    tmp_path: Path, database_url: str, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With another schema a collector lives and is not ready; put right, it is ready again."""
    monkeypatch.setattr(readiness, "LOOK_S", 0.1)
    running = await start(database_url, tmp_path, http_listen=f"127.0.0.1:{unused_tcp_port}")
    base = f"http://127.0.0.1:{unused_tcp_port}"
    async with (
        httpx.AsyncClient(base_url=base) as client,
        grpc.aio.insecure_channel(running.address) as channel,
    ):
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == SERVING
        assert (await client.get("/readyz")).text == "ready\n"
        figures = (await client.get("/metrics")).text
        assert "outrider_collector_ready 1\n" in figures
        assert "outrider_store_feed_number " in figures

        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(
                "insert into schema_migrations values (9999, 'later', '', now(), 9999)"
            )
        assert (await watch.read()).status == NOT_SERVING
        refused = await client.get("/readyz")
        assert (refused.status_code, "upgrade Outrider" in refused.text) == (503, True)
        assert refused.text.count("\n") == 1
        assert (await client.get("/healthz")).status_code == 200
        assert "outrider_collector_ready 0\n" in (await client.get("/metrics")).text

        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("delete from schema_migrations where version = 9999")
        assert (await watch.read()).status == SERVING
        watch.cancel()
    await running.end()


async def test_a_collector_that_stores_no_health_is_not_ready(
    tmp_path: Path, database_url: str, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database answers, but heartbeats find no table: not ready, until they do."""
    monkeypatch.setattr(readiness, "LOOK_S", 0.1)
    monkeypatch.setattr(keeper, "FLUSH_S", 0.1)
    monkeypatch.setattr(keeper, "FAILING_S", 1.0)
    running = await start(database_url, tmp_path, http_listen=f"127.0.0.1:{unused_tcp_port}")
    url = f"http://127.0.0.1:{unused_tcp_port}/readyz"
    async with httpx.AsyncClient() as client, asyncio.timeout(20.0):
        ask(database_url, "alter table heartbeats rename to elsewhere")
        # On a slow machine a second without health may pass before the table is missed.
        missed = 'relation "heartbeats" does not exist'
        while missed not in (refused := (await client.get(url)).text):
            await asyncio.sleep(0.05)
        assert "no health is stored" in refused
        ask(database_url, "alter table elsewhere rename to heartbeats")
        while (await client.get(url)).text != "ready\n":
            await asyncio.sleep(0.05)
    await running.end()
