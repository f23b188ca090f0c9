"""Words of the alerts page and of a worker's alerts: said once, and no tick where it fires."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from outrider_collector.store.reading.types import (
    Alert,
    Attempt,
    Gauges,
    Notification,
    Worker,
    WorkerDetail,
)
from outrider_dashboard import timing
from outrider_dashboard.pages import alert_words, worker_facts

if TYPE_CHECKING:
    from outrider_alerting.ledger import Fate

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CLOCK = timing.Clock(NOON, UTC)


def alert(state: str = "firing", priority: str = "warning") -> Alert:
    """An alert about worker w that fired five minutes ago."""
    fired = NOON - timedelta(minutes=5)
    return Alert(
        id=1, rule="error-spike", key=["w"], labels={"worker": "w"}, kind="count",
        priority=priority, state=state, summary="12 errors", runbook=None, value=12.0,
        threshold=10.0, started_at=fired, fired_at=fired, resolved_at=None, resolve_reason=None,
        acknowledged_at=None, acknowledged_by=None, acknowledge_comment=None, suppressed_by=[],
        flapping=False, stale=False, evidence=[], rule_set=1, updated_at=fired,
    )  # fmt: skip


def message(channel_type: str, fate: Fate, notice: str = "fired", why: str = "") -> Notification:
    """A message of a critical alert with one try, which failed as ``why`` says."""
    tries = [Attempt(NOON, NOON, "failed", why)] if why else []
    return Notification(
        id=1, alert=1, notice=notice, channel="ops", channel_type=channel_type, conversation="c",
        priority="critical", fate=fate, why=why or None, content={}, attempts=1, not_before=NOON,
        provider_id=None, created_at=NOON, finished_at=NOON, rule="r", summary="s",
        state="firing", labels={}, tries=tries,
    )  # fmt: skip


def test_an_alert_is_called_without_what_its_key_lacks() -> None:
    """Empty values of a key are no part of the name; a key of only those leaves the rule."""
    named = replace(alert(), labels={})
    keys = (["trading", ""], ["", "w1", "h"], ["", ""])
    subjects = [replace(named, key=key).subject for key in keys]
    assert subjects == ["trading", "w1, h", "error-spike"]


def test_alerts_of_a_frozen_rule_say_so() -> None:
    """In the list and on the page; not because of a label that somebody's own rule has."""
    mine = replace(alert(), stale=True)
    told = replace(alert(), rule="outrider-frozen", kind="built-in", labels={"frozen": mine.rule})
    other = replace(alert(), rule="other", labels={"frozen": "other"})
    (group,) = alert_words.groups([mine, told, other], [], CLOCK)

    assert [item.note for item in group.items] == ["warning, rule frozen", "warning", "warning"]
    assert alert_words.frozen_rules([mine, told, other]) == {mine.rule}
    said = alert_words.state_sentence(mine, CLOCK, is_frozen=True)
    assert "Its rule is frozen" in said and "sources" not in said


def test_what_a_message_failed_by_is_said_once() -> None:
    """The story of its tries ends with it; a why of another kind is kept."""
    failed = message("telegram", "failed", why="chat not found")
    (line,) = alert_words.ledger([failed], CLOCK)
    assert [one.said for one in line.story] == ["chat not found"]
    assert line.why == ""
    later = replace(failed, fate="waiting", not_before=NOON + timedelta(seconds=30))
    (line,) = alert_words.ledger([later], CLOCK)
    assert line.why == "Next try at 12:00:30."
    (line,) = alert_words.ledger([replace(failed, why="given up after a day")], CLOCK)
    assert line.why == "Given up after a day."


def test_what_a_sent_message_only_counted_is_said() -> None:
    """Beside what the channel calls the message stands that it does not name the alert."""
    counted = "only counted in the message of A-1 when it was sent, not named"
    sent = replace(message("telegram", "sent"), provider_id="7", why=counted)
    (line,) = alert_words.ledger([sent], CLOCK)
    assert line.why == f"Message 7. O{counted[1:]}."


def test_notes_carry_the_state_that_their_mark_shows() -> None:
    """A list and a toast draw the same: what ended is no diamond, and has no priority."""
    (group,) = alert_words.notes(
        [
            message("in-app", "sent"),
            message("in-app", "sent", "resolved"),
            message("telegram", "failed", why="x"),
        ],
        CLOCK,
    )
    assert [(note.state, note.priority) for note in group.notes] == [
        ("firing", "critical"), ("resolved", ""), ("failed", ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("state", "found", "tone", "words"),
    [
        ("up", alert(), "warn", "Alert error-spike fires since "),
        ("up", alert(priority="critical"), "bad", "Alert error-spike fires since "),
        ("up", alert("recovering"), "ok", "Alert error-spike fired at "),
        ("dead", alert(priority="critical"), "ok", "Alert error-spike fired at "),
    ],
)
def test_a_firing_alert_is_no_tick(state: str, found: Alert, tone: str, words: str) -> None:
    """Only of a dead worker it is good news that an alert fired: somebody was told."""
    worker = Worker("s", "w", "h", None, state, NOON, "", NOON, NOON, Gauges())
    detail = WorkerDetail(worker, None, [], [], [], [], [found], [])
    last = worker_facts.checks(detail, CLOCK)[-1]
    assert last.tone == tone
    assert last.text.startswith(words)
