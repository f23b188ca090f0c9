"""A real SMTP server on loopback (aiosmtpd) that fails on request.

::

    async with SmtpServer() as mail:
        mail.refuse["no@example.org"] = "550 5.1.1 no such mailbox"
        mail.faults.append(Fault.DROP_AFTER_DOT)
        ...
        letter = await mail.wait_for()

It runs in the test's own event loop. TLS uses a self-signed certificate made by the caller.
"""

from __future__ import annotations

import asyncio
import contextlib
import email
import email.policy
import enum
import warnings
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

if TYPE_CHECKING:
    import ssl
    from email.message import EmailMessage


class Fault(enum.Enum):
    """What goes wrong with one message, after its recipients were accepted."""

    GREYLIST = "451 4.7.1 greylisted, come back later"
    REFUSE_DATA = "552 5.2.2 mailbox full"
    DROP_AFTER_DOT = "drop after the dot"  # the mail is kept, the connection closed
    DROP_BEFORE_DATA = "drop before data"
    HANG_AFTER_DOT = "hang after the dot"


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail that was accepted, and to whom."""

    sender: str
    recipients: tuple[str, ...]
    message: EmailMessage
    raw: bytes
    tls: bool

    def part(self, subtype: str) -> str:
        """Text of the part text/`subtype`."""
        body = self.message.get_body((subtype,))
        return "" if body is None else str(body.get_content())


class SmtpServer:
    """The server and its mailbox; see the module's page."""

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        login: tuple[str, str] | None = None,
        implicit_tls: bool = False,
    ) -> None:
        self.letters: list[Letter] = []
        self.faults: deque[Fault] = deque()
        # Address -> answer to RCPT TO; kept until removed.
        self.refuse: dict[str, str] = {}
        # What the final dot is answered; else the number of the letter.
        self.accepted = ""
        self.connections = 0
        self._tls = tls
        self._implicit = implicit_tls
        self._login = login
        self._news = asyncio.Event()
        self._transports: set[asyncio.BaseTransport] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._protocol, "127.0.0.1", 0, ssl=self._tls if self._implicit else None
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Close the listener and every connection."""
        if self._server is None:
            return
        self._server.close()
        for transport in list(self._transports):
            if isinstance(transport, asyncio.Transport):
                transport.abort()
        await self._server.wait_closed()
        # aborted transports tell their protocols in the loop's next turn
        await asyncio.sleep(0)

    async def wait_for(self, *, count: int = 1, within_s: float = 10) -> Letter:
        """Return the `count`-th letter that arrived."""
        async with asyncio.timeout(within_s):
            while len(self.letters) < count:
                self._news.clear()
                await self._news.wait()
        return self.letters[count - 1]

    @property
    def open(self) -> int:
        """How many connections are open."""
        return len(self._transports)

    def hang_up(self) -> None:
        """End every connection, as a server does with idle ones."""
        for transport in list(self._transports):
            if isinstance(transport, asyncio.Transport):
                transport.close()

    def _protocol(self) -> SMTP:
        with warnings.catch_warnings():
            # It warns of logins without TLS, which is what some tests need.
            warnings.simplefilter("ignore", UserWarning)
            return _Protocol(
                self,
                hostname="mail.test",
                ident="test",
                tls_context=None if self._implicit else self._tls,
                require_starttls=self._tls is not None and not self._implicit,
                authenticator=self._authenticate if self._login else None,
                auth_required=self._login is not None,
                auth_require_tls=False,
                enable_SMTPUTF8=True,
            )

    def _authenticate(self, *arguments: Any) -> AuthResult:
        data = arguments[-1]
        given = isinstance(data, LoginPassword) and (data.login.decode(), data.password.decode())
        return AuthResult(success=given == self._login, handled=False)

    def opened(self, transport: asyncio.Transport) -> None:
        """Remember a connection, so that `stop` can end it."""
        self.connections += 1
        self._transports.add(transport)

    def closed(self, transport: asyncio.BaseTransport | None) -> None:
        """Forget a connection."""
        if transport is not None:
            self._transports.discard(transport)

    # The names are aiosmtpd's hooks.
    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Answer RCPT TO."""
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """Answer the final dot."""
        fault = self.faults.popleft() if self.faults else None
        if fault in (Fault.GREYLIST, Fault.REFUSE_DATA):
            return str(fault.value)
        if fault is Fault.DROP_BEFORE_DATA:
            _abort(server)
            return "451 gone"
        raw = envelope.content if isinstance(envelope.content, bytes) else b""
        message = email.message_from_bytes(raw, policy=email.policy.default)
        self.letters.append(
            Letter(
                sender=envelope.mail_from or "",
                recipients=tuple(envelope.rcpt_tos),
                message=message,
                raw=raw,
                tls=session.ssl is not None or self._implicit,
            )
        )
        self._news.set()
        if fault is Fault.HANG_AFTER_DOT:
            await asyncio.Event().wait()
        if fault is Fault.DROP_AFTER_DOT:
            _abort(server)
        return self.accepted or f"250 2.0.0 queued as {len(self.letters)}"


class _Protocol(SMTP):
    """aiosmtpd's protocol that tells its server of connections."""

    def __init__(self, owner: SmtpServer, **options: Any) -> None:
        super().__init__(owner, **options)
        self._owner = owner

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if isinstance(transport, asyncio.Transport):
            self._owner.opened(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._owner.closed(self.transport)
        with contextlib.suppress(ConnectionError):
            super().connection_lost(error)


def _abort(server: SMTP) -> None:
    if isinstance(server.transport, asyncio.Transport):
        server.transport.abort()
