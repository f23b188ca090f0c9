"""Rules, channels and routes as values: what a set of rule files says, checked and typed.

A set is one versioned whole. :func:`outrider_alerting.rule_files.read` makes it from TOML texts and
refuses what does not work; nothing else constructs these structs from outside input. The kinds
of rules are in :mod:`.kinds`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec

from outrider.filter import Filter
from outrider_alerting.durations import Duration
from outrider_alerting.kinds import (
    FIRST_KINDS,
    KINDS,
    LIVENESS_BY,
    PRIORITIES,
    CountRule,
    LivenessRule,
    MatchRule,
    Priority,
    RecordRule,
    Rule,
)
from outrider_alerting.watches import hits_key

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CHANNEL_TYPES",
    "ENGINE_VERSION",
    "IN_APP",
    "KINDS",
    "LIVENESS_BY",
    "PRIORITIES",
    "Altered",
    "Changes",
    "Channel",
    "CountRule",
    "EmailChannel",
    "Escalation",
    "LivenessRule",
    "MatchRule",
    "Priority",
    "RecordRule",
    "Route",
    "Rule",
    "RuleSet",
    "TelegramChannel",
    "WebhookChannel",
    "altered",
    "definition",
    "diff",
    "hits_key",
]

ENGINE_VERSION: Final = 3
"""What this engine can evaluate; a set names the oldest engine that evaluates it right."""

IN_APP: Final = "in-app"
"""The notification centre: a destination of every alert, never declared."""


class TelegramChannel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One Telegram chat, spoken to by a bot."""

    name: str
    type: Literal["telegram"] = "telegram"
    bot_token_file: str
    """On the collector's host; a relative path is beside its other secrets."""
    chat_id: int
    topic: int | None = None
    """``message_thread_id`` of a topic of the group; by default the general one."""
    users: dict[str, int] = {}
    """Who may press buttons: the name under which somebody acts, and their Telegram user id."""
    fallback: str | None = None
    """Channel that is told what this one could not be."""
    base_url: str | None = None
    """A Bot API server of one's own; by default Telegram's."""
    dashboard_url: str | None = None
    """Where who reads this finds the dashboard; messages lead to their alert there."""


class EmailChannel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One group of mailboxes, reached by SMTP."""

    name: str
    type: Literal["email"] = "email"
    smtp_host: str
    smtp_port: int = 587
    username: str | None = None
    password_file: str | None = None
    tls: Literal["starttls", "tls", "none"] = "starttls"
    """``none`` on loopback only."""
    from_: str = msgspec.field(name="from")
    to: tuple[str, ...]
    fallback: str | None = None
    """Channel that is told what this one could not be."""
    dashboard_url: str | None = None
    """Where who reads this finds the dashboard; letters lead to their alert there."""


class WebhookChannel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One address that takes JSON by HTTP POST."""

    name: str
    type: Literal["webhook"] = "webhook"
    url: str
    """https; http to loopback or with ``allow_private`` only."""
    secret_file: str | None = None
    """Key of the signature, on the collector's host; without it nothing is signed."""
    format: Literal["outrider", "alertmanager"] = "outrider"
    allow_private: bool = False
    """Whether the address may be one of a private network."""
    fallback: str | None = None
    """Channel that is told what this one could not be."""
    dashboard_url: str | None = None
    """Where who reads this finds the dashboard; given with each alert as its page."""


Channel = TelegramChannel | EmailChannel | WebhookChannel
CHANNEL_TYPES: Final[dict[str, type[TelegramChannel | EmailChannel | WebhookChannel]]] = {
    "telegram": TelegramChannel,
    "email": EmailChannel,
    "webhook": WebhookChannel,
}


class Escalation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who else is told of an alert that nobody has acknowledged."""

    after: Duration
    """Counted from the time it fired."""
    channels: tuple[str, ...]


class Route(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which alerts go to which channels. The first match wins unless it says ``continue``."""

    match: Filter | None = None
    """On an alert's labels; without it every alert matches."""
    channels: tuple[str, ...]
    continue_: bool = msgspec.field(default=False, name="continue")
    escalate: tuple[Escalation, ...] = ()
    remind: Duration | None = None
    """How often what fires and is not acknowledged is told again; by default never."""


class RuleSet(msgspec.Struct, frozen=True, kw_only=True):
    """Rules, channels and routes: what is applied as one version."""

    rules: tuple[Rule, ...] = ()
    channels: tuple[Channel, ...] = ()
    routes: tuple[Route, ...] = ()

    @property
    def minimum_engine(self) -> int:
        """The oldest engine that evaluates this set right."""
        return max((_engine_of(rule) for rule in self.rules), default=1)

    def rule(self, name: str) -> Rule | None:
        """The rule of that name, or None."""
        return next((rule for rule in self.rules if rule.name == name), None)

    def channel(self, name: str) -> Channel | None:
        """The channel of that name, or None."""
        return next((channel for channel in self.channels if channel.name == name), None)


class Changes(NamedTuple):
    """Names of what differs between two sets; routes as one thing called ``routes``."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


def definition(item: Rule | Channel | Route) -> dict[str, object]:
    """Return the JSON form of a rule, channel or route, as it was written."""
    built: dict[str, object] = msgspec.to_builtins(item, enc_hook=_encode, str_keys=True)
    # What a rule is tested with is no part of what it does.
    built.pop("test", None)
    return {key: value for key, value in built.items() if value is not None}


def diff(old: RuleSet, new: RuleSet) -> Changes:
    """Say what applying ``new`` over ``old`` would change, in name order."""
    before, after = _named(old), _named(new)
    return Changes(
        added=tuple(sorted(after.keys() - before.keys())),
        changed=tuple(sorted(k for k in after.keys() & before.keys() if after[k] != before[k])),
        removed=tuple(sorted(before.keys() - after.keys())),
    )


class Altered(NamedTuple):
    """A key of a rule or channel that reads otherwise in another set; None: it is not written."""

    key: str
    before: object
    after: object


def altered(old: RuleSet, new: RuleSet) -> dict[str, list[Altered]]:
    """Say which keys differ of each rule and channel that both have, by the names of ``diff``."""
    before, after = _named(old), _named(new)
    found = {}
    for name in diff(old, new).changed:
        was, now = before[name], after[name]
        if isinstance(was, dict) and isinstance(now, dict):
            found[name] = [
                Altered(key, was.get(key), now.get(key))
                for key in sorted(was.keys() | now.keys())
                if was.get(key) != now.get(key)
            ]
    return found


def _named(rule_set: RuleSet) -> Mapping[str, object]:
    named: dict[str, object] = {f"rule {rule.name}": definition(rule) for rule in rule_set.rules}
    named |= {f"channel {c.name}": definition(c) for c in rule_set.channels}
    if rule_set.routes:
        named["routes"] = [definition(route) for route in rule_set.routes]
    return named


def _engine_of(rule: Rule) -> int:
    """Return the oldest engine that evaluates a rule right."""
    written = definition(rule)
    is_ladder = isinstance(written.get("above"), dict)
    is_plain = written.get("no_data", "keep") == "keep" and not is_ladder
    more = {"below", "of"} & written.keys() if rule.kind == "count" else ()
    return 1 if rule.kind in FIRST_KINDS and is_plain and not more else 2


def _encode(value: object) -> str:
    if isinstance(value, Duration):
        return value.text
    if isinstance(value, Filter):
        return value.text
    raise NotImplementedError(type(value).__name__)
