"""Faults as gRPC statuses: the code of the catalogue, a sentence, and the reason for programs.

The trailing metadata say what a status code cannot: ``outrider-reason`` (a name of the catalogue),
``outrider-retry-after-ms`` where the server asks for a delay, and ``outrider-details`` (a JSON
object of the fault's particulars). All of it together stays under 4 KiB: with more, a client sees
RESOURCE_EXHAUSTED instead of the status, and repeats what must not be repeated.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NoReturn

import grpc

import outrider
from outrider.errors import Fault, Reason

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

REASON_KEY = "outrider-reason"
RETRY_AFTER_KEY = "outrider-retry-after-ms"
DETAILS_KEY = "outrider-details"

_TEXT_CHARACTERS = 500
_DETAILS_BYTES = 2_048

log = outrider.get_logger(__name__)


def status_of(fault: Fault) -> tuple[grpc.StatusCode, str, tuple[tuple[str, str], ...]]:
    """Return status code, sentence and trailing metadata of a fault."""
    reason = fault.reason
    code = grpc.StatusCode[reason.grpc_code] if isinstance(reason, Reason) else _UNKNOWN
    metadata = [(REASON_KEY, str(reason))]
    if fault.retry_after_s is not None:
        metadata.append((RETRY_AFTER_KEY, str(int(fault.retry_after_s * 1_000))))
    particulars = {key: value for key, value in fault.metadata.items() if key != "detail"}
    if particulars:
        # ASCII by json's default: metadata values must be.
        details = json.dumps(particulars, default=str)
        if len(details) <= _DETAILS_BYTES:
            metadata.append((DETAILS_KEY, details))
    return code, fault.text[:_TEXT_CHARACTERS], tuple(metadata)


async def abort(context: grpc.aio.ServicerContext[Any, Any], fault: Fault) -> NoReturn:
    """End the call with the fault's status."""
    code, text, metadata = status_of(fault)
    await context.abort(code, text, trailing_metadata=metadata)
    raise AssertionError  # abort always raises


def guarded(
    method: Callable[[Any, Any, Any], Awaitable[Any]],
) -> Callable[[Any, Any, Any], Awaitable[Any]]:
    """Wrap a unary method: a Fault it raises becomes its status, a mistake of ours INTERNAL_BUG."""

    async def answer(
        servicer: Any, request: Any, context: grpc.aio.ServicerContext[Any, Any]
    ) -> Any:
        try:
            return await method(servicer, request, context)
        except Fault as fault:
            await abort(context, fault)
        except grpc.aio.AbortError:
            raise
        except Exception:
            log.exception("a call failed by a mistake of ours", method=method.__name__)
            await abort(context, Fault(Reason.INTERNAL_BUG))

    return answer


_UNKNOWN = grpc.StatusCode.UNKNOWN
