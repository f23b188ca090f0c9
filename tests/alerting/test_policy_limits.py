"""Few messages: who joins whom, who is told that it got worse, and what holds whatever happens."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outrider_alerting import telling
from outrider_alerting.ledger import Alert, LedgerRow, Plan, Silence, Spoken
from outrider_alerting.policy import FULL_US, JOIN_US, plan
from tests.alerting.deciding import NOW
from tests.alerting.limiting import AGENT, RULES, WORKER, alert, ledger_of, of, only, told
from tests.alerting.scene import S

if TYPE_CHECKING:
    from outrider_alerting.content import Content
    from outrider_alerting.rules import Priority, RuleSet

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
