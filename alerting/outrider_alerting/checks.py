"""What the types of :mod:`.rules` cannot say of channels and routes: bounds, and what fits."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from outrider.addresses import is_loopback
from outrider_alerting.durations import DAY_US, SECOND_US, Duration, compact
from outrider_alerting.rules import (
    IN_APP,
    EmailChannel,
    TelegramChannel,
    WebhookChannel,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outrider_alerting.rules import Channel, Route

MAX_RECIPIENTS: Final = 50
MAX_USERS: Final = 100
MAX_ESCALATIONS: Final = 10
MAX_URL: Final = 500
REMIND_LEAST_US: Final = 60 * SECOND_US

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_ADDRESS = re.compile(r"[^\s@<>,;]+@[^\s@<>,;]+")
_ADDRESS_WITH_NAME = re.compile(r"[^<>\r\n]*<[^\s@<>,;]+@[^\s@<>,;]+>")


class Fault(NamedTuple):
    """What is wrong with one key of a table, and what to do."""

    key: str
    message: str
    hint: str = ""


def channel_faults(channel: Channel) -> Iterator[Fault]:
    """Yield everything wrong with a channel."""
    yield from name_faults("name", channel.name)
    if channel.name == IN_APP:
        yield Fault("name", f"`{IN_APP}` is always there", "choose another name")
    if isinstance(channel, TelegramChannel):
        if channel.base_url is not None and not _is_http(channel.base_url):
            yield Fault("base_url", "`base_url` is not an http or https URL")
        if not channel.bot_token_file:
            yield Fault("bot_token_file", "`bot_token_file` is empty", "name the token's file")
        yield from _users(channel)
    elif isinstance(channel, EmailChannel):
        yield from _email(channel)
    else:
        yield from _webhook(channel)
    if channel.dashboard_url is not None and not _is_http(channel.dashboard_url):
        hint = "write the dashboard's address, such as https://outrider.example.org"
        yield Fault("dashboard_url", "`dashboard_url` is not an http or https URL", hint)
    if channel.fallback == channel.name:
        yield Fault("fallback", "a channel cannot stand in for itself", "name another channel")


def route_faults(route: Route) -> Iterator[Fault]:
    """Yield everything wrong with a route by itself."""
    if not route.channels:
        yield Fault("channels", "a route without channels", "name at least one")
    if len(route.escalate) > MAX_ESCALATIONS:
        yield Fault("escalate", f"more than {MAX_ESCALATIONS} steps in `escalate`")
    before_us = 0
    for step in route.escalate:
        if not step.channels:
            yield Fault("escalate", "a step of `escalate` without channels", "name at least one")
        if step.after.us <= before_us:
            hint = "write the steps in order, each later than the one before"
            yield Fault("escalate", f"`after` is {step.after.text}", hint)
        yield from whole_faults("escalate", step.after)
        before_us = step.after.us
    if route.remind is not None:
        yield from whole_faults("remind", route.remind, least_us=REMIND_LEAST_US)


def _email(channel: EmailChannel) -> Iterator[Fault]:
    if channel.tls == "none" and not is_loopback(channel.smtp_host):
        yield Fault("tls", "mail without TLS goes to loopback only", "use starttls or tls")
    if not 1 <= channel.smtp_port <= 65_535:
        yield Fault("smtp_port", f"`smtp_port` is {channel.smtp_port}", "1 to 65535")
    if (channel.username is None) != (channel.password_file is None):
        yield Fault("username", "`username` and `password_file` go together")
    if not channel.to:
        yield Fault("to", "`to` is empty", "name at least one recipient")
    if len(channel.to) > MAX_RECIPIENTS:
        yield Fault("to", f"more than {MAX_RECIPIENTS} recipients")
    for key, address in (("from", channel.from_), *(("to", to) for to in channel.to)):
        if not (_ADDRESS.fullmatch(address) or _ADDRESS_WITH_NAME.fullmatch(address)):
            yield Fault(key, f"`{address!r}` is not a mail address"[:120])


def _is_http(address: str) -> bool:
    try:
        url = urlsplit(address)
        is_there = bool(url.hostname) and url.port != 0
    except ValueError:
        return False
    return is_there and url.scheme in {"http", "https"} and len(address) <= MAX_URL


def _users(channel: TelegramChannel) -> Iterator[Fault]:
    if len(channel.users) > MAX_USERS:
        yield Fault("users", f"more than {MAX_USERS} users")
    for name, number in channel.users.items():
        if not name.strip() or number <= 0:
            hint = "write users = { anna = 123456789 }: a name, and the user's number at Telegram"
            yield Fault("users", f"`{name[:50]}` = {number} is no user", hint)
    if len(set(channel.users.values())) != len(channel.users):
        yield Fault("users", "two names for one user's number")


def _webhook(channel: WebhookChannel) -> Iterator[Fault]:
    try:
        url = urlsplit(channel.url)
        host, port = url.hostname or "", url.port
    except ValueError:
        host, port = "", None
    if not host or url.scheme not in {"http", "https"} or port == 0:
        yield Fault("url", "`url` is not an http or https URL")
        return
    if url.username is not None:
        hint = "put a key for the signature into `secret_file`"
        yield Fault("url", "`url` holds a user's name or password", hint)
    if url.scheme == "http" and not (channel.allow_private or is_loopback(host)):
        hint = "use https, or allow_private = true for a server of your own network"
        yield Fault("url", "plain http would send alerts in clear", hint)


def name_faults(key: str, name: str) -> Iterator[Fault]:
    """Yield what is wrong with a name."""
    if not _NAME.fullmatch(name):
        yield Fault(key, f"`{name}` is not a name", "at most 63 letters, digits, . _ -")


def whole_faults(key: str, duration: Duration, *, least_us: int = 0) -> Iterator[Fault]:
    """Yield what is wrong with a length that is whole seconds and no more than a day."""
    if duration.us % SECOND_US:
        yield Fault(key, f"`{key}` is not whole seconds")
    if duration.us < least_us:
        yield Fault(key, f"`{key}` is shorter than {compact(least_us)}")
    if duration.us > DAY_US:
        yield Fault(key, f"`{key}` is longer than 24h")
