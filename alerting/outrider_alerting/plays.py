"""Rules over records that are all there: tests of rules, and the past as it would have been told.

The same engine as live, with another clock: it goes from one second to the next at which something
is due, and knows at each that nothing of before is missing. So what comes out is what would be
concluded of these records, dated by their own times; when it would have been concluded live depends
on when they came, and how far the watermarks were.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from outrider.columns import Columns, pack_dictionary, pack_text
from outrider_alerting import jobs
from outrider_alerting.counting import HitCounter
from outrider_alerting.durations import SECOND_US, Duration
from outrider_alerting.engine import StepInputs, step
from outrider_alerting.kinds import RecordRule, ScheduleRule
from outrider_alerting.program import Program
from outrider_alerting.state import EngineState
from outrider_alerting.watermarks import Answer, Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from outrider_alerting.components import ComponentState
    from outrider_alerting.episodes import Transition
    from outrider_alerting.gaps import GapSeen
    from outrider_alerting.rules import RuleSet

SETTLE_S: Final = 2


class Record(NamedTuple):
    """A record as the rules see it."""

    at_us: int
    severity: int
    message: str = ""
    service: str = ""
    worker: str = ""
    host: str = ""
    source: str = ""
    logger: str | None = None
    event: str | None = None
    error_code: str | None = None
    trace_id: str | None = None
    correlation_id: str | None = None
    attributes: str | None = None
    """A JSON object."""
    stream: int = 1
    stream_offset: int = 0


class _AllThere:
    """A quorum that has all records up to a time."""

    marks: Mapping[str, int] = {}

    def __init__(self, until_us: int) -> None:
        self._answer = Answer(until_us=until_us)

    def answer(self, scope: Scope) -> Answer:  # noqa: ARG002  the same for every scope
        return self._answer


class Play:
    """One rule set over what happens, in the order of its times."""

    def __init__(self, rule_set: RuleSet, start_s: int) -> None:
        """``start_s`` is when the rules begin, seconds since 2000."""
        prompt = tuple(_prompt(rule) for rule in rule_set.rules)
        self._program = Program(msgspec.structs.replace(rule_set, rules=prompt), 1)
        self._counter = HitCounter(self._program.rule_set)
        self._state = EngineState()
        self._now_s = start_s
        self.transitions: list[Transition] = []
        self._step(start_s, StepInputs())

    def happens(
        self,
        second: int,
        records: Sequence[Record] = (),
        health: Sequence[ComponentState] = (),
        gaps: Sequence[GapSeen] = (),
    ) -> None:
        """Let time pass to a second, and let this happen in it; seconds never go back."""
        self.pass_to(second - 1)
        hits = [hit for columns in columns_of(records) for hit in self._counter.count(columns)]
        # Each hit in the second of its record: the counter may take an absurd time for another.
        inputs = StepInputs(hits=tuple(hits), health=tuple(health), gaps=tuple(gaps))
        self._step(max(second, self._now_s), inputs)

    def pass_to(self, second: int) -> None:
        """Let time pass up to a second, and conclude what it brings."""
        while self._now_s < second:
            due_s = self._next_due_s()
            if due_s is None or due_s > second:
                break
            self._step(max(self._now_s + 1, due_s), StepInputs())
        self._now_s = max(self._now_s, second)

    def settle(self, second: int) -> None:
        """Conclude all that can be told up to a second."""
        self.pass_to(second + SETTLE_S)

    def _step(self, now_s: int, inputs: StepInputs) -> None:
        self._now_s = now_s
        result = step(
            self._state,
            inputs,
            now_us=now_s * SECOND_US,
            program=self._program,
            # All of this second is there.
            quorum=_AllThere((now_s + 1) * SECOND_US),
        )
        self._state.apply(result.changed, result.general)
        self.transitions.extend(result.transitions)

    def _next_due_s(self) -> int | None:
        """Return the next second at which something can move without anything happening."""
        found: list[int] = []
        for address in self._state.active:
            state = self._state.rules[address]
            rule = self._program.rules.get(address[0])
            if isinstance(rule, ScheduleRule):
                deadline_s = jobs.deadline_s(rule, state)
                found.extend([] if deadline_s is None else [deadline_s])
                continue
            if state.blocked:
                found.append(self._now_s + 1)
            if state.wake_s is not None:
                found.append(state.wake_s)
            if state.timer_us is not None:
                found.append(-(-state.timer_us // SECOND_US))
        return min(found, default=None)


def _prompt(rule: Any) -> Any:
    """Return a rule that waits for nothing late: all is there."""
    if isinstance(rule, RecordRule | ScheduleRule):
        return msgspec.structs.replace(rule, lateness=Duration("0s"), test=())
    return rule


def columns_of(records: Iterable[Record]) -> list[Columns]:
    """Return records as batches, one for each stream and worker, in the order of the first."""
    streams: dict[tuple[Any, ...], list[Record]] = {}
    for r in records:
        streams.setdefault((r.stream, r.service, r.worker, r.host, r.source), []).append(r)
    return [_columns(found) for found in streams.values()]


def _columns(records: Sequence[Record]) -> Columns:
    first = records[0]
    times = array("q", [record.at_us for record in records])
    return Columns(
        n=len(records),
        stream=first.stream,
        service=first.service,
        worker=first.worker,
        host=first.host,
        source=first.source,
        ts_us=times,
        observed_us=times,
        stream_offset=array("q", [record.stream_offset for record in records]),
        severity=bytes(record.severity for record in records),
        message_raw=_texts([record.message for record in records]),
        attributes_raw=_texts([record.attributes for record in records]),
        trace_id_raw=pack_text([_hex(record.trace_id) for record in records]),
        correlation_id_raw=_texts([record.correlation_id for record in records]),
        logger=pack_dictionary([record.logger for record in records]),
        event=pack_dictionary([record.event for record in records]),
        error_code=pack_dictionary([record.error_code for record in records]),
    )


def _texts(values: Iterable[str | None]) -> bytes:
    return pack_text([None if v is None else v.encode("utf-8", "replace") for v in values])


def _hex(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text.replace("-", ""))
