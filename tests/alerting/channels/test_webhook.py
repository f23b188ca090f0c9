"""Webhooks against a real HTTP server: what is posted, where it may go, what each answer means."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from outrider_alerting import rule_files
from outrider_alerting.channels import webhook as module
from outrider_alerting.channels.outcome import Failed, Retry, Sent, Unknown
from outrider_alerting.channels.webhook import WebhookChannel, WebhookSettings
from outrider_alerting.channels.webhook_text import body
from outrider_alerting.telling import trial
from tests.alerting.channels.notices import HOSTILE, NOW_US, content, line, message
from tests.servers.http import HttpServer, Reply, Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Receiver:
    """Takes POSTs on loopback and answers as told."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.reply = Reply(204)
        self.hangs = False
        self.server = HttpServer(self._handle)

    @property
    def url(self) -> str:
        """Where it takes them."""
        return f"http://127.0.0.1:{self.server.port}/hook?key=1"

    @property
    def document(self) -> dict[str, Any]:
        """The last body."""
        read: dict[str, Any] = json.loads(self.requests[-1].body)
        return read

    async def _handle(self, request: Request) -> Reply:
        self.requests.append(request)
        if self.hangs:
            await asyncio.Event().wait()
        return self.reply


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Run a receiver."""
    made = Receiver()
    await made.server.start()
    yield made
    await made.server.stop()


async def post(receiver: Receiver, **changes: Any) -> Any:
    """Send one message to the receiver; `message` is what, the rest are settings."""
    sent = changes.pop("message", message())
    fields: dict[str, Any] = {"name": "hook", "url": receiver.url, "timeout_s": 0.3} | changes
    channel = WebhookChannel(WebhookSettings(**fields), clock=lambda: 1_772_366_400.5)
    try:
        return await channel.send(sent)
    finally:
        await channel.close()


async def test_a_notice_is_posted_and_signed(receiver: Receiver) -> None:
    """JSON with all that is known; the signature is an HMAC over time and body."""
    outcome = await post(receiver, secret="s3cret")

    assert outcome == Sent("")
    (request,) = receiver.requests
    assert (request.method, request.path) == ("POST", "/hook?key=1")
    assert request.headers["host"] == f"127.0.0.1:{receiver.server.port}"
    assert request.headers["idempotency-key"] == "12.814000000/fired"
    assert request.headers["outrider-timestamp"] == "1772366400"
    signed = b"1772366400." + request.body
    proof = hmac.new(b"s3cret", signed, hashlib.sha256).hexdigest()
    assert request.headers["outrider-signature"] == f"v1={proof}"
    told = receiver.document
    assert (told["status"], told["alert"], told["notice"]) == ("firing", "A-12", "fired")
    assert told["evidence"][0]["message"] == "charge failed: timed out"
    assert told["since"] == "2025-10-17T07:06:40.000000Z"
    assert (told["together_with"], told["omitted"], told["may_repeat"]) == ([], 0, False)


async def test_without_a_secret_nothing_is_signed(receiver: Receiver) -> None:
    """No key, no signature that could be taken for one."""
    await post(receiver)

    assert "outrider-signature" not in receiver.requests[0].headers


async def test_the_shape_that_alertmanagers_receivers_read(receiver: Receiver) -> None:
    """Version 4: each alert with labels, times and status; what is over has an end."""
    labels = {"service": "payments", "worker": "w1"}
    parts = (
        content(labels=labels),
        content(labels=labels | {"worker": "w2"}, status="resolved", ended_us=NOW_US + 1_000_000),
    )
    both = message(content=parts[0], parts=parts, total=5)
    await post(receiver, format="alertmanager", message=both)

    told = receiver.document
    assert (told["version"], told["status"], told["receiver"]) == ("4", "firing", "hook")
    assert told["truncatedAlerts"] == 3
    assert told["commonLabels"] == {
        "service": "payments", "alertname": "payment-errors", "severity": "critical",
    }  # fmt: skip
    first, second = told["alerts"]
    assert first["labels"]["worker"] == "w1"
    assert (first["status"], first["endsAt"]) == ("firing", "0001-01-01T00:00:00Z")
    assert (second["status"], second["endsAt"]) == ("resolved", "2025-10-17T07:06:41.000000Z")
    assert first["annotations"]["runbook_url"] == "https://wiki.example/payments?a=1&b=2"


async def test_a_test_leaves_no_alert_open_behind(receiver: Receiver) -> None:
    """In Alertmanager's shape it has a name to route by, and its end: nothing will follow."""
    tried = trial("hook", "anna", "c1", NOW_US)
    await post(receiver, format="alertmanager", message=message(content=tried))

    told = receiver.document
    (alert,) = told["alerts"]
    assert (told["status"], alert["status"]) == ("resolved", "resolved")
    assert alert["endsAt"] == alert["startsAt"] == "2025-10-17T07:06:40.000000Z"
    assert alert["labels"]["alertname"] == told["groupLabels"]["alertname"] == "OutriderTest"


def test_a_notice_leads_to_its_page() -> None:
    """Where the dashboard can be reached, each alert comes with the address of its page."""
    made = [
        WebhookSettings("hook", "https://x", format=shape, dashboard_url=address)
        for shape in ("outrider", "alertmanager")
        for address in ("https://outrider.example/", None)
    ]
    told = [json.loads(body(message(), each)) for each in made]

    assert [each["page"] for each in told[:2]] == ["https://outrider.example/alerts/12", None]
    assert [each["externalURL"] for each in told[2:]] == ["https://outrider.example/", ""]
    assert [each["alerts"][0]["generatorURL"] for each in told[2:]] == [
        "https://outrider.example/alerts/12", "",
    ]  # fmt: skip


def test_hostile_text_is_text() -> None:
    """Whatever a line says, the body is JSON in UTF-8 without control characters."""
    hostile = content([line(HOSTILE)], title=HOSTILE, labels={"worker": HOSTILE})

    for shape in ("outrider", "alertmanager"):
        made = WebhookSettings("hook", "https://hook.example", format=shape)
        text = body(message(content=hostile), made).decode("utf-8")
        assert json.loads(text)
        assert "\\u0000" not in text and "\\u001b" not in text


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (302, (("Location", "http://169.254.169.254/"),), Failed),
        (400, (), Failed),
        (404, (), Failed),
        (429, (("Retry-After", "35"),), Retry),
        (500, (), Unknown),
        (503, (("Retry-After", "7"),), Retry),
        (None, (), Unknown),
    ],
)
async def test_what_each_answer_means(
    receiver: Receiver, status: int | None, headers: tuple[tuple[str, str], ...], expected: Any
) -> None:
    """Redirects and refusals end it, a demand to wait is kept, no clear answer is unknown."""
    receiver.reply = Reply(status, b"no such\nhook", headers)

    outcome = await post(receiver)

    assert type(outcome) is expected
    assert len(receiver.requests) == 1
    if status == 302:
        assert "redirects are not followed" in outcome.reason
    if status == 404:
        assert outcome.channel_broken and "no such hook" in outcome.reason
    if status in {429, 503}:
        assert outcome.after_s == float(headers[0][1])
    assert "key=1" not in outcome.reason


async def test_no_answer_is_unknown_and_no_server_is_not_sent(
    receiver: Receiver, unused_tcp_port: int
) -> None:
    """A time-out may have been read; where nobody listens, nothing was sent."""
    receiver.hangs = True

    hanging = await post(receiver)
    lonely = await post(receiver, url=f"http://127.0.0.1:{unused_tcp_port}/")

    assert isinstance(hanging, Unknown)
    assert isinstance(lonely, Retry)


@pytest.mark.parametrize(
    ("address", "private", "expected"),
    [
        ("10.0.0.7", False, Failed),
        ("10.0.0.7", True, "allowed"),
        ("192.168.1.1", False, Failed),
        ("fd00::1", False, Failed),
        ("169.254.169.254", True, Failed),
        ("127.0.0.1", True, Failed),
        ("::ffff:127.0.0.1", True, Failed),
        ("0.0.0.0", True, Failed),
        ("93.184.216.34", False, "allowed"),
    ],
)
async def test_where_it_may_go_is_judged_by_address(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, *, address: str, private: bool,
    expected: object,
) -> None:  # fmt: skip
    """A name that leads into the host or its network is refused before anything is sent.

    What may be reached here is asked of the judgement alone: nothing leaves the machine.
    """

    async def looked_up(*_: object, **__: object) -> list[Any]:
        return [(0, 0, 0, "", (address, 80))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", looked_up)
    settings = WebhookSettings(name="hook", url="https://hooks.example/x", allow_private=private)
    channel = WebhookChannel(settings)
    if expected == "allowed":
        assert await channel._addresses() == [address]
    else:
        outcome = await channel.send(message())
        assert isinstance(outcome, Failed) and outcome.channel_broken
        assert "allow_private" in outcome.reason or "not public" in outcome.reason
    await channel.close()
    assert not receiver.requests


async def test_the_connection_goes_to_the_address_that_was_judged(receiver: Receiver) -> None:
    """`localhost` is looked up once; the request names it, the socket goes to its address."""
    port = receiver.server.port
    outcome = await post(receiver, url=f"http://localhost:{port}/x")

    assert outcome == Sent("")
    assert receiver.requests[0].headers["host"] == f"localhost:{port}"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://x/", "is not an http or https URL"),
        ("http://hooks.example/", "plain http would send alerts in clear"),
        ("https://anna:secret@hooks.example/", "holds a user's name or password"),
    ],
)
def test_wrong_urls_are_found_by_lint(url: str, said: str) -> None:
    """What could not be right is refused with the file and what to do."""
    text = f'[[channel]]\nname = "hook"\ntype = "webhook"\nurl = "{url}"\n'

    assert any(said in str(problem) for problem in rule_files.lint([("a.toml", text)]))


def test_the_secret_is_in_no_repr() -> None:
    """Neither settings nor logs of them show the key."""
    assert "s3cret" not in repr(module.WebhookSettings(name="x", url="https://x", secret="s3cret"))
