"""An alert is an episode of (rule, key): the states it goes through and what moves it.

::

    inactive -> pending -> firing -> recovering -> resolved
       the condition holds: |          | it ceased: |
       `for` passes --------+          +------------+-- `keep_firing_for` passes

Only findings about the condition move an episode. Errors, restarts, overload and silences never do;
acknowledged, suppressed, flapping and stale are flags beside the state. A resolved episode is over:
the next one of the same key is another alert.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import msgspec

from outrider_alerting.kinds import Priority  # noqa: TC001  msgspec reads the annotations

State = Literal["inactive", "pending", "firing", "recovering", "resolved"]
Finding = Literal["holds", "lasted", "ceased", "stayed_away", "withdrawn"]
"""The condition holds; has held for `for`; has ceased; has stayed away for `keep_firing_for`. Or
there is nothing left to evaluate: the rule was deleted, its key is gone."""

Key = tuple[str, ...]
"""Values of a rule's ``by``; ``()`` is the whole rule, or its overflow where it has a ``by``."""

OPEN: Final[frozenset[State]] = frozenset(("pending", "firing", "recovering"))

_MOVES: Final[dict[tuple[State, Finding], State]] = {
    ("inactive", "holds"): "pending",
    ("inactive", "lasted"): "firing",
    ("pending", "lasted"): "firing",
    ("pending", "ceased"): "resolved",
    ("pending", "withdrawn"): "resolved",
    ("firing", "ceased"): "recovering",
    ("firing", "stayed_away"): "resolved",
    ("firing", "withdrawn"): "resolved",
    ("recovering", "holds"): "firing",
    ("recovering", "stayed_away"): "resolved",
    ("recovering", "withdrawn"): "resolved",
}


def next_state(state: State, finding: Finding) -> State | None:
    """Return where a finding moves an episode; None: it stays where it is."""
    return _MOVES.get((state, finding))


class Episode(NamedTuple):
    """The state of one (rule, key) and the times that belong to it, event time."""

    state: State = "inactive"
    started_us: int = 0
    fired_us: int | None = None
    ceased_us: int | None = None
    """While recovering: when the condition ceased."""

    @property
    def is_open(self) -> bool:
        """Whether there is an alert that is not resolved."""
        return self.state in OPEN

    def moved(self, finding: Finding, at_us: int, *, started_us: int | None = None) -> Episode:
        """Return the episode after a finding; itself when that moves nothing.

        ``started_us`` is the start of the condition where it is not ``at_us``. After *resolved*
        comes *inactive*: the caller stores the one and goes on from the other (see ``over``).
        """
        to_state = next_state(self.state, finding)
        if to_state is None:
            return self
        begun = started_us if started_us is not None else at_us
        started = self.started_us if self.is_open else begun
        fired = at_us if to_state == "firing" and self.fired_us is None else self.fired_us
        return Episode(to_state, started, fired, at_us if to_state == "recovering" else None)

    def over(self) -> Episode:
        """Return what follows a resolved episode: nothing, so far."""
        return Episode() if self.state == "resolved" else self


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """One move of one episode, with all that is stored about it."""

    rule: str
    key: Key
    from_state: State
    to_state: State
    at_us: int
    """When it became true, in event time."""
    concluded_us: int
    """When it was concluded: the step's `now`."""
    reason: str
    """What was found, one sentence part: ``11 records in 5m, above 10``."""
    started_us: int
    """Start of the episode, event time."""
    fired_us: int | None = None
    kind: str
    priority: Priority
    labels: dict[str, str]
    """Key names and values, the rule's labels, and rule, kind, priority."""
    summary: str
    runbook: str | None = None
    value: float | None = None
    threshold: float | None = None
    without: tuple[str, ...] = ()
    """Sources whose watermarks this was concluded without."""
    evidence: tuple[tuple[int, int], ...] = ()
    """Names (stream, offset) of the records that raised it."""


class StaleChange(msgspec.Struct, frozen=True, kw_only=True):
    """An open episode whose end cannot be told (no source is left), or can be told again."""

    rule: str
    key: Key
    stale: bool
    since_us: int | None
    """The last source was heard from at this time; None: unknown."""
