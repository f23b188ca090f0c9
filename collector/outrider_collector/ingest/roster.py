"""The roster of living sessions: who is connected here, what each is told.

One session an agent: a newer one fences the older before it is welcomed; whether it may is decided
by :mod:`outrider_collector.ingest.rivals`. Windows and settings go
out from here, so that nobody else has to know who is connected.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from outrider.errors import Fault, Reason
from outrider_collector.ingest.rivals import Rivals
from outrider_collector.store.budget.limits import Keeping
from outrider_protos.v1 import ingest_pb2, log_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from outrider_collector.ingest.credit import CreditBudget
    from outrider_collector.ingest.pace import Intervals
    from outrider_collector.ingest.session import Session

VITAL_CREDIT_BYTES = 256 * 1024
"""What an agent may have on its way while the store is nearly full."""
URGENT_SEVERITY = 17
"""ERROR and above leave an agent at the urgent interval."""
MAX_BATCHES_IN_MESSAGE = 100


@dataclass(frozen=True, slots=True)
class Wishes:
    """What this collector wants of agents now."""

    intervals: Intervals
    heartbeat_interval_ms: int
    urgent_filters: tuple[str, ...] = ()
    """As the active rules have them: their number and length are limited there."""
    vital_credit_bytes: int = 0
    """More than 0: the store is nearly full, and of streams with an audit record or an error so
    many bytes may be on their way all the same."""

    def settings(self) -> ingest_pb2.Settings:
        """Return the wishes as the wire says them."""
        return ingest_pb2.Settings(
            flush_interval_ms=self.intervals.plain_ms,
            urgent_flush_interval_ms=self.intervals.urgent_ms,
            urgent_severity=URGENT_SEVERITY,
            urgent_filters=self.urgent_filters,
            heartbeat_interval_ms=self.heartbeat_interval_ms,
            vital_credit_bytes=self.vital_credit_bytes,
            batches_in_message=MAX_BATCHES_IN_MESSAGE,
            # Agents are on this host: compressing for loopback costs both sides and saves nobody.
            compression=log_pb2.COMPRESSION_NONE,
        )


class Roster:
    """Living sessions by agent."""

    def __init__(self, budget: CreditBudget, wishes: Wishes) -> None:
        self.budget = budget
        self.wishes = wishes
        self.rivals = Rivals()
        self._by_agent: dict[int, Session] = {}
        self._by_number: dict[int, Session] = {}

    def __len__(self) -> int:
        return len(self._by_agent)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._by_agent.values()))

    def of_agent(self, agent: int) -> Session | None:
        """Return the agent's living session here."""
        return self._by_agent.get(agent)

    def join(self, session: Session) -> int:
        """Enter a session and return its first window; an older one of the agent is fenced."""
        older = self._by_agent.get(session.agent)
        if older is not None:
            self.fence(older.number)
        self._by_agent[session.agent] = session
        self._by_number[session.number] = session
        return self.budget.join(session.number)

    def leave(self, session: Session) -> None:
        """Take a session off the roster; harmless when it is off already."""
        if self._by_number.pop(session.number, None) is None:
            return
        self.budget.leave(session.number)
        if self._by_agent.get(session.agent) is session:
            del self._by_agent[session.agent]
            self.rivals.heard(session.agent)

    def fence(self, number: int) -> None:
        """End a session that lost its agent to a newer session, or its right to speak."""
        session = self._by_number.get(number)
        if session is not None:
            self.rivals.fenced(session.agent, session.instance)
        self.end(number, Fault(Reason.STREAM_FENCED))

    def end(self, number: int, fault: Fault) -> None:
        """End a session, with the reason its agent is told; harmless when it is off the roster."""
        session = self._by_number.get(number)
        if session is not None:
            session.end(fault)
            self.leave(session)

    def tell_credit(self, numbers: Iterable[int]) -> None:
        """Tell sessions their windows."""
        for number in numbers:
            session = self._by_number.get(number)
            if session is not None:
                credit = ingest_pb2.Credit(credit_bytes=self.budget.window(number))
                session.outbox.send(ingest_pb2.PushResponse(credit=credit))

    def wish(self, wishes: Wishes) -> None:
        """Tell all sessions new wishes."""
        self.wishes = wishes
        settings = wishes.settings()
        for session in self:
            session.outbox.send(ingest_pb2.PushResponse(settings=settings))

    def hold(self, keeping: Keeping) -> None:
        """Let agents keep so much of what they have; again is harmless."""
        vital_bytes = VITAL_CREDIT_BYTES if keeping is Keeping.ALL_BUT_VITAL else 0
        if vital_bytes != self.wishes.vital_credit_bytes:
            # Before the windows: an agent without one must know what it may send all the same.
            self.wish(replace(self.wishes, vital_credit_bytes=vital_bytes))
        self.tell_credit(self.budget.hold(on=keeping is not Keeping.NOTHING))

    def end_all(self, fault: Fault) -> None:
        """End every session, with the reason its agent is told."""
        for session in self:
            session.end(fault)
