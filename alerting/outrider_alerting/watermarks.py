"""How far records are complete: what an end, or an absence, may be concluded from.

A *watermark* is an agent's statement about a stream: all that was written up to this time is
committed. A *source* is what one agent ships of one worker. The sources of a service are its
quorum, and the quorum's time is the least of their watermarks: up to there nothing is missing.

A source that is silent, or behind by more than its limit, would hold everybody up, so it leaves the
quorum until it has caught up with it; the quorum's time never moves back, and conclusions name whom
they were drawn without. Where no source of a scope is left, nothing is concluded at all: a silent
worker is not a healthy one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from outrider_alerting.durations import MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """What one agent ships of one worker: all its open streams of that worker together.

    In scope are agents with a stream of the service in the last 24 hours.
    """

    agent: int
    service: str
    worker: str
    host: str
    complete_us: int | None
    """Least watermark of the open streams, None: no statement yet. A worker whose streams are all
    closed is as complete as its agent: the least watermark of the agent's open streams, or when it
    was last heard from."""
    seen_us: int
    """When the agent was last heard from (heartbeat or batch), database time."""

    @property
    def name(self) -> str:
        """How people call it: ``payments/w1@web-3``."""
        return f"{self.service}/{self.worker}@{self.host}"


class Limits(NamedTuple):
    """When a source leaves the quorum."""

    silent_us: int = MINUTE_US
    """Not heard from for longer than this."""
    behind_us: int = 5 * MINUTE_US
    """Its watermark is older than this."""


class Scope(NamedTuple):
    """Whose watermarks a conclusion needs; None: any."""

    service: str | None = None
    worker: str | None = None
    host: str | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """How far a scope's records are known to be complete."""

    until_us: int | None = None
    """None: cannot tell, no source of the scope is in the quorum."""
    without: tuple[str, ...] = ()
    """Names of the scope's sources that have left the quorum."""
    last_seen_us: int | None = None
    """With ``until_us`` None: when the last source was heard from."""
    gone: bool = False
    """There are sources, but none of this scope has been in scope for 24 hours."""


class Quorum(Protocol):
    """Answers how far scopes are complete, for one step."""

    @property
    def marks(self) -> Mapping[str, int]:
        """The time of each service's quorum, to be kept for the next assessment."""
        ...

    def answer(self, scope: Scope) -> Answer:
        """Return how far the records of the scope are complete."""
        ...


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What a quorum was asked and answered in one step: all that a replay needs of it."""

    marks: dict[str, int] = {}
    answers: tuple[tuple[Scope, Answer], ...] = ()


class SourceQuorum:
    """The quorum of the sources at one moment; see :func:`assess`."""

    def __init__(
        self, members: Iterable[Source], left: Iterable[Source], marks: dict[str, int]
    ) -> None:
        self.marks = marks
        # By (service, worker), with None for any: who is in the quorum, who has left it.
        self._known: dict[tuple[str | None, str | None], tuple[list[Source], list[Source]]] = {}
        for place, sources in enumerate((members, left)):
            for source in sources:
                for service in (source.service, None):
                    for worker in (source.worker, None):
                        pair = self._known.setdefault((service, worker), ([], []))
                        pair[place].append(source)
        self._answers: dict[Scope, Answer] = {}

    def answer(self, scope: Scope) -> Answer:
        """Return how far the records of the scope are complete."""
        answer = self._answers.get(scope)
        if answer is None:
            answer = self._answers[scope] = self._work_out(scope)
        return answer

    def _work_out(self, scope: Scope) -> Answer:
        known = self._known.get((scope.service, scope.worker), ([], []))
        members, left = (
            [s for s in sources if scope.host is None or s.host == scope.host] for sources in known
        )
        without = tuple(sorted({source.name for source in left}))
        if members:
            until = min(s.complete_us for s in members if s.complete_us is not None)
            return Answer(until_us=until, without=without)
        return Answer(
            without=without,
            last_seen_us=max((source.seen_us for source in left), default=None),
            gone=not left and bool(self._known),
        )


def assess(
    sources: Iterable[Source],
    marks: Mapping[str, int],
    *,
    now_us: int,
    limits: Limits = Limits(),  # noqa: B008  an immutable tuple
    caught_up: bool = True,
) -> SourceQuorum:
    """Decide who is in the quorum.

    ``marks`` are the ``marks`` of the assessment before (kept in the engine's general state): what
    is complete only up to before its service's mark has yet to catch up. Where the evaluator has
    not ``caught_up`` with what was committed before ``sources`` were read, their records are
    complete in the database but not yet counted: nothing is concluded beyond the marks.
    """
    members: list[Source] = []
    left: list[Source] = []
    for source in sources:
        complete = source.complete_us
        in_quorum = (
            complete is not None
            and now_us - source.seen_us <= limits.silent_us
            and now_us - complete <= limits.behind_us
            and complete >= marks.get(source.service, complete)
        )
        (members if in_quorum else left).append(source)
    if not caught_up:
        held = [
            msgspec.structs.replace(source, complete_us=marks.get(source.service, 0))
            for source in members
        ]
        return SourceQuorum(held, left, dict(marks))
    new_marks = dict(marks)
    least: dict[str, int] = {}
    for source in members:
        if source.complete_us is not None:
            known = least.get(source.service, source.complete_us)
            least[source.service] = min(known, source.complete_us)
    new_marks.update(least)
    services = {source.service for source in (*members, *left)}
    kept = {service: mark for service, mark in new_marks.items() if service in services}
    return SourceQuorum(members, left, kept)


def combined(answers: Iterable[Answer]) -> Answer:
    """Return what holds for several scopes together: as far as the least complete of them."""
    together = list(answers)
    if len(together) == 1:
        return together[0]
    without = tuple(sorted({name for answer in together for name in answer.without}))
    present = [answer for answer in together if not answer.gone]
    if not present:
        return Answer(gone=bool(together))
    times = [answer.until_us for answer in present if answer.until_us is not None]
    seen = [answer.last_seen_us for answer in present if answer.last_seen_us is not None]
    return Answer(
        until_us=min(times, default=None),
        without=without,
        last_seen_us=max(seen, default=None) if not times else None,
    )
