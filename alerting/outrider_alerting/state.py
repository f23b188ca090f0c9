"""What the engine remembers between steps: one small state for each (rule, key).

It is stored as JSON in a row, and many together as MessagePack in a journal of what is no row yet.

``EngineState`` holds all of them in memory, with the few indexes a step needs, and is read from the
database once, when a process becomes the evaluator. A step never changes it: it returns what would
change, and ``apply`` takes that over once the caller has stored it or will. Where that fails in the
end, memory is read anew from the database.

What is no longer needed goes by the evaluator's clock alone: a bucket is kept for a window and
``LINGER_S`` after it was last added to. A key without buckets and without an alert is forgotten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from outrider_alerting.episodes import Episode, Key, State
from outrider_alerting.kinds import Priority  # noqa: TC001  msgspec reads the annotations
from outrider_alerting.losses import Loss  # noqa: TC001  msgspec reads the annotations
from outrider_alerting.windows import (  # noqa: TC001  msgspec reads the annotations
    Bucket,
    Span,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

STARTED, FINISHED, FAILED = 0, 1, 2
JOB_EVENTS: Final = {
    "job.started": STARTED,
    "job.succeeded": FINISHED,
    "job.failed": FAILED,
    "job.timed_out": FAILED,
    # It has ended, and has not done its work.
    "job.cancelled": FAILED,
}
"""What a job says of itself, and where in its ``runs`` that is kept."""

LINGER_S: Final = 360
"""A source that is behind is waited for five minutes; a minute more for what it brings."""

Numbers = tuple[int, float, float, float, float]
"""Of one bucket: its start; sum, lowest, highest and last number."""

Address = tuple[str, Key]
"""(rule name, key)."""


class Opened(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True, gc=False
):
    """What an open alert says of itself, so that it can be closed when its rule is gone."""

    kind: str
    priority: Priority
    labels: dict[str, str]
    summary: str
    runbook: str | None = None
    value: float | None = None
    threshold: float | None = None


class RuleState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """State of one (rule, key) between steps. Times end in their unit; ``_s`` are whole seconds."""

    phase: State = "inactive"
    started_us: int = 0
    fired_us: int | None = None
    ceased_us: int | None = None
    opened: Opened | None = None
    subject: str = ""
    """What the key means, see ``Program.subject``."""
    by: str = ""
    buckets: tuple[Bucket, ...] = ()
    packed: tuple[int, ...] = ()
    """The buckets in the JSON form only: start, n, touched, each as a difference."""
    others: tuple[Bucket, ...] = ()
    """Of a ratio: the records that its share is taken of."""
    numbers: tuple[Numbers, ...] = ()
    """Of a gauge, beside its buckets."""
    values: dict[str, tuple[Span, ...]] = {}
    """Different values: when each was seen, first and last, without a pause of a window."""
    loss: Loss | None = None
    """Of gaps: how many records they are, beside the buckets."""
    runs: tuple[int, int, int] = (0, 0, 0)
    """Of a job: the second of its last start, end and failure."""
    names: tuple[tuple[int, int, int], ...] = ()
    """Newest records: (second, stream, offset), at most 10."""
    told: tuple[Span, ...] = ()
    """Stretches of event time that earlier episodes of this key have told."""
    floor_s: int = 0
    """No end is concluded for a time before this."""
    wake_s: int | None = None
    """Something moves when conclusions reach this event time."""
    timer_us: int | None = None
    """Something moves when the clock reaches this."""
    expiry_s: int = 0
    """When the last bucket goes, or the key itself."""
    watched: bool = False
    """What does not come can move it: looked at in every step, open or not."""
    blocked: bool = False
    """The condition holds, but the rule has its ``max_instances``."""
    stale: bool = False
    found: str = ""
    """Liveness: the component's state and why."""
    reason: str = ""

    @property
    def episode(self) -> Episode:
        """The episode's part of the state."""
        return Episode(self.phase, self.started_us, self.fired_us, self.ceased_us)

    @property
    def is_active(self) -> bool:
        """Whether time or the watermarks can move it."""
        return self.phase != "inactive" or self.blocked or self.watched

    def with_episode(self, episode: Episode, *, opened: Opened | None) -> RuleState:
        """Return the state with another episode."""
        return msgspec.structs.replace(
            self,
            phase=episode.state,
            started_us=episode.started_us,
            fired_us=episode.fired_us,
            ceased_us=episode.ceased_us,
            opened=opened,
        )

    def encode(self) -> bytes:
        """Return the JSON form. A busy key is written often, so its buckets are differences."""
        packed: list[int] = []
        before = 0
        for start, n, touched in self.buckets:
            packed += (start - before, n, touched - start)
            before = start
        return msgspec.json.encode(msgspec.structs.replace(self, buckets=(), packed=tuple(packed)))

    @classmethod
    def decode(cls, encoded: bytes) -> RuleState:
        """Return the state that :meth:`encode` wrote."""
        state = msgspec.json.decode(encoded, type=cls)
        buckets: list[Bucket] = []
        before = 0
        for at in range(0, len(state.packed), 3):
            step, n, age = state.packed[at : at + 3]
            before += step
            buckets.append((before, n, before + age))
        return msgspec.structs.replace(state, buckets=tuple(buckets), packed=())


def encode_states(changed: Mapping[Address, RuleState | None]) -> bytes:
    """Return changed states of many keys (None: the key is forgotten) as MessagePack."""
    return msgspec.msgpack.encode([(rule, key, s) for (rule, key), s in changed.items()])


def decode_states(encoded: bytes) -> dict[Address, RuleState | None]:
    """Return what :func:`encode_states` was given."""
    rows = msgspec.msgpack.decode(encoded, type=list[tuple[str, Key, RuleState | None]])
    return {(rule, key): state for rule, key, state in rows}


class General(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """State of the engine as a whole."""

    rule_set: int | None = None
    marks: dict[str, int] = {}
    """Service to the time up to which conclusions were drawn; never moves back."""
    since: dict[str, int] = {}
    """Subject to the second since which a rule has counted it."""
    frozen: tuple[str, ...] = ()
    """Rules that are not counted, see :mod:`.freezing`."""


class EngineState:
    """All rule states in memory; read once at takeover, then moved by ``apply``."""

    def __init__(self) -> None:
        self.general = General()
        self.rules: dict[Address, RuleState] = {}
        self.active: set[Address] = set()
        """Open, blocked, or waiting for a time: looked at in every step."""
        self.tracked: dict[str, int] = {}
        """Keys of each rule."""
        self.instances: dict[str, int] = {}
        """Open alerts of each rule, the overflow alert aside."""
        self._expiries: dict[int, set[Address]] = {}

    @classmethod
    def load(
        cls,
        general: bytes,
        rows: Iterable[tuple[str, Key, bytes]],
        newer: Mapping[Address, RuleState | None] = {},
    ) -> EngineState:
        """Build it from ``evaluator_state.state`` and the rows of ``rule_states``, all JSON.

        ``newer`` are states that hold instead of their rows; None: the key is forgotten.
        """
        state = cls()
        for rule, key, encoded in rows:
            if (rule, tuple(key)) not in newer:
                state._put((rule, tuple(key)), RuleState.decode(encoded))
        state.apply(newer, general or b"{}")
        return state

    def apply(self, changed: Mapping[Address, RuleState | None], general: bytes) -> None:
        """Take over what a step changed (None: forget the key) and the state as a whole."""
        self.general = msgspec.json.decode(general, type=General)
        for address, state in changed.items():
            self._remove(address)
            if state is not None:
                self._put(address, state)

    def expired(self, now_s: int) -> Iterator[Address]:
        """Yield the inactive keys whose last bucket has gone, in order."""
        due = [
            address
            for minute, at in self._expiries.items()
            if minute * 60 <= now_s
            for address in at
        ]
        yield from sorted(due)

    def _put(self, address: Address, state: RuleState) -> None:
        rule, key = address
        self.rules[address] = state
        self.tracked[rule] = self.tracked.get(rule, 0) + 1
        if state.is_active:
            self.active.add(address)
        else:
            self._expiries.setdefault(_minute(state), set()).add(address)
        if state.phase != "inactive" and key:
            self.instances[rule] = self.instances.get(rule, 0) + 1

    def _remove(self, address: Address) -> None:
        rule, key = address
        state = self.rules.pop(address, None)
        if state is None:
            return
        self.tracked[rule] -= 1
        self.active.discard(address)
        minute = _minute(state)
        if address in (at := self._expiries.get(minute, set())):
            at.discard(address)
            if not at:
                del self._expiries[minute]
        if state.phase != "inactive" and key:
            self.instances[rule] -= 1


def _minute(state: RuleState) -> int:
    return state.expiry_s // 60 + 1
