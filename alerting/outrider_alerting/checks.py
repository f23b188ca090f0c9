"""What the types of :mod:`.rules` cannot say: bounds, names, and what fits together."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from outrider.addresses import is_loopback
from outrider.configuration import suggest
from outrider.filter import comparisons
from outrider_alerting import summaries
from outrider_alerting.durations import DAY_US, HOUR_US, SECOND_US, Duration, compact
from outrider_alerting.hits import BY_FIELDS
from outrider_alerting.program import key_names
from outrider_alerting.rules import (
    IN_APP,
    LIVENESS_BY,
    CountRule,
    EmailChannel,
    LivenessRule,
    MatchRule,
    TelegramChannel,
    WebhookChannel,
)
from outrider_alerting.wording import RESERVED_LABELS, SUMMARY_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outrider_alerting.rules import Channel, Route, Rule

MAX_BY: Final = 6
MAX_LABELS: Final = 16
MAX_RECIPIENTS: Final = 50
MAX_USERS: Final = 100
MAX_ESCALATIONS: Final = 10
REMIND_LEAST_US: Final = 60 * SECOND_US

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,62}")
_ADDRESS = re.compile(r"[^\s@<>,;]+@[^\s@<>,;]+")
_ADDRESS_WITH_NAME = re.compile(r"[^<>\r\n]*<[^\s@<>,;]+@[^\s@<>,;]+>")
_SHORT = "attrs."


class Fault(NamedTuple):
    """What is wrong with one key of a table, and what to do."""

    key: str
    message: str
    hint: str = ""


def normal(rule: Rule) -> Rule:
    """Return the rule with the short field names of ``by`` written out."""
    if isinstance(rule, LivenessRule):
        return rule
    by = tuple(
        f"attributes.{name[len(_SHORT) :]}" if name.startswith(_SHORT) else name for name in rule.by
    )
    return msgspec.structs.replace(rule, by=by)


def rule_faults(rule: Rule) -> Iterator[Fault]:
    """Yield everything wrong with a rule."""
    yield from _name("name", rule.name)
    yield from _whole("for", rule.for_)
    if rule.keep_firing_for is not None:
        yield from _whole("keep_firing_for", rule.keep_firing_for)
    if not 1 <= rule.max_instances <= 1_000:
        yield Fault("max_instances", f"`max_instances` is {rule.max_instances}", "1 to 1000")
    if rule.runbook is not None and not rule.runbook.startswith(("http://", "https://")):
        yield Fault("runbook", "`runbook` is not an http or https URL")
    yield from _labels(rule)
    if isinstance(rule, LivenessRule):
        yield from _liveness(rule)
    else:
        yield from _record_rule(rule)
    yield from _summary(rule)


def channel_faults(channel: Channel) -> Iterator[Fault]:
    """Yield everything wrong with a channel."""
    yield from _name("name", channel.name)
    if channel.name == IN_APP:
        yield Fault("name", f"`{IN_APP}` is always there", "choose another name")
    if isinstance(channel, TelegramChannel):
        if channel.base_url is not None and not channel.base_url.startswith(
            ("http://", "https://")
        ):
            yield Fault("base_url", "`base_url` is not an http or https URL")
        if not channel.bot_token_file:
            yield Fault("bot_token_file", "`bot_token_file` is empty", "name the token's file")
        yield from _users(channel)
    elif isinstance(channel, EmailChannel):
        yield from _email(channel)
    else:
        yield from _webhook(channel)
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
        yield from _whole("escalate", step.after)
        before_us = step.after.us
    if route.remind is not None:
        yield from _whole("remind", route.remind, least_us=REMIND_LEAST_US)


def _record_rule(rule: MatchRule | CountRule) -> Iterator[Fault]:
    yield from _by(rule.by)
    if not 0 <= rule.evidence <= 10:
        yield Fault("evidence", f"`evidence` is {rule.evidence}", "0 to 10 lines")
    if rule.lateness.us > HOUR_US:
        yield Fault("lateness", "`lateness` is longer than 1h")
    if isinstance(rule, MatchRule):
        if rule.for_.us:
            yield Fault(
                "for", "a match fires at once", "use kind `count` for a condition over time"
            )
        if rule.keep_firing_for is not None and not rule.keep_firing_for.us:
            yield Fault("keep_firing_for", "a match lasts at least 1s")
        return
    yield from _whole("window", rule.window, least_us=SECOND_US)
    if rule.above < 0:
        yield Fault("above", f"`above` is {rule.above}", "0 or more; the count must be greater")
    if rule.resolve is not None and not 0 <= rule.resolve <= rule.above:
        hint = f"0 to `above` ({rule.above}): the alert ends at this count or below"
        yield Fault("resolve", f"`resolve` is {rule.resolve}", hint)


def _by(names: tuple[str, ...]) -> Iterator[Fault]:
    if len(names) > MAX_BY:
        yield Fault("by", f"more than {MAX_BY} fields in `by`")
    if len(set(names)) != len(names):
        yield Fault("by", "a field twice in `by`")
    for name in names:
        if name in BY_FIELDS or re.fullmatch(r"attributes(\.[^.\s]+)+", name):
            continue
        near = suggest(name, (*BY_FIELDS, "attributes.PATH"))
        known = f"known: {', '.join(BY_FIELDS)}, attributes.PATH"
        yield Fault("by", f"no field `{name}`", f"did you mean `{near}`?" if near else known)


def _liveness(rule: LivenessRule) -> Iterator[Fault]:
    if not rule.states:
        yield Fault("states", "`states` is empty", "name at least one, e.g. dead")
    known = LIVENESS_BY["worker"]
    if rule.filter is None:
        return
    for name in dict.fromkeys(field.name for field in comparisons(rule.filter.node)):
        if name not in known:
            near = suggest(name, known)
            hint = f"did you mean `{near}`?" if near else f"known: {', '.join(known)}"
            yield Fault("filter", f"no field `{name}` here", hint)


def _labels(rule: Rule) -> Iterator[Fault]:
    if len(rule.labels) > MAX_LABELS:
        yield Fault("labels", f"more than {MAX_LABELS} labels")
    taken = {*RESERVED_LABELS, *key_names(rule)}
    for name, value in rule.labels.items():
        if not _LABEL.fullmatch(name):
            yield Fault("labels", f"`{name}` is not a label's name", "letters, digits, _ . -")
        if name in taken:
            yield Fault("labels", f"the label `{name}` is set by itself", "choose another name")
        if len(value) > 200:
            yield Fault("labels", f"the label `{name}` is longer than 200 characters")


def _summary(rule: Rule) -> Iterator[Fault]:
    if rule.summary is None:
        return
    if len(rule.summary) > summaries.MAX_TEMPLATE:
        yield Fault("summary", f"longer than {summaries.MAX_TEMPLATE} characters")
    try:
        used = summaries.names(rule.summary)
    except summaries.SummaryError as error:
        yield Fault("summary", str(error))
        return
    known = (*SUMMARY_NAMES[rule.kind], *key_names(rule), *rule.labels)
    for name in used:
        if name not in known:
            near = suggest(name, known)
            hint = f"did you mean `{{{near}}}`?" if near else f"known: {', '.join(known)}"
            yield Fault("summary", f"no value `{{{name}}}`", hint)


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


def _name(key: str, name: str) -> Iterator[Fault]:
    if not _NAME.fullmatch(name):
        yield Fault(key, f"`{name}` is not a name", "at most 63 letters, digits, . _ -")


def _whole(key: str, duration: Duration, *, least_us: int = 0) -> Iterator[Fault]:
    if duration.us % SECOND_US:
        yield Fault(key, f"`{key}` is not whole seconds")
    if duration.us < least_us:
        yield Fault(key, f"`{key}` is shorter than {compact(least_us)}")
    if duration.us > DAY_US:
        yield Fault(key, f"`{key}` is longer than 24h")
