"""Rules over records in a step: hits into windows, windows into transitions."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Final

import msgspec

from outrider_alerting import overflow, thresholds, wording
from outrider_alerting.durations import DAY_US, SECOND_US
from outrider_alerting.state import Opened

if TYPE_CHECKING:
    from outrider_alerting.hits import Hit
    from outrider_alerting.overlay import Overlay
    from outrider_alerting.program import Threshold
    from outrider_alerting.rules import CountRule, MatchRule
    from outrider_alerting.state import Address, RuleState
    from outrider_alerting.watermarks import Answer

COUNT: Final = itemgetter(1)
"""Of a bucket."""

MANY_BUCKETS: Final = 64
"""With more, a key that cannot fire is rid of those that are settled."""


def count(overlay: Overlay, hit: Hit) -> int:
    """Add a hit to the windows of its rules; return how many records no rule wanted."""
    rules = overlay.program.by_hits.get(hit.hits_key)
    if rules is None:
        return hit.n
    for rule in rules:
        if hit.overflow:
            overflow.exceeded(overlay, rule, overflow.hit_reason(hit.n))
            continue
        address = (rule.name, hit.key)
        state = overlay.get(address)
        if state is None and overlay.tracked(rule.name) >= overflow.MAX_KEYS:
            overflow.exceeded(overlay, rule, overflow.keys_reason())
            continue
        spec = overlay.program.thresholds[rule.name]
        known = thresholds.pruned(state or overlay.new(rule), spec, overlay.now_s)
        overlay.put(
            address,
            thresholds.counted(
                known,
                spec,
                bucket_us=hit.bucket_us,
                n=hit.n,
                names=hit.names,
                now_s=overlay.now_s,
            ),
        )
        overlay.touched.add(address)
    return 0


def evaluate(
    overlay: Overlay, rule: MatchRule | CountRule, address: Address, state: RuleState
) -> None:
    """Draw what can be concluded about a key."""
    spec = overlay.program.thresholds[rule.name]
    # More records can only put off the end of what fires: its last estimate is a lower bound.
    put_off = state.phase == "firing" and state.wake_s is not None
    touched = address in overlay.touched and not put_off
    can_fire = state.is_active or sum(map(COUNT, state.buckets)) > spec.above
    if not can_fire and len(state.buckets) <= MANY_BUCKETS:
        return
    answer = overlay.answer(rule, address[1])
    if not can_fire:
        overlay.put(address, thresholds.settled(state, spec, _concluded_s(answer, spec)))
        return
    # Only after a day of its own: a source as new as its alert may not be known here yet.
    if answer.gone and state.episode.is_open and overlay.now_us - state.started_us > DAY_US:
        overlay.withdraw(address, state, "nothing has come from there for 24 hours")
        return
    concluded_s = _concluded_s(answer, spec)
    if not touched and not _due(overlay, rule, state, concluded_s):
        overlay.mark_stale(address, state, answer)
        return
    after, moves = thresholds.advance(
        state,
        spec,
        now_s=overlay.now_s,
        concluded_s=concluded_s,
        may_open=overlay.may_open(rule),
    )
    if after.blocked and touched:
        overflow.exceeded(overlay, rule, overflow.instances_reason(rule.max_instances))
    for move in moves:
        after = _tell(overlay, rule, address, after, move=move, answer=answer)
    if not after.episode.is_open and after.expiry_s <= overlay.now_s:
        overlay.put(address, None)
        return
    overlay.put(address, after)
    overlay.mark_stale(address, after, answer)


def _due(
    overlay: Overlay, rule: MatchRule | CountRule, state: RuleState, concluded_s: int | None
) -> bool:
    if state.blocked:
        return overlay.may_open(rule) or state.expiry_s <= overlay.now_s
    if state.timer_us is not None and state.timer_us <= overlay.now_us:
        return True
    return state.wake_s is not None and concluded_s is not None and state.wake_s <= concluded_s


def _tell(
    overlay: Overlay,
    rule: MatchRule | CountRule,
    address: Address,
    state: RuleState,
    *,
    move: thresholds.Move,
    answer: Answer,
) -> RuleState:
    spec = overlay.program.thresholds[rule.name]
    opened = state.opened
    rising = move.finding in {"holds", "lasted"}
    if opened is None or move.finding == "lasted":
        opened = Opened(
            kind=rule.kind,
            priority=rule.priority,
            labels=wording.labels(rule, address[1]),
            summary=wording.count_summary(rule, address[1], spec, move.value),
            runbook=rule.runbook,
            value=float(move.value),
            threshold=float(spec.above),
        )
    overlay.tell(
        address,
        move.before,
        move.after,
        at_us=move.at_s * SECOND_US,
        reason=wording.count_reason(move.finding, spec, move.value),
        opened=msgspec.structs.replace(opened, value=float(move.value)),
        without=() if rising else answer.without,
        evidence=_evidence(rule, state, spec, move.at_s) if rising else (),
    )
    still_open = move.after.is_open
    return msgspec.structs.replace(state, opened=opened if still_open else None)


def _concluded_s(answer: Answer, spec: Threshold) -> int | None:
    """Return the last second for which a window's end can be concluded."""
    if answer.until_us is None:
        return None
    # The window that ends in a second takes in all of it (of its step).
    return (answer.until_us - spec.lateness_us) // SECOND_US - spec.step_s


def _evidence(
    rule: MatchRule | CountRule, state: RuleState, spec: Threshold, at_s: int
) -> tuple[tuple[int, int], ...]:
    """Return the names of the newest records in the window that ends at ``at_s``."""
    window = range(at_s - spec.window_s + 1, at_s + spec.step_s)
    inside = [name for name in state.names if name[0] in window] or list(state.names)
    chosen = inside[-rule.evidence :] if rule.evidence else []
    return tuple((stream, offset) for _, stream, offset in chosen)
