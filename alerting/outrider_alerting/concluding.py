"""What rules over records conclude, whatever they count: up to when, without whom, in what words.

A window's end is concluded when the watermarks have passed it; where no source is left to tell, the
rule's `no_data` says what follows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from outrider_alerting import wording
from outrider_alerting.durations import DAY_US, MINUTE_US, SECOND_US
from outrider_alerting.kinds import GapRule
from outrider_alerting.losses import Loss
from outrider_alerting.state import Opened

if TYPE_CHECKING:
    from outrider_alerting.kinds import Rule
    from outrider_alerting.overlay import Overlay
    from outrider_alerting.state import Address, RuleState
    from outrider_alerting.terms import Judgement, Threshold
    from outrider_alerting.thresholds import Move
    from outrider_alerting.watermarks import Answer

SILENT_US: Final = MINUTE_US
"""A source that is not heard from for so long has left the quorum."""


def is_gone(overlay: Overlay, state: RuleState, answer: Answer) -> bool:
    """Tell whether nothing can ever be concluded about what is open."""
    # Only after a day of its own: a source as new as its alert may not be known here yet.
    open_long = state.episode.is_open and overlay.now_us - state.started_us > DAY_US
    return answer.gone and open_long


def is_blind(overlay: Overlay, rule: Rule, answer: Answer, wait_s: int = 0) -> bool:
    """Tell whether no source is left to tell, for so long that `no_data` counts.

    ``wait_s`` is how long nothing must have been heard, beside the time after which a source is
    called silent.
    """
    if answer.until_us is not None:
        return False
    since_us = overlay.counted_since_s(rule) * SECOND_US
    heard_us = max(since_us, answer.last_seen_us or 0)
    return overlay.now_us - heard_us >= SILENT_US + wait_s * SECOND_US


def end_blind(overlay: Overlay, address: Address, state: RuleState, answer: Answer) -> None:
    """Close what is open because the rule says so where nobody can tell."""
    before = state.episode
    after = before.moved("withdrawn", overlay.now_us)
    if state.opened is not None:
        reason = wording.blind_reason(answer, overlay.now_us)
        overlay.tell(address, before, after, at_us=overlay.now_us, reason=reason,
                     opened=state.opened)  # fmt: skip
    closed = state.with_episode(after.over(), opened=None)
    overlay.put(address, msgspec.structs.replace(closed, stale=False, wake_s=None))


def tell(
    overlay: Overlay,
    rule: Rule,
    address: Address,
    state: RuleState,
    *,
    move: Move,
    answer: Answer,
) -> RuleState:
    """Tell a move of a window's count; return the state with what its alert says of itself."""
    spec: Threshold | Judgement | None = overlay.program.thresholds.get(rule.name)
    spec = spec or overlay.program.judgements[rule.name]
    opened = state.opened
    is_gap = isinstance(rule, GapRule)
    rising = move.finding in {"holds", "lasted"}
    if opened is None or move.finding == "lasted" or move.before.state == move.after.state:
        opened = Opened(
            kind=rule.kind,
            priority=move.priority,
            labels=wording.labels(rule, address[1], move.priority),
            summary="" if is_gap else wording.count_summary(rule, address[1], spec, move),
            runbook=rule.runbook,
            threshold=None if is_gap else wording.limit(spec, move.priority),
        )
    value: float | None = float(move.value)
    after: Loss | None = None
    if is_gap:
        loss = state.loss or Loss()
        if not move.after.is_open:
            loss, after = loss.parted(state.buckets, move.at_s)
        else:
            after = loss.told(overlay.now_s)
        summary = wording.gap_summary(rule, address[1], move.priority, loss, state.reason)
        opened, value = msgspec.structs.replace(opened, summary=summary), loss.value
        reason = wording.gap_reason(spec, move, loss)
    else:
        reason = wording.count_reason(rule, spec, move)
    opened = msgspec.structs.replace(opened, value=value)
    overlay.tell(
        address,
        move.before,
        move.after,
        at_us=move.at_s * SECOND_US,
        reason=reason,
        opened=opened,
        without=() if rising else answer.without,
        evidence=evidence(rule, state, spec, move.at_s) if rising else (),
    )
    still_open = move.after.is_open
    return msgspec.structs.replace(state, opened=opened if still_open else None, loss=after)


def concluded_s(answer: Answer, spec: Threshold | Judgement) -> int | None:
    """Return the last second for which a window's end can be concluded."""
    if answer.until_us is None:
        return None
    # The window that ends in a second takes in all of it (of its step).
    return (answer.until_us - spec.lateness_us) // SECOND_US - spec.step_s


def evidence(
    rule: Rule, state: RuleState, spec: Threshold | Judgement, at_s: int
) -> tuple[tuple[int, int], ...]:
    """Return the names of the newest records in the window that ends at ``at_s``."""
    wanted = getattr(rule, "evidence", 0)
    window = range(at_s - spec.window_s + 1, at_s + spec.step_s)
    inside = [name for name in state.names if name[0] in window] or list(state.names)
    chosen = inside[-wanted:] if wanted else []
    return tuple((stream, offset) for _, stream, offset in chosen)
