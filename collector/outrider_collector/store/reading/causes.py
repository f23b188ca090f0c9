"""What is wrong now, each thing once, with what it explains. Pure.

A silent agent is one cause, however many workers it leaves unknown; an open alert about a worker
that is a cause already says nothing new. The order is how bad, then how long: that nothing is
committed comes before all others, because what follows is then of an earlier time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from outrider.gap_reasons import ERASED, sentence
from outrider_collector.store.reading.types import Cause

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from outrider_collector.store.reading.types import Agent, Alert, Gap, Standstill, Worker
    from outrider_collector.store.reading.types.fleet import CauseKind
    from outrider_collector.store.reading.verdicts import Verdict

_ORDER: Final = (
    "collector_silent", "not_committing", "not_evaluating", "dead", "down", "agent_silent",
    "silent", "expired", "alert", "degraded", "lagging", "gap",
)  # fmt: skip
_WORKER_KINDS: Final[Mapping[str, CauseKind]] = {
    "dead": "dead", "silent": "silent", "lagging": "lagging",
}  # fmt: skip
"""Of all other states of a worker that are causes: degraded."""
_COMPONENT_KINDS: Final[Mapping[str, CauseKind]] = {
    "down": "down", "expired": "expired", "degraded": "degraded",
}  # fmt: skip
"""States of what is looked at that are causes; that nobody knows of one says nothing."""
_AGENT_GONE: Final = frozenset({"silent", "dead"})


def causes(
    workers: Sequence[Worker],
    agents: Sequence[Agent],
    alerts: Sequence[Alert],
    gaps: Sequence[Gap],
    standstills: Sequence[Standstill] = (),
    looked_at: Sequence[Verdict] = (),
) -> list[Cause]:
    """Return what is wrong, worst first. ``gaps`` are those worth telling now.

    What was erased on purpose is history and not wrong.
    """
    gone = {agent.id: agent for agent in agents if agent.state in _AGENT_GONE}
    found = [Cause(one.kind, one.collector, one.since, one.reason) for one in standstills]
    found.extend(_agent_gone(agent, workers) for agent in gone.values())
    lost: dict[tuple[str, str, str], list[Gap]] = {}
    for gap in gaps:
        if gap.reason != ERASED:
            lost.setdefault((gap.service, gap.worker, gap.host), []).append(gap)
    for worker in workers:
        if worker.state in {"up", "retired", "unknown"}:
            continue
        if worker.state == "silent" and worker.agent in gone:
            continue
        found.append(_worker(worker, lost.pop((worker.service, worker.worker, worker.host), [])))
    found.extend(_gap(of_worker) for of_worker in lost.values())
    found.extend(_component(one) for one in looked_at if one.state in _COMPONENT_KINDS)
    components = {name for cause in found for name in cause.components}
    told = {(cause.worker.service, cause.worker.worker) for cause in found if cause.worker}
    told |= {(name.service, name.worker) for cause in found for name in cause.explains}
    found.extend(
        _alert(alert)
        for alert in alerts
        if alert.labels.get("component") not in components and _is_news(alert, told, gone)
    )
    found.sort(key=lambda cause: (_ORDER.index(cause.kind), cause.since, cause.subject))
    return found


def _agent_gone(agent: Agent, workers: Sequence[Worker]) -> Cause:
    since = agent.since or agent.seen_at or agent.connected_at
    assert since is not None  # noqa: S101  a state has its time
    return Cause(
        kind="agent_silent",
        subject=agent.host,
        since=since,
        reason=agent.reason,
        agent=agent.id,
        explains=tuple(
            worker.name
            for worker in workers
            if worker.agent == agent.id and worker.state in {"silent", "unknown"}
        ),
    )


def _worker(worker: Worker, gaps: Sequence[Gap]) -> Cause:
    return Cause(
        kind=_WORKER_KINDS.get(worker.state, "degraded"),
        subject=worker.worker,
        since=worker.since,
        reason=worker.reason,
        worker=worker.name,
        gap=_sum(gaps) if gaps else None,
        gap_count=len(gaps),
        bytes_behind=worker.gauges.backlog_bytes,
    )


def _component(one: Verdict) -> Cause:
    return Cause(
        kind=_COMPONENT_KINDS[one.state],
        subject=one.name,
        since=one.since,
        reason=one.reason,
        components=tuple(m.component for m in one.members),
    )


def _sum(gaps: Sequence[Gap]) -> Gap:
    """Return the newest of some gaps with what all of them lost; ``gaps`` are newest first."""
    return replace(
        gaps[0],
        records=sum(gap.records for gap in gaps),
        at_least=any(gap.at_least for gap in gaps),
        bytes=sum(gap.bytes for gap in gaps),
        from_at=min((gap.from_at for gap in gaps if gap.from_at), default=None),
    )


def _gap(gaps: Sequence[Gap]) -> Cause:
    gap = _sum(gaps)
    return Cause(
        kind="gap",
        subject=gap.worker or gap.host,
        since=gap.from_at or gap.detected_at,
        reason=gap.detail or sentence(gap.reason),
        gap=gap,
        gap_count=len(gaps),
    )


def _alert(alert: Alert) -> Cause:
    return Cause(
        kind="alert",
        subject=alert.subject,
        since=alert.fired_at or alert.started_at,
        reason=alert.summary,
        alert=alert.id,
    )


def _is_news(alert: Alert, told: set[tuple[str, str]], gone: dict[int, Agent]) -> bool:
    """Tell whether a firing alert says what no cause above it says."""
    if alert.state not in {"firing", "recovering"}:
        return False
    worker = alert.labels.get("worker")
    if alert.kind != "liveness":
        return True
    about_gone_host = worker is None and alert.labels.get("host") in {
        agent.host for agent in gone.values()
    }
    return not about_gone_host and (alert.labels.get("service", ""), worker or "") not in told
