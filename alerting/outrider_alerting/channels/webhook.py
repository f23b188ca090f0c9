"""Webhook: one POST of JSON a message, signed, to an address that was looked at first.

The signature lets the receiver know that it was us and that it is no old request sent again::

    Outrider-Timestamp: 1772366400
    Outrider-Signature: v1=HMAC-SHA-256(secret, timestamp + "." + body), in hex
    Idempotency-Key: 12.814000000/fired, the same at every attempt

Whoever may write rules must not thereby reach what only the collector's host can reach. So the name
is looked up here, every address it has is judged, and the connection goes to the very address that
was judged: a name that means something else a moment later gains nothing. Addresses of private
networks need ``allow_private``; the machine itself needs its own name or address in ``url``.
Redirects are not followed.

=======================================  =======================================
answer                                   outcome
=======================================  =======================================
2xx                                      sent
3xx                                      failed, channel broken: give the new URL
408, 425, 429, 503 with Retry-After      not sent, after the time it names
401, 403, 404, 405, 410                  failed, channel broken
other 4xx                                failed
5xx, no answer, connection lost          unknown
no connection, no such host              not sent
=======================================  =======================================
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import httpx

from outrider.addresses import carried, is_loopback
from outrider_alerting.channels.channel import SEND_TIMEOUT_S
from outrider_alerting.channels.leaving import StaysError, at_once, before_first_byte
from outrider_alerting.channels.outcome import Failed, Hold, Outcome, Retry, Sent, Unknown
from outrider_alerting.channels.webhook_text import body, identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from outrider_alerting.channels.channel import Message
    from outrider_alerting.channels.leaving import Leave

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_LATER: Final = frozenset((408, 425, 429))
_BROKEN: Final = frozenset((401, 403, 404, 405, 410))
_RETRY_AFTER_MAX_S: Final = 3600.0
_ANSWER_BYTES_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """Where to, and how it is signed."""

    name: str
    url: str
    secret: str | None = field(default=None, repr=False)
    # "outrider" or "alertmanager".
    format: str = "outrider"
    allow_private: bool = False
    timeout_s: float = 10.0
    # Where its readers find the dashboard.
    dashboard_url: str | None = None

    @property
    def account(self) -> str:
        """What the receiver sees as one sender."""
        return f"webhook:{self.name}"


class WebhookChannel:
    """See the module's page."""

    def __init__(
        self, settings: WebhookSettings, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._url = httpx.URL(settings.url)
        self._client = httpx.AsyncClient(
            timeout=settings.timeout_s, follow_redirects=False, trust_env=False
        )

    async def send(self, message: Message, leave: Leave = at_once) -> Outcome:
        """Try once; see :class:`outrider_alerting.channels.channel.Channel`."""
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                return await self._send(message, leave)
        except TimeoutError:
            return Unknown(f"no answer within {SEND_TIMEOUT_S:g} s")

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _send(self, message: Message, leave: Leave) -> Outcome:
        addresses = await self._addresses()
        if not isinstance(addresses, list):
            return addresses
        content = body(message, self._settings)
        headers = self._headers(content, identity(message))
        outcome: Outcome = Retry(f"{self._place}: it has no address")
        for address in addresses:
            outcome = await self._post(address, content, headers, leave)
            if not isinstance(outcome, Retry) or outcome.after_s:
                break
        return outcome

    async def _post(
        self, address: str, content: bytes, headers: dict[str, str], leave: Leave
    ) -> Outcome:
        request = self._client.build_request(
            "POST",
            self._url.copy_with(host=address),
            content=content,
            headers=headers,
            extensions={"sni_hostname": self._url.host, "trace": before_first_byte(leave)},
        )
        try:
            response = await self._client.send(request, stream=True)
            try:
                said = await _beginning(response)
            finally:
                await response.aclose()
        except StaysError as error:
            return Retry(str(error))
        except _NOT_SENT as error:
            return Retry(f"{self._place}: {_words(error)}: check `url` and that the server runs")
        except httpx.HTTPError as error:
            return Unknown(f"{self._place}: {_words(error)}")
        return self._judged(response, said)

    @property
    def _place(self) -> str:
        # Paths of webhooks often hold a secret.
        port = f":{self._url.port}" if self._url.port else ""
        return f"{self._url.scheme}://{self._url.host}{port}"

    def _headers(self, content: bytes, key: str) -> dict[str, str]:
        headers = {
            "Host": self._url.netloc.decode("ascii"),
            "Content-Type": "application/json",
            "User-Agent": "outrider",
            "Idempotency-Key": key,
        }
        if self._settings.secret is not None:
            headers |= signature(self._settings.secret, int(self._clock()), content)
        return headers

    async def _addresses(self) -> list[str] | Outcome:
        """Look the host up and judge what it is; return the addresses to connect to."""
        host = self._url.host
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, self._url.port or 443, type=socket.SOCK_STREAM)
        except OSError as error:
            return Retry(f"{self._place}: {error.strerror or error}: no such host: correct `url`")
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses:
            if not _may_be_reached(address, host, allow_private=self._settings.allow_private):
                return Failed(
                    f"{self._place} is {address}, an address that is not public: set "
                    "`allow_private = true` if it is meant",
                    channel_broken=True,
                )
        return addresses

    def _judged(self, response: httpx.Response, said: str) -> Outcome:
        code = response.status_code
        text = f"{self._place}: HTTP {code}{f': {said}' if said else ''}"
        after_s = _retry_after_s(response)
        if response.is_success:
            return Sent("")
        if response.is_redirect:
            return Failed(
                f"{text}: redirects are not followed: put the address it names into `url`",
                channel_broken=True,
            )
        if code in _LATER or (code == 503 and after_s):
            return Retry(text, after_s=after_s, hold=Hold.CONVERSATION)
        if response.is_client_error:
            return Failed(text, channel_broken=code in _BROKEN)
        return Unknown(text)


def signature(secret: str, timestamp: int, content: bytes) -> dict[str, str]:
    """Return the headers that prove who sent the body, and when (Unix seconds)."""
    signed = hmac.new(secret.encode(), f"{timestamp}.".encode() + content, hashlib.sha256)
    return {
        "Outrider-Timestamp": str(timestamp),
        "Outrider-Signature": f"v1={signed.hexdigest()}",
    }


def _may_be_reached(address: str, host: str, *, allow_private: bool) -> bool:
    ip = carried(address)
    if ip.is_loopback:
        return is_loopback(host.strip("[]"))
    if ip.is_multicast or ip.is_unspecified or ip.is_link_local:
        # Link-local is where clouds keep the credentials of their machines.
        return False
    return ip.is_global or allow_private


async def _beginning(response: httpx.Response) -> str:
    """Read the first bytes of an answer that is not a success; what is longer is not read."""
    if response.is_success:
        return ""
    async for piece in response.aiter_bytes(_ANSWER_BYTES_SHOWN):
        return " ".join(piece.decode("utf-8", "replace").split())[:_ANSWER_BYTES_SHOWN]
    return ""


def _retry_after_s(response: httpx.Response) -> float:
    said = response.headers.get("retry-after", "")
    return min(float(said), _RETRY_AFTER_MAX_S) if said.isdecimal() else 0.0


def _words(error: httpx.HTTPError) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")[:300]
