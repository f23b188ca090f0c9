"""Few messages, one cause, nobody forgotten: joining, raising, explaining, insisting."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outrider_alerting import telling
from outrider_alerting.ledger import Alert, LedgerRow, NotificationPlan, Plan, Silence, Spoken
from outrider_alerting.policy import AFTER_CAUSE_WAIT_US, FULL_US, JOIN_US, OVERDUE_US, plan
from tests.alerting.scene import S, rules

if TYPE_CHECKING:
    from outrider_alerting.content import Content
    from outrider_alerting.rules import Priority, RuleSet

NOW = 1_000 * S
TEXT = """
[[channel]]
name = "ops"
type = "telegram"
bot_token_file = "t"
chat_id = -1
fallback = "mail"
[[channel]]
name = "mail"
type = "email"
smtp_host = "localhost"
tls = "none"
from = "a@b"
to = ["c@d"]
[[channel]]
name = "boss"
type = "telegram"
bot_token_file = "t"
chat_id = 5
[[route]]
match = "service:mail"
channels = ["mail"]
[[route]]
channels = ["ops"]
escalate = [{ after = "10m", channels = ["boss"] }, { after = "1h", channels = ["mail"] }]
remind = "4h"
"""
RULES = rules(TEXT)
CHANNELS = {"ops": ("telegram", "telegram:-1"), "mail": ("email", "email:mail"),
            "boss": ("telegram", "telegram:5")}  # fmt: skip


def alert(number: int = 12, **changes: Any) -> Alert:
    """An alert that fires since now."""
    fields: dict[str, Any] = {
        "id": number,
        "rule": "errors",
        "key": (str(number),),
        "kind": "count",
        "priority": "warning",
        "state": "firing",
        "summary": f"errors of {number}",
        "started_us": NOW,
        "fired_us": NOW,
    } | changes
    named = {"rule": fields["rule"], "kind": fields["kind"], "priority": fields["priority"]}
    labels = {**named, **changes.get("labels", {})}
    return msgspec.convert(fields | {"labels": labels}, Alert)


def over_alert(number: int) -> Alert:
    """An alert that came and went."""
    return alert(number, state="resolved", resolved_us=NOW)


def of(row: NotificationPlan, fate: str = "", created: int = NOW, **changes: object) -> LedgerRow:
    """The ledger's row that a plan's row becomes."""
    fields = {"alert": row.alert, "notice": row.notice, "channel": row.channel,
              "channel_type": row.channel_type, "conversation": row.conversation,
              "priority": row.priority, "fate": fate or row.fate, "created_us": created,
              "why": row.why} | changes  # fmt: skip
    return msgspec.convert(fields, LedgerRow)


def ledger_of(planned: Plan, fate: str = "sent") -> list[LedgerRow]:
    """The ledger after everything that waited had this fate."""
    return [of(row, fate if row.fate == "waiting" else "") for row in planned.rows]


def told(planned: Plan, channel: str = "ops") -> list[tuple[str, str]]:
    """(notice, fate) of a channel's new rows."""
    return [(row.notice, row.fate) for row in planned.rows if row.channel == channel]


def only(planned: Plan, channel: str) -> list[NotificationPlan]:
    """A channel's new rows."""
    return [row for row in planned.rows if row.channel == channel]


# ------------------------------------------------------------------ joining


def test_the_first_speaks_and_the_others_join_it() -> None:
    """Of three of one rule the first waits for nothing and joins nobody; the others edit it."""
    first, *others = only(plan([alert(n) for n in (1, 2, 3)], {}, (), RULES, NOW), "ops")

    assert (first.bundle, first.joins, first.not_before_us) == (None, None, NOW)
    assert {row.joins for row in others} == {(1, "fired")}
    assert len({row.bundle for row in others}) == 1
    assert {row.not_before_us for row in others} == {NOW}


def test_what_cannot_edit_waits_and_comes_as_one() -> None:
    """By mail the others wait until half a minute after the first."""
    service = {"labels": {"service": "mail"}}
    spoken = [Spoken("mail", "errors", "warning", 1, "fired", NOW - 10 * S)]
    (row,) = only(plan([alert(2, **service)], {}, (), RULES, NOW, spoken=spoken), "mail")

    assert row.joins is None and row.bundle
    assert row.not_before_us == NOW + JOIN_US - 10 * S


@pytest.mark.parametrize(
    ("first", "second", "age_us", "joins"),
    [
        ("warning", "warning", JOIN_US - 1, True),
        ("warning", "info", 0, True),
        ("warning", "critical", 0, False),
        ("critical", "critical", 0, True),
        ("warning", "warning", JOIN_US, False),
    ],
)
def test_who_joins_whom(first: Priority, second: Priority, age_us: int, *, joins: bool) -> None:
    """Within half a minute what is not higher joins; a higher priority speaks."""
    spoken = [Spoken("ops", "errors", first, 1, "fired", NOW - age_us)]
    planned = plan([alert(2, priority=second)], {}, (), RULES, NOW, spoken=spoken)

    assert (only(planned, "ops")[0].joins is not None) == joins


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["info", "warning", "critical"]))))
def test_in_any_storm_each_rise_speaks_once(storm: list[tuple[str, Priority]]) -> None:
    """Per rule, who speaks outranks all before it; all others join one of those."""
    storm_alerts = [alert(n, rule=r, priority=p) for n, (r, p) in enumerate(storm, 1)]
    rows = only(plan(storm_alerts, {}, (), RULES, NOW), "ops")

    assert [row.alert for row in rows] == [each.id for each in storm_alerts]
    ranks = {"info": 0, "warning": 1, "critical": 2}
    highest: dict[str, tuple[int, int]] = {}
    for row, each in zip(rows, storm_alerts, strict=True):
        rank, leader = highest.get(each.rule, (-1, 0))
        if ranks[each.priority] > rank:
            assert row.joins is None
            highest[each.rule] = (ranks[each.priority], each.id)
        else:
            assert row.joins == (leader, "fired")


@pytest.mark.parametrize(
    ("followers", "age_us", "channel", "joins"),
    [
        (9, FULL_US, "ops", True),
        (10, FULL_US, "ops", False),
        (10, FULL_US - 1, "ops", True),
        (10_000, FULL_US - 1, "ops", True),
        (10, FULL_US, "mail", True),
    ],
)
def test_a_full_message_takes_no_more_in(
    followers: int, age_us: int, channel: str, *, joins: bool
) -> None:
    """Whom an edit would only count speaks, unless it is a storm, or comes by mail anyway."""
    spoken = [Spoken(channel, "errors", "critical", 1, "fired", NOW - age_us, followers)]
    one = alert(2, priority="critical", labels={"service": channel})
    (row,) = only(plan([one], {}, (), RULES, NOW, spoken=spoken), channel)

    assert (row.bundle is not None) == joins


@given(st.lists(st.integers(0, 40), max_size=400))
def test_a_storm_is_few_messages_and_none_hides_what_comes_later(pauses: list[int]) -> None:
    """However alerts of a rule come, one message in ten seconds; who is not named comes within it.

    Pauses are tenths of seconds.
    """
    now, spoken = NOW, list[Spoken]()
    for number, pause in enumerate(pauses, 1):
        now += pause * S // 10
        recent = [one for one in spoken if now - one.at_us < JOIN_US]
        fired = alert(number, priority="critical", fired_us=now, started_us=now)
        (row,) = only(plan([fired], {}, (), RULES, now, spoken=recent), "ops")
        if row.joins is None:
            spoken.append(Spoken("ops", "errors", "critical", number, "fired", now))
        else:
            assert row.joins == (spoken[-1].alert, "fired")
            followers = spoken[-1].followers + 1
            spoken[-1] = spoken[-1]._replace(followers=followers)
            assert followers <= telling.MAX_DIGEST or now - spoken[-1].at_us < FULL_US

    began = [one.at_us for one in spoken]
    assert all(later - one >= FULL_US for one, later in pairwise(began))


# ------------------------------------------------------------------ raising


def test_a_raise_is_told_over_what_was_told_and_only_once() -> None:
    """From warning to critical: a new notice at once, joining nobody; planned again, none."""
    first = plan([alert()], {}, (), RULES, NOW)
    known = ledger_of(first)
    higher = alert(priority="critical")
    spoken = [Spoken("ops", "errors", "critical", 1, "fired", NOW)]
    planned = plan([higher], {12: known}, (), RULES, NOW, spoken=spoken)

    assert told(planned, "in-app") == [("raised:1", "sent")]
    assert told(planned) == [("raised:1", "waiting")]
    assert only(planned, "ops")[0].joins is None
    assert "Now critical." in only(planned, "ops")[0].content.sentence
    again = plan([higher], {12: [*known, *ledger_of(planned)]}, (), RULES, NOW)
    assert again.rows == ()


def test_a_raise_overtakes_a_firing_that_still_waits() -> None:
    """Nobody gets the lower priority after the higher one."""
    known = ledger_of(plan([alert()], {}, (), RULES, NOW), "waiting")
    planned = plan([alert(priority="critical")], {12: known}, (), RULES, NOW)

    assert [(c.notice, c.channel, c.why) for c in planned.changes] == [
        ("fired", "ops", "told as raised:1")
    ]


# ------------------------------------------------------------------ explaining

AGENT: dict[str, Any] = {"kind": "liveness", "rule": "agent-gone",
         "labels": {"host": "h1", "agent": "7", "state": "silent"}}  # fmt: skip
WORKER: dict[str, Any] = {"kind": "liveness", "rule": "worker-gone",
          "labels": {"host": "h1", "service": "pay", "worker": "w1",
                     "state": "silent"}}  # fmt: skip


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


# ------------------------------------------------------------------ standing in


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


# ------------------------------------------------------------------ insisting


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


# ------------------------------------------------------------------ schedules


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


# ------------------------------------------------------------------ whatever happens

ACTS = st.sampled_from(
    ["fire", "raise", "resolve", "cause", "no cause", "silence", "no silence", "wait", "ack",
     "sent", "sent", "failed", "unknown"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(ACTS, max_size=30))
def test_nobody_hears_an_end_alone_and_every_notice_has_one_fate(script: list[str]) -> None:
    """Whatever the order of raises, causes, silences, failures and fallbacks, in every channel.

    One row a notice; no end where no firing may have been told before it; an end where one was; the
    same plan again is empty.
    """
    world = _World()
    for act in (*script, "resolve", "sent", "sent", "sent", "sent"):
        world.act(act)

    for channel in ("ops", "mail", "boss"):
        rows = [row for row in world.ledger if row.channel == channel]
        assert len({row.notice for row in rows}) == len(rows)
        known = [
            row for row in rows
            if row.announces and row.may_be_known and not world.tells_both(row)
        ]  # fmt: skip
        ends = [row for row in rows if not row.announces and row.may_be_known]
        if known:
            assert ends or world.ends_failed(channel), (channel, rows)
        elif ends:
            assert world.contents[channel, "resolved"].status == "fired and resolved"


class _World:
    """One alert, its ledger, and what may hold it back, moved at random."""

    def __init__(self) -> None:
        self.now = NOW
        self.alert: Alert | None = None
        self.causes: list[Alert] = []
        self.silences: tuple[Silence, ...] = ()
        self.ledger: list[LedgerRow] = []
        self.contents: dict[tuple[str, str], Content] = {}
        self.rules: RuleSet = RULES

    def act(self, name: str) -> None:
        self.now += 40 * S
        match name:
            case "fire" if self.alert is None:
                self.alert = alert(2, **WORKER, fired_us=self.now)
            case "raise" if self.alert and self.alert.state == "firing":
                self.alert = msgspec.structs.replace(
                    self.alert, priority="critical", acknowledged_by=None
                )
            case "resolve" if self.alert and self.alert.state == "firing":
                self.alert = msgspec.structs.replace(
                    self.alert, state="resolved", resolved_us=self.now
                )
            case "ack" if self.alert and self.alert.state == "firing":
                self.alert = msgspec.structs.replace(self.alert, acknowledged_by="anna")
            case "cause":
                self.causes = [alert(1, **AGENT)]
            case "no cause":
                self.causes = []
            case "silence":
                self.silences = (Silence(id=9, filter="rule:*", starts_us=0, ends_us=10**18),)
            case "no silence":
                self.silences = ()
            case "wait":
                self.now += 1_000 * S
            case "sent" | "failed" | "unknown":
                self.deliver(name)
        self.plan()

    def deliver(self, fate: str) -> None:
        """The oldest waiting row of each channel gets a fate; a resolve may not pass its firing."""
        seen: set[str] = set()
        for place, row in enumerate(self.ledger):
            if row.fate == "waiting" and row.channel not in seen:
                seen.add(row.channel)
                attempts = 2 if fate == "unknown" else 0
                lost = self.tells_both(row) and fate != "sent"
                content = self.contents[row.channel, row.notice] if lost else None
                self.ledger[place] = msgspec.convert(
                    msgspec.to_builtins(row)
                    | {"fate": fate, "attempts": attempts, "tries": 1, "content": content},
                    LedgerRow,
                )

    def tells_both(self, row: LedgerRow) -> bool:
        return self.contents[row.channel, row.notice].status == "fired and resolved"

    def ends_failed(self, channel: str) -> bool:
        return any(r.channel == channel and not r.announces and r.failed for r in self.ledger)

    def plan(self) -> None:
        if self.alert is None:
            return
        planned = self.ask()
        for change in planned.changes:
            (place,) = [
                n for n, row in enumerate(self.ledger)
                if (row.channel, row.notice) == (change.channel, change.notice)
            ]  # fmt: skip
            assert self.ledger[place].fate == "waiting"
            self.ledger[place] = msgspec.structs.replace(self.ledger[place], fate="superseded")
        for row in planned.rows:
            self.ledger.append(of(row, created=self.now))
            self.contents[row.channel, row.notice] = row.content
        again = self.ask()
        assert (again.rows, again.changes) == ((), ())

    def ask(self) -> Plan:
        assert self.alert is not None
        ledger = {2: self.ledger} if self.ledger else {}
        return plan([self.alert], ledger, self.silences, self.rules, self.now, causes=self.causes)
