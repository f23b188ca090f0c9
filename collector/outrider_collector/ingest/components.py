"""What probes say of components, made fit for the store: of agents, so nothing is believed to fit.

A component that is reported is believed until its next report is due; then the database's clock
says *expired*, as it says *silent* of agents and workers. Agents report what changed at once and
everything once a minute, so a component that does not change costs next to nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from outrider.instants import from_us
from outrider_collector.ingest.gauges import clean
from outrider_collector.ingest.liveness import Verdict, due_us
from outrider_collector.store.health import PROBED_KINDS, Component, HeartbeatRow
from outrider_protos.limits import MAX_COMPONENTS, MAX_FACT_BYTES, MAX_FACTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outrider_protos.v1 import ingest_pb2

STATES = frozenset(("up", "degraded", "down", "maintenance", "unknown", "expired"))


class Heard(NamedTuple):
    """One component of a heartbeat."""

    row: HeartbeatRow
    verdict: Verdict | None
    """None: not decided yet, what was said before holds."""


class Observer(NamedTuple):
    """Who looks: an agent or, with ``agent`` None, a collector."""

    agent: int | None
    team: int
    host: str


def heard(
    reports: Sequence[ingest_pb2.ComponentReport], observer: Observer, now_us: int
) -> tuple[dict[Component, Heard], int]:
    """Return what is said of each component, and how many found no room or make no sense."""
    found: dict[Component, Heard] = {}
    odd = 0
    for report in reports[:MAX_COMPONENTS]:
        name = clean(report.name)
        if report.kind not in PROBED_KINDS or not name:
            odd += 1
            continue
        component = Component(
            report.kind,
            f"{name}@{observer.host}",
            observer.agent,
            observer.team,
            observer.host,
        )
        due = due_us(now_us, report.next_within_ms)
        row = HeartbeatRow(component, now_us, due, msgspec.json.encode(_gauges(report)))
        found[component] = Heard(row, _verdict(report))
    return found, odd + max(0, len(reports) - MAX_COMPONENTS)


def _verdict(report: ingest_pb2.ComponentReport) -> Verdict | None:
    if not report.state:
        return None
    state = report.state if report.state in STATES else "unknown"
    return Verdict(state, clean(report.reason, MAX_FACT_BYTES))


def _gauges(report: ingest_pb2.ComponentReport) -> dict[str, Any]:
    """Return the facts, with ``took_ms`` and ``checked_at``, which a fact cannot be called."""
    gauges: dict[str, Any] = {}
    for fact in report.facts[:MAX_FACTS]:
        name = clean(fact.name, MAX_FACT_BYTES)
        if fact.WhichOneof("value") == "text":
            gauges[name] = clean(fact.text, MAX_FACT_BYTES)
        elif math.isfinite(fact.number):
            gauges[name] = int(fact.number) if fact.number.is_integer() else fact.number
    if report.checked_us:
        gauges["took_ms"] = round(min(report.took_us, 2**63) / 1_000, 3)
        gauges["checked_at"] = from_us(report.checked_us).isoformat()
    return gauges
