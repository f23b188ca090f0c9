"""One cause is one message: what is explained by another alert is not told beside it."""

from __future__ import annotations

import msgspec
import pytest

from outrider_alerting.policy import AFTER_CAUSE_WAIT_US, plan
from tests.alerting.deciding import NOW
from tests.alerting.limiting import AGENT, RULES, WORKER, alert, ledger_of, of, only, told


def test_one_cause_is_one_message_that_lists_what_it_explains() -> None:
    """A silent agent is told; its host's workers are suppressed by it, another host's are not."""
    elsewhere = {**WORKER, "labels": {**WORKER["labels"], "host": "h2"}}
    alerts = [alert(1, **AGENT), alert(2, **WORKER), alert(3, **elsewhere)]
    planned = plan(alerts, {}, (), RULES, NOW, causes=alerts)

    fates = {row.alert: (row.fate, row.why) for row in only(planned, "ops")}
    assert fates[1] == ("waiting", None)
    assert fates[2] == ("suppressed", "explained by A-1: errors of 1")
    assert fates[3][0] == "waiting"
    facts = {fact.name: fact.value for fact in only(planned, "ops")[0].content.facts}
    assert facts["Explains"] == "errors of 2"
    assert planned.suppressed_by == {1: (), 2: ("A-1",), 3: ()}
    # The notification centre has all of them.
    assert [row.fate for row in only(planned, "in-app")] == ["sent"] * 3


@pytest.mark.parametrize("state", ["lagging", "degraded"])
def test_who_is_slow_explains_nothing(state: str) -> None:
    """Only silent and dead hide what runs there."""
    slow = {**AGENT, "labels": {**AGENT["labels"], "state": state}}
    alerts = [alert(1, **slow), alert(2, **WORKER)]
    planned = plan(alerts, {}, (), RULES, NOW, causes=alerts)

    assert [row.fate for row in only(planned, "ops")] == ["waiting", "waiting"]


def test_a_dead_worker_explains_missing_work_and_no_errors() -> None:
    """That its records do not come follows from its death; that it wrote errors does not."""
    labels = {"labels": {"worker": "w1", "service": "pay"}}
    alerts = [
        alert(1, **WORKER),
        alert(2, kind="absence", rule="quiet", **labels),
        alert(3, kind="match", rule="failed", **labels),
    ]
    planned = plan(alerts, {}, (), RULES, NOW, causes=alerts)

    assert [row.fate for row in only(planned, "ops")] == ["waiting", "suppressed", "waiting"]


def test_what_outlives_its_cause_is_told_after_a_while() -> None:
    """The agent is back, its worker is not: told, after half a minute for a fresh look."""
    alerts = [alert(1, **AGENT), alert(2, **WORKER)]
    known = [row for row in ledger_of(plan(alerts, {}, (), RULES, NOW, causes=alerts))
             if row.alert == 2]  # fmt: skip
    planned = plan([alerts[1]], {2: known}, (), RULES, NOW, causes=[])

    (row,) = only(planned, "ops")
    assert (row.notice, row.not_before_us) == ("unsuppressed:1", NOW + AFTER_CAUSE_WAIT_US)
    assert "Held back by A-1 until now." in row.content.sentence
    # Over within that time: who was never told of it gets nothing.
    over = msgspec.structs.replace(alerts[1], state="resolved", resolved_us=NOW)
    end = plan([over], {2: [*known, of(row)]}, (), RULES, NOW)
    assert told(end) == [("resolved", "suppressed")]
    assert [change.why for change in end.changes] == ["over before it was told"]
