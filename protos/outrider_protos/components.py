"""What probes report, as the wire has it: made by an agent, and by a collector for its own probes.

Texts are cut and facts are left out where they would not fit, by the limits beside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from outrider_protos.limits import MAX_FACT_BYTES, MAX_FACTS
from outrider_protos.v1 import ingest_pb2

if TYPE_CHECKING:
    from outrider.probes.board import Report
    from outrider.probes.result import Fact


def component_report(
    report: Report, now_us: int, next_within_ms: int
) -> ingest_pb2.ComponentReport:
    """Return the message; ``now_us`` is now by the clock that the receiver knows."""
    ago_s = report.checked_ago_s
    return ingest_pb2.ComponentReport(
        kind=report.key.group,
        name=report.key.name,
        state=report.verdict.state,
        reason=_cut(report.verdict.reason),
        checked_us=0 if ago_s is None else now_us - int(ago_s * 1e6),
        took_us=max(0, int(report.took_ms * 1_000)),
        next_within_ms=next_within_ms,
        facts=[_fact(name, value) for name, value in list(report.facts.items())[:MAX_FACTS]],
    )


def _fact(name: str, value: Fact) -> ingest_pb2.Fact:
    if isinstance(value, str):
        return ingest_pb2.Fact(name=_cut(name), text=_cut(value))
    return ingest_pb2.Fact(name=_cut(name), number=value)


def _cut(text: str) -> str:
    raw = text.encode("utf-8", "replace")
    return text if len(raw) <= MAX_FACT_BYTES else raw[:MAX_FACT_BYTES].decode("utf-8", "ignore")
