"""Judged rules in a step: hits into windows, and what the watermarks let conclude of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from outrider_alerting import concluding, judged, overflow, wording
from outrider_alerting.durations import DAY_US, SECOND_US
from outrider_alerting.state import LINGER_S, Opened
from outrider_alerting.tallies import newest
from outrider_alerting.windows import MAX_BUCKETS, add

if TYPE_CHECKING:
    from outrider_alerting.hits import Hit
    from outrider_alerting.kinds import Rule
    from outrider_alerting.overlay import Overlay
    from outrider_alerting.state import Address, Numbers, RuleState
    from outrider_alerting.terms import Judgement
    from outrider_alerting.watches import Role
    from outrider_alerting.watermarks import Answer
    from outrider_alerting.windows import Bucket

FORGET_S: Final = DAY_US // SECOND_US
"""A key that nothing came of for so long is forgotten, unless it has an alert."""


def begin(overlay: Overlay, rule: Rule) -> None:
    """Begin to watch a rule that has one key only: it is judged though nothing ever comes."""
    overlay.put((rule.name, ()), _new(overlay, rule, overlay.now_s))


def _new(overlay: Overlay, rule: Rule, from_s: int) -> RuleState:
    """Return the state of a key whose records are counted from a time on."""
    spec = overlay.program.judgements[rule.name]
    first_s = overlay.counted_since_s(rule) + spec.needs_all_s
    if not spec.baseline_s:
        # A key that has just come is new; that it has no baseline is what makes a spike.
        first_s = max(first_s, from_s + spec.needs_all_s)
    first_s = max(first_s, from_s)
    return msgspec.structs.replace(
        overlay.new(rule), watched=True, floor_s=first_s - 1, wake_s=first_s
    )


def adopt(overlay: Overlay, rule: Rule, address: Address, state: RuleState) -> None:
    """Carry a key over to a new rule set: with its counts, if they are still the subject."""
    if overlay.program.subject(rule) == state.subject:
        fresh = msgspec.structs.replace(state, wake_s=max(state.floor_s + 1, overlay.now_s))
    else:
        fresh = _new(overlay, rule, overlay.now_s).with_episode(state.episode, opened=state.opened)
    overlay.put(address, fresh)


def counted(
    overlay: Overlay, rule: Rule, address: Address, known: RuleState | None, *, role: Role, hit: Hit
) -> None:
    """Add the records of a hit to the windows of a key."""
    spec = overlay.program.judgements[rule.name]
    second = hit.bucket_us // SECOND_US
    start = second - second % spec.step_s
    state = _pruned(known or _new(overlay, rule, start), spec, overlay.now_s)
    if role == "whole":
        others = add(state.others, start, hit.n, overlay.now_s)
        state = msgspec.structs.replace(state, others=others)
    else:
        buckets = add(state.buckets, start, hit.n, overlay.now_s)
        names = newest(state.names, [(second, *name) for name in hit.names])
        numbers = _summed(state.numbers, start, hit.numbers) if hit.numbers else state.numbers
        state = msgspec.structs.replace(state, buckets=buckets, names=names, numbers=numbers)
    expiry_s = overlay.now_s + FORGET_S
    state = msgspec.structs.replace(state, expiry_s=expiry_s)
    wake_s = judged.next_change(state, spec)
    overlay.put(address, msgspec.structs.replace(state, wake_s=wake_s))


def _summed(
    known: tuple[Numbers, ...], start: int, new: tuple[float, float, float, float]
) -> tuple[Numbers, ...]:
    total, least, most, last = new
    others = [numbers for numbers in known if numbers[0] != start]
    for numbers in known:
        if numbers[0] == start:
            total += numbers[1]
            least, most = min(least, numbers[2]), max(most, numbers[3])
    return tuple(sorted([*others, (start, total, least, most, last)])[-MAX_BUCKETS:])


def _pruned(state: RuleState, spec: Judgement, now_s: int) -> RuleState:
    """Return the state without what no window can hold any more, by when it was last added to."""
    cut = now_s - 2 * spec.reach_s - LINGER_S
    held = min(state.floor_s, now_s) - spec.reach_s
    if not any(kept and kept[0][2] <= cut for kept in (state.buckets, state.others)):
        return state

    def needed(buckets: tuple[Bucket, ...]) -> tuple[Bucket, ...]:
        return tuple(b for b in buckets if b[2] > cut or b[0] > held)

    buckets = needed(state.buckets)
    starts = {start for start, _, _ in buckets}
    return msgspec.structs.replace(
        state,
        buckets=buckets,
        others=needed(state.others),
        numbers=tuple(numbers for numbers in state.numbers if numbers[0] in starts),
    )


def evaluate(overlay: Overlay, rule: Rule, address: Address, state: RuleState) -> None:
    """Draw what can be concluded about a key."""
    spec = overlay.program.judgements[rule.name]
    key = address[1]
    if key and state.phase == "inactive" and state.expiry_s <= overlay.now_s:
        overlay.put(address, None)
        return
    # Without a change up to now there is none to conclude: nobody needs to be asked.
    is_quiet = state.wake_s is None or state.wake_s > overlay.now_s
    if is_quiet and not state.blocked and not state.stale and spec.no_data == "keep":
        return
    answer = overlay.answer(rule, key)
    if key and concluding.is_gone(overlay, state, answer):
        overlay.withdraw(address, state, "nothing has come from there for 24 hours")
        return
    if answer.until_us is None:
        _blind(overlay, rule, address, state, answer)
        return
    until_s = concluding.concluded_s(answer, spec)
    due = state.wake_s is not None and until_s is not None and state.wake_s <= until_s
    if until_s is None or not (due or (state.blocked and overlay.may_open(rule))):
        overlay.mark_stale(address, state, answer)
        return
    after, moves = judged.advance(
        state, spec, now_s=overlay.now_s, until_s=until_s, may_open=overlay.may_open(rule)
    )
    overlay.moved = overlay.moved or after.floor_s != state.floor_s
    if after.blocked:
        overflow.exceeded(overlay, rule, overflow.instances_reason(rule.max_instances))
    for move in moves:
        after = concluding.tell(overlay, rule, address, after, move=move, answer=answer)
    overlay.put(address, after)
    overlay.mark_stale(address, after, answer)


def _blind(
    overlay: Overlay, rule: Rule, address: Address, state: RuleState, answer: Answer
) -> None:
    """Do what the rule says where no source is left that could tell."""
    spec = overlay.program.judgements[rule.name]
    wait_s = spec.window_s + spec.for_s
    if spec.no_data == "keep" or not concluding.is_blind(overlay, rule, answer, wait_s):
        overlay.mark_stale(address, state, answer)
        return
    if spec.no_data == "resolve":
        if state.episode.is_open:
            concluding.end_blind(overlay, address, state, answer)
        return
    before = state.episode
    if before.state == "firing":
        overlay.mark_stale(address, state, answer)
        return
    if before.state == "inactive" and not overlay.may_open(rule):
        overflow.exceeded(overlay, rule, overflow.instances_reason(rule.max_instances))
        return
    after = before.moved("holds" if before.state == "recovering" else "lasted", overlay.now_us)
    reason = wording.blind_reason(answer, overlay.now_us)
    priority = spec.rungs[0][0]
    opened = Opened(
        kind=rule.kind,
        priority=priority,
        labels=wording.labels(rule, address[1], priority),
        summary=f"{rule.name}{wording.subject(rule, address[1])}: {reason}",
        runbook=rule.runbook,
        threshold=float(spec.above),
    )
    overlay.tell(address, before, after, at_us=overlay.now_us, reason=reason, opened=opened)
    # When somebody can tell again, it is judged from now on.
    told = state.with_episode(after, opened=opened)
    fresh = msgspec.structs.replace(
        told, floor_s=max(state.floor_s, overlay.now_s), wake_s=overlay.now_s + 1
    )
    overlay.put(address, fresh)
    overlay.mark_stale(address, fresh, answer)
