"""An exchange that is down is one cause with one message, and what its users suffer hangs on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from outrider_alerting import ready, rule_files
from outrider_alerting.components import ComponentState
from outrider_alerting.ledger import Alert
from outrider_alerting.policy import plan
from outrider_alerting.rules import RuleSet
from tests.alerting.scene import T0, S, Scene, rules

if TYPE_CHECKING:
    from outrider_alerting.ledger import Plan

TOLD = """
[[channel]]
name = "ops"
type = "telegram"
bot_token_file = "t"
chat_id = -1
[[route]]
channels = ["ops"]
"""
OWN = """
[[rule]]
name = "orders-refused"
kind = "count"
filter = "error_code:ORDER_REJECTED"
by = ["worker", "attrs.exchange"]
window = "1m"
above = 5
"""


def seen(state: str, at: float, *, name: str = "kraken", reason: str = "") -> ComponentState:
    """An exchange as an agent on web-1 sees it."""
    return ComponentState(
        component_kind="exchange",
        component=f"{name}@web-1",
        host="web-1",
        state=state,
        since_us=int((T0 + at) * S),
        reason=reason,
    )


class _Fleet(Scene):
    """The ready rules and a user's own, what fires under them, and who would be told."""

    def __init__(self) -> None:
        super().__init__()
        text = [*ready.files(), ("own.toml", OWN)]
        self.rule_set = RuleSet(rules=rule_files.read(text).rules)

    def errors(self, at: float, exchange: str, workers: int = 1) -> None:
        """Workers suffer an exchange."""
        hits = [self.hit(at, 6, (f"bot-{n}", exchange), rule="orders-refused", first=10 * n)
                for n in range(workers)]  # fmt: skip
        self.step(at + 1, *hits)

    def open_alerts(self) -> list[Alert]:
        """What fires now, numbered in the order in which it began."""
        latest = {(t.rule, t.key): t for t in self.transitions}
        return [
            Alert(
                id=number, rule=t.rule, key=t.key, labels=t.labels, kind=t.kind,
                priority=t.priority, state=t.to_state, summary=t.summary,
                started_us=t.started_us, fired_us=t.fired_us,
            )
            for number, t in enumerate(latest.values(), 1)
            if t.to_state == "firing"
        ]  # fmt: skip

    def planned(self) -> Plan:
        """Decide who is told of all that fires."""
        alerts = self.open_alerts()
        now_us = int((T0 + self.now) * S)
        return plan(alerts, {}, (), rules(TOLD), now_us, causes=alerts)


def fates(planned: Plan) -> list[tuple[int, str, str | None]]:
    """(alert, fate, why) of what goes to the channel."""
    return [(row.alert, row.fate, row.why) for row in planned.rows if row.channel == "ops"]


@pytest.mark.parametrize("state", ["down", "maintenance"])
def test_a_closed_exchange_explains_what_its_users_suffer(state: str) -> None:
    """Of three workers' alerts nobody is told but by the exchange's, which lists them."""
    fleet = _Fleet()
    fleet.step(1, health=[seen(state, 1, reason="HTTP 502")])
    fleet.errors(2, "kraken", workers=3)
    fleet.errors(4, "okx")
    planned = fleet.planned()

    cause = f"exchange-{state}"
    assert [alert.rule for alert in fleet.open_alerts()] == [cause, *["orders-refused"] * 4]
    summary = fleet.open_alerts()[0].summary
    assert fates(planned) == [
        (1, "waiting", None),
        *[(n, "suppressed", f"explained by A-1: {summary}") for n in (2, 3, 4)],
        (5, "waiting", None),
    ]
    (first, *_) = [row for row in planned.rows if row.channel == "ops"]
    listed = next(fact.value for fact in first.content.facts if fact.name == "Explains")
    assert listed.count("6 records in 1m of worker bot-") == 3


@pytest.mark.parametrize("state", ["degraded", "expired"])
def test_an_exchange_that_works_in_part_explains_nothing(state: str) -> None:
    """Errors may have another cause while orders are taken, or while nobody knows."""
    fleet = _Fleet()
    fleet.step(1, health=[seen(state, 1)])
    fleet.run(2, 70)
    fleet.errors(70, "kraken")

    assert {fate for _, fate, _ in fates(fleet.planned())} == {"waiting"}


def test_after_the_exchange_is_back_what_still_fires_is_told() -> None:
    """With its cause over, a worker's alert stands for itself."""
    fleet = _Fleet()
    fleet.step(1, health=[seen("down", 1)])
    fleet.errors(2, "kraken")
    fleet.step(4, health=[seen("up", 4)])

    assert [alert.rule for alert in fleet.open_alerts()] == ["orders-refused"]
    assert [fate for _, fate, _ in fates(fleet.planned())] == ["waiting"]


def test_an_exchange_has_its_name_as_a_label() -> None:
    """Routes and silences filter on it, summaries name it; a rule's own label has precedence."""
    down = (
        '[[rule]]\nname = "r"\nkind = "health"\nof = "exchange"\nsummary = "{exchange} {state}"\n'
    )
    scene = Scene(down)
    (fired,) = scene.step(1, health=[seen("down", 1)])
    assert (fired.labels["exchange"], fired.summary) == ("kraken", "kraken down")
    scene = Scene(down + 'labels = { exchange = "Kraken" }\n')
    (fired,) = scene.step(1, health=[seen("down", 1)])
    assert fired.labels["exchange"] == "Kraken"
    scene = Scene(down.replace('"exchange"', '"probe"').replace("{exchange}", "{component}"))
    (fired,) = scene.step(
        1,
        health=[ComponentState(component_kind="probe", component="x@h", state="down", since_us=0)],
    )
    assert "exchange" not in fired.labels


def test_a_silent_agent_explains_what_nobody_looks_at() -> None:
    """What expires because its agent is silent is that agent's story; what was down is not."""
    probe = '[[rule]]\nname = "p"\nkind = "health"\nof = "probe"\nstates = ["down", "expired"]\n'
    agent = '[[rule]]\nname = "a"\nkind = "liveness"\nof = "agent"\n'
    fleet = _Fleet()
    fleet.rule_set = rules(probe + agent)
    states = [
        ("agent", "7", "silent"),
        ("probe", "db@web-1", "expired"),
        ("probe", "x@web-1", "down"),
    ]
    fleet.step(
        1,
        health=[
            ComponentState(
                component_kind=kind, component=name, host="web-1", state=state, since_us=T0 * S
            )
            for kind, name, state in states
        ],
    )

    assert [fate for _, fate, _ in fates(fleet.planned())] == ["waiting", "suppressed", "waiting"]
