"""Schedule rules in a step: a job that did not start in time, failed, or runs too long.

The cron expression is read as cron does, in the rule's time zone: a job of the hour that a clock
change skips runs right after it, one of the hour that is doubled runs once. A start counts for the
last time it was due; one up to a minute early counts for the next, since clocks differ.
"""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from cronsim import CronSim

from outrider.instants import EPOCH
from outrider_alerting import concluding, wording
from outrider_alerting.durations import SECOND_US
from outrider_alerting.state import FINISHED, JOB_EVENTS, STARTED, Opened
from outrider_alerting.tallies import newest

if TYPE_CHECKING:
    from outrider_alerting.episodes import Key
    from outrider_alerting.hits import Hit
    from outrider_alerting.kinds import ScheduleRule
    from outrider_alerting.overlay import Overlay
    from outrider_alerting.state import Address, RuleState
    from outrider_alerting.watermarks import Answer

KEY: Final[Key] = ()
EARLY_S: Final = 60


@lru_cache(maxsize=4_096)
def next_due_s(cron: str, timezone: str, after_s: int) -> int | None:
    """Return the next time a job is due after ``after_s``, seconds since 2000; None: never."""
    after = (EPOCH + timedelta(seconds=after_s)).astimezone(ZoneInfo(timezone))
    due = next(CronSim(cron, after), None)
    return None if due is None else int((due - EPOCH).total_seconds())


def begin(overlay: Overlay, rule: ScheduleRule) -> None:
    """Begin to wait for the job: for its next time, not for those before the rule was there."""
    due_s = next_due_s(rule.cron, rule.timezone, overlay.now_s)
    overlay.put((rule.name, KEY), msgspec.structs.replace(
        overlay.new(rule), watched=True, wake_s=due_s
    ))  # fmt: skip


def adopt(overlay: Overlay, rule: ScheduleRule, address: Address, state: RuleState) -> None:
    """Carry the job over to a new rule set."""
    due_s = state.wake_s
    if overlay.program.subject(rule) != state.subject:
        due_s = next_due_s(rule.cron, rule.timezone, overlay.now_s)
    overlay.put(address, msgspec.structs.replace(
        state, subject=overlay.program.subject(rule), wake_s=due_s
    ))  # fmt: skip


def heard(
    overlay: Overlay, rule: ScheduleRule, address: Address, state: RuleState | None, *, hit: Hit
) -> None:
    """Take note of a start, an end or a failure."""
    known = state or msgspec.structs.replace(overlay.new(rule), watched=True)
    place = JOB_EVENTS.get(hit.key[-1])
    if place is None:
        return
    second = hit.bucket_us // SECOND_US
    runs = list(known.runs)
    runs[place] = max(runs[place], second)
    names = newest(known.names, [(second, *name) for name in hit.names])
    overlay.put(
        address,
        msgspec.structs.replace(known, runs=(runs[0], runs[1], runs[2]), names=names),
    )


def evaluate(overlay: Overlay, rule: ScheduleRule, address: Address, state: RuleState) -> None:
    """Draw what can be concluded about the job."""
    wrong_s = deadline_s(rule, state)
    due = wrong_s is not None and wrong_s < overlay.now_s
    if not due and address not in overlay.touched:
        return
    answer = overlay.answer(rule, KEY)
    until_s = _until_s(overlay, rule, answer)
    state = _settled(state, rule)
    fault = _fault(state, rule, until_s)
    if fault is not None:
        state = _fired(overlay, rule, state, fault, answer)
    elif state.episode.is_open and _is_well(state):
        state = _ended(overlay, rule, state)
    before = overlay.get(address)
    state = _later(state, rule, until_s)
    if state != before:
        overlay.moved = True
        overlay.put(address, state)
    if until_s is None:
        overlay.mark_stale(address, state, answer)


def _until_s(overlay: Overlay, rule: ScheduleRule, answer: Answer) -> int | None:
    """Return up to when it is known what the job did."""
    if answer.until_us is not None:
        return (answer.until_us - rule.lateness.us) // SECOND_US - 1
    if rule.no_data == "fire" and concluding.is_blind(overlay, rule, answer):
        return (overlay.now_us - rule.lateness.us - concluding.SILENT_US) // SECOND_US
    return None


def deadline_s(rule: ScheduleRule, state: RuleState) -> int | None:
    """Return when something is wrong unless it happens before."""
    deadlines: list[int] = []
    if state.wake_s is not None:
        deadlines.append(state.wake_s + rule.grace.us // SECOND_US)
    started_s = state.runs[STARTED]
    if rule.max_runtime is not None and started_s > max(state.runs[FINISHED:]):
        deadlines.append(started_s + rule.max_runtime.us // SECOND_US)
    return min(deadlines, default=None)


def _settled(state: RuleState, rule: ScheduleRule) -> RuleState:
    """Return the state with the next time due, if the job has started for this one."""
    while state.wake_s is not None and state.runs[STARTED] >= state.wake_s - EARLY_S:
        due_s = next_due_s(rule.cron, rule.timezone, state.wake_s)
        state = msgspec.structs.replace(state, wake_s=due_s)
    return state


class _Fault(NamedTuple):
    """What is wrong with the job."""

    found: Literal["missed", "failed", "overran"]
    at_s: int
    reason: str


def _fault(state: RuleState, rule: ScheduleRule, until_s: int | None) -> _Fault | None:
    """Return what is newly wrong with the job, or None."""
    if state.episode.is_open:
        return None
    started_s, finished_s, failed_s = state.runs
    if failed_s > finished_s and failed_s >= started_s and failed_s > state.floor_s:
        return _Fault("failed", failed_s, f"failed at {_clock(rule, failed_s)}")
    if until_s is None:
        return None
    due_s = state.wake_s
    if due_s is not None and (at_s := due_s + rule.grace.us // SECOND_US) <= until_s:
        reason = f"due at {_clock(rule, due_s)}, not started within {rule.grace}"
        return _Fault("missed", at_s, reason)
    if rule.max_runtime is not None and started_s > max(finished_s, failed_s, state.floor_s):
        at_s = started_s + rule.max_runtime.us // SECOND_US
        if at_s <= until_s:
            reason = f"started at {_clock(rule, started_s)}, not ended within {rule.max_runtime}"
            return _Fault("overran", at_s, reason)
    return None


def _is_well(state: RuleState) -> bool:
    """Tell whether the job has done since the alert began what it had not."""
    started_s, finished_s, failed_s = state.runs
    if finished_s > failed_s and finished_s >= started_s and finished_s > state.floor_s:
        return True
    missed = state.found == "missed"
    return missed and started_s > state.floor_s and failed_s < started_s


def _later(state: RuleState, rule: ScheduleRule, until_s: int | None) -> RuleState:
    """Return the state with the times left behind whose fault is told: they are one alert."""
    grace_s = rule.grace.us // SECOND_US
    while until_s is not None and state.wake_s is not None and state.wake_s + grace_s <= until_s:
        due_s = next_due_s(rule.cron, rule.timezone, state.wake_s)
        state = msgspec.structs.replace(state, wake_s=due_s)
    return state


def _fired(
    overlay: Overlay, rule: ScheduleRule, state: RuleState, fault: _Fault, answer: Answer
) -> RuleState:
    before = state.episode
    at_us = min(fault.at_s, overlay.now_s) * SECOND_US
    after = before.moved("lasted", at_us)
    opened = Opened(
        kind=rule.kind,
        priority=rule.priority,
        labels=wording.labels(rule, KEY) | {"state": fault.found},
        summary=wording.schedule_summary(rule, fault.found, fault.reason),
        runbook=rule.runbook,
    )
    overlay.tell(
        (rule.name, KEY),
        before,
        after,
        at_us=at_us,
        reason=fault.reason,
        opened=opened,
        without=answer.without,
        evidence=tuple((stream, offset) for _, stream, offset in state.names[-3:]),
    )
    # What the job did up to here is told; of one that runs too long its end is still to come.
    floor_s = state.runs[STARTED] if fault.found == "overran" else max(state.runs)
    return msgspec.structs.replace(
        state.with_episode(after, opened=opened),
        floor_s=max(state.floor_s, floor_s),
        found=fault.found,
    )


def _ended(overlay: Overlay, rule: ScheduleRule, state: RuleState) -> RuleState:
    started_s, finished_s, _ = state.runs
    has_finished = finished_s > state.floor_s
    at_s = finished_s if has_finished else started_s
    before = state.episode
    after = before.moved("stayed_away", min(at_s, overlay.now_s) * SECOND_US)
    if state.opened is not None:
        word = "finished" if has_finished else "started"
        overlay.tell(
            (rule.name, KEY),
            before,
            after,
            at_us=min(at_s, overlay.now_s) * SECOND_US,
            reason=f"{word} at {_clock(rule, at_s)}",
            opened=state.opened,
        )
    return msgspec.structs.replace(state.with_episode(after.over(), opened=None), found="")


def _clock(rule: ScheduleRule, second: int) -> str:
    at = (EPOCH + timedelta(seconds=second)).astimezone(ZoneInfo(rule.timezone))
    return f"{at:%Y-%m-%d %H:%M:%S %Z}"
