"""What comes late: a backlog is told in few messages, and what still holds at once."""

from __future__ import annotations

from tests.alerting.deciding import NOW, alert, decide, row
from tests.alerting.scene import S


def test_what_came_late_and_is_over_is_one_digest() -> None:
    """Several alerts of the past are one message for each destination; the others point to it."""
    past = [alert("resolved", fired=i * S, resolved=(i + 5) * S, alert_id=12 + i) for i in range(3)]
    planned = decide(*past)
    ops = [r for r in planned.rows if r.channel == "ops" and r.notice == "resolved"]

    assert [r.fate for r in ops] == ["waiting", "superseded", "superseded"]
    assert ops[0].content.title == "3 alerts came and went before their records arrived"
    assert len(ops[0].content.facts) == 3
    assert ops[1].why == "told in the digest of A-12"


def test_a_critical_alert_of_the_past_speaks_for_itself() -> None:
    """Critical alerts that came late are not put into a digest, within an hour."""
    now, ended = 10_000 * S, 6_500 * S
    past = [
        alert("resolved", priority="critical", fired=ended - S, resolved=ended, alert_id=i)
        for i in (1, 2)
    ]

    rows = decide(*past, now=now).rows
    fates = [r.fate for r in rows if r.channel == "ops" and r.notice == "resolved"]
    assert fates == ["waiting", "waiting"]


def test_a_week_of_old_errors_is_one_message_for_five_minutes() -> None:
    """What old files bring up leaves together, critical or not, the critical first."""
    now = 10_000 * S
    old = [
        alert("resolved", fired=S, resolved=2 * S, alert_id=1),
        alert("resolved", priority="critical", fired=S, resolved=2 * S, alert_id=2),
    ]
    at_once, later = (
        [r for r in decide(*old, now=now + i * S).rows if r.channel == "ops"] for i in (0, 7)
    )
    (digest,) = [r for r in at_once if r.fate == "waiting"]
    (further,) = [r for r in later if r.fate == "waiting"]

    assert digest.alert == 2
    assert (digest.bundle, digest.not_before_us) == (further.bundle, further.not_before_us)
    assert digest.not_before_us % (300 * S) == 0
    firing = decide(alert(fired=S), now=now).rows[1]
    assert firing.not_before_us == digest.not_before_us


def test_a_critical_alert_that_still_holds_speaks_at_once_however_old_it_is() -> None:
    """Being late mutes nothing that is still so."""
    now = 10_000 * S
    assert decide(alert(fired=S, priority="critical"), now=now).rows[1].not_before_us == now


def test_a_late_firing_that_still_waits_is_in_the_digest_of_its_end() -> None:
    """Whether its end was concluded in the same step as its begin is chance."""
    old = [alert("resolved", fired=S, resolved=2 * S, alert_id=i) for i in (12, 13)]
    rows = decide(*old, ledger=(row("in-app", "sent"), row("ops", "waiting")), now=10_000 * S).rows
    ends = [(r.alert, r.fate) for r in rows if r.channel == "ops" and r.notice == "resolved"]

    assert sorted(ends) == [(12, "waiting"), (13, "superseded")]


def test_a_late_firing_waits_for_its_resolve() -> None:
    """A firing older than a minute waits 30 s to be told with its end; a critical one does not."""
    late = decide(alert(fired=NOW - 100 * S)).rows[1]
    critical = decide(alert(fired=NOW - 100 * S, priority="critical")).rows[1]

    assert late.not_before_us == NOW + 30 * S
    assert critical.not_before_us == NOW
