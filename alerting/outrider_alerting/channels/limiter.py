"""How many messages may leave when: exact windows for each account and each conversation.

Telegram counts messages in windows that slide (30 a second for a bot, 1 a second in a chat, 20 a
minute in a group). A token bucket with the same average lets up to twice as many pass within one
window, namely a full bucket and then its refill, so the last departures are remembered instead: a
message may leave when no window that ends with it holds more than its limit.

The limiter is pure: the clock is an argument, it sends nothing and waits for nobody. Who may go
first is decided by :meth:`Limiter.choose`: higher priority, then older. Departures of other
deliverers are told to it by :meth:`Limiter.departed`, so that two of them together keep the limits.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

CONVERSATIONS_MAX = 10_000
"""Conversations remembered; those idle for longest are forgotten first."""


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `limit` departures in any span of `period_s` seconds."""

    limit: int
    period_s: float


@dataclass(frozen=True, slots=True)
class Limits:
    """What one kind of channel allows."""

    # For all conversations of one account together.
    sender: tuple[Rate, ...] = ()
    conversation: tuple[Rate, ...] = ()


# A little under the published 30/s, 1/s and 20/min: clocks and networks stretch and squeeze time.
TELEGRAM_CHAT = Limits(sender=(Rate(28, 1.0),), conversation=(Rate(1, 1.05),))
TELEGRAM_GROUP = Limits(sender=(Rate(28, 1.0),), conversation=(Rate(1, 1.05), Rate(20, 62.0)))
# No published limit; one server connection carries about this much without complaint.
EMAIL = Limits(sender=(Rate(20, 1.0),))
# A courtesy: what comes faster is told together.
WEBHOOK = Limits(sender=(Rate(10, 1.0),))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A message that would leave now if it may."""

    id: int
    # Account it leaves under, e.g. "telegram:42"; no secret.
    sender: str
    conversation: str
    # Greater goes first.
    priority: int
    limits: Limits


@dataclass(slots=True)
class _Log:
    """Departures of one account or conversation, newest last, and a hold upon it."""

    times: list[float] = field(default_factory=list)
    held_until: float = float("-inf")

    def free_at(self, rates: tuple[Rate, ...]) -> float:
        free_at = self.held_until
        for rate in rates:
            if len(self.times) >= rate.limit:
                free_at = max(free_at, self.times[-rate.limit] + rate.period_s)
        return free_at

    def add(self, now: float, rates: tuple[Rate, ...]) -> None:
        # Others' departures are learned a little late.
        insort(self.times, now)
        keep = max((rate.limit for rate in rates), default=1)
        del self.times[:-keep]


class Limiter:
    """Departures and holds; times are monotonic seconds of the caller's clock."""

    def __init__(self) -> None:
        self._senders: dict[str, _Log] = {}
        self._conversations: dict[str, _Log] = {}

    def free_at(self, candidate: Candidate) -> float:
        """When it may leave, as far as is known; in the past: now."""
        limits = candidate.limits
        return max(
            _log(self._senders, candidate.sender).free_at(limits.sender),
            _log(self._conversations, candidate.conversation).free_at(limits.conversation),
        )

    def choose(
        self, waiting: Iterable[Candidate], now: float, most: int | None = None
    ) -> list[Candidate]:
        """Take those that may leave at `now`, at most one a conversation, and count them.

        No more than `most` are taken where it is given.

        Order: priority, then id; so what is urgent has the first claim on the account's places.
        """
        chosen: list[Candidate] = []
        taken: set[str] = set()
        for candidate in sorted(waiting, key=lambda c: (-c.priority, c.id)):
            if most is not None and len(chosen) >= most:
                break
            if candidate.conversation in taken:
                continue
            if self.free_at(candidate) > now:
                continue
            taken.add(candidate.conversation)
            self.departed(candidate.sender, candidate.conversation, candidate.limits, now)
            chosen.append(candidate)
        return chosen

    def departed(self, sender: str, conversation: str, limits: Limits, at: float) -> None:
        """Count a departure."""
        _log(self._senders, sender).add(at, limits.sender)
        _log(self._conversations, conversation).add(at, limits.conversation)

    def hold_conversation(self, conversation: str, until: float) -> None:
        """Nothing leaves into this conversation before `until`."""
        log = _log(self._conversations, conversation)
        log.held_until = max(log.held_until, until)

    def hold_sender(self, sender: str, until: float) -> None:
        """Nothing leaves under this account before `until`."""
        log = _log(self._senders, sender)
        log.held_until = max(log.held_until, until)


def _log(logs: dict[str, _Log], name: str) -> _Log:
    """Move the named log to the young end and make room for a new one."""
    log = logs.pop(name, None)
    if log is None:
        log = _Log()
        if len(logs) >= CONVERSATIONS_MAX:
            del logs[next(iter(logs))]
    logs[name] = log
    return log
