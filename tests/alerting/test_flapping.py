"""An alert that comes and goes is told when it lasts, not each time; a long one is told once."""

from __future__ import annotations

from itertools import count
from typing import Any

import msgspec
import pytest

from outrider_alerting.ledger import LedgerRow, NotificationPlan, Spoken
from outrider_alerting.policy import AGAIN_US, JOIN_US, LASTS_US, plan
from tests.alerting.deciding import NOW
from tests.alerting.limiting import RULES, TEXT, alert, ledger_of, of, told
from tests.alerting.scene import S, rules

FLAPS = {"flapping": True}


@pytest.mark.parametrize("priority", ["warning", "critical"])
def test_ten_minutes_of_flapping_are_four_messages(priority: str) -> None:
    """Up and down each second: three times it is told, then no more, and then that it stays."""
    spoken: list[Spoken] = []
    told_us: int | None = None
    sent: list[NotificationPlan] = []
    for number, second in zip(count(1), range(0, 600, 2), strict=False):
        fired = NOW + second * S
        one = alert(
            number,
            priority=priority,
            fired_us=fired,
            started_us=fired,
            flapping=number > 3,
            told_us=told_us,
        )
        recent = [s for s in spoken if fired - s.at_us < JOIN_US]
        begin = plan([one], {}, (), RULES, fired, spoken=recent)
        rows = [row for row in begin.rows if row.channel == "ops"]
        spoken += [Spoken("ops", "errors", one.priority, number, row.notice, fired)
                   for row in rows if row.fate == "waiting" and row.joins is None]  # fmt: skip
        over = msgspec.structs.replace(one, state="resolved", resolved_us=fired + S)
        end = plan([over], {number: _sent(begin.rows)}, (), RULES, fired + S)
        told_us = fired + S if any(_leaves(r) for r in (*rows, *end.rows)) else told_us
        sent += [r for r in (*rows, *end.rows) if r.channel == "ops" and r.fate == "waiting"]

    # What joins is an edit of the first one's message.
    assert [row.notice for row in sent if row.joins is None] == ["fired", *["resolved"] * 3]
    stays = alert(999, priority=priority, told_us=NOW - S, **FLAPS)
    held = plan([stays], {}, (), RULES, NOW)
    due = held.next_us[999]
    assert due == NOW + LASTS_US[stays.priority]
    assert told(plan([stays], {999: ledger_of(held)}, (), RULES, due)) == [
        ("unsuppressed:1", "waiting")
    ]


def test_a_critical_one_that_comes_again_speaks_at_once() -> None:
    """Unless it was told of a moment ago: then it is held back until it has lasted."""
    critical: dict[str, Any] = FLAPS | {"priority": "critical"}
    for told_us in (None, NOW - AGAIN_US):
        again = plan([alert(told_us=told_us, **critical)], {}, (), RULES, NOW)
        assert told(again) == [("fired", "waiting")]
        assert again.rows[-1].content.sentence.startswith("Again: it comes and goes.")
        over = alert(told_us=told_us, state="resolved", resolved_us=NOW + S, **critical)
        ended = plan([over], {12: _sent(again.rows)}, (), RULES, NOW + S)
        assert told(ended) == [("resolved", "waiting")]

    held = plan([alert(told_us=NOW - AGAIN_US + S, **critical)], {}, (), RULES, NOW)
    assert told(held) == [("fired", "suppressed")]
    warning = plan([alert(**FLAPS)], {}, (), RULES, NOW)
    assert told(warning) == [("fired", "suppressed")]


@pytest.mark.parametrize("priority", ["warning", "critical"])
def test_it_is_told_once_it_has_lasted(priority: str) -> None:
    """Held back with its reason, looked at again in time, and its end goes to who was told."""
    flaps = alert(priority=priority, told_us=NOW - S, **FLAPS)
    lasts = LASTS_US[flaps.priority]
    held = plan([flaps], {}, (), RULES, NOW)
    known = ledger_of(held)
    early = plan([flaps], {12: known}, (), RULES, NOW + lasts - S)
    late = plan([flaps], {12: known}, (), RULES, NOW + lasts)

    assert told(held) == [("fired", "suppressed")]
    assert (told(early), early.next_us) == ([], {12: NOW + lasts})
    assert told(late) == [("unsuppressed:1", "waiting")]
    assert "Held back by flapping until now." in late.rows[-1].content.sentence
    over = alert(priority=priority, state="resolved", resolved_us=NOW + 2 * lasts, **FLAPS)
    rows = [*known, *(of(row, "sent") for row in late.rows)]
    assert told(plan([over], {12: rows}, (), RULES, NOW + 2 * lasts)) == [("resolved", "waiting")]


def test_what_ended_before_it_lasted_is_told_to_nobody() -> None:
    """Its rows say why, and no end of a silence brings it back."""
    over = alert(state="resolved", resolved_us=NOW + S, **FLAPS)
    known = ledger_of(plan([alert(**FLAPS)], {}, (), RULES, NOW))
    for ledger in ({}, {12: known}):
        planned = plan([over], ledger, (), RULES, NOW + S)
        assert {fate for _, fate in told(planned)} == {"suppressed"}
        assert planned.owed == {12: False}
        assert "flapping" in (planned.rows[-1].why or "")


def test_a_month_of_firing_is_told_once() -> None:
    """Nothing repeats by itself: neither each day nor after any time."""
    calm = rules(TEXT.split("escalate", maxsplit=1)[0])
    known = _sent(plan([alert()], {}, (), calm, NOW).rows)

    for day in range(1, 31):
        planned = plan([alert()], {12: known}, (), calm, NOW + day * 86_400 * S)
        assert (planned.rows, planned.changes, planned.next_us) == ((), (), {})


def test_shorter_reminders_hold_at_once() -> None:
    """With `remind` lowered from 4h to 30m, what fires since an hour is told again with the set."""
    known = _sent(plan([alert()], {}, (), RULES, NOW).rows)
    sooner = rules(TEXT.replace('"4h"', '"30m"'))
    hour = NOW + 3_599 * S

    assert told(plan([alert()], {12: known}, (), RULES, hour)) == []
    planned = plan([alert()], {12: known}, (), sooner, hour)
    assert told(planned) == [("reminder:1", "waiting")]


def _leaves(row: NotificationPlan) -> bool:
    return row.channel == "ops" and row.fate == "waiting"


def _sent(rows: tuple[NotificationPlan, ...]) -> list[LedgerRow]:
    """The ledger when all that left has arrived."""
    return [of(row, "sent" if row.fate == "waiting" else "") for row in rows]
