"""Rules over records in a step: hits into windows, windows into transitions."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Final

import msgspec

from outrider_alerting import concluding, jobs, judging, overflow, tallies, thresholds
from outrider_alerting.durations import HOUR_US, SECOND_US
from outrider_alerting.kinds import GapRule, ScheduleRule, is_higher
from outrider_alerting.watermarks import Answer

if TYPE_CHECKING:
    from outrider_alerting.hits import Hit
    from outrider_alerting.kinds import Rule
    from outrider_alerting.overlay import Overlay
    from outrider_alerting.program import Wanted
    from outrider_alerting.state import Address, RuleState
    from outrider_alerting.terms import Threshold

COUNT: Final = itemgetter(1)
"""Of a bucket."""

MANY_BUCKETS: Final = 64
"""With more, a key that cannot fire is rid of those that are settled."""


def count(overlay: Overlay, hit: Hit) -> int:
    """Add a hit to the windows of its rules; return how many records no rule wanted."""
    wanted = overlay.program.by_hits.get(hit.hits_key)
    if wanted is None:
        return hit.n
    for want in wanted:
        overlay.enter(want.rule.name)
        if hit.overflow:
            overflow.exceeded(overlay, want.rule, overflow.hit_reason(hit.n))
        else:
            _count(overlay, want, hit)
    return 0


def _count(overlay: Overlay, want: Wanted, hit: Hit) -> None:
    rule, role = want
    last = role in {"values", "events"}
    key = hit.key[:-1] if last else hit.key
    address = (rule.name, key)
    state = overlay.get(address)
    if state is None and overlay.tracked(rule.name) >= overflow.max_keys(overlay, rule):
        overflow.exceeded(overlay, rule, overflow.keys_reason(overflow.max_keys(overlay, rule)))
        return
    if isinstance(rule, ScheduleRule):
        jobs.heard(overlay, rule, address, state, hit=hit)
    elif rule.name in overlay.program.judgements:
        judging.counted(overlay, rule, address, state, role=role, hit=hit)
    else:
        spec = overlay.program.thresholds[rule.name]
        if spec.remember_s and _is_known(overlay, rule, address, state, spec):
            return
        value = hit.key[-1] if last else None
        counted(overlay, rule, address, hit.bucket_us, hit.n, hit.names, value)
        if spec.remember_s and (after := overlay.get(address)) is not None:
            expiry_s = overlay.now_s + spec.remember_s
            overlay.put(address, msgspec.structs.replace(after, expiry_s=expiry_s))
    overlay.touched.add(address)


def _is_known(
    overlay: Overlay, rule: Rule, address: Address, state: RuleState | None, spec: Threshold
) -> bool:
    """Take note of something that was seen before, or while the rule was learning."""
    learn_us = getattr(rule, "learn").us  # noqa: B009  only rules that remember have it
    learning = overlay.now_s < overlay.counted_since_s(rule) + learn_us // SECOND_US
    if state is None and not learning:
        return False
    known = state or overlay.new(rule)
    if known.phase != "inactive" or known.blocked:
        return False
    # Once an hour is enough: what is seen every second is not stored every second.
    expiry_s = overlay.now_s + spec.remember_s
    if state is None or expiry_s - known.expiry_s > HOUR_US // SECOND_US:
        overlay.put(address, msgspec.structs.replace(known, expiry_s=expiry_s))
    return True


def counted(
    overlay: Overlay,
    rule: Rule,
    address: Address,
    bucket_us: int,
    n: int,
    names: tuple[tuple[int, int], ...] = (),
    value: str | None = None,
) -> None:
    """Add records to the window of a key."""
    spec = overlay.program.thresholds[rule.name]
    known = overlay.get(address) or overlay.new(rule)
    known = tallies.pruned(known, spec, overlay.now_s)
    overlay.put(
        address,
        tallies.counted(
            known,
            spec,
            bucket_us=bucket_us,
            n=n,
            names=names,
            now_s=overlay.now_s,
            value=value,
        ),
    )
    overlay.touched.add(address)


def adopt(overlay: Overlay, rule: Rule, address: Address, state: RuleState) -> None:
    """Carry a key over to a new rule set."""
    subject = overlay.program.subject(rule)
    if subject != state.subject:
        # Other records are counted from now on; an end needs a whole window of them.
        until_s = overlay.now_s + overlay.program.thresholds[rule.name].reach_s
        state = msgspec.structs.replace(
            state,
            subject=subject,
            buckets=(),
            names=(),
            told=(),
            values={},
            floor_s=until_s,
            # What was known to a rule that was frozen is still known.
            expiry_s=max(state.expiry_s, until_s) if rule.name in overlay.thawed else until_s,
        )
    overlay.put(address, msgspec.structs.replace(state, wake_s=None))


def evaluate(overlay: Overlay, rule: Rule, address: Address, state: RuleState) -> None:
    """Draw what can be concluded about a key."""
    spec = overlay.program.thresholds[rule.name]
    # More records can only put off the end of what fires: its last estimate is a lower bound.
    at_top = (
        len(spec.rungs) == 1
        or state.opened is None
        or not is_higher(spec.rungs[-1][0], state.opened.priority)
    )
    put_off = state.phase == "firing" and state.wake_s is not None and at_top and not spec.by_clock
    touched = address in overlay.touched and not put_off
    can_fire = state.is_active or sum(map(COUNT, state.buckets)) > spec.above
    if not can_fire and len(state.buckets) <= MANY_BUCKETS:
        return
    answer = _answer(overlay, rule, address)
    if not can_fire:
        overlay.put(address, tallies.settled(state, spec, concluding.concluded_s(answer, spec)))
        return
    if concluding.is_gone(overlay, state, answer):
        overlay.withdraw(address, state, "nothing has come from there for 24 hours")
        return
    ends_blind = spec.no_data == "resolve" and state.episode.is_open
    if ends_blind and concluding.is_blind(overlay, rule, answer):
        concluding.end_blind(overlay, address, state, answer)
        return
    until_s = concluding.concluded_s(answer, spec)
    if not touched and not _due(overlay, rule, state, until_s):
        overlay.mark_stale(address, state, answer)
        return
    after, moves = thresholds.advance(
        state,
        spec,
        now_s=overlay.now_s,
        concluded_s=until_s,
        may_open=overlay.may_open(rule),
    )
    if after.blocked and touched:
        overflow.exceeded(overlay, rule, overflow.instances_reason(rule.max_instances))
    for move in moves:
        after = concluding.tell(overlay, rule, address, after, move=move, answer=answer)
    if not after.episode.is_open and after.expiry_s <= overlay.now_s:
        overlay.put(address, None)
        return
    overlay.put(address, after)
    overlay.mark_stale(address, after, answer)


def _answer(overlay: Overlay, rule: Rule, address: Address) -> Answer:
    if isinstance(rule, GapRule):
        return Answer(until_us=overlay.now_us)
    return overlay.answer(rule, address[1])


def _due(overlay: Overlay, rule: Rule, state: RuleState, until_s: int | None) -> bool:
    if state.blocked:
        return overlay.may_open(rule) or state.expiry_s <= overlay.now_s
    if state.timer_us is not None and state.timer_us <= overlay.now_us:
        return True
    return state.wake_s is not None and until_s is not None and state.wake_s <= until_s
