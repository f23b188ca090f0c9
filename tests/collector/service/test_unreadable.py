"""Bytes that are no message of their method, on every method of a real server."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from outrider_protos.v1 import admin_pb2, ingest_pb2
from tests.collector.service.agent_client import bearer

if TYPE_CHECKING:
    from tests.collector.service.running import Running

GARBAGE = b"\xff\xff\xff\xff garbage"


def methods() -> list[tuple[str, bool]]:
    """Every method that a collector serves, and whether its requests are a stream."""
    found = []
    for file in (ingest_pb2, admin_pb2, health_pb2):
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                name = f"/{service.full_name}/{method.name}"
                found.append((name, method.client_streaming))
    return [one for one in found if not one[0].endswith("Health/List")]


async def test_garbage_is_the_callers_mistake(
    collector: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """INVALID_ARGUMENT with the reason, from every method; no traceback in anybody's log."""
    agent = await collector.agent()
    tokens = {"Ingest": agent.token, "Enroll": collector.enrol_token}
    caplog.set_level(logging.DEBUG)
    async with grpc.aio.insecure_channel(collector.address) as channel:
        for method, is_stream in methods():
            token = next((t for part, t in tokens.items() if part in method), collector.admin_token)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await _send(channel, method, token, is_stream=is_stream)
            assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT, method
            assert "no message of this method" in (refused.value.details() or ""), method

    assert not [record for record in caplog.records if record.exc_info]


async def _send(channel: Any, method: str, token: str, *, is_stream: bool) -> None:
    metadata = bearer(token)
    if is_stream:
        stream = channel.stream_stream(method)(iter([GARBAGE]), metadata=metadata, timeout=20)
        async for _ in stream:
            pass
    elif method.endswith("Watch"):
        async for _ in channel.unary_stream(method)(GARBAGE, metadata=metadata, timeout=20):
            pass
    else:
        await channel.unary_unary(method)(GARBAGE, metadata=metadata, timeout=20)
