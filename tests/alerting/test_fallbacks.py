"""Who stands in is told what a channel could not tell, once and in time."""

from __future__ import annotations

import msgspec
import pytest

from outrider_alerting import telling
from outrider_alerting.ledger import LedgerRow
from outrider_alerting.policy import OVERDUE_US, plan
from tests.alerting.deciding import NOW
from tests.alerting.limiting import RULES, alert, ledger_of, of, only, over_alert, told


@pytest.mark.parametrize("fate", ["failed", "dead", "unknown"])
def test_a_fallback_is_told_what_did_not_arrive(fate: str) -> None:
    """Once, with the reason; and it gets the resolve then."""
    known = ledger_of(plan([alert()], {}, (), RULES, NOW), fate)
    planned = plan([alert()], {12: known}, (), RULES, NOW)

    assert told(planned, "mail") == [("fired", "waiting")]
    assert "did not reach ops" in only(planned, "mail")[0].content.sentence
    known += ledger_of(planned)
    assert plan([alert()], {12: known}, (), RULES, NOW).rows == ()
    over = alert(state="resolved", resolved_us=NOW)
    assert told(plan([over], {12: known}, (), RULES, NOW), "mail") == [("resolved", "waiting")]


@pytest.mark.parametrize(("tries", "age_us", "stands_in"), [
    (1, OVERDUE_US, True), (1, OVERDUE_US - 1, False), (0, OVERDUE_US + 1, False),
])  # fmt: skip
def test_a_channel_out_of_reach_has_its_fallback_told(
    tries: int, age_us: int, *, stands_in: bool
) -> None:
    """After two minutes of trying, while the tries go on; not for what only waits its turn."""
    rows = plan([alert()], {}, (), RULES, NOW).rows
    known = [of(row, created=NOW - age_us, tries=tries) for row in rows]
    planned = plan([alert()], {12: known}, (), RULES, NOW)

    assert (told(planned, "mail") == [("fired", "waiting")]) == stands_in


def test_a_fallback_is_seen_to_in_time() -> None:
    """Whenever the next try is: the alert is looked at when its channel has been tried enough."""
    first = plan([alert()], {}, (), RULES, NOW)
    assert first.next_us[12] == NOW + OVERDUE_US
    known = [of(row, created=NOW + 5, tries=3) for row in first.rows]
    assert plan([alert()], {12: known}, (), RULES, NOW + OVERDUE_US).next_us[12] == (
        NOW + 5 + OVERDUE_US
    )
    overdue = plan([alert()], {12: known}, (), RULES, NOW + 5 + OVERDUE_US)
    assert told(overdue, "mail") == [("fired", "waiting")]
    assert overdue.next_us[12] > NOW + 5 + OVERDUE_US


def test_who_looks_after_it_already_is_not_told_by_the_fallback() -> None:
    """Acknowledged meanwhile: the fallback is told neither then nor later, and the row says why."""
    known = ledger_of(plan([alert()], {}, (), RULES, NOW), "failed")
    seen = alert(acknowledged_by="anna")
    planned = plan([seen], {12: known}, (), RULES, NOW)

    (row,) = only(planned, "mail")
    assert (row.fate, row.why) == ("suppressed", "acknowledged by anna before ops could be told")
    known += ledger_of(planned)
    assert plan([seen], {12: known}, (), RULES, NOW).rows == ()
    over = msgspec.structs.replace(seen, state="resolved", resolved_us=NOW)
    assert told(plan([over], {12: known}, (), RULES, NOW), "mail") == [("resolved", "suppressed")]


def test_a_fallback_that_comes_too_late_tells_both() -> None:
    """The firing failed and the alert is over: one message, never a resolve alone."""
    known = ledger_of(plan([alert()], {}, (), RULES, NOW), "failed")
    planned = plan([alert(state="resolved", resolved_us=NOW)], {12: known}, (), RULES, NOW)

    assert told(planned, "mail") == [("fired", "superseded"), ("resolved", "waiting")]
    assert only(planned, "mail")[1].content.status == "fired and resolved"


@pytest.mark.parametrize("notice", ["resolved", "unsuppressed:1"])
def test_a_fallback_is_told_all_of_a_digest(notice: str) -> None:
    """What came and went together is one message there too, and names every alert of it."""
    content = telling.digest([over_alert(n) for n in range(50)], NOW)
    lost = LedgerRow(
        alert=12, notice=notice, channel="ops", channel_type="telegram", conversation="telegram:-1",
        fate="failed", content=content,
    )  # fmt: skip
    planned = plan([over_alert(12)], {12: [lost]}, (), RULES, NOW)

    begin = "fired" if notice == "resolved" else notice
    assert told(planned, "mail") == [(begin, "superseded"), ("resolved", "waiting")]
    said = only(planned, "mail")[1].content
    assert said.title == "50 alerts came and went before their records arrived"
    assert [fact.name for fact in said.facts] == [f"A-{n}" for n in range(10)]
    assert "40 more" in said.sentence and "did not reach ops" in said.sentence


def test_what_was_one_message_is_one_at_the_fallback() -> None:
    """Firings of one rule that a channel refused leave together; those of another rule do not."""
    alerts = [alert(1), alert(2), alert(3, rule="others")]
    lost = {each.id: ledger_of(plan([each], {}, (), RULES, NOW), "failed") for each in alerts}
    first, second, other = only(plan(alerts, lost, (), RULES, NOW), "mail")

    assert first.bundle == second.bundle == "instead of ops: errors"
    assert other.bundle == "instead of ops: others"
