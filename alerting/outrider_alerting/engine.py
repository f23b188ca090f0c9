"""One evaluation step: what came in since the last one, and what follows from it.

A step is a function of the state before it, its inputs in feed order, the clock, the rule set and
the quorum, and nothing else. The caller stores what it returns (transitions, changed rule states,
the general state) together with its feed position in one transaction, and then calls
``state.apply(result.changed, result.general)``. A step that told nobody anything may be applied at
once and stored with a later one: if it is lost with the process, its successor takes the same
inputs again and nobody has heard the difference. A step that had an input or a transition is
recorded with its ``now`` and ``record``: feeding those again, with a quorum that answers as it was
recorded, gives the same transitions, byte for byte. A step that had neither needs no record: taking
it again or leaving it out changes no transition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from outrider_alerting import composites, freezing, gaps, jobs, judging, liveness, overflow, records
from outrider_alerting.components import ComponentState  # noqa: TC001  msgspec reads it
from outrider_alerting.episodes import (  # noqa: TC001  msgspec reads the annotations
    Key,
    StaleChange,
    Transition,
)
from outrider_alerting.gaps import GapSeen  # noqa: TC001  msgspec reads the annotations
from outrider_alerting.hits import Hit  # noqa: TC001  msgspec reads the annotations
from outrider_alerting.kinds import ComponentRule, CompositeRule, ScheduleRule
from outrider_alerting.overlay import Overlay
from outrider_alerting.program import Program, key_names, sort_of
from outrider_alerting.state import Address, EngineState, General, RuleState
from outrider_alerting.watermarks import Quorum, Record, Scope

if TYPE_CHECKING:
    from collections.abc import Callable


Part = Literal["all", "urgent", "rest"]
"""Of the hits of some feed rows: those of rules that can be critical are evaluated ahead."""


class StepInputs(msgspec.Struct, frozen=True, kw_only=True):
    """What one step sees, in feed order."""

    part: Part = "all"
    """``urgent``: only rules that can be critical are evaluated, the others' hits are missing."""
    hits: tuple[Hit, ...] = ()
    health: tuple[ComponentState, ...] = ()
    gaps: tuple[GapSeen, ...] = ()


class StepResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one step concluded; nothing of it may be told before it is stored."""

    transitions: tuple[Transition, ...] = ()
    """In the order in which they are to be stored."""
    stale: tuple[StaleChange, ...] = ()
    changed: dict[tuple[str, Key], RuleState | None] = {}
    """Rule states to store; None: delete. ``RuleState.encode()`` gives the JSON."""
    general: bytes = b"{}"
    """Engine-wide state to store, JSON."""
    record: Record = Record()
    """What the quorum was asked and answered; stored with the inputs of a recorded step."""
    moved: bool = False
    """Something was judged, without a transition: a replay needs this step too."""
    dropped_records: int = 0
    """Hits of no active rule: counted by a collector under another rule set."""


def step(
    state: EngineState,
    inputs: StepInputs,
    *,
    now_us: int,
    program: Program,
    quorum: Quorum,
    enter: Callable[[str], object] = lambda _: None,
) -> StepResult:
    """Evaluate one step; ``state`` is not changed.

    Ends of alerts follow the clock and the watermarks, so take one every second without any input.
    ``enter`` is called with the name of the rule that the time that follows is spent on ("": none).
    """
    overlay = Overlay(state, now_us=now_us, program=program, quorum=quorum, enter=enter)
    for address in state.expired(overlay.now_s):
        overlay.put(address, None)
    if state.general.rule_set != program.version:
        for address in sorted(state.rules):
            _adopt(overlay, address)
        _begin(overlay)
        freezing.begin(overlay)
    dropped = sum(records.count(overlay, hit) for hit in inputs.hits)
    enter("")
    for seen in inputs.health:
        liveness.observe(overlay, seen)
    for gap in inputs.gaps:
        gaps.note(overlay, gap)
    _conclude(overlay, inputs.part)
    enter("")
    if program.composites:
        firing = overlay.firing()
        for rule in program.composites:
            composites.evaluate(overlay, rule, firing)
    marks = dict(sorted(quorum.marks.items()))
    answers = sorted(overlay.asked.items(), key=lambda pair: _ordered(pair[0]))
    return StepResult(
        transitions=tuple(overlay.transitions),
        stale=tuple(overlay.stale),
        changed=overlay.changed,
        general=msgspec.json.encode(
            General(
                rule_set=program.version,
                marks=marks,
                since=overlay.since,
                frozen=tuple(sorted(program.frozen)),
            )
        ),
        record=Record(marks=marks, answers=tuple(answers)),
        moved=overlay.moved,
        dropped_records=dropped,
    )


def _begin(overlay: Overlay) -> None:
    """Note since when everything is counted, and look at what watches for what does not come."""
    known, program = overlay.since, overlay.program
    overlay.since = {s: known.get(s, overlay.now_s) for s in sorted(program.subjects)}
    for rule in program.standing:
        if overlay.get((rule.name, ())) is None:
            if isinstance(rule, ScheduleRule):
                jobs.begin(overlay, rule)
            elif not isinstance(rule, CompositeRule):
                judging.begin(overlay, rule)


def _conclude(overlay: Overlay, part: Part) -> None:
    """Evaluate what was touched, and what time or the watermarks may have moved."""
    program = overlay.program
    for address in sorted(overlay.touched | overlay.active()):
        state = overlay.get(address)
        rule = program.rules.get(address[0])
        if state is None or rule is None or rule.name in program.frozen:
            continue
        if part == "urgent" and rule.name not in program.urgent_rules:
            continue
        overlay.enter(rule.name)
        if overflow.is_overflow(rule, address[1]):
            overflow.end(overlay, address, state)
        elif isinstance(rule, ComponentRule):
            liveness.elapse(overlay, rule, address, state)
        elif isinstance(rule, ScheduleRule):
            jobs.evaluate(overlay, rule, address, state)
        elif rule.name in program.judgements:
            judging.evaluate(overlay, rule, address, state)
        elif rule.name in program.thresholds:
            records.evaluate(overlay, rule, address, state)


def _adopt(overlay: Overlay, address: Address) -> None:
    """Carry a key over to a new rule set. An alert goes on where rule name and key are the same."""
    state = overlay.get(address)
    if state is None:
        return
    if state.subject == freezing.SUBJECT:
        freezing.adopt(overlay, address, state)
        return
    rule = overlay.program.rules.get(address[0])
    if rule is None:
        overlay.withdraw(address, state, "the rule was deleted")
        return
    subject = overlay.program.subject(rule)
    if ",".join(key_names(rule)) != state.by or sort_of(subject) != sort_of(state.subject):
        overlay.withdraw(address, state, "the rule was changed to other keys")
        return
    if rule.name in overlay.program.frozen:
        freezing.freeze(overlay, address, state)
        return
    if rule.name in overlay.thawed:
        # Not all was counted: like a rule about other records, it begins anew with what is open.
        state = msgspec.structs.replace(state, subject="")
    if overflow.is_overflow(rule, address[1]) or isinstance(rule, ComponentRule | CompositeRule):
        return
    if isinstance(rule, ScheduleRule):
        jobs.adopt(overlay, rule, address, state)
    elif rule.name in overlay.program.judgements:
        judging.adopt(overlay, rule, address, state)
    else:
        records.adopt(overlay, rule, address, state)
    overlay.touched.add(address)


def _ordered(scope: Scope) -> tuple[str, ...]:
    return tuple("" if part is None else f"={part}" for part in scope)
