"""Who is told what: routes, silences, and a resolve for exactly those who have the firing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from outrider_alerting.ledger import Fate, LedgerRow, Silence
from outrider_alerting.rules import RuleSet
from tests.alerting.deciding import NO_ROUTES, NOW, RULES, alert, decide, row, short, silence
from tests.alerting.scene import S

if TYPE_CHECKING:
    from outrider_alerting.episodes import State


def test_a_firing_goes_by_the_routes_and_to_the_centre() -> None:
    """The first matching route takes an alert, with `continue` the next one too."""
    assert short(decide(alert())) == [("in-app", "fired", "sent"), ("ops", "fired", "waiting")]
    assert short(decide(alert(priority="critical"))) == [
        ("in-app", "fired", "sent"), ("mail", "fired", "waiting"), ("ops", "fired", "waiting"),
    ]  # fmt: skip
    assert short(decide(alert(service="etl")))[1:] == [("mail", "fired", "waiting")]
    assert short(decide(alert(), rule_set=NO_ROUTES)) == [("in-app", "fired", "sent")]


def test_pending_tells_nobody() -> None:
    """An alert that has not fired is told to nobody, and neither is its end."""
    assert short(decide(alert("pending", fired=None))) == []
    assert short(decide(alert("resolved", fired=None))) == []


def test_a_silenced_firing_is_in_the_ledger_with_its_reason() -> None:
    """What a silence holds back is a row that names the silence; the centre has it anyway."""
    planned = decide(alert(), silences=(silence(),))

    assert short(planned) == [("in-app", "fired", "sent"), ("ops", "fired", "suppressed")]
    assert planned.rows[1].why == "silence 31 'at work': until 00:33:20 UTC"
    assert planned.suppressed_by == {12: ("silence 31",)}


def test_a_silence_counts_only_in_its_time_and_for_its_labels() -> None:
    """Before its start, after its end, when ended, or for others, a silence holds nothing back."""
    for idle in (
        silence(start=1001),
        silence(end=1000),
        silence("service:etl"),
        msgspec.structs.replace(silence(), ended_us=999 * S),
    ):
        assert short(decide(alert(), silences=(idle,)))[1] == ("ops", "fired", "waiting")


def test_the_end_of_a_silence_tells_what_still_fires() -> None:
    """When nothing holds it back any more, a firing is told with "still firing"; only once."""
    ledger = (row("in-app", "sent"), row("ops", "suppressed", why="silence 31 'x': until ..."))
    planned = decide(alert(), ledger=ledger)

    assert short(planned) == [("ops", "unsuppressed:1", "waiting")]
    assert planned.rows[0].content.status == "still firing"
    assert "Held back by silence 31 'x' until now." in planned.rows[0].content.sentence
    told = (*ledger, row("ops", "sent", "unsuppressed:1"))
    assert short(decide(alert(), ledger=told)) == []
    assert short(decide(alert(), ledger=ledger, silences=(silence(),))) == []


def test_the_resolve_reaches_who_got_the_firing_whatever_has_changed() -> None:
    """Sent, unknown or on its way: the resolve follows, over silences and other routes."""
    for fate in ("sent", "unknown", "claimed"):
        ledger = (row("in-app", "sent"), row("ops", fate))
        planned = decide(
            alert("resolved"), ledger=ledger, silences=(silence(),), rule_set=NO_ROUTES
        )
        assert short(planned) == [("in-app", "resolved", "sent"), ("ops", "resolved", "waiting")]
        assert planned.rows[1].content.status == "resolved"


def test_who_did_not_get_the_firing_gets_no_resolve() -> None:
    """A suppressed or undeliverable firing leaves a suppressed resolve that says why."""
    ledger = (row("ops", "suppressed", why="silence 31"), row("mail", "dead"))
    planned = decide(alert("resolved"), ledger=ledger, silences=(silence(),))

    assert short(planned) == [("ops", "resolved", "suppressed"), ("mail", "resolved", "suppressed")]
    assert [r.why for r in planned.rows] == [
        "its firing was not told: silence 31", "its firing was never delivered",
    ]  # fmt: skip


def test_a_firing_still_waiting_is_told_with_its_resolve() -> None:
    """What was never attempted becomes one message that tells both."""
    planned = decide(alert("resolved"), ledger=(row("ops", "waiting"),))

    assert short(planned) == [("ops", "resolved", "waiting")]
    assert planned.rows[0].content.status == "fired and resolved"
    (change,) = planned.changes
    assert (change.notice, change.why) == ("fired", "told together with its resolve")


def test_a_firing_that_may_have_arrived_is_owed_its_resolve() -> None:
    """Waiting for its marked repeat, or failed at it: whoever may know of it gets the resolve."""
    for fate in ("waiting", "dead", "failed"):
        planned = decide(alert("resolved"), ledger=(row("ops", fate, attempts=1),))
        assert short(planned) == [("ops", "resolved", "waiting")]
        assert planned.rows[0].content.status == "resolved"
        assert planned.changes == ()
    behind = (row("ops", "dead", attempts=1), row("ops", "waiting", "resolved"))
    assert decide(alert("resolved"), ledger=behind).changes == ()


def test_fired_and_over_within_a_step_is_one_message() -> None:
    """An alert that came and went between two steps is told once, never as a resolve alone."""
    planned = decide(alert("resolved"))

    assert short(planned) == [
        ("in-app", "fired", "superseded"), ("in-app", "resolved", "sent"),
        ("ops", "fired", "superseded"), ("ops", "resolved", "waiting"),
    ]  # fmt: skip
    assert planned.rows[-1].content.status == "fired and resolved"


def test_a_resolve_whose_firing_died_is_taken_back() -> None:
    """If the firing turns out undeliverable, a waiting resolve is superseded: it would be alone."""
    ledger = (row("ops", "dead"), row("ops", "waiting", "resolved"))
    planned = decide(alert("resolved"), ledger=ledger)

    assert [(c.notice, c.why) for c in planned.changes] == [
        ("resolved", "its firing was never delivered")
    ]


def test_a_channel_that_is_gone_is_said_to_be_gone() -> None:
    """The resolve for a channel that was removed is a suppressed row, not a lost one."""
    planned = decide(alert("resolved"), ledger=(row("ops", "sent"),), rule_set=RuleSet())

    assert short(planned) == [("ops", "resolved", "suppressed")]
    assert planned.rows[0].why == "there is no channel ops any more"


class _World:
    """Alerts, ledger and silences, moved at random."""

    def __init__(self) -> None:
        self.now = NOW
        self.state: State = "inactive"
        self.fired: int | None = None
        self.ledger: dict[tuple[str, str], LedgerRow] = {}
        self.silences: tuple[Silence, ...] = ()
        self.rule_set = RULES
        self.heard: dict[str, list[str]] = {}
        self.contents: dict[tuple[str, str], str] = {}

    def act(self, name: str) -> None:
        self.now += S
        if name == "fire" and self.state in {"inactive", "pending", "recovering"}:
            self.state, self.fired = "firing", self.fired or self.now
        elif name == "pend" and self.state == "inactive":
            self.state = "pending"
        elif name == "recover" and self.state == "firing":
            self.state = "recovering"
        elif name == "resolve" and self.state in {"pending", "firing", "recovering"}:
            self.state = "resolved"
        elif name == "silence":
            end = self.now // S + 20
            self.silences = (silence(start=self.now // S, end=end),)
        elif name == "unsilence":
            self.silences = ()
        elif name == "reroute":
            self.rule_set = NO_ROUTES if self.rule_set is RULES else RULES
        else:
            self.deliver(name)
        self.plan()

    def deliver(self, outcome: str) -> None:
        """The oldest waiting row of each channel gets an outcome."""
        if outcome not in {"sent", "lost", "dead", "claimed"}:
            return
        seen: set[str] = set()
        for (channel, notice), entry in self.ledger.items():
            if entry.fate not in {"waiting", "claimed"} or channel in seen:
                continue
            seen.add(channel)
            # It may have arrived: the first time it waits for its repeat.
            fates: dict[str, Fate] = {"sent": "sent", "dead": "dead", "claimed": "claimed"}
            fate = fates.get(outcome, "unknown" if entry.attempts else "waiting")
            attempts = entry.attempts + (outcome == "lost")
            self.ledger[channel, notice] = msgspec.structs.replace(
                entry, fate=fate, attempts=attempts
            )
            if outcome in {"sent", "lost"} and not entry.attempts:
                self.heard.setdefault(channel, []).append(self.contents[channel, notice])

    def plan(self) -> None:
        if self.state == "inactive":
            return
        current = msgspec.structs.replace(
            alert(self.state, fired=self.fired, resolved=self.now), labels=alert().labels
        )
        rows = tuple(self.ledger.values())
        planned = decide(
            current, ledger=rows, silences=self.silences, rule_set=self.rule_set, now=self.now
        )
        for change in planned.changes:
            known = self.ledger[change.channel, change.notice]
            assert known.fate == "waiting"
            self.ledger[change.channel, change.notice] = msgspec.structs.replace(
                known, fate="superseded", why=change.why
            )
        for new in planned.rows:
            assert (new.channel, new.notice) not in self.ledger
            self.ledger[new.channel, new.notice] = LedgerRow(
                alert=12, notice=new.notice, channel=new.channel, channel_type=new.channel_type,
                conversation=new.conversation, fate=new.fate, why=new.why,
            )  # fmt: skip
            self.contents[new.channel, new.notice] = new.content.status
            if new.fate == "sent":
                self.heard.setdefault(new.channel, []).append(new.content.status)
        again = decide(
            current, ledger=tuple(self.ledger.values()), silences=self.silences,
            rule_set=self.rule_set, now=self.now,
        )  # fmt: skip
        assert (again.rows, again.changes) == ((), ())


ACTS = ("fire", "fire", "pend", "recover", "resolve", "silence", "unsilence", "reroute",
        "sent", "sent", "lost", "lost", "dead", "claimed")  # fmt: skip


@settings(max_examples=250, deadline=None)
@given(st.lists(st.sampled_from(ACTS), max_size=25))
def test_whatever_happens_a_resolve_is_owed_to_exactly_those_who_know(script: list[str]) -> None:
    """For any order of events: no resolve alone, none missing, one fate a notice, stable."""
    world = _World()
    for name in script:
        world.act(name)
    if world.state == "inactive":
        return
    # Drain: everything that is still on its way is delivered.
    for name in ("resolve", "sent", "sent", "sent", "sent"):
        world.act(name)

    for channel, heard in world.heard.items():
        known = [status for status in heard if status != "resolved"]
        if "resolved" in heard:
            assert heard.index("resolved") > 0, channel
        if "fired and resolved" in heard:
            assert heard == ["fired and resolved"], channel
        end = world.ledger[channel, "resolved"]
        if known and end.fate != "dead":
            assert heard[-1] in {"resolved", "fired and resolved"}, (channel, heard)
        assert sum(status in {"resolved", "fired and resolved"} for status in heard) <= 1
    assert all(entry.fate != "waiting" for entry in world.ledger.values())
    if world.fired is None:
        assert not world.ledger
