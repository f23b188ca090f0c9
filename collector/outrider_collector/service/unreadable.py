"""Bytes that are no message of their method: the caller's mistake, and answered as one.

grpc decodes a request before any of our code sees it, and what that raises it takes for a crash of
the server: a traceback, and UNKNOWN for the caller. So decoding never raises here. A unary call is
answered at once; of a stream, :func:`require` tells who reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import grpc
from google.protobuf.message import DecodeError

import outrider
from outrider.errors import Fault, Reason
from outrider_collector.service.errors import abort

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler = grpc.RpcMethodHandler[Any, Any]

_UNREADABLE: Final = object()
"""Stands for a request that could not be decoded."""

log = outrider.get_logger(__name__)


def require(message: object) -> None:
    """Raise MESSAGE_INVALID where what was read of a stream is no message."""
    if message is _UNREADABLE:
        raise Fault(Reason.MESSAGE_INVALID)


class Reader(grpc.aio.ServerInterceptor):
    """Decodes the requests of every method."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Let the call through, with a decoder that does not raise."""
        handler = await continuation(handler_call_details)
        return None if handler is None else _readable(handler, handler_call_details.method)


def _readable(handler: Handler, method: str) -> Handler:
    decode = _decoder(handler.request_deserializer, method)
    encode = handler.response_serializer
    if handler.stream_stream is not None:
        return grpc.stream_stream_rpc_method_handler(handler.stream_stream, decode, encode)
    if handler.unary_stream is not None:
        return grpc.unary_stream_rpc_method_handler(_answered(handler.unary_stream), decode, encode)
    if handler.unary_unary is not None:
        return grpc.unary_unary_rpc_method_handler(_answered(handler.unary_unary), decode, encode)
    return handler


def _decoder(decode: Callable[[bytes], Any] | None, method: str) -> Callable[[bytes], Any] | None:
    if decode is None:
        return None

    def read(raw: bytes) -> Any:
        try:
            return decode(raw)
        except DecodeError:
            log.debug("a caller sent bytes that are no message", method=method, bytes=len(raw))
            return _UNREADABLE

    return read


def _answered(serve: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    async def answer(request: object, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        try:
            require(request)
        except Fault as fault:
            await abort(context, fault)
        return await serve(request, context)

    return answer
