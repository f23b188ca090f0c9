"""Nobody is forgotten: steps and reminders until somebody acknowledges, and quiet hours."""

from __future__ import annotations

from outrider_alerting.ledger import Plan, Silence
from outrider_alerting.policy import plan
from tests.alerting.deciding import NOW
from tests.alerting.limiting import RULES, alert, ledger_of, only, told
from tests.alerting.scene import S


def later(seconds: int, **changes: object) -> Plan:
    """Plan so long after the firing was told."""
    known = ledger_of(plan([alert()], {}, (), RULES, NOW))
    return plan([alert(12, **changes)], {12: known}, (), RULES, NOW + seconds * S)


def test_steps_are_taken_while_nobody_acknowledges() -> None:
    """Ten minutes: the first channel; an hour: both; acknowledged, or no longer firing: nobody."""
    assert told(later(599), "boss") == []
    assert told(later(600), "boss") == [("escalation:1", "waiting")]
    assert told(later(3_600), "mail") == [("escalation:2", "waiting")]
    assert told(later(3_600, acknowledged_by="anna"), "boss") == []
    assert told(later(3_600, state="recovering"), "boss") == []
    assert told(later(4 * 3_600)) == [("reminder:1", "waiting")]


def test_the_next_look_is_when_the_next_step_is_due() -> None:
    """So that nobody has to look at every alert every second."""
    told_now = ledger_of(plan([alert()], {}, (), RULES, NOW))
    assert plan([alert()], {12: told_now}, (), RULES, NOW).next_us == {12: NOW + 600 * S}
    assert later(600).next_us == {12: NOW + 3_600 * S}
    assert later(3_600).next_us == {12: NOW + 4 * 3_600 * S}
    assert later(600, acknowledged_by="anna").next_us == {}


def test_what_is_silenced_does_not_insist() -> None:
    """A silence holds escalations back as well, and they come when it ends."""
    known = ledger_of(plan([alert()], {}, (), RULES, NOW))
    silence = Silence(id=1, filter="rule:errors", starts_us=0, ends_us=NOW + 700 * S)
    at = {seconds: plan([alert()], {12: known}, (silence,), RULES, NOW + seconds * S)
          for seconds in (600, 700)}  # fmt: skip

    assert told(at[600], "boss") == []
    assert told(at[700], "boss") == [("escalation:1", "waiting")]


def test_quiet_hours_let_critical_alerts_pass() -> None:
    """Inside the window warnings are held and named, critical ones told; outside both are told."""
    quiet = Silence(
        id=3, filter="rule:errors", starts_us=0, ends_us=10**18, schedule="00:10-00:30",
        timezone="UTC", quiet_hours=True,
    )  # fmt: skip
    for minute, fate in ((9, "waiting"), (10, "suppressed"), (29, "suppressed"), (30, "waiting")):
        now = minute * 60 * S
        warning = plan([alert()], {}, (quiet,), RULES, now)
        critical = plan([alert(priority="critical")], {}, (quiet,), RULES, now)
        assert told(warning) == [("fired", fate)]
        assert told(critical) == [("fired", "waiting")]
    held = plan([alert()], {}, (quiet,), RULES, 600 * S)
    assert only(held, "ops")[0].why == "quiet hours of silence 3: 00:10-00:30 UTC"
