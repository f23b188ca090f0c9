"""E-mail against a real SMTP server: letters, threads, and what each failure means."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from outrider_alerting.channels import email as email_module
from outrider_alerting.channels.email import EmailChannel, EmailSettings
from outrider_alerting.channels.mail_text import letter
from outrider_alerting.channels.outcome import Failed, Retry, Sent, Unknown
from tests.alerting.channels.notices import HOSTILE, content, line, message
from tests.lacking import need_openssl
from tests.servers.smtp import Fault, SmtpServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TO = ("anna@example.org", "ben@example.org", "no@example.org")


@pytest_asyncio.fixture
async def server() -> AsyncIterator[SmtpServer]:
    """Run a mail server on loopback."""
    async with SmtpServer() as running:
        yield running


def settings(server: SmtpServer) -> EmailSettings:
    """Make settings for three recipients."""
    return EmailSettings(
        name="mail",
        host="127.0.0.1",
        port=server.port,
        sender="outrider@example.org",
        recipients=TO,
        security="none",
    )


@pytest_asyncio.fixture
async def channel(server: SmtpServer) -> AsyncIterator[EmailChannel]:
    """Make a channel that speaks to the server."""
    made = EmailChannel(settings(server))
    yield made
    await made.close()


async def test_a_letter_has_text_first_and_html(server: SmtpServer, channel: EmailChannel) -> None:
    """A notice arrives at all recipients once, as text and HTML, marked as automatic."""
    outcome = await channel.send(message())

    (mail,) = server.letters
    assert isinstance(outcome, Sent) and "queued as 1" in outcome.provider_id
    assert TO == outcome.delivered == mail.recipients
    kinds = [part.get_content_type() for part in mail.message.iter_parts()]
    assert kinds == ["text/plain", "text/html"]
    assert "charge failed: timed out" in mail.part("plain")
    assert "charge failed: timed out" in mail.part("html")
    assert mail.message["Auto-Submitted"] == "auto-generated"
    assert mail.part("plain").startswith("Firing, critical: 11 errors")


async def test_a_letter_says_what_can_be_done(server: SmtpServer) -> None:
    """Runbook, the alert's page where there is one, the command: by name, in both parts."""
    made = EmailChannel(replace(settings(server), dashboard_url="https://outrider.example"))
    await made.send(message())
    await made.close()

    (mail,) = server.letters
    plain, dressed = mail.part("plain"), mail.part("html")
    assert "Dashboard: https://outrider.example/alerts/12" in plain
    assert "Acknowledge: outrider alerts ack 12" in plain
    assert '<a href="https://outrider.example/alerts/12"' in dressed


async def test_firing_and_resolve_make_one_thread(
    server: SmtpServer, channel: EmailChannel
) -> None:
    """Both letters have one subject; the resolve refers to the firing's Message-ID."""
    await channel.send(message())
    await channel.send(message("resolved", content=content(status="resolved", title="over")))

    fired, resolved = (mail.message for mail in server.letters)
    assert "11 errors in 5m on w1 [A-12]" == fired["Subject"] == resolved["Subject"]
    assert fired["Message-ID"] == resolved["References"] == resolved["In-Reply-To"]
    assert fired["Message-ID"] != resolved["Message-ID"]


async def test_a_connection_serves_several_letters(
    server: SmtpServer, channel: EmailChannel
) -> None:
    """The second letter goes over the first one's connection; refused recipients do not end it."""
    server.refuse["no@example.org"] = "550 5.1.1 no such mailbox"
    outcomes = [await channel.send(message(f"raised:{n}")) for n in range(3)]

    assert [type(outcome) for outcome in outcomes] == [Sent] * 3
    assert (len(server.letters), server.connections) == (3, 1)


async def test_a_server_that_hung_up_is_called_again(
    server: SmtpServer, channel: EmailChannel
) -> None:
    """The kept connection was closed by the other side: the same attempt makes a new one."""
    await channel.send(message())
    server.hang_up()

    outcome = await channel.send(message("resolved"))

    assert isinstance(outcome, Sent)
    assert (len(server.letters), server.connections) == (2, 2)


async def test_an_idle_connection_is_given_back(server: SmtpServer) -> None:
    """After the idle time nothing is open any more."""
    channel = EmailChannel(settings(server), idle_s=0.05)
    await channel.send(message())
    assert server.open == 1

    async with asyncio.timeout(5):
        while server.open:
            await asyncio.sleep(0.01)


async def test_an_end_told_with_another_stays_in_its_thread(
    server: SmtpServer, channel: EmailChannel
) -> None:
    """A firing that was told in another's letter ends in that letter's thread."""
    await channel.send(message())
    told = content(status="resolved", subject=message().content.subject)
    await channel.send(
        message("resolved", episode="13.814000001", thread="12.814000000", content=told)
    )

    first, second = (mail.message for mail in server.letters)
    assert first["Message-ID"] == second["References"] == second["In-Reply-To"]
    assert first["Subject"] == second["Subject"]
    assert first["Message-ID"] != second["Message-ID"]


async def test_a_repeat_is_the_same_letter(server: SmtpServer, channel: EmailChannel) -> None:
    """A repeat has the Message-ID of the letter it may repeat, and says so."""
    await channel.send(message())
    await channel.send(message(may_repeat=True))

    first, second = server.letters
    assert first.message["Message-ID"] == second.message["Message-ID"]
    assert first.message["Date"] == second.message["Date"]
    assert "may repeat" in second.part("plain")


async def test_hostile_text_stays_in_the_body(server: SmtpServer, channel: EmailChannel) -> None:
    """Line breaks, NUL, markup and surrogates make no header and no markup."""
    hostile = content([line(HOSTILE * 40)], subject=HOSTILE, title=HOSTILE, rule=HOSTILE)

    outcome = await channel.send(message(content=hostile))

    assert isinstance(outcome, Sent)
    (mail,) = server.letters
    assert mail.message["Bcc"] is None
    assert "Bcc: all@example.org" in mail.message["Subject"]
    assert "<b>&_*[]" in mail.part("plain")
    assert "&lt;b&gt;&amp;_*[]" in mail.part("html")
    assert "\x00" not in mail.part("plain")


async def test_one_refused_recipient_does_not_stop_the_others(
    server: SmtpServer, channel: EmailChannel
) -> None:
    """550 for one of three: the others have it, the ledger names who has not."""
    server.refuse["no@example.org"] = "550 5.1.1 no such mailbox"

    outcome = await channel.send(message())

    assert isinstance(outcome, Sent)
    assert TO[:2] == outcome.delivered
    assert "no@example.org: 550" in outcome.remark


async def test_a_greylisted_recipient_is_tried_again_alone(
    server: SmtpServer, channel: EmailChannel
) -> None:
    """451 for one of three: the next attempt goes to that one only."""
    server.refuse["no@example.org"] = "451 4.7.1 greylisted"
    first = await channel.send(message())
    assert isinstance(first, Retry)
    del server.refuse["no@example.org"]

    second = await channel.send(message(delivered=frozenset(first.delivered)))

    assert isinstance(second, Sent)
    assert [TO[:2], TO[2:]] == [mail.recipients for mail in server.letters]


async def test_all_recipients_refused_is_a_failure(
    server: SmtpServer, channel: EmailChannel
) -> None:
    """550 for everybody: failed for good, with each answer."""
    server.refuse.update(dict.fromkeys(TO, "550 no"))

    outcome = await channel.send(message())

    assert isinstance(outcome, Failed)
    assert all(who in outcome.reason for who in TO)
    assert "correct `to`" in outcome.reason


async def test_a_letter_refused_for_now_is_tried_again(
    server: SmtpServer, channel: EmailChannel
) -> None:
    """451 after the dot is surely not sent."""
    server.faults.append(Fault.GREYLIST)

    assert isinstance(await channel.send(message()), Retry)
    assert not server.letters


async def test_a_letter_refused_for_good_is_not(server: SmtpServer, channel: EmailChannel) -> None:
    """552 after the dot is final, and says nothing against the channel."""
    server.faults.append(Fault.REFUSE_DATA)

    outcome = await channel.send(message())

    assert isinstance(outcome, Failed) and not outcome.channel_broken


@pytest.mark.parametrize("fault", [Fault.DROP_AFTER_DOT, Fault.HANG_AFTER_DOT])
async def test_no_answer_to_the_dot_is_unknown(
    server: SmtpServer, channel: EmailChannel, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The letter was taken and the answer lost: nobody knows."""
    monkeypatch.setattr(email_module, "SEND_TIMEOUT_S", 0.5)
    server.faults.append(fault)

    assert isinstance(await channel.send(message()), Unknown)
    assert len(server.letters) == 1


async def test_a_refused_connection_is_surely_not_sent(
    server: SmtpServer, unused_tcp_port: int
) -> None:
    """Nobody listens: surely not sent."""
    lonely = EmailChannel(replace(settings(server), port=unused_tcp_port))

    outcome = await lonely.send(message())

    assert isinstance(outcome, Retry)
    assert outcome.reason.startswith(f"127.0.0.1:{unused_tcp_port}: ")
    assert "check `smtp_host` and `smtp_port`" in outcome.reason


async def test_a_wrong_login_says_which_keys() -> None:
    """535: the account is refused, the message names the keys and holds no secret."""
    async with SmtpServer(login=("outrider", "right")) as locked:
        wrong = replace(settings(locked), username="outrider", password="wr0ng")
        outcome = await EmailChannel(wrong).send(message())
        nobody = await EmailChannel(settings(locked)).send(message())

    assert isinstance(outcome, Failed) and outcome.channel_broken
    assert "`username`" in outcome.reason and "`password_file`" in outcome.reason
    assert "wr0ng" not in outcome.reason
    assert isinstance(nobody, Failed)
    assert "set `username` and `password_file`" in nobody.reason


async def test_tls_at_a_port_that_speaks_none_is_explained(server: SmtpServer) -> None:
    """Implicit TLS against a plain port says which key to change."""
    strict = EmailChannel(replace(settings(server), security="tls"))

    outcome = await strict.send(message())

    assert isinstance(outcome, Retry)
    assert 'set `tls = "starttls"`' in outcome.reason


async def test_a_server_without_tls_gets_nothing(server: SmtpServer) -> None:
    """Where STARTTLS is required and not offered, the letter is not sent in clear."""
    strict = EmailChannel(replace(settings(server), security="starttls"))

    outcome = await strict.send(message())

    assert isinstance(outcome, Failed) and outcome.channel_broken
    assert 'set `tls = "tls"`' in outcome.reason
    assert not server.letters


async def test_everybody_served_before_means_sent(
    server: SmtpServer, channel: EmailChannel
) -> None:
    """Where every recipient has the letter already, nothing is sent again."""
    assert isinstance(await channel.send(message(delivered=frozenset(TO))), Sent)
    assert not server.letters


def test_an_address_with_a_line_break_is_refused() -> None:
    """A recipient cannot smuggle a header in."""
    with pytest.raises(ValueError):
        letter(message(), "outrider@example.org", ("a@example.org\nBcc: b@example.org",))


def test_the_password_is_in_no_repr() -> None:
    """Settings may be logged: they show no secret."""
    secret = EmailSettings(
        name="m", host="h", port=1, sender="s", recipients=(), username="u", password="p4ss"
    )

    assert "p4ss" not in repr(secret)


def certified(tmp_path: Path, *, days: int = 2) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Make the context of a server called localhost, and of a client that trusts it."""
    need_openssl()
    key, asked, certificate = (str(tmp_path / name) for name in ("key.pem", "cert.csr", "cert.pem"))
    names = tmp_path / "names"
    names.write_text("subjectAltName=DNS:localhost")
    ask = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    sign = ["openssl", "x509", "-req", "-signkey", key, "-days", str(days)]
    for command in (
        [*ask, "-keyout", key, "-out", asked],
        [*sign, "-extfile", str(names), "-in", asked, "-out", certificate],
    ):
        subprocess.run(command, check=True, capture_output=True)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate, key)
    return server_side, ssl.create_default_context(cafile=str(certificate))


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_tls_is_used_and_the_certificate_is_checked(tmp_path: Path, security: str) -> None:
    """A trusted certificate: sent encrypted. An unknown one: surely not sent."""
    server_side, trusting = certified(tmp_path)
    async with SmtpServer(tls=server_side, implicit_tls=security == "tls") as server:
        strict = replace(settings(server), host="localhost", security=security)

        unknown = await EmailChannel(strict).send(message())
        sent = await EmailChannel(replace(strict, tls_context=trusting)).send(message())

    assert isinstance(unknown, Retry)
    assert "certificate" in unknown.reason
    assert isinstance(sent, Sent)
    assert [letter.tls for letter in server.letters] == [True]


async def test_a_certificate_that_has_ended_gets_nothing(tmp_path: Path) -> None:
    """However trusted it was: surely not sent, and the reason says that it has ended."""
    server_side, trusting = certified(tmp_path, days=-1)
    async with SmtpServer(tls=server_side) as server:
        strict = replace(settings(server), host="localhost", security="starttls")
        outcome = await EmailChannel(replace(strict, tls_context=trusting)).send(message())

    assert isinstance(outcome, Retry)
    assert "certificate has expired" in outcome.reason
    assert not server.letters
