"""E-mail: one letter for all recipients of a channel, each with an outcome of its own.

The transaction is driven step by step, because what a lost connection means depends on the step:
before the final dot nothing was accepted, after it nobody knows. TLS is required: opportunistic
STARTTLS would send in clear when somebody on the way removes the offer. Only a server on loopback
may be used without.

A connection is kept for some seconds: letters often come in twos. A server that has hung up
meanwhile is met before the letter begins, so it is called again within the same attempt.

A partial refusal is no failure of the letter: who was accepted has it, who was refused for now
(4xx) gets it at the next attempt, who was refused for good (5xx) is named in the ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiosmtplib
from aiosmtplib import (
    SMTPConnectError,
    SMTPException,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)

from outrider_alerting.channels.channel import SEND_TIMEOUT_S
from outrider_alerting.channels.leaving import StaysError, at_once
from outrider_alerting.channels.mail_advice import advice
from outrider_alerting.channels.mail_text import letter
from outrider_alerting.channels.outcome import Failed, Outcome, Retry, Sent, Unknown
from outrider_alerting.content import page

if TYPE_CHECKING:
    import ssl

    from outrider_alerting.channels.channel import Message
    from outrider_alerting.channels.leaving import Leave

# Of each socket operation; the whole is bounded by SEND_TIMEOUT_S.
_SOCKET_TIMEOUT_S = 10.0
IDLE_S = 20.0
"""A connection is kept so long for the next letter; servers hang up after minutes."""


@dataclass(frozen=True, slots=True)
class EmailSettings:
    """Through which server, from whom, to whom."""

    name: str
    host: str
    port: int
    sender: str
    recipients: tuple[str, ...]
    # "tls" from the first byte, "starttls" required, "none" on loopback only.
    security: str = "starttls"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    # Trusted instead of the system's certificates where given.
    tls_context: ssl.SSLContext | None = field(default=None, repr=False)
    # Where its readers find the dashboard.
    dashboard_url: str | None = None

    @property
    def account(self) -> str:
        """What the server sees as one sender."""
        return f"email:{self.host}:{self.port}:{self.sender}"


@dataclass(slots=True)
class _Replies:
    """What the server said of each recipient."""

    accepted: list[str] = field(default_factory=list)
    later: dict[str, str] = field(default_factory=dict)
    never: dict[str, str] = field(default_factory=dict)


class EmailChannel:
    """See the module's page."""

    def __init__(self, settings: EmailSettings, *, idle_s: float = IDLE_S) -> None:
        self._settings = settings
        self._idle_s = idle_s
        # Left open by the letter before, until it is idle for too long.
        self._idle: aiosmtplib.SMTP | None = None
        self._hang_up_at: asyncio.TimerHandle | None = None

    async def send(self, message: Message, leave: Leave = at_once) -> Outcome:
        """Try once; see :class:`outrider_alerting.channels.channel.Channel`."""
        try:
            mail = letter(
                message,
                self._settings.sender,
                self._settings.recipients,
                page=page(message.content, self._settings.dashboard_url),
            ).as_bytes()
        except ValueError as error:
            return Failed(f"the letter cannot be written: {error}")
        recipients = [r for r in self._settings.recipients if r not in message.delivered]
        if not recipients:
            return Sent("", delivered=self._settings.recipients)
        attempt = _Attempt(self._settings, self._take())
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                outcome = await attempt.run(mail, recipients, leave)
        except TimeoutError:
            outcome = attempt.lost(f"no answer within {SEND_TIMEOUT_S:g} s")
        except BaseException:
            attempt.client.close()
            raise
        self._keep(attempt, outcome)
        return outcome

    async def close(self) -> None:
        """Say goodbye to the server, if a connection is open."""
        client = self._take()
        if client is not None:
            with contextlib.suppress(SMTPException, OSError, TimeoutError):
                await client.quit(timeout=1.0)
            client.close()

    def _take(self) -> aiosmtplib.SMTP | None:
        """Take the open connection for oneself."""
        client, self._idle = self._idle, None
        if self._hang_up_at is not None:
            self._hang_up_at.cancel()
            self._hang_up_at = None
        return client

    def _keep(self, attempt: _Attempt, outcome: Outcome) -> None:
        """Keep a connection that is in order for the next letter, for a while."""
        client = attempt.client
        if not isinstance(outcome, Sent) or self._idle is not None or not client.is_connected:
            client.close()
            return
        self._idle = client
        self._hang_up_at = asyncio.get_running_loop().call_later(self._idle_s, self._hang_up)

    def _hang_up(self) -> None:
        client = self._take()
        if client is not None:
            client.close()


class _Attempt:
    """One letter, over a connection that is open or a new one."""

    def __init__(self, settings: EmailSettings, open_client: aiosmtplib.SMTP | None) -> None:
        self._settings = settings
        self._reused = open_client is not None
        self.client = open_client or self._new_client()
        self._data_begun = False
        self._replies = _Replies()

    def _new_client(self) -> aiosmtplib.SMTP:
        settings = self._settings
        return aiosmtplib.SMTP(
            hostname=settings.host,
            port=settings.port,
            username=settings.username,
            password=settings.password,
            timeout=_SOCKET_TIMEOUT_S,
            use_tls=settings.security == "tls",
            start_tls=settings.security == "starttls",
            tls_context=settings.tls_context,
        )

    async def run(self, mail: bytes, recipients: list[str], leave: Leave) -> Outcome:
        try:
            await self._begin()
            await self._offer(recipients)
            if not self._replies.accepted:
                return self._outcome("")
            await leave()
            self._data_begun = True
            response = await self.client.data(mail)
        except StaysError as error:
            return Retry(str(error))
        except SMTPResponseException as error:
            return self._answered(error)
        except (SMTPServerDisconnected, SMTPTimeoutError, SMTPConnectError, OSError) as error:
            return self.lost(self._told(error))
        except SMTPException as error:
            # STARTTLS not offered, an extension missing, no way to log in: nothing was sent.
            return Failed(self._told(error), channel_broken=True)
        return self._outcome(response.message)

    async def _begin(self) -> None:
        """Name the sender; where the server has hung up meanwhile, over a new connection."""
        if self._reused:
            try:
                await self.client.mail(self._settings.sender)
            except (SMTPException, OSError):
                # Whatever was wrong, it was said before this letter began.
                self.client.close()
                self.client = self._new_client()
            else:
                return
        await self.client.connect()
        await self.client.mail(self._settings.sender)

    async def _offer(self, recipients: list[str]) -> None:
        for recipient in recipients:
            try:
                await self.client.rcpt(recipient)
            except SMTPRecipientRefused as error:
                refused = self._replies.later if error.code < 500 else self._replies.never
                told = self._advice(error)
                refused[recipient] = f"{error.code} {error.message}{told}"
            else:
                self._replies.accepted.append(recipient)

    def _outcome(self, queued_as: str) -> Outcome:
        """Judge a transaction that ended in order; `queued_as` is the answer to the dot."""
        replies = self._replies
        never = "; ".join(f"{who}: {answer}" for who, answer in replies.never.items())
        if replies.later:
            later = "; ".join(f"{who}: {answer}" for who, answer in replies.later.items())
            # Who was refused for good is not asked again either.
            done = (*replies.accepted, *replies.never)
            return Retry(later, delivered=done)
        if replies.accepted:
            return Sent(queued_as[:200], delivered=tuple(replies.accepted), remark=never)
        return Failed(never)

    def _answered(self, error: SMTPResponseException) -> Outcome:
        """Judge a refusal of the connection, the sender, the login or the letter."""
        text = self._told(error)
        if error.code < 500:
            return Retry(text)
        # Before the letter was offered it is the account that is refused.
        return Failed(text, channel_broken=not self._data_begun)

    def lost(self, reason: str) -> Outcome:
        """Judge a connection that broke or fell silent."""
        if self._data_begun:
            return Unknown(reason, delivered=tuple(self._replies.never))
        return Retry(reason)

    def _told(self, error: BaseException) -> str:
        """Say which server, what it said, and what to do about it."""
        where = f"{self._settings.host}:{self._settings.port}"
        return f"{where}: {_words(error)}{self._advice(error)}"

    def _advice(self, error: BaseException) -> str:
        settings = self._settings
        told = advice(error, security=settings.security, has_login=settings.username is not None)
        return f": {told}" if told else ""


def _words(error: BaseException) -> str:
    """Name the error and what it says, in one line."""
    if isinstance(error, SMTPResponseException):
        said = f"{error.code} {error.message}"
    else:
        said = str(error).rstrip(".")
    return " ".join(f"{type(error).__name__}: {said}".split())[:500]
