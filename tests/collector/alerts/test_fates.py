"""What becomes of a notification, whatever happens to its attempts: told once, at most twice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from hypothesis import given
from hypothesis import strategies as st

from outrider_alerting.channels.outcome import Retry, Sent, Unknown
from outrider_collector.alerts.fates import CUT_SHORT_MAX, judge, judge_cut_short
from outrider_collector.store.leaving import CutShort
from outrider_collector.store.outbox import CUT_SHORT, Claim

if TYPE_CHECKING:
    from outrider_alerting.channels.outcome import Outcome
    from outrider_collector.store.outcomes import Finish

ENDS_BEFORE: Final = "the deliverer ends before anything may leave"
ENDS_AT_THE_SOCKET: Final = "the deliverer ends when it may write and has not"
ENDS_AFTER: Final = "the deliverer ends when the message arrived"
NO_CONNECTION: Final = "no connection"
NO_ANSWER: Final = "written, not arrived, no answer"
LOST_ANSWER: Final = "arrived, the answer is lost"
ANSWERED: Final = "arrived and answered"
ARRIVES: Final = frozenset((ENDS_AFTER, LOST_ANSWER, ANSWERED))
DOUBTFUL: Final = frozenset((ENDS_AT_THE_SOCKET, ENDS_AFTER, NO_ANSWER, LOST_ANSWER))
EVENTS: Final = sorted(DOUBTFUL | ARRIVES | {ENDS_BEFORE, NO_CONNECTION})


@dataclass(slots=True)
class Row:
    """A row of the ledger under way, and what its reader has."""

    fate: str = "waiting"
    attempts: int = 0
    unknown: int = 0
    cut_short: int = 0
    copies: int = 0
    unmarked: int = 0

    def claim(self) -> Claim:
        """Claim it."""
        self.attempts += 1
        return Claim(
            id=1, alert=1, notice="fired", channel="ops", conversation="ops",
            created_at=datetime(2026, 1, 1, tzinfo=UTC), age_s=60.0, episode_started_at=None,
            attempts=self.attempts, unknown=self.unknown, cut_short=self.cut_short,
            firing_provider_id=None, delivered=[], address=None, joins=None,
            attempt_ids=[self.attempts], parts=[],
        )  # fmt: skip

    def happens(self, event: str) -> None:
        """Try it once."""
        claim = self.claim()
        if event in ARRIVES:
            self.copies += 1
            self.unmarked += claim.unknown == 0
        finish = _finish(claim, event)
        self.fate = finish.fate
        self.unknown += finish.outcome == "unknown"
        self.cut_short += finish.error == CUT_SHORT


def _finish(claim: Claim, event: str) -> Finish:
    if event in {ENDS_BEFORE, ENDS_AT_THE_SOCKET, ENDS_AFTER}:
        late = CutShort(claim, "other", may_have_left=event != ENDS_BEFORE)
        return judge_cut_short(late, jitter=lambda: 0.5)
    outcomes: dict[str, Outcome] = {
        NO_CONNECTION: Retry("no connection"),
        NO_ANSWER: Unknown("no answer"),
        LOST_ANSWER: Unknown("no answer"),
        ANSWERED: Sent("12"),
    }
    return judge(claim, outcomes[event], jitter=lambda: 0.5)


def _run(events: list[str]) -> tuple[Row, list[str]]:
    row, happened = Row(), []
    for event in events:
        if row.fate != "waiting":
            break
        row.happens(event)
        happened.append(event)
    return row, happened


@given(st.lists(st.sampled_from(EVENTS), max_size=40))
def test_told_once_at_most_twice_and_none_only_where_nobody_can_know(events: list[str]) -> None:
    """Two copies at most, the second marked; unknown only after two doubts; else it goes on."""
    row, happened = _run(events)
    doubts = sum(event in DOUBTFUL for event in happened)

    assert row.copies <= 2
    assert row.unmarked <= 1
    match row.fate:
        case "sent":
            assert row.copies >= 1
        case "unknown":
            assert doubts == 2
        case "dead":
            assert happened.count(ENDS_BEFORE) == CUT_SHORT_MAX
        case fate:
            assert fate == "waiting"
            assert len(happened) == len(events)
            assert doubts <= 1


@given(st.lists(st.sampled_from([ENDS_BEFORE, NO_CONNECTION]), max_size=CUT_SHORT_MAX - 1))
def test_what_never_left_leaves_no_mark(events: list[str]) -> None:
    """However often a deliverer ends before anything left: told once, and not as a repeat."""
    row, _ = _run([*events, ANSWERED])

    assert (row.fate, row.copies, row.unmarked) == ("sent", 1, 1)


def test_a_message_that_ends_its_deliverers_is_given_up() -> None:
    """Nothing ever left and every deliverer ended: it is dead, so that the fallback is told."""
    row, happened = _run([ENDS_BEFORE] * 100)

    assert (row.fate, row.copies, len(happened)) == ("dead", 0, CUT_SHORT_MAX)
