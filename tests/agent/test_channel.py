"""What a failed call means where no collector named a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest

from outrider.errors import Reason
from outrider_agent.wire.channel import fault_of, open_channel, push_call
from outrider_protos.v1 import ingest_pb2
from tests.fleet import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def stranger() -> AsyncIterator[str]:
    """Address of a gRPC server that knows one method of ours, and only small messages."""

    async def push(requests: Any, context: Any) -> AsyncIterator[ingest_pb2.PushResponse]:
        async for _ in requests:
            yield ingest_pb2.PushResponse()

    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 100)])
    known: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Push": grpc.stream_stream_rpc_method_handler(push)
    }
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("outrider.v1.IngestService", known),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(0)


async def reason(address: str, message: bytes, method: str = "Push") -> Reason | str:
    """Call and return why it failed."""
    async with open_channel(address) as channel:
        call = (
            push_call(channel)()
            if method == "Push"
            else channel.stream_stream(f"/outrider.v1.IngestService/{method}")()
        )
        try:
            await call.write(message)
            while await call.read() is not grpc.aio.EOF:
                pass
        except grpc.aio.AioRpcError as error:
            return fault_of(error).reason
        nothing = grpc.aio.Metadata()
        ended = grpc.aio.AioRpcError(await call.code(), nothing, nothing, await call.details())
        return fault_of(ended).reason


async def test_nobody_at_the_address_is_not_a_busy_collector() -> None:
    """A refused connection is said as what it is."""
    assert await reason(f"127.0.0.1:{free_port()}", b"x") is Reason.COLLECTOR_UNREACHABLE


async def test_message_over_the_limit_is_too_large(stranger: str) -> None:
    """GRPC's own limit on a message."""
    assert await reason(stranger, b"x" * 101) is Reason.BATCH_TOO_LARGE


async def test_server_without_the_method_speaks_another_version(stranger: str) -> None:
    """A method that is not there is no matter of load."""
    assert await reason(stranger, b"x", "Other") is Reason.VERSION_UNSUPPORTED
