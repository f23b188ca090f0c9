"""What an outcome means for its row of the ledger. Pure.

=========  ================================================================================
outcome    the row then
=========  ================================================================================
sent       sent
retry      waits, at least as long as the other side demands; after a day it is dead
failed     failed
unknown    waits for its one marked repeat; the second time its fate is unknown. An edit, by
           which it joins another message, has four: arriving twice, it reads the same
=========  ================================================================================

An attempt whose deliverer ended without a word is unknown where something may have left; where
nothing did it is a retry, and dead after CUT_SHORT_MAX of them: then the message is what ends them.

A retry after a marked repeat that was surely not sent does not use the repeat up: only outcomes
that may have arrived count. A test of a channel is tried once: its first outcome is its fate,
unless that is a demand to wait.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeGuard

from outrider.retry import Backoff
from outrider_alerting.channels.outcome import Failed, Hold, Outcome, Retry, Sent, Unknown
from outrider_collector.alerts.messages import named
from outrider_collector.store.outbox import CUT_SHORT
from outrider_collector.store.outcomes import EDITS_UNKNOWN_MAX, Finish
from outrider_collector.store.trials import NOTICE as TRIAL_NOTICE

if TYPE_CHECKING:
    from collections.abc import Callable

    from outrider_alerting.ledger import Fate
    from outrider_collector.store.leaving import CutShort
    from outrider_collector.store.outbox import Claim

GIVE_UP_AFTER_S: Final = 86_400.0
FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 300.0
REPEAT_WAIT_S: Final = 3.0
"""Before a marked repeat: what made the outcome unknown is often over a little later."""
CUT_SHORT_MAX: Final = 20
"""Deliverers that may end over one message before anything left; with the waits, about an hour."""


def judge_cut_short(late: CutShort, *, jitter: Callable[[], float] = random.random) -> Finish:
    """Say what becomes of a row whose deliverer ended without a word; its lease is over."""
    if late.may_have_left:
        finish = judge(late.claim, Unknown("the deliverer ended before it knew"), jitter=jitter)
        # The lease was wait enough.
        return replace(finish, retry_in_s=0.0)
    finish = judge(late.claim, Retry(CUT_SHORT), jitter=jitter)
    if late.claim.cut_short + 1 >= CUT_SHORT_MAX:
        return replace(finish, fate="dead")
    return finish


def judge(claim: Claim, outcome: Outcome, *, jitter: Callable[[], float] = random.random) -> Finish:
    """Say what becomes of the row."""
    if claim.notice == TRIAL_NOTICE and _ends_a_trial(outcome):
        fate: Fate = "unknown" if isinstance(outcome, Unknown) else "failed"
        told = {Retry: "retry", Failed: "failed", Unknown: "unknown"}[type(outcome)]
        return Finish(claim, outcome=told, error=outcome.reason, fate=fate)
    match outcome:
        case Sent():
            return Finish(
                claim,
                outcome="sent",
                error=outcome.remark or None,
                fate="sent",
                provider_id=outcome.provider_id,
                delivered=outcome.delivered,
                moved_to=outcome.moved_to,
                named=named(claim),
            )
        case Retry():
            return _retry(claim, outcome, jitter)
        case Failed():
            return Finish(claim, outcome="failed", error=outcome.reason, fate="failed")
        case Unknown():
            return Finish(
                claim,
                outcome="unknown",
                error=outcome.reason,
                fate="unknown" if claim.unknown >= _repeats(claim) else "waiting",
                retry_in_s=Backoff(REPEAT_WAIT_S, REPEAT_WAIT_S, jitter).next(REPEAT_WAIT_S),
                delivered=outcome.delivered,
            )


def _repeats(claim: Claim) -> int:
    """Say how many outcomes may be unknown before the last one."""
    return EDITS_UNKNOWN_MAX if claim.joins is not None else 1


def _ends_a_trial(outcome: Outcome) -> TypeGuard[Retry | Failed | Unknown]:
    """Whether who tried the channel has the answer: only a demand to wait is no answer yet."""
    return not isinstance(outcome, Sent) and not (isinstance(outcome, Retry) and outcome.after_s)


def _retry(claim: Claim, outcome: Retry, jitter: Callable[[], float]) -> Finish:
    # Doubles with each attempt; 2^9 s is past the longest wait already.
    bound_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(claim.attempts - 1, 9))
    wait_s = Backoff(bound_s, LONGEST_WAIT_S, jitter).next(outcome.after_s)
    if outcome.after_s and outcome.hold is not Hold.NOBODY:
        # Its conversation waits as long: it comes first when that is over, not some time after.
        wait_s = outcome.after_s
    given_up = claim.age_s + wait_s > GIVE_UP_AFTER_S
    return Finish(
        claim,
        outcome="retry",
        error=outcome.reason,
        fate="dead" if given_up else "waiting",
        retry_in_s=wait_s,
        delivered=outcome.delivered,
    )
