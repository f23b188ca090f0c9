"""Every act of people is a row, written by the transaction of the act."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from outrider.errors import Fault
from outrider_collector.store import acts, rules, trials

if TYPE_CHECKING:
    from tests.collector.store.making import Store

_RULES = """
[[channel]]
name = "hook"
type = "webhook"
url = "http://127.0.0.1:9/"
"""


async def test_a_channel_is_tried_after_rules_were_applied(store: Store) -> None:
    """Before the first set there is no channel to name, and the way to one is told."""
    with pytest.raises(Fault, match="apply the rules first"):
        await trials.add(store.connection, "hook", "anna", "here")
    await rules.apply(store.connection, {"a.toml": _RULES}, "anna")
    with pytest.raises(Fault, match=r"did you mean 'hook'.*outrider rules apply DIR"):
        await trials.add(store.connection, "hok", "anna", "here")


async def test_each_act_has_its_row_and_what_changed_nothing_has_none(store: Store) -> None:
    """Who did what to what and why; an act that was done before, or refused, is none."""
    connection = store.connection
    await connection.execute(
        "insert into alerts (id, rule, key, labels, kind, priority, state, summary, started_at,"
        " rule_set) values (7, 'r', '{}', '{}', 'count', 'info', 'firing', 's', now(), 1)"
    )
    await connection.execute(
        "insert into system_health (component_kind, component, team, service, worker, host, agent,"
        " state, since) values ('worker', 'a/b@c', 1, 'a', 'b', 'c', %s, 'dead', now())",
        (store.agent,),
    )
    ((now,),) = await store.rows("select now()")
    for _ in range(2):
        await rules.apply(connection, {"a.toml": _RULES}, "anna")
        await acts.acknowledge(connection, 7, "anna", "on it")
    await acts.add_silence(
        connection, filter_text="rule:r", starts_at=None, ends_at=now + timedelta(hours=1),
        actor="bob", comment="deploy",
    )  # fmt: skip
    with pytest.raises(Fault, match="the comment has 513 bytes: at most 512"):
        await acts.add_silence(
            connection, filter_text="rule:r", starts_at=None, ends_at=now + timedelta(hours=1),
            actor="bob", comment="x" * 513,
        )  # fmt: skip
    for _ in range(2):
        await acts.end_silence(connection, 1, "anna")
        await acts.retire_worker(connection, "a/b@c", "anna")
    with pytest.raises(Fault):
        await acts.acknowledge(connection, 8, "anna")
    await trials.add(connection, "hook", "anna", "here")

    assert await store.rows(
        "select event, actor, target, before, after, reason from audit_log order by id"
    ) == [
        ("config.changed", "anna", "rules", None, "1", None),
        ("alert.acknowledged", "anna", "A-7", None, None, "on it"),
        ("alert.silenced", "bob", "silence 1", None, None, "deploy"),
        ("alert.unsilenced", "anna", "silence 1", None, None, None),
        ("config.changed", "anna", "worker a/b@c", '"dead"', '"retired"', None),
        ("alert.notify_tested", "anna", "notification 1", None, None, None),
    ]
