"""Whether anything is committed, and evaluated, by what collectors last said of themselves. Pure.

A collector whose commits fail says so in its row, when the database takes that row. It may not: a
full disk refuses it like everything else. So a row that nobody has renewed for
``COLLECTOR_SILENT_S`` says as much, though not why, and whoever reads must not call that well.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from outrider_collector.store.reading.types import Standstill

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outrider_collector.store.reading.types import Collector

FAILING_S: Final = 3.0
"""Commits that fail for a shorter time are a deadlock or a restart that nobody has to know of."""

_STOPPED = "it was stopped: start it with 'outrider up' or 'outrider collector'"
_AWAY = (
    "it is away, or the database takes nothing from it: its log says why; start it with "
    "'outrider up' or 'outrider collector'"
)


def standstills(collectors: Sequence[Collector]) -> list[Standstill]:
    """Return what keeps lines from being committed; none where all is well or none ever ran."""
    alive = [one for one in collectors if one.alive]
    if collectors and not alive:
        last = max(collectors, key=lambda one: one.stopped_at or one.seen_at)
        since = last.stopped_at or last.seen_at
        reason = _STOPPED if last.stopped_at else _AWAY
        return [Standstill("collector_silent", last.name, since, reason)]
    found = [(one, _failing_for_s(one)) for one in alive]
    return [
        Standstill(
            "not_committing",
            one.name,
            one.seen_at - timedelta(seconds=seconds),
            str(one.status.get("failing_reason", "")),
        )
        for one, seconds in found
        if seconds >= FAILING_S
    ]


def unevaluated(collectors: Sequence[Collector]) -> list[Standstill]:
    """Return what keeps alerts from being evaluated, once; none where some collector does."""
    told = [(one, one.status.get("evaluator")) for one in collectors if one.alive]
    said = [(one, state) for one, state in told if isinstance(state, dict)]
    if any(state.get("state") == "evaluating" for _, state in said):
        return []
    out = [
        Standstill(
            "not_evaluating",
            one.name,
            one.seen_at - timedelta(seconds=float(state.get("out_for_s", 0))),
            str(state.get("error")),
        )
        for one, state in said
        if state.get("state") in {"failing", "refused"}
    ]
    return [min(out, key=lambda one: one.since)] if out else []


def _failing_for_s(collector: Collector) -> float:
    """Return for how long its commits had failed when it last spoke; 0 where they did not."""
    seconds = collector.status.get("failing_for_s")
    return float(seconds) if isinstance(seconds, int | float) else 0.0
