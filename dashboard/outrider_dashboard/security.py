"""Headers of every answer, and who may ask.

The policy is ``default-src 'self'`` without any exception: no inline script, no inline style, no
outside request. Log text that got past the templates would still find nothing that runs it.

There is no sign-in, and loopback alone does not keep a browser's other pages away: a name that an
attacker points at 127.0.0.1 would make their page the same origin as this one. So a request must
name this host by a loopback name, and nothing but reading is answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse

from outrider.addresses import host_of, is_loopback

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'"
)
HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
_NOT_KEPT = (b"cache-control", b"no-store")


class Guard:
    """Middleware: refuses foreign hosts and everything but reading, sets the headers.

    ``public`` are paths that answer to any host's name, because what they show is for everybody;
    one that ends in a slash stands for all below it. ``responses`` counts answers by status.
    """

    def __init__(
        self, app: ASGIApp, *, public: Sequence[str] = (), responses: Counter[int]
    ) -> None:
        self._app = app
        self._public = tuple(public)
        self._responses = responses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._responses[message["status"]] += 1
                headers = message["headers"] = list(message.get("headers", []))
                headers.extend(HEADERS)
                if all(name.lower() != b"cache-control" for name, _ in headers):
                    headers.append(_NOT_KEPT)
            await send(message)

        refusal = _refusal(scope, public=self._is_public(scope["path"]))
        await (refusal or self._app)(scope, receive, with_headers)

    def _is_public(self, path: str) -> bool:
        return any(
            path.startswith(known) if known.endswith("/") else path == known
            for known in self._public
        )


def _refusal(scope: Scope, *, public: bool) -> PlainTextResponse | None:
    if scope["method"] not in {"GET", "HEAD"}:
        return PlainTextResponse("The pages only read.\n", status_code=405)
    if public:
        return None
    host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    if not is_loopback(host_of(host)):
        return PlainTextResponse(
            "The pages answer to a loopback name only, such as 127.0.0.1.\n", status_code=421
        )
    return None
