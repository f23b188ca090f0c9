"""AdminService: acts of people, over a real server and a real database."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from outrider import client
from outrider.instants import from_unix_us
from outrider_protos.v1 import admin_pb2, admin_pb2_grpc
from tests.collector.service.agent_client import bearer
from tests.collector.service.running import ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.collector.service.running import Running

RULE = """
[[rule]]
name = "payment-errors"
kind = "match"
filter = "service:payments severity>=error"
priority = "critical"
"""


@pytest.fixture
async def admin(collector: Running) -> AsyncIterator[Any]:
    """A stub of the admin service."""
    async with grpc.aio.insecure_channel(collector.address) as channel:
        yield admin_pb2_grpc.AdminServiceStub(channel)  # type: ignore[no-untyped-call]


def rules(toml: str = RULE, **fields: Any) -> admin_pb2.ApplyRulesRequest:
    """A request to apply one file."""
    file = admin_pb2.RuleFile(name="a.toml", toml=toml)
    return admin_pb2.ApplyRulesRequest(files=[file], actor="anna", **fields)


async def test_acts_need_the_admin_token(collector: Running, admin: Any) -> None:
    """An agent's token or the enrolment token acts for nobody."""
    agent = await collector.agent()
    for token in (agent.token, collector.enrol_token):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await admin.ApplyRules(rules(), metadata=bearer(token))
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_rules_are_applied_and_reach_agents(
    collector: Running, admin: Any, database_url: str
) -> None:
    """Applied rules are the active set, and what they make urgent is told to connected agents."""
    push = await (await collector.agent()).push()
    metadata = bearer(collector.admin_token)
    tried = await admin.ApplyRules(rules(dry_run=True), metadata=metadata)
    assert (list(tried.added), tried.version) == (["rule payment-errors"], 0)
    applied = await admin.ApplyRules(rules(), metadata=metadata)
    again = await admin.ApplyRules(rules(), metadata=metadata)
    await push.until(lambda: push.of("settings"))

    assert (applied.version, again.version) == (1, 1)
    assert list(push.of("settings")[-1].urgent_filters) != []
    assert ask(database_url, "select name from alert_rules") == [("payment-errors",)]


async def test_record_of_an_act_quotes_nothing_that_a_rule_could_match(
    collector: Running, admin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Applying a rule, or silencing by its filter, is recorded, and the record raises no rule."""
    mine = client.Client("outrider", "collector", inbox=tmp_path)
    monkeypatch.setattr(client, "_current", mine)
    mine.start()
    metadata, actor = bearer(collector.admin_token), f"anna-{uuid.uuid4().hex}"
    toml = RULE.replace("service:payments severity>=error", "zugzwang").replace("payment", "zwang")
    request = rules(toml)
    request.actor = actor
    await admin.ApplyRules(request, metadata=metadata)
    soon_us = from_unix_us(time.time_ns() // 1_000) + 3_600_000_000
    await admin.AddSilence(
        admin_pb2.AddSilenceRequest(
            filter="zugzwang", ends_us=soon_us, actor=actor, comment="zugzwang again"
        ),
        metadata=metadata,
    )
    written = {
        line
        for path in tmp_path.glob("**/*.jsonl")
        for line in path.read_text().splitlines()
        if actor in line
    }

    assert sorted(json.loads(line)["event"] for line in written) == [
        "alert.silenced", "config.changed",
    ]  # fmt: skip
    assert [line for line in written if "zwang" in line] == []


async def test_rule_that_cannot_be_read_is_refused_with_its_place(
    collector: Running, admin: Any
) -> None:
    """A mistake in a rule comes back as RULE_INVALID with file and line."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await admin.ApplyRules(
            rules('[[rule]]\nname = "x"\nkind = "mach"\n'), metadata=bearer(collector.admin_token)
        )

    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "a.toml:3" in (refused.value.details() or "")
    assert ("outrider-reason", "RULE_INVALID") in tuple(refused.value.trailing_metadata())


async def test_silence_is_added_and_ended(
    collector: Running, admin: Any, database_url: str
) -> None:
    """A silence has a name on it; ending it twice changes nothing the second time."""
    metadata = bearer(collector.admin_token)
    ((soon_us,),) = ask(
        database_url,
        "select (extract(epoch from now() + interval '1 hour') * 1e6)::bigint - 946684800000000",
    )
    silence = await admin.AddSilence(
        admin_pb2.AddSilenceRequest(filter="service:payments", ends_us=soon_us, actor="anna"),
        metadata=metadata,
    )
    request = admin_pb2.EndSilenceRequest(silence_id=silence.silence_id, actor="ben")
    ended = await admin.EndSilence(request, metadata=metadata)
    again = await admin.EndSilence(request, metadata=metadata)

    assert (ended.changed, again.changed) == (True, False)
    assert ask(database_url, "select created_by, ended_by from silences") == [("anna", "ben")]


async def test_alert_is_acknowledged_once(
    collector: Running, admin: Any, database_url: str
) -> None:
    """The first who acknowledges is kept; a second is told who it was."""
    ((alert,),) = ask(
        database_url,
        """
        insert into alerts (rule, key, labels, kind, priority, state, summary, started_at, rule_set)
        values ('r', '{}', '{}', 'match', 'info', 'firing', 's', now(), 1) returning id
        """,
    )
    metadata = bearer(collector.admin_token)

    def request(actor: str) -> admin_pb2.AcknowledgeAlertRequest:
        return admin_pb2.AcknowledgeAlertRequest(alert_id=alert, actor=actor)

    first = await admin.AcknowledgeAlert(request("anna"), metadata=metadata)
    second = await admin.AcknowledgeAlert(request("ben"), metadata=metadata)

    assert (first.changed, first.actor) == (True, "anna")
    assert (second.changed, second.actor) == (False, "anna")


async def test_unknown_alert_is_not_found(collector: Running, admin: Any) -> None:
    """An alert that is not there is NOT_FOUND."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await admin.AcknowledgeAlert(
            admin_pb2.AcknowledgeAlertRequest(alert_id=99, actor="anna"),
            metadata=bearer(collector.admin_token),
        )

    assert refused.value.code() == grpc.StatusCode.NOT_FOUND
