"""Two processes that say they are one agent: its state directory was copied, and both run.

A session is never stolen from the living. Who says hello while another process of the agent has a
session waits until that one ended, or was heard of: then the newcomer is the copy, and is told to
get an identity of its own. A process that is merely restarted finds the session of the one before
ended; where its host vanished without a word, nothing is heard for three heartbeats, and the
session is the newcomer's.

With several collectors the two may not meet at one. Then what Postgres knows decides: while the
heartbeats of the process that holds the agent come, the newcomer waits, and is the copy once one
was heard after it asked; when they are overdue, or its stream broke, the agent is the newcomer's.
Where both were let in all the same, within the seconds that a heartbeat takes to be stored, the
newer session fences the older one, and a process that comes back to find its agent in other hands
is the copy: a process that ended does not come back.

Pure: no clock, no I/O.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from outrider_collector.ingest.session import Session
    from outrider_collector.store.agents import Holder

LIFELESS_HEARTBEATS = 3
_MAX_FENCED = 10_000
_MAX_ASKED = 10_000
_MARGIN = timedelta(seconds=1)
"""A heartbeat's time is the database's as a collector knows it; it may be off by less."""


@dataclass(slots=True, eq=False)
class Challenge:
    """A hello that found another process of its agent in session."""

    living: Session
    began_at: float
    """On the monotonic clock, seconds."""
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the other was heard of, or ended."""


class Rivals:
    """Challenges that are not decided, and processes that lost their agent elsewhere."""

    def __init__(self) -> None:
        self._challenges: dict[int, Challenge] = {}
        self._fenced: OrderedDict[tuple[int, bytes], None] = OrderedDict()
        self._asked: OrderedDict[int, tuple[bytes, datetime]] = OrderedDict()

    def challenge(self, living: Session, now: float) -> Challenge:
        """Return the challenge of a session that lives; the one that waits for it already."""
        found = self._challenges.get(living.agent)
        if found is None or found.living is not living:
            found = self._challenges[living.agent] = Challenge(living, now)
        return found

    def decided(self, agent: int) -> None:
        """Forget a challenge."""
        self._challenges.pop(agent, None)

    def heard(self, agent: int) -> None:
        """Take note that an agent's session said something, or ended."""
        challenge = self._challenges.get(agent)
        if challenge is not None:
            challenge.answered.set()

    def was_heard_since(self, agent: int, holder: Holder) -> bool:
        """Whether who holds an agent elsewhere was heard after it was first asked for here."""
        instance, asked_at = self._asked.get(agent, (b"", holder.now))
        if instance != holder.instance:
            self._asked[agent] = holder.instance, holder.now
            while len(self._asked) > _MAX_ASKED:
                self._asked.popitem(last=False)
            return False
        return holder.heard_at is not None and holder.heard_at > asked_at + _MARGIN

    def left(self, agent: int) -> None:
        """Forget that an agent was asked for: it is decided whose it is."""
        self._asked.pop(agent, None)

    def fenced(self, agent: int, instance: bytes) -> None:
        """Remember a process whose agent was taken over elsewhere."""
        self._fenced[agent, instance] = None
        while len(self._fenced) > _MAX_FENCED:
            self._fenced.popitem(last=False)

    def was_fenced(self, agent: int, instance: bytes) -> bool:
        """Whether a process has lost its agent to a newer session."""
        return (agent, instance) in self._fenced
