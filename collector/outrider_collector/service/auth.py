"""Who calls: the interceptor that turns the bearer token of a call into an identity.

Every method needs a scope, and a method that is not listed is refused: nothing is reachable because
somebody forgot to protect it. The agent's id comes from its token alone; no message says it.

* IngestService: an agent's own token. Only its SHA-256 is stored, and looked up; found agents are
  remembered for a few seconds. Revocation does not wait for that: it acts inside each commit.
* EnrollService and AdminService: the tokens in the collector's own files.
* grpc.health.v1: open to all, says nothing but serving or not.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import grpc

from outrider.errors import Fault, Reason
from outrider_collector.service.errors import abort
from outrider_collector.store.agents import token_hash

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_CACHE_S = 5.0
_CACHE_SIZE = 10_000
_MAX_TOKEN_BYTES = 512

_INGEST = "/outrider.v1.IngestService/"
_ENROL = "/outrider.v1.EnrollService/"
_ADMIN = "/outrider.v1.AdminService/"
_HEALTH = "/grpc.health.v1.Health/"


class AgentIdentity(NamedTuple):
    """The agent that a token belongs to."""

    agent: int
    team: int
    host: str
    """As it said when it was enrolled, for people."""


class Agents(Protocol):
    """Looks agents up in the store."""

    async def find(self, token_hash: bytes) -> AgentIdentity:
        """Return whose token it is. Raises AGENT_UNKNOWN, TOKEN_REVOKED, STORE_DOWN."""


_caller: ContextVar[AgentIdentity] = ContextVar("outrider_caller")


def caller() -> AgentIdentity:
    """Return the agent that makes the current call of IngestService."""
    return _caller.get()


class Authenticator(grpc.aio.ServerInterceptor):
    """The interceptor; one for a server."""

    def __init__(
        self, agents: Agents, enrol_token: str, admin_token: str, clock: Callable[[], float]
    ) -> None:
        self._agents = agents
        self._enrol_token = enrol_token
        self._admin_token = admin_token
        self._clock = clock
        self._found: OrderedDict[bytes, tuple[float, AgentIdentity]] = OrderedDict()

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Let the call through, or answer it with the reason why not."""
        handler = await continuation(handler_call_details)
        try:
            await self._check(handler_call_details)
        except Fault as fault:
            return _refusal(handler, fault)
        return handler

    def forget(self) -> None:
        """Drop what is remembered of agents, so that a revocation is seen at the next call."""
        self._found.clear()

    async def _check(self, details: grpc.HandlerCallDetails) -> None:
        method = details.method
        if method.startswith(_HEALTH):
            return
        token = _bearer(details)
        if method.startswith(_INGEST):
            # Interceptors and handler of a call run in one task, so the handler sees this.
            _caller.set(await self._agent(token))
        elif method.startswith(_ENROL):
            _same(token, self._enrol_token)
        elif method.startswith(_ADMIN):
            _same(token, self._admin_token)
        else:
            raise Fault(Reason.SCOPE_DENIED, detail="there is no such method", method=method)

    async def _agent(self, token: str) -> AgentIdentity:
        key = token_hash(token)
        now = self._clock()
        remembered = self._found.get(key)
        if remembered is not None and now - remembered[0] < _CACHE_S:
            return remembered[1]
        identity = await self._agents.find(key)
        self._found[key] = (now, identity)
        self._found.move_to_end(key)
        while len(self._found) > _CACHE_SIZE:
            self._found.popitem(last=False)
        return identity


def _bearer(details: grpc.HandlerCallDetails) -> str:
    for key, value in details.invocation_metadata or ():
        if key == "authorization" and isinstance(value, str):
            scheme, _, token = value.partition(" ")
            if scheme.lower() == "bearer" and 0 < len(token) <= _MAX_TOKEN_BYTES:
                return token
    raise Fault(Reason.TOKEN_INVALID, detail="the call has no bearer token")


def _same(given: str, wanted: str) -> None:
    if not hmac.compare_digest(given.encode(), wanted.encode()):
        raise Fault(Reason.TOKEN_INVALID)


def _refusal(
    handler: grpc.RpcMethodHandler[Any, Any] | None, fault: Fault
) -> grpc.RpcMethodHandler[Any, Any]:
    async def refuse(_: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        await abort(context, fault)

    # A handler of the method's own kind answers at once; a unary one waits for a message first.
    streaming = handler is not None and handler.request_streaming
    answer: grpc.RpcMethodHandler[Any, Any] = (
        grpc.stream_stream_rpc_method_handler(refuse)
        if streaming
        else grpc.unary_unary_rpc_method_handler(refuse)
    )
    return answer
