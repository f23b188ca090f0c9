"""What came and went under a silence: told when it ends, once, to whom its firing was for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from outrider_alerting.policy import plan
from outrider_alerting.rules import RuleSet
from tests.alerting.deciding import NOW, RULES, alert, row, short, silence

if TYPE_CHECKING:
    from outrider_alerting.ledger import Alert, LedgerRow, Plan, Silence

WHY = "silence 31 'at work': until 00:33:20 UTC"
UNTOLD = (
    row("in-app", "sent"),
    row("ops", "suppressed", why=WHY),
    row("in-app", "sent", "resolved"),
    row("ops", "suppressed", "resolved", why=f"its firing was not told: {WHY}"),
)


def decide(
    *alerts: Alert, ledger: tuple[LedgerRow, ...] = UNTOLD, silences: tuple[Silence, ...] = (),
    rule_set: RuleSet = RULES,
) -> Plan:  # fmt: skip
    """Call the policy for alerts that each have the same rows."""
    rows = {a.id: [msgspec.structs.replace(r, alert=a.id) for r in ledger] for a in alerts}
    return plan(alerts, rows, silences, rule_set, NOW)


def test_it_is_owed_while_the_silence_holds() -> None:
    """Nothing is told under the silence; the alert is kept for its end."""
    planned = decide(alert("resolved"), silences=(silence(),))

    assert (short(planned), planned.owed) == ([], {12: True})
    at_once = plan([alert("resolved")], {}, (silence(),), RULES, NOW)
    assert short(at_once)[2:] == [("ops", "fired", "suppressed"), ("ops", "resolved", "suppressed")]
    assert at_once.owed == {12: True}


def test_its_end_tells_all_in_one_message() -> None:
    """One digest for each destination, the worst first; the others point to it."""
    over = [alert("resolved", alert_id=n) for n in (12, 13)]
    over.append(alert("resolved", alert_id=14, priority="critical"))
    planned = decide(*over)

    assert [(r.alert, r.channel, r.notice, r.fate) for r in planned.rows] == [
        (14, "ops", "unsuppressed:1", "waiting"),
        (12, "ops", "unsuppressed:1", "superseded"),
        (13, "ops", "unsuppressed:1", "superseded"),
    ]
    told = planned.rows[0].content
    assert told.title == "3 alerts came and went under silence 31 'at work'"
    assert [fact.name for fact in told.facts] == ["A-14", "A-12", "A-13"]
    assert (told.status, told.priority) == ("fired and resolved", "critical")
    assert planned.rows[1].why == "told in the digest of A-14"
    assert set(planned.owed.values()) == {False}


def test_one_alone_is_told_as_itself() -> None:
    """A single alert needs no list: when it fired, how it ended, what held it back."""
    (told,) = decide(alert("resolved")).rows

    assert told.content.title == "Over: 11 errors in 5m on w1"
    assert told.content.sentence.endswith("Held back by silence 31 'at work' until now.")


def test_told_once() -> None:
    """With its row in the ledger nothing more is owed, and its end is not told again."""
    for fate in ("waiting", "sent", "superseded", "dead"):
        told = (*UNTOLD, row("ops", fate, "unsuppressed:1"))
        planned = decide(alert("resolved"), ledger=told)
        assert (short(planned), planned.owed) == ([], {12: False})


def test_what_is_not_owed() -> None:
    """Who was told, what a cause explained, a channel that is gone: no digest."""
    told = (row("ops", "sent"), row("ops", "sent", "resolved"))
    explained = (row("ops", "suppressed", why="explained by A-3: host-1 is silent"), UNTOLD[3])

    for ledger in (told, explained):
        planned = decide(alert("resolved"), ledger=ledger, silences=(silence(),))
        assert (short(planned), planned.owed) == ([], {12: False})
        assert short(decide(alert("resolved"), ledger=ledger)) == []
    assert short(decide(alert("resolved"), rule_set=RuleSet())) == []


def test_what_fires_next_does_not_hide_in_the_digest() -> None:
    """A digest is no firing that others join by an edit that makes no sound."""
    (told,) = decide(alert("resolved")).rows

    assert told.bundle is not None
